// Files and pasted text as lines to send: cut where lines end, in pieces that are small enough to be answered
// while the rest is still being read. Nothing is held but the piece.

/** Bytes that a piece aims at. A browser shows no answer before it has sent the whole request. */
const PIECE_BYTES = 1 << 20;
/** Lines of a piece at most. */
const PIECE_LINES = 2_000;
/** What a line may take of the page's memory; a longer one is left out and told. */
export const LINE_BYTES_MAX = 16 << 20;
/** Text of a file that becomes one document is read as a whole, so it is bounded. */
const TEXT_BYTES_MAX = 8 << 20;

const encoder = new TextEncoder();

/** An id for a document that has none, so that sending it again cannot double it. */
function newId() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return `console-${[...random].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** What a line of NDJSON is, as far as sending it goes. */
export function lineOf(text) {
  if (text.trim() === "") return { blank: true };
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    // The server says what is wrong with it.
    return { text };
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) return { text };
  // The last line of an export closes a file, not one of its pieces.
  if (value.status === "complete" && typeof value.total_documents === "number") return { end: value.total_documents };
  if (Object.hasOwn(value, "id") || Object.keys(value).length === 0) return { text };
  // Put in where the text stands: numbers keep their digits.
  return { text: text.replace("{", () => `{"id":"${newId()}",`) };
}

/** The lines of a stream of bytes: `{number, bytes}`, or `{number, tooLong: true}`. */
async function* byteLines(stream) {
  const reader = stream.getReader();
  let number = 1;
  let parts = [];
  let length = 0;
  const take = (part) => {
    length += part.length;
    if (length <= LINE_BYTES_MAX) parts.push(part);
    else parts = [];
  };
  const line = () => {
    const bytes = new Uint8Array(length <= LINE_BYTES_MAX ? length : 0);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    const whole = length <= LINE_BYTES_MAX ? { number, bytes } : { number, tooLong: true };
    [number, parts, length] = [number + 1, [], 0];
    return whole;
  };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      let from = 0;
      for (let end = value.indexOf(10); end >= 0; end = value.indexOf(10, from)) {
        take(value.subarray(from, end));
        yield line();
        from = end + 1;
      }
      take(value.subarray(from));
    }
    if (length > 0) yield line();
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * Pieces of an NDJSON file: `{lines: [{number, body}], refused: [number], end}`. `end` is how many documents the
 * last line of an export says that it had, once that line was met.
 */
export async function* ndjsonPieces(blob) {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let piece = { lines: [], refused: [], end: null };
  let size = 0;
  for await (const { number, bytes, tooLong } of byteLines(blob.stream())) {
    if (tooLong) {
      piece.refused.push(number);
      continue;
    }
    let line;
    try {
      line = lineOf(decoder.decode(bytes));
    } catch {
      // Not UTF-8: the server refuses it, with its number.
      line = { bytes };
    }
    if (line.end !== undefined) piece.end = line.end;
    else if (!line.blank) {
      const body = line.bytes ?? encoder.encode(line.text);
      piece.lines.push({ number, body });
      size += body.length;
    }
    if (size >= PIECE_BYTES || piece.lines.length >= PIECE_LINES) {
      yield piece;
      [piece, size] = [{ lines: [], refused: [], end: null }, 0];
    }
  }
  if (piece.lines.length + piece.refused.length > 0 || piece.end !== null) yield piece;
}

/** A text as the one document that it becomes. Markdown is named by its first heading. */
export function textDocument(name, text) {
  const markdown = /\.(md|markdown)$/i.test(name) || (name === "" && /^#{1,6} /m.test(text));
  const heading = markdown ? /^#{1,6}\s+(.+?)\s*#*$/m.exec(text)?.[1] : undefined;
  const firstLine = text.trim().split("\n")[0].trim();
  const title = heading ?? (name || firstLine.slice(0, 80));
  return {
    id: newId(),
    title: cut(title, 1_024),
    text,
    document_type: markdown ? "markdown" : "text",
    ...(name && { source_url: cut(name, 4_096) }),
  };
}

/** As much of a text as takes so many bytes. */
function cut(text, bytes_max) {
  const bytes = encoder.encode(text);
  return bytes.length <= bytes_max
    ? text
    : new TextDecoder().decode(bytes.subarray(0, bytes_max)).replace(/\uFFFD$/, "");
}

/** The one piece of a text file. */
export async function* textPieces(blob, name) {
  if (blob.size > TEXT_BYTES_MAX)
    throw new Error(
      `a text that becomes one document has at most ${TEXT_BYTES_MAX >> 20} MiB; cut it, or make NDJSON of it`,
    );
  const document = textDocument(name, await blob.text());
  yield { lines: [{ number: 1, body: encoder.encode(JSON.stringify(document)) }], refused: [], end: null };
}

/** Whether a file's name, or else what a text begins with, says that it is NDJSON. */
export function isNdjson(name, beginning) {
  if (/\.(ndjson|jsonl|json)$/i.test(name)) return true;
  if (/\.(txt|text|md|markdown)$/i.test(name)) return false;
  return /^\s*\{/.test(beginning);
}
