// Groups of images that are nearly the same. The page makes lists; it deletes nothing, and neither does the app.

import { change } from "./address.js";
import { thumbnail } from "./api.js";
import { button, h, icon } from "./dom.js";
import { bytes, count, fileName, name as printable } from "./format.js";
import { panel } from "./notices.js";

/** Draw `{groups: [{keep, reason, images}], threshold}`. `on` has `open(hits, index)` and `copy(title, names)`. */
export function drawDuplicates({ groups, threshold }, on) {
  const kept = new Map(groups.map((group) => [group, group.keep]));
  const others = (group) => group.images.filter((image) => image.name !== kept.get(group));
  const all = (choose) => groups.flatMap(choose);
  const total = all(others);
  const size = total.reduce((sum, image) => sum + (image.bytes ?? 0), 0);

  const slider = h("input", { type: "range", min: "0.8", max: "1", step: "0.005", value: threshold, "aria-label": "How alike images must be", "aria-valuetext": threshold.toFixed(3), onchange: (event) => change({ threshold: event.target.value }, { replace: true }) });
  const head = h("div", { class: "duplicates-head" },
    h("div", {}, h("h2", {}, groups.length ? `${count(groups.length, "group")} of images that are nearly the same` : "No duplicates"),
      h("p", { class: "muted" }, groups.length ? `One of each group is marked to keep; the other ${count(total.length, "image")} take ${bytes(size)}. Nothing is ever deleted here: take the list along.` : "")),
    h("label", { class: "zoom alike" }, "Alike", slider, "Identical"),
    groups.length > 0 && h("div", { class: "duplicates-actions" },
      button("copy", "Paths of the others", () => on.copy("The others", all(others).map((image) => image.name)), { class: "pill primary" }),
      button("copy", "Paths to keep", () => on.copy("To keep", [...kept.values()]))));
  if (!groups.length) return h("div", { class: "duplicates" }, head, panel("check", "Every image is one of a kind", "At this setting no two images are alike. Move the slider to the left to be less strict."));
  return h("div", { class: "duplicates" }, head, ...groups.map((group, number) => drawGroup(group, number, kept, on)));
}

function drawGroup(group, number, kept, on) {
  const title = `Group ${number + 1}, ${count(group.images.length, "image")}`;
  const why = h("p", { class: "muted" }, `Kept: ${group.reason}`);
  const list = h("ul", { class: "group-images" });
  group.images.forEach((image, index) => list.append(drawMember(group, image, index, number, kept, on, why)));
  return h("section", { class: `group ${group.images.length > 3 ? "wide" : ""}`, "aria-label": title }, h("header", {}, h("h3", {}, title), why), list);
}

function drawMember(group, image, index, number, kept, on, why) {
  const isKept = kept.get(group) === image.name;
  const shown = h("img", { alt: "", src: thumbnail(image, 360), loading: "lazy", decoding: "async" });
  shown.addEventListener("error", () => shown.replaceWith(icon("broken")));
  const keep = h("input", { type: "radio", name: `keep-${number}`, value: String(index), checked: isKept, onchange: () => {
    kept.set(group, image.name);
    why.textContent = image.name === group.keep ? `Kept: ${group.reason}` : "Kept: your choice";
  } });
  const facts = [image.width && `${image.width} × ${image.height}`, image.bytes != null && bytes(image.bytes), image.score != null && `similarity ${image.score.toFixed(3)}`].filter(Boolean).join(" · ");
  return h("li", { class: "member" },
    h("button", { type: "button", class: "member-face", "aria-label": `Open ${printable(image.name)}`, onclick: () => on.open(group.images, index) }, shown),
    h("label", { class: "keep" }, keep, h("span", {}, "Keep"), h("span", { class: "visually-hidden" }, printable(image.name))),
    h("p", { class: "member-name", dir: "auto", title: printable(image.name) }, fileName(image.name)),
    h("p", { class: "muted small" }, facts));
}
