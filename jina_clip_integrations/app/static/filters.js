// The panel of filters, and the line that says which are in use.

import { change, current, FILTERS, filtersIn } from "./address.js";
import { $, button, h, icon } from "./dom.js";
import { name as printable } from "./format.js";

const MB = 1_000_000;
const SIZES = [["", "Any"], [String(MB / 10), "100 kB"], [String(MB), "1 MB"], [String(5 * MB), "5 MB"], [String(20 * MB), "20 MB"]];
const LABELS = { since: "From", until: "To", folder: "Folder", kind: "Kind", min: "At least", max: "At most", camera: "Camera", near: "Near" };

const options = (values, chosen) => values.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
const listed = (values) => [["", "Any"], ...(values ?? []).map((value) => [value, printable(value)])];

/** Values that came by an address and are in no list, such as 3 MB. */
const withChosen = (values, chosen) => (chosen && !values.some(([value]) => value === chosen) ? [...values, [chosen, describe("min", chosen).replace("At least ", "")]] : values);

function select(name, values) {
  const chosen = current().get(name) ?? "";
  return h("label", { class: "field" }, h("span", {}, LABELS[name]), h("select", { name, onchange: (event) => change({ [name]: event.target.value, all: null }) }, ...options(withChosen(values, chosen), chosen)));
}

function date(name, about) {
  return h("label", { class: "field" }, h("span", {}, LABELS[name]), h("input", { type: "date", name, value: current().get(name) ?? "", min: about.since, max: about.until, onchange: (event) => change({ [name]: event.target.value, all: null }) }));
}

function place() {
  return h("label", { class: "field wide" }, h("span", {}, "Near (latitude, longitude, km)"), h("input", { type: "text", name: "near", inputmode: "text", placeholder: "48.86, 2.35, 5", value: current().get("near") ?? "", onchange: (event) => change({ near: event.target.value.replaceAll(/\s/g, ""), all: null }) }));
}

/** Draw the panel from what the collection holds. */
export function drawFilters(about) {
  const kinds = [["", "Images"], ...about.formats.map((format) => [format, format.toUpperCase()])];
  if (about.passages) kinds.push(["text", "Documents"]);
  const parts = [
    date("since", about), date("until", about),
    about.folders.length > 0 && select("folder", listed(about.folders)),
    kinds.length > 1 && select("kind", kinds),
    select("min", SIZES), select("max", SIZES),
    about.cameras.length > 0 && select("camera", listed(about.cameras)),
    (about.withPlace > 0 || current().get("near")) && place(),
  ].filter(Boolean);
  const focused = $("filters").contains(document.activeElement) ? document.activeElement.name : null;
  $("filters").replaceChildren(...parts);
  if (focused) $("filters").querySelector(`[name="${focused}"]`)?.focus();
}

export function describe(name, value) {
  if (name === "min" || name === "max") {
    const size = SIZES.find(([bytes]) => bytes === value)?.[1] ?? `${Number(value) / MB} MB`;
    return `${LABELS[name]} ${size}`;
  }
  if (name === "near") {
    const [latitude, longitude, km] = value.split(",");
    return `Within ${km} km of ${latitude}, ${longitude}`;
  }
  return `${LABELS[name]} ${printable(name === "kind" ? (value === "text" ? "documents" : value.toUpperCase()) : value)}`;
}

/** The filters in use, each with a button that takes it away. */
export function drawActiveFilters() {
  const used = filtersIn();
  $("filter-count").hidden = !used.length;
  $("filter-count").replaceChildren(...(used.length ? [String(used.length), h("span", { class: "visually-hidden" }, " in use")] : []));
  const chips = used.map((name) => {
    const text = describe(name, current().get(name));
    return h("li", {}, h("button", { type: "button", class: "chip", "aria-label": `Remove filter: ${text}`, onclick: () => change({ [name]: null, all: null }) }, h("span", { dir: "auto" }, text), icon("close")));
  });
  if (used.length > 1) chips.push(h("li", {}, button(null, "Clear all", clearFilters, { class: "link" })));
  $("active-filters").replaceChildren(...chips);
}

export function clearFilters() {
  change(Object.fromEntries(FILTERS.map((name) => [name, null])));
}
