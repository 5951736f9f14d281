// The console's sections about orders, money, events, messages and the door, with the server played by the test.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { json, problem, soon, until } from './browser.mjs';
import * as f from './fixtures.mjs';
import { Stage, accessible, sees } from './stage.mjs';

let stage;
before(async () => { stage = await Stage.start(); });
after(() => stage.close());

const eur = (amount) => ({ amount, currency: 'EUR' });
const O = f.order().order, P = '0190a3b2-7c4d-7e8f-9a0b-bbbbbbbbbbbb', tickets = [40, 41].map(f.ticket);
const payment = (more = {}) => ({
  payment: P, order: O, event: f.id, gateway: 'sandbox', attempt: 1, status: 'captured', amount: eur(26300), refunded: eur(0), created_at: f.after(5), updated_at: f.after(9),
  failures: 0, next_try_at: null, compared_at: f.after(60), ...more,
});
const refund = (more = {}) => ({
  refund: 'r1', order: O, payment: P, event: f.id, status: 'pending', amount: eur(5000), tickets: [], reason: 'goodwill', actor: 'admin', created_at: f.after(90), updated_at: f.after(90),
  failures: 0, next_try_at: null, ...more,
});
const email = (more = {}) => ({ id: 'm1', kind: 'confirmation', order: O, recipient: 'ada@example.com', status: 'sent', attempts: 1, last_error: '', next_at: null, sent_at: f.after(12), created_at: f.after(10), ...more });
const promo = (more = {}) => ({ id: 'p1', code: 'SPRING', percent: '12.5', amount: null, max_uses: 500, per_buyer: 1, used: 17, starts_at: null, ends_at: f.after(86400), active: true, note: 'Newsletter', created_at: f.after(0), ...more });
const hook = (more = {}) => ({ id: 'w1', url: 'https://hooks.example/onsale', types: ['order.paid'], active: true, why_inactive: '', note: 'Bookkeeping', created_at: f.after(0), rotates_until: null, ...more });
/** Paid: two tickets, fees on each and on the order. */
const paid = (more = {}) => {
  const price = f.price(tickets);
  return {
    ...f.order('fulfilled'), total: price.total, refunded: eur(0), price, visitor: 'v-1', items: f.order().items.map((i, n) => ({ ...i, tier: 'Front', ...(n ? {} : { attributes: ['restricted_view'], entrance: 'Door B' }) })),
    history: [{ at: f.after(0), status: 'awaiting_payment' }, { at: f.after(9), status: 'paid' }, { at: f.after(10), status: 'fulfilled', note: 'the money was taken' }],
    payments: [payment({ amount: price.total })], refunds: [], ...more,
  };
};
const routes = (more = {}) => ({
  'GET /v1/admin/rooms': json({ rooms: [f.adminRoom()] }), 'GET /v1/admin/events': json({ events: f.events, next_cursor: null }), 'GET /v1/admin/emails': json({ emails: [email()], next_cursor: null }),
  'GET /v1/admin/orders': json({ orders: [paid()], next_cursor: null }), [`GET /v1/admin/orders/${O}`]: json(paid()), ...more,
});
const live = { '/v1/admin/live': (s) => s.send({ at: f.after(0), rooms: [f.adminRoom()], orders_per_minute: 1, p95_ms: 3, errors_per_minute: 0, reachable: true }) };

/** Opens a section as a signed-in operator. */
const at = (section, more, play, expected) => stage.open('/console', { routes: routes(more), ws: live, expected, permissions: ['clipboard-write', 'clipboard-read'] }, async (page, got) => {
  await page.getByLabel('Admin token').fill('good');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('.uplot').first().waitFor();
  await page.getByRole('navigation', { name: 'Console sections' }).getByRole('button', { name: section, exact: true }).click();
  await page.getByRole('heading', { level: 1, name: section }).waitFor();
  return play(page, (name, exact = true) => page.getByRole('button', { name, exact }).click(), got);
});
const focused = (page) => page.evaluate(() => document.activeElement?.textContent || document.activeElement?.tagName);

