// The whole journey against the real program with its own Redis and Postgres: queue, turn, seats, checkout, tickets, and
// an operator who pauses and resumes while somebody waits. Any console error or policy violation on the way fails it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { complaints, launch, soon, violations } from './browser.mjs';
import { startIssuer } from './issuer.mjs';
import { sees } from './stage.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const binary = process.env.ONSALE_BIN ?? join(root, 'bin/onsale');
const images = process.env.ONSALE_SCREENSHOTS === '1' ? join(root, 'docs/images') : null;

let demo, folder, url, token, browser, issuer;
const said = [];

before(async () => {
  assert.ok(existsSync(binary), `${binary} is missing: build it with "make build"`);
  // The program refuses settings it does not know, and these are ours.
  const plain = Object.fromEntries(Object.entries(process.env).filter(([k]) => !k.startsWith('ONSALE_')));
  folder = await mkdtemp(join(tmpdir(), 'onsale-e2e-'));
  issuer = await startIssuer('onsale', { sub: '7', email: 'grace@buyers.example', email_verified: true });
  const env = { ...plain, ONSALE_IDENTITY_ISSUER: issuer.url, ONSALE_IDENTITY_AUDIENCE: 'onsale', ONSALE_IDENTITY_LABEL: 'Example account', ONSALE_ACCOUNTS_SIGN_IN: 'both' };
  demo = spawn(binary, ['demo', '--addr', '127.0.0.1:0', '--data-dir', folder, '--no-browser'], { stdio: ['ignore', 'pipe', 'pipe'], env });
  let log = '';
  demo.stderr.on('data', (d) => { log += d; });
  const found = {};
  await new Promise((ok, fail) => {
    const timer = setTimeout(() => fail(new Error(`the demo did not start within a minute\n${log}`)), 60_000);
    demo.once('exit', (code) => fail(new Error(`the demo ended with ${code}\n${log}`)));
    createInterface({ input: demo.stdout }).on('line', (line) => {
      const [, key, value] = /^([a-z-]+): (\S+)$/.exec(line) ?? [];
      if (key) found[key] = value;
      if (found.url && found['admin-token']) {
        clearTimeout(timer);
        ok();
      }
    });
  });
  ({ url, 'admin-token': token } = found);
  browser = await launch();
  if (images) await mkdir(images, { recursive: true });
}, { timeout: 90_000 });

after(async () => {
  await browser?.close();
  issuer?.close();
  if (demo && demo.exitCode === null) {
    const ended = new Promise((ok) => demo.once('exit', (code) => ok(code)));
    demo.kill('SIGINT');
    assert.equal(await ended, 0, 'the demo stops cleanly');
  }
  if (folder) await rm(folder, { recursive: true, force: true });
}, { timeout: 60_000 });

/** A browser of its own: a person. `expected` lets through complaints the test is about. */
async function person(size = { width: 1280, height: 860 }, expected = undefined) {
  const context = await browser.newContext({ viewport: size, locale: 'en-GB', timezoneId: 'Europe/Berlin' });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  said.push(complaints(page, expected));
  return page;
}
const picture = async (page, name) => { if (images) await page.screenshot({ path: join(images, `${name}.png`) }); };
const nothingSaid = () => assert.deepEqual(said.flat(), [], 'a page complained');

async function eventNamed(part) {
  const { events } = await (await fetch(`${url}/v1/events?limit=50`)).json();
  const e = events.find((x) => x.name.includes(part) || x.type === part);
  assert.ok(e, `an event like ${part} among ${events.map((x) => x.name)}`);
  return e;
}

/** An operator's call. */
async function admin(method, path, body) {
  const r = await fetch(`${url}/v1/admin/${path}`, { method, headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: JSON.stringify(body) });
  assert.ok(r.ok, `${method} ${path}: ${r.status} ${r.ok ? '' : await r.text()}`);
  return r.json();
}

/** A small house: two rows of ten seats, and a floor. */
const smallEvent = (name, more = {}) => admin('POST', 'events', {
  name, type: 'concert', starts_at: '2031-06-01T19:00:00Z', currency: 'EUR', max_per_buyer: 6, status: 'on_sale',
  venue: { name: 'The mill', address: 'Mill Lane 1', city: 'Bremen', country: 'DE' }, artists: ['Mill Trio'],
  generate: { kind: 'rows', sections: [{ name: 'Stalls', rows: 2, seats_per_row: 10, category: 'Stalls' }] }, prices: { Stalls: { amount: 4500, type: 'stalls' } },
  areas: [{ name: 'Floor', capacity: 40, price: 2900 }], room: { state: 'open' }, ...more,
});
/** Opens rows in the list. */
async function openRow(page, row) {
  await page.getByRole('button', { name: 'List' }).click();
  await page.getByLabel('Section').selectOption({ index: 0 });
  await page.getByRole('button', { name: new RegExp(`^Row ${row} ?\\d+ free`) }).click();
}
const seatOf = (page, row, seat) => page.getByRole('button', { name: new RegExp(`^Row ${row}, seat ${seat},`) });

/** From the queue page through the turn into the shop. */
async function enterShop(page, event) {
  await page.goto(`${url}/queue/${event.id}`);
  await page.getByRole('button', { name: 'Enter the shop' }).click();
  await page.waitForURL(`**/events/${event.id}`);
  await sees(page, 'Choose your seats');
}

