// Reads a bounded sample of a library's embeddings and lays it out, away from the page's own thread.

import { Fault, ask, faultOf, inWords, libraryPath, linesOf, open } from "./client.js";
import { dice, groups, principal, tellingWords } from "./projection.js";

/** Documents that are sampled. */
const DOCUMENTS_MAX = 3_000;
/** Points that are drawn at most, and numbers that they may have in all. */
const POINTS_MAX = 4_000;
const NUMBERS_MAX = 4 << 20;
/** Bytes of an export that are read for it; of a larger library only the beginning is seen. */
const READ_BYTES_MAX = 96 << 20;
/** Components that groups are looked for in. */
const COMPONENTS = 12;
const GROUPS_MAX = 8;
/** Characters of a text that are kept to show. */
const TEXT_MAX = 240;

/** So many of a library's documents, each with the same chance: lines of its export, and how many there were. */
async function sample(library) {
  const stop = new AbortController();
  const response = await open("GET", libraryPath(library, "/documents/stream?include_embeddings=true"), {
    signal: stop.signal,
  });
  const random = dice(42);
  const lines = [];
  let [read, seen, whole, told] = [0, 0, false, 0];
  for await (const line of linesOf(response, (length) => (read += length))) {
    if (line.startsWith('{"status":')) {
      const end = JSON.parse(line);
      if (end.status === "error") throw faultOf(end.error);
      whole = end.status === "complete";
      break;
    }
    seen += 1;
    if (lines.length < DOCUMENTS_MAX) lines.push(line);
    else {
      const at = Math.floor(random() * seen);
      if (at < DOCUMENTS_MAX) lines[at] = line;
    }
    if (read - told > 1 << 20) {
      told = read;
      postMessage({ progress: { read, seen } });
    }
    if (read >= READ_BYTES_MAX) break;
  }
  stop.abort();
  if (!whole && read < READ_BYTES_MAX) throw new Fault("unreachable", "the export was cut");
  return { lines, seen, whole };
}

/** A value that points can be told apart by. */
const asGroup = (value) =>
  Array.isArray(value) ? value.join(" · ") : typeof value === "object" ? null : String(value);

async function layOut(library) {
  const { lines, seen, whole } = await sample(library);
  const { num_documents, num_chunks } = await ask("GET", libraryPath(library));
  const random = dice(43);
  let chunks = lines.flatMap((line) => {
    const document = JSON.parse(line);
    return document.chunks.filter((chunk) => chunk.embedding).map((chunk) => ({ document, chunk }));
  });
  const d = chunks[0]?.chunk.embedding.length ?? 0;
  if (d === 0) return { points: [] };
  const most = Math.min(POINTS_MAX, Math.floor(NUMBERS_MAX / d));
  if (chunks.length > most) {
    for (let i = 0; i < most; i++) {
      const other = i + Math.floor(random() * (chunks.length - i));
      [chunks[i], chunks[other]] = [chunks[other], chunks[i]];
    }
    chunks = chunks.slice(0, most);
  }
  const n = chunks.length;
  const numbers = new Float32Array(n * d);
  chunks.forEach(({ chunk }, i) => numbers.set(chunk.embedding, i * d));
  const k = Math.min(COMPONENTS, d, Math.max(2, n - 1));
  postMessage({ progress: { points: n } });
  const { scores, shares } = principal(numbers, n, d, k);
  const count = Math.max(1, Math.min(GROUPS_MAX, Math.round(Math.sqrt(n / 8))));
  const labels = groups(scores, n, k, count);
  const found = Math.max(...labels) + 1;
  const words = tellingWords(
    labels,
    chunks.map(({ document, chunk }) => `${document.title} ${chunk.text}`),
    found,
  );
  const points = chunks.map(({ document, chunk }, i) => ({
    x: scores[i * k],
    y: k > 1 ? scores[i * k + 1] : 0,
    group: labels[i],
    document: document.id,
    chunk: chunk.id,
    title: document.title,
    text: chunk.text.slice(0, TEXT_MAX),
    fields: Object.fromEntries(
      [
        ["document_type", document.document_type],
        ["tags", document.tags],
        ...Object.entries(document.metadata ?? {}).map(([key, value]) => [`metadata.${key}`, value]),
      ]
        .map(([key, value]) => [
          key,
          value === undefined || value === null || value.length === 0 ? null : asGroup(value),
        ])
        .filter(([, value]) => value !== null),
    ),
  }));
  return { points, words, shares: shares.slice(0, 2), seen, whole, num_documents, num_chunks };
}

onmessage = async ({ data }) => {
  try {
    postMessage({ result: await layOut(data.library) });
  } catch (error) {
    postMessage({ trouble: inWords(error) });
  }
};
