import { beforeEach, expect, test, vi } from 'vitest';

beforeEach(() => {
  sessionStorage.clear();
  vi.resetModules();
});
const keys = () => import('../src/console/keys');

test('an action has one key until it has succeeded, and another afterwards', async () => {
  const { keyOf, settled } = await keys(), first = keyOf('refund a');
  expect(keyOf('refund a')).toBe(first);
  expect(keyOf('refund b')).not.toBe(first);
  settled('refund a');
  expect(keyOf('refund a')).not.toBe(first);
});

test('it outlives a reload, and nothing is left once all has succeeded', async () => {
  const first = (await keys()).keyOf('refund a');
  vi.resetModules();
  const { keyOf, settled } = await keys();
  expect(keyOf('refund a')).toBe(first);
  settled('refund a');
  expect(sessionStorage.length).toBe(0);
});

test('what somebody else left in its place does no harm', async () => {
  sessionStorage.setItem('onsale:admin:keys', '{');
  expect((await keys()).keyOf('refund a')).toMatch(/^[0-9a-f-]{32,}$/);
});
