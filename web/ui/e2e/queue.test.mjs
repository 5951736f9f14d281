import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { json, problem, soon, until } from './browser.mjs';
import * as f from './fixtures.mjs';
import { Stage, accessible, api, sees } from './stage.mjs';

const path = `/queue/${f.id}`;
let stage;
before(async () => { stage = await Stage.start(); });
after(() => stage.close());

/** A server that tells `me` over both ways. */
const telling = (me) => ({ routes: { [`GET ${api.room}/me`]: json(me), [`POST ${api.room}/join`]: json(me) }, ws: { [`${api.room}/ws`]: (s) => s.send(me) } });
const text = (page, id) => page.locator(`#${id}`).textContent();

describe('every phase', () => {
  const phases = {
    lobby: [f.me({ state: 'lobby', place: null, ahead: null, wait: null }, { state: 'lobby', opens_at: f.after(900), waiting: 4210 }), 'You are in the waiting room'],
    waiting: [f.me(), 'You are in line'],
    'a wait that is not known': [f.me({ wait: null }), 'not known yet'],
    'next in line': [f.me({ ahead: 0 }), 'You are next'],
    'paused, with words': [f.me({}, { state: 'paused', reason: 'paused', message: 'Back in ten minutes.' }), 'Back in ten minutes.'],
    'shop down': [f.me({ wait: null }, { reason: 'shop_unavailable' }), 'The shop is not answering'],
    full: [f.me({}, { reason: 'full' }), 'The shop is full'],
    'all held': [f.me({}, { reason: 'all_held', stock_left: 0 }), 'All tickets are in carts'],
    'no stock': [f.me({}, { reason: 'sold_out', stock_left: 0 }), 'No ticket is free right now'],
    'draw pending': [f.me({ state: 'lobby', place: null, ahead: null, wait: null, lane: 'general', index: 12 }, { order: 'draw', reason: 'draw_pending' }), 'Places are being drawn'],
    restoring: [f.me({ wait: null }, { reason: 'restoring' }), 'Places are being brought back'],
    stopped: [f.me({ wait: null }, { reason: 'stopped', admitting_per_minute: 0 }), 'Nobody is being let in right now'],
    'unlikely to get a ticket': [f.me({ chance: 'unlikely' }, { stock_left: 120 }), 'Tickets may run out before your turn.'],
    'another lane': [f.me({ lane: 'accessibility' }), 'Accessibility'],
    'lobby of a draw': [f.me({ state: 'lobby', place: null, ahead: null, wait: null, index: 12 }, { state: 'lobby', order: 'draw', opens_at: f.after(900) }), 'Your place is drawn at opening'],
    'lobby at random': [f.me({ state: 'lobby', place: null, ahead: null, wait: null }, { state: 'lobby', order: 'random', opens_at: f.after(900) }), 'you get a random place'],
    ready: [f.me({ state: 'ready', ahead: 0, claim_by: f.after(60) }), 'It’s your turn!'],
    done: [f.me({ state: 'done', ahead: null }), 'Your visit to the shop has ended'],
    expired: [f.me({ state: 'expired', ahead: null }), 'Your turn has passed'],
    closed: [f.me({ state: 'closed', ahead: null }, { state: 'closed', reason: 'closed' }), 'The sale has ended'],
    'sold out': [f.me({ state: 'closed', ahead: null }, { state: 'closed', reason: 'sold_out', closed_reason: 'sold_out' }), 'Sold out'],
  };
  for (const [name, [me, words]] of Object.entries(phases)) {
    test(name, () => stage.open(path, telling(me), async (page) => {
      await sees(page, words);
      await accessible(page, name);
    }));
  }
});

test('a newcomer joins, sees a truthful place, and the number never goes up', () => stage.open(path, { ...telling(f.me()), receipt: false }, async (page, { sockets }) => {
  await sees(page, '1,233');
  await soon(async () => assert.match(await text(page, 'dw'), /^4–7 mins?$/));
  await soon(async () => assert.equal(await text(page, 'ds'), '8,123'));
  await soon(async () => assert.equal(await text(page, 'code'), 'If you have to ask, give this code: vis'));
  await soon(async () => assert.equal(await text(page, 'dr'), '300'));
  await soon(async () => assert.match(await page.title(), /^1,233 · /));
  const [s] = sockets[`${api.room}/ws`];
  s.send(f.me({ wait: null }));
  await soon(async () => assert.equal(await text(page, 'dw'), 'not known yet'));
  const shown = [];
  for (const ahead of [1200, 1210, 900, 905, 30]) {
    s.send(f.me({ ahead, wait: { low_s: ahead, high_s: ahead + 60 } }));
    await page.waitForFunction((t) => document.getElementById('dw').textContent.includes(t), String(Math.floor(ahead / 60) || 1));
    shown.push(Number((await text(page, 'big')).replace(/\D/g, '')));
  }
  assert.deepEqual(shown, [1200, 1200, 900, 900, 30]);
  await soon(async () => assert.ok(await page.locator('progress').evaluate((p) => p.value) > 0.9));
}));

