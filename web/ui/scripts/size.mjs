// Fails when the queue page has grown beyond what a crowd can be served, in any language. Measured as served: with
// the placeholders filled as for an event with long names, at the quality the server compresses with.
import { readdir, readFile } from 'node:fs/promises';
import { brotliCompressSync } from 'node:zlib';

const budget = 8 * 1024;
const dist = new URL('../dist/', import.meta.url);
const name = 'Nordlicht & Die Gezeiten: The Winter Tour, Second Evening';
const data = { event: { name, starts_at: '2027-03-01T19:00:00Z', timezone: 'Europe/Berlin', venue: { name: 'Hafen Arena am Großen Kai', city: 'Hamburg' } }, return: null };
let over = false;
for (const f of (await readdir(dist)).filter((f) => /^queue\.\w+\.html$/.test(f)).sort()) {
  const html = (await readFile(new URL(f, dist), 'utf8'))
    .replace('<!--onsale:title-->', name).replace('<!--onsale:head-->', '').replace('<!--onsale:essentials-->', '')
    .replace('<!--onsale:data-->', `<script type="application/json" id="onsale-data">${JSON.stringify(data)}</script>`);
  const size = brotliCompressSync(html).length;
  console.log(`${f}: ${size} of ${budget} bytes (brotli)`);
  over ||= size > budget;
}
for (const f of await readdir(new URL('assets/', dist))) {
  if (f.endsWith('.br')) console.log(`assets/${f.slice(0, -3)}: ${(await readFile(new URL(`assets/${f}`, dist))).length}`);
}
if (over) {
  console.error('the queue page is over its budget');
  process.exit(1);
}
