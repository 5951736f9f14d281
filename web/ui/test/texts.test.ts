import { expect, test } from 'vitest';
import page from '../queue.html?raw';
import main from '../src/queue/main.ts?raw';
import more from '../src/queue/more.ts?raw';
import de from '../src/queue/texts/de.json';
import en from '../src/queue/texts/en.json';
import es from '../src/queue/texts/es.json';
import fr from '../src/queue/texts/fr.json';
import ja from '../src/queue/texts/ja.json';

// Typed: a missing sentence does not compile.
const languages: Record<string, typeof en> = { en, de, fr, es, ja };
/** Sentences that are the same in some of the languages. */
const alike = ['live', 'laneStaff', 'laneFan', 'vSecret'];

test.each(Object.entries(languages))('every sentence is there in %s, and no other', (_lang, texts) => {
  expect(Object.keys(texts)).toEqual(Object.keys(en));
  for (const [name, sentence] of Object.entries(texts)) expect(sentence.trim(), name).not.toBe('');
});

test('every sentence is translated', () => {
  for (const name of Object.keys(en) as (keyof typeof en)[]) {
    if (!alike.includes(name)) expect(new Set(Object.values(languages).map((t) => t[name])).size, name).toBe(5);
  }
});

test('every sentence is used', () => {
  const used = page + main + more;
  for (const name of Object.keys(en)) expect(new RegExp(`%${name}%|T\\.${name}\\b`).test(used), name).toBe(true);
});
