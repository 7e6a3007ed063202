// SPDX-License-Identifier: Apache-2.0

/** A body as text. Reading stops once there are more than `limit` bytes, and the rest is dropped. */
export async function textOf(body: AsyncIterable<Buffer>, limit: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > limit) break;
  }
  return Buffer.concat(chunks).toString();
}
