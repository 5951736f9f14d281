import { useSignal } from '@preact/signals';
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { plural } from '../page';
import { act, notice } from './act';
import { Ask } from './ask';
import { type Webhook, deleteWebhook, deliveryStatuses, emailStatuses, listDeliveries, listEmails, listWebhooks, makeWebhook, patchWebhook, replay, testWebhook } from './calls';
import { HookFields, ChangeHook, NewSecret, Secret, SendSpan, urlProblem } from './hook';
import { EmailTable } from './order';
import { More, Status, Table, Title, fail, openOrder, refocus, useList, when, words } from './parts';

/** What is sent to other systems and to buyers. */
export default function Messages(): VNode {
  const hooks = useSignal<Webhook[] | null>(null), at = useSignal(''), made = useSignal<Webhook | null>(null);
  const asked = useSignal<{ what: 'change' | 'secret' | 'delete'; h: Webhook } | null>(null), h = asked.value?.h, what = asked.value?.what;
  const read = async (): Promise<void> => {
    try {
      hooks.value = (await listWebhooks()).webhooks;
      if (!hooks.value.some((h) => h.id === at.value)) at.value = hooks.value[0]?.id ?? '';
    } catch (e) {
      fail(e);
    }
  };
  useEffect(() => void read(), []);
  const turn = (h: Webhook): void => {
    void act(h.active ? `Nothing is sent to ${h.url} now.` : `${h.url} is sent messages again.`, () => patchWebhook(h.id, { active: !h.active })).then(read);
  };
  const test = async (h: Webhook): Promise<void> => {
    try {
      const t = await testWebhook(h.id);
      notice.value = t.ok
        ? { tone: 'good', text: `${h.url} took the test, in ${t.took_ms} ms.` }
        : { tone: 'bad', text: `${h.url} did not take the test: ${t.error || `it answered ${t.status}`}.` };
    } catch (e) {
      fail(e);
    }
  };
  const answered = (ok: boolean): void => {
    asked.value = null;
    if (ok) void read().then(refocus);
  };
  return (
    <div class="stack">
      <Title>Webhooks and e-mails</Title>
      <section class="card panel stack" aria-labelledby="hooks">
        <h2 id="hooks">Webhooks</h2>
        <Table name="Webhooks" empty="No other system is told anything yet." heads={['Address', 'Told of', 'On', '']} rows={hooks.value && hooks.value.map((h) => (
          <tr key={h.id}>
            <th scope="row"><span class="break">{h.url}</span>{h.note && <div class="soft small">{h.note}</div>}{h.why_inactive && <div class="small bad-text">{h.why_inactive}</div>}{h.rotates_until && <div class="soft small">The secret before signs too, until {when(h.rotates_until)}</div>}</th>
            <td class="small">{h.types.length ? h.types.map((t) => <div key={t}>{t}</div>) : 'everything'}</td>
            <td><button role="switch" aria-checked={h.active} aria-label={`Webhook ${h.url}`} class="switch" onClick={() => turn(h)}><span />{h.active ? 'On' : 'Off'}</button></td>
            <td class="end"><span class="row ends-row">
              <button aria-label={`Test ${h.url}`} onClick={() => void test(h)}>Test</button>
              <button aria-label={`Change ${h.url} …`} onClick={() => { asked.value = { what: 'change', h }; }}>Change …</button>
              <button aria-label={`New secret for ${h.url} …`} onClick={() => { asked.value = { what: 'secret', h }; }}>New secret …</button>
              <button class="danger" aria-label={`Delete ${h.url} …`} onClick={() => { asked.value = { what: 'delete', h }; }}>Delete …</button>
            </span></td>
          </tr>
        ))} />
        {made.value && <Secret h={made.value} seen={() => { made.value = null; refocus(); }} />}
        <Create done={(h) => { made.value = h; at.value = h.id; void read(); }} />
      </section>
      {!!hooks.value?.length && <Deliveries hooks={hooks.value} at={at.value} choose={(id) => { at.value = id; }} />}
      <Emails />
      {h && what === 'change' && <ChangeHook h={h} done={answered} />}
      {h && what === 'secret' && <NewSecret h={h} done={(fresh) => {
        if (fresh) made.value = fresh;
        answered(!!fresh);
      }} />}
      {h && what === 'delete' && (
        <Ask title="Delete the webhook?" go="Delete it" danger done={answered} run={async () => {
          await deleteWebhook(h.id);
          return 'The webhook is gone.';
        }}>
          <p><span class="break">{h.url}</span> is told nothing any more, and the record of what it was sent goes too.</p>
        </Ask>
      )}
    </div>
  );
}

