// Streams of things that end with a word about the whole.

import { ArrwdbError, fromGrpc, isPassing } from "./errors.js";
import { PATIENCE_MS, Pauses, sleep } from "./retry.js";

/**
 * What a server streams out, for one `for await`. It is whole when the loop ends: a stream that is
 * cut throws `unavailable`. Leaving the loop frees what is left.
 */
export class Stream<T, End> implements AsyncIterable<T> {
  readonly #items: AsyncGenerator<T, End, undefined>;
  #end: End | undefined;

  /** @internal */
  constructor(items: AsyncGenerator<T, End, undefined>) {
    this.#items = items;
  }

  /** What the server said at the end; `undefined` before. */
  get end(): End | undefined {
    return this.#end;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    this.#end = yield* this.#items;
  }
}

/**
 * The items of a stream whose last message is its end. While nothing was given out, a server that
 * cannot be reached is tried again.
 */
export async function* whole<Message, T, End>(
  open: () => AsyncIterable<Message>,
  read: (message: Message) => { item: T } | { end: End } | undefined,
  signal: AbortSignal | undefined,
  patienceMs: number = PATIENCE_MS,
): AsyncGenerator<T, End, undefined> {
  const until = performance.now() + patienceMs;
  const pauses = new Pauses();
  for (;;) {
    let begun = false;
    let error = new ArrwdbError({ slug: "unavailable", detail: "the stream was cut" });
    try {
      for await (const message of open()) {
        const said = read(message);
        if (said === undefined) continue;
        if ("end" in said) return said.end;
        begun = true;
        yield said.item;
      }
    } catch (thrown) {
      error = fromGrpc(thrown, signal);
    }
    const pause = pauses.next(error);
    if (begun || !isPassing(error) || performance.now() + pause > until) throw error;
    await sleep(pause, signal);
  }
}