test('orders are searched by words, state and event; one is opened and left for its row', () => {
  const asked = [];
  return at('Orders', { 'GET /v1/admin/orders': (r) => (asked.push(Object.fromEntries(new URL(r.url()).searchParams)), json({ orders: [paid()], next_cursor: asked.at(-1).cursor ? null : 'next' })) }, async (page, press) => {
    await sees(page, 'ada@example.com');
    await sees(page, /seat 20 \(restricted view · entrance: Door B\)$/);
    await soon(async () => assert.equal(await focused(page), 'Orders'));
    await accessible(page, 'orders');
    await page.getByLabel('Order, name or e-mail').fill(' ada ');
    await page.getByLabel('State').selectOption('fulfilled');
    await page.getByLabel('Event').selectOption(f.id);
    await press('Search');
    await until(() => asked.at(-1).event, 'the search');
    await press('Show more orders');
    await until(() => asked.at(-1).cursor, 'the next page');
    assert.deepEqual(asked.at(-1), { q: 'ada', status: 'fulfilled', event: f.id, limit: '25', cursor: 'next' });
    await page.getByRole('button', { name: O }).first().click();
    await page.getByRole('heading', { level: 1, name: 'Order of Ada Example' }).waitFor();
    await sees(page, 'the money was taken');
    await sees(page, '€263.00');
    await sees(page, 'Front · restricted view · entrance: Door B');
    await accessible(page, 'order');
    await press('← All orders');
    await until(async () => (await focused(page)) === O, 'the focus on the row');
    await soon(async () => assert.equal(await page.getByLabel('Order, name or e-mail').inputValue(), ' ada '));
  });
});

/** An order on the desk that changes with what is done; `calls` has what was sent. */
function desk(play, { answer, more = {}, expected, start = paid() } = {}) {
  const calls = [], state = { order: start };
  const post = (how) => (r) => {
    calls.push([how, r.postDataJSON(), r.headers()['idempotency-key']]);
    return answer(state, calls) ?? json(state.order);
  };
  return at('Orders', { [`GET /v1/admin/orders/${O}`]: () => json(state.order), [`POST /v1/admin/orders/${O}/refund`]: post('refund'), [`POST /v1/admin/orders/${O}/exchange`]: post('exchange'), ...more }, async (page, press) => {
    await page.getByRole('button', { name: O }).click();
    await page.getByRole('heading', { name: 'Refund', exact: true }).waitFor();
    await play(page, press, calls, state);
  }, expected);
}

test('chosen tickets are refunded without their fees, after the sum was named; the order is read again', () => desk(async (page, press, calls) => {
  await page.getByLabel('Some tickets').check();
  await press('Refund …', false);
  await sees(page, 'Choose at least one ticket.');
  await page.getByRole('group', { name: 'Tickets that are given back' }).getByLabel(/seat 20 \(restricted view · entrance: Door B\), €130\.50/).check();
  await page.getByLabel('Keep the fees').check();
  await page.getByLabel('Reason').first().fill('Broken seat');
  await accessible(page, 'refund form');
  await press('Refund €129.00 …');
  await sees(page, 'Give €129.00 back?');
  await sees(page, 'Ada Example gets €129.00 of €263.00 back; the fees stay.');
  await accessible(page, 'refund question');
  assert.equal(calls.length, 0);
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await soon(async () => assert.equal(await focused(page), 'Refund €129.00 …'));
  await press('Refund €129.00 …');
  await press('Refund €129.00');
  await sees(page, '€129.00 for 1 ticket goes back. In all that is €129.00 of €263.00.');
  assert.deepEqual(calls[0].slice(0, 2), ['refund', { tickets: ['t40'], keep_fees: true, reason: 'Broken seat' }]);
  assert.match(calls[0][2], /^[0-9a-f-]{32,}$/);
  await page.getByRole('group', { name: 'Tickets of the order' }).getByText('given back').waitFor();
  await page.getByRole('group', { name: 'Refunds of the order' }).getByText('€129.00').waitFor();
  await accessible(page, 'partly refunded');
  await soon(async () => assert.notEqual(await focused(page), 'BODY'));
}, { answer: (s) => { s.order = paid({ status: 'partially_refunded', refunded: eur(12900), items: paid().items.map((i, n) => ({ ...i, ...(n ? {} : { returned_at: f.after(100) }) })), refunds: [refund({ amount: eur(12900), tickets: ['t40'], status: 'done' })] }); } }));

