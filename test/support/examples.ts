// SPDX-License-Identifier: Apache-2.0
import type { OpenAPIV3_1 } from 'openapi-types';

/** The answers that a document describes as JSON, but has no example of: all but problems, which have a general one. */
export function answersWithoutExample({ paths = {} }: OpenAPIV3_1.Document): string[] {
  return Object.values(paths).flatMap((path) =>
    Object.values(path as Record<string, OpenAPIV3_1.OperationObject>).flatMap(
      ({ operationId, responses = {} }) =>
        Object.entries(responses)
          .filter(([, response]) => {
            const media = (response as OpenAPIV3_1.ResponseObject).content?.['application/json'];
            return media !== undefined && !media.examples;
          })
          .map(([status]) => `${operationId} ${status}`),
    ),
  );
}
