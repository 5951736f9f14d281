// The checkout with Stripe: its script is a stand-in that is served where the real one would be, under the real policy.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { json, soon, until } from './browser.mjs';
import * as f from './fixtures.mjs';
import { Stage, accessible, api, sees } from './stage.mjs';

let stage;
before(async () => { stage = await Stage.start(); });
after(() => stage.close());

/** Stripe's script as the page uses it. `window.asked` is what it was asked for. */
const script = `
window.asked = [];
window.Stripe = (key) => {
  asked.push(['key', key]);
  return {
    elements(options) {
      asked.push(['elements', options]);
      return {
        create(kind) {
          const on = {};
          let frame;
          return {
            on: (what, f) => { on[what] = f; },
            mount(at) {
              frame = document.createElement('iframe');
              frame.src = 'https://js.stripe.com/form.html';
              frame.title = 'Secure payment input frame';
              frame.onload = () => on.ready({});
              at.append(frame);
            },
            destroy: () => frame.remove(),
          };
        },
        async submit() { return window.wrong ? { error: { message: 'Your card number is incomplete.' } } : {}; },
      };
    },
    async createConfirmationToken(options) {
      const made = await (await fetch('https://api.stripe.com/v1/confirmation_tokens', { method: 'POST', body: '{}' })).json();
      asked.push(['token', options.params]);
      return { confirmationToken: made };
    },
    async handleNextAction(options) {
      asked.push(['action', options.clientSecret]);
      return window.refuses ? { error: { message: 'We are unable to authenticate your payment method.' } } : { paymentIntent: {} };
    },
  };
};`;

