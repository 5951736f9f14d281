/** Where the map is looked at from: CSS pixels = plan units × k + (x, y). */
export interface View { k: number; x: number; y: number }

/** The largest view that shows the whole plan, with a margin of 4 %. */
export function fit(planWidth: number, planHeight: number, width: number, height: number): View {
  const k = 0.96 * Math.min(width / planWidth, height / planHeight);
  return { k, x: (width - planWidth * k) / 2, y: (height - planHeight * k) / 2 };
}

/** Zooms by `factor` about the CSS point (px, py), with k kept within [min, max]. */
export function zoomAt(v: View, factor: number, px: number, py: number, min: number, max: number): View {
  const k = Math.min(max, Math.max(min, v.k * factor)), f = k / v.k;
  return { k, x: px - (px - v.x) * f, y: py - (py - v.y) * f };
}

/** Moves the view back so that the plan never leaves the middle of the window. */
export function keepInside(v: View, planWidth: number, planHeight: number, width: number, height: number): View {
  const clamp = (t: number, size: number, window: number): number =>
    size <= window ? Math.min(Math.max(t, Math.min(0, (window - size) / 2)), Math.max((window - size) / 2, window - size)) : Math.min(window / 2, Math.max(window / 2 - size, t));
  return { k: v.k, x: clamp(v.x, planWidth * v.k, width), y: clamp(v.y, planHeight * v.k, height) };
}

/** The view that shows the points' box as large as `max` allows, with room around it. */
export function around(xs: number[], ys: number[], width: number, height: number, max: number): View {
  const l = Math.min(...xs), r = Math.max(...xs), t = Math.min(...ys), b = Math.max(...ys);
  const k = Math.min(max, 0.6 * Math.min(width / Math.max(r - l, 1), height / Math.max(b - t, 1)));
  return { k, x: width / 2 - ((l + r) / 2) * k, y: height / 2 - ((t + b) / 2) * k };
}
