// A map of a library: a sample of its embeddings on the two axes along which they vary most, in groups that can be
// read point by point, region by region, group by group.

import { bytes, colour, count, field, fill, h, plural, throttled, trouble } from "./dom.js";
import { openDocument } from "./document.js";
import { libraryPicker, noLibrary } from "./pick.js";
import { onBeat, pulse } from "./pulse.js";

/** Colours that can be told apart; one more group is "the rest". */
const TINTS = 8;
/** Values that a field may have to be of use in telling points apart. */
const VALUES_MAX = 60;
/** Chunks of a selection that are listed. */
const LISTED_MAX = 100;
/** How near a click must be. */
const REACH_px = 14;

/** Fields of the points by which they fall into some groups, not one and not one each. */
function usefulFields(points) {
  const values = new Map();
  for (const point of points) {
    for (const [key, value] of Object.entries(point.fields)) {
      if (!values.has(key)) values.set(key, new Set());
      const set = values.get(key);
      if (set.size <= VALUES_MAX) set.add(value);
    }
  }
  return [...values].filter(([, set]) => set.size > 1 && set.size <= VALUES_MAX).map(([key]) => key);
}

/** Groups of the points: `{name, members}`; the colour of a group is its place. */
function grouped({ points, words }, by) {
  const names = new Map();
  points.forEach((point, i) => {
    const name = by === "" ? words[point.group].join(", ") || `group ${point.group + 1}` : (point.fields[by] ?? "none");
    const key = by === "" ? point.group : name;
    if (!names.has(key)) names.set(key, { name, members: [] });
    names.get(key).members.push(i);
  });
  const all = [...names.values()].sort((a, b) => b.members.length - a.members.length);
  if (all.length <= TINTS) return all;
  const rest = all.slice(TINTS - 1);
  return [
    ...all.slice(0, TINTS - 1),
    { name: `${rest.length} others`, members: rest.flatMap(({ members }) => members), isRest: true },
  ];
}

