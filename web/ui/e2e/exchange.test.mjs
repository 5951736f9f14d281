// Tickets that are exchanged for others of the event: which, for which, what comes back, are you sure.
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
const event = { ...f.event, timezone: 'Europe/Berlin', cancellation: { until_hours: 72, keep_fees: false } };
const price = f.price(f.hold([40, 41]).tickets);
const o = f.order('fulfilled', { total: price.total, refunded: eur(0), price, history: [{ at: f.after(0), status: 'awaiting_payment' }, { at: f.after(21), status: 'fulfilled' }] });
const path = `/orders/${o.order}`, exchange = `/v1/orders/${o.order}/exchange`;
const one = (ticket, more = {}) => ({ ticket, allowed: true, why: '', paid: eur(13050), ...more });
const terms = (tickets = [one('t40'), one('t41')], more = {}) => ({ order: o.order, allowed: true, why: '', until: '2027-02-26T19:00:00Z', tickets, ...more });
const floor = f.plan.sections.at(-1), place = f.ticket(floor.first);
// Nobody else has anything, so that each row has free seats.
const free = () => { const s = new Uint8Array(f.total); s[40] = s[41] = 2; return s; };
const heldOf = (tickets, others, back) => ({ order: o.order, tickets, hold: { ...f.hold(others), price: f.price(others.map(f.ticket)) }, paid: eur(13050 * tickets.length), cost: eur(13050 * tickets.length - back), back: eur(back) });
const routes = (order, tickets, more = {}) => ({
  [`GET ${api.event}`]: json(event), [`GET ${api.event}/plan`]: json(f.plan), [`GET ${api.event}/availability`]: () => json(f.snapshot(free())),
  [`GET /v1/orders/${o.order}`]: () => json(order()), [`GET /v1/orders/${o.order}/tickets`]: () => json({ tickets: tickets() }), [`GET ${exchange}`]: json(terms()),
  ...Object.fromEntries([40, 41, 42].map((i) => [`GET ${f.held(i).qr}`, { status: 200, contentType: 'image/png', body: png }])), ...more,
});
const live = { [`${api.event}/live`]: (s) => s.send(f.snapshot(free())) };
const row = async (page, section, name) => {
  await page.getByRole('button', { name: 'List' }).click();
  await page.getByLabel('Section').selectOption({ index: section });
  await page.getByRole('button', { name: new RegExp(`^Row ${name} ?\\d+ free`) }).click();
};
const seat = (page, name, n) => page.getByRole('button', { name: new RegExp(`^Row ${name}, seat ${n},`) });
/** Nothing is wider than the page. */
const fits = (page) => page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth);

