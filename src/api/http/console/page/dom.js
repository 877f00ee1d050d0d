// Making elements, and how figures and times are written. Nothing here knows the server.

/** Makes an element. `on…` are listeners, `class` and `dataset` as named, booleans attributes or nothing. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** Puts `children` in the place of all that is in `element`. */
export function fill(element, ...children) {
  element.replaceChildren(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
}

/**
 * Makes the children of `list` those of `items`, in order. One whose key was there stays the element that it is, so
 * that neither focus nor an open detail is lost; `make` makes the others.
 */
export function fillKeyed(list, items, keyOf, make) {
  const known = new Map([...list.children].map((child) => [child.key, child]));
  const wanted = items.map((item) => {
    const key = keyOf(item);
    const child = known.get(key) ?? Object.assign(make(item), { key });
    known.delete(key);
    return child;
  });
  for (const gone of known.values()) gone.remove();
  wanted.forEach((child, i) => list.children[i] !== child && list.insertBefore(child, list.children[i] ?? null));
}

/** Tells what happened to those who hear the page. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** Calls `draw` soon, once for any number of calls, and not more often than every `pause_ms`. */
export function throttled(draw, pause_ms = 200) {
  let timer = null;
  let last = 0;
  const run = () => {
    timer = null;
    last = performance.now();
    draw();
  };
  const soon = () => {
    timer ??= setTimeout(run, Math.max(0, pause_ms - (performance.now() - last)));
  };
  soon.cancel = () => {
    clearTimeout(timer);
    timer = null;
  };
  return soon;
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hour12: false,
});
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hour12: false });

/** 12,345 */
export const count = (n) => whole.format(n);
/** A count that takes little room: 12,345, but 1.23M. */
export const compact = (n) => (n < 100_000 ? whole.format(n) : short.format(n));
/** A count with its noun: "1 document", "2 documents". */
export const plural = (n, noun, nouns = `${noun}s`) => `${count(n)} ${n === 1 ? noun : nouns}`;

/** Bytes in binary units. */
export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let power = 0;
  while (n >= 1024 && power < units.length - 1) {
    n /= 1024;
    power += 1;
  }
  return `${power === 0 || n >= 100 ? n.toFixed(0) : n.toFixed(1)} ${units[power]}`;
}

/** Seconds in the unit that reads best. */
export function duration(seconds) {
  if (seconds === 0) return "0 s";
  if (seconds < 0.001) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  if (seconds < 7_200) return `${(seconds / 60).toFixed(0)} min`;
  return `${(seconds / 3_600).toFixed(0)} h`;
}

/** The time of day of a timestamp, in the reader's zone. */
export const timeOf = (timestamp) => clock.format(new Date(timestamp));
/** Date and time of a timestamp, in the reader's zone. */
export const momentOf = (timestamp) => day.format(new Date(timestamp));
/** A `<time>` that shows the time of day and says the rest when asked. */
export const time = (timestamp, show = timeOf) =>
  h("time", { datetime: timestamp, title: momentOf(timestamp) }, show(timestamp));

/** The colour that a custom property has now, as canvases want it. */
export function colour(name) {
  const probe = h("span", { hidden: true });
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** A notice of something that went wrong: what, and what to do next. */
export function trouble({ what, next }, ...more) {
  return h(
    "div",
    { class: "notice bad", role: "alert" },
    h("p", {}, h("strong", {}, what)),
    next && h("p", {}, next),
    ...more,
  );
}

/** A command to paste into a terminal, with a button that copies it. */
export function command(text) {
  const button = h("button", { type: "button", class: "small", onclick: copy }, "Copy");
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Pages that come over plain HTTP from another machine have no clipboard.
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    announce(button.textContent);
  }
  const code = h("code", { tabindex: "0" }, text);
  return h("div", { class: "command" }, h("pre", {}, code), button);
}

let hints = 0;

/** A label over a control, with a hint below it or not. */
export function field(label, control, hint) {
  const named = h("label", { class: "field" }, h("span", { class: "label" }, label), control);
  if (!hint) return named;
  const id = `hint-${(hints += 1)}`;
  control.setAttribute("aria-describedby", id);
  return h("div", {}, named, h("p", { class: "hint", id }, hint));
}

/** A modal dialog; it is gone when it is closed. Answers the element, with `body` to fill. */
export function openDialog(title, { wide = false } = {}) {
  const body = h("div", { class: "dialog-body" });
  const heading = h("h2", { id: "dialog-title" }, title);
  const dialog = h(
    "dialog",
    { "aria-labelledby": "dialog-title", class: wide ? "wide" : "" },
    h(
      "header",
      {},
      heading,
      h("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => dialog.close() }, "✕"),
    ),
    body,
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return Object.assign(dialog, { body, heading });
}
