import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { json, problem, until } from './browser.mjs';
import * as f from './fixtures.mjs';
import { Stage, accessible, sees } from './stage.mjs';

let stage;
before(async () => { stage = await Stage.start(); });
after(() => stage.close());

const path = '/console';
const rooms = [f.adminRoom(), f.adminRoom({ event: 'e2', name: 'Der Kirschgarten', state: 'lobby', waiting: 840 }), f.adminRoom({ event: 'e3', name: 'Kellerklub', state: 'closed', reason: 'sold_out', waiting: 0 })];
const frame = (i, room = {}) => ({ at: f.after(i), rooms: [f.adminRoom({ waiting: 5000 - i, ...room }), ...rooms.slice(1)], orders_per_minute: 110, p95_ms: 38.4, errors_per_minute: 0, reachable: true });
const live = { '/v1/admin/live': (s) => { for (let i = 0; i < 30; i++) s.send(frame(i)); } };
const routes = (more = {}) => ({
  'GET /v1/admin/rooms': (r) => (r.headers().authorization === 'Bearer good' ? json({ rooms }) : problem(401, 'unauthorized', 'Unauthorized')),
  'GET /v1/admin/orders': json({ orders: [f.order('fulfilled'), f.order('refunded', { order: 'o2' })], next_cursor: null }),
  'GET /v1/admin/audit': json({ entries: [{ at: f.after(0), actor: 'admin', action: 'room.pause', subject: f.id, detail: { message: 'hi' } }], next_cursor: null }),
  ...more,
});
async function signIn(page) {
  await page.getByLabel('Admin token').fill('good');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await sees(page, 'Throttle');
  await page.locator('.uplot').first().waitFor();
}

test('a wrong token is refused, the right one is kept for this tab and sent as the first frame', () => stage.open(path, { routes: routes(), ws: live, expected: (m) => /401/.test(m) }, async (page, { sockets }) => {
  await accessible(page, 'sign in');
  await page.getByLabel('Admin token').fill('bad');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await sees(page, 'That token is not valid.');
  await signIn(page);
  assert.deepEqual(sockets['/v1/admin/live'][0].received, ['{"token":"good"}']);
  await page.reload();
  await sees(page, 'Throttle');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await sees(page, 'Admin token');
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
}));

test('live numbers, charts, and a table behind each', () => stage.open(path, { routes: routes(), ws: live }, async (page, { sockets }) => {
  await signIn(page);
  await sees(page, '4,971');
  await accessible(page, 'room');
  await page.locator('summary').first().click();
  assert.ok(await page.locator('details[open] tbody tr').count() >= 3);
  await accessible(page, 'numbers');
  sockets['/v1/admin/live'][0].send(frame(31, { waiting: 77 }));
  await sees(page, '77');
  sockets['/v1/admin/live'][0].send({ ...frame(32), rooms: [], reachable: false });
  await sees(page, 'does not answer');
  assert.ok(await page.getByRole('button', { name: /Kirschgarten/ }).isVisible());
}));

test('the throttle shows its effect before it applies, sends only what changed, and can be undone', () => {
  const sent = [];
  return stage.open(path, { routes: routes({ [`PATCH /v1/admin/rooms/${f.id}`]: (r) => (sent.push(r.postDataJSON()), json(f.adminRoom({ throttle: { ...rooms[0].throttle, ...r.postDataJSON() } }))) }), ws: live }, async (page) => {
    await signIn(page);
    await page.getByRole('spinbutton', { name: 'Let in per minute' }).fill('-5');
    await sees(page, 'Some numbers are out of range.');
    await page.getByRole('spinbutton', { name: 'Let in per minute' }).fill('900');
    await sees(page, 'After applying');
    await sees(page, 'the cap on shoppers');
    await accessible(page, 'preview');
    assert.deepEqual(sent, []);
    await page.getByRole('button', { name: 'Apply' }).click();
    await sees(page, 'The new throttle applies.');
    await page.getByRole('button', { name: 'Undo' }).click();
    await sees(page, 'The earlier throttle is back.');
    assert.deepEqual(sent, [{ rate_per_minute: 900 }, { rate_per_minute: 300 }]);
  });
});

