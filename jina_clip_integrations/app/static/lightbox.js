// One image, large, with what is known of it. A `<dialog>`: the browser keeps the focus inside, and Escape closes it.

import { original, reason, thumbnail } from "./api.js";
import { $, announce, button, h, icon, iconButton } from "./dom.js";
import { bytes, fileName, folderOf, moment, name as printable, score } from "./format.js";

const LARGE = 2048;

export class Lightbox {
  /** `on` has `close()`, `step(by)`, `more(hit)`, `less(hit)`, `near(hit)` and `copy(paths)`. */
  constructor(on) {
    this.on = on;
    this.dialog = $("lightbox");
    this.dialog.addEventListener("cancel", (event) => { event.preventDefault(); on.close(); });
    this.dialog.addEventListener("click", (event) => { if (event.target === this.dialog || event.target.classList.contains("stage")) on.close(); });
    this.dialog.addEventListener("keydown", (event) => this.#onKey(event));
  }

  get isOpen() { return this.dialog.open; }

  show(hit, { position, total }) {
    this.hit = hit;
    const had = this.dialog.contains(document.activeElement) ? document.activeElement.dataset.keep : null;
    const image = h("img", { alt: printable(hit.name), src: thumbnail(hit, LARGE), decoding: "async" });
    const stage = h("div", { class: "stage" }, hit.kind === "text" ? h("blockquote", { dir: "auto", class: "passage" }, hit.text) : image);
    image.addEventListener("load", () => image.classList.add("loaded"));
    image.addEventListener("error", () => this.#explain(stage, image, hit));
    this.dialog.setAttribute("aria-label", fileName(hit.name));
    this.dialog.replaceChildren(
      h("div", { class: "lightbox-view" }, stage,
        iconButton("left", "Previous image", () => this.on.step(-1), { class: "icon-button step previous", "data-keep": "previous", disabled: position === 0 }),
        iconButton("right", "Next image", () => this.on.step(1), { class: "icon-button step next", "data-keep": "next", disabled: position >= total - 1 })),
      this.#facts(hit, position, total),
      iconButton("close", "Close", () => this.on.close(), { class: "icon-button close", "data-keep": "close" }));
    if (!this.dialog.open) this.dialog.showModal();
    const again = had && this.dialog.querySelector(`[data-keep="${had}"]:not([disabled])`);
    (again || this.dialog.querySelector('[data-keep="close"]')).focus();
    announce(`${fileName(hit.name)}, ${position + 1} of ${total}`);
  }

  close() {
    if (this.dialog.open) this.dialog.close();
    this.dialog.replaceChildren();
  }

  #facts(hit, position, total) {
    const rows = [
      ["Similarity", hit.score == null ? null : score(hit.score)],
      ["Folder", folderOf(hit.name)],
      ["Taken", hit.taken == null ? null : moment(hit.taken)],
      ["Camera", hit.camera && printable(hit.camera)],
      ["Place", hit.place ? `${hit.place[0].toFixed(4)}, ${hit.place[1].toFixed(4)}` : null],
      ["Size", hit.width ? `${hit.width} × ${hit.height}` : null],
      ["File", [hit.format?.toUpperCase(), hit.bytes != null && bytes(hit.bytes)].filter(Boolean).join(", ")],
      ["Changed", hit.modified == null ? null : moment(hit.modified)],
    ];
    const list = h("dl", { class: "facts-list" });
    for (const [term, value] of rows) if (value) list.append(h("dt", {}, term), h("dd", { dir: "auto" }, value));
    return h("aside", { class: "facts", "aria-label": "About this image" },
      h("p", { class: "muted position" }, `${position + 1} of ${total}`),
      h("h2", { dir: "auto", class: "facts-name" }, fileName(hit.name)),
      list,
      h("div", { class: "facts-actions" },
        hit.kind !== "text" && button("similar", "More like this", () => this.on.more(hit), { class: "pill primary" }),
        hit.kind !== "text" && button("plus", "Add to the query", () => this.on.add(hit)),
        hit.kind !== "text" && button("minus", "Less like this", () => this.on.less(hit)),
        hit.place && button("place", "Taken near here", () => this.on.near(hit)),
        button("copy", "Copy path", () => this.on.copy([hit.name])),
        h("a", { class: "pill", href: original(hit), download: fileName(hit.name) }, icon("download"), "Save a copy")));
  }

  async #explain(stage, image, hit) {
    const error = await reason(image.src);
    if (this.hit !== hit || !stage.isConnected) return;
    stage.replaceChildren(h("div", { class: "panel quiet", role: "alert" }, icon("broken"), h("h2", {}, "This image cannot be shown"), h("p", { dir: "auto" }, error ? printable(error.message) : "It could not be loaded.")));
  }

  #onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1 };
    if (steps[event.key]) { event.preventDefault(); this.on.step(steps[event.key]); }
    else if (event.key === "m" && this.hit.kind !== "text") this.on.more(this.hit);
    else if (event.key === "l" && this.hit.kind !== "text") this.on.less(this.hit);
  }
}
