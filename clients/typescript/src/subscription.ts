// Subscriptions: a place in the feed, kept by the client over connections.

import type { Client as Rpc } from "@connectrpc/connect";

import { fromEventFilter, toEvent, toHeartbeat } from "./convert.js";
import { cancelled } from "./errors.js";
import { follow, type FollowOptions } from "./follow.js";
import type { EventService, SubscribeResponse } from "./gen/arrwdb/v1/event_service_pb.js";
import { linked } from "./retry.js";
import type { Event, EventFilter, Heartbeat } from "./types.js";

/** What to follow, and from where. */
export interface SubscribeOptions extends EventFilter, FollowOptions {
  /** A cursor, `begin`, `now`, `revision:N` or `time:RFC3339`; `now` when not given. */
  cursor?: string | undefined;
  /** Whether heartbeats are given out too, for readers that store each cursor. */
  heartbeats?: boolean | undefined;
}

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
  #opened: { reading: AsyncGenerator<T | undefined>; first: T | undefined } | undefined;

  /** @internal */
  constructor(rpc: Rpc<typeof EventService>, options: SubscribeOptions) {
    this.#rpc = rpc;
    this.#options = options;
    this.#cursor = options.cursor;
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
      this.#opened = { reading, first: value ?? undefined };
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
      if (first !== undefined) yield first;
      for await (const item of reading) if (item !== undefined) yield item;
    } finally {
      await reading.return(undefined);
    }
  }

  /** What the server says, `undefined` where there is nothing to give out. */
  async *#read(): AsyncGenerator<T | undefined, void, undefined> {
    const { controller, unlink } = linked(this.#options.signal);
    const close = () => controller.abort();
    this.#closing.signal.addEventListener("abort", close);
    if (this.#closing.signal.aborted) close();
    try {
      const open = (signal: AbortSignal) =>
        this.#rpc.subscribe(
          { ...fromEventFilter(this.#options), cursor: this.#cursor ?? "" },
          { signal, timeoutMs: 0 },
        );
      let first = true;
      for await (const message of follow(open, { ...this.#options, signal: controller.signal })) {
        const item = this.#take(message);
        // Callers of `open` wait for the first message, whatever it is.
        if (item !== undefined || first) yield item;
        first = false;
      }
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      if (this.#options.signal?.aborted) throw cancelled(this.#options.signal);
      throw error;
    } finally {
      unlink();
      this.#closing.signal.removeEventListener("abort", close);
    }
  }

  #take({ item }: SubscribeResponse): T | undefined {
    switch (item.case) {
      case "event":
        this.#cursor = item.value.id;
        return toEvent(item.value) as T | undefined;
      case "heartbeat":
        this.#cursor = item.value.cursor;
        return this.#options.heartbeats ? (toHeartbeat(item.value) as T) : undefined;
      default:
        return undefined;
    }
  }
}

/** The items of a subscription with heartbeats. */
export type EventOrHeartbeat = Event | Heartbeat;
