import { correction, generate } from 'lean-qr';
import type { VNode } from 'preact';
import { useMemo } from 'preact/hooks';

/** A QR code, black on white in every look, since that is what scanners read. */
export function QR({ text }: { text: string }): VNode {
  const [d, size] = useMemo(() => {
    const q = generate(text, { minCorrectionLevel: correction.M }), quiet = 4;
    let d = '';
    for (let y = 0; y < q.size; y++) for (let x = 0; x < q.size; x++) if (q.get(x, y)) d += `M${x + quiet} ${y + quiet}h1v1h-1z`;
    return [d, q.size + 2 * quiet] as const;
  }, [text]);
  return <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label="QR code of this ticket" shape-rendering="crispEdges"><path d={d} fill="#000" /></svg>;
}
