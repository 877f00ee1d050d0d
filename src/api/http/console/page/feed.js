// The live feed: its wish (library, types, filter, where to begin), its state, and the newest events.

import { Fault, ask, inWords } from "./client.js";
import { announce, count, field, fill, fillKeyed, h, plural, throttled, time, trouble } from "./dom.js";
import { openDocument } from "./document.js";
import { follower } from "./follower.js";
import { libraryPicker } from "./pick.js";
import { pulse } from "./pulse.js";

export const TYPES = [
  "library.created",
  "library.updated",
  "library.deleted",
  "document.added",
  "document.updated",
  "document.deleted",
  "chunk.added",
  "chunk.deleted",
  "batch.started",
  "batch.completed",
  "batch.failed",
  "index.rebuilt",
  "index.optimized",
];
/** Events that are drawn; of more, the newest. */
const ROWS_MAX = 300;
/** A feed that is further behind than this says so. */
const CATCHING_UP_CHANGES = 500;
/** Changes of the past that a first look at the feed shows. */
const RECENT_CHANGES = 200;

const STATES = {
  idle: "Not started",
  connecting: "Connecting",
  live: "Live",
  paused: "Paused",
  away: "Resting",
  waiting: "Waiting for the server",
  refused: "Refused",
};

let choice = { start: "recent", place: "" };

/** Where to begin, as the server understands it. */
async function startOf({ start, place }) {
  if (start === "time") {
    const moment = new Date(place);
    if (Number.isNaN(moment.getTime())) throw new Fault("invalid-argument", "the time to begin at is not one");
    return `time:${moment.toISOString()}`;
  }
  if (start === "cursor") return place.trim();
  if (start !== "recent") return start;
  const { tail_revision, floor_revision } = await ask("GET", "/v1/events/statistics");
  const from = BigInt(tail_revision) - BigInt(RECENT_CHANGES);
  return from < BigInt(floor_revision) ? "begin" : `revision:${from}`;
}

/** Follows from the first moment on, whatever view is shown. */
export async function startFeed() {
  try {
    follower.follow({ ...follower.wish, start: await startOf(choice) });
  } catch {
    // The server is not there yet: from its first answer on, then.
    follower.follow({ ...follower.wish, start: "now" });
  }
}

/** What an event is about, in a line. */
function gist(event) {
  switch (event.type.split(".")[0]) {
    case "library":
      return event.previous_name && event.previous_name !== event.name
        ? `${event.previous_name} → ${event.name}`
        : event.name;
    case "document":
      return `${event.title || event.document_id}  (${plural(event.num_chunks, "chunk")})`;
    case "chunk":
      return `${event.title || event.document_id}, chunk ${event.index}`;
    case "batch":
      if (event.total_processed === undefined) return "an ingest stream began";
      return (
        `${count(event.total_succeeded)} of ${count(event.total_processed)} succeeded` +
        (event.total_failed > 0 ? `, ${count(event.total_failed)} failed` : "") +
        (event.reason ? ` (${event.reason})` : "")
      );
    case "index":
      return event.segments_after === undefined
        ? `as ${event.index_type}`
        : `${event.segments_before} → ${event.segments_after} segments`;
    default:
      return "";
  }
}

/** A library's name; the beginning of its id, which `nameLibraries` looks up again, while it is not known. */
function where({ library_id }) {
  const name = pulse.library(library_id)?.name;
  if (name !== undefined) return h("span", { class: "where" }, name);
  return h("span", { class: "where", dataset: { library: library_id } }, `${library_id.slice(0, 8)}…`);
}

/** Events may be there before the libraries are. */
function nameLibraries(list) {
  for (const place of list.querySelectorAll(".where[data-library]")) {
    const name = pulse.library(place.dataset.library)?.name;
    if (name === undefined) continue;
    place.textContent = name;
    delete place.dataset.library;
  }
}

