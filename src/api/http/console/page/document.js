// Reading one document, in a dialog.

import { ask, documentPath, inWords } from "./client.js";
import { announce, fill, h, momentOf, openDialog, plural, trouble } from "./dom.js";
import { pulse } from "./pulse.js";

/** Chunks that are shown at once. */
const CHUNKS_MAX = 200;

/** A value of metadata, for reading. */
function written(value) {
  if (Array.isArray(value) && value.every((item) => typeof item !== "object")) return value.join(", ");
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** The metadata of a document or chunk, as a list; nothing when there is none. */
export function metadataList(metadata) {
  const entries = Object.entries(metadata ?? {}).filter(([, value]) => value !== null && value.length !== 0);
  if (entries.length === 0) return null;
  return h(
    "dl",
    { class: "metadata" },
    entries.map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, written(value)))),
  );
}

/** Opens a document; `chunk` is the id of the one that was looked for. */
export async function openDocument(library, id, chunk) {
  const dialog = openDialog("Document", { wide: true });
  fill(dialog.body, h("p", { class: "quiet-text" }, "Reading…"));
  try {
    const document = await ask("GET", documentPath(library, id));
    show(dialog, library, document, chunk);
  } catch (error) {
    fill(dialog.body, trouble(inWords(error)));
  }
}

function show(dialog, library, document, chosen) {
  dialog.heading.textContent = document.title || document.id;
  const facts = [
    ["Id", h("code", {}, document.id)],
    ["Type", document.document_type],
    ["Author", document.author],
    ["Source", document.source_url],
    ["Tags", document.tags.join(", ")],
    ["Changed", `${momentOf(document.updated_at)}, revision ${document.revision}`],
  ].filter(([, value]) => value !== "");
  const problem = h("div", {});
  const remove = h("button", { type: "button", class: "danger", onclick: ask_first }, "Delete the document");
  async function ask_first() {
    if (remove.dataset.sure === undefined) {
      remove.dataset.sure = "";
      remove.textContent = "Really delete it?";
      return;
    }
    try {
      await ask("DELETE", `${documentPath(library, document.id)}?expected_revision=${document.revision}`);
      dialog.close();
      announce("The document is deleted.");
      pulse.refresh();
    } catch (error) {
      fill(problem, trouble(inWords(error)));
    }
  }
  const { chunks } = document;
  fill(
    dialog.body,
    h(
      "dl",
      { class: "metadata" },
      facts.map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, value))),
    ),
    metadataList(document.metadata),
    h("h3", {}, plural(chunks.length, "chunk")),
    h(
      "ol",
      { class: "chunks", start: "0" },
      chunks
        .slice(0, CHUNKS_MAX)
        .map((chunk) =>
          h("li", { class: chunk.id === chosen ? "chosen" : "" }, h("p", {}, chunk.text), metadataList(chunk.metadata)),
        ),
    ),
    chunks.length > CHUNKS_MAX &&
      h("p", { class: "quiet-text" }, `and ${plural(chunks.length - CHUNKS_MAX, "more chunk")}`),
    problem,
    h("p", { class: "actions" }, remove),
  );
}
