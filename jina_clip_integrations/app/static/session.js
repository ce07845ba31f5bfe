// The token of an app that is bound beyond this machine. It comes behind the # of the address, which no server and no
// log sees, and becomes a cookie that no script can read.

import { ApiError, openSession } from "./api.js";
import { h } from "./dom.js";
import { panel, toast } from "./notices.js";

/** Exchange the token in the address, if there is one, and take it out of the address. */
export async function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(history.state, "", location.pathname + location.search);
  try { await openSession(token); } catch (error) { if (!(error instanceof ApiError)) throw error; }
}

/** A panel that asks for the token. */
export function askForToken(onward) {
  const field = h("input", { type: "password", name: "token", autocomplete: "current-password", "aria-label": "Token", required: true });
  const form = h("form", { class: "token-form" }, field, h("button", { class: "pill primary" }, "Continue"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await openSession(field.value.trim());
      onward();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message);
      field.select();
    }
  });
  const shown = panel("info", "This app asks for its token", "It was printed in the terminal when the app started, at the end of the address.", form);
  shown.id = "token-panel";
  return shown;
}
