import type { VNode } from 'preact';
import type { Event, Image } from './api';
import { Art } from './page';

const originOf = (url: string): string => {
  try { return new URL(url).origin; } catch { return ''; }
};

/** The sizes of the first picture that this page may show, by width; the server's own pages choose the same. */
export function sizesOf(images: readonly Image[] | undefined, origins: readonly string[] | undefined): Image[] {
  const may = (images ?? []).filter((i) => origins?.includes(originOf(i.url))), first = may[0];
  if (!first) return [];
  const same = (i: Image): boolean => i.alt === first.alt && Math.abs((i.width * first.height) / (first.width * i.height) - 1) <= 0.02;
  return may.filter(same).sort((a, b) => a.width - b.width);
}

/** An event's picture in the size that fits, or art in its place. */
export function Picture({ e, origins, sizes, lazy }: { e: Event; origins: readonly string[] | undefined; sizes: string; lazy?: boolean }): VNode {
  const all = sizesOf(e.images, origins), largest = all[all.length - 1];
  if (!largest) return <Art id={e.id} />;
  return (
    <img class="shot" src={largest.url} srcset={all.map((i) => `${i.url} ${i.width}w`).join(', ')} sizes={sizes} width={largest.width} height={largest.height}
      alt={largest.alt} loading={lazy ? 'lazy' : 'eager'} referrerpolicy="no-referrer" />
  );
}
