// SPDX-License-Identifier: Apache-2.0
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { formatRoute, type View } from '../../model/route.ts';
import { messageOf } from '../../state/api.ts';

interface StartProps {
  /** What is started, such as "copy". */
  noun: string;
  /** Where its page is. */
  view: View;
  /** Undefined while something is missing. @returns what was accepted */
  start: (() => Promise<{ id: string }>) | undefined;
  /** @returns what to say of an error here; undefined: it stands elsewhere */
  onError?: (error: unknown) => string | undefined;
  /** The fields. */
  children: ComponentChildren;
  /** Stands beside them. */
  beside: ComponentChildren;
}

/** A form that starts something which then goes on by itself. */
export function Start({ noun, view, start, onError = messageOf, children, beside }: StartProps) {
  const [outcome, setOutcome] = useState<{ id?: string; error?: string | undefined }>({});
  const [sending, setSending] = useState(false);
  const send = async (event: Event) => {
    event.preventDefault();
    if (start === undefined || sending) return;
    setSending(true);
    try {
      const { id } = await start();
      setOutcome({ id });
    } catch (error) {
      setOutcome({ error: onError(error) });
    }
    setSending(false);
  };
  return (
    <form class="form" onSubmit={send} aria-label={`New ${noun}`}>
      <section class="panel" aria-label="What to do">
        {children}
        <div class="form-end">
          <button type="submit" class="button primary" disabled={start === undefined || sending}>
            Start the {noun}
          </button>
          <span role="status">
            {outcome.id !== undefined && (
              <a href={formatRoute({ view, id: outcome.id })}>
                Accepted: {noun} {outcome.id}
              </a>
            )}
            {outcome.error !== undefined && <span class="wrong">{outcome.error}</span>}
          </span>
        </div>
      </section>
      {beside}
    </form>
  );
}