/** Fills in checkout up to the payment. */
async function toPayment(page, name) {
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('E-mail').fill('ada@example.com');
  await page.getByRole('button', { name: 'Review your order' }).click();
  await page.getByRole('button', { name: 'Place the order' }).click();
  await sees(page, 'Test payment method');
}

test('from the list of events to paid tickets', { timeout: 120_000 }, async () => {
  const event = await eventNamed('theatre'), page = await person();
  await page.goto(url);
  await sees(page, event.name);
  // The demo's pictures come from the program itself, and its series is four evenings.
  const drawn = () => page.locator('.cards img').evaluateAll((all) => all.map((i) => [new URL(i.src).origin, i.complete && i.naturalWidth > 0]));
  await page.locator('.cards li').last().scrollIntoViewIfNeeded();
  await soon(async () => assert.deepEqual(await drawn(), Array(7).fill([url, true])));
  await page.evaluate(() => scrollTo(0, 0));
  await picture(page, 'events');
  const evening = await person();
  await evening.goto(url);
  await evening.getByRole('link', { name: 'Several dates' }).first().click();
  await sees(evening, 'Other dates');
  await soon(async () => assert.equal(await evening.locator('.hero img.shot').evaluate((i) => i.complete && i.naturalWidth > 0), true));
  assert.deepEqual(await violations(evening), []);
  await evening.close();
  await page.getByRole('link', { name: event.name }).click();
  await sees(page, 'Live');
  assert.deepEqual(await violations(page), []);
  await page.getByRole('link', { name: 'Join the queue' }).click();
  await page.getByRole('button', { name: 'Enter the shop' }).waitFor();
  await picture(page, 'your-turn');
  await page.getByRole('button', { name: 'Enter the shop' }).click();
  await page.waitForURL(`**/events/${event.id}`);

  await page.getByRole('button', { name: 'List' }).click();
  await page.getByLabel('Section').selectOption({ label: await page.locator('option', { hasText: 'Stalls (' }).textContent() });
  await page.getByRole('button', { name: /^Row / }).nth(3).click();
  const seats = page.getByRole('button', { name: /^Row .+, seat / });
  for (let n = 0; n < 2; n++) await seats.nth(4 + n).click();
  await sees(page, 'Your choice (2)');
  await page.getByRole('button', { name: 'Map' }).click();
  await page.getByRole('button', { name: 'Hold 2 tickets' }).click();
  await sees(page, 'These seats are yours for now');
  await page.getByRole('heading', { level: 1 }).evaluate((e) => e.scrollIntoView());
  await picture(page, 'seat-map');
  assert.deepEqual(await violations(page), []);

  await page.getByRole('link', { name: 'Check out' }).click();
  await toPayment(page, 'Ada Example');
  await page.getByLabel('Card that is declined').check();
  await page.getByRole('button', { name: /^Pay/ }).click();
  await sees(page, 'Your bank declined the payment.');
  await page.getByLabel('Card that works').check();
  await picture(page, 'checkout');
  await page.getByRole('button', { name: /^Pay/ }).click();
  await page.waitForURL('**/orders/**');
  await page.locator('.ticket img[src^="data:image/png"]').nth(1).waitFor();
  await soon(async () => assert.equal(await page.locator('.ticket').count(), 2));
  await soon(async () => assert.ok((await page.locator('.ticket code').first().textContent()).length >= 8));
  assert.deepEqual(await violations(page), []);
  await picture(page, 'tickets');

  // The link alone opens the order, in a browser that has nothing else.
  const elsewhere = await person();
  await elsewhere.goto(page.url());
  await elsewhere.locator('.ticket').nth(1).waitFor();

  const sold = (await (await fetch(`${url}/v1/events/${event.id}`)).json()).tickets;
  assert.equal(sold.sold, 2);
  nothingSaid();
});

test('a payment whose answer is lost ends well by itself', { timeout: 120_000 }, async () => {
  const event = await eventNamed('theatre'), page = await person();
  await enterShop(page, event);
  await page.getByRole('button', { name: 'Find the best seats' }).click();
  await page.getByRole('link', { name: 'Check out' }).click();
  await toPayment(page, 'Grace Example');
  await page.getByLabel('Lost answer').check();
  await page.getByRole('button', { name: /^Pay/ }).click();
  await page.waitForURL('**/orders/**', { timeout: 60_000 });
  await page.locator('.ticket').first().waitFor();
  nothingSaid();
});

test('a payment that its owner must confirm comes back from the bank', { timeout: 120_000 }, async () => {
  const event = await eventNamed('theatre'), page = await person();
  await enterShop(page, event);
  await page.getByRole('button', { name: 'Find the best seats' }).click();
  await page.getByRole('link', { name: 'Check out' }).click();
  await toPayment(page, 'Edsger Example');
  await page.getByLabel('Card that asks its owner').check();
  await page.getByRole('button', { name: /^Pay/ }).click();
  await page.getByRole('link', { name: 'Confirm at your bank' }).click();
  await page.getByRole('button', { name: 'Approve the payment' }).click();
  await page.waitForURL('**/orders/**');
  await page.locator('.ticket').first().waitFor();
  nothingSaid();
});