test('a lost answer keeps the question, what was filled in and the key, over a reload too', () => desk(async (page, press, calls) => {
  const ask = async () => {
    await page.getByLabel('An amount; the tickets stay the buyer’s').check();
    await page.getByLabel('Amount in EUR').fill('12,50');
    await press('Refund €12.50 …');
    await press('Refund €12.50');
    await sees(page, 'No connection to the server');
  };
  await page.getByLabel('An amount; the tickets stay the buyer’s').check();
  await page.getByLabel('Amount in EUR').fill('300');
  await press('Refund …', false);
  await sees(page, 'The amount must be more than nothing, and at most €263.00');
  await soon(async () => assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-invalid')), 'true'));
  await accessible(page, 'wrong amount');
  await ask();
  await accessible(page, 'lost answer');
  await press('Try again: Refund €12.50');
  await until(() => calls.length === 2, 'the second try');
  await sees(page, 'No connection to the server');
  await page.reload();
  await page.locator('.uplot').first().waitFor();
  await press('Orders');
  await page.getByRole('button', { name: O }).click();
  await ask();
  await press('Try again: Refund €12.50');
  await sees(page, '€12.50 goes back. In all that is €12.50 of €263.00.');
  assert.equal(new Set(calls.map((c) => c[2])).size, 1, 'one key for one refund');
  assert.deepEqual(calls[0][1], { amount: 1250 });
  // The same once more is another refund.
  await page.getByLabel('An amount; the tickets stay the buyer’s').check();
  await page.getByLabel('Amount in EUR').fill('12.50');
  await press('Refund €12.50 …');
  await press('Refund €12.50');
  await until(() => calls.length === 5, 'the second refund');
  assert.notEqual(calls[4][2], calls[3][2]);
}, {
  answer: (s, calls) => {
    if (calls.length < 4) return 'abort';
    s.order = paid({ status: 'partially_refunded', refunded: eur(1250 * (calls.length - 3)) });
  },
  expected: (m) => /ERR_FAILED/.test(m),
}));

test('an order that is refunded whole has no more to refund, and the focus is not lost', () => desk(async (page, press) => {
  await press('Refund €263.00 …');
  await press('Refund €263.00');
  await sees(page, 'In all that is €263.00 of €263.00.');
  await page.getByRole('heading', { name: 'Refund', exact: true }).waitFor({ state: 'detached' });
  await until(async () => (await focused(page)) === 'Order of Ada Example', 'the focus on the heading');
}, { answer: (s) => { s.order = paid({ status: 'refunded', refunded: eur(26300) }); } }));

test('tickets are exchanged for free ones from a list, none of them dearer', () => {
  const free = (n, amount = 12900) => ({ ...f.ticket(n), price: eur(amount), status: 'available' }), lists = [];
  return desk(async (page, press, calls) => {
    await page.getByRole('heading', { name: 'Exchange tickets' }).click();
    const panel = page.locator('details').filter({ hasText: 'Exchange tickets' });
    await press('Exchange tickets …');
    await sees(page, 'Choose the tickets that are given back.');
    await panel.getByLabel(/seat 20 \(.+\), €129\.00/).check();
    await panel.getByLabel(/seat 21, €129\.00/).check();
    const first = panel.getByLabel(/^Instead of .+seat 20/), second = panel.getByLabel(/^Instead of .+seat 21/);
    await first.selectOption('t70');
    await until(async () => !(await second.locator('option[value=t70]').count()), 'each ticket to be chosen once');
    await second.selectOption('t72');
    await press('Exchange 2 tickets …');
    await sees(page, 'The others cost €21.00 more.');
    await second.selectOption('t71');
    await accessible(page, 'exchange form');
    await press('Exchange 2 tickets …');
    await sees(page, 'Ada Example gets €40.00 back');
    await accessible(page, 'exchange question');
    await press('Exchange 2 tickets');
    await sees(page, 'Somebody has one of these tickets.');
    await press('Try again: Exchange 2 tickets');
    await sees(page, '2 tickets exchanged.');
    assert.deepEqual(calls.map((c) => c.slice(0, 2)), Array(2).fill(['exchange', { tickets: ['t40', 't41'], to: ['t70', 't71'] }]));
    assert.ok(lists.every((q) => q.status === 'available' && q.section === 's0'));
  }, {
    more: { [`GET /v1/events/${f.id}/plan`]: json(f.plan), [`GET /v1/events/${f.id}/tickets`]: (r) => (lists.push(Object.fromEntries(new URL(r.url()).searchParams)), json({ tickets: [free(70), free(71, 8900), free(72, 15000)], next_cursor: null })) },
    answer: (s, calls) => {
      if (calls.length === 1) return problem(409, 'tickets-taken', 'Tickets are gone', { detail: 'Somebody has one of these tickets.' });
      s.order = paid({ items: [70, 71].map((n) => ({ ...f.ticket(n), ticket: `t${n}` })), refunded: eur(4000), status: 'partially_refunded' });
    },
    expected: (m) => /409/.test(m),
  });
});

test('a stuck payment says why and is tried at once; e-mails go out again', () => {
  const done = [];
  const stuck = paid({ status: 'paid', payments: [payment({ status: 'authorised', failures: 7, last_error: 'the gateway said 503', next_try_at: f.after(600), compared_at: null })] });
  return desk(async (page, press, calls, state) => {
    await sees(page, 'Failed 7 times');
    await sees(page, 'the gateway said 503');
    await press(`Try now: payment ${P.slice(-6)}`);
    await sees(page, 'The gateway does not answer. It failed again; the error stands with the payment.');
    state.order = paid();
    await press(`Try now: payment ${P.slice(-6)}`);
    await sees(page, 'It was done, and compared with the gateway’s books.');
    await page.getByText('Failed 7 times').waitFor({ state: 'detached' });
    await press('Send again: confirmation to ada@example.com');
    await sees(page, 'The confirmation is on its way to ada@example.com again.');
    await press('Send the confirmation again');
    await until(() => done.length === 4, 'the confirmation');
    assert.deepEqual(done, ['look', 'look', 'resend', 'again']);
  }, {
    start: stuck, answer: () => undefined, expected: (m) => /503/.test(m),
    more: {
      [`POST /v1/admin/payments/${P}/look`]: () => (done.push('look'), done.length === 1 ? problem(503, 'gateway-unavailable', 'The gateway does not answer', { detail: 'it failed again; the error stands with the payment' }) : json({ payment: P, order: O })),
      'POST /v1/admin/emails/m1/resend': () => (done.push('resend'), json(email({ status: 'pending' }), 202)),
      [`POST /v1/orders/${O}/email`]: () => (done.push('again'), json({ status: 'pending', recipient: 'ada@example.com' }, 202)),
    },
  });
});

test('money: numbers, what is stuck, differences, and files for bookkeeping', () => {
  const asked = [], looked = [];
  const state = {
    payments: { captured: 1204, authorised: 3, refunded: 17, declined: 88 }, refunds_pending: 2, uncompared: 5,
    stuck_payments: [payment({ status: 'authorised', failures: 9, last_error: 'capture: 503', next_try_at: f.after(900), compared_at: null })],
    stuck_refunds: [refund({ failures: 6, last_error: 'refund: connection reset', next_try_at: f.after(700) })],
    differences: [
      { at: f.after(-500), payment: P, order: O, ours: 'authorised', theirs: 'captured', action: 'noted as captured' },
      { at: f.after(-400), payment: P, order: O, ours: 'captured', theirs: 'missing', action: 'look into it: the gateway does not know the payment' },
    ],
  };
  return at('Money', {
    'GET /v1/admin/reconciliation': () => json(looked.length ? { ...state, stuck_payments: [], stuck_refunds: [], differences: [] } : state),
    [`POST /v1/admin/payments/${P}/look`]: () => (looked.push(1), json({ payment: P, order: O })),
    'GET /v1/admin/exports/payouts.csv': (r) => (asked.push([Object.fromEntries(new URL(r.url()).searchParams), r.headers().authorization]), { status: 200, contentType: 'text/csv', body: 'day,event\r\n' }),
    'GET /v1/admin/exports/orders.csv': problem(503, 'unavailable', 'The store does not answer'),
  }, async (page, press) => {
    await sees(page, '1,204');
    await sees(page, 'capture: 503');
    await sees(page, 'look into it: the gateway does not know the payment');
    await accessible(page, 'money');
    await page.getByRole('button', { name: /^Try now/ }).first().click();
    await sees(page, 'Nothing is stuck, and the gateway’s books say the same as ours.');
    await page.getByLabel('From').fill('2027-01-02T00:00');
    await page.getByLabel('Before').fill('2027-01-01T00:00');
    await press('Download as CSV');
    await sees(page, '“Before” must be later than “From”.');
    await page.getByLabel('Before').fill('2027-02-01T00:00');
    await press('Download as CSV');
    await sees(page, 'The store does not answer');
    await page.getByLabel('Table').selectOption('payouts');
    await page.getByLabel('Event').selectOption(f.id);
    const file = page.waitForEvent('download');
    await press('Download as CSV');
    let text = '';
    for await (const part of await (await file).createReadStream()) text += part;
    assert.equal(text, 'day,event\r\n');
    await soon(async () => assert.equal((await file).suggestedFilename(), 'payouts.csv'));
    assert.deepEqual(asked, [[{ event: f.id, from: '2027-01-01T23:00:00.000Z', to: '2027-01-31T23:00:00.000Z' }, 'Bearer good']]);
    await accessible(page, 'exported');
  }, (m) => /503/.test(m));
});

test('an order is opened from where its money is stuck', () => at('Money', {
  'GET /v1/admin/reconciliation': json({ payments: {}, refunds_pending: 0, uncompared: 0, stuck_payments: [payment({ failures: 5 })], stuck_refunds: [], differences: [] }),
}, async (page) => {
  await page.getByRole('button', { name: O }).click();
  await page.getByRole('heading', { level: 1, name: 'Order of Ada Example' }).waitFor();
}));

test('an event is cancelled by its name, and the page follows how far it is', () => {
  const sent = [];
  let left = 40;
  const far = () => ({ event: f.id, reason: 'Ill', keep_fees: true, started_at: f.after(1), finished_at: left ? null : f.after(9), orders_left: left, orders_cancelled: 5, orders_refunded: 55 + 40 - left, refunds_pending: left, refunds_done: 55, given_back: eur(123400) });
  return at('Event', {
    [`GET /v1/admin/events/${f.id}/promos`]: json({ promos: [], next_cursor: null }),
    [`POST /v1/admin/events/${f.id}/cancel`]: (r) => (sent.push(r.postDataJSON()), sent.length === 1 ? problem(503, 'unavailable', 'The store does not answer') : json(far(), 202)),
    [`GET /v1/admin/events/${f.id}/cancellation`]: () => json(far()),
  }, async (page, press) => {
    await press('Cancel the event …');
    const go = page.getByRole('dialog').getByRole('button', { name: /Cancel the event$/ });
    await page.getByRole('dialog').getByLabel('Reason').fill('Ill');
    await page.getByLabel('Keep the fees').check();
    await soon(async () => assert.ok(await go.isDisabled()));
    await page.getByLabel('Type the name of the event').fill('Nordlicht');
    await soon(async () => assert.ok(await go.isDisabled()));
    await page.getByLabel('Type the name of the event').fill(f.event.name);
    await accessible(page, 'cancel the event');
    await go.click();
    await sees(page, 'The store does not answer');
    await go.click();
    await sees(page, 'The event is cancelled');
    await sees(page, 'Orders ended: 60 of 100');
    await accessible(page, 'cancelling');
    left = 0;
    await page.clock.runFor(2500);
    await sees(page, 'Orders ended: 100 of 100');
    await sees(page, /^All is done/);
    assert.deepEqual(sent, Array(2).fill({ reason: 'Ill', keep_fees: true }));
  }, (m) => /503/.test(m));
});

test('promo codes are listed, made, made at random for a file, and switched off', () => {
  const sent = [], base = `/v1/admin/events/${f.id}/promos`;
  const list = [promo()];
  return at('Event', {
    [`GET ${base}`]: () => json({ promos: list, next_cursor: null }),
    [`POST ${base}`]: (r) => {
      const b = r.postDataJSON();
      sent.push(b);
      if (b.code === 'SPRING') return problem(409, 'conflict', 'Not now', { detail: 'the event has a promo code of this name already' });
      return json({ promos: Array.from({ length: b.quantity ?? 1 }, (_, n) => promo({ id: `n${n}`, code: b.code ?? `FAN-000${n}`, used: 0 })) }, 201);
    },
    [`PATCH ${base}/p1`]: (r) => (sent.push(r.postDataJSON()), (list[0] = promo({ active: r.postDataJSON().active })), json(list[0])),
  }, async (page, press) => {
    await sees(page, '17 of 500');
    await page.getByRole('switch', { name: 'Code SPRING' }).click();
    await sees(page, 'SPRING is switched off: nobody new can use it.');
    await page.getByRole('switch', { name: 'Code SPRING', checked: false }).waitFor();
    await page.getByText('Make codes').click();
    await press('Make the code');
    await sees(page, 'A code has 3 to 32 letters, digits and hyphens.');
    await page.getByRole('textbox', { name: /^Code/ }).fill('SPRING');
    await page.getByRole('textbox', { name: 'Percent' }).fill('10');
    await accessible(page, 'promo codes');
    await press('Make the code');
    await sees(page, 'Not now. The event has a promo code of this name already.');
    await soon(async () => assert.equal(await page.getByRole('textbox', { name: /^Code/ }).inputValue(), 'SPRING'));
    await page.getByLabel('Random ones').check();
    await page.getByLabel('How many codes').fill('3');
    await page.getByLabel('Takes off').selectOption('amount');
    await page.getByRole('textbox', { name: 'Amount in EUR' }).fill('5');
    await press('Make 3 codes');
    await sees(page, '3 codes made.');
    const file = page.waitForEvent('download');
    await press('Download as text');
    let text = '';
    for await (const part of await (await file).createReadStream()) text += part;
    assert.equal(text, 'FAN-0000\nFAN-0001\nFAN-0002\n');
    await accessible(page, 'random codes');
    assert.deepEqual(sent, [{ active: false }, { code: 'SPRING', percent: '10' }, { quantity: 3, amount: 500 }]);
  }, (m) => /409/.test(m));
});

test('limits, time and note of a promo code are changed; what cannot be is said before', () => {
  const sent = [], base = `/v1/admin/events/${f.id}/promos`;
  let p = promo({ ends_at: '2027-03-01T19:00:30Z' });
  return at('Event', {
    [`GET ${base}`]: () => json({ promos: [p], next_cursor: null }),
    [`PATCH ${base}/p1`]: (r) => {
      sent.push(r.postDataJSON());
      if (sent.length === 1) return problem(409, 'conflict', 'Not now', { detail: 'max_uses cannot be below the 21 orders that have used the code' });
      p = { ...p, ...r.postDataJSON() };
      return json(p);
    },
  }, async (page, press) => {
    const dialog = page.getByRole('dialog'), go = dialog.getByRole('button', { name: 'Change it' });
    await press('Change SPRING …');
    await until(async () => (await dialog.getByLabel('Good until').inputValue()) === '2027-03-01T20:00', 'the end as it is');
    await until(() => go.isDisabled(), 'nothing to be done');
    await dialog.getByLabel('Orders in all').fill('16');
    await dialog.getByText('Not below 17, which is how often it was used.').waitFor();
    await until(() => go.isDisabled(), 'what cannot be done');
    await accessible(page, 'change a promo code');
    await dialog.getByLabel('Orders in all').fill('20');
    await dialog.getByLabel('Orders of one buyer').fill('');
    await dialog.getByLabel('Note').fill('Newsletter of May');
    await go.click();
    await dialog.getByText('Not now. Max_uses cannot be below the 21 orders that have used the code.').waitFor();
    await dialog.getByLabel('Orders in all').fill('21');
    await go.click();
    await sees(page, 'SPRING is changed.');
    await sees(page, '17 of 21');
    await dialog.waitFor({ state: 'detached' });
    await page.getByText('1 each').waitFor({ state: 'detached' });
    await until(async () => (await page.evaluate(() => document.activeElement?.getAttribute('aria-label'))) === 'Change SPRING …', 'the focus where it was');
    assert.deepEqual(sent, [20, 21].map((max_uses) => ({ max_uses, per_buyer: null, note: 'Newsletter of May' })));
  }, (m) => /409/.test(m));
});

test('webhooks: the secret once, test, off, delete; deliveries go out again', () => {
  const sent = [];
  const list = [], note = (what, answer) => (r) => (sent.push(what), answer(r));
  const delivery = { id: 'd1', webhook: 'w1', message: 'x', type: 'order.paid', subject: O, status: 'failed', attempts: 12, last_status: 500, last_error: 'answered 500', next_at: null, delivered_at: null, created_at: f.after(0) };
  return at('Webhooks and e-mails', {
    'GET /v1/admin/webhooks': () => json({ webhooks: list }),
    'POST /v1/admin/webhooks': note('make', (r) => (list.push(hook()), assert.deepEqual(r.postDataJSON(), { url: hook().url, types: ['order.paid'], note: '' }), json(hook({ secret: 'whsec_abc' }), 201))),
    'PATCH /v1/admin/webhooks/w1': note('off', (r) => ((list[0] = hook(r.postDataJSON())), json(list[0]))),
    'POST /v1/admin/webhooks/w1/test': note('test', () => json({ message: 'x', ok: false, status: 500, error: 'it answered 500', took_ms: 12 })),
    'DELETE /v1/admin/webhooks/w1': note('delete', () => (list.pop(), { status: 204 })),
    'GET /v1/admin/webhooks/w1/deliveries': json({ deliveries: [delivery], next_cursor: null }),
    'POST /v1/admin/webhooks/deliveries/d1/replay': note('replay', () => json({ ...delivery, status: 'pending' }, 202)),
    'GET /v1/admin/emails': (r) => json({ emails: [email(new URL(r.url()).searchParams.get('status') ? { status: 'failed', last_error: '550 no such mailbox', sent_at: null } : {})], next_cursor: null }),
    'POST /v1/admin/emails/m1/resend': note('resend', () => json(email({ status: 'pending' }), 202)),
  }, async (page, press) => {
    await sees(page, 'No other system is told anything yet.');
    await page.getByText('Add a webhook').click();
    await press('Add it');
    await sees(page, 'Write the whole address, with https:// in front.');
    await page.getByLabel('Address').fill(hook().url);
    await page.getByLabel('order.paid').check();
    await press('Add it');
    await soon(async () => assert.equal(await page.getByLabel(/^Secret of/).inputValue(), 'whsec_abc'));
    await accessible(page, 'secret');
    await press('Copy it');
    await soon(async () => assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'whsec_abc'));
    await press('I have it');
    await page.getByLabel(/^Secret of/).waitFor({ state: 'detached' });
    await press(`Test ${hook().url}`);
    await sees(page, 'did not take the test: it answered 500.');
    await page.getByRole('switch').click();
    await sees(page, `Nothing is sent to ${hook().url} now.`);
    await page.getByRole('button', { name: /^Send again: order.paid/ }).click();
    await sees(page, 'order.paid is on its way again, with the same id.');
    await page.getByLabel('State of the e-mail').selectOption('failed');
    await sees(page, '550 no such mailbox');
    await accessible(page, 'messages');
    await press('Send again: confirmation to ada@example.com');
    await sees(page, 'is on its way to ada@example.com again.');
    await press(`Delete ${hook().url} …`);
    await press('Delete it');
    await sees(page, 'The webhook is gone.');
    assert.deepEqual(sent, ['make', 'test', 'off', 'replay', 'resend', 'delete']);
  });
});

