// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import { readConfig } from '../../../services/daemon/config.ts';
import { readFleetConfig } from '../../../services/fleet/config.ts';

const environment = {
  DMAD_FLEET_ETCD: 'http://127.0.0.1:2379',
  DMAD_FLEET_TOKEN_FILE: 'misspelt',
  DMAD_URL: 'http://127.0.0.1:8090',
  HOME: '/tmp',
};

describe("a gateway's configuration", () => {
  test('names unknown variables that begin with its prefix, and no others', () => {
    expect(readFleetConfig(environment).unknown_variables).toEqual(['DMAD_FLEET_TOKEN_FILE']);
  });

  test("a daemon's leaves the gateway's alone", () => {
    expect(readConfig(environment).unknown_variables).toEqual([]);
  });
});