test('two people want one seat: one gets it, the other is told and keeps the rest', { timeout: 120_000 }, async () => {
  const event = await eventNamed('theatre'), [ada, bob] = [await person(), await person()];
  for (const p of [ada, bob]) {
    await enterShop(p, event);
    await p.getByRole('button', { name: 'List' }).click();
    await p.getByRole('button', { name: /^Row / }).last().click();
  }
  const seat = (p, n) => p.getByRole('button', { name: /^Row .+, seat / }).nth(n);
  await seat(ada, 0).click();
  await seat(bob, 0).click();
  await seat(bob, 1).click();
  await ada.getByRole('button', { name: 'Hold 1 ticket' }).click();
  await sees(ada, 'These seats are yours for now');
  await sees(bob, 'has just been taken by someone else. Your other choices are kept.');
  await sees(bob, 'Your choice (1)');
  await ada.getByRole('button', { name: 'Give them back' }).click();
  await sees(ada, 'Your seats were given back.');
  nothingSaid();
});

test('a seat is gone: others are offered and held; the hold is changed, and has tickets of an area in it', { timeout: 120_000 }, async () => {
  const event = await smallEvent('Mill Trio, quick'), refused = (m) => /status of 409/.test(m), [ada, bob] = [await person(), await person(undefined, refused)];
  // What happens to other seats does not reach Bob once this is set.
  let quiet = false;
  await bob.routeWebSocket(/\/live$/, (ws) => {
    const server = ws.connectToServer();
    server.onMessage((m) => { if (!quiet) ws.send(m); });
  });
  for (const p of [ada, bob]) {
    await enterShop(p, event);
    await sees(p, 'Live');
    await openRow(p, 'A');
  }
  await seatOf(bob, 'A', 4).click();
  await seatOf(bob, 'A', 5).click();
  quiet = true;
  await seatOf(ada, 'A', 5).click();
  await ada.getByRole('button', { name: 'Hold 1 ticket' }).click();
  await sees(ada, 'These seats are yours for now');

  // The floor is part of the same hold.
  await bob.getByLabel('Section').selectOption({ index: 1 });
  await bob.getByRole('button', { name: 'One more' }).click();
  await bob.getByRole('button', { name: 'Hold 3 tickets' }).click();
  await sees(bob, 'Stalls, row A, seat 5 has just been taken by someone else. Your other choices are kept. Free seats nearby are offered below.');
  await bob.getByRole('button', { name: 'Map' }).click();
  const offers = bob.getByRole('region', { name: 'Seats to be had instead' });
  await offers.getByRole('button', { name: 'Hold Stalls, row A, seat 6', exact: true }).waitFor();
  await soon(async () => assert.equal(await offers.getByRole('button', { name: /seat [45]$/ }).count(), 0));
  await soon(async () => assert.ok(await offers.getByRole('button', { name: /seats \d+–\d+$/ }).count() > 0, 'both seats together'));
  assert.deepEqual(await violations(bob), []);
  quiet = false;
  await offers.getByRole('button', { name: 'Hold Stalls, row A, seat 6', exact: true }).click();
  await sees(bob, 'These seats are yours for now');
  const held = bob.getByRole('complementary', { name: 'Your tickets' }).getByRole('listitem');
  await soon(async () => assert.deepEqual((await held.allTextContents()).map((t) => t.replace(/€.*/, '')).sort(), ['Floor', 'Stalls, row A, seat 4', 'Stalls, row A, seat 6']));

  await openRow(bob, 'B');
  await seatOf(bob, 'B', 3).click();
  await sees(bob, 'Stalls, row B, seat 3 added.');
  await bob.getByRole('button', { name: 'Drop Stalls, row A, seat 4', exact: true }).click();
  await sees(bob, 'Stalls, row A, seat 4 dropped.');
  await bob.getByLabel('Section').selectOption({ index: 1 });
  await bob.getByRole('button', { name: 'One more' }).click();
  await sees(bob, 'Floor added.');
  assert.deepEqual(await violations(bob), []);
  await bob.reload();
  await sees(bob, 'These seats are yours for now');
  await soon(async () => assert.deepEqual((await held.allTextContents()).map((t) => t.replace(/€.*/, '')).sort(), ['Floor', 'Floor', 'Stalls, row A, seat 6', 'Stalls, row B, seat 3']));
  // Ada sees what Bob let go.
  await seatOf(ada, 'A', 4).and(ada.locator(':enabled')).waitFor();
  await bob.getByRole('button', { name: 'Give them back' }).click();
  await sees(bob, 'Your seats were given back.');
  nothingSaid();
});

