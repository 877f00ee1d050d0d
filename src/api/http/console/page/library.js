// One library: its figures, how its index is laid out, its documents, and its end.

import { ask, inWords, libraryPath } from "./client.js";
import {
  announce,
  bytes,
  command,
  count,
  fill,
  h,
  openDialog,
  plural,
  throttled,
  time,
  trouble,
  momentOf,
} from "./dom.js";
import { openDocument } from "./document.js";
import { onBeat, pulse } from "./pulse.js";

/** Documents a page. */
const PAGE = 25;

/** Segments that are listed: the largest. */
const SEGMENTS_MAX = 50;

/** Whether the server has the path of an index's layout; known after it was asked once. */
let hasLayout = null;

/** The layout of an index, or `null` where the server does not tell it. */
async function layoutOf(name, signal) {
  if (hasLayout === false) return null;
  try {
    const layout = await ask("GET", libraryPath(name, "/index"), { signal });
    hasLayout = true;
    return layout;
  } catch (error) {
    // The library is there, so it is the path that is not.
    if (error.slug === "not-found" || error.slug === "unimplemented") hasLayout = false;
    else throw error;
    return null;
  }
}

const figure = (label, value) => h("div", { class: "figure" }, h("dt", {}, label), h("dd", {}, value));

/** A share as a bar that is also read as text. */
function share(part, whole, text) {
  const bar = h("span", { class: "share-bar", "aria-hidden": "true" });
  bar.style.setProperty("--share", `${whole > 0 ? Math.min(100, (100 * part) / whole) : 0}%`);
  return h("span", { class: "share" }, bar, h("span", {}, text));
}

/** The segments of an index, and how far a build is; nothing of a server that does not tell. */
function layoutTable(layout) {
  if (layout === null) return null;
  const { segments, building } = layout;
  const largest = Math.max(1, ...segments.map((segment) => segment.num_rows));
  const shown = [...segments].sort((a, b) => b.num_rows - a.num_rows).slice(0, SEGMENTS_MAX);
  const names = ["Kind", "Rows", "Tombstones", "Memory"];
  return [
    building &&
      h(
        "p",
        { class: "building" },
        share(
          building.num_rows_done,
          building.num_rows,
          `A graph is being built: ${count(building.num_rows_done)} of ${plural(building.num_rows, "row")}`,
        ),
      ),
    shown.length > 0 &&
      h(
        "div",
        { class: "table-box" },
        h(
          "table",
          { class: "cards" },
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              names.map((name, i) => h("th", { scope: "col", class: i > 1 ? "number" : "" }, name)),
            ),
          ),
          h(
            "tbody",
            {},
            shown.map((segment) =>
              h(
                "tr",
                {},
                h("th", { scope: "row" }, segment.has_graph ? "Graph" : "Flat"),
                h("td", { "data-label": "Rows" }, share(segment.num_rows, largest, count(segment.num_rows))),
                h("td", { class: "number", "data-label": "Tombstones" }, count(segment.num_tombstones)),
                h("td", { class: "number", "data-label": "Memory" }, bytes(segment.index_bytes)),
              ),
            ),
          ),
        ),
      ),
    segments.length > shown.length &&
      h("p", { class: "quiet-text" }, `The ${shown.length} largest of ${count(segments.length)}.`),
  ];
}

function drawIndex(root, statistics, layout) {
  const rows = statistics.num_chunks + statistics.num_tombstones;
  fill(
    root,
    h("h2", {}, "Index"),
    h(
      "dl",
      { class: "totals" },
      figure("Segments", count(statistics.num_segments)),
      figure("Rows", count(rows)),
      figure(
        "Tombstones",
        rows === 0
          ? "0"
          : `${count(statistics.num_tombstones)} (${((100 * statistics.num_tombstones) / rows).toFixed(1)} %)`,
      ),
      figure("Memory", bytes(statistics.index_bytes)),
      figure("Revision", statistics.revision),
    ),
    layoutTable(layout),
  );
}

