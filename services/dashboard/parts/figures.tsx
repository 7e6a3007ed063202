// SPDX-License-Identifier: Apache-2.0

/** What matters most, large. */
export function Figures({ figures }: { figures: readonly [name: string, value: string][] }) {
  return (
    <dl class="figures">
      {figures.map(([name, value]) => (
        <div key={name} class="figure">
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
