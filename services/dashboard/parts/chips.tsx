// SPDX-License-Identifier: Apache-2.0

interface ChipsProps<Value extends string> {
  /** What is chosen, for screen readers. */
  label: string;
  values: readonly Value[];
  /** What the buttons say. */
  names: Readonly<Record<Value, string>>;
  chosen: Value;
  onChoose: (value: Value) => void;
}

/** Buttons in a row, of which one is pressed. */
export function Chips<Value extends string>(props: ChipsProps<Value>) {
  const { label, values, names, chosen, onChoose } = props;
  return (
    <div class="chips" role="group" aria-label={label}>
      {values.map((value) => (
        <button
          key={value}
          type="button"
          class="button"
          aria-pressed={value === chosen}
          onClick={() => onChoose(value)}
        >
          {names[value]}
        </button>
      ))}
    </div>
  );
}