test('a code opens kept tickets, and only to whoever has it', { timeout: 120_000 }, async () => {
  const event = await smallEvent('Mill Trio, for fans'), [fan, other] = [await person({ width: 420, height: 900 }, (m) => /status of 403/.test(m)), await person()];
  const operator = await person({ width: 1440, height: 1000 });
  await operator.goto(`${url}/console`);
  await operator.getByLabel('Admin token').fill(token);
  await operator.getByRole('button', { name: 'Sign in' }).click();
  await operator.getByRole('button', { name: /for fans/ }).click();
  await operator.getByText('Channels and seats').click();
  await operator.getByLabel('Name of a new channel').fill('Fan club');
  await operator.getByRole('button', { name: 'Create it' }).click();
  await operator.getByRole('combobox', { name: 'Section' }).selectOption('Stalls');
  await operator.getByRole('combobox', { name: 'Row' }).selectOption('A');
  await operator.getByRole('button', { name: 'Keep these' }).click();
  await sees(operator, '10 tickets kept for “Fan club”.');
  await operator.getByRole('spinbutton', { name: 'How many codes' }).fill('1');
  await operator.getByRole('button', { name: 'Make 1 code' }).click();
  const code = await operator.getByLabel('Codes', { exact: true }).inputValue();
  assert.match(code, /^(\w{4}-){3}\w{4}$/);
  assert.deepEqual(await violations(operator), []);
  for (const p of [fan, other]) {
    await enterShop(p, event);
    await sees(p, 'not on general sale');
    await openRow(p, 'A');
  }
  const kept = (p, more, seat = 1) => p.getByRole('button', { name: `Row A, seat ${seat}, €45.00, ${more}`, exact: true });
  await soon(async () => assert.ok(await kept(fan, 'not on general sale').isDisabled()));
  await fan.getByText('I have an access code').click();
  await fan.getByLabel('Code').fill('AAAA-BBBB-CCCC-DDDD');
  await fan.getByRole('button', { name: 'Use it' }).click();
  await sees(fan, 'The invitation is not valid.');
  await fan.getByLabel('Code').fill(code.toLowerCase());
  await fan.getByRole('button', { name: 'Use it' }).click();
  await sees(fan, '“Fan club”: 10 tickets kept for you');
  await kept(fan, 'Fan club').click();
  assert.deepEqual(await violations(fan), []);
  await fan.getByRole('button', { name: 'Hold 1 ticket' }).click();
  await sees(fan, 'These seats are yours for now');
  await fan.getByRole('button', { name: 'Give them back' }).click();
  await sees(fan, 'Your seats were given back.');
  await fan.reload();
  await fan.getByRole('combobox', { name: 'From' }).selectOption('Fan club');
  await fan.getByRole('button', { name: 'Find the best seats' }).click();
  await fan.getByText(/^Stalls, row A, seat/).nth(1).waitFor();
  await soon(async () => assert.ok(await kept(other, 'not on general sale', 8).isDisabled())); // the fan has the first two
  // Released, they are everybody's at once.
  await operator.getByRole('button', { name: 'Release these' }).click();
  await sees(operator, '10 tickets of “Fan club” are everybody’s now.');
  await seatOf(other, 'A', 9).and(other.locator(':enabled')).click();
  await sees(other, 'Your choice (1)');
  nothingSaid();
});

test('tickets are exchanged by the link of the order, long after the sale: a seat on a desk, a place of the floor on a phone', { timeout: 120_000 }, async () => {
  const event = await smallEvent('Mill Trio, exchanged', { max_per_buyer: 2, cancellation: { until_hours: 24, keep_fees: false } }), ada = await person();
  await enterShop(ada, event);
  await openRow(ada, 'A');
  await seatOf(ada, 'A', 1).click();
  await seatOf(ada, 'A', 2).click();
  await ada.getByRole('button', { name: 'Hold 2 tickets' }).click();
  await ada.getByRole('link', { name: 'Check out' }).click();
  await toPayment(ada, 'Ada Example');
  await ada.getByLabel('Card that works').check();
  await ada.getByRole('button', { name: /^Pay/ }).click();
  await ada.waitForURL('**/orders/**');
  await ada.locator('.ticket img[src^="data:image/png"]').nth(1).waitFor();
  const { link } = await ada.evaluate(async () => (await fetch(`/v1/orders/${location.pathname.split('/')[2]}`)).json());

  // Somebody with nothing but the link, who has never been in line; and a rival in the shop.
  const bob = await person(undefined, (m) => /status of 409/.test(m)), rival = await person();
  let quiet = false; // what happens to other seats does not reach Bob once this is set
  await bob.routeWebSocket(/\/live$/, (ws) => {
    const server = ws.connectToServer();
    server.onMessage((m) => { if (!quiet) ws.send(m); });
  });
  await bob.goto(link);
  await bob.getByRole('button', { name: 'Exchange tickets' }).click();
  await bob.getByRole('checkbox', { name: /seat 1/ }).check();
  await bob.getByRole('button', { name: 'Choose other seats' }).click();
  await sees(bob, 'Live');
  await openRow(bob, 'B');
  await seatOf(bob, 'B', 4).click();
  quiet = true;
  await enterShop(rival, event);
  await openRow(rival, 'B');
  await seatOf(rival, 'B', 4).click();
  await rival.getByRole('button', { name: 'Hold 1 ticket' }).click();
  await sees(rival, 'These seats are yours for now');
  await bob.getByRole('button', { name: 'Continue' }).click();
  await sees(bob, 'Stalls, row B, seat 4 has just been taken by someone else.');
  assert.deepEqual(await violations(bob), []);
  quiet = false;
  await seatOf(bob, 'B', 6).click();
  await bob.getByRole('button', { name: 'Continue' }).click();
  await sees(bob, 'Exchange 1 ticket?');
  assert.deepEqual(await violations(bob), []);
  // What he has before him the rival cannot take.
  await soon(async () => assert.ok(await seatOf(rival, 'B', 6).isDisabled()), 20_000);
  await bob.getByRole('button', { name: 'Yes, exchange' }).dblclick();
  await sees(bob, '1 ticket is exchanged.');
  await soon(async () => assert.deepEqual((await bob.locator('.ticket.valid .facts').allInnerTexts()).map((t) => t.replace(/\s+/g, ' ').match(/Row (\w) Seat (\d+)/).slice(1).join('')).sort(), ['A2', 'B6']), 20_000);
  await bob.locator('.ticket.valid img[src^="data:image/png"]').nth(1).waitFor();
  // The seat that came back is the rival's to take.
  await openRow(rival, 'A');
  await seatOf(rival, 'A', 1).and(rival.locator(':enabled')).waitFor();

  const phone = await person({ width: 390, height: 800 });
  await phone.goto(link);
  await phone.getByRole('button', { name: 'Exchange tickets' }).click();
  await phone.getByRole('checkbox', { name: /row A, seat 2/ }).check();
  await phone.getByRole('button', { name: 'Choose other seats' }).click();
  await phone.getByRole('button', { name: 'List' }).click();
  await phone.getByLabel('Section').selectOption({ index: 1 });
  await phone.getByRole('button', { name: 'One more' }).click();
  await phone.getByRole('button', { name: 'Continue' }).click();
  await sees(phone, '€16.00');
  assert.deepEqual(await violations(phone), []);
  await phone.getByRole('button', { name: 'Yes, exchange' }).click();
  await sees(phone, '1 ticket is exchanged, and €16.00 is on the way to you.');
  await soon(async () => assert.match(await phone.locator('.ticket.valid').filter({ hasText: 'Floor' }).innerText(), /Floor/));
  assert.deepEqual(await violations(phone), []);
  const { tickets } = await (await fetch(`${url}/v1/events/${event.id}`)).json();
  assert.deepEqual([tickets.sold, tickets.held], [2, 1]);
  nothingSaid();
});

