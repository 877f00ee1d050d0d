// Ingest: drop files or paste, and see what becomes of each document while they go in.

import { inWords } from "./client.js";
import { announce, bytes, command, count, field, fill, fillKeyed, h, plural, throttled, trouble } from "./dom.js";
import { openDocument } from "./document.js";
import { libraryPicker, noLibrary } from "./pick.js";
import { onBeat, pulse } from "./pulse.js";
import { Upload } from "./upload.js";

/** Uploads that are remembered. */
const UPLOADS_MAX = 100;

/** All uploads, newest first; they go on when the view is left. One at a time is sent. */
const uploads = [];
const events = new EventTarget();
let running = false;

function add(library, onConflict, files) {
  for (const { name, blob } of files) {
    const upload = new Upload(library, onConflict, name, blob);
    upload.addEventListener("change", () => events.dispatchEvent(new Event("change")));
    uploads.unshift(upload);
  }
  while (uploads.length > UPLOADS_MAX && uploads.at(-1).isOver) uploads.pop();
  events.dispatchEvent(new Event("change"));
  work();
}

async function work() {
  if (running) return;
  running = true;
  document.body.dataset.busy = "true";
  for (;;) {
    const next = uploads.findLast((upload) => upload.state === "waiting");
    if (!next) break;
    await next.run();
    announce(
      `${next.name || "The pasted text"}: ${plural(next.counts.completed, "document")} in, ${count(next.counts.failed)} failed.`,
    );
    pulse.refresh();
  }
  running = false;
  delete document.body.dataset.busy;
}

const STATES = {
  waiting: "Waiting for its turn",
  sending: "Going in",
  retrying: "Waiting for the server",
  done: "Done",
  stopped: "Stopped",
  broken: "Broken off",
};

function card() {
  const name = h("h3", {});
  const state = h("span", { class: "badge" });
  const progress = h("progress", { max: "1", "aria-label": "Done of the file" });
  const figures = h("p", { class: "figures" });
  const stop = h("button", { type: "button", class: "small" }, "Stop");
  const problem = h("div", {});
  const rows = h("ol", { class: "statuses", "aria-label": "Documents, newest first" });
  const failuresName = h("summary", {});
  const failuresList = h("ol", { class: "statuses" });
  const failures = h("details", { class: "failures" }, failuresName, failuresList);
  const element = h(
    "li",
    { class: "upload" },
    h("header", {}, name, state, stop),
    progress,
    figures,
    problem,
    failures,
    rows,
  );
  let problemOf = null;
  const draw = (upload) => {
    name.textContent = upload.name || "Pasted text";
    state.textContent = STATES[upload.state];
    element.dataset.state = upload.state;
    stop.hidden = upload.isOver;
    stop.onclick = () => upload.stop();
    progress.value = upload.state === "done" ? 1 : Math.min(0.99, upload.done_bytes / Math.max(1, upload.blob.size));
    const seconds = ((upload.ended || performance.now()) - upload.began) / 1_000;
    const { completed, skipped, failed, chunks } = upload.counts;
    figures.textContent =
      upload.began === 0
        ? bytes(upload.blob.size)
        : [
            `${plural(completed, "document")} in (${plural(chunks, "chunk")})`,
            skipped > 0 && `${count(skipped)} skipped`,
            `${count(failed)} failed`,
            upload.going.size > 0 && `${count(upload.going.size)} going in`,
            bytes(upload.blob.size),
            seconds > 0.2 && `${count(upload.total / seconds)} documents/s`,
          ]
            .filter(Boolean)
            .join(" · ");
    const shown = upload.fault ?? upload.remark;
    if (shown !== problemOf) {
      problemOf = shown;
      if (upload.fault) {
        const words = inWords(upload.fault);
        const next =
          upload.state === "retrying"
            ? "Sending goes on by itself behind the last document that was acknowledged."
            : `${words.next} What was acknowledged is in.`;
        fill(problem, trouble({ what: words.what, next }));
      } else fill(problem, upload.remark && h("p", { class: "notice warn" }, upload.remark));
    }
    failures.hidden = upload.failures.length === 0;
    failuresName.textContent = plural(failed, "failure");
    if (failuresList.children.length !== upload.failures.length) {
      failuresList.append(...upload.failures.slice(failuresList.children.length).map((row) => statusRow(upload, row)));
    }
    fillKeyed(
      rows,
      upload.rows,
      (row) => row.line,
      (row) => statusRow(upload, row),
    );
  };
  return { element, draw };
}

function statusRow(upload, row) {
  const title = row.title || row.id || "untitled";
  const there = row.status === "completed" || row.status === "skipped";
  return h(
    "li",
    { dataset: { status: row.status } },
    h("span", { class: "line" }, count(row.line)),
    there
      ? h("button", { type: "button", class: "link", onclick: () => openDocument(upload.library, row.id) }, title)
      : h("span", {}, title),
    h(
      "span",
      { class: "outcome" },
      row.status === "completed" ? plural(row.num_chunks, "chunk") : row.status === "failed" ? row.detail : "was there",
    ),
  );
}