test('a webhook gets another address and a new secret; what happened within a time is sent again once its number was named', () => {
  const sent = [];
  let h = hook(), fits = 0;
  return at('Webhooks and e-mails', {
    'GET /v1/admin/webhooks': () => json({ webhooks: [h] }),
    'PATCH /v1/admin/webhooks/w1': (r) => {
      const { rotate_secret: fresh, ...change } = r.postDataJSON();
      sent.push(r.postDataJSON());
      h = { ...h, ...change, ...(fresh && { rotates_until: f.after(86400) }) };
      return json(fresh ? { ...h, secret: 'whsec_new' } : h);
    },
    'GET /v1/admin/webhooks/w1/deliveries': json({ deliveries: [], next_cursor: null }),
    'GET /v1/admin/webhooks/w1/replay': (r) => (sent.push(Object.fromEntries(new URL(r.url()).searchParams)), json({ deliveries: fits })),
    'POST /v1/admin/webhooks/w1/replay': (r) => (sent.push(r.postDataJSON()), json({ deliveries: fits }, 202)),
  }, async (page, press) => {
    const dialog = page.getByRole('dialog'), gone = () => dialog.waitFor({ state: 'detached' });
    await press(`Change ${h.url} …`);
    const go = dialog.getByRole('button', { name: 'Change it' });
    await until(() => go.isDisabled(), 'nothing to be done');
    await dialog.getByLabel('Address').fill('hooks.example');
    await dialog.getByText('Write the whole address, with https:// in front.').waitFor();
    await accessible(page, 'change a webhook');
    await dialog.getByLabel('Address').fill('https://other.example/in');
    await dialog.getByLabel('order.paid').uncheck();
    await go.click();
    await sees(page, 'The webhook is changed.');
    await gone();
    await page.getByRole('rowheader', { name: 'https://other.example/in' }).waitFor();
    await page.getByRole('cell', { name: 'everything' }).waitFor();

    await press(`New secret for ${h.url} …`);
    await sees(page, 'Make a new secret?');
    await accessible(page, 'new secret?');
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await gone();
    await press(`New secret for ${h.url} …`);
    await press('Make a new secret');
    const secret = page.getByLabel(/^Secret of/);
    await until(async () => (await secret.inputValue()) === 'whsec_new', 'the secret');
    await until(() => secret.evaluate((e) => e === document.activeElement), 'the focus on the secret');
    await sees(page, /^The secret before signs too, until/);
    await press('I have it');
    await secret.waitFor({ state: 'detached' });
    await press(`New secret for ${h.url} …`);
    await dialog.getByText('the secret before that one stops signing at once').waitFor();
    await page.keyboard.press('Escape');
    await gone();

    await page.getByRole('heading', { name: 'Send again what happened within a time' }).click();
    await press('Send again …');
    await sees(page, 'Say from when, and up to when.');
    await page.getByLabel('From').fill('2027-03-01T20:00');
    await page.getByLabel('Before').fill('2027-03-01T20:00');
    await sees(page, '“Before” must be later than “From”.');
    await accessible(page, 'wrong time');
    await page.getByLabel('Before').fill('2027-03-01T21:00');
    await press('Send again …');
    await sees(page, 'All of that time has arrived: there is nothing to be sent again.');
    fits = 12;
    await page.getByLabel('Only what it has not got').uncheck();
    await press('Send again …');
    await sees(page, 'Send 12 messages again?');
    await accessible(page, 'send again?');
    await press('Send 12 messages');
    await sees(page, '12 messages are on the way again.');
    await gone();
    const span = { from: '2027-03-01T19:00:00.000Z', to: '2027-03-01T20:00:00.000Z' };
    assert.deepEqual(sent, [
      { url: 'https://other.example/in', types: [] }, { rotate_secret: true },
      { ...span, failed_only: 'true' }, { ...span, failed_only: 'false' }, { ...span, failed_only: false },
    ]);
  });
});

