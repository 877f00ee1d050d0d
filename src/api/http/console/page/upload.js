// One file or paste on its way into a library: piece by piece, each document's status as it comes, and on again
// after a broken connection without doubling anything.

import { Fault, backoff_ms, faultOf, libraryPath, linesOf, open, pause } from "./client.js";
import { LINE_BYTES_MAX, isNdjson, ndjsonPieces, textPieces } from "./pieces.js";

/** Statuses that are kept: the newest of those that went well, the first of those that failed. */
const ROWS_MAX = 50;
const FAILURES_MAX = 1_000;
/** Tries without any progress, some seconds apart: then somebody must decide. */
const TRIES_MAX = 60;

const TOO_LONG = `the line is longer than ${LINE_BYTES_MAX >> 20} MiB, more than this page takes: send the file with curl`;
const FINAL = new Set(["completed", "skipped", "failed"]);

/** An upload. It says `change` whenever something of it did. */
export class Upload extends EventTarget {
  /** `waiting`, `sending`, `retrying`, `done`, `stopped` or `broken`. */
  state = "waiting";
  counts = { completed: 0, skipped: 0, failed: 0, chunks: 0 };
  /** The newest final statuses, newest first: `{line, status, title, id, num_chunks, revision, detail}`. */
  rows = [];
  failures = [];
  /** Lines of documents that the server has begun and not ended. */
  going = new Set();
  /** Bytes of lines that have their final status, about: those that got an id are counted with it. */
  done_bytes = 0;
  fault = null;
  /** What the file itself has to say at its end. */
  remark = "";
  began = 0;
  ended = 0;
  #stop = new AbortController();

  /** `name` is a file's, or "" for a paste; `blob` its bytes. */
  constructor(library, onConflict, name, blob) {
    super();
    Object.assign(this, { library, onConflict, name, blob });
  }

  get total() {
    return this.counts.completed + this.counts.skipped + this.counts.failed;
  }

  get isOver() {
    return ["done", "stopped", "broken"].includes(this.state);
  }

  /** Ends it; what was acknowledged stays. */
  stop() {
    this.#stop.abort();
    if (this.state === "waiting") this.#set("stopped");
  }

  /** Sends it all. Never throws: how it went is its state. */
  async run() {
    if (this.isOver) return;
    this.began = performance.now();
    this.#set("sending");
    const { signal } = this.#stop;
    let end = null;
    let cut = false;
    try {
      const beginning = await this.blob.slice(0, 1_024).text();
      const pieces = isNdjson(this.name, beginning) ? ndjsonPieces(this.blob) : textPieces(this.blob, this.name);
      for await (const piece of pieces) {
        signal.throwIfAborted();
        for (const line of piece.refused)
          this.#take({ status: "failed", line, title: "", error: { detail: TOO_LONG } });
        end = piece.end ?? end;
        if (piece.lines.length > 0) cut = (await this.#send(piece.lines, signal)) || cut;
      }
      if (end === null && cut) this.remark = "This is an export without its last line: it was cut when it was made.";
      else if (end !== null && end !== this.total)
        this.remark = `The export's last line says that it has ${end} documents; ${this.total} were in the file.`;
      else if (this.total === 0) this.remark = "There is no document in it.";
      this.#finish("done");
    } catch (error) {
      if (signal.aborted) return this.#finish("stopped");
      this.fault = error instanceof Fault ? error : new Fault("invalid-argument", error.message);
      this.#finish("broken");
    }
  }

  /** Sends lines until each has its final status. Answers whether the server missed an export's end. */
  async #send(lines, signal) {
    let answered = 0;
    let attempt = 0;
    for (;;) {
      const before = answered;
      try {
        const body = new Blob(lines.slice(answered).flatMap(({ body }) => [body, "\n"]));
        const path = libraryPath(this.library, `/documents/stream?on_conflict=${this.onConflict}`);
        const response = await open("POST", path, { body, type: "application/x-ndjson", signal });
        if (this.state === "retrying") this.#set("sending");
        const rest = lines.slice(answered);
        this.going.clear();
        for await (const text of linesOf(response)) {
          const said = JSON.parse(text);
          if (said.status === "summary") return said.truncated === true;
          if (said.status === "error") throw faultOf(said.error);
          const { number: line, body } = rest[said.line - 1];
          if (said.status === "processing") this.going.add(line);
          if (!FINAL.has(said.status)) continue;
          answered += 1;
          this.going.delete(line);
          this.done_bytes += body.length + 1;
          this.#take({ ...said, line });
        }
        throw new Fault("unreachable", "the answer was cut");
      } catch (error) {
        if (signal.aborted || !(error instanceof Fault) || !error.passes) throw error;
        attempt = answered > before ? 0 : attempt + 1;
        if (attempt > TRIES_MAX) throw error;
        this.fault = error;
        this.#set("retrying");
        await pause(backoff_ms(attempt), signal);
      }
    }
  }

  #take(said) {
    const row = { ...said, detail: said.error?.detail ?? "" };
    this.rows.unshift(row);
    if (this.rows.length > ROWS_MAX) this.rows.length = ROWS_MAX;
    this.counts[said.status] += 1;
    if (said.status === "completed") this.counts.chunks += said.num_chunks;
    if (said.status === "failed" && this.failures.length < FAILURES_MAX) this.failures.push(row);
    this.#changed();
  }

  #finish(state) {
    this.ended = performance.now();
    this.going.clear();
    this.#set(state);
  }

  #set(state) {
    this.state = state;
    if (state === "sending") this.fault = null;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
