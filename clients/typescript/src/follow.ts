// Reading the feed over connections that break: one stream of messages out of many.

import { ArrwdbError, cancelled, fromGrpc, isPassing } from "./errors.js";
import { linked, PATIENCE_MS, Pauses, sleep } from "./retry.js";

/** How long a connection may say nothing before it counts as dead: four heartbeats. */
export const SILENCE_MS = 60_000;

/** How a reader of the feed deals with connections. */
export interface FollowOptions {
  /** Ends the reading: the loop throws `cancelled`. */
  signal?: AbortSignal | undefined;
  /** Called when a connection is lost or cannot be made, and will be tried again after a pause. */
  onBreak?: ((error: ArrwdbError, pauseMs: number) => void) | undefined;
  /**
   * How long it tries without a connection before it throws: 30 000 ms for the first one and for
   * ever after that, unless said otherwise.
   */
  patienceMs?: number | undefined;
  /** How long a connection may say nothing before it counts as dead: 60 000 ms, four heartbeats. */
  silenceMs?: number | undefined;
}

/**
 * Gives the messages of a connection, and when it breaks those of the next one, which `open` makes
 * so that it goes on where the reader was. Reads only when asked to, so a slow reader is one to the
 * server too. `silence` is how long it may say nothing at the moment.
 */
export async function* follow<T>(
  open: (signal: AbortSignal) => AsyncIterable<T>,
  options: FollowOptions,
  silence: () => number = () => options.silenceMs ?? SILENCE_MS,
): AsyncGenerator<T, never> {
  const { signal, onBreak } = options;
  const pauses = new Pauses();
  let patienceMs = options.patienceMs ?? PATIENCE_MS;
  let heardAt = performance.now();
  for (;;) {
    if (signal?.aborted) throw cancelled(signal);
    const { controller, unlink } = linked(signal);
    let error: ArrwdbError;
    try {
      const messages = open(controller.signal)[Symbol.asyncIterator]();
      for (;;) {
        const silenceMs = silence();
        const timer = setTimeout(() => controller.abort(new Error(`silent for ${silenceMs} ms`)), silenceMs);
        let message: IteratorResult<T>;
        try {
          message = await messages.next();
        } finally {
          clearTimeout(timer);
        }
        if (message.done === true) {
          error = new ArrwdbError({ slug: "unavailable", detail: "the server ended the stream" });
          break;
        }
        pauses.reset();
        patienceMs = options.patienceMs ?? Infinity;
        yield message.value;
        heardAt = performance.now();
      }
    } catch (thrown) {
      error = fromGrpc(thrown, signal);
    } finally {
      unlink();
      controller.abort();
    }
    const pause = pauses.next(error);
    if (!isPassing(error) || performance.now() + pause - heardAt > patienceMs) throw error;
    onBreak?.(error, pause);
    await sleep(pause, signal);
  }
}
