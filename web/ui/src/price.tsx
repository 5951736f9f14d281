import type { VNode } from 'preact';
import type { Event, Money, Price, Tax } from './api';
import { locale } from './locale';
import { moneyText } from './money';
import { plural } from './page';

/** 8.875% VAT, as people of the locale write it. */
export const taxText = (t: Tax, where: string = locale()): string =>
  `${new Intl.NumberFormat(where, { style: 'percent', maximumFractionDigits: 3 }).format(+t.percent / 100)} ${t.name}`;

/** What is to be known of an event's prices before a seat is chosen; empty if they are all there is to pay. */
export function termsText(e: Pick<Event, 'fees' | 'tax' | 'cancellation'>): string {
  const fee = (m: Money | undefined, per: string): string => (m?.amount ? `${moneyText(m)} per ${per}` : '');
  const fees = [fee(e.fees?.per_ticket, 'ticket'), fee(e.fees?.per_order, 'order')].filter(Boolean).join(' and ');
  const of = fees ? 'prices and fees' : 'prices', c = e.cancellation;
  return [
    fees && `Plus fees: ${fees}.`,
    e.tax && (e.tax.included ? `All ${of} incl. ${taxText(e.tax)}.` : `Plus ${taxText(e.tax)} on ${of}.`),
    c && `You can cancel until ${c.until_hours ? `${plural(c.until_hours, 'hour')} before the start` : 'the start'}${fees && c.keep_fees ? '; fees are not given back' : ''}.`,
  ].filter(Boolean).join(' ');
}

/** The sums of a price, from the tickets to the total. */
export function Breakdown({ price: p }: { price: Price }): VNode {
  const line = (name: string, m: Money): VNode => <div><dt>{name}</dt><dd class="num">{moneyText(m)}</dd></div>;
  const t = p.tax;
  return (
    <dl class="sums">
      {line(plural(p.items.length, 'ticket'), p.subtotal)}
      {p.promo && line(`Promo code ${p.promo}`, { ...p.discount, amount: -p.discount.amount })}
      {!!p.fees.amount && line('Fees', p.fees)}
      {t && !t.included && line(taxText(t), t.amount)}
      <div class="total"><dt>Total</dt><dd class="big">{moneyText(p.total)}</dd></div>
      {t?.included && <div class="soft small"><dt>Incl. {taxText(t)}</dt><dd class="num">{moneyText(t.amount)}</dd></div>}
    </dl>
  );
}