for (const [width, size] of Object.entries({ 'a desk': { width: 1100, height: 850 }, 'a phone': { width: 375, height: 740 } })) {
  describe(`on ${width}`, () => {
    const shot = (page, name) => picture(page, `${name}-${width.slice(2)}`);
    test('one of two, by list and area, with what comes back, a lost answer and the new ticket', () => {
      const asked = [], sent = [], keys = new Set();
      let now = o, list = [f.held(40), f.held(41)], lose = true;
      return stage.open(`${path}#t=s`, { size, receipt: false, expected: (m) => /ERR_FAILED|409/.test(m), ws: live, routes: routes(() => now, () => list, {
        [`POST ${exchange}/hold`]: (r) => {
          asked.push(r.postDataJSON());
          if (asked.length === 1) return problem(409, 'tickets-taken', 'Tickets were taken', { taken_ordinals: asked[0].ordinals });
          return json(heldOf(['t40'], [floor.first], 5400));
        },
        [`DELETE ${exchange}/hold`]: { status: 204 },
        [`POST ${exchange}`]: (r) => {
          sent.push(r.postDataJSON());
          keys.add(r.headers()['idempotency-key']);
          if (lose) return 'abort';
          const items = [...o.items.map((i) => (i.ticket === 't40' ? { ...i, returned_at: f.after(60) } : i)), { ticket: place.id, section: place.section, row: '', seat: '', price: place.price }];
          list = [list[1], f.held(42, { ticket: place.id, section: place.section, row: '', seat: '', code: 'NEW0-NEW0-NEW0-NEW0' })];
          now = { ...o, refunded: eur(5400), items, price: f.price([f.ticket(41), place]), history: [...o.history, { at: f.after(60), status: 'fulfilled', note: 'seats exchanged by the buyer' }] };
          return json(now);
        },
      }) }, async (page) => {
        await sees(page, 'Rather other seats?');
        await accessible(page, 'offered');
        await page.getByRole('button', { name: 'Exchange tickets' }).click();
        await page.waitForFunction((text) => document.activeElement?.textContent === text, 'Which tickets do you exchange?');
        await page.getByRole('button', { name: 'Choose other seats' }).click();
        await sees(page, 'Please choose at least one ticket.');
        await page.getByRole('checkbox').first().check();
        await accessible(page, 'which');
        await shot(page, 'exchange-which');
        await page.getByRole('button', { name: 'Choose other seats' }).click();
        await page.waitForFunction((text) => document.activeElement?.textContent === text, 'Choose 1 seat instead');
        await sees(page, 'Live');
        await page.locator('canvas').waitFor();
        await accessible(page, 'the map');
        await shot(page, 'exchange-map');
        await page.getByRole('button', { name: 'Continue' }).click();
        await sees(page, 'Please choose 1 more seat');

        // With the keyboard alone: a seat that somebody else is quicker to get.
        await row(page, 0, '2');
        await seat(page, 2, 3).focus();
        await page.keyboard.press('Enter');
        await sees(page, 'Your choice (1 of 1)');
        await accessible(page, 'the list');
        await shot(page, 'exchange-list');
        assert.ok(await fits(page), 'the page is not wider than its window');
        await page.getByRole('button', { name: 'Continue' }).click();
        await sees(page, 'has just been taken by someone else. Please choose again.');
        await soon(async () => assert.ok(await seat(page, 2, 3).isDisabled()));

        await page.getByLabel('Section').selectOption({ index: f.plan.sections.length - 1 });
        await page.getByRole('button', { name: 'One more' }).click();
        await sees(page, '1 ticket, Floor');
        await soon(async () => assert.ok(await page.getByRole('button', { name: 'One more' }).isDisabled()));
        await page.getByRole('button', { name: 'Continue' }).click();
        await sees(page, 'Exchange 1 ticket?');
        await page.waitForFunction((text) => document.activeElement?.textContent === text, 'Exchange 1 ticket?');
        assert.equal(asked.length, 2);
        assert.deepEqual(asked[1], { tickets: ['t40'], areas: [{ section: 'floor', quantity: 1 }] });
        await soon(async () => assert.deepEqual((await page.locator('.swap .sums').innerText()).split('\n').filter(Boolean), ['Paid for yours', '€130.50', 'The others cost', '€76.50', 'Comes back to you', '€54.00']));
        await accessible(page, 'are you sure');
        await shot(page, 'exchange-sure');
        assert.ok(await fits(page), 'the page is not wider than its window');
        assert.deepEqual(sent, []);

        await page.getByRole('button', { name: 'Yes, exchange' }).dblclick();
        await sees(page, 'it is never done twice');
        await accessible(page, 'perhaps done');
        lose = false;
        await page.getByRole('button', { name: 'Yes, exchange' }).click();
        await sees(page, '1 ticket is exchanged, and €54.00 is on the way to you.');
        assert.equal(keys.size, 1);
        assert.deepEqual(sent.at(-1), { tickets: ['t40'], hold: 'hold-1' });
        await sees(page, 'NEW0-NEW0-NEW0-NEW0');
        await soon(async () => assert.equal(await page.getByText(f.held(40).code).count(), 0));
        await sees(page, 'Seats exchanged by the buyer.');
        await accessible(page, 'exchanged');
        await shot(page, 'exchange-done');
      });
    });
  });
}

test('what was scanned or passed on cannot be chosen; what is dearer is not asked for', () => {
  const dear = { ...o, items: o.items.map((i) => ({ ...i, price: eur(5900) })) };
  return stage.open(`${path}#t=s`, { receipt: false, ws: live, routes: routes(() => dear, () => [f.held(40), f.held(41)], {
    [`GET ${exchange}`]: json(terms([one('t40'), one('t41', { allowed: false, why: 'the ticket 101, row 1, seat 41 was passed on to somebody else; it cannot be given back' })])),
  }) }, async (page) => {
    await page.getByRole('button', { name: 'Exchange tickets' }).click();
    await sees(page, 'was passed on to somebody else');
    await soon(async () => assert.ok(await page.getByRole('checkbox').nth(1).isDisabled()));
    await soon(async () => assert.ok(await page.getByRole('checkbox').first().isChecked(), 'the only one that can be exchanged'));
    await page.getByRole('button', { name: 'Choose other seats' }).click();
    await row(page, 0, '2');
    await seat(page, 2, 3).click();
    await sees(page, 'These cost €70.00 more than what you give back.');
    await soon(async () => assert.ok(await page.getByRole('button', { name: 'Continue' }).isDisabled()));
    await accessible(page, 'dearer');
    await page.getByRole('button', { name: 'Keep the tickets' }).click();
    await page.waitForFunction(() => document.activeElement.textContent === 'Exchange tickets');
  });
});

test('too late, or not at all', async () => {
  for (const cancellation of [{ until_hours: 24 * 60, keep_fees: false }, null]) {
    await stage.open(`${path}#t=s`, { receipt: false, routes: routes(() => o, () => [f.held(40)], { [`GET ${api.event}`]: json({ ...event, cancellation }) }) }, async (page) => {
      await sees(page, f.held(40).code);
      await page.getByText(f.event.name).first().waitFor();
      await soon(async () => assert.equal(await page.getByText('Rather other seats?').count(), 0));
    });
  }
});
