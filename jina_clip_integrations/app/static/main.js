// The page: from its address to what it shows.

import * as address from "./address.js";
import * as api from "./api.js";
import { $, announce, button, drawIcons, h, icon, setIcon } from "./dom.js";
import { drawDuplicates } from "./duplicates.js";
import { drawActiveFilters, drawFilters, clearFilters } from "./filters.js";
import { count, fileName, isoDay, month, number, name as printable } from "./format.js";
import { Grid } from "./grid.js";
import { Lightbox } from "./lightbox.js";
import { banner, errorPanel, offerCopy, openSheet, panel, toast } from "./notices.js";
import { drawQuery, setUpQuery, SUGGESTIONS } from "./query.js";
import { setUpSettings } from "./preferences.js";
import { askForToken, takeToken } from "./session.js";
import { watchStatus, refreshStatus } from "./progress.js";

let about = null; // what the collection holds
let loaded = null; // what the shown results were asked with
let shown = []; // what the single view steps through
let running = null; // the request under way

const grid = new Grid({
  open: (index) => open(shown[index]),
  more: (hit) => address.moreLike(hit.name),
  less: (hit) => address.addTerm("unlike", hit.name),
});
const lightbox = new Lightbox({
  close: () => closeLightbox(),
  step: (by) => step(by),
  more: (hit) => address.moreLike(hit.name),
  add: (hit) => address.addTerm("like", hit.name),
  less: (hit) => address.addTerm("unlike", hit.name),
  near: (hit) => address.go(new URLSearchParams({ near: `${hit.place[0].toFixed(4)},${hit.place[1].toFixed(4)},5` })),
  copy: (names) => copyPaths(names.length === 1 ? "Path" : "Paths", names),
});

function open(hit) { if (hit) address.change({ open: hit.name }); }

function step(by) {
  const next = shown[shown.findIndex((hit) => hit.name === address.current().get("open")) + by];
  if (next) address.change({ open: next.name }, { replace: true });
}

function closeLightbox() {
  if (history.state?.ours) history.back(); else address.change({ open: null }, { replace: true });
}

function copyPaths(title, names) {
  offerCopy(title, names.map((name) => (about?.path ? `${about.path}/${name}` : name)));
}

// From the address to the page

async function render({ again = false } = {}) {
  drawQuery();
  drawActiveFilters();
  drawToggles();
  const asked = address.forApi();
  const view = address.current().get("view") === "duplicates" ? "duplicates" : "search";
  const key = `${view}?${asked}`;
  if (key !== loaded || again) await load(view, asked, key, again);
  drawLightbox();
}

function drawToggles() {
  const parameters = address.current();
  const duplicates = parameters.get("view") === "duplicates";
  $("varied").setAttribute("aria-pressed", String(Boolean(parameters.get("diversity"))));
  $("varied").hidden = duplicates || !address.hasQuery();
  $("sort-label").hidden = duplicates || address.hasQuery();
  $("sort").value = parameters.get("sort") ?? "newest";
  if (duplicates) $("duplicates-link").setAttribute("aria-current", "page"); else $("duplicates-link").removeAttribute("aria-current");
  document.body.classList.toggle("duplicates-view", duplicates);
}

async function load(view, asked, key, again) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const waiting = setTimeout(() => { document.body.classList.add("waiting"); tellWaiting(); }, 150);
  try {
    const answer = await (view === "duplicates" ? api.duplicates(asked, signal) : api.search(asked, signal));
    if (signal.aborted) return;
    banner("app");
    loaded = key;
    if (view === "duplicates") showDuplicates(answer); else showHits(answer, again);
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    loaded = null;
    showError(error);
  } finally {
    clearTimeout(waiting);
    if (!signal.aborted) document.body.classList.remove("waiting");
  }
}

/** Why the first search takes long, if it does: the next answer takes the line back. */
function tellWaiting() {
  const text = "Loading the model …";
  const waits = about?.preparing && address.hasQuery() && document.body.classList.contains("waiting");
  if (!waits || $("count").textContent === text) return;
  $("count").textContent = text;
  announce(text);
}

function place(...elements) {
  $("results").replaceChildren(...elements);
}

function showError(error) {
  if (error.code === "TOKEN_REQUIRED" || error.status === 401) { place(askForToken(start)); return; }
  if (!(error instanceof api.ApiError)) throw error;
  shown = [];
  $("count").textContent = "";
  const retry = button("refresh", "Try again", () => { refreshStatus(); render({ again: true }); }, { class: "pill primary" });
  const reset = button(null, "Show everything", () => address.go(new URLSearchParams()));
  const actions = { QUERY_INVALID: [reset], UPLOAD_GONE: [button(null, "Search without it", address.dropUploads, { class: "pill primary" }), reset] };
  place(errorPanel(error, ...(actions[error.code] ?? [retry, reset])));
}

