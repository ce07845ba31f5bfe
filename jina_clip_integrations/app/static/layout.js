// Where every tile goes: rows of one height that fill the width, as on a contact sheet, and headings between them.

export const GAP = 10;
export const CAPTION = 34;
const HEADING = 54;
const NARROWEST = 0.6;
const WIDEST = 2.4;

/** Width by height, within bounds: a panorama must not become a line. Text tiles and unknown images have a default. */
export function aspect(hit) {
  if (hit.kind === "text") return 1.7;
  if (!hit.width || !hit.height) return 1;
  return Math.min(WIDEST, Math.max(NARROWEST, hit.width / hit.height));
}

/**
 * Rows from the top: `{kind: "tiles", top, height, first, tiles: [{index, left, width}]}` or `{kind: "heading", top, height, text}`.
 * `group(hit)` names the heading a hit belongs under, or null for none.
 */
export function layOut(hits, width, target, group = () => null) {
  const rows = [];
  let top = 0;
  let heading = null;
  let open = [];
  let sum = 0;
  let usual = target;

  const close = (full) => {
    if (!open.length) return;
    const gaps = GAP * (open.length - 1);
    // The last row is not stretched: it is as high as the one above it.
    const image = full ? (width - gaps) / sum : Math.min(usual, (width - gaps) / sum);
    if (full) usual = image;
    let left = 0;
    const tiles = open.map((index) => {
      const tile = { index, left, width: image * aspect(hits[index]) };
      left += tile.width + GAP;
      return tile;
    });
    const height = image + CAPTION;
    rows.push({ kind: "tiles", top, height, image, first: open[0], tiles });
    top += height + GAP;
    open = [];
    sum = 0;
  };

  hits.forEach((hit, index) => {
    const text = group(hit);
    if (text !== heading) {
      close(false);
      heading = text;
      if (text !== null) { rows.push({ kind: "heading", top, height: HEADING, text }); top += HEADING; }
    }
    open.push(index);
    sum += aspect(hit);
    if (sum * target + GAP * (open.length - 1) >= width) close(true);
  });
  close(false);
  return { rows, height: top };
}

/** Index of the last row that begins at or above `y`. */
export function rowAt(rows, y) {
  let low = 0;
  let high = rows.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (rows[middle].top <= y) low = middle; else high = middle - 1;
  }
  return low;
}
