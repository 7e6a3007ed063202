// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';

describe('POST /transfers', () => {
  let app: TestApp;
  beforeAll(async () => {
    app = await startTestApp();
  });
  afterAll(() => app.close());

  test('copies between two devices and answers 201', async () => {
    const bytes = Buffer.from('what is to be copied');
    const put = await app.inject({
      method: 'PUT',
      url: '/devices/dax0.0/content?offset=100',
      payload: bytes,
      headers: { 'content-type': 'application/octet-stream' },
    });
    expect(put.statusCode).toBe(200);

    const response = await app.post({
      device_name: '/dev/dax0.0',
      dst_device_name: 'dax1.0',
      src_offset: 100,
      dst_offset: '4KiB',
      size: bytes.length,
      verify: 'crc32c',
    });
    expect(response.statusCode).toBe(201);
    expect(response.json()).toMatchObject({ status: 'succeeded', size: bytes.length });

    const read = await app.inject({
      url: '/devices/dax1.0/content',
      headers: { range: `bytes=4096-${4095 + bytes.length}` },
    });
    expect(read.statusCode).toBe(206);
    expect(read.rawPayload).toEqual(bytes);
  });
});
