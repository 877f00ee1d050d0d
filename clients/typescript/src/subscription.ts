// Subscriptions: a place in the feed, kept by the client over connections.

import type { Client as Rpc } from "@connectrpc/connect";

import { fromEventFilter, toEvent, toHeartbeat, toSnapshotDocument } from "./convert.js";
import { cancelled } from "./errors.js";
import { follow, type FollowOptions, SILENCE_MS } from "./follow.js";
import type { EventService, SubscribeResponse } from "./gen/arrwdb/v1/event_service_pb.js";
import { linked } from "./retry.js";
import type { Event, EventFilter, Heartbeat, SnapshotItem } from "./types.js";

/** What to follow, and from where. */
export interface SubscribeOptions extends EventFilter, FollowOptions {
  /** A cursor, `begin`, `now`, `revision:N` or `time:RFC3339`; `now` when not given. */
  cursor?: string | undefined;
  /**
   * Begins with the documents that are there, then goes on with what comes after them: no gap, no
   * double. `cursor` must not be given then; `eventTypes` are for what comes after.
   */
  snapshot?: boolean | undefined;
  /** Whether heartbeats are given out too, for readers that store each cursor. */
  heartbeats?: boolean | undefined;
}

/** `T` where the option `K` is on or may be. */
type Where<O, K extends string, T> = O extends { [_ in K]?: infer V }
  ? unknown extends V
    ? never
    : true extends V
      ? T
      : never
  : never;

/** What a subscription with these options gives. */
export type Subscribed<O> = Event | Where<O, "heartbeats", Heartbeat> | Where<O, "snapshot", SnapshotItem>;

/** Before a snapshot's end there are no heartbeats, and a filter may let nothing through. */
const SNAPSHOT_SILENCE_TIMES = 10;

/**
 * Events from a place on, without end. It goes on by itself after a broken connection or a restart
 * of the server, behind the last event that it gave out: none is lost, none is given twice.
 *
 * Loop over it with `for await`. A loop that is left ends the connection; another loop over the
 * same subscription goes on where that one was. Not for two loops at once.
 */
export class Subscription<T = Event> implements AsyncIterable<T> {
  readonly #rpc: Rpc<typeof EventService>;
  readonly #options: SubscribeOptions;
  readonly #closing = new AbortController();
  #cursor: string | undefined;
  /** Whether the snapshot has not ended, and whether it has begun on this connection. */
  #snapshot: boolean;
  #begun = false;
  #opened: { reading: AsyncGenerator<T[]>; first: T[] } | undefined;

  /** @internal */
  constructor(rpc: Rpc<typeof EventService>, options: SubscribeOptions) {
    this.#rpc = rpc;
    this.#options = options;
    this.#cursor = options.cursor;
    this.#snapshot = options.snapshot === true;
  }

  /**
   * Everything up to here was given out, or did not pass the filter. Store it when what was given
   * out is dealt with; a subscription with this `cursor` goes on behind it. `undefined` before the
   * first answer of a server when the subscription was made without one.
   */
  get cursor(): string | undefined {
    return this.#cursor;
  }

  /**
   * Resolves when the server has answered: what is written from then on is in the subscription,
   * also when it begins with `now`. The loop does this by itself.
   */
  async open(): Promise<this> {
    if (this.#opened === undefined) {
      const reading = this.#read();
      const { value } = await reading.next();
      this.#opened = { reading, first: value ?? [] };
    }
    return this;
  }

  /** Ends the loop, without an error. */
  close(): void {
    this.#closing.abort();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    await this.open();
    const { reading, first } = this.#opened!;
    this.#opened = undefined;
    try {
      yield* first;
      for await (const items of reading) yield* items;
    } finally {
      await reading.return(undefined);
    }
  }

  /** What each message gives out: often nothing. */
  async *#read(): AsyncGenerator<T[], void, undefined> {
    const { controller, unlink } = linked(this.#options.signal);
    const close = () => controller.abort();
    this.#closing.signal.addEventListener("abort", close);
    if (this.#closing.signal.aborted) close();
    const { silenceMs = SILENCE_MS } = this.#options;
    const silence = () => (this.#snapshot ? SNAPSHOT_SILENCE_TIMES * silenceMs : silenceMs);
    const open = (signal: AbortSignal) => {
      this.#begun = false;
      const place = { cursor: this.#cursor ?? "", snapshot: this.#snapshot };
      return this.#rpc.subscribe({ ...fromEventFilter(this.#options), ...place }, { signal, timeoutMs: 0 });
    };
    try {
      const messages = follow(open, { ...this.#options, signal: controller.signal }, silence);
      for await (const message of messages) yield this.#take(message) as T[];
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      if (this.#options.signal?.aborted) throw cancelled(this.#options.signal);
      throw error;
    } finally {
      unlink();
      this.#closing.signal.removeEventListener("abort", close);
    }
  }

  #take({ item }: SubscribeResponse): Subscribed<{ heartbeats: true; snapshot: true }>[] {
    switch (item.case) {
      case "event": {
        this.#cursor = item.value.id;
        const event = toEvent(item.value);
        return event === undefined ? [] : [event];
      }
      case "heartbeat":
        this.#cursor = item.value.cursor;
        return this.#options.heartbeats ? [toHeartbeat(item.value)] : [];
      case "snapshotDocument": {
        const document = toSnapshotDocument(item.value);
        return document === undefined ? this.#begin() : [...this.#begin(), document];
      }
      case "snapshotEnd": {
        const { cursor: id, totalDocuments } = item.value;
        this.#snapshot = false;
        this.#cursor = id;
        return [...this.#begin(), { type: "snapshot.end", id, totalDocuments: Number(totalDocuments) }];
      }
      default:
        return [];
    }
  }

  /** Says that what follows is a snapshot from its beginning, once a connection. */
  #begin(): SnapshotItem[] {
    if (this.#begun) return [];
    this.#begun = true;
    return [{ type: "snapshot.begin" }];
  }
}
