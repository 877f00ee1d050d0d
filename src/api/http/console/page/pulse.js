// What the console knows of the server at every moment: whether it answers, its figures of the last
// minutes, its libraries. One loop asks, one request at a time; while nobody looks it rests.

import { ask, isAbort, open, pause } from "./client.js";
import { figures, parseMetrics } from "./metrics.js";

/** Between two readings. */
const PERIOD_ms = 2_000;
/** Readings that are kept: ten minutes of them. */
const SAMPLES_MAX = 300;
/** A reading that takes longer counts as none. */
const PATIENCE_ms = 10_000;
/** Libraries that are listed; of more, only the first. */
const LIBRARIES_MAX = 1_000;

class Pulse extends EventTarget {
  /** `null` until the first answer, then whether the server answers. */
  up = null;
  /** Since when it does or does not. */
  since = new Date();
  /** `{at, …figures}`, oldest first; a gap is a sample without figures. */
  samples = [];
  /** `null` until they are known. */
  libraries = null;
  /** Whether the server has more libraries than are listed. */
  more = false;
  /** The newest reading of `/metrics`. */
  metrics = new Map();
  #before = null;
  #tail = null;
  #stop = null;
  #stale = true;

  /** Begins, and from then on rests whenever the page is hidden. */
  start() {
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#rest() : this.#run()));
    if (!document.hidden) this.#run();
  }

  /** Reads now rather than at the next turn, the libraries too: something was just changed. */
  async refresh() {
    this.#stale = true;
    await this.#read(AbortSignal.timeout(PATIENCE_ms)).catch(() => {});
  }

  /** A library of the list by its id. */
  library(id) {
    return this.libraries?.find((library) => library.id === id);
  }

  #rest() {
    this.#stop?.abort();
    this.#stop = null;
    this.#before = null;
  }

  async #run() {
    if (this.#stop) return;
    const { signal } = (this.#stop = new AbortController());
    try {
      for (;;) {
        const turn = performance.now();
        await this.#read(AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_ms)])).catch((error) => {
          if (signal.aborted) throw error;
          this.#down();
        });
        await pause(Math.max(200, PERIOD_ms - (performance.now() - turn)), signal);
      }
    } catch (error) {
      if (!isAbort(error)) throw error;
    }
  }

  async #read(signal) {
    const text = await (await open("GET", "/metrics", { signal })).text();
    const now = performance.now();
    this.metrics = parseMetrics(text);
    const tail = this.metrics.get("arrwdb_tail_revision");
    if (this.#stale || tail !== this.#tail) {
      const list = await ask("GET", `/v1/libraries?page_size=${LIBRARIES_MAX}`, { signal });
      this.libraries = list.libraries;
      this.more = list.next_page_token !== "";
      this.#tail = tail;
      this.#stale = false;
    }
    const before = this.#before;
    if (!before || now - before.now >= PERIOD_ms / 2) {
      const known = before ? figures(before.metrics, this.metrics, (now - before.now) / 1_000) : {};
      this.#keep(known);
      this.#before = { now, metrics: this.metrics };
    }
    if (this.up !== true) {
      this.up = true;
      this.since = new Date();
    }
    this.dispatchEvent(new Event("beat"));
  }

  #down() {
    this.#before = null;
    this.#stale = true;
    this.#keep({});
    if (this.up !== false) {
      this.up = false;
      this.since = new Date();
    }
    this.dispatchEvent(new Event("beat"));
  }

  #keep(known) {
    this.samples.push({ at: Date.now() / 1_000, ...known });
    if (this.samples.length > SAMPLES_MAX) this.samples.shift();
  }
}

/** The one pulse of the page. */
export const pulse = new Pulse();

/** Calls `draw` now and after every reading until the view is left. Answers what ends that. */
export function onBeat(draw) {
  pulse.addEventListener("beat", draw);
  draw();
  return () => pulse.removeEventListener("beat", draw);
}
