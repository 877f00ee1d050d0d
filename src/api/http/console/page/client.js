// The server as the console sees it: requests, streams of lines and of events, and faults in words.

/** What went wrong, as the server or the network says it. */
export class Fault extends Error {
  /** `slug` is the server's, or `unreachable` when nobody answered. */
  constructor(slug, detail, { status = 0, floorCursor } = {}) {
    super(detail);
    this.name = "Fault";
    this.slug = slug;
    this.status = status;
    this.floorCursor = floorCursor;
  }

  /** Whether the same request may succeed later without a change. */
  get passes() {
    return ["unreachable", "unavailable", "resource-exhausted", "deadline-exceeded"].includes(this.slug);
  }
}

/** A problem document, or the `error` of a stream's line, as a fault. */
export function faultOf(problem, status = 0) {
  const slug = String(problem?.type ?? "internal").replace("urn:arrwdb:error:", "");
  return new Fault(slug, problem?.detail ?? problem?.title ?? "no more is known", {
    status,
    floorCursor: problem?.floor_cursor,
  });
}

const NEXT = {
  unreachable: "Is it still running? The console goes on by itself when it is back.",
  unavailable: "It is starting or stopping. Try again in a moment.",
  "invalid-argument": "Correct it and try again.",
  "not-found": "It may have been deleted meanwhile.",
  "already-exists": "Choose another name.",
  conflict: "Somebody changed it meanwhile. Look at it again, then decide.",
  "too-large": "Make it smaller, or raise the limit that is named (arrwdb serve --limit NAME=VALUE).",
  "resource-exhausted": "The server has its hands full. Try again in a moment.",
  "deadline-exceeded": "The server took too long. Try again.",
  "cursor-expired": "What followed this place is no longer kept. Go on from the oldest that is, or from now.",
  "cursor-unknown":
    "This place belongs to another history of the server. Go on from the oldest that is kept, or from now.",
  "permission-denied": "Open the console under the address that the server itself has.",
  "failed-precondition": "",
};

/** A fault for people: what happened, and what to do next. */
export function inWords(fault) {
  if (!(fault instanceof Fault))
    return { what: `The console itself failed: ${fault.message}`, next: "Load the page again." };
  const what = fault.message.charAt(0).toUpperCase() + fault.message.slice(1);
  return { what: /[.!?]$/.test(what) ? what : `${what}.`, next: NEXT[fault.slug] ?? "The server's log says more." };
}

/** Whether an exception only says that somebody changed their mind. */
export const isAbort = (error) => error?.name === "AbortError";

const unreachable = () => new Fault("unreachable", "the server does not answer");

/** Starts a request; answers its response when it is a success, throws a `Fault` otherwise. */
export async function open(method, path, { body, type = "application/json", signal } = {}) {
  const headers = body === undefined ? {} : { "content-type": type };
  let response;
  try {
    response = await fetch(path, { method, headers, body, signal, cache: "no-store" });
  } catch (error) {
    throw isAbort(error) ? error : unreachable();
  }
  if (response.ok) return response;
  const text = await response.text().catch(() => "");
  let problem;
  try {
    problem = JSON.parse(text);
  } catch {
    // Not the server's own words: a proxy's, perhaps.
    problem = { type: response.status >= 500 ? "unavailable" : "internal", detail: `HTTP status ${response.status}` };
  }
  throw faultOf(problem, response.status);
}

/** A request whose whole answer is JSON. */
export async function ask(method, path, { body, signal } = {}) {
  const response = await open(method, path, { body: body === undefined ? undefined : JSON.stringify(body), signal });
  try {
    return await response.json();
  } catch (error) {
    throw isAbort(error) ? error : unreachable();
  }
}

/** A library's path. */
export const libraryPath = (library, rest = "") => `/v1/libraries/${encodeURIComponent(library)}${rest}`;

/** A document's path. One that is called `stream` is written so that it is no stream. */
export const documentPath = (library, id) =>
  libraryPath(library, `/documents/${id === "stream" ? "%73tream" : encodeURIComponent(id)}`);

/** The lines of a response as they come, without their newline. What is cut off at the end is no line. */
export async function* linesOf(response, watch = () => {}) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      let piece;
      try {
        piece = await reader.read();
      } catch (error) {
        throw isAbort(error) ? error : unreachable();
      }
      if (piece.done) return;
      watch(piece.value.length);
      const lines = (rest + decoder.decode(piece.value, { stream: true })).split("\n");
      rest = lines.pop();
      yield* lines;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** The frames of a stream of Server-Sent Events: `{event, id, data}`. A frame that was cut is none. */
export async function* framesOf(response, watch) {
  let frame = {};
  for await (const line of linesOf(response, watch)) {
    if (line !== "") {
      const colon = line.indexOf(":");
      if (colon > 0) frame[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
    } else {
      if (frame.event !== undefined) yield frame;
      frame = {};
    }
  }
}

/** Waits, unless `signal` ends it before. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("aborted", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** How long to wait before try `attempt` (0, 1, …): from a quarter second to five, none like another. */
export const backoff_ms = (attempt) => Math.min(5_000, 250 * 2 ** attempt) * (0.75 + Math.random() / 2);