test('the door: every result by shape and word, a scan that failed is made again as the same one, the field keeps the focus', () => {
  const sent = [], code = 'T1ABC';
  const ticket = { admission: 'a', ticket: 't40', event: f.id, order: O, section: '101', row: '2', seat: '7', tier: 'Front', holder: 'Ada Example', attributes: ['accessible'], entrance: 'Door B' };
  const answers = [
    { result: 'admitted', ticket, scanned_at: f.after(60), scanned_by: 'admin', gate: 'North' }, { result: 'already_scanned', ticket, scanned_at: f.after(60), scanned_by: 'admin', gate: 'North' },
    { result: 'not_valid' }, 'abort', { result: 'wrong_event' }, { result: 'rotating_required', ticket }, { result: 'admitted', ticket, scanned_at: f.after(70), scanned_by: 'admin', gate: 'North' },
  ];
  return at('Door', {
    'POST /v1/admin/scan': (r) => {
      sent.push(r.postDataJSON());
      const a = answers.shift();
      return a === 'abort' ? a : json({ id: sent.at(-1).id, ticket: null, scanned_at: null, scanned_by: null, gate: null, ...a });
    },
    [`GET /v1/admin/events/${f.id}/scanlist`]: (r) => (new URL(r.url()).searchParams.get('format') === 'csv' ? { status: 200, contentType: 'text/csv', body: 'admission\r\n' } : json({ admissions: [{ state: 'scanned', scanned_at: f.after(1) }, { state: 'valid', scanned_at: null }, { state: 'refunded', scanned_at: null }] })),
  }, async (page, press) => {
    await sees(page, '1 of 2');
    const field = page.getByLabel('Code of the ticket'), word = page.locator('.verdict-word');
    const holds = () => until(() => field.evaluate((e) => e === document.activeElement), 'the focus in the field');
    await page.getByLabel('Gate').fill('North');
    await field.focus();
    /** As a scanner does it: keys, wherever the focus is. */
    const shoot = async (says) => {
      await page.keyboard.type(code);
      await page.keyboard.press('Enter');
      await until(async () => (await word.textContent()) === says, says);
      await holds();
      await soon(async () => assert.equal(await field.inputValue(), ''));
    };
    await shoot('Let in');
    await sees(page, '101, row 2, seat 7');
    await sees(page, 'accessible · entrance: Door B');
    await sees(page, '2 of 2');
    await accessible(page, 'admitted');
    await shoot('Already scanned');
    await sees(page, /^Let in .+, by admin, at North\.$/);
    await sees(page, / 101, row 2, seat 7 \(accessible · entrance: Door B\)/);
    await accessible(page, 'already scanned');
    // The focus is elsewhere, as after a click: nothing of the code is lost.
    await page.getByRole('heading', { level: 1 }).click();
    await shoot('Not valid');
    await shoot('Not checked');
    await press('Check it again');
    await until(async () => (await word.textContent()) === 'Another event', 'the answer');
    await holds();
    await shoot('Code does not change');
    await accessible(page, 'look');
    await press('I have looked: let them in');
    await until(async () => (await word.textContent()) === 'Let in', 'the answer');
    await holds();
    assert.equal(sent[3].id, sent[4].id);
    assert.equal(new Set(sent.map((s) => s.id)).size, 6);
    assert.deepEqual(sent.map((s) => s.manual), [false, false, false, false, false, false, true]);
    assert.ok(sent.every((s) => s.code === code && s.gate === 'North' && s.event === f.id));
    const file = page.waitForEvent('download');
    await press('Scan list as CSV');
    await soon(async () => assert.equal((await file).suggestedFilename(), `scanlist-${f.id}.csv`));
    await page.reload();
    await page.locator('.uplot').first().waitFor();
    await press('Door');
    await soon(async () => assert.equal(await page.getByLabel('Gate').inputValue(), 'North'));
  }, (m) => /ERR_FAILED/.test(m));
});

