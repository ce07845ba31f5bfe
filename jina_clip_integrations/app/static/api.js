// Requests to the app. Every failure becomes an `ApiError` with a sentence for people.

export class ApiError extends Error {
  constructor(code, message, status = 0) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("APP_GONE", "The app does not answer. It may have been stopped.");
  }
  if (!response.ok) throw await readError(response);
  return response.status === 204 ? null : response.json();
}

async function readError(response) {
  let body = null;
  try { body = await response.json(); } catch { /* not from the app: a proxy in between */ }
  const detail = body?.detail;
  const message = typeof detail === "string" ? detail : detail?.message;
  return new ApiError(body?.code ?? detail?.code ?? "FAILED", message ?? `The app answered with status ${response.status}.`, response.status);
}

const join = (path, parameters) => (parameters && String(parameters) ? `${path}?${parameters}` : path);

export const status = () => ask("/api/status");
export const search = (parameters, signal) => ask(join("/api/search", parameters), { signal });
export const duplicates = (parameters, signal) => ask(join("/api/duplicates", parameters), { signal });
export const startIndexing = () => ask("/api/index", { method: "POST" });
export const upload = (file) => ask("/api/uploads", { method: "POST", body: file, headers: { "Content-Type": file.type.startsWith("image/") ? file.type : "image/x-unknown" } });
export const openSession = (token) => ask("/api/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });

const address = (path, values) => join(path, new URLSearchParams(values));
export const thumbnail = (hit, pixels) => address("/api/thumbnail", { name: hit.name, px: pixels, v: hit.v ?? "" });
export const original = (hit) => address("/api/original", { name: hit.name });
export const uploadPreview = (id) => `/api/uploads/${encodeURIComponent(id)}`;
/** Why an image cannot be shown: an `<img>` does not tell. */
export const reason = (path) => ask(path).then(() => null, (error) => (error instanceof ApiError ? error : null));
