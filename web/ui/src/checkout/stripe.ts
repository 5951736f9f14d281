import type { Money, Order } from '../api';
import { locale } from '../locale';
import { decimals } from '../money';

/**
 * Stripe's part of the page: its script, which has to come from Stripe itself, and
 * its form for cards and wallets. What is typed there never reaches this page or
 * our server; they see the id of a confirmation token.
 */

/** Of the same release train as the API version that the server speaks. */
const script = 'https://js.stripe.com/clover/stripe.js';

interface Failure { message?: string }
interface Element { mount(at: HTMLElement): void; on(event: 'ready' | 'loaderror', f: (e: { error?: Failure }) => void): void; destroy(): void }
interface Elements { create(kind: 'payment'): Element; submit(): Promise<{ error?: Failure }> }
interface StripeJs {
  elements(options: Record<string, unknown>): Elements;
  createConfirmationToken(options: Record<string, unknown>): Promise<{ error?: Failure; confirmationToken?: { id: string } }>;
  handleNextAction(options: { clientSecret: string }): Promise<{ error?: Failure }>;
}
declare global { interface Window { Stripe?: (key: string) => StripeJs } }

let loading: Promise<StripeJs> | null = null;

/** Loads the script once. What failed may be tried again. */
export function load(key: string): Promise<StripeJs> {
  loading ??= new Promise<StripeJs>((ok, failed) => {
    const s = document.createElement('script');
    s.src = script;
    s.onload = () => (window.Stripe ? ok(window.Stripe(key)) : failed(new Error('The payment form could not be started.')));
    s.onerror = () => {
      s.remove();
      failed(new Error('The payment form could not be loaded.'));
    };
    document.head.append(s);
  }).catch((e: unknown) => {
    loading = null;
    throw e;
  });
  return loading;
}

// What Stripe counts otherwise than in hundredths, as the server's table has it.
const whole = ['BIF', 'CLP', 'DJF', 'GNF', 'JPY', 'KMF', 'KRW', 'MGA', 'PYG', 'RWF', 'VND', 'VUV', 'XAF', 'XOF', 'XPF'];
const thirds = ['BHD', 'JOD', 'KWD', 'OMR', 'TND'];

/** The amount in Stripe's units. The form shows it in wallets; the server is who charges. */
export function units(m: Money): number {
  const exponent = whole.includes(m.currency) ? 0 : thirds.includes(m.currency) ? 3 : 2;
  return Math.round(m.amount * 10 ** (exponent - decimals(m.currency)));
}

/** A form in the page, and how to get a means of payment out of it. */
export interface Form {
  /** The id of a new confirmation token; throws what the buyer has to mend. */
  method(o: Order): Promise<string>;
  close(): void;
}

/** Puts the form into `at`; resolves when it can be used. */
export async function open(at: HTMLElement, key: string, total: Money): Promise<Form> {
  const stripe = await load(key);
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  const elements = stripe.elements({
    mode: 'payment', amount: units(total), currency: total.currency.toLowerCase(), captureMethod: 'manual',
    locale: locale() ?? 'auto', appearance: { theme: dark ? 'night' : 'stripe' },
  });
  const element = elements.create('payment');
  await new Promise<void>((ok, failed) => {
    element.on('ready', () => ok());
    element.on('loaderror', (e) => failed(new Error(e.error?.message ?? 'The payment form could not be loaded.')));
    element.mount(at);
  });
  return {
    async method(o) {
      const { error } = await elements.submit();
      if (error) throw new Error(error.message ?? 'Please check what you have entered.');
      const made = await stripe.createConfirmationToken({
        elements,
        params: {
          payment_method_data: { billing_details: { name: o.buyer?.name, email: o.buyer?.email } },
          return_url: `${location.origin}/orders/${o.order}`,
        },
      });
      if (!made.confirmationToken) throw new Error(made.error?.message ?? 'Please check what you have entered.');
      return made.confirmationToken.id;
    },
    close: () => element.destroy(),
  };
}

/** Lets the buyer confirm a payment in the page. Resolves when they have answered, whatever it was. */
export async function confirm(key: string, clientSecret: string): Promise<string | null> {
  const { error } = await (await load(key)).handleNextAction({ clientSecret });
  return error ? error.message ?? 'The payment was not confirmed.' : null;
}
