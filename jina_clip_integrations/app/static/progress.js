// Asks the app every now and then how far indexing is. Asking, and no stream: it goes through every proxy, and an app
// that is stopped has no open connections to wait for.

import { ApiError, status } from "./api.js";
import { $ } from "./dom.js";
import { number } from "./format.js";

const RUNNING_MS = 700;
const IDLE_MS = 5000;

let last = null;
let timer = 0;
let heard = null;
let gone = false;

export function watchStatus(listener) {
  heard = listener;
  refreshStatus();
}

export async function refreshStatus() {
  clearTimeout(timer);
  try {
    const now = await status();
    draw(now.indexing);
    const before = last;
    last = now;
    heard.onStatus(now, before);
    if (gone) { gone = false; heard.onBack(); }
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) return; // the page asks for the token, and starts again
    if (error.code === "APP_GONE") { gone = true; heard.onGone(); }
  }
  // A page that nobody looks at asks seldom.
  const wait = last?.preparing || last?.indexing.state === "running" ? RUNNING_MS : IDLE_MS;
  timer = setTimeout(refreshStatus, document.hidden ? IDLE_MS * 4 : wait);
}

function draw({ state, done, total, message }) {
  const shown = state === "running" || state === "failed";
  $("progress").hidden = !shown;
  $("progress").classList.toggle("failed", state === "failed");
  if (!shown) return;
  const percent = total ? Math.round((100 * done) / total) : 0;
  $("progress-fill").style.transform = `scaleX(${percent / 100})`;
  $("progress-bar").setAttribute("aria-valuenow", percent);
  $("progress-text").textContent = state === "failed"
    ? `Indexing stopped: ${message}. What is indexed can be searched.`
    : total ? `Indexing ${number(done)} of ${number(total)}. You can search already.` : "Looking at the folder …";
}