test('asks nothing of the network but itself and the API', () => stage.open('/console', {}, async (page) => {
  const urls = [];
  await page.unroute('**/v1/**');
  await page.route('**/*', (r) => {
    urls.push(new URL(r.request().url()).pathname);
    return new URL(r.request().url()).pathname.startsWith('/v1/') ? r.fulfill(json(f.me())) : r.continue();
  });
  await page.routeWebSocket('**/*', (ws) => ws.send(JSON.stringify(f.me())));
  await page.goto(stage.server.url + path);
  await sees(page, 'Live');
  assert.deepEqual([...new Set(urls)], [path, `${api.room}/me`]);
}));

test('counts down to the waiting room by the server’s clock and joins by itself', () => {
  const lobby = f.me({ state: 'lobby', place: null, ahead: null, wait: null }, { state: 'lobby', opens_at: f.after(900) });
  const skewed = (s) => f.after(s, new Date(f.start.getTime() + 3_600_000)); // the device is an hour slow
  const room = f.room({ state: 'scheduled', lobby_opens_at: skewed(90), opens_at: skewed(990) });
  return stage.open(path, { ...telling({ ...lobby, as_of: skewed(95) }), receipt: false, data: { queue: { data: { event: f.event, room, now: skewed(0) } } } }, async (page) => {
    await sees(page, 'The waiting room opens soon');
    await soon(async () => assert.match(await text(page, 'big'), /^1:(30|29)$/));
    await accessible(page, 'scheduled');
    await page.clock.runFor(96_000);
    await sees(page, 'You are in the waiting room');
  });
});

test('your turn: the button has the focus, the title calls, entering leads to the shop', () => {
  let claimed = 0;
  const routes = { ...telling(f.me()).routes, [`POST ${api.room}/claim`]: () => (claimed++, json(f.me({ state: 'shopping', lease_ends: f.after(600) }))), [`GET ${api.event}/plan`]: json(f.plan), [`GET ${api.event}/availability`]: json(f.snapshot()), [`GET ${api.event}/holds`]: json({ holds: [] }) };
  return stage.open(path, { routes, ws: { ...telling(f.me()).ws, [`${api.event}/live`]: (s) => s.send(f.snapshot()) } }, async (page, { sockets }) => {
    await sees(page, 'You are in line');
    sockets[`${api.room}/ws`][0].send(f.me({ state: 'ready', ahead: 0, claim_by: f.after(45) }));
    await page.waitForFunction(() => document.activeElement?.id === 'go');
    await soon(async () => assert.match(await page.title(), /It’s your turn/));
    await soon(async () => assert.match(await text(page, 'big'), /^0:4\d$/));
    await soon(async () => assert.match(await text(page, 'alert'), /It’s your turn/));
    await page.keyboard.press('Enter');
    await page.waitForURL(`**/events/${f.id}`);
    assert.equal(claimed, 1);
  });
});

test('a lapsed claim window is asked about, not guessed', () => {
  let answer = f.me({ state: 'ready', ahead: 0, claim_by: f.after(30) });
  return stage.open(path, { routes: { [`GET ${api.room}/me`]: () => json(answer) }, ws: { [`${api.room}/ws`]: (s) => s.send(answer) } }, async (page) => {
    await sees(page, 'It’s your turn!');
    answer = f.me({ state: 'expired', ahead: null });
    await page.clock.runFor(33_000);
    await sees(page, 'Your turn has passed');
  });
});

test('a reload keeps place and progress, and sends no second join', () => stage.open(path, telling(f.me()), async (page, { sockets }) => {
  await sees(page, '1,233');
  sockets[`${api.room}/ws`][0].send(f.me({ ahead: 600 }));
  await sees(page, '600');
  const joins = [];
  page.on('request', (r) => r.method() === 'POST' && joins.push(r.url()));
  await page.reload();
  // An older estimate after the reload still does not make the number grow.
  await sees(page, '600');
  await soon(async () => assert.ok(await page.locator('progress').evaluate((p) => p.value) > 0.5));
  assert.deepEqual(joins, []);
}));

