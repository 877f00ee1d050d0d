// Following as a durable consumer: the server keeps the place, the owner acknowledges.

import type { Client as Rpc } from "@connectrpc/connect";

import { toEvent } from "./convert.js";
import { ArrwdbError, cancelled, invalid, isPassing } from "./errors.js";
import { follow, type FollowOptions } from "./follow.js";
import type { EventService, SubscribeResponse } from "./gen/arrwdb/v1/event_service_pb.js";
import { linked } from "./retry.js";
import type { Event } from "./types.js";

/** How to follow as a durable consumer. */
export interface ConsumeOptions extends FollowOptions {
  /** What the owner calls itself, for people. */
  owner?: string | undefined;
  /** Takes the consumer over only if it is still at this generation; from whoever has it if not given. */
  generation?: bigint | undefined;
}

/** Acknowledges for a consumption. */
export type Acknowledge = (generation: bigint, cursor: string) => Promise<void>;

/**
 * The events of a durable consumer from its acknowledged place on, without end. It goes on by
 * itself after a broken connection or a restart of the server. What was given out and not
 * acknowledged is given out again to the next consumption, but not twice to the same one.
 *
 * Ends with `conflict` when somebody else takes the consumer over or moves it, with
 * `failed-precondition` when it is paused, with `not-found` when it is deleted, with
 * `cursor-expired` when the log is trimmed past it.
 */
export class Consumption implements AsyncIterable<Event> {
  readonly #rpc: Rpc<typeof EventService>;
  readonly #acknowledge: Acknowledge;
  readonly #consumer: string;
  readonly #options: ConsumeOptions;
  readonly #closing = new AbortController();
  #generation: bigint | undefined;
  #cursor: string | undefined;
  /** The last event that was given out, until it is acknowledged. */
  #owed: string | undefined;

  /** @internal */
  constructor(rpc: Rpc<typeof EventService>, acknowledge: Acknowledge, consumer: string, options: ConsumeOptions) {
    this.#rpc = rpc;
    this.#acknowledge = acknowledge;
    this.#consumer = consumer;
    this.#options = options;
    this.#generation = options.generation;
  }

  /** Of this owner; `undefined` before the first answer of the server. */
  get generation(): bigint | undefined {
    return this.#generation;
  }

  /** Everything up to here was given out, or did not pass the consumer's filter. */
  get cursor(): string | undefined {
    return this.#cursor;
  }

  /**
   * Acknowledges everything up to a cursor, or everything that was given out. Durable when it
   * resolves; `conflict` when somebody else owns the consumer now.
   */
  async acknowledge(cursor: string | undefined = this.#cursor): Promise<void> {
    if (cursor === undefined || this.#generation === undefined) {
      throw invalid("cursor", "nothing was given out yet");
    }
    await this.#acknowledge(this.#generation, cursor);
    // Cursors sort as text in the order of the feed.
    if (this.#owed !== undefined && cursor >= this.#owed) this.#owed = undefined;
  }

  /** Ends the loop, without an error. The consumer stays this owner's until somebody takes it. */
  close(): void {
    this.#closing.abort();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Event, void, undefined> {
    const { controller, unlink } = linked(this.#options.signal);
    const close = () => controller.abort();
    this.#closing.signal.addEventListener("abort", close);
    if (this.#closing.signal.aborted) close();
    const { owner = "" } = this.#options;
    const consumer = this.#consumer;
    const open = (signal: AbortSignal) => {
      const generation = this.#generation === undefined ? {} : { generation: this.#generation };
      return this.#rpc.subscribe({ consumer, owner, ...generation }, { signal, timeoutMs: 0 });
    };
    try {
      for await (const message of follow(open, { ...this.#options, signal: controller.signal })) {
        const event = await this.#take(message);
        if (event !== undefined) yield event;
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

  async #take({ item }: SubscribeResponse): Promise<Event | undefined> {
    if (item.case === "heartbeat") {
      this.#generation = item.value.generation ?? this.#generation;
      // After a break the server begins behind what is acknowledged: not back to there.
      if (this.#cursor !== undefined && item.value.cursor <= this.#cursor) return undefined;
      const first = this.#cursor === undefined;
      this.#cursor = item.value.cursor;
      // Nothing passed the filter since: so it does not hold the log.
      if (!first && this.#owed === undefined) await this.#pass();
      return undefined;
    }
    if (item.case !== "event") return undefined;
    if (this.#cursor !== undefined && item.value.id <= this.#cursor) return undefined;
    this.#cursor = item.value.id;
    const event = toEvent(item.value);
    if (event !== undefined) this.#owed = event.id;
    return event;
  }

  async #pass(): Promise<void> {
    try {
      await this.acknowledge();
    } catch (thrown) {
      // The next heartbeat does as well.
      if (!(thrown instanceof ArrwdbError && isPassing(thrown))) throw thrown;
    }
  }
}
