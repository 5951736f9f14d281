import { type Signal, useSignal } from '@preact/signals';
import type { RefObject, VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { plural } from '../page';
import { act, changes, notice, timeOf } from './act';
import { Ask } from './ask';
import { type Span, type Webhook, type WebhookPatch, countSpan, messageTypes, patchWebhook, replaySpan } from './calls';
import { fail, when } from './parts';

/** What is done with one webhook. */

export const urlProblem = (url: string): string => (/^https?:\/\/[^\s]+$/.test(url.trim()) ? '' : 'Write the whole address, with https:// in front.');

/** Where to, of what, and why. */
export function HookFields({ url, types, note, wrong, box }: { url: Signal<string>; types: Signal<string[]>; note: Signal<string>; wrong: string; box?: RefObject<HTMLInputElement | null> }): VNode {
  return (
    <>
      <label class="field">Address<input ref={box} type="url" maxLength={2000} autocomplete="off" aria-invalid={!!wrong} value={url.value} onInput={(e) => { url.value = e.currentTarget.value; }} />{wrong && <small class="bad-text">{wrong}</small>}</label>
      <fieldset class="ticks"><legend>Told of</legend>
        {messageTypes.map((t) => <label key={t} class="choice"><input type="checkbox" checked={types.value.includes(t)} onChange={(e) => { types.value = e.currentTarget.checked ? [...types.value, t] : types.value.filter((x) => x !== t); }} />{t}</label>)}
      </fieldset>
      <p class="soft small">None chosen: everything.</p>
      <label class="field">Note<input maxLength={500} value={note.value} onInput={(e) => { note.value = e.currentTarget.value; }} /></label>
    </>
  );
}

/** Changes where a webhook leads, what it is told of, and its note. */
export function ChangeHook({ h, done }: { h: Webhook; done: (ok: boolean) => void }): VNode {
  const url = useSignal(h.url), types = useSignal(h.types), note = useSignal(h.note), wrong = urlProblem(url.value);
  const other = [...types.value].sort().join() !== [...h.types].sort().join();
  const patch: WebhookPatch = { ...changes({ url: url.value.trim(), note: note.value.trim() }, { url: h.url, note: h.note }), ...(other && { types: types.value }) };
  return (
    <Ask title="Change the webhook" go="Change it" ready={!wrong && !!Object.keys(patch).length} done={done} run={async () => {
      await patchWebhook(h.id, patch);
      return 'The webhook is changed.';
    }}>
      <HookFields url={url} types={types} note={note} wrong={wrong} />
      <p class="soft small">The secret stays. What is under way goes to the new address.</p>
    </Ask>
  );
}

/** Asks whether there is to be a new secret, and hands it on. */
export function NewSecret({ h, done }: { h: Webhook; done: (fresh: Webhook | null) => void }): VNode {
  const fresh = useRef<Webhook | null>(null);
  return (
    <Ask title="Make a new secret?" go="Make a new secret" done={(ok) => done(ok ? fresh.current : null)} run={async () => {
      fresh.current = await patchWebhook(h.id, { rotate_secret: true });
      return 'There is a new secret.';
    }}>
      <p><span class="break">{h.url}</span> gets messages with two signatures for a day: of the new secret and of the one before. Until then the receiver must have the new one.</p>
      {h.rotates_until && <p class="bad-text">There was a new one only lately: the secret before that one stops signing at once.</p>}
    </Ask>
  );
}

/** A new secret, which is told this once. */
export function Secret({ h, seen }: { h: Webhook; seen: () => void }): VNode {
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => {
    box.current?.focus();
    box.current?.select();
  }, [h]);
  return (
    <div class="notice warn stack">
      <label class="field">Secret of {h.url}<input ref={box} class="codes" readOnly value={h.secret ?? ''} /><small>It verifies the signatures, and is shown this once: copy it now.</small></label>
      <div class="row">
        {navigator.clipboard && <button type="button" onClick={() => void act('Copied.', () => navigator.clipboard.writeText(h.secret ?? ''))}>Copy it</button>}
        <button type="button" onClick={seen}>I have it</button>
      </div>
    </div>
  );
}

/** Sends again what happened within a time, after the number of messages was named. */
export function SendSpan({ h, done }: { h: Webhook; done: () => void }): VNode {
  const from = useSignal(''), to = useSignal(''), failed = useSignal(true), tried = useSignal(false), busy = useSignal(false), form = useRef<HTMLFormElement>(null);
  const asked = useSignal<{ span: Span; n: number } | null>(null), q = asked.value;
  const wrong = !from.value || !to.value ? 'Say from when, and up to when.' : from.value >= to.value ? '“Before” must be later than “From”.' : '', shown = tried.value ? wrong : '';
  const count = async (): Promise<void> => {
    tried.value = true;
    if (wrong) requestAnimationFrame(() => form.current?.querySelector<HTMLElement>('[aria-invalid=true]')?.focus());
    if (wrong || busy.value) return;
    busy.value = true;
    try {
      const span = { from: timeOf(from.value)!, to: timeOf(to.value)!, failed_only: failed.value }, n = (await countSpan(h.id, span)).deliveries;
      if (n) asked.value = { span, n };
      else notice.value = { tone: 'bad', text: failed.value ? 'All of that time has arrived: there is nothing to be sent again.' : 'Nothing of that time is for this webhook.' };
    } catch (e) {
      fail(e);
    }
    busy.value = false;
  };
  const field = (name: string, s: Signal<string>): VNode => (
    <label class="field">{name}<input type="datetime-local" aria-invalid={!!shown} aria-describedby={shown ? 'span-wrong' : undefined} value={s.value} onInput={(e) => { s.value = e.currentTarget.value; }} /></label>
  );
  return (
    <details>
      <summary><h3>Send again what happened within a time</h3></summary>
      <form ref={form} class="stack inset" noValidate onSubmit={(e) => {
        e.preventDefault();
        void count();
      }}>
        <div class="throttle wide-fields">{field('From', from)}{field('Before', to)}</div>
        <label class="choice"><input type="checkbox" checked={failed.value} onChange={(e) => { failed.value = e.currentTarget.checked; }} />Only what it has not got</label>
        <p class="soft small">To {h.url}, of what it is told of, also from before it was added. Times in your own zone.</p>
        {shown && <p id="span-wrong" class="notice bad" role="alert">{shown}</p>}
        <div class="row"><button aria-disabled={busy.value}>Send again …</button></div>
      </form>
      {q && (
        <Ask title={`Send ${plural(q.n, 'message')} again?`} go={`Send ${plural(q.n, 'message')}`} done={(ok) => {
          asked.value = null;
          if (ok) done();
        }} run={async () => {
          const { deliveries } = await replaySpan(h.id, q.span);
          return `${plural(deliveries, 'message is', 'messages are')} on the way again.`;
        }}>
          <p><span class="break">{h.url}</span> gets {q.span.failed_only ? 'what it has not got of' : 'everything of'} the time from {when(q.span.from)} until before {when(q.span.to)}, each message with the id that it always has.</p>
        </Ask>
      )}
    </details>
  );
}
