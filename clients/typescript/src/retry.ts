// Waiting and trying again: pauses that grow, ends that the caller sets.

import { ArrwdbError, cancelled, fromGrpc, isPassing } from "./errors.js";

const PAUSE_MS_FIRST = 100;
const PAUSE_MS_MAX = 5_000;

/** How long a client without a connection keeps trying before its first one, in milliseconds. */
export const PATIENCE_MS = 30_000;

/** A pause before each further try: it doubles up to a limit, spread so that clients come apart. */
export class Pauses {
  #next = PAUSE_MS_FIRST;

  /** After a success the next pause is short again. */
  reset(): void {
    this.#next = PAUSE_MS_FIRST;
  }

  /** How long to wait now; longer if the server says so. */
  next(error?: ArrwdbError): number {
    const pause = this.#next * (0.5 + Math.random() / 2);
    this.#next = Math.min(2 * this.#next, PAUSE_MS_MAX);
    return Math.max(pause, error?.retryAfterMs ?? 0);
  }
}

/** Waits; ends early, with `cancelled`, when the signal says so. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) throw cancelled(signal);
  await new Promise<void>((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", left);
    };
    const left = () => {
      end();
      reject(cancelled(signal!));
    };
    const timer = setTimeout(() => {
      end();
      resolve();
    }, ms);
    signal?.addEventListener("abort", left);
  });
}

/** A controller that also follows the caller's signal, until `unlink`. */
export function linked(signal?: AbortSignal): { controller: AbortController; unlink: () => void } {
  const controller = new AbortController();
  const abort = () => controller.abort(signal?.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort);
  return { controller, unlink: () => signal?.removeEventListener("abort", abort) };
}

/**
 * Makes a call that may be made twice, again and again while the server cannot be reached, within
 * `timeoutMs` in all. Each try is told how much of that is left.
 */
export async function persist<T>(
  call: (timeoutMs: number) => Promise<T>,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  const pauses = new Pauses();
  for (;;) {
    try {
      return await call(Math.max(1, end - performance.now()));
    } catch (thrown) {
      const error = fromGrpc(thrown, signal);
      const pause = pauses.next(error);
      if (!isPassing(error) || performance.now() + pause >= end) throw error;
      await sleep(pause, signal);
    }
  }
}