test('a server that forgot this visitor gets the receipt and gives the place back', () => {
  const bodies = [];
  const routes = { ...telling(f.me()).routes, [`POST ${api.room}/join`]: (r) => (bodies.push(r.postDataJSON()), json(f.me({ receipt: 'receipt-2' }))) };
  return stage.open(path, { routes, ws: { [`${api.room}/ws`]: (s, n) => (n === 1 ? s.close(4001) : s.send(f.me({ receipt: 'receipt-2' }))) } }, async (page) => {
    await until(() => bodies.length, 'the join');
    assert.deepEqual(bodies, [{ receipt: 'receipt-1' }]);
    await sees(page, 'Live');
    await soon(async () => assert.equal(await page.evaluate((id) => localStorage.getItem(`onsale:receipt:${id}`), f.id), 'receipt-2'));
  });
});

test('a receipt that is refused does not keep anybody out', () => {
  const bodies = [];
  const routes = {
    [`GET ${api.room}/me`]: problem(401, 'unknown-visitor', 'Unknown visitor'),
    [`POST ${api.room}/join`]: (r) => {
      bodies.push(r.postDataJSON());
      return r.postDataJSON().receipt ? problem(400, 'invalid', 'The receipt is not valid') : json(f.me());
    },
  };
  return stage.open(path, { routes, ws: telling(f.me()).ws, expected: (m) => /40[01]/.test(m) }, async (page) => {
    await sees(page, 'You are in line');
    assert.deepEqual(bodies, [{ receipt: 'receipt-0' }, {}]);
  });
});

test('too many joins: says so and tries again when told to', () => {
  let tries = 0;
  const routes = { [`POST ${api.room}/join`]: () => (++tries === 1 ? problem(429, 'too-many-requests', 'Too many requests', {}, { 'retry-after': '7' }) : json(f.me())) };
  return stage.open(path, { routes, ws: telling(f.me()).ws, receipt: false, expected: (m) => /429/.test(m) }, async (page) => {
    await sees(page, 'Very many people are arriving');
    await soon(async () => assert.match(await text(page, 'big'), /^0:0[67]$/));
    await accessible(page, 'busy');
    assert.equal(tries, 1);
    await page.clock.runFor(9000);
    await sees(page, 'You are in line');
  });
});

test('a join the server refuses is shown in its words, with a way to try again', () => {
  let tries = 0;
  const routes = { [`POST ${api.room}/join`]: () => (++tries === 1 ? problem(403, 'forbidden', 'Not from here', { detail: 'Please use the organiser’s page.' }) : json(f.me())) };
  return stage.open(path, { routes, ws: telling(f.me()).ws, receipt: false, expected: (m) => /403/.test(m) }, async (page) => {
    await sees(page, 'Please use the organiser’s page.');
    await accessible(page, 'refused');
    await page.click('#go');
    await sees(page, 'You are in line');
  });
});

test('without WebSockets it polls as often as the server says', () => {
  let polls = 0;
  const routes = { [`GET ${api.room}/me`]: () => (polls++, json(f.me({ ahead: 1233 - polls, poll_after_ms: 4000 }))) };
  return stage.open(path, { routes, ws: { [`${api.room}/ws`]: (s) => s.close(1011) } }, async (page) => {
    await sees(page, 'You are in line');
    await page.clock.runFor(2000);
    await sees(page, 'Updated every few seconds');
    await accessible(page, 'polling');
    await page.clock.pauseAt(f.after(600));
    const first = polls;
    for (let k = 0; k < 3; k++) {
      const before = polls;
      await page.clock.runFor(4000);
      await until(() => polls > before, 'a poll in 4 s');
      await until(async () => (await text(page, 'big')).replace(/\D/g, '') === String(1233 - polls), 'the polled number');
    }
    // One may have been on its way when the clock was stopped.
    assert.ok(polls - first <= 4, `${polls - first} polls in 12 s`);
  });
});

test('a deploy is a short “Reconnecting”', () => stage.open(path, telling(f.me()), async (page, { sockets }) => {
  await sees(page, 'Live');
  sockets[`${api.room}/ws`][0].close(4000);
  await sees(page, 'Reconnecting');
  await page.clock.runFor(5000);
  await sees(page, 'Live');
  assert.equal(sockets[`${api.room}/ws`].length, 2);
}));

test('a closing room is told from the socket’s code', () => {
  let me = f.me();
  return stage.open(path, { routes: { [`GET ${api.room}/me`]: () => json(me) }, ws: { [`${api.room}/ws`]: (s) => s.send(me) } }, async (page, { sockets }) => {
    await sees(page, 'You are in line');
    me = f.me({ state: 'closed', ahead: null }, { state: 'closed', reason: 'sold_out' });
    sockets[`${api.room}/ws`][0].close(4010);
    await page.clock.runFor(1500);
    await sees(page, 'Sold out');
  });
});

