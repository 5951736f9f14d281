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
import { complaints, launch, violations } from './browser.mjs';
import { sees } from './stage.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const binary = process.env.ONSALE_BIN ?? join(root, 'bin/onsale');
const images = process.env.ONSALE_SCREENSHOTS === '1' ? join(root, 'docs/images') : null;

let demo, folder, url, token, browser;
const said = [];

before(async () => {
  assert.ok(existsSync(binary), `${binary} is missing: build it with "make build"`);
  // The program refuses settings it does not know, and these are ours.
  const plain = Object.fromEntries(Object.entries(process.env).filter(([k]) => !k.startsWith('ONSALE_')));
  folder = await mkdtemp(join(tmpdir(), 'onsale-e2e-'));
  demo = spawn(binary, ['demo', '--addr', '127.0.0.1:0', '--data-dir', folder, '--no-browser'], { stdio: ['ignore', 'pipe', 'pipe'], env: plain });
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
  await picture(page, 'events');
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
  assert.equal(await page.locator('.ticket').count(), 2);
  assert.ok((await page.locator('.ticket code').first().textContent()).length >= 8);
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
  assert.equal(await offers.getByRole('button', { name: /seat [45]$/ }).count(), 0);
  assert.ok(await offers.getByRole('button', { name: /seats \d+–\d+$/ }).count() > 0, 'both seats together');
  assert.deepEqual(await violations(bob), []);
  quiet = false;
  await offers.getByRole('button', { name: 'Hold Stalls, row A, seat 6', exact: true }).click();
  await sees(bob, 'These seats are yours for now');
  const held = bob.getByRole('complementary', { name: 'Your tickets' }).getByRole('listitem');
  assert.deepEqual((await held.allTextContents()).map((t) => t.replace(/€.*/, '')).sort(), ['Floor', 'Stalls, row A, seat 4', 'Stalls, row A, seat 6']);

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
  assert.deepEqual((await held.allTextContents()).map((t) => t.replace(/€.*/, '')).sort(), ['Floor', 'Floor', 'Stalls, row A, seat 6', 'Stalls, row B, seat 3']);
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
  assert.ok(await kept(fan, 'not on general sale').isDisabled());
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
  assert.ok(await kept(other, 'not on general sale', 8).isDisabled()); // the fan has the first two
  // Released, they are everybody's at once.
  await operator.getByRole('button', { name: 'Release these' }).click();
  await sees(operator, '10 tickets of “Fan club” are everybody’s now.');
  await seatOf(other, 'A', 9).and(other.locator(':enabled')).click();
  await sees(other, 'Your choice (1)');
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
    assert.equal(await p.locator('dialog li.no').count(), 0);
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
  assert.equal(await guest.evaluate(() => location.hash), '');
  await operator.getByText('What was done to this room').click();
  await sees(operator, 'room.draw');
  assert.deepEqual(await violations(operator), []);
  nothingSaid();
});

test('an operator finds an order and gives the money back', { timeout: 120_000 }, async () => {
  const operator = await person();
  await operator.goto(`${url}/console`);
  await operator.getByLabel('Admin token').fill(token);
  await operator.getByRole('button', { name: 'Sign in' }).click();
  await operator.getByRole('button', { name: 'Orders' }).click();
  await operator.getByRole('searchbox').fill('ada@example.com');
  await operator.getByRole('button', { name: 'Search' }).click();
  const row = operator.getByRole('row', { name: /Ada Example/ });
  await row.getByRole('button', { name: 'Refund …' }).click();
  await operator.getByLabel(/Reason/).fill('Changed plans');
  await operator.getByRole('button', { name: 'Refund', exact: true }).click();
  await sees(operator, /^Refund of/);
  await row.getByText('refunded').waitFor();
  nothingSaid();
});
