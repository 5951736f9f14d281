// Opens one page in one state: mocked API, faked clock, strict policy; and checks it for access and complaints.
import assert from 'node:assert/strict';
import { answer, complaints, json, launch, serveDist, socket, violations } from './browser.mjs';
import * as f from './fixtures.mjs';

export const api = { room: `/v1/rooms/${f.id}`, event: `/v1/events/${f.id}` };
const defaults = {
  'index.html': { title: 'Events on sale', data: { events: f.events, next_cursor: null } },
  'event.html': { title: f.event.name, data: { event: f.event, now: f.after(0) }, essentials: `<h1>${f.event.name}</h1><p>Prices and all that</p>` },
  queue: { title: f.event.name, data: { event: { id: f.id, name: f.event.name, starts_at: f.event.starts_at, venue: f.event.venue }, room: f.room(), now: f.after(0) }, essentials: `<h1>${f.event.name}</h1>` },
  'checkout.html': { title: 'Checkout' }, 'order.html': { title: 'Your order' }, 'ticket.html': { title: 'Your ticket' }, 'account.html': { title: 'My orders', data: { sign_in: 'code' } }, 'console.html': { title: 'Console' },
};

export class Stage {
  static async start() {
    const s = new Stage();
    s.data = {};
    s.server = await serveDist((page) => ({ ...defaults[page], ...s.data[page] }));
    s.browser = await launch();
    return s;
  }

  async close() {
    await this.browser.close();
    await this.server.close();
  }

  /**
   * Runs `play(page, {sockets, complaints})` on a fresh page. `routes` and `ws`
   * play the server; `receipt` makes the browser one that has joined before;
   * `expected` lets through complaints the test is about.
   */
  async open(path, { routes = {}, ws = {}, data = {}, receipt = true, expected = () => false, size = { width: 1100, height: 850 }, locale = 'en-GB', permissions = [] }, play) {
    this.data = data;
    const context = await this.browser.newContext({ viewport: size, locale, timezoneId: 'Europe/Berlin', permissions, hasTouch: false });
    if (receipt) await context.addInitScript((id) => { if (!localStorage.getItem('seen')) { localStorage.setItem('seen', '1'); localStorage.setItem(`onsale:receipt:${id}`, 'receipt-0'); } }, f.id);
    const page = await context.newPage();
    page.setDefaultTimeout(8000);
    const said = complaints(page, expected);
    await page.clock.install({ time: f.start });
    await answer(page, { [`GET ${api.event}/channels`]: json({ channels: [] }), ...routes });
    const sockets = {};
    for (const [p, opened] of Object.entries(ws)) sockets[p] = await socket(page, p, opened);
    try {
      await page.goto(this.server.url + path);
      await play(page, { context, sockets, said });
      assert.deepEqual(said, [], 'the page complained');
    } finally {
      await context.close();
    }
  }
}

/** No violation in light, dark and forced colours. */
export async function accessible(page, what) {
  // From dark to forced colours at once, Chromium would keep some of the dark ones.
  const looks = { light: { colorScheme: 'light' }, 'forced colours': { forcedColors: 'active' }, dark: { colorScheme: 'dark', forcedColors: 'none' } };
  for (const [look, media] of Object.entries(looks)) {
    await page.emulateMedia(media);
    assert.deepEqual(await violations(page), [], `${what}, ${look}`);
  }
  await page.emulateMedia({ colorScheme: 'light' });
}

/** Text that is visible now, waited for. */
export const sees = (page, text) => page.getByText(text).filter({ visible: true }).first().waitFor();