function showHits(answer, again) {
  shown = answer.hits;
  const searched = address.hasQuery();
  tellCount(answer, searched);
  if (!shown.length) { place(emptyPanel(searched)); return; }
  if (grid.element.parentNode !== $("results")) place(grid.keys, grid.element);
  for (const old of $("results").querySelectorAll(".after, .weak")) old.remove();
  if (answer.weak) grid.element.before(h("p", { class: "weak" }, icon("info"), "Nothing here is clearly similar. These are the nearest."));
  const bySort = ["newest", "oldest"].includes($("sort").value) && !searched;
  grid.show(shown, { group: bySort && spansMonths(shown) ? (hit) => month(hit.taken ?? hit.modified) : () => null, keep: again });
  if (!again) scrollTo({ top: 0, behavior: "instant" });
  const line = afterLine(answer);
  if (line) $("results").append(line);
}

const spansMonths = (hits) => month(hits[0].taken ?? hits[0].modified) !== month(hits.at(-1).taken ?? hits.at(-1).modified);

function tellCount(answer, searched) {
  const what = address.current().get("kind") === "text" ? ["passage", "passages"] : ["image", "images"];
  const text = count(answer.hits.length, ...what);
  const hidden = answer.hidden ? `, ${number(answer.hidden)} less similar hidden` : "";
  $("count").textContent = text + (answer.more ? " shown" : "") + (answer.hidden ? ` · ${number(answer.hidden)} hidden` : "");
  $("heading").textContent = searched ? "Results" : "Images";
  document.title = [address.current().get("q") ?? (searched ? "Similar images" : null), about?.folder, "Image search"].filter(Boolean).map(printable).join(" · ");
  announce((answer.weak ? "Nothing is clearly similar; the nearest " : "") + text + hidden);
}

function afterLine(answer) {
  if (answer.hidden) {
    return h("p", { class: "after" }, `${count(answer.hidden, "image is", "images are")} less similar and hidden. `, button(null, "Show them", () => address.change({ all: "1" }), { class: "link" }));
  }
  if (address.current().get("all")) return h("p", { class: "after" }, "Everything is shown, the least similar last. ", button(null, "Hide what is not similar", () => address.change({ all: null }), { class: "link" }));
  return answer.more ? h("p", { class: "after" }, "There are more; narrow the search with words or filters.") : null;
}

function emptyPanel(searched) {
  const words = address.current().get("q");
  const actions = [];
  if (address.filtersIn().length) actions.push(button("filter", "Clear the filters", clearFilters));
  if (searched) {
    actions.push(button(null, "Show everything", () => address.go(new URLSearchParams())));
    return panel("search", words ? `Nothing is close to “${printable(words)}”` : "Nothing is close to that", address.filtersIn().length ? "No image fits these filters." : null, ...actions);
  }
  if (address.filtersIn().length) return panel("filter", "No image fits these filters", null, ...actions);
  if (about?.indexing.state === "running") return panel("image", "Reading the folder", "Images appear here as soon as they can be searched.");
  return panel("image", "There are no images here yet", about ? `Put images into ${printable(about.path)} and look again.` : null, button("refresh", "Look again", async () => { await api.startIndexing(); refreshStatus(); }, { class: "pill primary" }));
}

function showDuplicates(answer) {
  shown = answer.groups.flatMap((group) => group.images);
  $("count").textContent = "";
  $("heading").textContent = "Duplicates";
  document.title = `Duplicates · ${about ? printable(about.folder) : "Image search"}`;
  place(drawDuplicates(answer, { open: (images, index) => open(images[index]), copy: copyPaths }));
  announce(count(answer.groups.length, "group of duplicates", "groups of duplicates"));
}

let opener = null;
function drawLightbox() {
  const name = address.current().get("open");
  if (!name) {
    if (!lightbox.isOpen) return;
    lightbox.close();
    const index = shown.findIndex((hit) => hit.name === opener);
    if (index >= 0 && grid.element.isConnected) grid.focus(index);
    return;
  }
  const index = shown.findIndex((hit) => hit.name === name);
  opener = name;
  if (index < 0) lightbox.show({ name, v: "" }, { position: 0, total: 1 });
  else lightbox.show(shown[index], { position: index, total: shown.length });
}

// What the app says of itself

const facets = (status) => JSON.stringify([status.folders, status.formats, status.cameras, status.since, status.until, status.withPlace > 0, status.passages > 0]);

