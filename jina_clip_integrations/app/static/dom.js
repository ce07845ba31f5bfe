// Elements from data. Names, captions and messages become text nodes, so that markup in them is never parsed.

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14Zm5.2 12.2L21 21",
  image: "M5 4h14a2 2 0 0 1 2 2v12a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2Zm-2 12 5-5 4.5 4.5L15 13l6 5M15.5 8.5h.01",
  copies: "M9 9V5a2 2 0 0 1 2-2h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-4M5 9h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2v-8a2 2 0 0 1 2-2Z",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8Zm0-6v2m0 16v2M4.9 4.9l1.4 1.4m11.4 11.4 1.4 1.4M2 12h2m16 0h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  help: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM9.6 9.4a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.2 1-1.2 1.9m0 3h.01",
  filter: "M4 6h16M7 12h10m-7 6h4",
  shuffle: "M4 7h3c4 0 6 10 10 10h3m0 0-3-3m3 3-3 3M4 17h3c1.6 0 2.9-1.6 4-3.4M20 7h-3c-1.6 0-2.9 1.6-4 3.4M20 7l-3-3m3 3-3 3",
  sort: "M7 5v14m0 0-3-3m3 3 3-3M13 7h7m-7 5h5m-5 5h3",
  small: "M5 5h5v5H5zm9 0h5v5h-5zM5 14h5v5H5zm9 0h5v5h-5z",
  large: "M5 5h14v14H5z",
  close: "M6 6l12 12M18 6 6 18",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  similar: "M12 3l2.2 5.8L20 11l-5.8 2.2L12 19l-2.2-5.8L4 11l5.8-2.2L12 3Zm7 12 .9 2.1L22 18l-2.1.9L19 21l-.9-2.1L16 18l2.1-.9L19 15Z",
  warning: "M12 4 2.5 20h19L12 4Zm0 6v5m0 2.5h.01",
  offline: "M3 3l18 18M8.5 16.5a5 5 0 0 1 7 0M5 13a10 10 0 0 1 5.2-2.7M19 13a10 10 0 0 0-3-2M2 8.8A15 15 0 0 1 6 6.3M22 8.8A15 15 0 0 0 10.7 5M12 20h.01",
  broken: "M5 4h14a2 2 0 0 1 2 2v6l-3-3-4 4-3-3-3 3-4-4-1 1V6a2 2 0 0 1 2-2ZM3 15l1-1 4 4 3-3 3 3 4-4 3 3v1a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2v-3Z",
  copy: "M9 9h10v11H9zM5 15V4h10",
  download: "M12 4v11m0 0-4-4m4 4 4-4M5 20h14",
  info: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Zm0 8v5m0-8.5h.01",
  place: "M12 21s7-6.2 7-11.5A7 7 0 0 0 5 9.5C5 14.8 12 21 12 21Zm0-9a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z",
  check: "M5 12.5 10 17l9-10",
  text: "M5 5h14M5 10h14M5 15h9",
  refresh: "M20 11a8 8 0 1 0-2.3 6.3M20 4v7h-7",
};

export const $ = (id) => document.getElementById(id);

/** An element: `h("button", {class: "pill", onclick}, "Text", child)`. Attributes that are null or false are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  drawing.classList.add("icon");
  path.setAttribute("d", ICONS[name]);
  drawing.append(path);
  return drawing;
}

/** Put the icons into the elements of the page that ask for one. */
export function drawIcons(root = document) {
  for (const place of root.querySelectorAll("[data-icon]")) place.replaceChildren(icon(place.dataset.icon));
}

export function setIcon(place, name) {
  place.dataset.icon = name;
  place.replaceChildren(icon(name));
}

/** A button with an icon and a text. */
export function button(name, text, onclick, attributes = {}) {
  return h("button", { type: "button", class: "pill", onclick, ...attributes }, name && icon(name), text);
}

/** An icon alone, which needs a name for those who do not see it. */
export function iconButton(name, label, onclick, attributes = {}) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...attributes }, icon(name));
}

let said = 0;
/** Tell a screen reader; with a mark that changes, so that the same words are said again. */
export function announce(text) {
  said += 1;
  $("live").textContent = text + (said % 2 ? "\u00a0" : "");
}