/** The drawing: points on a canvas that can be zoomed, pointed at, and cut regions out of. */
function plot({ selected, pointed }) {
  const canvas = h("canvas", {
    tabindex: "0",
    role: "application",
    "aria-roledescription": "map",
    "aria-label":
      "Map of embeddings. Arrow keys go from point to point, Enter reads the document, plus and minus zoom, 0 shows all.",
  });
  const tip = h("p", { class: "tip", hidden: true });
  const box = h("div", { class: "region", hidden: true });
  const frame = h("div", { class: "map-frame" }, canvas, box, tip);
  let [points, tints, lit] = [[], [], null];
  let bounds = { x: 0, y: 0, width: 1, height: 1 };
  let view = bounds;
  let palette = [];
  let current = null;
  let drag = null;

  const size = () => ({ width: canvas.clientWidth, height: canvas.clientHeight });
  const onScreen = ({ x, y }) => {
    const { width, height } = size();
    return [((x - view.x) / view.width) * width, height - ((y - view.y) / view.height) * height];
  };
  const onMap = (px, py) => {
    const { width, height } = size();
    return [view.x + (px / width) * view.width, view.y + ((height - py) / height) * view.height];
  };
  const recolour = () => {
    palette = Array.from({ length: TINTS }, (_, i) => colour(`--tint-${i + 1}`));
    palette.push(colour("--quiet"), colour("--ink"));
    draw();
  };
  const draw = () => {
    const { width, height } = size();
    if (width === 0) return;
    const ratio = devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const radius =
      Math.max(2, Math.min(5, 90 / Math.sqrt(points.length + 1))) * (bounds.width / view.width > 3 ? 1.5 : 1);
    const dots = (wanted, alpha) => {
      pen.globalAlpha = alpha;
      points.forEach((point, i) => {
        if ((lit === null || lit.has(i)) !== wanted) return;
        const [x, y] = onScreen(point);
        if (x < -9 || y < -9 || x > width + 9 || y > height + 9) return;
        pen.fillStyle = palette[tints[i]];
        pen.beginPath();
        pen.arc(x, y, radius, 0, 2 * Math.PI);
        pen.fill();
      });
    };
    dots(false, 0.13);
    dots(true, 0.78);
    pen.globalAlpha = 1;
    if (current !== null) {
      const [x, y] = onScreen(points[current]);
      pen.strokeStyle = palette[TINTS + 1];
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(x, y, radius + 4, 0, 2 * Math.PI);
      pen.stroke();
    }
  };
  const nearest = (px, py, reach) => {
    let [found, least] = [null, reach];
    points.forEach((point, i) => {
      const [x, y] = onScreen(point);
      const away = Math.hypot(x - px, y - py);
      if (away < least) [found, least] = [i, away];
    });
    return found;
  };
  const point = (i) => {
    current = i;
    tip.hidden = i === null;
    if (i !== null) {
      const [x, y] = onScreen(points[i]);
      const { width } = size();
      fill(tip, h("strong", {}, points[i].title || points[i].document), " ", points[i].text.slice(0, 90));
      tip.style.left = `${Math.max(4, Math.min(x + 12, width - 264))}px`;
      tip.style.top = `${y + 12}px`;
    }
    draw();
  };
  const zoom = (factor, px = size().width / 2, py = size().height / 2) => {
    const [x, y] = onMap(px, py);
    const width = Math.min(bounds.width, Math.max(bounds.width / 200, view.width / factor));
    const height = (width * view.height) / view.width;
    const share = width / view.width;
    view = { x: x - (x - view.x) * share, y: y - (y - view.y) * share, width, height };
    if (width === bounds.width) view = bounds;
    point(null);
  };
  const all = () => {
    view = bounds;
    point(null);
  };
  const at = (event) => {
    const rect = canvas.getBoundingClientRect();
    return [event.clientX - rect.left, event.clientY - rect.top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch") return;
    drag = { from: at(event), to: at(event) };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (drag === null) return void (event.pointerType === "touch" || point(nearest(x, y, REACH_px)));
    drag.to = [x, y];
    const [fx, fy] = drag.from;
    box.hidden = Math.hypot(x - fx, y - fy) < 5;
    Object.assign(box.style, {
      left: `${Math.min(x, fx)}px`,
      top: `${Math.min(y, fy)}px`,
      width: `${Math.abs(x - fx)}px`,
      height: `${Math.abs(y - fy)}px`,
    });
  });
  canvas.addEventListener("pointerup", () => {
    if (drag === null) return;
    const { from, to } = drag;
    drag = null;
    if (box.hidden) return;
    box.hidden = true;
    canvas.dataset.dragged = "true";
    const [x1, y1] = onMap(Math.min(from[0], to[0]), Math.max(from[1], to[1]));
    const [x2, y2] = onMap(Math.max(from[0], to[0]), Math.min(from[1], to[1]));
    const inside = points.flatMap(({ x, y }, i) => (x >= x1 && x <= x2 && y >= y1 && y <= y2 ? [i] : []));
    point(null);
    selected(inside, { x: x1, y: y1, width: x2 - x1, height: y2 - y1 });
  });
  canvas.addEventListener("pointercancel", () => {
    drag = null;
    box.hidden = true;
  });
  canvas.addEventListener("click", (event) => {
    if (canvas.dataset.dragged) return void delete canvas.dataset.dragged;
    const found = nearest(...at(event), 2 * REACH_px);
    point(found);
    if (found !== null) pointed(found);
  });
  canvas.addEventListener("pointerleave", () => drag === null && point(null));
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoom(event.deltaY < 0 ? 1.25 : 0.8, ...at(event));
    },
    { passive: false },
  );
  const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (points.length === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") all();
    else if (event.key === "Enter" && current !== null) pointed(current);
    else if (KEYS[event.key]) step(...KEYS[event.key]);
    else return;
    event.preventDefault();
  });
  /** To the nearest point in a direction: how far aside it lies counts double. */
  const step = (dx, dy) => {
    const { width, height } = size();
    if (current === null) return point(nearest(width / 2, height / 2, Infinity));
    const [cx, cy] = onScreen(points[current]);
    let [found, least] = [current, Infinity];
    points.forEach((other, i) => {
      const [x, y] = onScreen(other);
      const [ahead, aside] = dx !== 0 ? [(x - cx) * dx, Math.abs(y - cy)] : [(y - cy) * dy, Math.abs(x - cx)];
      if (i === current || ahead <= 0.5 || x < 0 || y < 0 || x > width || y > height) return;
      if (ahead + 2 * aside < least) [found, least] = [i, ahead + 2 * aside];
    });
    point(found);
    canvas.setAttribute("aria-description", `${points[found].title}: ${points[found].text}`);
  };
  return {
    frame,
    canvas,
    draw,
    recolour,
    zoom,
    all,
    show(result) {
      points = result.points;
      const [xs, ys] = [points.map(({ x }) => x), points.map(({ y }) => y)];
      const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
      const [width, height] = [right - left || 1, high - low || 1];
      bounds = { x: left - width * 0.04, y: low - height * 0.05, width: width * 1.08, height: height * 1.1 };
      [view, current, lit] = [bounds, null, null];
    },
    tint(groups) {
      tints = [];
      groups.forEach(({ members, isRest }, g) => members.forEach((i) => (tints[i] = isRest ? TINTS : g)));
      recolour();
    },
    light(members) {
      lit = members === null ? null : new Set(members);
      draw();
    },
    zoomTo(region) {
      view = region.width > 0 && region.height > 0 ? region : bounds;
      point(null);
    },
    /** Where a point is on the canvas, in its pixels. */
    place: (i) => onScreen(points[i]),
  };
}