test('an accessible seat comes with its companion', { timeout: 120_000 }, async () => {
  const event = await eventNamed('theatre'), page = await person();
  await enterShop(page, event);
  await page.getByLabel('Accessible seat with companions').check();
  await page.getByRole('button', { name: 'Find the best seats' }).click();
  await sees(page, 'These seats are yours for now');
  const { holds } = await page.evaluate((id) => fetch(`/v1/events/${id}/holds`).then((r) => r.json()), event.id);
  assert.deepEqual(holds[0].tickets.map((t) => t.type).sort(), ['accessible', 'companion']);
  assert.equal(Math.abs(holds[0].tickets[0].ordinal - holds[0].tickets[1].ordinal), 1);
  assert.deepEqual(await violations(page), []);
  await page.getByRole('button', { name: 'Give them back' }).click();
  nothingSaid();
});

test('an event that refuses single seats says which one would be left', { timeout: 120_000 }, async () => {
  const event = await smallEvent('Mill Trio, side by side', { single_seats: 'refuse' }), page = await person(undefined, (m) => /status of 409/.test(m));
  await enterShop(page, event);
  await openRow(page, 'A');
  await seatOf(page, 'A', 2).click();
  await page.getByRole('button', { name: 'Hold 1 ticket' }).click();
  await sees(page, 'Seat 1 in row A would be left alone between taken seats; please move up or down the row by one seat.');
  await page.getByRole('button', { name: 'Row A, seat 1, €45.00, pointed out', exact: true }).waitFor();
  assert.deepEqual(await violations(page), []);
  await page.getByRole('button', { name: 'Map' }).click();
  await openRow(page, 'A');
  await seatOf(page, 'A', 1).click();
  await page.getByRole('button', { name: 'Hold 2 tickets' }).click();
  await sees(page, 'These seats are yours for now');
  nothingSaid();
});

test('a visitor in line sees the operator pause with words, resume, and then their turn', { timeout: 120_000 }, async () => {
  const event = await eventNamed('Lanterns'), operator = await person({ width: 1440, height: 1000 }), visitor = await person({ width: 420, height: 860 });
  await operator.goto(`${url}/console`);
  await operator.getByLabel('Admin token').fill(token);
  await operator.getByRole('button', { name: 'Sign in' }).click();
  await operator.getByRole('button', { name: new RegExp(event.name) }).click();
  await operator.getByRole('heading', { level: 1, name: event.name }).waitFor();
  await operator.getByRole('button', { name: 'Pause …' }).click();
  await operator.getByLabel('What waiting people read').fill('A short pause for the sound check.');
  await operator.getByRole('button', { name: 'Pause', exact: true }).click();
  await sees(operator, 'The line is paused.');

  await visitor.goto(`${url}/queue/${event.id}`);
  await sees(visitor, 'The line is paused');
  await sees(visitor, 'A short pause for the sound check.');
  await sees(visitor, 'Live');
  await picture(visitor, 'queue');
  await visitor.reload();
  await sees(visitor, 'You are next');
  assert.deepEqual(await violations(visitor), []);
  await operator.locator('.rooms [aria-current]').getByText('1 waiting').waitFor();
  await operator.locator('.uplot').first().waitFor();
  assert.deepEqual(await violations(operator), []);
  await picture(operator, 'console');

  await operator.getByRole('button', { name: 'Resume' }).click();
  await visitor.getByRole('button', { name: 'Enter the shop' }).waitFor();
  await operator.getByRole('spinbutton', { name: 'Let in per minute' }).fill('120');
  await operator.getByRole('button', { name: 'Apply' }).click();
  await sees(operator, 'The new throttle applies.');
  await operator.getByRole('button', { name: 'Undo' }).click();
  await sees(operator, 'The earlier throttle is back.');
  await operator.getByRole('button', { name: 'Audit log' }).click();
  await sees(operator, 'room.pause');
  nothingSaid();
});

