import { expect, test } from 'vitest';
import * as texts from '../src/queue/texts';

test('every sentence is there in every language, and translated', () => {
  for (const [name, text] of Object.entries(texts)) {
    expect(text, name).toHaveLength(texts.languages.length);
    for (const sentence of text) expect(sentence.trim(), name).not.toBe('');
    if (name !== 'live') expect(new Set(text).size, name).toBe(texts.languages.length);
  }
});