test('pausing asks for the words people will read, closing asks twice', () => {
  const sent = [];
  const action = (name, room) => ({ [`POST /v1/admin/rooms/${f.id}/${name}`]: (r) => (sent.push([name, r.postDataJSON()]), json(f.adminRoom(room))) });
  return stage.open(path, { routes: routes({ ...action('pause', { state: 'paused', reason: 'paused' }), ...action('resume', {}), ...action('close', { state: 'closed' }) }), ws: { '/v1/admin/live': (s) => s.send(frame(0)) } }, async (page) => {
    await signIn(page);
    await page.getByRole('button', { name: 'Pause …' }).click();
    await page.getByLabel('What waiting people read').fill('Back soon.');
    await accessible(page, 'pause');
    await page.getByRole('button', { name: 'Pause', exact: true }).click();
    await sees(page, 'The line is paused.');
    await page.getByRole('button', { name: 'Resume' }).click();
    await sees(page, 'The line moves again.');
    await page.getByRole('button', { name: 'Close …' }).click();
    await sees(page, /^Close the room of/);
    await page.keyboard.press('Escape');
    await page.getByText(/^Close the room of/).waitFor({ state: 'hidden' });
    await page.getByRole('button', { name: 'Close …' }).click();
    await page.getByRole('button', { name: 'Close the room' }).click();
    await sees(page, 'The room is closed.');
    assert.deepEqual(sent, [['pause', { message: 'Back soon.' }], ['resume', {}], ['close', {}]]);
  });
});

test('the message can be changed and taken back', () => {
  const sent = [];
  return stage.open(path, { routes: routes({ [`POST /v1/admin/rooms/${f.id}/message`]: (r) => (sent.push(r.postDataJSON()), json(f.adminRoom({ message: r.postDataJSON().message }))) }), ws: { '/v1/admin/live': (s) => s.send(frame(0)) } }, async (page) => {
    await signIn(page);
    await page.getByLabel('What people in line read').fill('Doors later.');
    await page.getByRole('button', { name: 'Show it' }).click();
    await sees(page, 'Shown now: “Doors later.”');
    await page.getByRole('button', { name: 'Remove it' }).click();
    await sees(page, 'Nothing is shown now.');
    assert.deepEqual(sent, [{ message: 'Doors later.' }, { message: '' }]);
  });
});

test('an action the server refuses is said in its words', () => stage.open(path, {
  routes: routes({ [`POST /v1/admin/rooms/${f.id}/close`]: problem(409, 'conflict', 'Not now', { detail: 'Orders are being paid.' }) }), ws: live, expected: (m) => /409/.test(m),
}, async (page) => {
  await signIn(page);
  await page.getByRole('button', { name: 'Close …' }).click();
  await page.getByRole('button', { name: 'Close the room' }).click();
  await sees(page, 'Not now. Orders are being paid.');
}));

test('orders are found and refunded with a reason', () => {
  let refund;
  return stage.open(path, { routes: routes({ [`POST /v1/admin/orders/${f.order().order}/refund`]: (r) => ((refund = r), json(f.order('refunded'))) }), ws: live }, async (page) => {
    await signIn(page);
    await page.getByRole('button', { name: 'Orders' }).click();
    await sees(page, 'ada@example.com');
    await accessible(page, 'orders');
    await page.getByRole('button', { name: 'Refund …' }).click();
    await accessible(page, 'refund');
    await page.getByLabel(/Reason/).fill('Show moved');
    await page.getByRole('button', { name: 'Refund', exact: true }).click();
    await until(() => refund, 'the refund');
    assert.deepEqual(refund.postDataJSON(), { reason: 'Show moved' });
    await sees(page, 'Refund of €258.00 started.');
  });
});

test('the audit log', () => stage.open(path, { routes: routes(), ws: live }, async (page) => {
  await signIn(page);
  await page.getByRole('button', { name: 'Audit log' }).click();
  await sees(page, 'room.pause');
  await accessible(page, 'audit');
}));

test('without WebSockets the numbers still come', () => stage.open(path, { routes: routes(), ws: { '/v1/admin/live': (s) => s.close(1011) } }, async (page) => {
  await signIn(page);
  await page.clock.runFor(2000);
  await sees(page, 'Polling');
}));
