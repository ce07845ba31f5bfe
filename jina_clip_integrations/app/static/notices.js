// Panels in place of results, banners above them, sheets over them.

import { $, button, h, icon } from "./dom.js";
import { name as printable } from "./format.js";

/** A panel: what happened, and what to do about it. */
export function panel(drawing, title, text, ...actions) {
  return h("div", { class: "panel" }, icon(drawing), h("h2", { dir: "auto" }, title), text && h("p", { dir: "auto" }, text), actions.length > 0 && h("div", { class: "panel-actions" }, ...actions));
}

const TITLES = {
  APP_GONE: "The app is not running",
  BACKEND_FAILED: "The search could not be made",
  QUERY_INVALID: "This search cannot be understood",
  UPLOAD_GONE: "The image to search with is gone",
  IMAGE_UNREADABLE: "This image cannot be used",
};

export function errorPanel(error, ...actions) {
  const shown = panel(error.code === "APP_GONE" || error.code === "BACKEND_FAILED" ? "offline" : "warning", TITLES[error.code] ?? "Something went wrong", printable(error.message), ...actions);
  shown.classList.add("error");
  shown.setAttribute("role", "alert");
  return shown;
}

/** One line above the results, by a key: the same key replaces it, no text removes it. */
export function banner(key, text, ...actions) {
  const old = $("banners").querySelector(`[data-key="${key}"]`);
  if (!text) { old?.remove(); return; }
  if (old?.dataset.text === text) return;
  const line = h("div", { class: "banner", role: "status", dataset: { key, text } }, icon("info"), h("p", { dir: "auto" }, printable(text)), ...actions);
  if (old) old.replaceWith(line); else $("banners").append(line);
}

let fading;
/** A short word at the bottom that goes by itself. */
export function toast(text) {
  document.querySelector(".toast")?.remove();
  clearTimeout(fading);
  const shown = h("div", { class: "toast", role: "status" }, printable(text));
  // In the topmost layer, or an open dialog would cover it.
  (document.querySelector("dialog[open]") ?? document.body).append(shown);
  fading = setTimeout(() => shown.remove(), 4000);
}

/** A sheet: a dialog with a title, closed by its button, by Escape or by a click beside it. */
export function openSheet(title, ...content) {
  const sheet = $("sheet");
  const close = () => sheet.close();
  sheet.replaceChildren(h("div", { class: "sheet-content" }, h("h2", { id: "sheet-title" }, title), ...content, h("div", { class: "sheet-actions" }, button(null, "Close", close))));
  sheet.setAttribute("aria-labelledby", "sheet-title");
  sheet.onclick = (event) => { if (event.target === sheet) close(); };
  sheet.showModal();
  return sheet;
}

/** Show a list to be copied: the clipboard is closed to pages over plain http, a selection is not. */
export function offerCopy(title, lines) {
  const text = lines.join("\n");
  const area = h("textarea", { readonly: true, rows: Math.min(14, lines.length + 1), "aria-label": title, wrap: "off", dir: "auto" });
  area.value = text;
  const copy = async () => {
    area.select();
    try { await navigator.clipboard.writeText(text); } catch { document.execCommand("copy"); }
    toast(`${lines.length === 1 ? "The path is" : `${lines.length} paths are`} on the clipboard`);
  };
  openSheet(title, area, h("div", { class: "sheet-row" }, button("copy", "Copy", copy, { class: "pill primary", autofocus: true })));
}
