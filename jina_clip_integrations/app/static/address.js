// The page's address is its state: reload, back and a copied link show the same thing. The parameters are the API's own
// (`app/address.py`), and `view`, `open` and `threshold`.

const TERMS = ["image", "notimage", "like", "unlike"];
export const FILTERS = ["since", "until", "folder", "kind", "min", "max", "camera", "near"];
const PAGE_ONLY = ["view", "open"];

let listener = () => {};
export const onChange = (heard) => { listener = heard; };
export const current = () => new URLSearchParams(location.search);

/** Go to another state. `replace` leaves no step for the back button. */
export function go(parameters, { replace = false } = {}) {
  for (const [name, value] of [...parameters]) if (value === "") parameters.delete(name, value);
  const query = String(parameters);
  const target = query ? `/?${query}` : "/";
  if (target === location.pathname + location.search) { listener(); return; }
  history[replace ? "replaceState" : "pushState"]({ ours: true }, "", target);
  listener();
}

/** Go to the current state with some parameters set, or removed where the value is null. */
export function change(values, options) {
  const parameters = current();
  for (const [name, value] of Object.entries(values)) {
    if (value == null || value === "") parameters.delete(name);
    else parameters.set(name, value);
  }
  go(parameters, options);
}

/** What the API is asked: the state without what concerns the page alone. */
export function forApi(parameters = current()) {
  const asked = new URLSearchParams(parameters);
  for (const name of PAGE_ONLY) asked.delete(name);
  return asked;
}

export const hasQuery = (parameters = current()) => Boolean(parameters.get("q")) || TERMS.some((name) => parameters.has(name));
export const filtersIn = (parameters = current()) => FILTERS.filter((name) => parameters.get(name));

/** The images in the query: `{parameter, value, wanted}`. */
export const terms = (parameters = current()) =>
  TERMS.flatMap((name) => parameters.getAll(name).map((value) => ({ parameter: name, value, wanted: name === "image" || name === "like" })));

/** A new query from one image of the folder. */
export function moreLike(name) {
  const parameters = new URLSearchParams();
  for (const filter of FILTERS) if (current().get(filter)) parameters.set(filter, current().get(filter));
  if (current().get("diversity")) parameters.set("diversity", current().get("diversity"));
  parameters.set("like", name);
  go(parameters);
}

/** The query as it is, and more or less of one image. */
export function addTerm(parameter, value) {
  const parameters = current();
  removeEverywhere(parameters, value);
  for (const gone of ["view", "open", "all", "threshold"]) parameters.delete(gone);
  parameters.append(parameter, value);
  go(parameters);
}

export function removeTerm(parameter, value) {
  const parameters = current();
  parameters.delete(parameter, value);
  parameters.delete("all");
  go(parameters);
}

/** The query without images that were dropped in: the app may have been started anew since. */
export function dropUploads() {
  const parameters = current();
  parameters.delete("image");
  parameters.delete("notimage");
  go(parameters);
}

/** Wanted becomes unwanted, and back. */
export function flipTerm(parameter, value) {
  const opposite = { image: "notimage", notimage: "image", like: "unlike", unlike: "like" };
  const parameters = current();
  parameters.delete(parameter, value);
  parameters.append(opposite[parameter], value);
  go(parameters);
}

function removeEverywhere(parameters, value) {
  for (const name of TERMS) parameters.delete(name, value);
}

addEventListener("popstate", () => listener());