function confirmDelete(library) {
  const dialog = openDialog(`Delete ${library.name}?`);
  const name = h("input", {
    autocomplete: "off",
    "aria-label": "The library's name",
    oninput: () => (go.disabled = name.value !== library.name),
  });
  const go = h("button", { type: "submit", class: "danger", disabled: true }, "Delete it for good");
  const problem = h("div", {});
  const submit = async (event) => {
    event.preventDefault();
    try {
      await ask("DELETE", libraryPath(library.id));
      await pulse.refresh();
      dialog.close();
      announce(`${library.name} is deleted.`);
      location.hash = "#/libraries";
    } catch (error) {
      fill(problem, trouble(inWords(error)));
    }
  };
  fill(
    dialog.body,
    h(
      "form",
      { class: "stack", onsubmit: submit },
      h(
        "p",
        {},
        `${plural(library.num_documents, "document")} and ${plural(library.num_chunks, "chunk")} go with it, and do not come back. Write its name to go on:`,
      ),
      name,
      problem,
      h("p", { class: "actions" }, go, h("button", { type: "button", onclick: () => dialog.close() }, "Keep it")),
    ),
  );
  name.focus();
}

/** The list of a library's documents, a page at a time. */
function documentList(root, name) {
  const list = h("ul", { class: "documents" });
  const more = h("button", { type: "button", class: "small", onclick: () => next() }, "More");
  const problem = h("div", {});
  let token = "";
  fill(root, h("h2", {}, "Documents"), list, problem, h("p", { class: "actions" }, more));
  const next = async () => {
    more.disabled = true;
    try {
      const query = new URLSearchParams({ page_size: PAGE, ...(token && { page_token: token }) });
      const page = await ask("GET", libraryPath(name, `/documents?${query}`));
      token = page.next_page_token;
      list.append(
        ...page.documents.map((document) =>
          h(
            "li",
            {},
            h(
              "button",
              { type: "button", class: "link", onclick: () => openDocument(name, document.id) },
              document.title || document.id,
            ),
            h("span", { class: "quiet-text" }, plural(document.num_chunks, "chunk")),
            time(document.updated_at, momentOf),
          ),
        ),
      );
      root.hidden = list.children.length === 0;
      fill(problem);
    } catch (error) {
      fill(problem, trouble(inWords(error)));
    }
    more.disabled = false;
    more.hidden = token === "";
  };
  next();
}

/** The view of the library with this name. */
export function library(root, name) {
  const facts = h("p", { class: "facts" });
  const index = h("section", { class: "index" });
  const documents = h("section", { hidden: true });
  const terminal = h(
    "section",
    {},
    h("h2", {}, "From a terminal"),
    command(`curl -s -T documents.ndjson -X POST ${location.origin}${libraryPath(name, "/documents/stream")}`),
    command(`curl -sN -X POST '${location.origin}${libraryPath(name, "/search/stream")}?query=what+you+look+for&k=5'`),
  );
  const problem = h("div", {});
  const ways = ["ingest", "search", "map"].map((view) =>
    h(
      "a",
      { class: "button", href: `#/${view}/${encodeURIComponent(name)}` },
      { ingest: "Ingest", search: "Search", map: "Map" }[view],
    ),
  );
  const remove = h("button", { type: "button", class: "danger", disabled: true }, "Delete");
  fill(
    root,
    h("p", { class: "crumb" }, h("a", { href: "#/libraries" }, "← Libraries")),
    h("header", { class: "title" }, h("h1", {}, name), h("p", { class: "actions" }, ways, remove)),
    facts,
    problem,
    index,
    documents,
    terminal,
  );
  const stop = new AbortController();
  let seen = null;
  let busy = false;
  const read = async () => {
    if (busy) return;
    busy = true;
    try {
      const statistics = await ask("GET", libraryPath(name, "/statistics"), { signal: stop.signal });
      drawIndex(index, statistics, await layoutOf(name, stop.signal));
      fill(problem);
    } catch (error) {
      if (stop.signal.aborted) return;
      fill(problem, trouble(inWords(error)));
    } finally {
      busy = false;
    }
  };
  const soon = throttled(read, 1_000);
  const leave = onBeat(() => {
    const known = pulse.libraries?.find((library) => library.name === name);
    // An index changes while nothing is written, too: while it is built.
    if (pulse.up) soon();
    const key = JSON.stringify(known);
    if (known === undefined || key === seen) return;
    seen = key;
    fill(
      facts,
      known.description && [known.description, h("br")],
      `${plural(known.num_documents, "document")} · ${plural(known.num_chunks, "chunk")} · ${known.dimension} dimensions, ${known.metric} · `,
      known.embedder.id === "none" ? "brings its own vectors" : `embedded by ${known.embedder.id}`,
      ` · made ${momentOf(known.created_at)}`,
    );
    remove.disabled = false;
    remove.onclick = () => confirmDelete(known);
  });
  documentList(documents, name);
  return () => {
    stop.abort();
    soon.cancel();
    leave();
  };
}
