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

for (const overlay of readdirSync(OVERLAYS)) {
  const objects = render(overlay);
  const { template, selector } = find(objects, 'DaemonSet').spec;
  const pod = template.spec;
  const [container] = pod.containers;

  test(`${overlay}: every object fits its schema`, async () => {
    for (const object of objects) await checkValues(object);
    assert.equal(checkFields(objects), '');
    const kinds = objects.map(({ kind }) => kind);
    for (const kind of ['NetworkPolicy', 'PodDisruptionBudget', 'Service', 'ServiceMonitor']) {
      assert.ok(kinds.includes(kind), kind);
    }
  });

  test(`${overlay}: the daemon starts with these settings, and has time to end`, () => {
    const environment = Object.fromEntries(container.env.map(({ name, value }) => [name, value]));
    const config = readConfig(environment);
    assert.deepEqual(config.unknown_variables, []);
    assert.ok(pod.terminationGracePeriodSeconds > config.drain_seconds);
    const volumes = pod.volumes.map(({ name }) => name).sort();
    assert.deepEqual(container.volumeMounts.map(({ name }) => name).sort(), volumes);
    const mounted = (path) =>
      container.volumeMounts.some(({ mountPath }) => path.startsWith(mountPath));
    assert.ok(mounted(config.state_dir) && mounted(config.tokens_file));
    assert.equal(container.image, `dmad:${version}`);
  });

  test(`${overlay}: what selects the pods finds them`, () => {
    const { labels } = template.metadata;
    const selectors = [
      selector.matchLabels,
      find(objects, 'Service').spec.selector,
      find(objects, 'NetworkPolicy').spec.podSelector.matchLabels,
      find(objects, 'PodDisruptionBudget').spec.selector.matchLabels,
    ];
    for (const wanted of selectors) assert.deepEqual({ ...labels, ...wanted }, labels);
    const monitor = find(objects, 'ServiceMonitor').spec;
    const service = find(objects, 'Service');
    assert.deepEqual(
      { ...service.metadata.labels, ...monitor.selector.matchLabels },
      service.metadata.labels,
    );
    const port = monitor.endpoints[0].port;
    assert.ok(service.spec.ports.some(({ name }) => name === port));
    assert.ok(container.ports.some(({ name }) => name === port));
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
      assert.equal(container[probe].httpGet.port, port);
    }
  });

  test(`${overlay}: it may do no more than it says`, () => {
    const { securityContext } = container;
    assert.equal(securityContext.privileged === true, overlay.endsWith('-privileged'));
    assert.equal(securityContext.readOnlyRootFilesystem, true);
    assert.deepEqual(securityContext.capabilities, { drop: ['ALL'] });
    assert.equal(pod.automountServiceAccountToken, false);
    assert.equal(pod.hostNetwork ?? pod.hostPID ?? pod.hostIPC, undefined);
  });
}

test('a misspelt field and a wrong value are found', async () => {
  const misspelt = find(render('emulated'), 'DaemonSet');
  misspelt.spec.template.spec.containers[0].readinesProbe = {};
  assert.match(checkFields([misspelt]), /readinesProbe/);
  const wrong = find(render('emulated'), 'DaemonSet');
  wrong.spec.template.spec.terminationGracePeriodSeconds = 'soon';
  await assert.rejects(checkValues(wrong), /terminationGracePeriodSeconds/);
});
