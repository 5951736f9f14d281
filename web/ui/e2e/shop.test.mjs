// The event page, checkout, orders and the list of events, state by state.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { json, problem, soon, until } from './browser.mjs';
import * as f from './fixtures.mjs';
import { Stage, accessible, api, sees } from './stage.mjs';

let stage;
before(async () => { stage = await Stage.start(); });
after(() => stage.close());

const shopping = f.me({ state: 'shopping', lease_ends: f.after(560) });
const catalog = { [`GET ${api.event}`]: json(f.event), [`GET ${api.event}/plan`]: json(f.plan), [`GET ${api.event}/availability`]: json(f.snapshot()) };
const live = { [`${api.event}/live`]: (s) => s.send(f.snapshot()) };
const noHold = json({ holds: [] });
/** Routes of a visitor who may shop; holds answer with what `holds()` gives. */
const shop = (more = {}) => ({ ...catalog, [`GET ${api.room}/me`]: json(shopping), [`GET ${api.event}/holds`]: noHold, ...more });
const freeSeats = (() => {
  const s = f.statuses(), row = f.plan.sections[0].rows[1];
  return row.seats.map((seat, k) => ({ ordinal: row.first + k, seat, row: row.name })).filter((x) => s[x.ordinal] === 0);
})();
/** Opens section 1's second row in the list and presses its n first free seats. */
async function chooseInList(page, n) {
  await page.getByRole('button', { name: 'List' }).click();
  await page.getByRole('button', { name: /^Row 2/ }).click();
  for (const s of freeSeats.slice(0, n)) await page.getByRole('button', { name: `Row ${s.row}, seat ${s.seat},` }).click();
}
/** Shows the standing floor in the list. */
async function inArea(page) {
  await page.getByRole('button', { name: 'List' }).click();
  await page.getByLabel('Section').selectOption({ label: await page.locator('option', { hasText: 'Floor (' }).textContent() });
}

