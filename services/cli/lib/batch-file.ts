// SPDX-License-Identifier: Apache-2.0
import type { BatchedTransferRequest } from '../../client/node.ts';
import { CliError } from './exit-codes.ts';

/**
 * Reads requests of transfers: a JSON array of them, an object with them as `transfers`, or one JSON
 * object a line. What each of them says is for the daemon to check.
 *
 * @throws CliError `usage`
 */
export function readBatch(text: string, name: string): BatchedTransferRequest[] {
  const requests = requestsOf(text, name);
  if (requests.length === 0) throw new CliError('usage', `${name} has no transfer`);
  return requests as BatchedTransferRequest[];
}

function requestsOf(text: string, name: string): unknown[] {
  const whole = parse(text);
  if (whole instanceof SyntaxError) return linesOf(text, name);
  if (Array.isArray(whole)) return whole;
  const { transfers } = (whole ?? {}) as { transfers?: unknown };
  return Array.isArray(transfers) ? transfers : [whole];
}

function linesOf(text: string, name: string): unknown[] {
  return text.split('\n').flatMap((line, index) => {
    if (line.trim() === '') return [];
    const request = parse(line);
    if (!(request instanceof SyntaxError)) return [request];
    throw new CliError('usage', `line ${index + 1} of ${name} is no JSON: ${request.message}`);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    return error;
  }
}
