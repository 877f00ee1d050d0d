// Choosing a library: one list, kept up to date, and remembered from view to view.

import { fill, h } from "./dom.js";
import { onBeat, pulse } from "./pulse.js";

let last = "";

/**
 * A list of the libraries by name. `wanted` is the one to begin with; `all` adds a first choice for none.
 * Answers the element and what ends its updates; `chosen` is called when somebody chooses.
 */
export function libraryPicker({ wanted = "", all = null, chosen = () => {} }) {
  const select = h("select", { onchange: () => (choose(select.value), chosen(select.value)) });
  let current = wanted || (all === null ? last : "");
  const choose = (name) => {
    current = name;
    if (name !== "") last = name;
  };
  let drawn = null;
  const leave = onBeat(() => {
    const names = (pulse.libraries ?? []).map((library) => library.name);
    // A name that is gone, or beyond those that are listed, stays the choice that it is.
    if (current !== "" && !names.includes(current)) names.unshift(current);
    const key = JSON.stringify([names, current]);
    if (key === drawn) return;
    if (pulse.libraries !== null && current === "" && all === null && names.length > 0) choose(names[0]);
    drawn = JSON.stringify([names, current]);
    const options = names.map((name) => h("option", { value: name }, name));
    if (all !== null) options.unshift(h("option", { value: "" }, all));
    else if (names.length === 0) options.push(h("option", { value: "" }, "no library yet"));
    fill(select, options);
    select.value = current;
  });
  if (current !== "" && all === null) last = current;
  return { select, leave, value: () => current };
}

/** What a view that needs a library says while there is none. */
export const noLibrary = () =>
  h(
    "div",
    { class: "empty" },
    h("h2", {}, "There is no library yet"),
    h(
      "p",
      {},
      "A library holds documents of one kind of vector. Make one first; the built-in model then embeds the text that you give it.",
    ),
    h("p", {}, h("a", { class: "button", href: "#/libraries" }, "Make a library")),
  );
