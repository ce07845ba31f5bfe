// The search field: words, and images that were dropped, pasted, chosen or taken from the results.

import { addTerm, change, current, flipTerm, removeTerm, terms } from "./address.js";
import { ApiError, thumbnail, upload, uploadPreview } from "./api.js";
import { $, announce, h, icon, iconButton } from "./dom.js";
import { fileName } from "./format.js";
import { toast } from "./notices.js";

/** [language, words]: the model reads many, and so the field suggests. */
export const SUGGESTIONS = [
  ["en", "a dog on the beach"], ["de", "Sonnenuntergang am Meer"], ["es", "una taza de café"], ["fr", "un chat noir"],
  ["zh", "雪山"], ["ja", "赤い花"], ["ar", "سيارة حمراء"], ["hi", "पहाड़"], ["uk", "дерево восени"], ["pt", "frutas frescas"],
];
const TYPING_MS = 350;

export function setUpQuery() {
  const field = $("query");
  const [, words] = SUGGESTIONS[Math.floor(Math.random() * SUGGESTIONS.length)];
  field.placeholder = `Search, for example “${words}”`;
  let typing;
  const search = (replace) => { clearTimeout(typing); change({ q: field.value.trim(), all: null, view: null, open: null, threshold: null }, { replace }); };
  $("search").addEventListener("submit", (event) => { event.preventDefault(); search(false); });
  field.addEventListener("input", (event) => {
    clearTimeout(typing);
    // Not while a word is still being put together, as in Japanese or Chinese.
    if (!event.isComposing) typing = setTimeout(() => search(Boolean(current().get("q"))), TYPING_MS);
  });
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => { for (const file of $("file").files) addImage(file); $("file").value = ""; });
  setUpDrop();
  addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files].filter((file) => file.type.startsWith("image/"));
    if (files.length) { event.preventDefault(); addImage(files[0]); }
  });
}

/** Send an image to the app and put it into the query. */
export async function addImage(file) {
  $("search").classList.add("busy");
  announce("Reading the image");
  try {
    const { id } = await upload(file);
    addTerm("image", id);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.message);
    announce(error.message);
  } finally {
    $("search").classList.remove("busy");
  }
}

function setUpDrop() {
  let depth = 0; // every element on the way reports the pointer's entering and leaving
  const carriesFile = (event) => event.dataTransfer?.types.includes("Files");
  const show = (shown) => { $("drop").hidden = !shown; };
  addEventListener("dragenter", (event) => { if (carriesFile(event)) { depth += 1; show(true); } });
  addEventListener("dragleave", (event) => { if (carriesFile(event)) { depth = Math.max(0, depth - 1); show(depth > 0); } });
  addEventListener("dragover", (event) => { if (carriesFile(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    depth = 0;
    show(false);
    if (!carriesFile(event)) return;
    event.preventDefault(); // or the browser would leave the page and show the file
    addImage(event.dataTransfer.files[0]);
  });
}

/** Show what the address says: words in the field, images as chips before it. */
export function drawQuery() {
  const field = $("query");
  const words = current().get("q") ?? "";
  if (field.value.trim() !== words) field.value = words;
  const focused = $("terms").contains(document.activeElement);
  const chips = terms().map(drawTerm);
  $("terms").replaceChildren(...chips);
  $("terms").hidden = !chips.length;
  if (focused) ($("terms").querySelector("button") ?? field).focus();
}

function drawTerm({ parameter, value, wanted }) {
  const ofFolder = parameter === "like" || parameter === "unlike";
  const label = ofFolder ? fileName(value) : "your image";
  const image = h("img", { alt: "", src: ofFolder ? thumbnail({ name: value }, 360) : uploadPreview(value) });
  image.addEventListener("error", () => image.replaceWith(icon("image")));
  const sign = h("button", { type: "button", class: "sign", "aria-pressed": String(!wanted), "aria-label": `Unlike ${label}`, title: wanted ? "Like this: click for unlike" : "Unlike this: click for like", onclick: () => flipTerm(parameter, value) }, icon(wanted ? "plus" : "minus"));
  return h("li", { class: `term ${wanted ? "wanted" : "unwanted"}` }, image, sign, iconButton("close", `Remove ${label} from the query`, () => removeTerm(parameter, value), { class: "remove" }));
}