function row(event) {
  const summary = h(
    "summary",
    {},
    time(event.timestamp),
    h("span", { class: "type", dataset: { kind: event.type.split(".")[1] } }, event.type),
    h("span", { class: "gist" }, gist(event)),
    where(event),
  );
  const details = h(
    "details",
    {
      dataset: { id: event.id },
      ontoggle: () => {
        if (!details.open || details.children.length > 1) return;
        const there = event.document_id !== undefined && event.type !== "document.deleted";
        details.append(
          h("pre", { tabindex: "0", "aria-label": "The event as JSON" }, JSON.stringify(event, null, 2)),
          h(
            "p",
            { class: "actions" },
            there &&
              h(
                "button",
                { type: "button", class: "small", onclick: () => openDocument(event.library_id, event.document_id) },
                "Read the document",
              ),
            h(
              "button",
              { type: "button", class: "small", onclick: () => beginAt("cursor", event.id) },
              "Begin the feed behind this event",
            ),
          ),
        );
      },
    },
    summary,
  );
  return h("li", {}, details);
}

/** Begins elsewhere with the same filters, and draws the view anew so that its form says the same. */
function beginAt(start, place = "") {
  choice = { start, place };
  follower.follow({ ...follower.wish, start: place || start });
  dispatchEvent(new Event("hashchange"));
}

