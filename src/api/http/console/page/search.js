// Search as you type: each change of the question ends the request before it; hits are shown as they stream in.

import { faultOf, inWords, isAbort, libraryPath, linesOf, open } from "./client.js";
import { announce, count, duration, field, fill, h, plural, throttled, trouble } from "./dom.js";
import { metadataList, openDocument } from "./document.js";
import { libraryPicker, noLibrary } from "./pick.js";
import { onBeat, pulse } from "./pulse.js";

/** After the last key. */
const PAUSE_ms = 150;
/** Hits that are drawn; of more, the first. */
const DRAWN_MAX = 500;

/** What was last asked, for when the view is left and comes back. */
const question = { query: "", filter: "", k: "10" };

function hitRow(library, hit, best) {
  const bar = h("span", { class: "score-bar", "aria-hidden": "true" });
  bar.style.setProperty("--share", `${best > 0 ? Math.max(0, (100 * hit.score) / best) : 0}%`);
  return h(
    "li",
    { class: "hit" },
    h("div", { class: "rank" }, count(hit.rank)),
    h(
      "div",
      { class: "hit-body" },
      h(
        "h3",
        {},
        h(
          "button",
          { type: "button", class: "link", onclick: () => openDocument(library, hit.document_id, hit.chunk_id) },
          hit.title || hit.document_id,
        ),
      ),
      h("p", {}, hit.text),
      metadataList(hit.metadata),
    ),
    h("div", { class: "score" }, h("span", { title: `distance ${hit.distance}` }, hit.score.toFixed(3)), bar),
  );
}

/** The view. */
export function search(root, about) {
  let timer = null;
  let stop = null;
  let searched = "";
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(run, PAUSE_ms);
  };
  const picker = libraryPicker({ wanted: about, chosen: later });
  const query = h("input", {
    type: "search",
    class: "query",
    value: question.query,
    placeholder: "What are you looking for?",
    "aria-label": "Query",
    oninput: later,
    autocomplete: "off",
  });
  const filter = h("input", {
    type: "text",
    class: "code",
    value: question.filter,
    placeholder: 'such as  document.metadata.kind == "animal"',
    spellcheck: "false",
    autocomplete: "off",
    oninput: later,
  });
  const k = h(
    "select",
    { onchange: later },
    ["10", "50", "200", "1000"].map((value) => h("option", { value }, value)),
  );
  k.value = question.k;
  const state = h("p", { class: "state", role: "status" });
  const list = h("ol", { class: "hits", "aria-label": "What was found" });
  const problem = h("div", {});
  const main = h(
    "div",
    {},
    h(
      "form",
      { class: "controls", role: "search", onsubmit: (event) => (event.preventDefault(), run()) },
      h("label", { class: "field wide" }, h("span", { class: "visually-hidden" }, "Query"), query),
      field("Library", picker.select),
      field("Hits", k),
      h("label", { class: "field grow" }, h("span", { class: "label" }, "Filter"), filter),
    ),
    problem,
    state,
    list,
  );
  const none = noLibrary();
  fill(root, h("h1", {}, "Search"), none, main);

  async function run() {
    clearTimeout(timer);
    stop?.abort();
    const asked = { query: query.value.trim(), filter: filter.value.trim(), k: k.value };
    Object.assign(question, asked, { query: query.value });
    const library = picker.value();
    searched = library;
    if (asked.query === "" || library === "") {
      fill(list);
      fill(problem);
      state.textContent = "";
      return;
    }
    const { signal } = (stop = new AbortController());
    const began = performance.now();
    let first = null;
    let best = 0;
    let waiting = [];
    let drawn = 0;
    // The former hits stay until the first of these is there: nothing flashes.
    const draw = throttled(() => {
      if (signal.aborted) return;
      const rows = waiting.slice(0, DRAWN_MAX - drawn).map((hit) => hitRow(library, hit, best));
      if (drawn === 0) fill(list, rows);
      else list.append(...rows);
      drawn += rows.length;
      waiting = [];
    }, 30);
    try {
      const body = JSON.stringify({
        query: asked.query,
        k: Number(asked.k),
        ...(asked.filter && { filter: asked.filter }),
      });
      const response = await open("POST", libraryPath(library, "/search/stream"), { body, signal });
      let end = null;
      for await (const line of linesOf(response)) {
        const said = JSON.parse(line);
        if (said.status === "error") throw faultOf(said.error);
        if (said.status === "complete") {
          end = said;
          continue;
        }
        first ??= performance.now();
        best ||= said.score;
        waiting.push(said);
        draw();
      }
      if (signal.aborted) return;
      if (end === null) throw faultOf({ type: "unavailable", detail: "the answer was cut" });
      draw.cancel();
      const done = performance.now();
      const rest = waiting.slice(0, DRAWN_MAX - drawn).map((hit) => hitRow(library, hit, best));
      if (drawn === 0) fill(list, rest);
      else list.append(...rest);
      fill(problem);
      state.dataset.query = asked.query;
      const times =
        first === null
          ? duration((done - began) / 1_000)
          : `${duration((done - began) / 1_000)}, the first after ${duration((first - began) / 1_000)}`;
      state.textContent =
        end.total_results === 0
          ? "Nothing is like that." + (asked.filter ? " Is the filter too narrow?" : " Is the library empty?")
          : `${plural(end.total_results, "hit")} in ${times}, at revision ${end.revision}` +
            (end.total_results > DRAWN_MAX ? `; the first ${DRAWN_MAX} are shown` : "");
    } catch (error) {
      draw.cancel();
      if (isAbort(error) || signal.aborted) return;
      state.textContent = "";
      fill(problem, trouble(inWords(error)));
      announce(inWords(error).what);
    }
  }
  const leave = onBeat(() => {
    const empty = pulse.libraries?.length === 0 && picker.value() === "";
    none.hidden = !empty;
    main.hidden = empty;
    if (picker.value() !== searched) run();
  });
  query.focus({ preventScroll: true });
  return () => {
    clearTimeout(timer);
    stop?.abort();
    picker.leave();
    leave();
  };
}