test('every section fits a phone', () => stage.open('/console', {
  routes: routes({
    'GET /v1/admin/reconciliation': json({ payments: { captured: 3 }, refunds_pending: 0, uncompared: 0, stuck_payments: [payment({ failures: 5, last_error: 'x' })], stuck_refunds: [], differences: [] }),
    'GET /v1/admin/webhooks': json({ webhooks: [hook()] }), 'GET /v1/admin/webhooks/w1/deliveries': json({ deliveries: [], next_cursor: null }),
    [`GET /v1/admin/events/${f.id}/promos`]: json({ promos: [promo()], next_cursor: null }), [`GET /v1/admin/events/${f.id}/scanlist`]: json({ admissions: [] }),
  }), ws: live, size: { width: 360, height: 780 },
}, async (page) => {
  await page.getByLabel('Admin token').fill('good');
  await page.getByRole('button', { name: 'Sign in' }).click();
  for (const section of ['Orders', 'Money', 'Event', 'Webhooks and e-mails', 'Door']) {
    await page.getByRole('button', { name: section, exact: true }).click();
    await page.getByRole('heading', { level: 1, name: section }).waitFor();
    if (section === 'Orders') {
      await page.getByRole('button', { name: O }).click();
      await page.getByRole('heading', { name: 'Refund', exact: true }).waitFor();
    }
    await accessible(page, `${section} on a phone`);
    await soon(async () => assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${section} scrolls sideways`));
  }
}));
