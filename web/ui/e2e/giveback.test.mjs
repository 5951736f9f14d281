// Orders that are given back: which tickets, what for, are you sure; and what the page says afterwards.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { json, outDir, problem, soon } from './browser.mjs';
import * as f from './fixtures.mjs';
import { Stage, accessible, api, sees } from './stage.mjs';

let stage;
before(async () => { stage = await Stage.start(); });
after(() => stage.close());

const eur = (amount) => ({ amount, currency: 'EUR' });
const picture = (page, name) => process.env.ONSALE_SCREENSHOTS && page.screenshot({ path: `${outDir}${name}.png`, fullPage: true });
const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==', 'base64');
const event = { ...f.event, timezone: 'Europe/Berlin', fees: { per_ticket: eur(150), per_order: eur(200) }, cancellation: { until_hours: 72, keep_fees: true } };
const price = f.price(f.hold([40, 41]).tickets);
const o = f.order('fulfilled', { total: price.total, refunded: eur(0), price, history: [{ at: f.after(0), status: 'awaiting_payment' }, { at: f.after(20), status: 'paid' }, { at: f.after(21), status: 'fulfilled' }] });
const path = `/orders/${o.order}`, cancel = `/v1/orders/${o.order}/cancel`;
const until = '2027-02-26T19:00:00Z';
const quote = (tickets, back, more = {}) => ({ order: o.order, allowed: true, why: '', until, keep_fees: true, back: eur(back), tickets, ...more });
const both = ['t40', 't41'].map((ticket) => ({ ticket, allowed: true, why: '', back: eur(12900) }));
const routes = (order, tickets, more = {}) => ({
  [`GET ${api.event}`]: json(event), [`GET /v1/orders/${o.order}`]: () => json(order()), [`GET /v1/orders/${o.order}/tickets`]: () => json({ tickets: tickets() }),
  ...Object.fromEntries([40, 41].map((i) => [`GET ${f.held(i).qr}`, { status: 200, contentType: 'image/png', body: png }])), ...more,
});

