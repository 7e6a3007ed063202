// SPDX-License-Identifier: Apache-2.0
import { homedir } from 'node:os';
import { isAbsolute, resolve } from 'node:path';
import { checkTls, readSettings } from '../base/read-settings.ts';
import { StartError } from '../base/start-error.ts';
import { defaultStateDir } from '../base/state-dir.ts';
import { PREFIX, type Settings, settingsSchema } from './settings.ts';

/** Variables of dmactl and the fleet's gateway, which a shell may have beside the daemon's. */
const OF_OTHERS = /^DMAD_(?:URL$|TOKEN$|FLEET_)/;

export interface Config extends Omit<Settings, 'state_dir'> {
  state_dir: string;
  /** Variables that begin with DMAD_ but mean nothing: worth a warning. */
  unknown_variables: string[];
}

/**
 * Reads the configuration: the environment, then the file named by DMAD_CONFIG (YAML, the same
 * names in lower case without the prefix), then the defaults.
 *
 * @throws StartError configuration, naming every wrong value in one line
 */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const { settings, unknown } = readSettings(environment, settingsSchema, {
    ...{ prefix: PREFIX, ofOthers: OF_OTHERS },
  });
  checkTls(settings, PREFIX);
  if (settings.socket_group !== undefined && settings.socket === undefined) {
    throw new StartError('configuration', 'DMAD_SOCKET_GROUP needs DMAD_SOCKET');
  }
  return {
    ...settings,
    state_dir: resolve(
      settings.state_dir ?? defaultStateDir(environment, process.getuid?.() === 0, homeDirectory),
    ),
    unknown_variables: unknown,
  };
}

/** @throws StartError for a user that has none */
function homeDirectory(): string {
  const home = attemptHome();
  if (home !== undefined && isAbsolute(home)) return home;
  throw new StartError(
    'configuration',
    `the user with id ${process.getuid?.()} has no home directory to keep state in: set DMAD_STATE_DIR`,
  );
}

function attemptHome(): string | undefined {
  try {
    return homedir();
  } catch {
    // Without HOME, a user id that /etc/passwd does not have.
    return undefined;
  }
}
