// What the queue page loads only when somebody needs it, and what it does when a join or a claim is refused.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { json, problem, soon, until } from './browser.mjs';
import * as f from './fixtures.mjs';
import { Stage, accessible, api, sees } from './stage.mjs';

const path = `/queue/${f.id}`;
let stage;
before(async () => { stage = await Stage.start(); });
after(() => stage.close());

const join = `POST ${api.room}/join`, getMe = `GET ${api.room}/me`, ws = `${api.room}/ws`;
const telling = (me, routes = {}) => ({ routes: { [getMe]: json(me), [join]: json(me), ...routes }, ws: { [ws]: (s) => s.send(me) } });
const text = (page, id) => page.locator(`#${id}`).textContent();
/** The answers that a flow is about are failed requests to the browser's console. */
const refused = (m) => /status of (401|403|409|410|429|503)/.test(m);

describe('the draw', () => {
  const sha = (...b) => createHash('sha256').update(Buffer.concat(b)).digest();
  const be8 = (n) => { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(n)); return b; };
  const secret = Buffer.alloc(32, 7), digest = Buffer.alloc(20, 9), n = 10, seed = sha(secret, be8(n), digest, Buffer.from('4711'));
  /** The algorithm written down once more, in big integers. */
  const permute = (i) => {
    let x = BigInt(i);
    do {
      let l = x >> 2n, r = x & 3n;
      for (let k = 0; k < 10; k++) [l, r] = [r, l ^ (sha(seed, Buffer.from([k]), be8(r)).readBigUInt64BE() & 3n)];
      x = (l << 2n) | r;
    } while (x >= BigInt(n));
    return Number(x);
  };
  const place = 5 + permute(2) + 1;
  const early = {
    event: f.id, order: 'draw', algorithm: 'onsale-draw-1', status: 'committed', commitment: sha(secret).toString('hex'), public_source: 'Lotto 6 aus 49 of 2027-01-30',
    public_value: null, n: null, digest: null, base: null, secret: null, seed: null, drawn_at: null, you: null,
  };
  const drawn = {
    ...early, status: 'drawn', public_value: '4711', n, digest: digest.toString('hex'), base: 5, secret: secret.toString('hex'), seed: seed.toString('hex'),
    drawn_at: f.after(-60), you: { index: 3, place },
  };
  const inLine = f.me({ place, ahead: place - 1 }, { order: 'draw' });

  test('is recomputed here, and matches', () => stage.open(path, telling(inLine, { [`GET ${api.room}/draw`]: json(drawn) }), async (page) => {
    const asked = [];
    page.on('request', (r) => asked.push(new URL(r.url()).pathname));
    await sees(page, 'You are in line');
    assert.ok(!asked.some((p) => p.startsWith('/assets/')));
    await page.click('#draw');
    await sees(page, 'It matches: your place follows from the draw.');
    await soon(async () => assert.equal(await page.locator('dialog li.yes').count(), 3));
    await soon(async () => assert.equal(await page.locator('dialog li.no').count(), 0));
    await sees(page, secret.toString('hex'));
    await sees(page, 'Lotto 6 aus 49');
    await page.waitForFunction((is) => document.activeElement?.id === is, 'more');
    await accessible(page, 'the proof');
    await page.keyboard.press('Escape');
    await page.locator('dialog').waitFor({ state: 'detached' });
    await page.waitForFunction(() => document.activeElement.id === 'draw');
  }));

  test('that does not match is called so', () => stage.open(path, telling(inLine, { [`GET ${api.room}/draw`]: json({ ...drawn, you: { index: 3, place: place + 1 } }) }), async (page) => {
    await page.click('#draw');
    await sees(page, 'It does not match.');
    await soon(async () => assert.deepEqual(await page.locator('dialog li.no').allTextContents(), ['Wrong: Your place follows from the seed']));
    await accessible(page, 'a proof that fails');
  }));

  test('is compared with what was seen before it', () => {
    let answer = early, me = f.me({ state: 'lobby', place: null, ahead: null, wait: null, index: 4 }, { state: 'lobby', order: 'draw', opens_at: f.after(60) });
    return stage.open(path, { routes: { [getMe]: () => json(me), [`GET ${api.room}/draw`]: () => json(answer) }, ws: { [ws]: (s) => s.send(me) } }, async (page, { sockets }) => {
      await page.click('#draw');
      await sees(page, 'The draw has not happened yet.');
      await sees(page, early.commitment);
      await accessible(page, 'before the draw');
      await page.click('dialog button');
      // Another secret, and another number in the list, than this browser was told.
      me = inLine;
      answer = { ...drawn, you: { index: 3, place } };
      sockets[ws][0].send(me);
      await sees(page, 'You are in line');
      await page.click('#draw');
      await sees(page, 'It does not match.');
      await soon(async () => assert.deepEqual(await page.locator('dialog li.no').allTextContents(), ['Wrong: Your number in the list is the one this browser was given']));
    });
  });

  test('holds for those who came later, and whose list is fixed', () => {
    let answer = { ...drawn, you: null };
    return stage.open(path, { ...telling(inLine), routes: { [getMe]: json(inLine), [`GET ${api.room}/draw`]: () => json(answer) } }, async (page) => {
      await page.click('#draw');
      await sees(page, 'You came after it');
      await page.keyboard.press('Escape');
      answer = { ...early, status: 'frozen', n, digest: digest.toString('hex') };
      await page.click('#draw');
      await sees(page, 'The announced public value is awaited.');
    });
  });

  test('makes way when the turn comes', () => stage.open(path, telling(inLine, { [`GET ${api.room}/draw`]: json(drawn) }), async (page, { sockets }) => {
    await page.click('#draw');
    await sees(page, 'It matches');
    sockets[ws][0].send(f.me({ state: 'ready', ahead: 0, claim_by: f.after(45) }, { order: 'draw' }));
    await page.waitForFunction(() => document.activeElement?.id === 'go');
    await page.locator('dialog').waitFor({ state: 'detached' });
  }));

  test('that cannot be loaded is said', () => stage.open(path, { ...telling(inLine, { [`GET ${api.room}/draw`]: 'abort' }), expected: (m) => /ERR_/.test(m) }, async (page) => {
    await page.click('#draw');
    await sees(page, 'That did not work. Please try again in a moment.');
  }));
});

