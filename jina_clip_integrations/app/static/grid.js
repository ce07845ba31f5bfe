// The grid of images. Only the rows near the screen exist as elements, so that 10,000 images scroll like ten.

import { thumbnail } from "./api.js";
import { h, icon, iconButton } from "./dom.js";
import { fileName, name as printable, score } from "./format.js";
import { layOut, rowAt } from "./layout.js";

const MARGIN = 900; // pixels above and below the screen that are drawn ahead
const SETTLE_MS = 90; // while the wheel spins no image is asked for

export class Grid {
  /** `on` has `open(index)`, `more(hit)` and `less(hit)`. */
  constructor(on) {
    this.on = on;
    this.hits = [];
    this.rows = [];
    this.shown = new Map(); // row number to element
    this.seen = new Set(); // addresses of images that were loaded once, which appear at once the next time
    this.active = 0;
    this.target = 210;
    this.element = h("div", { class: "grid", role: "grid", "aria-label": "Images", "aria-describedby": "grid-keys" });
    this.keys = h("p", { id: "grid-keys", class: "visually-hidden" }, "Arrow keys move, Enter opens, M finds more like this, L less like this.");
    this.element.addEventListener("keydown", (event) => this.#onKey(event));
    this.element.addEventListener("focusin", (event) => this.#onFocus(event));
    this.element.addEventListener("click", (event) => this.#onClick(event));
    this.lastScroll = 0;
    addEventListener("scroll", () => this.#onScroll(), { passive: true });
    new ResizeObserver(() => this.#onResize()).observe(this.element);
  }

  /** Show these hits. `group(hit)` gives headings; `keep` leaves the active tile where it is. */
  show(hits, { group = () => null, keep = false } = {}) {
    const active = keep ? this.hits[this.active]?.name : null;
    this.hits = hits;
    this.group = group;
    this.active = active == null ? 0 : Math.max(0, hits.findIndex((hit) => hit.name === active));
    this.#layOut();
  }

  setTarget(pixels) {
    this.target = pixels;
    if (this.hits.length) this.#layOut();
  }

  /** Bring a tile into view and give it the focus. */
  focus(index) {
    if (!this.hits.length) return;
    this.active = Math.min(this.hits.length - 1, Math.max(0, index));
    const row = this.rows[this.#rowOf(this.active)];
    const top = this.#top();
    const above = document.querySelector(".bar").offsetHeight + 12;
    if (top + row.top < scrollY + above) scrollTo({ top: Math.max(0, top + row.top - above), behavior: "instant" });
    else if (top + row.top + row.height > scrollY + innerHeight - 16) scrollTo({ top: top + row.top + row.height - innerHeight + 16, behavior: "instant" });
    this.#draw(true);
    this.#updateTabStops();
    this.#buttonOf(this.active)?.focus({ preventScroll: true });
  }

  #layOut() {
    this.width = this.element.clientWidth;
    if (!this.width) return;
    const { rows, height } = layOut(this.hits, this.width, Math.min(this.target, this.width * 0.62), this.group);
    this.rows = rows;
    this.element.style.setProperty("--height", `${height}px`);
    this.element.style.height = `${height}px`;
    this.element.setAttribute("aria-rowcount", rows.length);
    for (const element of this.shown.values()) element.remove();
    this.shown.clear();
    this.#draw(true);
  }

  #onResize() {
    if (this.element.clientWidth !== this.width && this.hits.length) this.#layOut();
  }

  #onScroll() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.#draw(false);
    });
  }

  #top() {
    return this.element.getBoundingClientRect().top + scrollY;
  }

  #draw(settled) {
    if (!this.element.isConnected || !this.rows.length) return;
    const from = scrollY - this.#top();
    const first = rowAt(this.rows, from - MARGIN);
    const last = rowAt(this.rows, from + innerHeight + MARGIN);
    for (const [number, element] of this.shown) {
      // What has the focus stays, or a keyboard user would be thrown out of the grid.
      if ((number < first || number > last) && !element.contains(document.activeElement)) {
        element.remove();
        this.shown.delete(number);
      }
    }
    for (let number = first; number <= last; number += 1) {
      if (!this.shown.has(number)) this.#insert(number);
    }
    clearTimeout(this.settling);
    if (settled) this.#loadImages();
    else this.settling = setTimeout(() => this.#loadImages(), SETTLE_MS);
  }

