// Calls, and what they have in common.

import { set } from "./convert.js";
import { fromGrpc } from "./errors.js";
import { persist } from "./retry.js";
import type { CallOptions, ReadOptions, WriteOptions } from "./types.js";

/** How long a call may take in all unless it or its client says otherwise, in milliseconds. */
export const TIMEOUT_MS = 30_000;

/** Makes calls: once, or again and again while the server cannot be reached, where that is safe. */
export class Caller {
  constructor(private readonly timeoutMs: number) {}

  /** For calls that may be made twice: reads, and writes that the server or their ids tell apart. */
  again<T>(call: (options: { signal?: AbortSignal; timeoutMs: number }) => Promise<T>, options: CallOptions): Promise<T> {
    const { signal, timeoutMs = this.timeoutMs } = options;
    return persist((left) => call({ ...set({ signal }), timeoutMs: left }), timeoutMs, signal);
  }

  /** For all others. */
  async once<T>(call: (options: { signal?: AbortSignal; timeoutMs: number }) => Promise<T>, options: CallOptions): Promise<T> {
    const { signal, timeoutMs = this.timeoutMs } = options;
    try {
      return await call({ ...set({ signal }), timeoutMs });
    } catch (thrown) {
      throw fromGrpc(thrown, signal);
    }
  }
}

/** A read's own field. */
export const seeing = ({ minRevision }: ReadOptions) => set({ minRevision });
/** A change's own field. */
export const expecting = ({ expectedRevision }: WriteOptions) => set({ expectedRevision });
