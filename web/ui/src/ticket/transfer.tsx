import { useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { Holder, Transfer } from '../api';
import { Notice, problemText } from '../page';

/**
 * Passes a ticket on: who to, whether that is meant, and the link for them.
 * `give` asks the server; asking it again for the same person gives the same.
 */
export function PassOn({ name, level: H, give, done }: { name: string; level: 'h2' | 'h3'; give: (to: Holder) => Promise<Transfer>; done: (t: Transfer) => void }): VNode {
  const step = useSignal<'closed' | 'form' | 'sure' | 'busy'>('closed'), to = useSignal<Holder>({ name: '', email: '' });
  const checked = useSignal(false), failure = useSignal('');
  const at = step.value, h = useRef<HTMLHeadingElement>(null), form = useRef<HTMLFormElement>(null), opener = useRef<HTMLButtonElement>(null), shut = useRef(false);
  useEffect(() => {
    if (at === 'closed') { if (shut.current) opener.current?.focus(); } else if (at !== 'busy') h.current?.focus();
  }, [at]);
  const bad = (): 'name' | 'email' | '' => (!to.value.name.trim() ? 'name' : /^\S+@\S+\.\S+$/.test(to.value.email.trim()) ? '' : 'email');
  if (at === 'closed') {
    return <button ref={opener} aria-label={`Pass on: ${name}`} onClick={() => { shut.current = true; step.value = 'form'; }}>Pass on</button>;
  }
  if (at === 'form') {
    const wrong = checked.value ? bad() : '';
    return (
      <form ref={form} class="passon stack" noValidate onSubmit={(e) => {
        e.preventDefault();
        checked.value = true;
        const b = bad();
        if (b) form.current?.querySelector<HTMLInputElement>(`[name=${b}]`)?.focus();
        else step.value = 'sure';
      }}>
        <H tabIndex={-1} ref={h}>Pass this ticket on</H>
        <label class="field">Their name
          <input name="name" autocomplete="off" maxLength={200} required value={to.value.name} aria-invalid={wrong === 'name'} onInput={(e) => { to.value = { ...to.value, name: e.currentTarget.value }; }} />
          {wrong === 'name' && <small>Please say who the ticket is for.</small>}
        </label>
        <label class="field">Their e-mail
          <input name="email" type="email" autocomplete="off" maxLength={254} required value={to.value.email} aria-invalid={wrong === 'email'} onInput={(e) => { to.value = { ...to.value, email: e.currentTarget.value }; }} />
          {wrong === 'email' && <small>Please enter an address such as name@example.org.</small>}
        </label>
        <p class="row"><button class="primary">Continue</button><button type="button" onClick={() => { step.value = 'closed'; }}>Keep the ticket</button></p>
      </form>
    );
  }
  return (
    <div class="passon stack">
      <H tabIndex={-1} ref={h}>Pass the ticket on to {to.value.name.trim()}?</H>
      <p>Your code stops working at once, and only they can give the ticket back.</p>
      {failure.value && <Notice tone="bad" alert>{failure.value}</Notice>}
      <p class="row">
        <button class="primary" disabled={at === 'busy'} onClick={() => {
          step.value = 'busy';
          failure.value = '';
          give({ name: to.value.name.trim(), email: to.value.email.trim() }).then(done, (e: unknown) => {
            failure.value = problemText(e);
            step.value = 'sure';
          });
        }}>Yes, pass it on</button>
        <button disabled={at === 'busy'} onClick={() => { step.value = 'closed'; }}>Keep the ticket</button>
      </p>
    </div>
  );
}

/** The new holder's link, to be sent to them unless they are written to. */
export function PassedOn({ to }: { to: Transfer }): VNode {
  const copied = useSignal(false), h = useRef<HTMLParagraphElement>(null);
  useEffect(() => h.current?.focus(), []);
  return (
    <div class="notice good stack passed">
      <p tabIndex={-1} ref={h}>The ticket is {to.holder.name}’s now. {to.mailed ? <>We write to {to.holder.email} with this link; whoever has it has the ticket.</> : 'Send them this link: whoever has it has the ticket.'}</p>
      <p><code class="small link">{to.link}</code></p>
      <p class="row noprint">
        <button onClick={() => void navigator.clipboard?.writeText(to.link).then(() => { copied.value = true; })}>Copy the link</button>
        <a class="button" href={`mailto:${encodeURIComponent(to.holder.email)}?subject=${encodeURIComponent('Your ticket')}&body=${encodeURIComponent(to.link)}`}>Write to {to.holder.name}</a>
        <span role="status" class="small">{copied.value && 'Copied.'}</span>
      </p>
    </div>
  );
}
