// Requests to the server that this page came from.

/** What went wrong, in the server's words. */
export class ServerError extends Error {
  constructor(status, message, body) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

async function answer(path, options) {
  const response = await fetch(path, { credentials: "same-origin", ...options });
  if (response.ok) return response;
  const text = await response.text();
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // not every refusal is JSON
  }
  throw new ServerError(response.status, body?.error ?? text, body);
}

export async function getJSON(path, signal) {
  return (await answer(path, { signal })).json();
}

export async function getText(path) {
  return (await answer(path)).text();
}

export async function getBlob(path, signal) {
  return (await answer(path, { signal })).blob();
}

/** Send JSON, or the text of a mask; `match` is the revision that the user saw. */
export async function send(method, path, body = {}, match = null) {
  const isText = typeof body === "string";
  const headers = { "content-type": isText ? "application/octet-stream" : "application/json" };
  if (match !== null) headers["if-match"] = `"${match}"`;
  return (await answer(path, { method, headers, body: isText ? body : JSON.stringify(body) })).json();
}
