import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { Event, Order } from '../api';
import { Seats, tierOf } from '../event/seats';
import { seatName } from '../map/plan';
import { now } from '../clock';
import { moneyText } from '../money';
import { Countdown, Notice, dateText, plural, sentence, useSeconds } from '../page';
import { cancelUntil, place } from './cancel';
import { Exchange } from './swap';

/** Other tickets of the event instead of some of the order's, where its terms allow it. */
export function Swap({ o, event, token, done }: { o: Order; event: Event | null; token: string | null; done: (o: Order) => void }): VNode | null {
  const made = useRef<Exchange | null>(null), s = (made.current ??= new Exchange(o, token, done));
  const h = useRef<HTMLHeadingElement>(null), opener = useRef<HTMLButtonElement>(null), shut = useRef(false), at = s.step.value;
  useEffect(() => {
    if (at !== 'closed') h.current?.focus();
    else if (shut.current) opener.current?.focus();
  }, [at]);
  useEffect(() => () => s.close(), []);
  s.order = o;
  const until = event && cancelUntil(event);
  if (at === 'closed' && (!['paid', 'fulfilled', 'partially_refunded'].includes(o.status) || until === null || until < now())) return null;
  const said = s.notice.value && <Notice tone={s.notice.value.tone}>{s.notice.value.text}</Notice>;
  const keep = <button type="button" disabled={s.busy.value} onClick={() => s.close()}>Keep the tickets</button>;
  if (at === 'closed') {
    return (
      <section class="card panel stack giveup noprint">
        <h2>Rather other seats?</h2>
        <p>You can exchange tickets for others of this event that cost no more, until <strong>{dateText(new Date(until!).toISOString(), { dateStyle: 'full', timeStyle: 'short', timeZone: event!.timezone })}</strong>. What they cost less comes back to you.</p>
        <div role="status">{said}</div>
        <p class="row"><button ref={opener} disabled={s.busy.value} onClick={() => { shut.current = true; void s.begin(); }}>Exchange tickets</button></p>
      </section>
    );
  }
  if (at === 'done') {
    return (
      <section class="card panel stack giveup noprint">
        <h2 ref={h} tabIndex={-1}>{s.outcome.value}</h2>
        <p>The new tickets are above, and in an e-mail that is on its way. The codes of the old ones open nothing any more.</p>
        <p class="row"><button onClick={() => { shut.current = false; s.close(); }}>Close</button></p>
      </section>
    );
  }
  return (
    <section class="card panel stack giveup swap noprint">
      {at === 'which' ? <Which s={s} h={h} keep={keep} event={event} /> : at === 'seats' ? <Choose s={s} h={h} keep={keep} /> : <Sure s={s} h={h} keep={keep} />}
    </section>
  );
}

interface Part { s: Exchange; h: { current: HTMLHeadingElement | null }; keep: VNode }

function Said({ s }: { s: Exchange }): VNode {
  return <div role="status">{s.notice.value && <Notice tone={s.notice.value.tone}>{s.notice.value.text}</Notice>}</div>;
}

function Which({ s, h, keep, event }: Part & { event: Event | null }): VNode {
  const t = s.terms.value!;
  return (
    <form class="stack" onSubmit={(e) => {
      e.preventDefault();
      void s.seats();
    }}>
      <h2 ref={h} tabIndex={-1}>Which tickets do you exchange?</h2>
      {t.until && <p class="soft">Possible until {dateText(t.until, { dateStyle: 'full', timeStyle: 'short', timeZone: event?.timezone })}. You get as many others, which cost no more.</p>}
      <fieldset>
        <legend class="soft small">What was paid for each</legend>
        {t.tickets.map((one) => {
          const item = s.order.items.find((i) => i.ticket === one.ticket);
          return (
            <label key={one.ticket} class="choice">
              <input type="checkbox" disabled={!one.allowed} checked={s.give.value.includes(one.ticket)} onChange={(e) => {
                s.notice.value = null;
                s.give.value = e.currentTarget.checked ? [...s.give.value, one.ticket] : s.give.value.filter((g) => g !== one.ticket);
              }} />
              <span>{item ? place(item) : one.ticket}{one.allowed ? <strong class="num">{moneyText(one.paid)}</strong> : <span class="soft small">{sentence(one.why)}</span>}</span>
            </label>
          );
        })}
      </fieldset>
      <Said s={s} />
      <p class="row"><button class="primary" disabled={s.busy.value || !t.allowed}>Choose other seats</button>{keep}</p>
    </form>
  );
}