/** The view. */
export function feed(root) {
  const { wish } = follower;
  const picker = libraryPicker({ wanted: wish.library, all: "All libraries" });
  const boxes = TYPES.map((type) =>
    h("input", { type: "checkbox", name: "type", value: type, checked: wish.types.includes(type) }),
  );
  const typesName = h("summary", {}, "");
  const showTypes = () => {
    const chosen = boxes.filter((box) => box.checked).length;
    typesName.textContent = chosen === 0 ? "All types" : plural(chosen, "type");
  };
  const menu = h(
    "details",
    { class: "menu" },
    typesName,
    h(
      "div",
      { class: "menu-body", role: "group", "aria-label": "Event types" },
      boxes.map((box) => h("label", {}, box, ` ${box.value}`)),
    ),
  );
  menu.addEventListener("change", showTypes);
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    typesName.focus();
  });
  const closeMenu = (event) => !menu.contains(event.target) && (menu.open = false);
  document.addEventListener("click", closeMenu);
  const filter = h("input", {
    type: "text",
    class: "code",
    value: wish.filter,
    spellcheck: "false",
    autocomplete: "off",
    placeholder: 'such as  document.metadata.kind == "animal"',
  });
  const start = h(
    "select",
    { onchange: showPlace },
    [
      ["recent", `The last ${RECENT_CHANGES} changes`],
      ["begin", "The oldest that is kept"],
      ["now", "Now"],
      ["time", "A time"],
      ["cursor", "A cursor"],
    ].map(([value, name]) => h("option", { value }, name)),
  );
  start.value = choice.start;
  const place = h("input", { value: choice.place });
  const placeField = field("Where", place);
  function showPlace() {
    placeField.hidden = !["time", "cursor"].includes(start.value);
    place.type = start.value === "time" ? "datetime-local" : "text";
  }
  const apply = async (event) => {
    event.preventDefault();
    choice = { start: start.value, place: place.value };
    menu.open = false;
    try {
      follower.follow({
        library: picker.value(),
        types: boxes.filter((box) => box.checked).map((box) => box.value),
        filter: filter.value.trim(),
        start: await startOf(choice),
      });
    } catch (error) {
      fill(problem, trouble(inWords(error)));
    }
  };
  const form = h(
    "form",
    { class: "controls", onsubmit: apply },
    field("Library", picker.select),
    h("div", { class: "field" }, h("span", { class: "label" }, "Types"), menu),
    h("label", { class: "field grow" }, h("span", { class: "label" }, "Filter"), filter),
    field("Begin at", start),
    placeField,
    h("button", { type: "submit" }, "Apply"),
  );
  const state = h("p", { class: "state", role: "status" });
  const figures = h("p", { class: "figures" });
  const toggle = h("button", {
    type: "button",
    class: "primary",
    onclick: () => (follower.state === "paused" ? follower.resume() : follower.pause()),
  });
  const clear = h("button", { type: "button", onclick: () => follower.clear() }, "Clear the list");
  const problem = h("div", {});
  const list = h("ol", { class: "events", "aria-label": "Events, newest first" });
  const empty = h("div", { class: "empty" });
  fill(
    root,
    h("h1", {}, "Feed"),
    form,
    problem,
    h("div", { class: "strip" }, h("div", {}, state, figures), h("div", { class: "actions" }, toggle, clear)),
    list,
    empty,
  );
  showTypes();
  showPlace();

  let shownState = null;
  let pausedTail = null;
  const draw = () => {
    if (shownState !== follower.state || follower.state === "refused") {
      shownState = follower.state;
      root.dataset.feed = shownState;
      state.textContent = STATES[shownState];
      toggle.textContent = shownState === "paused" ? "Resume" : "Pause";
      toggle.disabled = shownState === "refused";
      // Of the two that are known to lie behind the pause, the nearer.
      pausedTail =
        shownState === "paused" ? Math.max(follower.revision, pulse.metrics.get("arrwdb_tail_revision") ?? 0) : null;
      if (shownState === "paused") announce("Paused. Nothing is lost: resuming goes on behind the last event.");
      fill(problem, shownState === "refused" ? refusal(follower.fault) : []);
    }
    const since =
      pausedTail === null
        ? ""
        : `${plural(Math.max(0, pulse.metrics.get("arrwdb_tail_revision") - pausedTail), "change")} since · `;
    // Filters let through too little to tell how far a reader is.
    const { library, types, filter } = follower.wish;
    const behind =
      shownState === "live" && follower.revision > 0 && !library && !filter && types.length === 0
        ? pulse.metrics.get("arrwdb_tail_revision") - follower.revision
        : 0;
    const toGo = behind > CATCHING_UP_CHANGES ? `catching up, ${plural(behind, "change")} to go · ` : "";
    fill(
      figures,
      since,
      toGo,
      `${plural(follower.received, "event")} received`,
      follower.received > ROWS_MAX ? `, the newest ${Math.min(ROWS_MAX, follower.events.length)} shown` : "",
      follower.cursor ? [" · at ", h("code", { class: "cursor" }, follower.cursor)] : [],
    );
    drawRows();
  };
  const drawRows = () => {
    const wanted = follower.events.slice(0, ROWS_MAX);
    fillKeyed(list, wanted, (event) => event.id, row);
    nameLibraries(list);
    list.hidden = wanted.length === 0;
    // Before the first answer nobody knows whether there is anything.
    empty.hidden = wanted.length > 0 || follower.state === "refused" || follower.cursor === null;
    if (!empty.hidden && empty.children.length === 0) {
      fill(
        empty,
        h("h2", {}, "Nothing has happened here yet"),
        h(
          "p",
          {},
          "Every change shows here the moment it is durable. ",
          h("a", { href: "#/ingest" }, "Ingest something"),
          ", or widen the filters above.",
        ),
      );
    }
  };
  const refusal = (fault) =>
    trouble(
      inWords(fault),
      ["cursor-expired", "cursor-unknown"].includes(fault.slug) &&
        h(
          "p",
          { class: "actions" },
          h("button", { type: "button", class: "small", onclick: () => beginAt("begin") }, "From the oldest"),
          h("button", { type: "button", class: "small", onclick: () => beginAt("now") }, "From now"),
        ),
    );
  const soon = throttled(draw, 150);
  follower.addEventListener("change", soon);
  pulse.addEventListener("beat", soon);
  draw();
  return () => {
    soon.cancel();
    picker.leave();
    document.removeEventListener("click", closeMenu);
    follower.removeEventListener("change", soon);
    pulse.removeEventListener("beat", soon);
  };
}