  #insert(number) {
    const row = this.rows[number];
    const element = row.kind === "heading" ? this.#heading(row) : this.#row(row);
    element.setAttribute("aria-rowindex", number + 1);
    element.style.transform = `translateY(${row.top}px)`;
    // In the order of the rows, which is that of screen readers.
    const after = [...this.shown.keys()].filter((other) => other > number).sort((a, b) => a - b)[0];
    this.element.insertBefore(element, after === undefined ? null : this.shown.get(after));
    this.shown.set(number, element);
  }

  #heading(row) {
    return h("div", { role: "row", class: "grid-row" }, h("div", { role: "rowheader", class: "grid-heading" }, row.text));
  }

  #row(row) {
    const element = h("div", { role: "row", class: "grid-row" });
    for (const tile of row.tiles) element.append(this.#tile(tile, row.image));
    return element;
  }

  #tile({ index, left, width }, height) {
    const hit = this.hits[index];
    const label = `${printable(hit.name)}${hit.score == null ? "" : `, similarity ${score(hit.score)}`}`;
    const face = hit.kind === "text"
      ? h("span", { class: "tile-text", dir: "auto" }, hit.text ?? "")
      : h("img", { alt: "", decoding: "async", draggable: "false", dataset: { index } });
    const frame = h("button", { type: "button", class: "tile-face", "aria-label": label, tabindex: index === this.active ? 0 : -1, dataset: { index } }, face);
    frame.style.height = `${height}px`;
    const caption = h("div", { class: "tile-caption", "aria-hidden": "true" },
      h("span", { class: "tile-name", dir: "auto", title: printable(hit.name) }, fileName(hit.name)),
      hit.score != null && h("span", { class: "tile-score" }, score(hit.score)));
    const cell = h("div", { role: "gridcell", class: "tile" }, frame, hit.kind !== "text" && this.#actions(hit, index), caption);
    cell.style.width = `${width}px`;
    cell.style.left = `${left}px`;
    return cell;
  }

  #actions(hit, index) {
    const stop = index === this.active ? 0 : -1;
    const of = fileName(hit.name);
    return h("div", { class: "tile-actions" },
      iconButton("similar", `More like ${of}`, () => this.on.more(hit), { tabindex: stop, title: "More like this (M)" }),
      iconButton("minus", `Less like ${of}`, () => this.on.less(hit), { tabindex: stop, title: "Less like this (L)" }));
  }

  #loadImages() {
    const pixels = this.target * devicePixelRatio > 330 ? 720 : 360;
    for (const element of this.shown.values()) {
      for (const image of element.querySelectorAll("img:not([src])")) {
        const hit = this.hits[image.dataset.index];
        const source = thumbnail(hit, pixels);
        image.addEventListener("load", () => { image.classList.add("loaded"); this.seen.add(source); }, { once: true });
        image.addEventListener("error", () => this.#markBroken(image), { once: true });
        image.src = source;
        if (this.seen.has(source)) image.classList.add("loaded", "at-once");
      }
    }
  }

  #markBroken(image) {
    const face = image.closest(".tile-face");
    if (!face) return;
    face.classList.add("broken");
    face.setAttribute("aria-label", `${face.getAttribute("aria-label")}, cannot be shown`);
    image.replaceWith(icon("broken"), h("span", {}, "Cannot be shown"));
  }

  #rowOf(index) {
    let number = this.rows.length - 1;
    while (number > 0 && (this.rows[number].kind === "heading" || this.rows[number].first > index)) number -= 1;
    return number;
  }

  #buttonOf(index) {
    return this.element.querySelector(`.tile-face[data-index="${index}"]`);
  }

  #updateTabStops() {
    for (const cell of this.element.querySelectorAll(".tile")) {
      const face = cell.querySelector(".tile-face");
      const stop = Number(face.dataset.index) === this.active ? 0 : -1;
      for (const one of cell.querySelectorAll("button")) one.tabIndex = stop;
    }
  }

  #onFocus(event) {
    const index = event.target.closest(".tile")?.querySelector(".tile-face")?.dataset.index;
    if (index === undefined || Number(index) === this.active) return;
    this.active = Number(index);
    this.#updateTabStops();
  }

  #onClick(event) {
    const face = event.target.closest(".tile-face");
    if (face) this.on.open(Number(face.dataset.index));
  }

  #onKey(event) {
    if (event.altKey || event.metaKey) return;
    const hit = this.hits[this.active];
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const moves = {
      ArrowRight: () => this.active + 1, ArrowLeft: () => this.active - 1,
      ArrowDown: () => this.#beside(1), ArrowUp: () => this.#beside(-1),
      PageDown: () => this.#beside(4), PageUp: () => this.#beside(-4),
      Home: () => (event.ctrlKey ? 0 : this.#ends(0)), End: () => (event.ctrlKey ? this.hits.length - 1 : this.#ends(-1)),
    };
    if (moves[key]) this.focus(moves[key]());
    else if (event.ctrlKey || !hit) return;
    else if (key === "m" && hit.kind !== "text") this.on.more(hit);
    else if (key === "l" && hit.kind !== "text") this.on.less(hit);
    else return;
    event.preventDefault();
  }

  #ends(place) {
    return this.rows[this.#rowOf(this.active)].tiles.at(place).index;
  }

  /** The tile that lies so many rows further down (or up), under the middle of the active one. */
  #beside(step) {
    const rows = this.rows.filter((row) => row.kind === "tiles");
    const here = rows.indexOf(this.rows[this.#rowOf(this.active)]);
    const row = rows[Math.min(rows.length - 1, Math.max(0, here + step))];
    const tile = rows[here].tiles.find((one) => one.index === this.active);
    const middle = tile.left + tile.width / 2;
    return row.tiles.reduce((best, one) => (Math.abs(one.left + one.width / 2 - middle) < Math.abs(best.left + best.width / 2 - middle) ? one : best)).index;
  }
}