describe('checkout with Stripe', () => {
  const path = `/checkout/${f.id}`, shopping = f.me({ state: 'shopping', lease_ends: f.after(560) });
  const pays = (more = {}) => ({ gateway: 'stripe', publishable_key: 'pk_test_1', ...more });
  const o = f.order('awaiting_payment', { payment: pays() });
  const pay = `POST /v1/orders/${o.order}/pay`, look = `GET /v1/orders/${o.order}`;

  /** Opens the checkout and goes to the form. `loads` decides whether the script can be had. */
  function form(routes, play, { loads = () => true, expected } = {}) {
    const all = {
      [`GET ${api.event}`]: json(f.event), [`GET ${api.room}/me`]: json(shopping), [`GET ${api.event}/holds`]: json({ holds: [f.hold([40, 41])] }),
      'POST /v1/orders': json({ ...o, order_token: 'otok' }, 201), [look]: json(o), [`GET /v1/orders/${o.order}/tickets`]: json({ tickets: [] }), ...routes,
    };
    return stage.open('/', { routes: all, receipt: false, data: { 'checkout.html': { title: 'Checkout', stripe: true } }, expected }, async (page) => {
      let tokens = 0;
      await page.route('https://js.stripe.com/clover/stripe.js', (r) => (loads() ? r.fulfill({ contentType: 'text/javascript', body: script }) : r.abort()));
      await page.route('https://js.stripe.com/form.html', (r) => r.fulfill({ contentType: 'text/html', body: '<!doctype html><html lang="en"><title>Card</title><main><h1>Card</h1></main>' }));
      await page.route('https://api.stripe.com/**', (r) => r.fulfill({ ...json({ id: `ctoken_${++tokens}` }), headers: { 'access-control-allow-origin': '*' } }));
      await page.goto(stage.server.url + path);
      await page.getByLabel('Name').fill('Ada Example');
      await page.getByLabel('E-mail').fill('ada@example.com');
      await page.getByRole('button', { name: 'Review your order' }).click();
      await page.getByRole('button', { name: 'Place the order' }).click();
      await play(page);
    });
  }
  const asked = (page, what) => page.evaluate((w) => window.asked.filter(([n]) => n === w).map(([, v]) => v), what);
  const ready = async (page) => {
    await page.frameLocator('iframe[title="Secure payment input frame"]').getByText('Card').first().waitFor();
    await until(() => page.getByRole('button', { name: /^Pay/ }).isEnabled(), 'the form to be ready');
  };

  test('the form’s token pays the order', () => {
    const sent = [];
    let now = o;
    return form({ [pay]: (r) => (sent.push([r.postDataJSON(), r.headers()['idempotency-key']]), now = f.order('paid', { payment: pays() }), json(now)), [look]: () => json(now) }, async (page) => {
      await ready(page);
      await soon(async () => assert.equal(await page.getByText('Test payment method').count(), 0));
      await accessible(page, 'Stripe’s form');
      await soon(async () => assert.deepEqual(await asked(page, 'key'), ['pk_test_1']));
      const [options] = await asked(page, 'elements');
      assert.deepEqual([options.mode, options.amount, options.currency, options.captureMethod], ['payment', o.total.amount, 'eur', 'manual']);
      await page.getByRole('button', { name: /^Pay/ }).click();
      await page.waitForURL('**/orders/**');
      assert.equal(sent.length, 1);
      assert.deepEqual(sent[0][0], { method: 'ctoken_1' });
      assert.ok(sent[0][1]);
    });
  });

  test('a bank that asks its owner does so in the page', () => {
    let now = o, looks = 0;
    const waits = f.order('awaiting_payment', { payment: pays({ client_secret: 'pi_1_secret_2', next_action: { type: 'in_page' } }) });
    return form({
      [pay]: () => (now = waits, json(now)),
      [look]: () => (++looks === 2 && (now = f.order('paid', { payment: pays() })), json(now)), // the gateway's word takes a moment
    }, async (page) => {
      await ready(page);
      await page.getByRole('button', { name: /^Pay/ }).click();
      await until(async () => (await asked(page, 'action')).length === 1, 'the bank’s question');
      await soon(async () => assert.deepEqual(await asked(page, 'action'), ['pi_1_secret_2']));
      await page.clock.runFor(3000);
      await page.waitForURL('**/orders/**');
    });
  });

  test('who did not confirm is told, and can do it again', () => {
    const waits = f.order('awaiting_payment', { payment: pays({ client_secret: 'pi_1_secret_2', next_action: { type: 'in_page' } }) });
    let now = o;
    return form({ [pay]: () => (now = waits, json(now)), [look]: () => json(now) }, async (page) => {
      await ready(page);
      await page.evaluate(() => { window.refuses = true; });
      await page.getByRole('button', { name: /^Pay/ }).click();
      await sees(page, 'We are unable to authenticate your payment method.');
      for (let i = 0; i < 10; i++) await page.clock.runFor(10_000);
      const again = page.getByRole('button', { name: 'Confirm the payment' });
      await until(() => again.isEnabled(), 'another try');
      await accessible(page, 'asks in the page');
      await again.click();
      await until(async () => (await asked(page, 'action')).length === 2, 'the bank’s question again');
    });
  });

  test('a decline says why, and another card is another try', () => {
    const keys = [];
    let now = o;
    return form({
      [pay]: (r) => (keys.push(r.headers()['idempotency-key']), now = f.order('declined', { payment: pays({ reason: 'the card does not have enough funds' }) }), json(now)), [look]: () => json(now),
    }, async (page) => {
      await ready(page);
      await page.getByRole('button', { name: /^Pay/ }).click();
      await sees(page, 'The card does not have enough funds.');
      await page.getByRole('button', { name: /^Pay/ }).click();
      await until(() => keys.length === 2, 'the second try');
      assert.notEqual(keys[0], keys[1]);
      await soon(async () => assert.equal((await asked(page, 'token')).length, 2));
    });
  });

  test('what is entered wrongly is not sent', () => {
    let sent = 0;
    return form({ [pay]: () => (sent++, json(o)) }, async (page) => {
      await ready(page);
      await page.evaluate(() => { window.wrong = true; });
      await page.getByRole('button', { name: /^Pay/ }).click();
      await sees(page, 'Your card number is incomplete.');
      assert.equal(sent, 0);
      await soon(async () => assert.equal((await asked(page, 'token')).length, 0));
    });
  });

  test('a script that cannot be had is tried again', () => {
    let there = false;
    return form({}, async (page) => {
      await sees(page, 'The payment form could not be loaded.');
      await soon(async () => assert.ok(await page.getByRole('button', { name: /^Pay/ }).isDisabled()));
      await accessible(page, 'no form');
      there = true;
      await page.getByRole('button', { name: 'Try again' }).click();
      await ready(page);
    }, { loads: () => there, expected: (m) => /ERR_FAILED|js\.stripe\.com/.test(m) });
  });

  test('an order that costs nothing needs no form', () => {
    const none = { ...o, total: { amount: 0, currency: 'EUR' } }, sent = [];
    let now = none;
    return form({ 'POST /v1/orders': json({ ...none, order_token: 'otok' }, 201), [pay]: (r) => (sent.push(r.postDataJSON()), now = { ...none, status: 'paid' }, json(now)), [look]: () => json(now) }, async (page) => {
      await page.getByRole('button', { name: /^Pay/ }).click();
      await page.waitForURL('**/orders/**');
      assert.deepEqual(sent, [{ method: 'free' }]);
    });
  });
});