function onStatus(status, before) {
  const first = about === null;
  about = status;
  $("folder-name").textContent = printable(status.folder);
  $("folder-name").title = printable(status.path);
  $("folder-count").textContent = count(status.images, "image");
  if (first || facets(before) !== facets(status)) drawFilters(status);
  banner("missing", status.missing ? `The folder ${status.path} is not there. The index still answers, and the images show again when the folder is back.` : "");
  const { left_out_count: out, left_out: left } = status.indexing;
  banner("left-out", out ? `${count(out, "file")} could not be read and cannot be found.` : "", button(null, "Which?", () => openSheet("Files that cannot be searched", leftOutList(left, out)), { class: "link" }));
  if (!first && status.images !== before.images) onMoreImages();
  if (!first && before.indexing.state === "running" && status.indexing.state === "done") announce(`All ${count(status.images, "image")} can be searched`);
  tellWaiting();
}

function leftOutList(left, out) {
  const list = h("ul", { class: "left-out" }, ...left.map(([name, reason]) => h("li", { dir: "auto" }, h("strong", {}, printable(name)), ` ${printable(reason)}`)));
  return out > left.length ? h("div", {}, list, h("p", { class: "muted" }, `and ${number(out - left.length)} more`)) : list;
}

/** While the index grows: at the top of the list the new ones just appear, farther down nothing jumps. */
function onMoreImages() {
  const busy = address.current().get("open") || address.current().get("view");
  if (!busy && scrollY < 200 && !$("results").contains(document.activeElement)) render({ again: true });
  else banner("more", "The folder has changed since these were found.", button("refresh", "Update", () => { banner("more"); render({ again: true }); }, { class: "link" }));
}

function onGone() {
  banner("app", "The app is not running. Start it again and this page goes on.");
}

function showHelp() {
  const keys = [["Ctrl K  or  /", "to the search field; / from the images"], ["← → ↑ ↓", "from image to image"], ["Enter", "open, Escape closes"], ["M  L", "more, less like this image"], ["Ctrl V", "search with an image from the clipboard"]];
  const tips = [["sunset +boats -people", "with boats, without people"], ["-\"red car\"", "several words that belong together"]];
  const table = (rows) => h("dl", { class: "keys" }, ...rows.flatMap(([term, text]) => [h("dt", {}, h("kbd", {}, term)), h("dd", {}, text)]));
  const samples = h("p", { class: "suggestions" }, ...SUGGESTIONS.map(([lang, words]) => button(null, words, () => { $("sheet").close(); address.go(new URLSearchParams({ q: words })); }, { lang, dir: "auto" })));
  openSheet("Keys and tips", h("h3", {}, "In the search field"), table(tips), h("h3", {}, "In any language"), samples, h("h3", {}, "Keys"), table(keys), about && h("p", { class: "muted small", dir: "auto" }, `${printable(about.path)} · ${printable(about.model)}, ${about.dimensions} dimensions${about.imageSize ? `, images of ${about.imageSize} pixels` : ""} · everything stays on this machine, except where the model runs elsewhere`));
}

function setUpControls() {
  $("filters-button").addEventListener("click", () => {
    const opens = $("filters").hidden;
    $("filters").hidden = !opens;
    $("filters-button").setAttribute("aria-expanded", String(opens));
  });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("varied").addEventListener("click", () => address.change({ diversity: address.current().get("diversity") ? null : "0.5" }));
  $("sort").addEventListener("change", () => address.change({ sort: $("sort").value === "newest" ? null : $("sort").value }));
  $("help").addEventListener("click", showHelp);
  $("home").addEventListener("click", (event) => { event.preventDefault(); address.go(new URLSearchParams()); });
  $("duplicates-link").addEventListener("click", (event) => {
    event.preventDefault();
    if (address.current().get("view") === "duplicates") address.go(new URLSearchParams()); else address.go(new URLSearchParams({ view: "duplicates" }));
  });
  addEventListener("keydown", (event) => {
    const toField = (event.key === "k" && (event.ctrlKey || event.metaKey)) || (event.key === "/" && grid.element.contains(document.activeElement));
    if (!toField || lightbox.isOpen) return;
    event.preventDefault();
    $("query").focus();
    $("query").select();
  });
  $("query").addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && grid.element.isConnected) { event.preventDefault(); grid.focus(0); }
  });
}

async function start() {
  await takeToken();
  watchStatus({ onStatus, onGone, onBack: () => { banner("app"); render({ again: loaded === null }); } });
  await render({ again: true });
}

drawIcons();
setUpSettings(grid, setIcon);
setUpQuery();
setUpControls();
address.onChange(() => render());
start();
