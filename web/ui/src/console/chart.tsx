import 'uplot/dist/uPlot.min.css';
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { dateText, number } from '../page';

export interface Line { name: string; values: number[]; colour: string; dashed?: boolean; fill?: boolean }

const dark = matchMedia('(prefers-color-scheme: dark)');

/** A chart over time, with the same numbers as a table behind it. `times` are seconds since 1970. */
export default function Chart({ title, times, lines, unit = '' }: { title: string; times: number[]; lines: Line[]; unit?: string }): VNode {
  const box = useRef<HTMLDivElement>(null), plot = useRef<uPlot | null>(null);
  const data = [times, ...lines.map((l) => l.values)] as uPlot.AlignedData;
  useEffect(() => {
    const build = (): void => {
      plot.current?.destroy();
      const s = getComputedStyle(box.current!), v = (n: string): string => s.getPropertyValue(n).trim();
      const axis = { stroke: v('--soft'), grid: { stroke: v('--line'), width: 1 }, ticks: { show: false }, font: `12px ${s.fontFamily}` };
      plot.current = new uPlot({
        width: box.current!.clientWidth, height: 170, legend: { show: false }, cursor: { show: false }, padding: [8, 8, 0, 0],
        scales: { y: { range: (_u, _low, high) => [0, Math.max(5, high * 1.1)] } },
        axes: [{ ...axis, space: 70, values: (_u, ticks) => ticks.map((t) => dateText(new Date(t * 1000).toISOString(), { timeStyle: 'short' })) }, { ...axis, size: 52, values: (_u, ticks) => ticks.map((t) => (t >= 10_000 ? `${t / 1000}k` : String(t))) }],
        series: [{}, ...lines.map((l) => {
          const colour = v(l.colour);
          return { stroke: colour, width: 2, points: { show: false }, ...(l.dashed && { dash: [6, 5], width: 1.5 }), ...(l.fill && { fill: `color-mix(in srgb, ${colour} 14%, transparent)` }) };
        })],
      }, data, box.current!);
    };
    build();
    const size = new ResizeObserver(([e]) => plot.current?.setSize({ width: e!.contentRect.width, height: 170 }));
    size.observe(box.current!);
    dark.addEventListener('change', build);
    return () => {
      size.disconnect();
      dark.removeEventListener('change', build);
      plot.current?.destroy();
      plot.current = null;
    };
  }, []);
  useEffect(() => plot.current?.setData(data));
  const last = times.length - 1;
  return (
    <figure class="card chart">
      <figcaption>
        <h3>{title}</h3>
        <p class="row small">{lines.map((l) => (
          <span key={l.name} class="row key"><i class={l.dashed ? 'dashed' : ''} ref={(e) => e?.style.setProperty('border-color', `var(${l.colour})`)} />{l.name} <strong class="num">{last >= 0 ? number(l.values[last]!) : '–'}{unit}</strong></span>
        ))}</p>
      </figcaption>
      <div ref={box} aria-hidden="true" />
      <details>
        <summary class="small">Numbers</summary>
        <div class="scroll tall" tabIndex={0} role="region" aria-label={`${title}: numbers`}>
          <table>
            <thead><tr><th scope="col">Time</th>{lines.map((l) => <th scope="col" key={l.name}>{l.name}</th>)}</tr></thead>
            <tbody>{everyTen(last).map((i) => <tr key={times[i]}><td>{dateText(new Date(times[i]! * 1000).toISOString(), { timeStyle: 'medium' })}</td>{lines.map((l) => <td key={l.name}>{number(l.values[i]!)}</td>)}</tr>)}</tbody>
          </table>
        </div>
      </details>
    </figure>
  );
}

/** The newest sample and every tenth before it, newest first. */
function everyTen(last: number): number[] {
  const out: number[] = [];
  for (let i = last; i >= 0 && out.length < 60; i -= 10) out.push(i);
  return out;
}
