// SPDX-License-Identifier: Apache-2.0
import type { ComponentChildren } from 'preact';

interface Common {
  name: string;
  label: string;
  value: string;
  error?: string | undefined;
  /** Stands where an error would. */
  hint?: string | undefined;
  onValue: (value: string) => void;
}

interface TextFieldProps extends Common {
  placeholder?: string;
  /** What is offered; anything else can be typed too. */
  offers?: readonly string[];
}

/** A text field with its label, and room for what is wrong with it. */
export function TextField({ placeholder, offers, ...field }: TextFieldProps) {
  const { name, value, error, onValue } = field;
  return (
    <Labelled {...field}>
      {offers !== undefined && (
        <datalist id={`${name}-offers`}>
          {offers.map((each) => (
            <option key={each} value={each} />
          ))}
        </datalist>
      )}
      <input
        list={offers && `${name}-offers`}
        id={name}
        name={name}
        value={value}
        placeholder={placeholder}
        autocomplete="off"
        spellcheck={false}
        aria-invalid={error !== undefined}
        aria-describedby={`${name}-message`}
        onInput={({ currentTarget }) => onValue(currentTarget.value)}
      />
    </Labelled>
  );
}

/** For several lines. */
export function AreaField({ placeholder, ...field }: Common & { placeholder: string }) {
  const { name, value, error, onValue } = field;
  return (
    <Labelled {...field}>
      <textarea
        id={name}
        name={name}
        value={value}
        rows={6}
        placeholder={placeholder}
        spellcheck={false}
        aria-invalid={error !== undefined}
        aria-describedby={`${name}-message`}
        onInput={({ currentTarget }) => onValue(currentTarget.value)}
      />
    </Labelled>
  );
}

export function SelectField({ options, ...field }: Common & { options: readonly string[] }) {
  const { name, value, error, onValue } = field;
  return (
    <Labelled {...field}>
      <select
        id={name}
        name={name}
        value={value}
        aria-invalid={error !== undefined}
        aria-describedby={`${name}-message`}
        onChange={({ currentTarget }) => onValue(currentTarget.value)}
      >
        {options.map((each) => (
          <option key={each}>{each}</option>
        ))}
      </select>
    </Labelled>
  );
}

function Labelled({
  name,
  label,
  error,
  hint,
  children,
}: Common & { children: ComponentChildren }) {
  return (
    <div class="field">
      <label for={name}>{label}</label>
      {children}
      <span id={`${name}-message`} class={`message ${error === undefined ? 'quiet' : 'wrong'}`}>
        {error ?? hint}
      </span>
    </div>
  );
}
