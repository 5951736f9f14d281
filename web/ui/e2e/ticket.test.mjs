// Tickets in the hands of people: on the order's page, and each on its own.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { generate, correction } from 'lean-qr';
import { json, outDir, problem, soon, until } from './browser.mjs';
import * as f from './fixtures.mjs';
import { Stage, accessible, api, sees } from './stage.mjs';

let stage;
before(async () => { stage = await Stage.start(); });
after(() => stage.close());

const phone = { width: 390, height: 844 };
const picture = (page, name) => process.env.ONSALE_SCREENSHOTS && page.screenshot({ path: `${outDir}${name}.png`, fullPage: true });
/** What the QR code on the page would be for a text. */
function path(text) {
  const q = generate(text, { minCorrectionLevel: correction.M });
  let d = '';
  for (let y = 0; y < q.size; y++) for (let x = 0; x < q.size; x++) if (q.get(x, y)) d += `M${x + 4} ${y + 4}h1v1h-1z`;
  return d;
}
const drawn = (page) => page.locator('svg.qr path').getAttribute('d');

describe('one ticket', () => {
  const a = f.admission(), at = `/t/${a.admission}`, url = `GET /v1/admissions/${a.admission}`;
  const open = (doc, play, more = {}) => stage.open(`${at}#t=holder`, { routes: { [url]: json(doc), ...more.routes }, receipt: false, size: phone, ...more.options }, play);

  test('the code, large, with everything that the door may ask', () => {
    let token;
    return open(a, async (page) => {
      await sees(page, a.code);
      assert.equal(token, 'Bearer holder');
      await soon(async () => assert.equal(await drawn(page), path(a.qr_text)));
      const box = await page.locator('svg.qr').boundingBox();
      assert.ok(box.width > 300 && box.y + box.height < phone.height, `the code is ${box.width} wide and ends at ${box.y + box.height}`);
      await soon(async () => assert.equal(await page.locator('h1').textContent(), f.event.name));
      await accessible(page, 'ticket');
      await picture(page, 'ticket');
      await page.emulateMedia({ colorScheme: 'dark' });
      await picture(page, 'ticket-dark');
      await page.emulateMedia({ media: 'print' });
      assert.ok(!(await page.getByRole('button', { name: 'PDF' }).isVisible()));
      await soon(async () => assert.ok(await page.locator('svg.qr').isVisible()));
    }, { routes: { [url]: (r) => ((token = r.headers().authorization), json(a)) } });
  });

  test('rotating codes change by themselves, without a connection, and say nothing aloud', () => {
    let asked = 0;
    const secret = Buffer.alloc(32, 7);
    const doc = { ...a, rotating: { secret: secret.toString('base64url'), step_s: 15, digits: 8 } };
    const code = (step) => {
      const count = Buffer.alloc(8);
      count.writeBigUInt64BE(BigInt(step));
      const sum = createHmac('sha256', secret).update(count).digest();
      return String((sum.readUInt32BE(sum[31] & 15) & 0x7fffffff) % 1e8).padStart(8, '0');
    };
    return open(doc, async (page, { context }) => {
      await page.locator('svg.qr').waitFor();
      await page.clock.pauseAt(new Date(Date.parse(f.after(0)) + 67_000));
      await context.setOffline(true);
      const seen = new Set();
      for (let i = 0; i < 4; i++) {
        const step = Math.floor(await page.evaluate(() => Date.now()) / 15_000), want = path(`${a.qr_text}.${code(step)}`);
        await until(async () => (await drawn(page)) === want, 'the code of the moment');
        seen.add(want);
        await page.clock.runFor(15_000);
      }
      assert.equal(seen.size, 4);
      await page.clock.resume();
      await soon(async () => assert.equal(await page.locator('[aria-live], [role=timer], [role=status], [role=alert]').filter({ hasText: /\d/ }).count(), 0));
      await accessible(page, 'rotating');
      await picture(page, 'ticket-rotating');
    }, {
      // What is asked later, as the clock is moved on, has no answer either.
      routes: { [url]: () => (asked++ ? problem(503, 'unavailable', 'Temporarily unavailable') : json(doc)) },
      options: { expected: (m) => /ERR_INTERNET_DISCONNECTED|Failed to load|503/.test(m) },
    });
  });

  for (const [state, says, more] of [
    ['scanned', 'Used at the door', { scanned_at: f.after(-300), valid: false }],
    ['transferred', 'Passed on to Grace', { ...f.gone(40, 'transferred'), admission: a.admission, holder: { name: 'Grace', email: 'g@example.org' } }],
    ['refunded', 'Refunded.', { ...f.gone(40, 'refunded'), admission: a.admission }],
    ['cancelled', 'Cancelled.', { valid: false }],
    ['exchanged', 'Exchanged for another ticket.', { ...f.gone(40, 'exchanged'), admission: a.admission }],
  ]) {
    test(`state ${state}`, () => open({ ...a, ...more, state }, async (page) => {
      await sees(page, says);
      await soon(async () => assert.equal(await page.locator('svg.qr').count(), 0));
      await soon(async () => assert.equal(await page.getByRole('button').count(), 0));
      await accessible(page, state);
    }));
  }

  test('scanned while it is shown: the page says so', () => {
    let doc = a;
    return open(a, async (page) => {
      await sees(page, a.code);
      doc = { ...a, state: 'scanned', valid: false, scanned_at: f.after(20) };
      await page.clock.runFor(21_000);
      await sees(page, 'Used at the door');
    }, { routes: { [url]: () => json(doc) } });
  });

  test('passing it on: who to, are you sure, the link', () => {
    const asked = [], link = 'https://tickets.example/t/x#t=y';
    let doc = a;
    return open(a, async (page) => {
      await page.getByRole('button', { name: /^Pass on/ }).click();
      await page.getByRole('button', { name: 'Continue' }).click();
      await sees(page, 'Please say who the ticket is for.');
      await page.getByLabel('Their name').fill('Grace');
      await page.getByLabel('Their e-mail').fill('grace');
      await page.getByRole('button', { name: 'Continue' }).click();
      await sees(page, 'Please enter an address');
      await accessible(page, 'a wrong address');
      await page.getByLabel('Their e-mail').fill('grace@example.org');
      await page.getByRole('button', { name: 'Continue' }).click();
      await sees(page, 'Pass the ticket on to Grace?');
      await page.waitForFunction((text) => document.activeElement?.textContent === text, 'Pass the ticket on to Grace?');
      await accessible(page, 'are you sure');
      await picture(page, 'ticket-sure');
      assert.equal(asked.length, 0);
      await page.getByRole('button', { name: 'Yes, pass it on' }).click();
      await sees(page, link);
      await sees(page, 'We write to grace@example.org with this link; whoever has it has the ticket.');
      await sees(page, 'Passed on to Grace');
      assert.deepEqual(asked, [{ name: 'Grace', email: 'grace@example.org' }]);
      await soon(async () => assert.equal(await page.locator('svg.qr').count(), 0));
      await accessible(page, 'passed on');
    }, { routes: {
      [url]: () => json(doc),
      [`POST /v1/admissions/${a.admission}/transfer`]: (r) => {
        asked.push(r.postDataJSON());
        doc = { ...a, ...f.gone(40, 'transferred'), admission: a.admission, holder: asked[0] };
        return json({ admission: 'x', ticket: a.ticket, holder: asked[0], holder_token: 'y', link, mailed: true });
      },
    } });
  });

  test('the door was quicker: the ticket stays, and the page says why', () => open(a, async (page) => {
    await page.getByRole('button', { name: /^Pass on/ }).click();
    await page.getByLabel('Their name').fill('Grace');
    await page.getByLabel('Their e-mail').fill('grace@example.org');
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.getByRole('button', { name: 'Yes, pass it on' }).click();
    await sees(page, 'The ticket was scanned at the door; it cannot be passed on.');
    await page.getByRole('button', { name: 'Keep the ticket' }).click();
    await page.getByRole('button', { name: /^Pass on/ }).waitFor();
    await soon(async () => assert.match(await page.evaluate(() => document.activeElement.textContent), /Pass on/));
  }, { routes: { [`POST /v1/admissions/${a.admission}/transfer`]: problem(409, 'conflict', 'Not possible in this state', { detail: 'the ticket was scanned at the door; it cannot be passed on' }) }, options: { expected: (m) => /409/.test(m) } }));

  test('no link, no ticket', () => stage.open(at, { routes: { [url]: problem(401, 'unauthorized', 'Credentials are missing or not valid', { detail: 'a ticket is seen with its link' }) }, receipt: false, expected: (m) => /401/.test(m) }, async (page) => {
    await sees(page, 'Please use that link.');
    await accessible(page, 'no link');
  }));
});

