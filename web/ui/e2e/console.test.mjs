import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { json, problem, soon, until } from './browser.mjs';
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
  await soon(async () => assert.equal(await page.evaluate(() => sessionStorage.length), 0));
}));

test('live numbers, charts, and a table behind each', () => stage.open(path, { routes: routes(), ws: live }, async (page, { sockets }) => {
  await signIn(page);
  await sees(page, '4,971');
  await accessible(page, 'room');
  await page.locator('summary').first().click();
  await soon(async () => assert.ok(await page.locator('details[open] tbody tr').count() >= 3));
  await accessible(page, 'numbers');
  sockets['/v1/admin/live'][0].send(frame(31, { waiting: 77 }));
  await sees(page, '77');
  sockets['/v1/admin/live'][0].send({ ...frame(32), rooms: [], reachable: false });
  await sees(page, 'does not answer');
  await soon(async () => assert.ok(await page.getByRole('button', { name: /Kirschgarten/ }).isVisible()));
}));

test('rooms with one name say when their events are', () => {
  const dates = f.events.map((e, i) => ({ ...e, name: 'Der Kirschgarten', starts_at: `2027-03-1${i}T18:30:00Z` }));
  const twins = dates.slice(1).map((e) => f.adminRoom({ event: e.id, name: e.name })), all = [f.adminRoom(), ...twins];
  return stage.open(path, { routes: routes({ 'GET /v1/admin/rooms': json({ rooms: all }), 'GET /v1/admin/events': json({ events: dates, next_cursor: null }) }), ws: { '/v1/admin/live': (s) => s.send({ ...frame(0), rooms: all }) } }, async (page) => {
    await signIn(page);
    await page.getByRole('button', { name: /Der Kirschgarten.*11 Mar 2027, 19:30/ }).waitFor();
    await page.getByRole('button', { name: /Der Kirschgarten.*12 Mar 2027, 19:30/ }).click();
    await soon(async () => assert.match(await page.locator('main').innerText(), /Der Kirschgarten\s*12 Mar 2027/));
    assert.equal(await page.getByRole('button', { name: /2027/ }).count(), 2, 'a name of its own needs no date');
    await accessible(page, 'dates');
  });
});

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