describe('another device', () => {
  const handover = { code: 'c0de', url: `https://tickets.example/queue/${f.id}#handover=c0de`, expires_at: f.after(125) };

  test('gets a link as a picture and as text, which runs out', () => {
    const made = [];
    return stage.open(path, { ...telling(f.me(), { [`POST ${api.room}/handover`]: (r) => (made.push(r.postData()), json({ ...handover, expires_at: f.after(125 + 200 * made.length - 200) }, 201)) }), permissions: ['clipboard-write', 'clipboard-read'] }, async (page) => {
      await page.click('#hand');
      await page.getByRole('img', { name: 'QR code with the link' }).waitFor();
      await sees(page, handover.url);
      await sees(page, /Still valid for 2:0\d/);
      await accessible(page, 'hand-over');
      await page.getByRole('button', { name: 'Copy the link' }).click();
      await sees(page, 'Copied.');
      await soon(async () => assert.equal(await page.evaluate(() => navigator.clipboard.readText()), handover.url));
      await page.clock.runFor(126_000);
      await sees(page, 'This link has run out.');
      await soon(async () => assert.equal(await page.locator('dialog svg').count(), 0));
      await accessible(page, 'hand-over, run out');
      await page.getByRole('button', { name: 'Make a new link' }).click();
      await sees(page, handover.url);
      assert.deepEqual(made, ['{}', '{}']);
    });
  });

  test('arrives with the code, which leaves the address at once', () => {
    const bodies = [];
    return stage.open(`${path}?x=1#handover=c0de`, telling(f.me(), { [join]: (r) => (bodies.push([r.postDataJSON(), new URL(r.frame().url()).hash]), json(f.me({ place: 88, ahead: 87 }))) }), async (page) => {
      await sees(page, '87');
      assert.deepEqual(bodies, [[{ handover: 'c0de' }, '']]);
      await soon(async () => assert.equal(await page.evaluate(() => location.href), `${stage.server.url}${path}?x=1`));
      await page.reload();
      await sees(page, '1,233');
      assert.equal(bodies.length, 1);
    });
  });

  test('arrives with the code over a page that is open already', () => {
    const bodies = [];
    return stage.open(path, telling(f.me(), { [join]: (r) => (bodies.push(r.postDataJSON()), json(f.me({ place: 88, ahead: 87 }))) }), async (page) => {
      await sees(page, '1,233');
      await page.evaluate(() => { location.hash = '#handover=c0de'; });
      await until(() => bodies.length, 'the join');
      assert.deepEqual(bodies, [{ handover: 'c0de' }]);
      await page.waitForFunction(() => location.hash === '');
    });
  });

  test('keeps the code on the way to the page in the chosen language', () => {
    const bodies = [];
    return stage.open(path, telling(f.me(), { [join]: (r) => (bodies.push(r.postDataJSON()), json(f.me())) }), async (page) => {
      await page.selectOption('#lang', { label: 'Español' });
      await sees(page, 'Estás en la fila');
      await page.goto(`${stage.server.url}/console`);
      await page.goto(`${stage.server.url}${path}?return=%2Fx#handover=c0de`);
      await sees(page, 'Estás en la fila');
      assert.deepEqual(bodies, [{ handover: 'c0de' }]);
      await soon(async () => assert.equal(await page.evaluate(() => location.search + location.hash), '?return=%2Fx&lang=es'));
    });
  });

  test('with a code that is used up is told what to do', () => {
    const bodies = [];
    return stage.open(`${path}#handover=old`, {
      ...telling(f.me(), { [join]: (r) => (bodies.push(r.postDataJSON()), r.postDataJSON().handover ? problem(410, 'handover-invalid', 'Gone') : json(f.me())) }), receipt: false, expected: refused,
    }, async (page) => {
      await sees(page, 'This link no longer works');
      await accessible(page, 'hand-over refused');
      await page.getByRole('button', { name: 'Join the line' }).click();
      await sees(page, 'You are in line');
      assert.deepEqual(bodies, [{ handover: 'old' }, {}]);
    });
  });
});