describe('event page', () => {
  const path = `/events/${f.id}`;

  test('without a pass: all to see, nothing to choose, the way to the queue', () => stage.open(path, { routes: catalog, ws: live, receipt: false }, async (page) => {
    await sees(page, 'Live');
    await soon(async () => assert.equal(await page.getByRole('link', { name: 'Join the queue' }).getAttribute('href'), `/queue/${f.id}`));
    await accessible(page, 'map');
    await page.getByRole('button', { name: 'List' }).click();
    await page.getByRole('button', { name: /^Row 2/ }).click();
    await soon(async () => assert.ok(await page.getByRole('button', { name: /^Row 2, seat/ }).first().isDisabled()));
    await accessible(page, 'list');
    await soon(async () => assert.equal(await page.locator('h1').count(), 1));
  }));

  test('fees and tax are told before anything is chosen, and with the sum', () => {
    const event = { ...f.event, fees: { per_ticket: { amount: 150, currency: 'EUR' }, per_order: { amount: 200, currency: 'EUR' } }, tax: { name: 'VAT', percent: '7', included: true }, cancellation: { until_hours: 48, keep_fees: true } };
    const text = 'Plus fees: €1.50 per ticket and €2.00 per order. All prices and fees incl. 7% VAT. You can cancel until 48 hours before the start; fees are not given back.';
    return stage.open(path, { routes: { ...catalog, [`GET ${api.event}`]: json(event) }, ws: live, receipt: false, data: { 'event.html': { data: { event, now: f.after(0) } } } }, async (page) => {
      await sees(page, text);
      await accessible(page, 'fees and tax');
    });
  });

  test('other dates of a series are a click away, by the clocks of the place', () => {
    const event = { ...f.event, timezone: 'America/New_York', series: { id: 's1', name: 'Winter Tour' } };
    const other = (n, more) => ({ event: `0190a3b2-7c4d-7e8f-9a0b-1c2d3e4f900${n}`, name: f.event.name, starts_at: `2027-03-1${n}T23:30:00Z`, timezone: 'America/New_York', status: 'on_sale', tickets: { total: 9, available: 4, held: 1, sold: 4, availability: 'available' }, ...more });
    const series = { ...event.series, dates: [other(2), other(3), other(4, { status: 'cancelled', tickets: null })], more: 7 };
    return stage.open(path, { routes: { ...catalog, [`GET ${api.event}`]: json(event) }, ws: live, receipt: false, data: { 'event.html': { data: { event, series, now: f.after(0) } } } }, async (page) => {
      const dates = page.getByRole('navigation', { name: 'Other dates' });
      // New York sets its clocks forward between the second and the third of them.
      for (const [n, when, state] of [[2, '12 Mar 2027, 18:30', '4 left'], [3, '13 Mar 2027, 18:30', '4 left'], [4, '14 Mar 2027, 19:30', 'Cancelled']]) {
        const link = dates.getByRole('link', { name: when });
        await link.waitFor();
        assert.equal(await link.getAttribute('href'), `/events/0190a3b2-7c4d-7e8f-9a0b-1c2d3e4f900${n}`);
        assert.ok((await link.textContent()).endsWith(state));
      }
      assert.equal(await dates.getByRole('link').count(), 3);
      await dates.getByText('and 7 more').waitFor();
      await accessible(page, 'other dates');
      await page.setViewportSize({ width: 360, height: 740 });
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the page is wider than a phone');
    });
  });

  test('someone in line sees their place and the way back', () => stage.open(path, { routes: { ...catalog, [`GET ${api.room}/me`]: json(f.me({ ahead: 42 })) }, ws: live }, async (page) => {
    await sees(page, 'with 42 ahead of you');
    await sees(page, 'Back to my place in line');
  }));

  test('the server’s essentials stand there before any script', () => stage.open(path, { routes: catalog, ws: live, receipt: false }, async () => {
    const bare = await stage.browser.newContext({ javaScriptEnabled: false });
    const p = await bare.newPage();
    await p.goto(stage.server.url + path);
    await sees(p, 'Prices and all that');
    await bare.close();
  }));

  test('seats chosen in the list are held together and lead to checkout', () => {
    let asked;
    const ordinals = freeSeats.slice(0, 2).map((s) => s.ordinal);
    return stage.open(path, { routes: shop({ [`POST ${api.event}/holds`]: (r) => ((asked = r.postDataJSON()), json(f.hold(ordinals), 201)) }), ws: live }, async (page) => {
      await chooseInList(page, 2);
      await sees(page, 'Your choice (2)');
      await sees(page, '€258.00');
      await accessible(page, 'choice');
      await page.getByRole('button', { name: 'Hold 2 tickets' }).click();
      await sees(page, 'These seats are yours for now');
      assert.deepEqual(asked, { ordinals });
      await soon(async () => assert.equal(await page.getByRole('link', { name: 'Check out' }).getAttribute('href'), `/checkout/${f.id}`));
      await page.waitForFunction((text) => document.activeElement?.textContent === text, 'These seats are yours for now');
      await accessible(page, 'held');
    });
  });

  test('a taken seat is named, and the others stay chosen', () => {
    const [a, b] = freeSeats;
    return stage.open(path, {
      routes: shop({ [`POST ${api.event}/holds`]: problem(409, 'tickets-taken', 'Some tickets were taken', { taken: [`t${a.ordinal}`], taken_ordinals: [a.ordinal] }) }),
      ws: live, expected: (m) => /409/.test(m),
    }, async (page) => {
      await chooseInList(page, 2);
      await page.getByRole('button', { name: 'Hold 2 tickets' }).click();
      await sees(page, `101, row 2, seat ${a.seat} has just been taken by someone else. Your other choices are kept.`);
      await sees(page, 'Your choice (1)');
      await page.getByRole('button', { name: `Remove 101, row 2, seat ${b.seat}` }).waitFor();
      await soon(async () => assert.ok(await page.getByRole('button', { name: `Row 2, seat ${a.seat},` }).isDisabled()));
    });
  });

  test('a live change takes a chosen seat away, and says so', () => stage.open(path, { routes: shop(), ws: live }, async (page, { sockets }) => {
    await sees(page, 'Live');
    await chooseInList(page, 1);
    sockets[`${api.event}/live`][0].send({ type: 'delta', seq: 8, prev: 7, changes: [[freeSeats[0].ordinal, 2]] });
    await sees(page, 'has just been taken');
    await sees(page, 'Choose your seats');
  }));

  test('a gap in the sequence fetches everything anew', () => stage.open(path, { routes: shop(), ws: live }, async (page, { sockets }) => {
    await sees(page, 'Live');
    sockets[`${api.event}/live`][0].send({ type: 'delta', seq: 99, prev: 98, changes: [[0, 2]] });
    await until(() => sockets[`${api.event}/live`].length === 2, 'a second socket');
    await sees(page, 'Live');
  }));

  test('best available by number, price, section and accessible seat', () => {
    let asked;
    return stage.open(path, { routes: shop({ [`POST ${api.event}/holds`]: (r) => ((asked = r.postDataJSON()), json(f.hold([40, 41, 42]), 201)) }), ws: live }, async (page) => {
      await page.getByRole('combobox', { name: 'Tickets' }).selectOption('3');
      await page.getByLabel('Accessible seat with companions').check();
      // Only what accessible seats cost is asked for.
      await soon(async () => assert.deepEqual(await page.getByRole('combobox', { name: 'Price' }).locator('option').allTextContents(), ['Any', 'Upper ring €59.00']));
      await page.getByRole('combobox', { name: 'Price' }).selectOption({ index: 1 });
      await page.getByRole('combobox', { name: 'Where' }).selectOption('104');
      await page.getByRole('button', { name: 'Find the best seats' }).click();
      await sees(page, 'These seats are yours for now');
      assert.deepEqual(asked, { best_available: { quantity: 3, tier: 'tier-2', section: 's3', accessible: true } });
    });
  });

  test('no more than the limit can be chosen', () => stage.open(path, { routes: shop(), ws: live, data: { 'event.html': { data: { event: { ...f.event, max_per_buyer: 2 } } } } }, async (page) => {
    await chooseInList(page, 3);
    await sees(page, 'You can buy at most 2 tickets for this event.');
    await sees(page, 'Your choice (2)');
  }));

  test('seats apart are offered only when there are enough of them, and none together', () => {
    const asked = [];
    const refused = (left) => problem(409, 'sold-out', 'Sold out', { detail: `${left} such tickets are left, but none 4 next to each other`, left });
    const replies = [refused(3), refused(9), json(f.hold([40, 42, 60, 61]), 201)];
    return stage.open(path, { routes: shop({ [`POST ${api.event}/holds`]: (r) => (asked.push(r.postDataJSON().best_available), replies.shift()) }), ws: live, expected: (m) => /409/.test(m) }, async (page) => {
      const apart = page.getByRole('button', { name: 'Find them in separate groups' });
      await page.getByRole('combobox', { name: 'Tickets' }).selectOption('4');
      await page.getByRole('button', { name: 'Find the best seats' }).click();
      await sees(page, '3 such tickets are left, but none 4 next to each other.');
      await soon(async () => assert.equal(await apart.count(), 0));
      await page.getByRole('button', { name: 'Find the best seats' }).click();
      await sees(page, '9 such tickets are left, but none 4 next to each other.');
      await accessible(page, 'seats apart');
      await apart.click();
      await sees(page, 'These seats are yours for now');
      assert.deepEqual(asked, [{ quantity: 4 }, { quantity: 4 }, { quantity: 4, split: true }]);
    });
  });

  test('seats and a number of general-admission tickets make one hold', () => {
    let asked;
    const floor = f.plan.sections.find((s) => s.kind === 'ga');
    return stage.open(path, { routes: shop({ [`POST ${api.event}/holds`]: (r) => ((asked = r.postDataJSON()), json(f.hold([...asked.ordinals, floor.first, floor.first + 1]), 201)) }), ws: live }, async (page) => {
      await chooseInList(page, 1);
      await inArea(page);
      await page.getByRole('button', { name: 'One more' }).click();
      await page.getByRole('button', { name: 'One more' }).click();
      await sees(page, '2 tickets, Floor');
      await accessible(page, 'seats and general admission');
      await page.getByRole('button', { name: 'Hold 3 tickets' }).click();
      await sees(page, 'These seats are yours for now');
      assert.deepEqual(asked, { ordinals: [freeSeats[0].ordinal], areas: [{ section: 'floor', quantity: 2 }] });
    });
  });

  test('an area that has fewer left: the rest of the choice is kept', () => stage.open(path, {
    routes: shop({ [`POST ${api.event}/holds`]: problem(409, 'sold-out', 'Sold out', { detail: 'areas[0]: only 1 of these tickets are left', area: 0, left: 1 }) }), ws: live, expected: (m) => /409/.test(m),
  }, async (page) => {
    await chooseInList(page, 1);
    await inArea(page);
    for (let n = 0; n < 3; n++) await page.getByRole('button', { name: 'One more' }).click();
    await page.getByRole('button', { name: 'Hold 4 tickets' }).click();
    await sees(page, 'Floor: only 1 ticket is left. Your other choices are kept.');
    await sees(page, 'Your choice (2)');
  }));

  const [a, b, c, d] = freeSeats.map((s) => s.ordinal);
  const nameOf = (i) => `101, row 2, seat ${freeSeats.find((s) => s.ordinal === i).seat}`;

  test('instead of a taken seat others are offered, and held with the rest', () => {
    const asked = [], alternatives = [[b], [c], [d]].map((ordinals) => ({ tickets: ordinals.map((i) => `t${i}`), ordinals }));
    const together = { tickets: [], ordinals: [c, d] };
    return stage.open(path, {
      routes: shop({ [`POST ${api.event}/holds`]: (r) => {
        asked.push(r.postDataJSON().ordinals);
        return asked.length > 1 ? json(f.hold(asked.at(-1)), 201) : problem(409, 'tickets-taken', 'Tickets are taken', { taken_ordinals: [a], alternatives, alternatives_together: [together] });
      } }),
      ws: live, expected: (m) => /409/.test(m),
    }, async (page) => {
      await chooseInList(page, 2);
      await page.getByRole('button', { name: 'Hold 2 tickets' }).click();
      await sees(page, `${nameOf(a)} has just been taken by someone else. Your other choices are kept. Free seats nearby are offered below.`);
      const offers = page.getByRole('region', { name: 'Seats to be had instead' });
      // What is chosen already is not offered again.
      await soon(async () => assert.equal(await offers.getByRole('button', { name: `Hold ${nameOf(b)}`, exact: true }).count(), 0));
      await soon(async () => assert.equal(await offers.getByRole('button').count(), 4));
      // All of them are pointed out, or the one that is looked at.
      const pointed = (k) => page.getByRole('button', { name: `Row 2, seat ${freeSeats[k].seat}, €129.00, pointed out` });
      await page.mouse.move(2, 2);
      await pointed(2).waitFor();
      await pointed(3).waitFor();
      await accessible(page, 'offers');
      await offers.getByRole('button', { name: `Hold ${nameOf(d)}`, exact: true }).focus();
      await pointed(2).waitFor({ state: 'detached' });
      await pointed(3).waitFor();
      await page.getByRole('button', { name: 'Map' }).click();
      await offers.getByRole('button', { name: `Hold ${nameOf(c)}`, exact: true }).click();
      await sees(page, 'These seats are yours for now');
      await soon(async () => assert.equal(await offers.count(), 0));
      assert.deepEqual(asked, [[a, b], [b, c]]);
    });
  });

  test('seats that the map saw go are offered others to choose', () => stage.open(path, { routes: shop(), ws: live }, async (page, { sockets }) => {
    await sees(page, 'Live');
    await chooseInList(page, 1);
    sockets[`${api.event}/live`][0].send({ type: 'delta', seq: 8, prev: 7, changes: [[a, 2]] });
    const offers = page.getByRole('region', { name: 'Seats to be had instead' });
    await offers.getByRole('button', { name: /^Choose 101, row/ }).nth(2).waitFor();
    // One of them goes, too, and is offered no longer.
    const first = await offers.getByRole('button').first().textContent(), seat = /row (\d+), seat (\d+)/.exec(first);
    const row = f.plan.sections[0].rows[seat[1] - 1];
    sockets[`${api.event}/live`][0].send({ type: 'delta', seq: 9, prev: 8, changes: [[row.first + row.seats.indexOf(seat[2]), 1]] });
    await offers.getByRole('button', { name: first, exact: true }).waitFor({ state: 'detached' });
    await offers.getByRole('button').first().click();
    await sees(page, 'Your choice (1)');
  }));

  test('a seat that would be left alone is named and pointed out', () => stage.open(path, {
    routes: shop({ [`POST ${api.event}/holds`]: problem(409, 'single-seats', 'Single seats would be left', { detail: `seat ${freeSeats[1].seat} in row 2 would be left alone between taken seats; please move up or down the row by one seat`, singles_ordinals: [b] }) }), ws: live, expected: (m) => /409/.test(m),
  }, async (page) => {
    await chooseInList(page, 1);
    await page.getByRole('button', { name: 'Hold 1 ticket' }).click();
    await sees(page, `Seat ${freeSeats[1].seat} in row 2 would be left alone between taken seats; please move up or down the row by one seat.`);
    await sees(page, 'Your choice (1)');
    await page.getByRole('button', { name: `Row 2, seat ${freeSeats[1].seat}, €129.00, pointed out` }).waitFor();
    await accessible(page, 'single seat');
  }));

  test('held seats are changed without losing them', () => {
    const asked = [];
    let now = [a, b];
    return stage.open(path, {
      routes: shop({
        [`GET ${api.event}/holds`]: () => json({ holds: [f.hold(now)] }),
        [`PATCH ${api.event}/holds/hold-1`]: (r) => {
          const { add_ordinals: add = [], drop_ordinals: drop = [], ...rest } = r.postDataJSON();
          assert.deepEqual(rest, {});
          asked.push({ add, drop });
          if (add.includes(c)) return problem(409, 'tickets-taken', 'Tickets are taken', { taken_ordinals: [c], alternatives: [{ tickets: [`t${d}`], ordinals: [d] }] });
          now = [...now.filter((i) => !drop.includes(i)), ...add];
          return json(f.hold(now));
        },
      }),
      ws: live, expected: (m) => /409/.test(m),
    }, async (page) => {
      await sees(page, 'These seats are yours for now');
      await page.getByRole('button', { name: 'List' }).click();
      await page.getByRole('button', { name: /^Row 2/ }).click();
      await page.getByRole('button', { name: `Row 2, seat ${freeSeats[2].seat},` }).click();
      await sees(page, `${nameOf(c)} has just been taken by someone else. Free seats nearby are offered below.`);
      await accessible(page, 'change refused');
      await page.getByRole('button', { name: `Add ${nameOf(d)}`, exact: true }).click();
      await sees(page, `${nameOf(d)} added.`);
      await page.getByRole('button', { name: `Drop ${nameOf(a)}`, exact: true }).click();
      await sees(page, `${nameOf(a)} dropped.`);
      await page.waitForFunction((is) => document.activeElement?.tagName === is, 'H2');
      await accessible(page, 'changed');
      // One's own seat in the list drops it; the last one is given back instead.
      await page.getByRole('button', { name: `Row 2, seat ${freeSeats[1].seat}, €129.00, yours` }).click();
      await sees(page, `${nameOf(b)} dropped.`);
      await soon(async () => assert.equal(await page.getByRole('button', { name: /^Drop/ }).count(), 0));
      await page.getByRole('button', { name: `Row 2, seat ${freeSeats[3].seat}, €129.00, yours` }).click();
      await sees(page, 'This is your last ticket. To let it go, give it back.');
      assert.deepEqual(asked, [{ add: [c], drop: [] }, { add: [d], drop: [] }, { add: [], drop: [a] }, { add: [], drop: [b] }]);
    });
  });

  test('a general-admission ticket is added to a hold, another one where somebody was quicker', () => {
    const asked = [], floor = f.plan.sections.find((s) => s.kind === 'ga');
    return stage.open(path, {
      routes: shop({
        [`GET ${api.event}/holds`]: () => json({ holds: [f.hold([a])] }),
        [`PATCH ${api.event}/holds/hold-1`]: (r) => {
          const [i] = r.postDataJSON().add_ordinals;
          asked.push(i);
          return asked.length === 1 ? problem(409, 'tickets-taken', 'Tickets are taken', { taken_ordinals: [i] }) : json(f.hold([a, i]));
        },
      }),
      ws: live, expected: (m) => /409/.test(m),
    }, async (page) => {
      await sees(page, 'These seats are yours for now');
      await inArea(page);
      await page.getByRole('button', { name: 'One more' }).click();
      await sees(page, 'Floor added.');
      assert.equal(new Set(asked).size, 2);
      const status = f.statuses();
      for (const i of asked) assert.ok(i >= floor.first && i < floor.first + floor.count && status[i] === 0);
      await soon(async () => assert.equal(await page.locator('output').textContent(), '1'));
    });
  });

  test('a code opens tickets that are kept', () => {
    const s = f.statuses(), asked = [], floor = f.plan.sections.find((x) => x.kind === 'ga');
    let own = [];
    for (const i of [a, b, c]) s[i] = 3;
    s.fill(3, floor.first, floor.first + 20);
    const fans = { id: 'fans', name: 'Fan club', ranges: [[a, a], [b, b], [floor.first, floor.first + 9]] };
    const routes = shop({
      [`GET ${api.event}/availability`]: json(f.snapshot(s)),
      [`GET ${api.event}/channels`]: () => json({ channels: own }),
      [`POST ${api.event}/channels`]: (r) => {
        if (r.postDataJSON().code !== 'ABCD-EFGH') return problem(403, 'invite-invalid', 'The invitation is not valid', { detail: 'the code is not known here, was used already, or its time is over' });
        own = [fans];
        return json({ channels: own });
      },
      [`POST ${api.event}/holds`]: (r) => (asked.push(r.postDataJSON()), json(f.hold([a]), 201)),
    });
    return stage.open(path, { routes, ws: { [`${api.event}/live`]: (w) => w.send(f.snapshot(s)) }, expected: (m) => /403/.test(m) }, async (page) => {
      await sees(page, 'Live');
      await sees(page, 'not on general sale');
      await page.getByRole('button', { name: 'List' }).click();
      await page.getByRole('button', { name: /^Row 2/ }).click();
      const seat = (k, more) => page.getByRole('button', { name: `Row 2, seat ${freeSeats[k].seat}, €129.00${more}`, exact: true });
      await soon(async () => assert.ok(await seat(0, ', not on general sale').isDisabled()));
      await page.getByText('I have an access code').click();
      await page.getByLabel('Code').fill('nonsense');
      await page.getByRole('button', { name: 'Use it' }).click();
      await sees(page, 'The invitation is not valid. The code is not known here, was used already, or its time is over.');
      await page.getByLabel('Code').fill('ABCD-EFGH');
      await page.getByRole('button', { name: 'Use it' }).click();
      await sees(page, '“Fan club”: 12 tickets kept for you, as long as they are free.');
      await soon(async () => assert.ok(await seat(2, ', not on general sale').isDisabled()));
      await seat(0, ', Fan club').click();
      await inArea(page);
      await page.getByRole('group', { name: 'Tickets for Floor, Fan club' }).getByRole('button', { name: 'One more' }).click();
      await accessible(page, 'kept tickets');
      await page.getByRole('button', { name: 'Map' }).click();
      await page.locator('.shapes', { hasText: 'Fan club' }).waitFor();
      await accessible(page, 'kept tickets on the map');
      await page.getByRole('combobox', { name: 'From' }).selectOption('Fan club');
      await page.reload();
      await page.getByRole('combobox', { name: 'From' }).selectOption('Fan club');
      await page.getByRole('button', { name: 'Find the best seats' }).click();
      await sees(page, 'These seats are yours for now');
      assert.deepEqual(asked, [{ best_available: { quantity: 2, channel: 'fans' } }]);
    });
  });

  test('what is left is said in a word', () => {
    const tiers = f.event.tiers.map((t, i) => ({ ...t, availability: ['few_left', 'sold_out', 'available', 'available'][i], ...(i === 1 && { available: 0 }) }));
    return stage.open(path, { routes: catalog, ws: live, receipt: false, data: { 'event.html': { data: { event: { ...f.event, tiers } } } } }, async (page) => {
      const prices = page.getByRole('list', { name: 'Prices' }).getByRole('listitem');
      await prices.filter({ hasText: 'Front' }).getByText('few left').waitFor();
      await prices.filter({ hasText: 'Lower ring' }).getByText('sold out').waitFor();
      await soon(async () => assert.equal(await prices.filter({ hasText: /left|sold/ }).count(), 2));
      await accessible(page, 'words');
    });
  });

  test('a hold that ran out is said, and the seats can be chosen again', () => {
    let holds = [f.hold([40], { expires_at: f.after(20) })];
    return stage.open(path, { routes: shop({ [`GET ${api.event}/holds`]: () => json({ holds }) }), ws: live }, async (page) => {
      await sees(page, 'These seats are yours for now');
      holds = [];
      await page.clock.runFor(22_000);
      await sees(page, 'The time for your seats ran out');
      await sees(page, 'Choose your seats');
    });
  });

  test('on the map: a tap from afar goes there, a tap up close chooses, keys do the same', () => stage.open(path, { routes: shop(), ws: live }, async (page) => {
    await sees(page, 'Live');
    const box = await page.locator('canvas').boundingBox();
    // Where an available seat of the upper ring is in the whole view.
    const k = 0.96 * Math.min(box.width / f.plan.width, box.height / f.plan.height);
    const row = f.plan.sections.find((s) => s.name === '315').rows[4], status = f.statuses();
    const n = row.seats.findIndex((_, i) => status[row.first + i] === 0);
    const x = box.x + (box.width - f.plan.width * k) / 2 + row.x[n] * k, y = box.y + (box.height - f.plan.height * k) / 2 + row.y[n] * k;
    await page.mouse.click(x, y);
    await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
    await sees(page, 'Your choice (1)');
    await sees(page, /^315, row/);
    await page.mouse.move(box.x + box.width / 2 + 2, box.y + box.height / 2);
    await page.locator('.tip', { hasText: 'yours' }).waitFor();
    await page.locator('canvas').focus();
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('Enter');
    await sees(page, 'Choose your seats');
    await page.keyboard.press('0');
    await page.getByRole('button', { name: 'Zoom in' }).click();
    await page.getByRole('button', { name: 'Show the whole plan' }).click();
    await accessible(page, 'map in use');
  }));

  test('on the map: once seats are held, a tap or Enter adds and drops', () => {
    const row = f.plan.sections.find((x) => x.name === '315').rows[4], status = f.statuses(), n = row.seats.findIndex((_, i) => status[row.first + i] === 0), i = row.first + n;
    let now = [a];
    return stage.open(path, {
      routes: shop({
        [`GET ${api.event}/holds`]: json({ holds: [f.hold(now)] }),
        [`PATCH ${api.event}/holds/hold-1`]: (r) => {
          const { add_ordinals: add = [], drop_ordinals: drop = [] } = r.postDataJSON();
          now = [...now.filter((x) => !drop.includes(x)), ...add];
          return json(f.hold(now));
        },
      }),
      ws: live,
    }, async (page) => {
      await sees(page, 'These seats are yours for now');
      const box = await page.locator('canvas').boundingBox(), k = 0.96 * Math.min(box.width / f.plan.width, box.height / f.plan.height);
      await page.mouse.click(box.x + (box.width - f.plan.width * k) / 2 + row.x[n] * k, box.y + (box.height - f.plan.height * k) / 2 + row.y[n] * k);
      await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
      await sees(page, /^315, row 5, seat .* added\.$/);
      assert.deepEqual(now, [a, i]);
      await page.locator('canvas').focus();
      await page.keyboard.press('ArrowRight');
      await page.keyboard.press('ArrowLeft');
      await page.keyboard.press('Enter');
      await sees(page, /^315, row 5, seat .* dropped\.$/);
      assert.deepEqual(now, [a]);
    });
  });

  test('15,000 seats pan at a pace people do not notice', () => stage.open(path, { routes: shop(), ws: live }, async (page) => {
    await sees(page, 'Live');
    assert.ok(f.total > 5000);
    const box = await page.locator('canvas').boundingBox();
    await page.evaluate(() => {
      globalThis.slowest = 0;
      new PerformanceObserver((l) => { for (const e of l.getEntries()) globalThis.slowest = Math.max(globalThis.slowest, e.duration); }).observe({ type: 'longtask' });
    });
    await page.mouse.move(box.x + 200, box.y + 200);
    for (let i = 0; i < 12; i++) await page.mouse.wheel(0, i < 6 ? -150 : 150);
    await page.mouse.down();
    for (let i = 0; i < 30; i++) await page.mouse.move(box.x + 200 + i * 8, box.y + 200 + i * 4);
    await page.mouse.up();
    assert.ok(await page.evaluate(() => globalThis.slowest) < 200, 'no task of 200 ms while moving');
  }));

  test('without WebSockets it polls', () => {
    let polls = 0;
    return stage.open(path, { routes: shop({ [`GET ${api.event}/availability`]: () => (polls++, json(f.snapshot())) }), ws: { [`${api.event}/live`]: (s) => s.close(1011) } }, async (page) => {
      await until(() => polls, 'the first status');
      await page.clock.runFor(2000);
      await sees(page, 'Updated every few seconds');
      const before = polls;
      await page.clock.runFor(6000);
      await until(() => polls > before, 'a poll');
    });
  });

  test('a phone shows it all without scrolling sideways', () => stage.open(path, { routes: shop(), ws: live, size: { width: 320, height: 700 } }, async (page, { sockets }) => {
    await sees(page, 'Live');
    await soon(async () => assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)));
    await accessible(page, 'phone');
    // What becomes of a choice is seen without scrolling to it, and one link away.
    await chooseInList(page, 1);
    sockets[`${api.event}/live`][0].send({ type: 'delta', seq: 8, prev: 7, changes: [[freeSeats[0].ordinal, 2]] });
    const said = page.getByRole('status').filter({ hasText: 'has just been taken' });
    await said.waitFor();
    const inSight = async (what) => { const b = await what.boundingBox(); return b.y >= 0 && b.y + b.height <= 700; };
    await soon(async () => assert.ok(await inSight(said), 'the notice is in sight'));
    await page.getByRole('button', { name: `Row 2, seat ${freeSeats[1].seat},` }).click();
    await page.getByRole('link', { name: 'Your choice (1)' }).click();
    await until(() => inSight(page.getByRole('heading', { name: 'Your choice (1)' })), 'the choice in sight');
    await soon(async () => assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)));
    await accessible(page, 'phone with a choice');
  }));
});