describe('tickets of an order', () => {
  const o = f.order('fulfilled', { history: [{ at: f.after(0), status: 'awaiting_payment' }, { at: f.after(20), status: 'paid', note: 'paid by card' }, { at: f.after(21), status: 'fulfilled' }] });
  const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==', 'base64');
  const routes = (tickets, more = {}) => ({
    [`GET ${api.event}`]: json(f.event), [`GET /v1/orders/${o.order}`]: json(o), [`GET /v1/orders/${o.order}/tickets`]: () => json({ tickets: tickets() }),
    ...Object.fromEntries([40, 41, 42].map((i) => [`GET ${f.held(i).qr}`, { status: 200, contentType: 'image/png', body: png }])), ...more,
  });

  test('each in its state', () => {
    const tickets = [f.held(40), f.gone(41, 'transferred', { holder: { name: 'Grace', email: 'g@example.org' } }), f.held(42, { state: 'scanned', valid: false, scanned_at: f.after(-60) })];
    return stage.open(`/orders/${o.order}#t=s`, { routes: routes(() => tickets), receipt: false }, async (page) => {
      await sees(page, 'Passed on to Grace');
      await sees(page, 'Used at the door');
      await sees(page, 'Paid by card.');
      await soon(async () => assert.equal(await page.getByRole('button', { name: /^Pass on/ }).count(), 1));
      await soon(async () => assert.equal(await page.getByRole('link', { name: /^On the phone/ }).getAttribute('href'), tickets[0].link));
      await page.locator('img[src^="data:image/png"]').waitFor();
      await accessible(page, 'states');
      await picture(page, 'order-states');
    });
  });

  test('passed on from here, and printed', () => {
    let list = [f.held(40), f.held(41)];
    const link = 'https://tickets.example/t/z#t=y', pdf = `GET /v1/orders/${o.order}/tickets.pdf`;
    return stage.open(`/orders/${o.order}#t=s`, {
      receipt: false,
      routes: routes(() => list, {
        [`POST /v1/orders/${o.order}/tickets/t40/transfer`]: (r) => {
          list = [f.gone(40, 'transferred', { holder: r.postDataJSON() }), list[1]];
          return json({ admission: 'z', ticket: 't40', holder: r.postDataJSON(), holder_token: 'y', link, mailed: false });
        },
        [pdf]: (r) => ({ status: r.headers().authorization === 'Bearer s' ? 200 : 401, contentType: 'application/pdf', body: '%PDF-1.4' }),
      }),
    }, async (page) => {
      const file = page.waitForEvent('download');
      await page.getByRole('button', { name: 'All as PDF' }).click();
      await soon(async () => assert.equal((await file).suggestedFilename(), 'tickets.pdf'));
      await page.getByRole('button', { name: /^Pass on/ }).first().click();
      await page.getByLabel('Their name').fill('Grace');
      await page.getByLabel('Their e-mail').fill('grace@example.org');
      await accessible(page, 'form');
      await picture(page, 'order-form');
      await page.getByRole('button', { name: 'Continue' }).click();
      await page.getByRole('button', { name: 'Yes, pass it on' }).click();
      await sees(page, link);
      await sees(page, 'Send them this link: whoever has it has the ticket.');
      await sees(page, 'Passed on to Grace');
      await soon(async () => assert.equal(await page.getByText(f.held(40).code).count(), 0));
      await sees(page, f.held(41).code);
      await accessible(page, 'passed on');
      await picture(page, 'order-passed');
    });
  });

  test('an event that takes codes from phones only shows no picture of one', () => {
    const t = f.held(40, { rotating: { secret: 'AAAA', step_s: 15, digits: 8 } });
    return stage.open(`/orders/${o.order}#t=s`, { routes: routes(() => [t]), receipt: false }, async (page) => {
      await sees(page, 'from a phone only');
      await soon(async () => assert.equal(await page.getByRole('link', { name: 'Open the ticket' }).getAttribute('href'), t.link));
      await soon(async () => assert.equal(await page.locator('.ticket img').count(), 0));
      await accessible(page, 'rotating');
    });
  });
});
