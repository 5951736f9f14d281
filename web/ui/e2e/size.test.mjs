import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

test('the queue page fits its budget in every language', () => {
  const said = execFileSync(process.execPath, [fileURLToPath(new URL('../scripts/size.mjs', import.meta.url))], { encoding: 'utf8' });
  assert.equal(said.match(/^queue\.\w+\.html: /gm).length, 5);
});
