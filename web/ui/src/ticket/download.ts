import { getImage } from '../api';

/** Saves a file that only the link's token may have. */
export async function save(path: string, token: string | null, name: string): Promise<void> {
  const a = document.createElement('a');
  a.href = URL.createObjectURL(await getImage(path, token));
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 60_000);
}
