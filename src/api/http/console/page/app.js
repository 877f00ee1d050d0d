// The frame of the console: which view is shown, whether the server answers, in which colours.

import { announce, fill, h, timeOf, trouble } from "./dom.js";
import { follower } from "./follower.js";
import { onBeat, pulse } from "./pulse.js";
import { activity } from "./activity.js";
import { feed, startFeed } from "./feed.js";
import { ingest } from "./ingest.js";
import { libraries } from "./libraries.js";
import { library } from "./library.js";
import { map } from "./map.js";
import { search } from "./search.js";

/** By the first part of the address behind `#/`. A view draws itself and answers how it is left. */
const VIEWS = { libraries, library, feed, ingest, search, map, activity };
const TITLES = {
  libraries: "Libraries",
  library: "Library",
  feed: "Feed",
  ingest: "Ingest",
  search: "Search",
  map: "Map",
  activity: "Activity",
};

const view = document.getElementById("view");
let leave = () => {};

/** The address as a view's name and what it is about: `#/search/notes`. */
function place() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  return VIEWS[name] ? { name, about: decodeURIComponent(rest.join("/")) } : { name: "libraries", about: "" };
}

function show() {
  const { name, about } = place();
  leave();
  leave = () => {};
  document.title = `${TITLES[name]} · arrwdb`;
  const tab = name === "library" ? "libraries" : name;
  for (const link of document.querySelectorAll(".rail a")) {
    if (link.dataset.view === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const root = h("div", { class: `view ${name}` });
  fill(view, root);
  scrollTo(0, 0);
  try {
    leave = VIEWS[name](root, about) ?? leave;
  } catch (error) {
    console.error(error);
    fill(root, trouble({ what: `The console itself failed: ${error.message}`, next: "Load the page again." }));
  }
}

function showHealth() {
  const state = pulse.up === null ? "unknown" : pulse.up ? "up" : "down";
  const text = { unknown: "Connecting", up: "Connected", down: "No answer" }[state];
  const health = document.getElementById("health");
  if (health.dataset.state !== state) {
    health.dataset.state = state;
    document.getElementById("health-text").textContent = text;
  }
  showOutage();
}

function showOutage() {
  const outage = document.getElementById("outage");
  const down = pulse.up === false;
  if (!down) {
    if (!outage.hidden) announce("The server answers again.");
    outage.hidden = true;
    outage.dataset.cursor = "";
    return;
  }
  const cursor = follower.cursor ?? "";
  if (!outage.hidden && outage.dataset.cursor === cursor) return;
  outage.dataset.cursor = cursor;
  const place = cursor === "" ? null : [" The feed goes on behind ", h("code", {}, cursor), ": nothing is lost."];
  fill(
    outage,
    h(
      "p",
      {},
      h("strong", {}, `The server has not answered since ${timeOf(pulse.since)}.`),
      " Trying again every few seconds.",
      place,
    ),
  );
  outage.hidden = false;
}

function setTheme(choice) {
  document.documentElement.dataset.theme = choice;
  try {
    localStorage.setItem("arrwdb.theme", choice);
  } catch {
    // It holds for this page, then.
  }
  showTheme();
  document.dispatchEvent(new Event("themechange"));
}

function showTheme() {
  for (const button of document.querySelectorAll(".theme button")) {
    button.setAttribute("aria-pressed", String(button.dataset.choice === document.documentElement.dataset.theme));
  }
}

for (const button of document.querySelectorAll(".theme button")) {
  button.addEventListener("click", () => setTheme(button.dataset.choice));
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
  document.dispatchEvent(new Event("themechange")),
);
showTheme();
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
addEventListener("hashchange", () => {
  show();
  document.getElementById("main").focus({ preventScroll: true });
});
// Leaving while files are going up would cut them.
addEventListener("beforeunload", (event) => document.body.dataset.busy && event.preventDefault());
onBeat(showHealth);
follower.addEventListener("change", () => pulse.up === false && showOutage());
pulse.start();
startFeed();
show();