test('a draw: published, opened with its public value, and recomputed by those it placed; a place goes to another device', { timeout: 120_000 }, async () => {
  const { id } = await admin('POST', 'events', {
    name: 'Choir by lot', type: 'concert', starts_at: '2031-05-01T19:00:00Z', doors_at: '2031-05-01T18:00:00Z', currency: 'EUR', max_per_buyer: 4, status: 'on_sale',
    venue: { name: 'The mill', address: 'Mill Lane 1', city: 'Bremen', country: 'DE' }, artists: ['Mill Trio'],
    generate: { kind: 'rows', sections: [{ name: 'Stalls', rows: 2, seats_per_row: 10, category: 'Stalls' }] }, prices: { Stalls: { amount: 4500, type: 'stalls' } },
    room: { state: 'scheduled', opens_at: new Date(Date.now() + 3_600_000).toISOString() },
  });
  const operator = await person({ width: 1440, height: 1000 });
  await operator.goto(`${url}/console`);
  await operator.getByLabel('Admin token').fill(token);
  await operator.getByRole('button', { name: 'Sign in' }).click();
  await operator.getByRole('button', { name: /Choir by lot/ }).click();
  await operator.getByRole('combobox', { name: /^Order/ }).selectOption('draw');
  await operator.getByLabel('Public value for the draw').fill('The numbers of tonight');
  await operator.getByRole('button', { name: 'Save' }).click();
  await sees(operator, 'The settings are saved.');
  await sees(operator, 'secret committed');
  await operator.getByRole('button', { name: 'Open the waiting room' }).click();
  await sees(operator, 'The waiting room is open.');

  const people = await Promise.all([0, 1, 2].map(() => person({ width: 420, height: 860 }, (text) => /status of 403/.test(text)))); // an appeal is asked for work
  for (const p of people) {
    await p.goto(`${url}/queue/${id}`);
    await sees(p, 'You are in the waiting room');
    await sees(p, 'Your place is drawn at opening');
  }
  await people[0].getByRole('button', { name: 'Check the draw' }).click();
  await sees(people[0], 'The draw has not happened yet.');
  await sees(people[0], 'The numbers of tonight');
  await people[0].keyboard.press('Escape');

  // Another device: the same place, and the link is good once.
  await people[1].getByRole('button', { name: 'Continue on another device' }).click();
  await people[1].getByRole('img', { name: 'QR code with the link' }).waitFor();
  const link = await people[1].locator('dialog .link').textContent(), second = await person({ width: 420, height: 860 });
  await second.goto(link);
  await sees(second, 'You are in the waiting room');
  const code = (p) => p.locator('#code').textContent();
  assert.equal(await code(second), await code(people[1]));
  await people[1].keyboard.press('Escape');
  const late = await browser.newContext().then((c) => c.newPage());
  await late.goto(link);
  await sees(late, 'This link no longer works');

  await operator.getByRole('spinbutton', { name: 'Most shoppers' }).fill('0');
  await operator.getByRole('button', { name: 'Apply' }).click();
  await sees(operator, 'The new throttle applies.');
  await operator.getByRole('button', { name: 'Fix the list and open …' }).click();
  await operator.getByRole('button', { name: 'Open', exact: true }).click();
  await sees(people[0], 'Places are being drawn');
  await people[0].getByRole('button', { name: 'Check the draw' }).click();
  await sees(people[0], 'The list of people is fixed.');
  await people[0].keyboard.press('Escape');
  await operator.getByRole('button', { name: 'Enter the public value …' }).click();
  await operator.locator('dialog[open] input').fill('3 9 17 22 41 45');
  await operator.getByRole('button', { name: 'Draw', exact: true }).click();
  await sees(operator, 'The places are drawn.');
  for (const p of [...people, second]) {
    await sees(p, 'The shop is full');
    await p.getByRole('button', { name: 'Check the draw' }).click();
    await sees(p, 'It matches: your place follows from the draw.');
    await soon(async () => assert.equal(await p.locator('dialog li.no').count(), 0));
    await sees(p, '3 9 17 22 41 45');
    await p.keyboard.press('Escape');
  }
  await people[0].locator('dialog').waitFor({ state: 'detached' });

  await operator.getByLabel('Code from their queue page').fill((await code(people[0])).split(' ').pop());
  await operator.getByRole('button', { name: 'Look up' }).click();
  await operator.getByText('Ahead of them').waitFor();
  await operator.getByLabel('Move to lane').selectOption('suspect');
  await operator.getByRole('button', { name: 'Move' }).click();
  await sees(operator, 'They are in the lane “Suspect” now.');
  await people[0].reload();
  await people[0].getByRole('button', { name: 'This is a mistake' }).click();
  await people[0].getByText('To be checked').waitFor({ state: 'hidden' });
  await operator.getByRole('button', { name: /^Make 10/ }).click();
  const invites = (await operator.getByLabel('Links').inputValue()).split('\n'), guest = await person();
  assert.equal(invites.length, 10);
  await guest.goto(invites[0]);
  await sees(guest, 'Fan club');
  await soon(async () => assert.equal(await guest.evaluate(() => location.hash), ''));
  await operator.getByText('What was done to this room').click();
  await sees(operator, 'room.draw');
  assert.deepEqual(await violations(operator), []);
  nothingSaid();
});