describe('invitations', () => {
  test('are remembered for the join, with the e-mail they are for', () => {
    const bodies = [];
    return stage.open(`${path}#invite=a.b.c&email=ada%2Bx%40example.com`, { ...telling(f.me({ lane: 'fan' }), { [join]: (r) => (bodies.push(r.postDataJSON()), bodies.length === 1 ? problem(503, 'unavailable', 'Down', {}, { 'retry-after': '1' }) : json(f.me({ lane: 'fan' }))) }), receipt: false, expected: refused }, async (page) => {
      await until(() => bodies.length, 'the join');
      await soon(async () => assert.equal(await page.evaluate(() => location.hash), ''));
      await page.reload();
      await sees(page, 'Fan club');
      assert.deepEqual(bodies, [{ invite: 'a.b.c', email: 'ada+x@example.com' }, { invite: 'a.b.c', email: 'ada+x@example.com' }]);
    });
  });

  for (const [status, code, head, what] of [
    [403, 'invite-required', 'This sale is by invitation', 'Open the link in the invitation'],
    [403, 'invite-invalid', 'This invitation does not work', 'Ask the organiser for a new one'],
    [401, 'sign-in-required', 'Sign in first', 'Sign in on the organiser’s site'],
  ]) {
    test(`${code} is explained`, () => {
      const bodies = [];
      return stage.open(`${path}#invite=a.b.c`, {
        ...telling(f.me(), { [join]: (r) => (bodies.push(r.postDataJSON()), bodies.length === 1 ? problem(status, code, 'No', { detail: 'Server words' }) : json(f.me())) }), receipt: false, expected: refused,
      }, async (page) => {
        await sees(page, head);
        await sees(page, what);
        await accessible(page, code);
        await page.getByRole('button', { name: 'Try again' }).click();
        await sees(page, 'You are in line');
        // An invitation that is worth nothing is not shown twice.
        assert.deepEqual(bodies[1], code === 'invite-invalid' ? {} : { invite: 'a.b.c' });
      });
    });
  }
});

