// Fails when the queue page has grown beyond what a crowd can be served.
import { readFile, readdir } from 'node:fs/promises';
import { brotliCompressSync } from 'node:zlib';

const budget = 8 * 1024;
const dist = new URL('../dist/', import.meta.url);
const size = brotliCompressSync(await readFile(new URL('queue.html', dist))).length;
console.log(`queue.html: ${size} of ${budget} bytes (brotli)`);
for (const f of await readdir(new URL('assets/', dist))) {
  if (f.endsWith('.br')) console.log(`assets/${f.slice(0, -3)}: ${(await readFile(new URL(`assets/${f}`, dist))).length}`);
}
if (size > budget) {
  console.error(`queue.html is ${size - budget} bytes over its budget`);
  process.exit(1);
}