test('fees, tax and a promo code: the same numbers from the hold to the receipt', { timeout: 120_000 }, async () => {
  const event = await smallEvent('An evening with everything on top', {
    currency: 'USD', fees: { per_ticket: 150, per_order: 200 }, tax: { name: 'sales tax', percent: '8.875', included: false },
    venue: { name: 'The barn', address: '1 Barn Street', city: 'Brooklyn', country: 'US' },
  });
  await admin('POST', `events/${event.id}/promos`, { code: 'SPRING', percent: '10', per_buyer: 1 });
  const page = await person({ width: 1280, height: 1000 }, (m) => /409/.test(m));
  const lines = async (where = page) => (await where.locator('.sums').innerText()).split('\n').filter(Boolean);
  await page.goto(`${url}/events/${event.id}`);
  await sees(page, 'Plus fees: US$1.50 per ticket and US$2.00 per order. Plus 8.875% sales tax on prices and fees.');
  await enterShop(page, event);
  await openRow(page, 'A');
  await seatOf(page, 'A', 4).click();
  await seatOf(page, 'A', 5).click();
  await page.getByRole('button', { name: 'Hold 2 tickets' }).click();
  await sees(page, 'These seats are yours for now');
  // 8.875 % of 46.50 is 4.13, of 2.00 0.18.
  const without = ['2 tickets', 'US$90.00', 'Fees', 'US$5.00', '8.875% sales tax', 'US$8.44', 'Total', 'US$103.44'];
  await soon(async () => assert.deepEqual(await lines(), without));
  assert.deepEqual(await violations(page), []);
  const { holds } = await page.evaluate((path) => fetch(path).then((r) => r.json()), `/v1/events/${event.id}/holds`);
  assert.deepEqual([holds[0].total, holds[0].price.total], [{ amount: 10344, currency: 'USD' }, { amount: 10344, currency: 'USD' }]);

  await page.getByRole('link', { name: 'Check out' }).click();
  await page.getByLabel('Name').fill('Grace Example');
  await page.getByLabel('E-mail').fill('grace@example.com');
  await page.getByRole('button', { name: 'Review your order' }).click();
  await soon(async () => assert.deepEqual(await lines(), without));
  await page.getByLabel('Promo code').fill('autumn');
  await page.getByRole('button', { name: 'Use it' }).click();
  await sees(page, 'This event has no such promo code; look at how it is spelt.');
  assert.deepEqual(await violations(page), []);
  await page.getByLabel('Promo code').fill('spring');
  await page.getByRole('button', { name: 'Use it' }).click();
  await sees(page, 'SPRING: US$9.00 off.');
  // 8.875 % of 42.00 is 3.73.
  const cheaper = ['2 tickets', 'US$90.00', 'Promo code SPRING', '-US$9.00', 'Fees', 'US$5.00', '8.875% sales tax', 'US$7.64', 'Total', 'US$93.64'];
  await soon(async () => assert.deepEqual(await lines(), cheaper));
  assert.deepEqual(await violations(page), []);
  await page.getByRole('button', { name: 'Place the order' }).click();
  await sees(page, 'Test payment method');
  await soon(async () => assert.deepEqual(await lines(), cheaper));
  await page.getByRole('button', { name: 'Pay US$93.64' }).click();
  await page.waitForURL('**/orders/**');
  await page.locator('.ticket').nth(1).waitFor();
  await soon(async () => assert.deepEqual(await lines(), cheaper));
  assert.deepEqual(await violations(page), []);

  // The code was good for one order of each buyer.
  const { promos } = await admin('GET', `events/${event.id}/promos?code=SPRING`);
  assert.equal(promos[0].used, 1);
  nothingSaid();
});

