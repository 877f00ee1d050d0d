// The libraries at a glance, and making one.

import { ask, inWords } from "./client.js";
import {
  announce,
  bytes,
  command,
  compact,
  count,
  field,
  fill,
  h,
  openDialog,
  plural,
  time,
  trouble,
  momentOf,
} from "./dom.js";
import { onBeat, pulse } from "./pulse.js";

/** The address of a library's own view. */
export const libraryLink = (library) => `#/library/${encodeURIComponent(library.name)}`;

/** Asks for a new library, and goes there. */
function create() {
  const dialog = openDialog("A new library");
  const name = h("input", { required: true, maxlength: "128", autocomplete: "off" });
  const description = h("input", { autocomplete: "off" });
  const metric = h(
    "select",
    {},
    ["cosine", "dot", "l2"].map((value) => h("option", { value }, value)),
  );
  const embedder = h(
    "select",
    { onchange: showDimension },
    h("option", { value: "default" }, "The server's model, from text"),
    h("option", { value: "none" }, "None: documents bring their vectors"),
  );
  const dimension = h("input", { type: "number", min: "1", inputmode: "numeric" });
  const dimensionField = field("Dimension", dimension, "The length of the vectors that will come");
  function showDimension() {
    dimensionField.hidden = embedder.value !== "none";
    dimension.required = !dimensionField.hidden;
  }
  const problem = h("div", {});
  const submit = async (event) => {
    event.preventDefault();
    const body = { name: name.value, description: description.value, metric: metric.value, embedder: embedder.value };
    if (embedder.value === "none") body.dimension = Number(dimension.value);
    try {
      const library = await ask("POST", "/v1/libraries", { body });
      await pulse.refresh();
      dialog.close();
      announce(`${library.name} is made.`);
      location.hash = libraryLink(library);
    } catch (error) {
      fill(problem, trouble(inWords(error)));
    }
  };
  fill(
    dialog.body,
    h(
      "form",
      { class: "stack", onsubmit: submit },
      field("Name", name),
      field("Description", description),
      field("Vectors", embedder),
      dimensionField,
      field("Metric", metric, "How near two vectors are; it stays as it is"),
      problem,
      h("p", { class: "actions" }, h("button", { class: "primary", type: "submit" }, "Make it")),
    ),
  );
  showDimension();
  name.focus();
}

function table(list) {
  const cells = (library) => [
    h(
      "th",
      { scope: "row" },
      h("a", { href: libraryLink(library) }, library.name),
      library.description && h("span", { class: "quiet-text" }, library.description),
    ),
    h("td", { class: "number", "data-label": "Documents" }, count(library.num_documents)),
    h("td", { class: "number", "data-label": "Chunks" }, count(library.num_chunks)),
    h("td", { "data-label": "Vectors" }, `${library.dimension}, ${library.metric}`),
    h("td", { "data-label": "Embedder" }, library.embedder.id),
    h("td", { "data-label": "Made" }, time(library.created_at, momentOf)),
  ];
  const names = ["Library", "Documents", "Chunks", "Vectors", "Embedder", "Made"];
  return h(
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
          names.map((name, i) => h("th", { scope: "col", class: [1, 2].includes(i) ? "number" : "" }, name)),
        ),
      ),
      h(
        "tbody",
        {},
        list.map((library) => h("tr", {}, cells(library))),
      ),
    ),
  );
}

const figure = (label, value, hint) =>
  h("div", { class: "figure" }, h("dt", {}, label), h("dd", {}, value), hint && h("p", { class: "quiet-text" }, hint));

/** The view. */
export function libraries(root) {
  const body = h("div", {});
  const totals = h("dl", { class: "totals" });
  fill(
    root,
    h(
      "header",
      { class: "title" },
      h("h1", {}, "Libraries"),
      h("button", { type: "button", class: "primary", onclick: create }, "New library"),
    ),
    totals,
    body,
  );
  let drawn = null;
  let totalsDrawn = null;
  return onBeat(() => {
    const list = pulse.libraries;
    if (list === null) {
      if (drawn === null) fill(body, h("p", { class: "quiet-text" }, "Asking the server…"));
      return;
    }
    const sum = (name) => list.reduce((total, library) => total + library[name], 0);
    const known = [
      list.length,
      sum("num_documents"),
      sum("num_chunks"),
      pulse.metrics.get("arrwdb_log_bytes") ?? 0,
      pulse.metrics.get("arrwdb_subscribers") ?? 0,
    ];
    const totalsKey = JSON.stringify(known);
    if (totalsKey !== totalsDrawn) {
      totalsDrawn = totalsKey;
      const [n, documents, chunks, log, subscribers] = known;
      fill(
        totals,
        figure("Libraries", count(n) + (pulse.more ? "+" : "")),
        figure("Documents", compact(documents)),
        figure("Chunks", compact(chunks)),
        figure("Log", bytes(log)),
        figure("Subscribers", count(subscribers)),
      );
    }
    const key = JSON.stringify(list);
    if (key === drawn) return;
    // Not under the fingers of somebody who is about to follow a link.
    const held = body.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    drawn = key;
    if (list.length === 0) fill(body, newcomer());
    else
      fill(
        body,
        table(list),
        pulse.more &&
          h(
            "p",
            { class: "quiet-text" },
            `The first ${plural(list.length, "library", "libraries")}; the server has more.`,
          ),
      );
    if (held) [...body.querySelectorAll("a")].find((link) => link.getAttribute("href") === held)?.focus();
  });
}

function newcomer() {
  return h(
    "div",
    { class: "empty" },
    h("h2", {}, "Begin with a library"),
    h(
      "p",
      {},
      "A library holds documents that can be searched by meaning. The built-in model embeds text; or bring vectors of your own.",
    ),
    h("p", {}, h("button", { type: "button", class: "primary", onclick: create }, "Make the first library")),
    h("p", {}, "Or from a terminal, with two documents in it:"),
    command(`curl -s ${location.origin}/v1/libraries -H 'content-type: application/json' -d '{"name": "notes"}'
printf '%s\\n' '{"title": "Heron", "text": "A grey bird that stands in shallow water."}' \\
  '{"title": "Anvil", "text": "A block of iron on which a smith shapes hot metal."}' \\
| curl -s -T - -X POST ${location.origin}/v1/libraries/notes/documents/stream`),
  );
}