describe('checkout', () => {
  const path = `/checkout/${f.id}`;
  const o = f.order();
  const routes = (more = {}) => ({
    [`GET ${api.event}`]: json(f.event), [`GET ${api.room}/me`]: json(shopping), [`GET ${api.event}/holds`]: json({ holds: [f.hold([40, 41])] }),
    'POST /v1/orders': json({ ...o, order_token: 'otok', link: `http://elsewhere.example/orders/${o.order}#t=otok` }, 201), [`GET /v1/orders/${o.order}`]: json(o), ...more,
  });
  const orderPage = { [`GET /v1/orders/${o.order}/tickets`]: json({ tickets: [] }) };
  async function toPayment(page) {
    await page.getByLabel('Name').fill('Ada Example');
    await page.getByLabel('E-mail').fill('ada@example.com');
    await page.getByRole('button', { name: 'Review your order' }).click();
    await page.getByRole('button', { name: 'Place the order' }).click();
    await sees(page, 'Test payment method');
  }

  test('no hold: says so and leads back', () => stage.open(path, { routes: routes({ [`GET ${api.event}/holds`]: noHold }) }, async (page) => {
    await sees(page, 'You hold no seats for this event');
    await accessible(page, 'nothing');
  }));

  test('details are checked, reviewed and then ordered once, whatever is clicked or reloaded', () => {
    const keys = [];
    let fail = true;
    return stage.open(path, {
      routes: routes({ 'POST /v1/orders': (r) => {
        keys.push(r.headers()['idempotency-key']);
        return fail ? 'abort' : json({ ...o, order_token: 'otok' }, 201);
      } }),
      expected: (m) => /ERR_FAILED/.test(m),
    }, async (page) => {
      await page.getByRole('button', { name: 'Review your order' }).click();
      await sees(page, 'Please tell us the name the tickets are for.');
      await page.waitForFunction((is) => document.activeElement?.name === is, 'name');
      await accessible(page, 'details');
      await page.getByLabel('Name').fill('Ada Example');
      await page.getByLabel('E-mail').fill('ada@example');
      await page.getByRole('button', { name: 'Review your order' }).click();
      await sees(page, 'Please give an address like');
      await page.getByLabel('E-mail').fill('ada@example.com');
      await page.getByRole('button', { name: 'Review your order' }).click();
      await accessible(page, 'review');
      await page.getByRole('button', { name: 'Place the order' }).click();
      await sees(page, 'No connection to the server');
      await page.reload();
      await soon(async () => assert.equal(await page.getByLabel('Name').inputValue(), 'Ada Example'));
      fail = false;
      await page.getByRole('button', { name: 'Review your order' }).click();
      await page.getByRole('button', { name: 'Place the order' }).dblclick();
      await sees(page, 'Test payment method');
      assert.equal(new Set(keys).size, 1);
      assert.equal(keys.length, 2);
      await accessible(page, 'payment');
    });
  });

  test('the review shows what is paid, and a promo code takes something off or says why not', () => {
    const held = f.hold([40, 41]), price = f.price(held.tickets), cheaper = f.price(held.tickets, { promo: 'SPRING', off: 1290 });
    const codes = [], ordered = [];
    const refused = { NOSUCH: ['unknown', 'this event has no such promo code; look at how it is spelt'], GONE: ['used_up', 'this promo code has been used up'] };
    return stage.open(path, {
      routes: routes({
        [`GET ${api.event}/holds`]: json({ holds: [{ ...held, total: price.total, price }] }),
        [`POST ${api.event}/holds/hold-1/price`]: (r) => {
          const { promo } = r.postDataJSON();
          codes.push(promo);
          const [reason, detail] = refused[promo] ?? [];
          return reason ? problem(409, 'promo-invalid', 'The promo code does not apply', { detail, reason }) : json(promo ? cheaper : price);
        },
        'POST /v1/orders': (r) => (ordered.push(r.postDataJSON()), json({ ...o, order_token: 'otok', total: cheaper.total, price: cheaper }, 201)),
      }),
      expected: (m) => /409/.test(m),
    }, async (page) => {
      await page.getByLabel('Name').fill('Ada Example');
      await page.getByLabel('E-mail').fill('ada@example.com');
      await page.getByRole('button', { name: 'Review your order' }).click();
      const sums = page.locator('.sums'), field = page.getByLabel('Promo code'), use = page.getByRole('button', { name: 'Use it' });
      // 2 × 129.00 and fees of 2 × 1.50 + 2.00; 130.50 contain 8.54, 2.00 contain 0.13.
      await soon(async () => assert.deepEqual((await sums.innerText()).split('\n').filter(Boolean), ['2 tickets', '€258.00', 'Fees', '€5.00', 'Total', '€263.00', 'Incl. 7% VAT', '€17.21']));
      await use.click();
      assert.deepEqual(codes, []);
      for (const [code, [, detail]] of Object.entries(refused)) {
        await field.fill(code);
        await use.click();
        await sees(page, `${detail[0].toUpperCase()}${detail.slice(1)}.`);
        await soon(async () => assert.equal(await field.getAttribute('aria-invalid'), 'true'));
        await page.waitForFunction((is) => document.activeElement?.id === is, 'promo');
      }
      await accessible(page, 'a refused code');
      await field.fill('spring');
      await page.keyboard.press('Enter');
      await sees(page, 'SPRING: €25.80 off.');
      await page.waitForFunction((text) => document.activeElement?.textContent === text, 'Remove it');
      await soon(async () => assert.match(await sums.innerText(), /Promo code SPRING\s+-€25\.80[^]*Total\s+€237\.20/));
      await accessible(page, 'a code in use');
      await page.getByRole('button', { name: 'Remove it' }).click();
      await sees(page, 'The promo code was removed.');
      await soon(async () => assert.match(await sums.innerText(), /Total\s+€263\.00/));
      await page.waitForFunction((is) => document.activeElement?.id === is, 'promo');
      await field.fill('spring');
      await use.click();
      await page.getByRole('button', { name: 'Place the order' }).click();
      await page.getByRole('button', { name: 'Pay €237.20' }).waitFor();
      await soon(async () => assert.match(await page.locator('.side .sums').innerText(), /Promo code SPRING\s+-€25\.80[^]*Total\s+€237\.20/));
      assert.equal(ordered[0].promo, 'SPRING');
      assert.deepEqual(codes, ['NOSUCH', 'GONE', 'spring', '', 'spring']);
      await accessible(page, 'payment');
    });
  });

  test('paid: on to the tickets, with the order’s token', () => {
    const paid = f.order('paid'), authorised = [];
    return stage.open(path, {
      routes: routes({
        [`POST /v1/orders/${o.order}/pay`]: (r) => (authorised.push(r.headers().authorization, r.postDataJSON().method), json(paid)),
        [`GET /v1/orders/${o.order}`]: json(paid), ...orderPage,
      }),
    }, async (page) => {
      await toPayment(page);
      await page.getByRole('button', { name: 'Pay €258.00' }).click();
      await page.waitForURL(`${stage.server.url}/orders/${o.order}#t=otok`);
      assert.deepEqual(authorised, ['Bearer otok', 'tok_ok']);
    });
  });

  test('declined: nothing charged, seats kept, another method is another try', () => {
    const keys = [];
    return stage.open(path, { routes: routes({ [`POST /v1/orders/${o.order}/pay`]: (r) => (keys.push(r.headers()['idempotency-key']), json(f.order('declined'))) }) }, async (page) => {
      await toPayment(page);
      await page.getByLabel('Card that is declined').check();
      await page.getByRole('button', { name: /^Pay/ }).click();
      await sees(page, 'Your bank declined the payment.');
      await accessible(page, 'declined');
      await page.getByLabel('Card that works').check();
      await page.getByRole('button', { name: /^Pay/ }).click();
      await until(() => keys.length === 2, 'the second try');
      assert.notEqual(keys[0], keys[1]);
    });
  });

  test('a lost answer is checked, not guessed, until it is clear', () => {
    let status = 'payment_unknown', looks = 0;
    return stage.open(path, { routes: routes({ [`POST /v1/orders/${o.order}/pay`]: () => json(f.order('payment_unknown')), [`GET /v1/orders/${o.order}`]: () => (looks++, json(f.order(status))), ...orderPage }) }, async (page) => {
      await toPayment(page);
      await page.getByLabel('Lost answer').check();
      await page.getByRole('button', { name: /^Pay/ }).click();
      await sees(page, 'Checking whether your payment went through');
      await soon(async () => assert.equal(await page.getByRole('button', { name: /^Pay/ }).count(), 0));
      await accessible(page, 'checking');
      await page.reload();
      await sees(page, 'Checking whether your payment went through');
      await page.clock.runFor(2000);
      await until(() => looks >= 2, 'looking again');
      status = 'paid';
      await page.clock.runFor(15_000);
      await page.waitForURL('**/orders/**');
    });
  });

  test('a gateway that is down charges nothing, and may be tried again', () => stage.open(path, {
    routes: routes({ [`POST /v1/orders/${o.order}/pay`]: problem(503, 'gateway-unavailable', 'The payment gateway is unavailable') }), expected: (m) => /503/.test(m),
  }, async (page) => {
    await toPayment(page);
    await page.getByRole('button', { name: /^Pay/ }).click();
    await sees(page, 'Nothing was charged and your seats are still yours');
    await soon(async () => assert.ok(await page.getByRole('button', { name: /^Pay/ }).isEnabled()));
  }));

  test('a bank that asks its owner is linked to', () => stage.open(path, {
    routes: routes({ [`POST /v1/orders/${o.order}/pay`]: json(f.order('awaiting_payment', { payment: { gateway: 'sandbox', next_action: { type: 'redirect', url: '/sandbox/actions/1' } } })) }),
  }, async (page) => {
    await toPayment(page);
    await page.getByRole('button', { name: /^Pay/ }).click();
    await soon(async () => assert.equal(await page.getByRole('link', { name: 'Confirm at your bank' }).getAttribute('href'), '/sandbox/actions/1'));
    await accessible(page, 'asks its owner');
  }));

  test('time to pay ran out', () => {
    let now = f.order('awaiting_payment', { pay_by: f.after(30) });
    return stage.open(path, { routes: routes({ 'POST /v1/orders': json({ ...now, order_token: 'otok' }, 201), [`GET /v1/orders/${o.order}`]: () => json(now) }) }, async (page) => {
      await toPayment(page);
      await sees(page, 'Less than two minutes left.');
      now = f.order('expired');
      await page.clock.runFor(34_000);
      await sees(page, 'The time to pay has run out');
      await accessible(page, 'expired');
    });
  });

  test('warns before the hold ends, gives more time, and says when it is over', () => {
    let holds = [f.hold([40, 41], { expires_at: f.after(100) })];
    return stage.open(path, {
      routes: routes({ [`GET ${api.event}/holds`]: () => json({ holds }), [`POST ${api.event}/holds/hold-1/extend`]: () => json(f.hold([40, 41], { expires_at: f.after(220), extensions_left: 0 })) }),
    }, async (page) => {
      await sees(page, 'Do you need more time?');
      await accessible(page, 'warning');
      await page.getByRole('button', { name: 'I need more time' }).click();
      await sees(page, 'You have more time.');
      await soon(async () => assert.equal(await page.getByRole('button', { name: 'I need more time' }).count(), 0));
      holds = [];
      await page.clock.runFor(222_000);
      await sees(page, 'The time for your seats ran out, and they are free again. Nothing was charged.');
    });
  });

  test('seats can be given back', () => {
    let dropped = 0;
    return stage.open(path, { routes: { ...shop(), ...routes({ [`DELETE ${api.event}/holds/hold-1`]: () => (dropped++, { status: 204 }) }), ...catalog }, ws: live }, async (page) => {
      await page.getByRole('button', { name: 'Give seats back' }).click();
      await page.waitForURL(`**/events/${f.id}`);
      assert.equal(dropped, 1);
    });
  });
});