test('who has to sign in first can do so here', () => stage.open(path, {
  ...telling(f.me(), {
    [join]: problem(401, 'sign-in-required', 'Sign-in is needed', { detail: 'Server words', sign_in: `/v1/account/oidc?return=%2Fqueue%2F${f.id}` }),
    'GET /v1/account/oidc': (r) => ({ status: 200, contentType: 'text/html', body: `<title>Issuer</title><h1>From ${new URL(r.url()).searchParams.get('return')}</h1>` }),
  }), receipt: false, expected: refused,
}, async (page) => {
  await sees(page, 'You come back here afterwards');
  await accessible(page, 'sign in here');
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await sees(page, `From /queue/${f.id}`);
}));

describe('proof of work', () => {
  const challenge = (bits, token = 'tok.en') => problem(403, 'challenge-required', 'Please wait', { challenge: { type: 'pow', token, bits } });
  const zeros = ({ token, answer }, bits) => parseInt(createHash('sha256').update(`${token}:${answer}`).digest('hex').slice(0, 8), 16) < 2 ** (32 - bits);

  for (const worker of [true, false]) {
    test(`is done ${worker ? 'in a worker' : 'without workers'}, politely, and the join repeated`, () => {
      const bodies = [];
      return stage.open('/console', { ...telling(f.me(), { [join]: (r) => (bodies.push(r.postDataJSON()), r.postDataJSON().challenge ? json(f.me()) : challenge(worker ? 20 : 16)) }), receipt: false, expected: refused }, async (page) => {
        if (!worker) await page.addInitScript(() => { delete globalThis.Worker; });
        let workers = 0;
        page.on('worker', () => workers++);
        await page.addInitScript(() => {
          globalThis.said = [];
          addEventListener('DOMContentLoaded', () => new MutationObserver(() => globalThis.said.push(document.getElementById('say').textContent)).observe(document.getElementById('say'), { childList: true }));
        });
        await page.goto(stage.server.url + path);
        await sees(page, 'You are in line');
        assert.equal(workers > 0, worker);
        assert.equal(bodies.length, 2);
        assert.ok(zeros(bodies[1].challenge, worker ? 20 : 16), JSON.stringify(bodies[1]));
        await soon(async () => assert.ok((await page.evaluate(() => globalThis.said)).some((s) => s.startsWith('Checking your browser')), 'said politely'));
      });
    });
  }

  test('that is still going on', () => stage.open(path, { ...telling(f.me(), { [join]: challenge(32) }), receipt: false, expected: refused }, async (page) => {
    await sees(page, 'Checking your browser');
    await accessible(page, 'checking');
    await soon(async () => assert.ok(await page.locator('#go').isHidden()));
  }));

  test('that never satisfies ends in the server’s words', () => {
    let tries = 0;
    return stage.open(path, { ...telling(f.me(), { [join]: () => (tries++, challenge(4, `t${tries}`)) }), receipt: false, expected: refused }, async (page) => {
      await sees(page, 'Please wait');
      assert.equal(tries, 4);
    });
  });

  test('of the suspect lane is an appeal by one button', () => {
    const bodies = [], suspect = f.me({ lane: 'suspect', ahead: 9000 });
    return stage.open(path, {
      ...telling(suspect, { [`POST ${api.room}/appeal`]: (r) => (bodies.push(r.postDataJSON()), r.postDataJSON().challenge ? json(f.me({ ahead: 1200 })) : challenge(14)) }), expected: refused,
    }, async (page) => {
      await sees(page, 'We are not sure that a person is here');
      await sees(page, '9,000');
      await sees(page, 'To be checked');
      await soon(async () => assert.match(await text(page, 'say'), /We are not sure/));
      await accessible(page, 'suspect');
      await page.getByRole('button', { name: 'This is a mistake' }).click();
      await sees(page, '1,200');
      await page.getByText('We are not sure').waitFor({ state: 'hidden' });
      assert.equal(bodies.length, 2);
      assert.deepEqual(bodies[0], {});
      assert.ok(zeros(bodies[1].challenge, 14));
      await page.waitForFunction((is) => document.activeElement?.id === is, 'head');
      await soon(async () => assert.match(await text(page, 'say'), /ordinary line/));
    });
  });

  test('an appeal that fails says so and may be tried again', () => stage.open(path, {
    ...telling(f.me({ lane: 'suspect' }), { [`POST ${api.room}/appeal`]: problem(503, 'unavailable', 'Down') }), expected: refused,
  }, async (page) => {
    const b = page.getByRole('button', { name: 'This is a mistake' });
    await b.click();
    await sees(page, 'Down');
    await soon(async () => assert.ok(await b.isEnabled()));
  }));
});

