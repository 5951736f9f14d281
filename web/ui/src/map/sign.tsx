import type { VNode } from 'preact';
import { kinds } from './marks';

/** The symbols of what is special about a seat; words stand beside them. */
export const Signs = ({ bits }: { bits: number }): VNode => (
  <>{kinds.map((k) => !!(bits & k.bit) && <svg key={k.name} class="sign" viewBox="0 0 16 16" aria-hidden="true"><path d={k.path} fill="none" stroke="currentColor" stroke-width="2" stroke-linejoin="round" /></svg>)}</>
);