test('an operator finds an order, gives one ticket back, sees the money, and scans the other twice', { timeout: 120_000 }, async () => {
  const event = await smallEvent('Mill Trio, at the desk', { sections: { Stalls: { entrance: 'Door B' } }, fees: { per_ticket: 150, per_order: 200 } }), page = await person(), operator = await person({ width: 1280, height: 1000 });
  await enterShop(page, event);
  await openRow(page, 'A');
  await seatOf(page, 'A', 4).click();
  await seatOf(page, 'A', 5).click();
  await page.getByRole('button', { name: 'Hold 2 tickets' }).click();
  await page.getByRole('link', { name: 'Check out' }).click();
  await toPayment(page, 'Radia Example');
  await page.getByRole('button', { name: 'Pay €95.00' }).click();
  await page.waitForURL('**/orders/**');
  await page.locator('.ticket').nth(1).waitFor();
  const order = new URL(page.url()).pathname.split('/').pop();
  const codeOf = (seat) => page.locator('.ticket').filter({ has: page.locator('dd').getByText(`${seat}`, { exact: true }) }).locator('code').textContent();
  const [refunded, good] = [await codeOf(4), await codeOf(5)];
  assert.notEqual(refunded, good);

  const section = (name) => operator.getByRole('navigation', { name: 'Console sections' }).getByRole('button', { name, exact: true }).click();
  await operator.goto(`${url}/console`);
  await operator.getByLabel('Admin token').fill(token);
  await operator.getByRole('button', { name: 'Sign in' }).click();
  await section('Orders');
  await operator.getByRole('searchbox').fill('radia ex');
  await operator.getByRole('button', { name: 'Search' }).click();
  await operator.getByRole('button', { name: order }).click();
  await operator.getByRole('heading', { level: 1, name: 'Order of Radia Example' }).waitFor();
  // The money is taken by a job a moment after the order was paid.
  const captured = operator.getByRole('group', { name: 'Payments' }).getByText('captured');
  for (const end = Date.now() + 20_000; !(await captured.count());) {
    assert.ok(Date.now() < end, 'the payment is captured');
    const read = operator.waitForResponse(new RegExp(`/v1/admin/orders/${order}$`));
    await operator.getByRole('button', { name: 'Read again' }).click();
    await read;
  }
  await operator.getByLabel('Some tickets').check();
  await operator.getByLabel(/seat 4 \(entrance: Door B\), €46\.50/).check();
  await operator.getByLabel('Reason').first().fill('Changed plans');
  await operator.getByRole('button', { name: 'Refund €46.50 …' }).click();
  await sees(operator, 'Radia Example gets €46.50 of €95.00 back.');
  await operator.getByRole('button', { name: 'Refund €46.50', exact: true }).click();
  await sees(operator, '€46.50 for 1 ticket goes back. In all that is €46.50 of €95.00.');
  await operator.getByRole('group', { name: 'Refunds of the order' }).getByText('Changed plans').waitFor();
  assert.deepEqual(await violations(operator), []);
  await picture(operator, 'order');

  await section('Money');
  const tile = (name) => operator.locator('.tiles > div').filter({ hasText: name }).locator('dd').textContent();
  await operator.getByText('Nothing is stuck').waitFor();
  for (const end = Date.now() + 20_000; +(await tile('Refunds under way')) > 0;) {
    assert.ok(Date.now() < end, 'the money is back');
    const read = operator.waitForResponse(/\/v1\/admin\/reconciliation$/);
    await operator.getByRole('button', { name: 'Read again' }).click();
    await read;
  }
  assert.ok(+(await tile('captured')) > 0);
  await operator.getByLabel('Event').selectOption(event.id);
  const csv = operator.waitForEvent('download');
  await operator.getByRole('button', { name: 'Download as CSV' }).click();
  let text = '';
  for await (const part of await (await csv).createReadStream()) text += part;
  const rows = text.trim().split('\r\n').length > 1 ? text.trim().split('\r\n') : text.trim().split('\n');
  assert.equal(rows.length, 2, text);
  assert.ok(rows[1].includes(order) && rows[1].includes('Radia Example') && rows[1].includes('4650'), text);
  assert.deepEqual(await violations(operator), []);

  await section('Door');
  await operator.getByLabel('Event').selectOption(event.id);
  await operator.getByLabel('Gate').fill('North');
  await sees(operator, '0 of 1');
  const scan = async (code, says) => {
    await operator.getByLabel('Code of the ticket').fill(code);
    await operator.keyboard.press('Enter');
    await operator.locator('.verdict-word').getByText(says, { exact: true }).waitFor();
  };
  await scan(good, 'Let in');
  await sees(operator, 'Stalls, row A, seat 5');
  await operator.locator('.verdict').getByText('entrance: Door B', { exact: true }).waitFor();
  await sees(operator, '1 of 1');
  await scan(good, 'Already scanned');
  await sees(operator, /^Let in .+, by admin, at North\.$/);
  assert.deepEqual(await violations(operator), []);
  await picture(operator, 'door');
  await scan(refunded, 'Refunded');
  nothingSaid();
});

test('signing in at the issuer, and changing one’s mind there', async () => {
  const page = await person(undefined, (m) => /401/.test(m)); // nobody is signed in at first
  await page.goto(`${url}/account`);
  const link = page.getByRole('link', { name: 'Sign in with Example account' });
  await link.click();
  await page.getByRole('link', { name: 'No' }).click();
  await page.getByRole('alert').filter({ hasText: 'Example account did not sign you in' }).waitFor();
  assert.equal(page.url(), `${url}/account`);
  assert.deepEqual(await violations(page), []);
  await link.click();
  await page.getByRole('link', { name: 'Yes' }).click();
  await sees(page, 'grace@buyers.example');
  assert.equal(page.url(), `${url}/account`);
  const names = (await page.context().cookies()).map((c) => c.name);
  assert.deepEqual(names.filter((n) => /session|sign_in/.test(n)), ['onsale_session']);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await link.waitFor();
  nothingSaid();
});

test('signing in at the issuer without scripts', async () => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(`${url}/account`);
  await page.getByRole('link', { name: 'Sign in with Example account' }).click();
  await page.getByRole('link', { name: 'Yes' }).click();
  await page.waitForURL(`${url}/account`);
  assert.ok((await context.cookies()).some((c) => c.name === 'onsale_session'));
  await context.close();
});
