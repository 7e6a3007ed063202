// SPDX-License-Identifier: Apache-2.0
import { say } from '../state/notice.ts';

/** A command to be copied into a shell. */
export function Command({ name, text }: { name: string; text: string }) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      say('Copied');
    } catch {
      // Pages without TLS have no clipboard.
      say('This browser lets the page copy nothing here: select the text instead.', true);
    }
  };
  return (
    <div class="command">
      <pre>{text}</pre>
      <button type="button" class="button" onClick={copy} aria-label={`Copy the ${name} command`}>
        Copy
      </button>
    </div>
  );
}