describe('giving tickets back', () => {
  test('one of two: its amount is the server’s, and asked for twice it counts once', () => {
    const asked = [], sent = [], keys = new Set();
    let now = o, list = [f.held(40), f.held(41)], refuse = true;
    return stage.open(`${path}#t=s`, { receipt: false, expected: (m) => /409/.test(m), routes: routes(() => now, () => list, {
      [`GET ${cancel}`]: (r) => {
        const tickets = new URL(r.url()).searchParams.getAll('ticket');
        asked.push(tickets);
        return json(tickets.length ? quote(both, 12345) : quote(both, 25800));
      },
      [`POST ${cancel}`]: (r) => {
        sent.push(r.postDataJSON());
        keys.add(r.headers()['idempotency-key']);
        if (refuse) return problem(409, 'conflict', 'Not possible in this state', { detail: 'the payment is being captured; a part of it can be given back in a moment' });
        list = [list[1]];
        now = { ...o, status: 'partially_refunded', refunded: eur(12345), items: o.items.map((i) => (i.ticket === 't40' ? { ...i, returned_at: f.after(60) } : i)), history: [...o.history, { at: f.after(60), status: 'partially_refunded', note: 'refunded by the buyer' }] };
        return json(now);
      },
    }) }, async (page) => {
      await sees(page, 'Cannot come?');
      await sees(page, '26 February 2027');
      await sees(page, 'fees are not given back');
      assert.deepEqual(asked, []);
      await accessible(page, 'offered');
      await page.getByRole('button', { name: 'Give tickets back' }).click();
      await sees(page, 'Which tickets do you give back?');
      await page.waitForFunction((text) => document.activeElement?.textContent === text, 'Which tickets do you give back?');
      await page.getByRole('button', { name: 'Continue' }).click();
      await sees(page, 'Please choose at least one ticket.');
      await page.getByRole('checkbox').first().check();
      await accessible(page, 'which');
      await picture(page, 'giveback-which');
      await page.getByRole('button', { name: 'Continue' }).click();
      await sees(page, 'Give 1 ticket back?');
      await sees(page, '€123.45');
      assert.deepEqual(asked, [[], ['t40']]);
      assert.deepEqual(sent, []);
      await accessible(page, 'are you sure');
      await picture(page, 'giveback-sure');
      await page.getByRole('button', { name: 'Yes, give back' }).click();
      await sees(page, 'The payment is being captured');
      refuse = false;
      await page.getByRole('button', { name: 'Yes, give back' }).click();
      await sees(page, '1 ticket is given back, and €123.45 is on the way to you.');
      assert.deepEqual(sent, [{ tickets: ['t40'] }, { tickets: ['t40'] }]);
      assert.equal(keys.size, 1);
      await sees(page, 'Refunded by the buyer.');
      await sees(page, '€123.45 of €263.00 goes back the way you paid');
      await soon(async () => assert.equal(await page.getByText(f.held(40).code).count(), 0));
      await sees(page, f.held(41).code);
      await soon(async () => assert.deepEqual((await page.locator('.sums.receipt').innerText()).split('\n').filter(Boolean), ['Paid', '€263.00', 'Given back, or on its way', '-€123.45', 'In all', '€139.55']));
      await accessible(page, 'given back');
      await picture(page, 'giveback-done');
    });
  });

  test('what was scanned or passed on cannot be chosen, and the page says why', () => {
    const why = 'the ticket 101, row 1, seat 41 was passed on to somebody else; it cannot be given back';
    return stage.open(`${path}#t=s`, { receipt: false, routes: routes(() => o, () => [f.held(40), f.gone(41, 'transferred', { holder: { name: 'Grace', email: 'g@example.org' } })], {
      [`GET ${cancel}`]: json(quote([both[0], { ...both[1], allowed: false, why, back: eur(0) }], 0, { allowed: false, why })),
    }) }, async (page) => {
      await page.getByRole('button', { name: 'Give tickets back' }).click();
      await sees(page, 'was passed on to somebody else');
      await soon(async () => assert.ok(await page.getByRole('checkbox').nth(1).isDisabled()));
      await soon(async () => assert.ok(await page.getByRole('checkbox').first().isChecked(), 'the only one that can be given back'));
      await accessible(page, 'out of hand');
      await picture(page, 'giveback-out-of-hand');
      await page.getByRole('button', { name: 'Keep the tickets' }).click();
      await page.waitForFunction(() => document.activeElement.textContent === 'Give tickets back'); // the focus follows the rendering
    });
  });

  test('too late, or not at all', async () => {
    await stage.open(`${path}#t=s`, { receipt: false, routes: routes(() => o, () => [f.held(40)], { [`GET ${api.event}`]: json({ ...event, cancellation: { until_hours: 24 * 60, keep_fees: false } }) }) }, async (page) => {
      await sees(page, 'Tickets could be given back until');
      await soon(async () => assert.equal(await page.getByRole('button', { name: 'Give tickets back' }).count(), 0));
      await accessible(page, 'too late');
    });
    await stage.open(`${path}#t=s`, { receipt: false, routes: routes(() => o, () => [f.held(40)], { [`GET ${api.event}`]: json({ ...event, cancellation: null }) }) }, async (page) => {
      await sees(page, f.held(40).code);
      await page.getByText(f.event.name).first().waitFor();
      await soon(async () => assert.equal(await page.getByText('Cannot come?').count(), 0));
    });
  });

  test('an order that is not paid', () => {
    let now = f.order('awaiting_payment');
    return stage.open(`${path}#t=s`, { receipt: false, routes: routes(() => now, () => [], { [`POST ${cancel}`]: () => json(now = f.order('cancelled', { history: [...now.history, { at: f.after(5), status: 'cancelled', note: 'cancelled by the buyer' }] })) }) }, async (page) => {
      await page.getByRole('button', { name: 'Cancel the order' }).click();
      await sees(page, 'Cancel the order?');
      await accessible(page, 'are you sure');
      await page.getByRole('button', { name: 'Yes, cancel it' }).click();
      await sees(page, 'The order is cancelled.');
      await sees(page, 'Cancelled by the buyer.');
      await accessible(page, 'cancelled');
    });
  });

  test('all of it, refunded', () => {
    const gone = { ...o, status: 'refunded', refunded: price.total, items: o.items.map((i) => ({ ...i, returned_at: f.after(60) })), history: [...o.history, { at: f.after(60), status: 'refunded', note: 'refunded by admin: storm' }] };
    return stage.open(`${path}#t=s`, { receipt: false, routes: routes(() => gone, () => []) }, async (page) => {
      await sees(page, '€263.00 of €263.00 goes back the way you paid');
      await sees(page, 'Refunded by admin: storm.');
      await soon(async () => assert.equal(await page.getByText('given back', { exact: true }).count(), 2));
      await soon(async () => assert.equal(await page.getByRole('button', { name: 'Send the e-mail again' }).count(), 0));
      await accessible(page, 'refunded');
      await picture(page, 'giveback-refunded');
    });
  });

  test('seats that were exchanged', () => {
    const other = f.ticket(42), now = { ...o, price: f.price([f.ticket(41), other]), items: [...o.items.map((i, n) => (n ? i : { ...i, returned_at: f.after(60) })), { ticket: other.id, section: other.section, row: other.row, seat: other.seat, price: other.price }] };
    return stage.open(`${path}#t=s`, { receipt: false, routes: routes(() => now, () => [f.held(41), f.held(42, { qr: '/v1/none' })]), expected: (m) => /404/.test(m) }, async (page) => {
      await sees(page, 'exchanged');
      await soon(async () => assert.match(await page.locator('section h2').filter({ hasText: '€' }).textContent(), /^2 tickets, €263\.00$/));
    });
  });
});

describe('the e-mail again', () => {
  const mail = `POST /v1/orders/${o.order}/email`;
  test('on its way', () => stage.open(`${path}#t=s`, { receipt: false, routes: routes(() => o, () => [f.held(40)], { [mail]: json({ status: 'pending', recipient: 'ada@example.com' }, 202) }) }, async (page) => {
    await page.getByRole('button', { name: 'Send the e-mail again' }).click();
    await sees(page, 'The e-mail is on its way to ada@example.com.');
    await accessible(page, 'sent');
  }));

  test('too often, and to nobody', async () => {
    await stage.open(`${path}#t=s`, { receipt: false, expected: (m) => /429/.test(m), routes: routes(() => o, () => [f.held(40)], { [mail]: problem(429, 'too-many-requests', 'Too many requests', { detail: 'the confirmation was sent 3 times within the hour' }) }) }, async (page) => {
      await page.getByRole('button', { name: 'Send the e-mail again' }).click();
      await sees(page, 'was sent 3 times within the hour');
    });
    await stage.open(`${path}#t=s`, { receipt: false, routes: routes(() => ({ ...o, buyer: { name: 'Guest', email: 'guest@onsale.invalid' } }), () => [f.held(40)]) }, async (page) => {
      await sees(page, f.held(40).code);
      await soon(async () => assert.equal(await page.getByRole('button', { name: 'Send the e-mail again' }).count(), 0));
    });
  });
});
