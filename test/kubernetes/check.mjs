// SPDX-License-Identifier: Apache-2.0
// npm run test:kubernetes: renders each overlay of docker/kubernetes with kubectl's kustomize and holds every
// object to the schema of its kind, as Kubernetes and the Prometheus operator publish it. No cluster is
// needed. The schemas are npm packages, which package-lock.json pins. Their validators pass over fields that
// they do not know; the TypeScript compiler, given the objects and their types, does not.
// kubectl comes the same way: Debian 12's is too old for the overlays.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { readConfig } from '../../dist/services/daemon/config.js';
import { readFleetConfig } from '../../dist/services/fleet/config.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const KUBECTL = `${ROOT}/test/kubernetes/node_modules/.bin/kubectl`;
const OVERLAYS = `${ROOT}/docker/kubernetes/overlays`;
const { version } = JSON.parse(readFileSync(`${ROOT}/package.json`, 'utf8'));

const groupOf = ({ apiVersion }) =>
  apiVersion.startsWith('monitoring.coreos.com/')
    ? '@kubernetes-models/prometheus-operator'
    : 'kubernetes-models';

/** @throws if a value does not fit the schema of its kind */
async function checkValues(object) {
  const models = await import(`${groupOf(object)}/${object.apiVersion}/${object.kind}`);
  const Model = models[object.kind];
  new Model(object).validate();
}

