// The one subscription of the page: follows the change feed, goes on by itself behind the last event that
// it handled, and lets go of its connection while it is paused or the page is hidden.

import { Fault, backoff_ms, faultOf, framesOf, isAbort, open, pause } from "./client.js";

/** Silence after which a connection counts as dead: three heartbeats. */
const SILENCE_MAX_ms = 45_000;
/** Events that are kept for reading, newest first. */
const EVENTS_MAX = 2_000;
/** A hidden page keeps its connection for so long: looking away for a moment costs nothing. */
const HIDDEN_ms = 5_000;

class Follower extends EventTarget {
  /** What is asked for. `start` is a cursor or one of the words that stand for one. */
  wish = { library: "", types: [], filter: "", start: "now" };
  /** `idle`, `connecting`, `live`, `paused`, `away` (hidden page), `waiting` (for the server) or `refused`. */
  state = "idle";
  /** Up to and including this event everything was handled; `null` before the first answer. */
  cursor = null;
  /** The newest events, newest first. */
  events = [];
  /** How many came since the wish was made. */
  received = 0;
  /** The revision of the newest event; 0 before there is one. */
  revision = 0;
  /** Why it is refused, or waiting. */
  fault = null;
  #stop = null;
  #hiding = null;

  constructor() {
    super();
    document.addEventListener("visibilitychange", () => this.#onVisibility());
  }

  /** Begins anew with another wish: what was there is forgotten. */
  follow(wish) {
    this.wish = wish;
    this.cursor = null;
    this.events = [];
    this.received = 0;
    this.#run();
  }

  /** Lets go of the connection; `resume` goes on right behind the last event. */
  pause() {
    this.#end("paused");
  }

  resume() {
    this.#run();
  }

  /** Forgets the events that are shown; the place in the feed stays. */
  clear() {
    this.events = [];
    this.#changed();
  }

  #onVisibility() {
    clearTimeout(this.#hiding);
    if (!document.hidden) {
      if (this.state === "away") this.#run();
    } else if (["connecting", "live", "waiting"].includes(this.state)) {
      this.#hiding = setTimeout(() => this.#end("away"), HIDDEN_ms);
    }
  }

  #end(state) {
    this.#stop?.abort();
    this.#stop = null;
    this.#set(state);
  }

  #set(state, fault = null) {
    this.state = state;
    this.fault = fault;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  async #run() {
    this.#stop?.abort();
    // Opened behind other tabs: not before somebody looks.
    if (document.hidden) return this.#end("away");
    const { signal } = (this.#stop = new AbortController());
    for (let attempt = 0; ; attempt += 1) {
      this.#set("connecting", this.fault);
      try {
        for await (const frame of this.#frames(signal)) {
          if (signal.aborted) return;
          attempt = 0;
          this.#take(frame);
        }
        // The server closed it: it is stopping, and said before where to go on.
        throw new Fault("unreachable", "the server ended the stream");
      } catch (error) {
        if (signal.aborted) return;
        const fault = error instanceof Fault ? error : new Fault("unreachable", "the stream fell silent");
        if (!fault.passes) return this.#set("refused", fault);
        this.#set("waiting", fault);
      }
      try {
        await pause(backoff_ms(attempt), signal);
      } catch (error) {
        if (isAbort(error)) return;
        throw error;
      }
    }
  }

  /** The frames of one connection, which ends with an error when it falls silent. */
  async *#frames(signal) {
    const silence = new AbortController();
    let timer = null;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MAX_ms);
    };
    heard();
    try {
      const either = AbortSignal.any([signal, silence.signal]);
      const response = await open("GET", this.#path(), { signal: either });
      yield* framesOf(response, heard);
    } finally {
      clearTimeout(timer);
    }
  }

  #path() {
    const { library, types, filter, start } = this.wish;
    const query = new URLSearchParams({ cursor: this.cursor ?? start });
    if (library) query.set("library_id", library);
    if (types.length > 0) query.set("event_types", types.join(","));
    if (filter) query.set("filter", filter);
    return `/v1/events/stream?${query}`;
  }

  #take({ event, id, data }) {
    const said = JSON.parse(data);
    if (event === "stream.error") throw faultOf(said);
    if (event !== "heartbeat") {
      this.received += 1;
      this.revision = Number(said.revision);
      this.events.unshift(said);
      if (this.events.length > EVENTS_MAX) this.events.length = EVENTS_MAX;
    }
    this.cursor = id;
    if (this.state === "live") this.#changed();
    else this.#set("live");
  }
}

/** The one follower of the page. */
export const follower = new Follower();