/** The view. */
export function map(root, about) {
  const picker = libraryPicker({ wanted: about, chosen: () => begin() });
  const by = h("select", { onchange: () => regroup() }, h("option", { value: "" }, "Groups found"));
  const state = h("p", { class: "state", role: "status" });
  const legend = h("ul", { class: "legend", "aria-label": "Groups" });
  const panel = h("section", { class: "panel", "aria-label": "Selection" });
  const problem = h("div", {});
  const drawing = plot({
    selected: (members, region) => select(members, "in the region", region),
    pointed: (i) => {
      select([i], "here");
      openDocument(library, result.points[i].document, result.points[i].chunk);
    },
  });
  const tools = h(
    "div",
    { class: "tools", role: "group", "aria-label": "Zoom" },
    h("button", { type: "button", "aria-label": "Nearer", onclick: () => drawing.zoom(1.5) }, "+"),
    h("button", { type: "button", "aria-label": "Farther", onclick: () => drawing.zoom(1 / 1.5) }, "−"),
    h("button", { type: "button", onclick: () => (drawing.all(), select(null)) }, "All"),
  );
  drawing.frame.append(tools);
  const work = h("div", { class: "map-work" }, h("div", {}, drawing.frame, legend), panel);
  const main = h(
    "div",
    {},
    h(
      "div",
      { class: "controls" },
      field("Library", picker.select),
      field("Colours", by),
      h("button", { type: "button", onclick: () => begin() }, "Sample again"),
    ),
    state,
    problem,
    work,
  );
  const none = noLibrary();
  fill(root, h("h1", {}, "Map"), none, main);
  let [worker, result, groups, library, begun] = [null, null, [], "", false];

  function begin() {
    worker?.terminate();
    begun = true;
    library = picker.value();
    result = null;
    work.hidden = true;
    root.dataset.map = "reading";
    fill(problem);
    if (library === "") return void (state.textContent = "");
    state.textContent = "Reading a sample…";
    worker = new Worker("/console/map-worker.js", { type: "module" });
    worker.onerror = () => failed({ what: "The map could not be drawn.", next: "Load the page again." });
    worker.onmessage = ({ data }) => {
      if (data.progress?.read)
        state.textContent = `Reading: ${plural(data.progress.seen, "document")}, ${bytes(data.progress.read)}…`;
      else if (data.progress) state.textContent = `Laying out ${plural(data.progress.points, "chunk")}…`;
      else if (data.trouble) failed(data.trouble);
      else show(data.result);
    };
    worker.postMessage({ library });
  }

  function failed(words) {
    worker?.terminate();
    root.dataset.map = "failed";
    state.textContent = "";
    fill(problem, trouble(words));
  }

  function show(drawn) {
    worker.terminate();
    if (drawn.points.length === 0) {
      root.dataset.map = "empty";
      state.textContent = "";
      return fill(
        problem,
        h(
          "div",
          { class: "empty" },
          h("h2", {}, "There is nothing to draw yet"),
          h(
            "p",
            {},
            "A point stands for a chunk. ",
            h("a", { href: `#/ingest/${encodeURIComponent(library)}` }, "Ingest documents"),
            ", then come back.",
          ),
        ),
      );
    }
    result = drawn;
    const documents = new Set(drawn.points.map((point) => point.document)).size;
    const [first, second] = drawn.shares.map((share) => `${(100 * share).toFixed(1)} %`);
    state.textContent =
      `${count(drawn.points.length)} of ${plural(drawn.num_chunks, "chunk")}, from ${count(documents)} of ${plural(drawn.num_documents, "document")}` +
      (drawn.whole ? "" : `; sampled from the first ${count(drawn.seen)} in the order of their ids`) +
      `. The axes show ${first} and ${second} of all that varies.`;
    fill(
      by,
      h("option", { value: "" }, "Groups found"),
      usefulFields(drawn.points).map((key) => h("option", { value: key }, `By ${key}`)),
    );
    work.hidden = false;
    drawing.show(drawn);
    regroup();
    root.dataset.map = "drawn";
  }

  function regroup() {
    groups = grouped(result, by.value);
    fill(
      legend,
      groups.map((group, g) => {
        const key = h("span", { class: "key", "aria-hidden": "true" });
        key.style.background = group.isRest ? "var(--quiet)" : `var(--tint-${g + 1})`;
        return h(
          "li",
          {},
          h(
            "button",
            { type: "button", class: "chip", "aria-pressed": "false", dataset: { group: g }, onclick: () => choose(g) },
            key,
            group.name,
            h("span", { class: "quiet-text" }, count(group.members.length)),
          ),
        );
      }),
    );
    drawing.tint(groups);
    select(null);
  }

  function choose(g) {
    const pressed = legend.querySelector(`[data-group="${g}"]`).getAttribute("aria-pressed") === "true";
    if (pressed) return select(null);
    select(groups[g].members, `in “${groups[g].name}”`);
    legend.querySelector(`[data-group="${g}"]`).setAttribute("aria-pressed", "true");
  }

  function select(members, where, region) {
    for (const chip of legend.querySelectorAll("[data-group]")) chip.setAttribute("aria-pressed", "false");
    drawing.light(members);
    if (members === null) {
      return fill(
        panel,
        h("h2", {}, "Read what lies together"),
        h(
          "p",
          { class: "quiet-text" },
          "Click a point for its document, draw a box around a region, or choose a group below. Near points mean similar things; far ones need not differ, for two axes cannot show all.",
        ),
        h("p", { class: "quiet-text" }, "Ctrl and the wheel zoom."),
      );
    }
    const documents = new Set(members.map((i) => result.points[i].document)).size;
    fill(
      panel,
      h("h2", {}, `${plural(members.length, "chunk")} ${where}`),
      h(
        "p",
        { class: "actions" },
        h("span", { class: "quiet-text" }, `of ${plural(documents, "document")}`),
        region &&
          members.length > 0 &&
          h("button", { type: "button", class: "small", onclick: () => drawing.zoomTo(region) }, "Zoom there"),
        h("button", { type: "button", class: "small", onclick: () => select(null) }, "Let go"),
      ),
      h(
        "ol",
        { class: "picked" },
        members.slice(0, LISTED_MAX).map((i) => {
          const { title, document, chunk, text } = result.points[i];
          return h(
            "li",
            {},
            h(
              "button",
              { type: "button", class: "link", onclick: () => openDocument(library, document, chunk) },
              title || document,
            ),
            h("p", {}, text),
          );
        }),
      ),
      members.length > LISTED_MAX &&
        h("p", { class: "quiet-text" }, `The first ${LISTED_MAX}: draw a smaller box for fewer.`),
    );
  }

  const resized = new ResizeObserver(throttled(() => result && drawing.draw(), 50));
  resized.observe(drawing.frame);
  const retint = () => result && drawing.recolour();
  document.addEventListener("themechange", retint);
  const leave = onBeat(() => {
    const empty = pulse.libraries?.length === 0 && picker.value() === "";
    none.hidden = !empty;
    main.hidden = empty;
    if (!begun && picker.value() !== "") begin();
  });
  // For those who test the page: where its points are.
  drawing.canvas.placeOf = (i) => drawing.place(i);
  return () => {
    worker?.terminate();
    picker.leave();
    leave();
    resized.disconnect();
    document.removeEventListener("themechange", retint);
  };
}