/** The view. */
export function ingest(root, about) {
  const picker = libraryPicker({ wanted: about });
  const conflict = h(
    "select",
    {},
    [
      ["replace", "Replace it"],
      ["skip", "Leave it as it is"],
      ["fail", "Fail"],
    ].map(([value, name]) => h("option", { value }, name)),
  );
  const input = h("input", {
    type: "file",
    multiple: true,
    class: "visually-hidden",
    id: "files",
    accept: ".ndjson,.jsonl,.json,.txt,.text,.md,.markdown",
    onchange: () => (take([...input.files]), (input.value = "")),
  });
  const drop = h(
    "div",
    { class: "drop" },
    input,
    h("p", {}, h("label", { for: "files", class: "button primary" }, "Choose files"), " or drop them here"),
    h(
      "p",
      { class: "quiet-text" },
      "NDJSON: a document a line. Text and Markdown: a document a file, split into chunks by the server.",
    ),
  );
  const paste = h("textarea", {
    rows: "5",
    spellcheck: "false",
    class: "code",
    placeholder:
      '{"title": "Heron", "texts": ["A grey bird.", "It eats fish."]}\n{"title": "Anvil", "text": "A block of iron."}',
  });
  const send = h("button", { type: "submit", class: "primary" }, "Ingest the text");
  const problem = h("div", {});
  const list = h("ol", { class: "uploads", "aria-label": "Uploads, newest first" });
  const hint = h(
    "div",
    { class: "empty" },
    h("h2", {}, "Nothing has gone in from here yet"),
    h("p", {}, "Drop a file, paste some lines, or stream from a terminal; it shows in the feed either way:"),
  );
  const main = h(
    "div",
    {},
    h("div", { class: "controls" }, field("Library", picker.select), field("If a document is there", conflict)),
    h(
      "div",
      { class: "two" },
      drop,
      h(
        "form",
        {
          class: "stack",
          onsubmit: (event) => {
            event.preventDefault();
            if (paste.value.trim() === "") return paste.focus();
            add(picker.value(), conflict.value, [{ name: "", blob: new Blob([paste.value]) }]);
            paste.value = "";
          },
        },
        field("Paste NDJSON, text or Markdown", paste),
        h("p", { class: "actions" }, send),
      ),
    ),
    problem,
    list,
    hint,
  );
  const none = noLibrary();
  fill(root, h("h1", {}, "Ingest"), none, main);

  function take(files) {
    const unknown = files.filter((file) => !/\.(ndjson|jsonl|json|txt|text|md|markdown)$/i.test(file.name));
    fill(
      problem,
      unknown.length > 0 &&
        trouble({
          what: `Not taken: ${unknown.map((file) => file.name).join(", ")}.`,
          next: "Give NDJSON (.ndjson, .jsonl), text (.txt) or Markdown (.md).",
        }),
    );
    const known = files.filter((file) => !unknown.includes(file));
    if (known.length > 0)
      add(
        picker.value(),
        conflict.value,
        known.map((file) => ({ name: file.name, blob: file })),
      );
  }
  // Anywhere in the view: a file that misses would open in place of the console.
  const over = (event) => {
    event.preventDefault();
    drop.dataset.over = "true";
  };
  const out = () => delete drop.dataset.over;
  const dropped = (event) => {
    event.preventDefault();
    out();
    take([...event.dataTransfer.files]);
  };
  for (const [type, listener] of [
    ["dragover", over],
    ["dragleave", out],
    ["drop", dropped],
  ])
    document.addEventListener(type, listener);

  const cards = new Map();
  const draw = () => {
    for (const [upload, shown] of cards) {
      if (!uploads.includes(upload)) {
        shown.element.remove();
        cards.delete(upload);
      }
    }
    uploads.forEach((upload, i) => {
      let shown = cards.get(upload);
      if (!shown) {
        shown = card();
        cards.set(upload, shown);
        list.insertBefore(shown.element, list.children[i] ?? null);
      } else if (upload.isOver && shown.over) return;
      shown.over = upload.isOver;
      shown.draw(upload);
    });
    list.hidden = uploads.length === 0;
    hint.hidden = uploads.length > 0;
  };
  const soon = throttled(draw, 150);
  events.addEventListener("change", soon);
  draw();
  let named = null;
  const leave = onBeat(() => {
    const empty = pulse.libraries?.length === 0 && picker.value() === "";
    none.hidden = !empty;
    main.hidden = empty;
    const name = picker.value();
    send.disabled = input.disabled = name === "";
    if (name === named) return;
    named = name;
    hint.querySelector(".command")?.remove();
    hint.append(
      command(
        `curl -s -T documents.ndjson -X POST ${location.origin}/v1/libraries/${encodeURIComponent(name || "notes")}/documents/stream`,
      ),
    );
  });
  return () => {
    soon.cancel();
    picker.leave();
    leave();
    events.removeEventListener("change", soon);
    for (const [type, listener] of [
      ["dragover", over],
      ["dragleave", out],
      ["drop", dropped],
    ])
      document.removeEventListener(type, listener);
  };
}
