// Builds dist: the queue page as one file per language with everything inlined, what few of its visitors
// need as hashed assets beside it, the other pages with shared hashed assets, pre-compressed copies, and csp.json.
import { createHash } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { build } from 'vite';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const pages = ['index', 'event', 'checkout', 'order', 'ticket', 'account', 'console'];
/** The queue page's languages, by their own names. The server's list in pages.go is the same. */
const languages = { en: 'English', de: 'Deutsch', fr: 'Français', es: 'Español', ja: '日本語' };
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

/** Builds one script of the queue page by itself: its texts in one language, `assets` for what it loads later. */
async function bundle(entry, lang, assets = {}) {
  const { output } = await build({
    ...shared,
    json: { stringify: false },
    plugins: [{
      name: 'queue',
      enforce: 'pre',
      resolveId(source) {
        if (source === './texts/en.json') return join(root, `src/queue/texts/${lang}.json`);
        if (assets[source]) return { id: assets[source], external: 'absolute' };
      },
      // There is nothing to load ahead of an asset without imports.
      load: (module) => (module === '\0vite/preload-helper.js' ? 'export const __vitePreload = (load) => load();' : null),
    }],
    build: {
      target,
      cssTarget: target.slice(1),
      // A few hundred bytes less over the wire than the minifier of the other pages makes of it.
      minify: 'terser',
      terserOptions: { module: true, ecma: 2022, compress: { passes: 3 } },
      write: false,
      modulePreload: false,
      rollupOptions: { input: join(root, `src/queue/${entry}.ts`), preserveEntrySignatures: 'exports-only', checks: { pluginTimings: false } },
    },
  });
  const chunks = output.filter((o) => o.type === 'chunk');
  if (chunks.length !== 1) throw new Error(`${entry} must be one script`);
  return { script: chunks[0].code.trim(), style: output.find((o) => o.fileName.endsWith('.css'))?.source.toString().trim() };
}

/** Writes a script that is loaded later, and returns its address. */
async function asset(name, script) {
  const address = `/assets/queue-${name}-${createHash('sha256').update(script).digest('base64url').slice(0, 8)}.js`;
  await mkdir(join(dist, 'assets'), { recursive: true });
  await writeFile(join(dist, address), script);
  return address;
}

const work = await asset('pow', (await bundle('pow', 'en')).script);
const shell = await readFile(join(root, 'queue.html'), 'utf8');
const options = Object.entries(languages).map(([l, name]) => `<option value="${l}" lang="${l}">${name}</option>`).join('');
for (const lang of Object.keys(languages)) {
  const texts = { lang, ...JSON.parse(await readFile(join(root, `src/queue/texts/${lang}.json`), 'utf8')) };
  const { script, style } = await bundle('main', lang, { './pow': work, './more': await asset(`more-${lang}`, (await bundle('more', lang)).script) });
  if (/<\/(script|style)/i.test(script + style)) throw new Error('an inlined part would end its own element');
  const html = shell
    .replace(/%(\w+)%/g, (_, k) => texts[k].replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`))
    .replace('<!--languages-->', options)
    .replace('<!--links-->', Object.entries(languages).map(([l, name]) => ` <a href="?lang=${l}" lang="${l}">${name}</a>`).join(''))
    .replace('</head>', () => `<style>${style}</style>\n</head>`)
    .replace(/<script type="module" src=[^>]*><\/script>/, () => `<script type="module">${script}</script>`)
    .replace(/\n\s*/g, '\n');
  await writeFile(join(dist, `queue.${lang}.html`), html);
}

// The demo's pictures, by names that stay.
await cp(join(root, 'posters'), join(dist, 'assets', 'posters'), { recursive: true });

// The hashes the server puts into each page's Content-Security-Policy.
const csp = {};
for (const page of [...pages, ...Object.keys(languages).map((l) => `queue.${l}`)]) {
  const file = `${page}.html`;
  const html = await readFile(join(dist, file), 'utf8');
  for (const p of placeholders) if (html.split(p).length !== 2) throw new Error(`${file} must hold ${p} exactly once`);
  if (/\s(on[a-z]+|style)=["'{]/.test(html.replace(/<(script|style)\b[^]*?<\/\1>/g, ''))) throw new Error(`${file} has an inline handler or style, which the policy forbids`);
  const hashes = (tag) =>
    [...html.matchAll(new RegExp(`<${tag}(?: type="module")?>([^]*?)</${tag}>`, 'g'))].map((m) => `sha256-${createHash('sha256').update(m[1]).digest('base64')}`);
  csp[file] = { script: hashes('script'), style: hashes('style') };
}
await writeFile(join(dist, 'csp.json'), `${JSON.stringify(csp, null, 2)}\n`);

// Copies the server sends as they are. The shells change per request and are compressed by the server.
for (const f of await readdir(dist, { recursive: true, withFileTypes: true })) {
  if (!f.isFile() || !/\.(js|css|svg)$/.test(f.name)) continue;
  const path = join(f.parentPath ?? f.path, f.name);
  const bytes = await readFile(path);
  if (bytes.length < 512) continue;
  await writeFile(`${path}.br`, brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }));
  await writeFile(`${path}.gz`, gzipSync(bytes, { level: 9 }));
}
