// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef, useState } from 'preact/hooks';
import { asksForToken, keepToken, lockedOut } from '../state/session.ts';

/** RFC 6750's characters: nothing else can be a token. */
const TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/;

function decline(): void {
  asksForToken.value = false;
}

/** Asks for a token when the daemon does. */
export function TokenDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const [secret, setSecret] = useState('');
  const asks = asksForToken.value;
  const reason = lockedOut.value;
  useEffect(() => {
    if (!asks) dialog.current?.close();
    else if (!dialog.current?.open) dialog.current?.showModal();
  }, [asks]);
  const send = (event: Event) => {
    event.preventDefault();
    const trimmed = secret.trim();
    if (!TOKEN.test(trimmed)) {
      lockedOut.value = 'refused';
      return;
    }
    setSecret('');
    keepToken(trimmed);
  };
  return (
    <dialog class="dialog" ref={dialog} aria-labelledby="token-title" onCancel={decline}>
      <form onSubmit={send}>
        <h2 id="token-title">A token is needed</h2>
        <p class="quiet">
          The secret that <code>dmactl token add</code> printed. This tab keeps it until it is
          closed.
        </p>
        <div class="field">
          <label for="token">Token</label>
          <input
            id="token"
            type="password"
            autocomplete="off"
            spellcheck={false}
            value={secret}
            aria-invalid={reason === 'refused'}
            aria-describedby="token-message"
            onInput={({ currentTarget }) => setSecret(currentTarget.value)}
          />
          <span class="message wrong" id="token-message" role="alert">
            {reason === 'refused' && 'That token is not in force.'}
          </span>
        </div>
        <div class="form-end">
          <button type="submit" class="button primary">
            Use it
          </button>
          <button type="button" class="button" onClick={decline}>
            Not now
          </button>
        </div>
      </form>
    </dialog>
  );
}