describe('asked too soon', () => {
  const tooSoon = () => problem(429, 'too-many-requests', 'Too many requests', {}, { 'retry-after': '6' });

  test('when looking for the place: waits as told, and says nothing of it', () => {
    let tries = 0;
    return stage.open(path, { ...telling(f.me(), { [getMe]: () => (++tries === 1 ? tooSoon() : json(f.me())) }), expected: refused }, async (page) => {
      await until(() => tries, 'the first call');
      await page.clock.runFor(5000);
      assert.equal(tries, 1);
      await soon(async () => assert.ok(await page.getByText('Too many').isHidden()));
      await page.clock.runFor(3000);
      await sees(page, 'You are in line');
    });
  });

  test('when polling: the number stays, and polling goes on', () => {
    let polls = 0;
    return stage.open(path, { routes: { [getMe]: () => (++polls === 3 ? tooSoon() : json(f.me({ ahead: 1233 + (polls > 3 ? 50 - polls * 100 : polls), poll_after_ms: 2000 }))) }, ws: { [ws]: (s) => s.close(1011) }, expected: refused }, async (page) => {
      await until(async () => {
        await page.clock.runFor(1000);
        return polls >= 3;
      }, 'the refused poll', 20_000);
      // Estimates that grew in between were not shown.
      await soon(async () => assert.equal(await text(page, 'big'), '1,234'));
      await page.clock.runFor(4000);
      assert.equal(polls, 3);
      await sees(page, 'You are in line');
      await page.clock.runFor(3000);
      await until(() => polls >= 4, 'the next poll');
    });
  });
});

test('a shop that is full for a moment keeps the turn and lets in when a place is free', () => {
  let tries = 0;
  const ready = f.me({ state: 'ready', ahead: 0, claim_by: f.after(300) });
  return stage.open(path, {
    ...telling(ready, {
      [`POST ${api.room}/claim`]: () => (++tries < 3 ? problem(503, 'shop-full', 'The shop is full', {}, { 'retry-after': '20' }) : json(f.me({ state: 'shopping' }))),
      [`GET ${api.event}/plan`]: json(f.plan), [`GET ${api.event}/availability`]: json(f.snapshot()), [`GET ${api.event}/holds`]: json({ holds: [] }),
    }), expected: refused,
  }, async (page) => {
    await sees(page, 'It’s your turn!');
    await page.click('#go');
    await sees(page, 'One moment, a place in the shop is being freed.');
    await soon(async () => assert.match(await text(page, 'say'), /being freed/));
    await sees(page, 'It’s your turn!');
    await accessible(page, 'a place is being freed');
    assert.equal(tries, 1);
    await page.clock.runFor(20_000);
    await until(() => tries === 2, 'the second try');
    await until(async () => { await page.clock.runFor(5000); return tries === 3; }, 'the third try');
    await page.waitForURL(`**/events/${f.id}`);
  });
});

test('a claim that came too late looks for the place again', () => {
  const ready = f.me({ state: 'ready', ahead: 0, claim_by: f.after(45) });
  return stage.open(path, {
    routes: { [join]: json(ready), [getMe]: json(f.me({ state: 'expired', ahead: null })), [`POST ${api.room}/claim`]: problem(409, 'not-your-turn', 'It is not your turn') },
    ws: { [ws]: () => {} }, receipt: false, expected: refused,
  }, async (page) => {
    await sees(page, 'It’s your turn!');
    await page.click('#go');
    await sees(page, 'Your turn has passed');
  });
});

test('shoppers of a protected site are sent back by way of the server', () => {
  const to = encodeURIComponent('https://shop.example/buy?x=1');
  return stage.open(`${path}?return=${to}`, telling(f.me({ state: 'shopping', lease_ends: f.after(600), pass: 'pa.ss' }), { [`GET ${api.room}/enter`]: json({}) }),
    (page) => page.waitForURL(`**${api.room}/enter?return=${to}`));
});
