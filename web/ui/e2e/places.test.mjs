// What is special about seats, where sections are entered, and what an event looks like: from the list of events to the ticket.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { json, outDir, soon, until } from './browser.mjs';
import * as f from './fixtures.mjs';
import { Stage, accessible, api, sees } from './stage.mjs';

let stage, pictures, origin;
const asked = [];
before(async () => {
  stage = await Stage.start();
  // Another port is another origin.
  pictures = createServer((req, res) => {
    asked.push(req.url);
    const [w, h] = req.url.includes('small') ? [480, 270] : [1600, 900];
    res.writeHead(200, { 'content-type': 'image/svg+xml' }).end(`<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}"><rect width="100%" height="100%" fill="#345"/></svg>`);
  });
  await new Promise((ok) => pictures.listen(0, '127.0.0.1', ok));
  origin = `http://127.0.0.1:${pictures.address().port}`;
});
after(async () => {
  await stage.close();
  pictures.closeAllConnections();
  pictures.close();
});

const shot = (page, name) => process.env.ONSALE_SCREENSHOTS && page.screenshot({ path: `${outDir}${name}.png`, fullPage: true });
/** The plan, whose first section is entered by Door B and has something special in its second row. */
const plan = structuredClone(f.plan);
plan.sections[0].entrance = 'Door B';
const row = plan.sections[0].rows[1];
row.attributes = [0, 1, 9, 1, 1, 2, 2, 2, 4];
const free = { type: 'snapshot', seq: 7, total: f.total, status: f.packed(new Uint8Array(f.total)) };
const event = () => ({
  ...f.event, images: [
    { url: `${origin}/large.svg`, alt: 'Lights over a harbour', width: 1600, height: 900 },
    { url: `${origin}/small.svg`, alt: 'Lights over a harbour', width: 480, height: 270 },
    { url: 'https://elsewhere.example/x.png', alt: 'Elsewhere', width: 10, height: 10 },
  ],
});
const loaded = (page) => page.locator('img.shot').evaluate((i) => i.complete && i.naturalWidth > 0 && i.currentSrc);

test('from the list of events to the ticket', async () => {
  const e = event();
  await stage.open('/', { receipt: false, size: { width: 390, height: 844 }, data: { 'index.html': { images: [origin], data: { events: [e], next_cursor: null, image_origins: [origin] } } } }, async (page) => {
    await until(() => loaded(page), 'the picture');
    assert.equal(await loaded(page), `${origin}/small.svg`);
    assert.equal(await page.locator('img.shot').getAttribute('alt'), 'Lights over a harbour');
    await accessible(page, 'list with pictures');
    await shot(page, 'list-with-picture');
  });
  assert.deepEqual(asked, ['/small.svg']);

  // Without the setting there is none, and nobody asks for one.
  await stage.open('/', { receipt: false, data: { 'index.html': { data: { events: [e], next_cursor: null, image_origins: [] } } } }, async (page) => {
    await page.locator('.art').waitFor();
    assert.equal(await page.locator('img').count(), 0);
  });
  assert.equal(asked.length, 1);

  const ordinal = row.first + 2;
  const held = f.hold([ordinal]);
  Object.assign(held.tickets[0], { attributes: ['restricted_view'], entrance: 'Door B' });
  const routes = {
    [`GET ${api.event}`]: json(e), [`GET ${api.event}/plan`]: json(plan), [`GET ${api.event}/availability`]: json(free),
    [`GET ${api.room}/me`]: json(f.me({ state: 'shopping', lease_ends: f.after(560) })), [`GET ${api.event}/holds`]: json({ holds: [] }),
    [`POST ${api.event}/holds`]: json(held, 201),
  };
  await stage.open(`/events/${f.id}`, {
    routes, ws: { [`${api.event}/live`]: (s) => s.send(free) }, data: { 'event.html': { images: [origin], data: { event: e, now: f.after(0), image_origins: [origin] } } },
  }, async (page) => {
    await until(() => loaded(page), 'the picture');
    // The legend tells the four by words and by shapes that differ, and filters.
    const legend = page.getByRole('group', { name: 'Show only seats that are' });
    const shapes = new Set();
    for (const name of ['accessible', 'companion', 'restricted view', 'aisle']) shapes.add(await legend.getByRole('button', { name, exact: true }).locator('path').getAttribute('d'));
    assert.equal(shapes.size, 4);
    const pixels = () => page.locator('.mapbox canvas').evaluate((c) => c.toDataURL());
    const all = await pixels();
    await legend.getByRole('button', { name: 'accessible', exact: true }).click();
    await until(async () => (await pixels()) !== all, 'the map to show fewer seats');
    await legend.getByRole('button', { name: 'accessible', exact: true }).click();
    await accessible(page, 'legend');

    await page.getByRole('button', { name: 'List' }).click();
    await sees(page, 'Entrance: Door B');
    await page.getByRole('button', { name: /^Row 2/ }).click();
    for (const [seat, what] of [[0, 'accessible, aisle, '], [1, 'companion, '], [2, 'restricted view, '], [4, '']]) {
      await page.getByRole('button', { name: new RegExp(`^Row 2, seat ${row.seats[seat]}, ${what}€`) }).waitFor();
    }
    await page.getByRole('button', { name: /^Row 2, seat 3, restricted view/ }).click();
    // Said before anything is held, and after.
    const said = /restricted view · entrance: Door B/;
    await sees(page, 'Your choice (1)');
    await page.locator('.picked').getByText(said).waitFor();
    await accessible(page, 'choice with notes');
    await page.getByRole('button', { name: 'Hold 1 ticket' }).click();
    await sees(page, 'These seats are yours for now');
    await page.locator('.picked').getByText(said).waitFor();
    await shot(page, 'seats-with-marks');
  });

  const a = f.admission({ attributes: ['restricted_view'], entrance: 'Door B' });
  await stage.open(`/t/${a.admission}#t=holder`, { routes: { [`GET /v1/admissions/${a.admission}`]: json(a) }, receipt: false, size: { width: 390, height: 844 } }, async (page) => {
    await soon(async () => assert.match(await page.locator('dl.facts').innerText(), /Entrance\s+Door B[\s\S]*Please note\s+restricted view/i));
    await accessible(page, 'ticket with an entrance');
    await shot(page, 'ticket-with-entrance');
  });
});
