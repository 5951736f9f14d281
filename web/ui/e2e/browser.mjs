// Chromium, a server for dist under the production Content-Security-Policy, and axe: what every page test needs.
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const require = createRequire(import.meta.url);
const dist = new URL('../dist/', import.meta.url);
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
export const outDir = fileURLToPath(new URL('.out/', import.meta.url));
await mkdir(outDir, { recursive: true });

export const launch = () => chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1'],
});

/** The policy the server sends with a page, made from the hashes of the build; `stripe` as where Stripe takes the money, `images` where pictures come from. */
export function policy(page, stripe = false, images = []) {
  const { script = [], style = [] } = JSON.parse(readFileSync(new URL('csp.json', dist), 'utf8'))[page] ?? {};
  const quoted = (list) => list.map((h) => ` '${h}'`).join('');
  const js = stripe ? ' https://js.stripe.com https://*.js.stripe.com' : '', calls = stripe ? ' https://api.stripe.com' : '';
  return `default-src 'none'; script-src 'self'${js}${quoted(script)}; style-src 'self'${quoted(style)}; img-src ${["'self' data:", ...images].join(' ')}; connect-src 'self'${calls}; `
    + `manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'${stripe ? `; frame-src${js} https://hooks.stripe.com` : ''}`;
}

const pages = [[/^\/$/, 'index.html'], [/^\/events\//, 'event.html'], [/^\/queue\//, 'queue'], [/^\/checkout\//, 'checkout.html'], [/^\/orders\//, 'order.html'], [/^\/t\//, 'ticket.html'], [/^\/account$/, 'account.html'], [/^\/console$/, 'console.html']];
const types = { js: 'text/javascript', css: 'text/css', html: 'text/html; charset=utf-8' };
const escape = (s) => s.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** The queue page's language as the server chooses it. */
const languageOf = (req) => {
  const asked = new URL(req.url, 'http://x').searchParams.get('lang') ?? (req.headers['accept-language'] ?? '').slice(0, 2);
  return ['en', 'de', 'fr', 'es', 'ja'].includes(asked) ? asked : 'en';
};

/**
 * Serves dist as the real server does. `data(page)` gives what it puts into
 * the page's placeholders: {title, essentials, data}.
 */
export async function serveDist(data = () => ({})) {
  const server = createServer((req, res) => {
    const path = new URL(req.url, 'http://x').pathname, page = pages.find(([r]) => r.test(path))?.[1];
    try {
      if (page) {
        const d = data(page), file = page === 'queue' ? `queue.${languageOf(req)}.html` : page;
        const html = readFileSync(new URL(file, dist), 'utf8')
          .replace('<!--onsale:title-->', () => escape(d.title ?? 'onsale'))
          .replace('<!--onsale:essentials-->', () => d.essentials ?? '')
          .replace('<!--onsale:data-->', () => `<script type="application/json" id="onsale-data">${JSON.stringify(d.data ?? {}).replace(/</g, '\\u003c')}</script>`);
        res.writeHead(200, { 'content-type': types.html, 'content-security-policy': policy(file, d.stripe, d.images), 'cache-control': 'no-cache' }).end(html);
      } else {
        const bytes = readFileSync(new URL(`.${path}`, dist));
        res.writeHead(200, { 'content-type': types[path.split('.').pop()] ?? 'application/octet-stream' }).end(bytes);
      }
    } catch {
      res.writeHead(404).end();
    }
  });
  await new Promise((ok) => server.listen(0, '127.0.0.1', ok));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => new Promise((ok) => { server.closeAllConnections(); server.close(ok); }) };
}

/** Collects everything the page complains about: errors, failed resources, policy violations. */
export function complaints(page, ignore = () => false) {
  const list = [];
  // Chromium says so of every page that is left while its socket is being opened.
  const left = (text) => text.includes('WebSocket is closed before the connection is established');
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type()) && !left(m.text()) && !ignore(m.text())) list.push(`${m.type()}: ${m.text()} (${m.location().url})`); });
  page.on('pageerror', (e) => list.push(`exception: ${e.stack}`));
  return list;
}

/** Violations axe finds on the page as it stands, in one line each. */
export async function violations(page) {
  await page.evaluate(axe).catch(() => {});
  const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  return found.violations.map((v) => `${v.id}: ${v.help} [${v.nodes.map((n) => `${n.target.join(' ')} ${n.any?.[0]?.message ?? ''}`).join('; ')}]`);
}

export const json = (body, status = 200, headers = {}) => ({ status, contentType: status < 400 ? 'application/json' : 'application/problem+json', headers, body: JSON.stringify(body) });
export const problem = (status, code, title, more = {}, headers = {}) => json({ type: `https://onsale.example/problems/${code}`, title, status, ...more }, status, headers);

/** Answers the API: `routes` maps "METHOD /path" (or a path pattern) to an answer or a function of the request. */
export async function answer(page, routes) {
  await page.route('**/v1/**', async (route) => {
    const r = route.request(), path = new URL(r.url()).pathname, hit = routes[`${r.method()} ${path}`];
    const reply = typeof hit === 'function' ? await hit(r) : hit;
    if (reply === 'abort') return route.abort();
    return route.fulfill(reply ?? problem(404, 'not-found', `No answer for ${r.method()} ${path}`));
  });
}

/** A WebSocket the test plays the server of. `sockets` holds every connection, newest last. */
export async function socket(page, path, opened = () => {}) {
  const sockets = [];
  await page.routeWebSocket((u) => u.pathname === path, (ws) => {
    const s = { ws, received: [], send: (m) => ws.send(JSON.stringify(m)), close: (code) => ws.close({ code }) };
    ws.onMessage((m) => s.received.push(m));
    sockets.push(s);
    opened(s, sockets.length);
  });
  return sockets;
}

/** Waits until `f` is truthy; for state kept in the test, where no page event tells. */
export async function until(f, what = 'the condition', ms = 5000) {
  const end = performance.now() + ms;
  for (;;) {
    const v = await f();
    if (v) return v;
    if (performance.now() > end) throw new Error(`waited ${ms} ms for ${what}`);
    await new Promise((ok) => setTimeout(ok, 20));
  }
}

/** Asserts of a page what holds at once or after the next rendering: the last failure is thrown when it never does. */
export async function soon(assertion, ms = 5000) {
  const end = performance.now() + ms;
  for (;;) {
    try {
      return await assertion();
    } catch (e) {
      if (performance.now() > end) throw e;
      await new Promise((ok) => setTimeout(ok, 20));
    }
  }
}
