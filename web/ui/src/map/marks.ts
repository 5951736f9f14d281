/** What is special about seats, as sets of bits: the numbers that drawn plans have. */
export const accessible = 1, companion = 2, restricted = 4, aisle = 8;
/** Seats of these are kept for who asks for them. */
export const access = accessible | companion;

/** In the order of the bits: the name in the API, in words, and as a symbol, an SVG path on 16 × 16. */
export const kinds = [
  { bit: accessible, name: 'accessible', text: 'accessible', path: 'M2 2h12v12H2z' },
  { bit: companion, name: 'companion', text: 'companion', path: 'M8 2v12M2 8h12' },
  { bit: restricted, name: 'restricted_view', text: 'restricted view', path: 'M8 2l7 12H1z' },
  { bit: aisle, name: 'aisle', text: 'aisle', path: 'M2 13h12' },
] as const;

export const bitsOf = (names: readonly string[] | undefined): number => kinds.reduce((n, k) => (names?.includes(k.name) ? n | k.bit : n), 0);

/** "restricted view, aisle"; empty for nothing. */
export const marksText = (bits: number): string => kinds.filter((k) => bits & k.bit).map((k) => k.text).join(', ');

/** What a ticket says of its seat and of the way there, in one line. */
export function notesText(t: { attributes?: string[]; entrance?: string; type?: string }): string {
  const bits = bitsOf([...(t.attributes ?? []), t.type ?? '']);
  return [marksText(bits), t.entrance && `entrance: ${t.entrance}`].filter(Boolean).join(' · ');
}
