// Builds dist: the queue page as one file with everything inlined, the other
// pages with shared hashed assets, pre-compressed copies, and csp.json.
import { createHash } from 'node:crypto';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { build } from 'vite';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const pages = ['index', 'event', 'checkout', 'order', 'console'];
const placeholders = ['<!--onsale:title-->', '<!--onsale:head-->', '<!--onsale:essentials-->', '<!--onsale:data-->'];
const target = ['es2022', 'chrome123', 'firefox120', 'safari17.5'];

const shared = {
  root,
  configFile: false,
  logLevel: 'warn',
  publicDir: false,
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
};

for (const f of await readdir(dist)) if (f !== '.gitkeep') await rm(join(dist, f), { recursive: true });

await build({
  ...shared,
  build: {
    target,
    outDir: dist,
    emptyOutDir: false,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: pages.map((p) => join(root, `${p}.html`)) },
  },
});

const { output } = await build({
  ...shared,
  build: {
    target,
    write: false,
    modulePreload: { polyfill: false },
    rollupOptions: { input: join(root, 'src/queue/main.ts') },
  },
});
const script = output.find((o) => o.type === 'chunk').code.trim();
const style = output.find((o) => o.fileName.endsWith('.css')).source.toString().trim();
if (/<\/(script|style)/i.test(script + style)) throw new Error('an inlined part would end its own element');
const queue = (await readFile(join(root, 'queue.html'), 'utf8'))
  .replace('</head>', () => `<style>${style}</style>\n</head>`)
  .replace(/<script type="module" src=[^>]*><\/script>/, () => `<script type="module">${script}</script>`)
  .replace(/\n\s*/g, '\n');
await writeFile(join(dist, 'queue.html'), queue);

// The hashes the server puts into each page's Content-Security-Policy.
const csp = {};
for (const page of [...pages, 'queue']) {
  const file = `${page}.html`;
  const html = await readFile(join(dist, file), 'utf8');
  for (const p of placeholders) if (html.split(p).length !== 2) throw new Error(`${file} must hold ${p} exactly once`);
  if (/\s(on[a-z]+|style)=["'{]/.test(html.replace(/<(script|style)\b[^]*?<\/\1>/g, ''))) throw new Error(`${file} has an inline handler or style, which the policy forbids`);
  const hashes = (tag) =>
    [...html.matchAll(new RegExp(`<${tag}(?: type="module")?>([^]*?)</${tag}>`, 'g'))].map((m) => `sha256-${createHash('sha256').update(m[1]).digest('base64')}`);
  csp[file] = { script: hashes('script'), style: hashes('style') };
}
await writeFile(join(dist, 'csp.json'), `${JSON.stringify(csp, null, 2)}\n`);

// Copies the server sends as they are. The shells change per request and are compressed by the server;
// the queue page's copy only shows its size.
for (const f of await readdir(dist, { recursive: true, withFileTypes: true })) {
  if (!f.isFile() || !/\.(js|css|svg)$|^queue\.html$/.test(f.name)) continue;
  const path = join(f.parentPath ?? f.path, f.name);
  const bytes = await readFile(path);
  if (bytes.length < 512) continue;
  await writeFile(`${path}.br`, brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }));
  if (f.name !== 'queue.html') await writeFile(`${path}.gz`, gzipSync(bytes, { level: 9 }));
}