function Create({ done }: { done: (h: Webhook) => void }): VNode {
  const url = useSignal(''), types = useSignal<string[]>([]), note = useSignal(''), tried = useSignal(false), box = useRef<HTMLInputElement>(null), busy = useSignal(false);
  const wrong = urlProblem(url.value);
  const run = async (): Promise<void> => {
    tried.value = true;
    if (wrong) box.current?.focus();
    if (wrong || busy.value) return;
    busy.value = true;
    await act('The webhook is there.', async () => {
      done(await makeWebhook({ url: url.value.trim(), types: types.value, note: note.value.trim() }));
      [url.value, types.value, note.value, tried.value] = ['', [], '', false];
    });
    busy.value = false;
  };
  return (
    <details>
      <summary><h3>Add a webhook</h3></summary>
      <form class="stack inset" noValidate onSubmit={(e) => {
        e.preventDefault();
        void run();
      }}>
        <HookFields url={url} types={types} note={note} wrong={tried.value ? wrong : ''} box={box} />
        <div class="row"><button aria-disabled={busy.value}>Add it</button></div>
      </form>
    </details>
  );
}

function Deliveries({ hooks, at, choose }: { hooks: Webhook[]; at: string; choose: (id: string) => void }): VNode {
  const status = useSignal(''), hook = hooks.find((h) => h.id === at);
  const list = useList((cursor) => listDeliveries(at, { status: status.value, limit: 25, cursor }).then((r) => [r.deliveries, r.next_cursor]));
  useEffect(() => { if (at) void list.load(); }, [at, status.value]);
  return (
    <section class="card panel stack" aria-labelledby="deliveries">
      <div class="row between"><h2 id="deliveries">What was sent</h2><button onClick={() => void list.load()}>Read again</button></div>
      <div class="row">
        <label class="field grow">Webhook<select value={at} onChange={(e) => choose(e.currentTarget.value)}>{hooks.map((h) => <option key={h.id} value={h.id}>{h.url}</option>)}</select></label>
        <label class="field">State of the delivery<select value={status.value} onChange={(e) => { status.value = e.currentTarget.value; }}><option value="">Any</option>{deliveryStatuses.map((s) => <option key={s} value={s}>{words(s)}</option>)}</select></label>
      </div>
      <Table name="Deliveries" empty="Nothing fits." heads={['When', 'Message', 'State', 'Tries', '']} rows={list.items && list.items.map((d) => (
        <tr key={d.id}>
          <td>{when(d.created_at)}{d.delivered_at && <div class="soft small">taken {when(d.delivered_at)}</div>}</td>
          <td>{d.type}<div class="soft small break">{d.subject}</div></td>
          <td><Status of={d.status} />{d.last_error && <div class="small">{d.last_error}</div>}{d.last_status !== null && !d.last_error && <div class="soft small">answered {d.last_status}</div>}{d.status === 'pending' && d.next_at && <div class="soft small">not before {when(d.next_at)}</div>}</td>
          <td>{plural(d.attempts, 'try', 'tries')}</td>
          <td class="end"><button aria-label={`Send again: ${d.type} of ${when(d.created_at)}`} onClick={() => void act(`${d.type} is on its way again, with the same id.`, () => replay(d.id)).then(() => list.load())}>Send again</button></td>
        </tr>
      ))} />
      <More list={list} what="deliveries" />
      {hook && <SendSpan key={at} h={hook} done={() => void list.load()} />}
    </section>
  );
}

function Emails(): VNode {
  const status = useSignal('');
  const list = useList((cursor) => listEmails({ status: status.value, limit: 25, cursor }).then((r) => [r.emails, r.next_cursor]));
  useEffect(() => void list.load(), [status.value]);
  return (
    <section class="card panel stack" aria-labelledby="mails">
      <div class="row between"><h2 id="mails">E-mails</h2><button onClick={() => void list.load()}>Read again</button></div>
      <div class="row"><label class="field">State of the e-mail<select value={status.value} onChange={(e) => { status.value = e.currentTarget.value; }}><option value="">Any</option>{emailStatuses.map((s) => <option key={s} value={s}>{words(s)}</option>)}</select></label></div>
      <EmailTable list={list.items} read={() => list.load()} name="E-mails" of={(o) => <button class="link" onClick={() => openOrder(o)}><code>{o}</code></button>} />
      <More list={list} what="e-mails" />
    </section>
  );
}