test('channels: created, filled, released, opened with codes; and the rule about single seats', () => {
  const sent = [], admin = `/v1/admin/events/${f.id}`;
  const fans = { id: 'c1', name: 'Fan club', available: 0, sold: 2, invites: 0, members: 0 }, list = [];
  const note = (what, reply) => (r) => (sent.push([what, r.postDataJSON()]), typeof reply === 'function' ? reply() : reply);
  const row = f.plan.sections[0].rows[1];
  return stage.open(path, {
    routes: routes({
      [`GET ${admin}/channels`]: () => json({ channels: list }), [`GET /v1/events/${f.id}/plan`]: json(f.plan), [`GET /v1/events/${f.id}`]: json({ ...f.event, single_seats: 'avoid' }),
      [`POST ${admin}/channels`]: note('create', () => (list.push({ id: 'c0', name: 'House', available: 4, sold: 0, invites: 0, members: 0 }, fans), json(fans, 201))),
      [`POST ${admin}/channels/c1/allot`]: note('allot', () => ((fans.available = 40), json({ done: 40, skipped: [row.first, row.first + 1] }))),
      [`POST ${admin}/channels/c1/release`]: note('release', () => ((fans.available = 0), json({ done: 1, skipped: [] }))),
      [`POST ${admin}/channels/c1/invites`]: note('codes', () => ((fans.invites = 2), json({ codes: ['AAAA-BBBB', 'CCCC-DDDD'] }, 201))),
      [`PATCH ${admin}`]: note('event', () => json({ ...f.event, single_seats: sent.at(-1)[1].single_seats })),
    }),
    ws: live,
  }, async (page) => {
    await signIn(page);
    await page.getByText('Channels and seats').click();
    await sees(page, 'No channels yet.');
    await page.getByLabel('Name of a new channel').fill(' Fan club ');
    await page.getByRole('button', { name: 'Create it' }).click();
    await sees(page, 'The channel “Fan club” is there.');
    await page.getByRole('heading', { name: 'Tickets of “Fan club”' }).waitFor();
    await soon(async () => assert.ok(await page.getByRole('button', { name: 'Release all of the channel' }).isDisabled()));
    await page.getByRole('combobox', { name: 'Section' }).selectOption('101');
    await page.getByRole('combobox', { name: 'Row' }).selectOption('2');
    await page.getByRole('spinbutton', { name: 'How many tickets' }).fill('40');
    await page.getByRole('button', { name: 'Keep these' }).click();
    await sees(page, '40 tickets kept for “Fan club”. Left alone, because somebody holds or has bought them: 101, row 2, seats 1–2.');
    await page.getByRole('row', { name: /Fan club/ }).getByText('40').waitFor();
    await page.getByRole('button', { name: 'Release these' }).click();
    await sees(page, '1 ticket of “Fan club” is everybody’s now.');
    await page.getByRole('spinbutton', { name: 'How many codes' }).fill('2');
    await page.getByLabel('Note').fill('Fan list');
    await page.getByRole('button', { name: 'Make 2 codes' }).click();
    await soon(async () => assert.equal(await page.getByLabel('Codes', { exact: true }).inputValue(), 'AAAA-BBBB\nCCCC-DDDD'));
    await accessible(page, 'channels');
    const file = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download as text' }).click();
    await soon(async () => assert.equal((await file).suggestedFilename(), `codes-${f.id}.txt`));
    await page.getByLabel('Seats that would stay alone').selectOption('refuse');
    await sees(page, 'Single seats: refuse choices that leave them.');
    await page.getByRole('button', { name: 'Undo' }).click();
    await sees(page, 'Single seats: avoid them in what is found for buyers.');
    assert.deepEqual(sent, [
      ['create', { name: 'Fan club' }], ['allot', { section: 's0', row: '2', quantity: 40 }], ['release', { section: 's0', row: '2', quantity: 40 }],
      ['codes', { count: 2, uses: 1, note: 'Fan list', expires_at: null }], ['event', { single_seats: 'refuse' }], ['event', { single_seats: 'avoid' }],
    ]);
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

/** Opens a room on the desk; `calls` gets every action, and `answer` is the room afterwards. */
function desk(room, play, more = {}) {
  const calls = [], noted = (name) => (r) => (calls.push([name, r.postDataJSON()]), json(f.adminRoom(room)));
  const actions = ['open', 'lobby', 'pause', 'resume', 'drain', 'close', 'draw', 'message', 'admit'];
  const answers = Object.fromEntries(actions.map((a) => [`POST /v1/admin/rooms/${f.id}/${a}`, noted(a)]));
  return stage.open(path, {
    routes: routes({ ...answers, [`PATCH /v1/admin/rooms/${f.id}`]: noted('PATCH'), ...more(calls) }),
    ws: { '/v1/admin/live': (s) => s.send(frame(0, room)) }, permissions: ['clipboard-write', 'clipboard-read'],
  }, async (page) => {
    await signIn(page);
    await page.waitForFunction((n) => document.querySelector('.tiles').textContent.includes(n), 'Waiting');
    await play(page, calls, (name, exact = true) => page.getByRole('button', { name, exact }).click());
  });
}
const nothing = () => ({});

test('the way to stop comes first', () => desk({}, async (page) => {
  await soon(async () => assert.match(await page.locator('.desk main button, .desk > div button').first().textContent(), /^Pause/));
}, nothing));

test('people are let in by hand, the room drained up to a place, bypassed and back', () => desk({}, async (page, calls, press) => {
  await page.getByRole('spinbutton', { name: 'Let in now' }).fill('25');
  await press('Let in');
  await sees(page, 'Up to 25 people are let in now');
  await press('Drain …');
  await page.getByLabel('Last place that is let in').fill('6000');
  await page.getByLabel('What waiting people read').fill('Last orders.');
  await accessible(page, 'drain');
  await press('Drain');
  await sees(page, 'The room drains');
  await press('Bypass …');
  await accessible(page, 'bypass');
  await press('Cancel');
  await press('Bypass …');
  await press('Bypass the room');
  await sees(page, 'Everybody walks in now');
  await press('Undo');
  await sees(page, 'People wait in line again.');
  await press('Close …');
  await page.getByLabel('Reason').fill('Artist is ill');
  await page.getByLabel('What they read besides').fill('Sorry.');
  await press('Close the room');
  await sees(page, 'The room is closed.');
  assert.deepEqual(calls, [['admit', { count: 25 }], ['drain', { cutoff: 6000, message: 'Last orders.' }], ['PATCH', { bypass: true }], ['PATCH', { bypass: false }], ['close', { reason: 'Artist is ill', message: 'Sorry.' }]]);
}, nothing));

test('a bypass stays in sight', () => desk({ bypass: true }, async (page, calls, press) => {
  await sees(page, 'The room is bypassed');
  await accessible(page, 'bypassed');
  await press('End the bypass');
  await sees(page, 'People wait in line again.');
  assert.deepEqual(calls, [['PATCH', { bypass: false }]]);
}, nothing));

test('a scheduled room: settings, waiting room, opening', () => desk({ state: 'scheduled', waiting: 0, lobby_opens_at: f.after(3600), opens_at: f.after(7200) }, async (page, calls, press) => {
  await page.getByRole('combobox', { name: /^Order/ }).selectOption('draw');
  await page.getByLabel('Public value for the draw').fill('Lotto of 30 January');
  await soon(async () => assert.equal(await page.getByLabel('Waiting room opens').inputValue(), '2027-02-01T12:00'));
  await page.getByLabel('Waiting room opens').fill('2027-02-01T12:30');
  await page.getByLabel('Sale closes').fill('2027-02-02T00:00');
  await page.getByLabel('Only with an invitation').check();
  await page.getByLabel('Ask for a proof of work').check();
  await accessible(page, 'settings');
  await press('Save');
  await sees(page, 'The settings are saved.');
  await page.getByLabel('Sale opens').fill('');
  await press('Save');
  await until(() => calls.length === 2, 'the second change');
  await press('Open the waiting room');
  await sees(page, 'The waiting room is open.');
  await press('Open now');
  await sees(page, 'The room is open.');
  assert.deepEqual(calls, [
    ['PATCH', { order: 'draw', challenge: 'pow', invite_only: true, public_source: 'Lotto of 30 January', lobby_opens_at: '2027-02-01T11:30:00.000Z', closes_at: '2027-02-01T23:00:00.000Z' }],
    ['PATCH', { opens_at: null }], ['lobby', {}], ['open', {}],
  ]);
}, nothing));

const draw = { status: 'frozen', commitment: 'ab'.repeat(32), n: 4210, public_source: 'Lotto of 30 January', public_value: null };
test('a draw that waits for its public value', () => desk({ reason: 'draw_pending', order: 'draw', draw }, async (page, calls, press) => {
  await sees(page, 'The list of 4,210 people is fixed');
  await sees(page, draw.commitment);
  await press('Enter the public value …');
  await page.locator('dialog[open] input').fill('3 9 17 22 41 45');
  await accessible(page, 'draw');
  await press('Draw');
  await sees(page, 'The places are drawn.');
  assert.deepEqual(calls, [['draw', { public_value: '3 9 17 22 41 45' }]]);
}, nothing));

test('a draw room opens with its draw', () => desk({ state: 'lobby', order: 'draw', waiting: 4210, draw: { ...draw, status: 'committed', n: null, public_source: null } }, async (page, calls, press) => {
  await press('Draw and open …');
  await sees(page, 'those in the waiting room (4,210)');
  await press('Draw');
  await sees(page, 'The places are drawn.');
  await soon(async () => assert.ok(await page.getByRole('combobox', { name: /^Order/ }).isDisabled()));
  assert.deepEqual(calls, [['draw', {}]]);
}, nothing));

test('a draw room whose public value is awaited opens first', () => desk({ state: 'lobby', order: 'draw', waiting: 4210, draw: { ...draw, status: 'committed', n: null } }, async (page, calls, press) => {
  await press('Fix the list and open …');
  await sees(page, 'The draw then waits for the public value you announced: Lotto of 30 January.');
  await accessible(page, 'fix the list');
  await press('Open');
  await sees(page, 'The draw waits for the public value.');
  assert.deepEqual(calls, [['draw', {}]]);
}, nothing));

test('the autopilot is switched, bounded, and says why it acted', () => desk({}, async (page, calls, press) => {
  await sees(page, 'answers took 310 ms (95 %), above 250 ms');
  await sees(page, 'Rate in effect: 240 of 300 a minute.');
  await sees(page, '12.4 %');
  await page.getByRole('spinbutton', { name: 'Most errors (%)' }).fill('150');
  await sees(page, 'Some numbers are out of range.');
  await page.getByRole('spinbutton', { name: 'Most errors (%)' }).fill('5');
  await page.getByRole('spinbutton', { name: 'Lowest rate per minute' }).fill('60');
  await press('Set the bounds');
  await sees(page, 'The autopilot has new bounds.');
  const knob = page.getByRole('switch', { name: 'Autopilot' });
  await soon(async () => assert.equal(await knob.getAttribute('aria-checked'), 'true'));
  await knob.click();
  await sees(page, 'The autopilot is off');
  assert.deepEqual(calls, [['PATCH', { autopilot: { min_rate_per_minute: 60, max_error_share: 0.05 } }], ['PATCH', { autopilot: { enabled: false } }]]);
}, nothing));

test('the time for a second chance is part of the throttle', () => desk({}, async (page, calls, press) => {
  await page.getByRole('spinbutton', { name: 'Second chance (s)' }).fill('300');
  await sees(page, 'to those back within 5 min');
  await press('Apply');
  await sees(page, 'The new throttle applies.');
  assert.deepEqual(calls, [['PATCH', { grace_s: 300 }]]);
}, nothing));

test('one visitor: where they are, why, and into another lane', () => {
  const visitor = {
    visitor: 'v 1', state: 'waiting', lane: 'suspect', place: 812, index: null, ahead: 4100, wait: { low_s: 600, high_s: 900 }, admitted_at: null, claimed_at: null, until: null,
    missed: 1, away_since: f.after(-30), explanation: 'They wait behind 4,100 people, because their address joined 40 times in a minute.',
  };
  return desk({}, async (page, calls, press) => {
    await page.getByLabel('Code from their queue page').fill(' v 1 ');
    await press('Look up');
    await sees(page, visitor.explanation);
    await sees(page, 'Turns missed');
    await accessible(page, 'look-up');
    await page.getByLabel('Move to lane').selectOption('general');
    visitor.lane = 'general';
    await press('Move');
    await sees(page, 'They are in the lane “General” now.');
    assert.deepEqual(calls, [['move', { lane: 'general' }]]);
  }, (calls) => ({ [`GET /v1/admin/rooms/${f.id}/visitors/v%201`]: () => json(visitor), [`POST /v1/admin/rooms/${f.id}/visitors/v%201`]: (r) => (calls.push(['move', r.postDataJSON()]), json(visitor)) }));
});

test('invitations for a number of people or for addresses, as links and as CSV', () => desk({}, async (page, calls, press) => {
  await page.getByRole('spinbutton', { name: 'How many' }).fill('2');
  await press('Make 2 invitations');
  await page.getByLabel('Links').waitFor();
  await page.getByLabel('For these e-mail addresses').fill('ada@example.com\nbob@example.com, =1+1@example.com');
  await page.getByRole('combobox', { name: 'Lane' }).last().selectOption('accessibility');
  await page.getByLabel('Each works for one person').uncheck();
  await page.getByLabel('Good until').fill('2027-02-03T12:00');
  await press('Make 3 invitations');
  await until(() => calls.length === 2, 'the second call');
  await sees(page, 'They are shown once');
  await accessible(page, 'invitations');
  await press('Copy the links');
  await sees(page, 'Copied.');
  await soon(async () => assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'https://x/queue/e#invite=0\nhttps://x/queue/e#invite=1\nhttps://x/queue/e#invite=2'));
  const file = page.waitForEvent('download');
  await press('Download as CSV');
  let text = '';
  for await (const part of await (await file).createReadStream()) text += part;
  assert.equal(text, '"email","lane","url"\r\n"ada@example.com","accessibility","https://x/queue/e#invite=0"\r\n"bob@example.com","accessibility","https://x/queue/e#invite=1"\r\n"\'=1+1@example.com","accessibility","https://x/queue/e#invite=2"\r\n');
  assert.deepEqual(calls, [['invites', { lane: 'fan', count: 2, single_use: true, expires_at: '2027-03-03T10:00:00.000Z' }], ['invites', { lane: 'accessibility', emails: ['ada@example.com', 'bob@example.com', '=1+1@example.com'], single_use: false, expires_at: '2027-02-03T11:00:00.000Z' }]]);
}, (calls) => ({
  [`POST /v1/admin/rooms/${f.id}/invites`]: (r) => {
    const b = r.postDataJSON();
    calls.push(['invites', b]);
    return json({ invites: (b.emails ?? Array(b.count).fill(null)).map((email, i) => ({ invite: `${i}`, url: `https://x/queue/e#invite=${i}`, email, lane: b.lane })) }, 201);
  },
})));

test('the audit log of one room', () => desk({}, async (page) => {
  await page.getByText('What was done to this room').click();
  await sees(page, 'room.pause');
  await soon(async () => assert.ok(await page.getByText('order.refund').isHidden()));
  await accessible(page, 'audit of a room');
}, () => ({ 'GET /v1/admin/audit': json({ entries: [{ at: f.after(0), actor: 'admin', action: 'room.pause', subject: f.id }, { at: f.after(-5), actor: 'admin', action: 'order.refund', subject: 'o1' }], next_cursor: null }) })));

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
