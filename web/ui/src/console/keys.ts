import { newKey } from '../page';
import { store } from '../shell';

/** Keys of actions whose end is not known yet, by what they do. They outlive a reload of the tab. */
const place = 'onsale:admin:keys';
let open: Record<string, string> = {};
try {
  open = JSON.parse(store.get(place, true) ?? '{}') as typeof open;
} catch { /* not ours */ }
const keep = (): void => store.set(place, Object.keys(open).length ? JSON.stringify(open) : null, true);

/** The key of an action: the same one for the same action, until that has succeeded. */
export function keyOf(action: string): string {
  open[action] ??= newKey();
  keep();
  return open[action];
}

/** The action has succeeded: doing it once more is another one. */
export function settled(action: string): void {
  delete open[action];
  keep();
}