/** @returns what the compiler finds, such as fields that a schema does not have */
function checkFields(objects) {
  const directory = mkdtempSync(`${ROOT}/test/kubernetes/.rendered-`);
  try {
    const lines = objects.map((object, index) => {
      const { apiVersion, kind } = object;
      const type = `import('${groupOf(object)}/${apiVersion}/${kind}').I${kind}`;
      return `export const object${index}: ${type} = ${JSON.stringify(object, null, 2)};`;
    });
    writeFileSync(`${directory}/objects.ts`, lines.join('\n'));
    const options = ['--noEmit', '--strict', '--skipLibCheck', '--ignoreConfig', '--types', ''];
    const compiler = `${ROOT}/node_modules/.bin/tsc`;
    const { stdout } = spawnSync(compiler, [...options, `${directory}/objects.ts`], {
      encoding: 'utf8',
    });
    return stdout;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function render(overlay) {
  const text = execFileSync(KUBECTL, ['kustomize', `${OVERLAYS}/${overlay}`], {
    encoding: 'utf8',
  });
  return parseAllDocuments(text).map((document) => document.toJS());
}

const find = (objects, kind, name = 'dmad') =>
  objects.find((object) => object.kind === kind && object.metadata.name === name);

/** What Kubernetes fills in. */
const FIELDS = { 'spec.nodeName': 'node1', 'status.hostIP': '10.0.0.1', 'metadata.name': 'pod-0' };

/** Variables as a container has them: a reference finds only what stands before it. */
function environmentOf({ env }) {
  const environment = {};
  for (const { name, value, valueFrom } of env) {
    const text = value ?? FIELDS[valueFrom.fieldRef.fieldPath];
    environment[name] = text.replace(/\$\((\w+)\)/g, (_, variable) => {
      assert.ok(variable in environment, `${name} needs ${variable} before it`);
      return environment[variable];
    });
  }
  return environment;
}

const fits = (labels, wanted) => assert.deepEqual({ ...labels, ...wanted }, labels);

/** That what selects the pods of a workload finds them, and its probes and monitor a port. */
function checkSelectors(objects, kind, name) {
  const { template, selector } = find(objects, kind, name).spec;
  const { labels } = template.metadata;
  const [container] = template.spec.containers;
  const service = find(objects, 'Service', name);
  fits(labels, selector.matchLabels);
  fits(labels, service.spec.selector);
  fits(labels, find(objects, 'NetworkPolicy', name).spec.podSelector.matchLabels);
  fits(labels, find(objects, 'PodDisruptionBudget', name).spec.selector.matchLabels);
  const monitor = find(objects, 'ServiceMonitor', name).spec;
  fits(service.metadata.labels, monitor.selector.matchLabels);
  const [{ port }] = monitor.endpoints;
  assert.ok(service.spec.ports.some((each) => each.name === port));
  assert.ok(container.ports.some((each) => each.name === port));
  for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
    if (container[probe] !== undefined) assert.equal(container[probe].httpGet.port, port);
  }
}

/** That each volume is mounted, and each mount is of a volume. */
function checkMounts({ volumes = [], containers: [container] }, claims = []) {
  const names = [...volumes, ...claims.map(({ metadata }) => metadata)].map(({ name }) => name);
  assert.deepEqual(container.volumeMounts.map(({ name }) => name).sort(), names.sort());
}

const isMounted = ({ volumeMounts }, path) =>
  volumeMounts.some(({ mountPath }) => path.startsWith(`${mountPath}/`));

function checkConfinement({ containers: [container], ...pod }, privileged) {
  const { securityContext } = container;
  assert.equal(securityContext.privileged === true, privileged);
  assert.equal(securityContext.readOnlyRootFilesystem, true);
  assert.deepEqual(securityContext.capabilities, { drop: ['ALL'] });
  assert.equal(pod.automountServiceAccountToken, false);
  assert.equal(pod.hostNetwork ?? pod.hostPID ?? pod.hostIPC, undefined);
}

for (const overlay of readdirSync(OVERLAYS)) {
  test(`${overlay}: every object fits its schema`, async () => {
    const objects = render(overlay);
    for (const object of objects) await checkValues(object);
    assert.equal(checkFields(objects), '');
    const kinds = objects.map(({ kind }) => kind);
    for (const kind of ['NetworkPolicy', 'PodDisruptionBudget', 'Service', 'ServiceMonitor']) {
      assert.ok(kinds.includes(kind), kind);
    }
  });
}

for (const overlay of readdirSync(OVERLAYS).filter((name) => name !== 'fleet')) {
  const objects = render(overlay);
  const pod = find(objects, 'DaemonSet').spec.template.spec;
  const [container] = pod.containers;

  test(`${overlay}: the daemon starts with these settings, and has time to end`, () => {
    const config = readConfig(environmentOf(container));
    assert.deepEqual(config.unknown_variables, []);
    assert.ok(pod.terminationGracePeriodSeconds > config.drain_seconds);
    checkMounts(pod);
    assert.ok(isMounted(container, config.state_dir) && isMounted(container, config.tokens_file));
    assert.equal(container.image, `dmad:${version}`);
  });

  test(`${overlay}: what selects the pods finds them`, () => {
    checkSelectors(objects, 'DaemonSet', 'dmad');
  });

  test(`${overlay}: it may do no more than it says`, () => {
    checkConfinement(pod, overlay.endsWith('-privileged'));
  });
}

test('devdax-fleet: gateways reach the daemon at its node, under names that it takes for its own', () => {
  const objects = render('devdax-fleet');
  const [container] = find(objects, 'DaemonSet').spec.template.spec.containers;
  const { allowed_hosts, port } = readConfig(environmentOf(container));
  assert.ok(allowed_hosts.includes('node1') && allowed_hosts.includes('10.0.0.1'));
  assert.deepEqual(container.ports, [{ name: 'http', containerPort: port, hostPort: port }]);
  const { labels } = find(render('fleet'), 'Deployment', 'dmad-fleet').spec.template.metadata;
  const { ingress } = find(objects, 'NetworkPolicy').spec;
  const letIn = ingress.flatMap(({ from }) =>
    from.map(({ podSelector }) => podSelector?.matchLabels),
  );
  assert.ok(
    letIn.some(
      (wanted) => wanted && Object.entries(wanted).every(([key, value]) => labels[key] === value),
    ),
  );
});

const fleet = render('fleet');
const gateways = find(fleet, 'Deployment', 'dmad-fleet').spec;
const etcd = find(fleet, 'StatefulSet', 'dmad-etcd').spec;

test('fleet: the gateways start with these settings, and ask every member of etcd', () => {
  const pod = gateways.template.spec;
  const [container] = pod.containers;
  // Files that the settings name are not here.
  const { DMAD_FLEET_TOKENS_FILE, DMAD_FLEET_HOST_TOKEN_FILE, ...environment } =
    environmentOf(container);
  const config = readFleetConfig(environment);
  assert.deepEqual(config.unknown_variables, []);
  assert.equal(container.ports[0].containerPort, config.port);
  checkMounts(pod);
  for (const path of [DMAD_FLEET_TOKENS_FILE, DMAD_FLEET_HOST_TOKEN_FILE]) {
    assert.ok(isMounted(container, path));
  }
  assert.equal(container.image, `dmad:${version}`);
  assert.equal(container.command.at(-1), '/app/dist/services/fleet/main.js');
  const { name } = find(fleet, 'Service', 'dmad-fleet').metadata;
  assert.ok(config.allowed_hosts.includes(`${name}.dmad.svc`));
  const members = Array.from({ length: etcd.replicas }, (_, index) => `dmad-etcd-${index}`);
  const urls = members.map((member) => `http://${member}.${etcd.serviceName}:2379`);
  assert.deepEqual(config.etcd.urls, urls);
  assert.ok(gateways.replicas > 1);
});

test('fleet: the members of etcd know each other, each on a volume and a node of its own', () => {
  const pod = etcd.template.spec;
  assert.equal(pod.containers[0].image, `dmad-etcd:${version}`);
  const [container] = pod.containers;
  const environment = environmentOf(container);
  checkMounts(pod, etcd.volumeClaimTemplates);
  assert.ok(isMounted(container, environment.ETCD_DATA_DIR));
  assert.equal(environment.ETCD_ADVERTISE_CLIENT_URLS, `http://pod-0.${etcd.serviceName}:2379`);
  const members = Array.from({ length: etcd.replicas }, (_, index) => {
    const name = `dmad-etcd-${index}`;
    return `${name}=http://${name}.${etcd.serviceName}:2380`;
  });
  assert.equal(environment.ETCD_INITIAL_CLUSTER, members.join(','));
  const { clusterIP, publishNotReadyAddresses } = find(fleet, 'Service', 'dmad-etcd').spec;
  assert.deepEqual([clusterIP, publishNotReadyAddresses], ['None', true]);
  assert.ok(pod.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution.length > 0);
});

test('fleet: what selects the pods finds them, and they may do no more than they say', () => {
  checkSelectors(fleet, 'Deployment', 'dmad-fleet');
  checkSelectors(fleet, 'StatefulSet', 'dmad-etcd');
  for (const { template } of [gateways, etcd]) checkConfinement(template.spec, false);
  // Only gateways and members reach etcd's clients' port.
  const { ingress } = find(fleet, 'NetworkPolicy', 'dmad-etcd').spec;
  const toClients = ingress.filter(({ ports }) => ports.some(({ port }) => port === 'client'));
  const letIn = toClients.flatMap(({ from }) =>
    from.map(({ podSelector }) => podSelector.matchLabels),
  );
  assert.deepEqual(letIn, [
    { 'app.kubernetes.io/name': 'dmad-fleet' },
    { 'app.kubernetes.io/name': 'dmad-etcd' },
  ]);
});

test('a misspelt field and a wrong value are found', async () => {
  const misspelt = find(render('emulated'), 'DaemonSet');
  misspelt.spec.template.spec.containers[0].readinesProbe = {};
  assert.match(checkFields([misspelt]), /readinesProbe/);
  const wrong = find(render('emulated'), 'DaemonSet');
  wrong.spec.template.spec.terminationGracePeriodSeconds = 'soon';
  await assert.rejects(checkValues(wrong), /terminationGracePeriodSeconds/);
});