describe('order', () => {
  const o = f.order('fulfilled', { history: [{ at: f.after(0), status: 'awaiting_payment' }, { at: f.after(20), status: 'paid' }, { at: f.after(21), status: 'fulfilled' }] });
  const path = `/orders/${o.order}`;
  const tickets = [40, 41].map((i, k) => f.held(i, { code: `ONS-7F3K-Q2M${k}` }));
  const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==', 'base64');

  test('tickets with code and picture, opened by the link’s token alone', () => {
    const tokens = new Set();
    const noted = (reply) => (r) => (tokens.add(r.headers().authorization), reply);
    const routes = { [`GET ${api.event}`]: json(f.event), [`GET /v1/orders/${o.order}`]: noted(json(o)), [`GET /v1/orders/${o.order}/tickets`]: noted(json({ tickets })) };
    for (const t of tickets) routes[`GET ${t.qr}`] = noted({ status: 200, contentType: 'image/png', body: png });
    return stage.open(`${path}#t=secret`, { routes, receipt: false }, async (page) => {
      await sees(page, 'ONS-7F3K-Q2M1');
      await page.locator('img[src^="data:image/png"]').nth(1).waitFor();
      assert.deepEqual([...tokens], ['Bearer secret']);
      await accessible(page, 'tickets');
      await page.goto(`${stage.server.url}${path}`);
      await sees(page, 'ONS-7F3K-Q2M1');
      assert.deepEqual([...tokens], ['Bearer secret']);
      await page.emulateMedia({ media: 'print' });
      assert.ok(!(await page.getByRole('button', { name: 'Print' }).isVisible()));
    });
  });

  test('what was paid, line by line', () => {
    const price = f.price(f.hold([40, 41]).tickets, { promo: 'SPRING', off: 500, tax: { name: 'sales tax', percent: '8.875', included: false } });
    return stage.open(`${path}#t=s`, { routes: { [`GET ${api.event}`]: json(f.event), [`GET /v1/orders/${o.order}`]: json(f.order('expired', { price, total: price.total })) } }, async (page) => {
      // Twice 8.875 % of 125.50, and of 2.00.
      await soon(async () => assert.deepEqual((await page.locator('.sums').innerText()).split('\n').filter(Boolean), ['2 tickets', '€258.00', 'Promo code SPRING', '-€10.00', 'Fees', '€5.00', '8.875% sales tax', '€22.46', 'Total', '€275.46']));
      await accessible(page, 'line by line');
    });
  });

  for (const status of ['awaiting_payment', 'payment_unknown', 'paid', 'declined', 'expired', 'cancelled', 'refunded', 'partially_refunded']) {
    test(`status ${status}`, () => stage.open(`${path}#t=s`, { routes: { [`GET ${api.event}`]: json(f.event), [`GET /v1/orders/${o.order}`]: json(f.order(status)), [`GET /v1/orders/${o.order}/tickets`]: json({ tickets: [] }) } }, async (page) => {
      await sees(page, status.replace(/_/g, ' '));
      await accessible(page, status);
    }));
  }

  test('a paid order’s tickets appear when they are made', () => {
    let status = 'paid';
    return stage.open(`${path}#t=s`, { routes: { [`GET ${api.event}`]: json(f.event), [`GET /v1/orders/${o.order}`]: () => json(f.order(status)), [`GET /v1/orders/${o.order}/tickets`]: () => json({ tickets: status === 'paid' ? [] : tickets.map((t) => ({ ...t, qr: '/v1/none' })) }) }, expected: (m) => /404/.test(m) }, async (page) => {
      await sees(page, 'Your tickets are being made');
      status = 'fulfilled';
      await page.clock.runFor(4000);
      await sees(page, 'ONS-7F3K-Q2M0');
    });
  });

  test('no token: explains how orders are opened', () => stage.open(path, { routes: { [`GET /v1/orders/${o.order}`]: problem(401, 'unauthorized', 'Not allowed', { detail: 'An order is seen with its link.' }) }, expected: (m) => /401/.test(m) }, async (page) => {
    await sees(page, 'Please use that link.');
    await accessible(page, 'no token');
  }));
});

describe('events', () => {
  test('cards from the page, and a search that is part of the address', () => {
    const asked = [];
    return stage.open('/', { routes: { 'GET /v1/events': (r) => (asked.push(new URL(r.url()).search), json({ events: asked.length > 1 ? [] : f.events.slice(0, 1), next_cursor: null })) } }, async (page) => {
      await sees(page, 'Der Kirschgarten');
      await accessible(page, 'list');
      assert.deepEqual(asked, []);
      await page.getByLabel('City').fill('Ham');
      await page.getByText('Der Kirschgarten').waitFor({ state: 'detached' });
      assert.deepEqual(asked, ['?city=Ham']);
      assert.equal(new URL(page.url()).search, '?city=Ham');
      await page.getByLabel('Event, artist or place').fill('zz');
      await sees(page, 'No event fits.');
      await accessible(page, 'nothing found');
    });
  });
});
