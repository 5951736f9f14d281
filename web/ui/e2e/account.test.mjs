// What somebody has bought, and what they may have done with it.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { json, outDir, problem, soon } from './browser.mjs';
import * as f from './fixtures.mjs';
import { Stage, accessible, api, sees } from './stage.mjs';

let stage;
before(async () => { stage = await Stage.start(); });
after(() => stage.close());

const phone = { width: 390, height: 844 };
const picture = (page, name) => process.env.ONSALE_SCREENSHOTS && page.screenshot({ path: `${outDir}${name}.png`, fullPage: true });
const grace = { account: 'a', email: 'grace@buyers.example', name: '', created_at: f.after(-1000), last_seen_at: f.after(0) };
const nobody = problem(401, 'unauthorized', 'Credentials are missing or not valid');
const orders = [f.order('fulfilled', { order: 'one', link: '/orders/one#t=x', created_at: f.after(-100) }), f.order('refunded', { order: 'two', link: '/orders/two#t=y', created_at: f.after(-5000) })];
const quiet = (m) => /401|409/.test(m); // what the browser says about refusals

describe('account', () => {
  test('signing in by a code shows the orders of that address', () => {
    const asked = [];
    return stage.open('/account', {
      size: phone, receipt: false, expected: quiet,
      routes: {
        'GET /v1/account': nobody,
        'POST /v1/account/code': (r) => (asked.push(r.postDataJSON()), json({ status: 'sent' }, 202)),
        'POST /v1/account/session': (r) => (asked.push(r.postDataJSON()), asked.length < 3 ? nobody : json({ account: grace, session_token: 'x', expires_at: f.after(9) })),
        'GET /v1/account/orders': json({ orders, next_cursor: null }),
        [`GET ${api.event}`]: json(f.event),
      },
    }, async (page) => {
      await page.getByLabel('E-mail').fill('grace@buyers.example');
      await accessible(page, 'sign in');
      await picture(page, 'account-sign-in');
      await page.getByRole('button', { name: 'Send me a code' }).click();
      await sees(page, 'grace@buyers.example');
      await page.waitForFunction((is) => document.activeElement?.name === is, 'code');
      await accessible(page, 'code');
      await page.getByLabel('Code').fill('0000-0000');
      await page.keyboard.press('Enter');
      await page.getByRole('alert').filter({ hasText: 'Credentials' }).waitFor();
      await page.getByLabel('Code').fill('7k3m q2xb');
      await page.keyboard.press('Enter');
      await sees(page, 'Tickets ready');
      await sees(page, f.event.name);
      assert.deepEqual(asked, [{ email: grace.email }, { email: grace.email, code: '0000-0000' }, { email: grace.email, code: '7k3m q2xb' }]);
      await soon(async () => assert.deepEqual(await page.locator('a.bought').evaluateAll((l) => l.map((a) => a.getAttribute('href'))), ['/orders/one#t=x', '/orders/two#t=y']));
      await accessible(page, 'orders');
      await picture(page, 'account-orders');
      await page.emulateMedia({ colorScheme: 'dark' });
      await picture(page, 'account-orders-dark');
    });
  });

  const atIssuer = (more) => ({ 'account.html': { title: 'My orders', data: { sign_in: 'both', issuer: 'Example & co', ...more } } });
  const issuer = (asked) => (r) => (asked.push(r.url().replace(/.*\/v1/, '/v1')), { status: 200, contentType: 'text/html', body: '<title>Issuer</title><h1>The issuer</h1>' });

  test('signing in at the issuer', () => {
    const asked = [];
    return stage.open('/account', {
      size: phone, receipt: false, expected: quiet, data: atIssuer(),
      routes: { 'GET /v1/account': nobody, 'GET /v1/account/oidc': issuer(asked) },
    }, async (page) => {
      const link = page.getByRole('link', { name: 'Sign in with Example & co' });
      await link.waitFor();
      assert.ok((await link.boundingBox()).height >= 44);
      await page.getByLabel('E-mail').waitFor(); // the other way
      await accessible(page, 'sign in at the issuer');
      await picture(page, 'account-issuer');
      await link.focus();
      await page.keyboard.press('Enter');
      await sees(page, 'The issuer');
      assert.deepEqual(asked, ['/v1/account/oidc']);
    });
  });

  test('a sign-in at the issuer that led to nothing says why, once, and can be tried again', () => {
    const asked = [];
    return stage.open('/account?failed=down&return=%2Fqueue%2F1%3Fa%3Db', {
      size: phone, receipt: false, expected: quiet, data: atIssuer({ sign_in: 'oidc', failed: 'Example & co does not answer at the moment.' }),
      routes: { 'GET /v1/account': nobody, 'GET /v1/account/oidc': issuer(asked) },
    }, async (page) => {
      await page.getByRole('alert').filter({ hasText: 'Example & co does not answer at the moment.' }).waitFor();
      assert.equal(await page.getByLabel('E-mail').count(), 0);
      assert.equal(new URL(page.url()).search, '');
      await accessible(page, 'the issuer is down');
      await picture(page, 'account-issuer-down');
      await page.getByRole('link', { name: 'Sign in with Example & co' }).click();
      await sees(page, 'The issuer');
      assert.deepEqual(asked, ['/v1/account/oidc?return=%2Fqueue%2F1%3Fa%3Db']);
    });
  });

  test('who is signed in is told of no failure', () => stage.open('/account?failed=lost', {
    size: phone, data: atIssuer({ failed: 'This sign-in took too long.' }),
    routes: { 'GET /v1/account': json(grace), 'GET /v1/account/orders': json({ orders: [], next_cursor: null }) },
  }, async (page) => {
    await sees(page, 'Nothing was bought');
    assert.equal(await page.getByRole('alert').count(), 0);
  }));

  test('erasing asks first, says why it cannot be, and leaves nothing in the browser', () => {
    const asked = [];
    return stage.open('/account', {
      size: phone, expected: quiet,
      routes: {
        'GET /v1/account': json(grace), 'GET /v1/account/orders': json({ orders, next_cursor: null }), [`GET ${api.event}`]: json(f.event),
        'DELETE /v1/account': (r) => (asked.push(r.postDataJSON()), asked.length < 2 ? problem(409, 'conflict', 'Not possible in this state', { detail: '2 tickets are for events to come' }) : { status: 204 }),
      },
    }, async (page) => {
      await page.getByRole('button', { name: 'Erase my data' }).click();
      await page.waitForFunction((text) => document.activeElement?.textContent === text, 'Erase my data?');
      await accessible(page, 'erase');
      await page.getByRole('button', { name: 'Erase everything' }).click();
      await page.getByRole('alert').filter({ hasText: 'events to come' }).waitFor();
      await picture(page, 'account-erase');
      await page.getByLabel('Even if I have tickets').check();
      await page.getByRole('button', { name: 'Erase everything' }).click();
      await sees(page, 'You are forgotten');
      assert.deepEqual(asked, [{ even_with_tickets: false }, { even_with_tickets: true }]);
      await soon(async () => assert.deepEqual(await page.evaluate(() => Object.keys(localStorage).filter((k) => k.startsWith('onsale:'))), []));
      await accessible(page, 'erased');
    });
  });

  test('signing out, and a copy of the data', () => {
    let out = 0;
    return stage.open('/account', {
      expected: quiet,
      routes: {
        'GET /v1/account': json(grace), 'GET /v1/account/orders': json({ orders: [], next_cursor: null }),
        'GET /v1/account/export': json({ as_of: f.after(0) }), 'DELETE /v1/account/session': () => (out++, { status: 204 }),
      },
    }, async (page) => {
      await sees(page, 'Nothing was bought');
      const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download my data' }).click()]);
      assert.equal(file.suggestedFilename(), 'personal-data.json');
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByLabel('E-mail').waitFor();
      assert.equal(out, 1);
    });
  });
});