test('no connection: says so, keeps the place, comes back by itself', () => {
  let down = false;
  return stage.open(path, { routes: { [`GET ${api.room}/me`]: () => (down ? 'abort' : json(f.me())) }, ws: { [`${api.room}/ws`]: (s) => s.send(f.me()) }, expected: (m) => /ERR_/.test(m) }, async (page) => {
    await sees(page, 'Live');
    down = true;
    await page.reload();
    await sees(page, 'No connection');
    await accessible(page, 'offline');
    down = false;
    await page.clock.runFor(60_000);
    await sees(page, '1,233');
  });
});

test('leaving takes two presses, forgets the place, and does not rejoin by itself', () => {
  const calls = [];
  const routes = { ...telling(f.me()).routes, [`DELETE ${api.room}/me`]: () => (calls.push('leave'), { status: 204 }), [`POST ${api.room}/join`]: (r) => (calls.push(r.postData()), json(f.me({ place: 9000, ahead: 8999 }))) };
  return stage.open(path, { routes, ws: { [`${api.room}/ws`]: (s, n) => n === 1 && s.send(f.me()) } }, async (page) => {
    await page.click('#leave');
    await soon(async () => assert.equal(await text(page, 'leave'), 'Leave and lose my place'));
    assert.deepEqual(calls, []);
    await page.click('#leave');
    await sees(page, 'You left the line');
    await accessible(page, 'left');
    await page.reload();
    await sees(page, 'You left the line');
    assert.deepEqual(calls, ['leave']);
    await page.click('#go');
    await sees(page, '8,999');
    assert.deepEqual(calls, ['leave', '{}']);
  });
});

test('a second tab is no problem, and both say so', () => stage.open(path, telling(f.me()), async (page, { context }) => {
  await sees(page, 'You are in line');
  const second = await context.newPage();
  await second.route('**/v1/**', (r) => r.fulfill(json(f.me())));
  await second.routeWebSocket('**/*', (ws) => ws.send(JSON.stringify(f.me())));
  await second.goto(stage.server.url + path);
  await sees(second, 'Open in another tab too');
  await sees(page, 'Open in another tab too');
}));

test('screen readers hear numbers at most every 15 seconds', () => stage.open(path, telling(f.me()), async (page, { sockets }) => {
  await sees(page, 'You are in line');
  await page.evaluate(() => {
    globalThis.heard = 0;
    new MutationObserver(() => globalThis.heard++).observe(document.getElementById('say'), { childList: true, characterData: true, subtree: true });
  });
  for (let i = 1; i <= 40; i++) {
    sockets[`${api.room}/ws`][0].send(f.me({ ahead: 1233 - i }));
    await page.waitForFunction((n) => document.getElementById('big').textContent.replace(/\D/g, '') === String(n), 1233 - i);
    await page.clock.runFor(1000);
  }
  const heard = await page.evaluate(() => globalThis.heard);
  assert.ok(heard >= 2 && heard <= 3, `${heard} announcements in 40 s`);
}));

test('screen readers hear what the organiser says', () => stage.open(path, telling(f.me({}, { state: 'paused', reason: 'paused', message: 'Back in ten minutes.' })), async (page) => {
  await sees(page, 'The line is paused');
  await soon(async () => assert.match(await text(page, 'say'), /The line is paused.*Back in ten minutes\./));
}));

test('without scripts there is a way to look again, and every language', async () => {
  const html = await (await fetch(stage.server.url + path, { headers: { 'accept-language': 'fr' } })).text();
  const plain = html.match(/<noscript>([^]*?)<\/noscript>/)[1];
  assert.match(plain, /<a href="">Voir ma place<\/a>/);
  assert.deepEqual([...plain.matchAll(/\?lang=(\w\w)/g)].map((m) => m[1]), ['en', 'de', 'fr', 'es', 'ja']);
});

for (const [locale, lang, words] of [['de-AT', 'de', 'Du bist in der Schlange'], ['fr-FR', 'fr', 'Vous êtes dans la file'], ['es-MX', 'es', 'Estás en la fila'], ['ja-JP', 'ja', '順番待ちです'], ['pl-PL', 'en', 'You are in line']]) {
  test(`speaks ${locale}`, () => stage.open(path, { ...telling(f.me()), locale, size: { width: 320, height: 640 } }, async (page) => {
    await sees(page, words);
    await soon(async () => assert.equal(await page.locator('html').getAttribute('lang'), lang));
    await soon(async () => assert.equal(await page.locator('html').getAttribute('dir'), 'ltr'));
    await soon(async () => assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'reflows at 320 px'));
    await accessible(page, locale);
  }));
}

test('the language can be changed and is remembered', () => stage.open(path, telling(f.me()), async (page) => {
  await page.selectOption('#lang', { label: 'Deutsch' });
  await sees(page, 'Du bist in der Schlange');
  await page.reload();
  await sees(page, 'Du bist in der Schlange');
}));
