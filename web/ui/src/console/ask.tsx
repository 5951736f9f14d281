import { useSignal } from '@preact/signals';
import type { ComponentChildren, VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { Notice, problemText } from '../page';
import { notice } from './act';

/**
 * A question in front of everything else for as long as it is shown. It stays,
 * with all that was filled in, until what was asked has succeeded or was taken
 * back. `run` does it and returns what to say about it.
 */
export function Ask({ title, children, go, danger, ready = true, run, done }: {
  title: string; children: ComponentChildren; go: string; danger?: boolean;
  /** Whether all is filled in. */
  ready?: boolean;
  run: () => Promise<string>; done: (ok: boolean) => void;
}): VNode {
  const dialog = useRef<HTMLDialogElement>(null), failed = useSignal(''), busy = useSignal(false), ok = useRef(false);
  useEffect(() => dialog.current?.showModal(), []);
  const submit = async (): Promise<void> => {
    if (busy.value || !ready) return;
    busy.value = true;
    failed.value = '';
    try {
      const text = await run();
      ok.current = true;
      notice.value = { tone: 'good', text };
      dialog.current?.close();
    } catch (e) {
      failed.value = problemText(e);
    }
    busy.value = false;
  };
  return (
    // Closed before it goes: the browser then puts the focus back where it was.
    <dialog ref={dialog} aria-labelledby="asking" onClose={() => done(ok.current)} onCancel={(e) => { if (busy.value) e.preventDefault(); }}>
      <form class="stack" onSubmit={(e) => {
        e.preventDefault();
        void submit();
      }}>
        <h2 id="asking">{title}</h2>
        {children}
        {failed.value && <Notice tone="bad" alert>{failed.value}</Notice>}
        <div class="row"><button class={danger ? 'danger' : 'primary'} disabled={!ready} aria-disabled={busy.value}>{failed.value ? `Try again: ${go}` : go}</button><button type="button" disabled={busy.value} onClick={() => dialog.current?.close()}>Cancel</button></div>
      </form>
    </dialog>
  );
}