function Choose({ s, h, keep }: Part): VNode {
  const p = s.plan.value!, dearer = s.dearer.value, line = (key: string, name: string, price: string, remove: () => void): VNode => (
    <li key={key}>
      <span>{name}</span>
      <span class="row"><span class="num">{price}</span><button type="button" aria-label={`Remove ${name}`} onClick={() => { h.current?.focus(); remove(); }}>×</button></span>
    </li>
  );
  return (
    <>
      <h2 ref={h} tabIndex={-1}>Choose {plural(s.limit(), 'seat')} instead</h2>
      <p class="soft">Instead of {s.order.items.filter((i) => s.give.value.includes(i.ticket)).map(place).join('; ')}. Yours stay yours until you have confirmed.</p>
      <Seats s={s} />
      <h3>Your choice ({s.count.value} of {s.limit()})</h3>
      {!!s.count.value && (
        <ul class="plain picked">
          {[...s.chosen.value].map((i) => line(`${i}`, seatName(p, i), moneyText(tierOf(s, i).price), () => s.toggle(i)))}
          {s.areas.value.map((a) => {
            const sec = p.sections[a.section]!, price = p.tiers[sec.tier ?? 0]!.price;
            return line(sec.id, `${plural(a.n, 'ticket')}, ${sec.name}`, moneyText({ ...price, amount: price.amount * a.n }), () => s.setQuantity(a.section, 0, 0));
          })}
        </ul>
      )}
      <div role="status">
        {dearer && <Notice tone="warn">{`These cost ${moneyText(dearer)} more than what you give back. An exchange takes no money: please choose some that are no dearer.`}</Notice>}
        {s.notice.value && <Notice tone={s.notice.value.tone}>{s.notice.value.text}</Notice>}
      </div>
      <p class="row"><button class="primary" disabled={s.busy.value || !!dearer} onClick={() => void s.review()}>Continue</button>{keep}</p>
    </>
  );
}

function Sure({ s, h, keep }: Part): VNode {
  const x = s.held.value!, left = useSeconds(x.hold.expires_at);
  useEffect(() => { if (left === 0 && !s.busy.value) s.ranOut(); }, [left === 0]);
  return (
    <>
      <h2 ref={h} tabIndex={-1}>Exchange {plural(x.tickets.length, 'ticket')}?</h2>
      <p class="lease"><span class="soft">Held for you</span><strong class="big"><Countdown until={x.hold.expires_at} label="Time left to confirm" /></strong></p>
      <div class="pairs">
        <div><h3>You give back</h3><ul>{s.order.items.filter((i) => x.tickets.includes(i.ticket)).map((i) => <li key={i.ticket}>{place(i)}</li>)}</ul></div>
        <div><h3>You get</h3><ul>{x.hold.tickets.map((t) => <li key={t.id}>{place(t)}</li>)}</ul></div>
      </div>
      <dl class="sums receipt">
        <div><dt>Paid for yours</dt><dd class="num">{moneyText(x.paid)}</dd></div>
        <div><dt>The others cost</dt><dd class="num">{moneyText(x.cost)}</dd></div>
        <div class="total"><dt>Comes back to you</dt><dd class="num">{moneyText(x.back)}</dd></div>
      </dl>
      <p>{x.back.amount ? 'It goes back the way you paid. ' : ''}The codes of the old tickets stop working at once, and new ones are sent to you. This cannot be undone.</p>
      <Said s={s} />
      <p class="row"><button class="primary" disabled={s.busy.value} onClick={() => void s.confirm()}>Yes, exchange</button><button disabled={s.busy.value} onClick={() => void s.other()}>Other seats</button>{keep}</p>
    </>
  );
}
