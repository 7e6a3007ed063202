// SPDX-License-Identifier: Apache-2.0
import type { ComponentChildren } from 'preact';
import { Fragment } from 'preact';

export type Fact = [name: string, value: ComponentChildren];

/** What is known, by name. What has no value is left out. */
export function FactList({ facts }: { facts: readonly Fact[] }) {
  return (
    <dl class="facts">
      {facts
        .filter(([, value]) => value)
        .map(([name, value], index) => (
          <Fragment key={`${index} ${name}`}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </Fragment>
        ))}
    </dl>
  );
}
