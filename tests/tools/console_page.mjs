// What the scenarios of console.mjs share: the server's paths, and the page as a person uses it.

import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";

const DEADLINE_MS = 60_000;

/** Where the server is that the script was given. */
export const base = `http://${process.argv[3]}`;

export async function api(method, path, body, type = "application/json") {
  const options = { method, headers: body === undefined ? {} : { "content-type": type } };
  if (body !== undefined) options.body = typeof body === "string" ? body : JSON.stringify(body);
  const response = await fetch(base + path, options);
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${await response.clone().text()}`);
  return response;
}

export const json = async (...request) => (await api(...request)).json();
export const lines = async (...request) =>
  (await (await api(...request)).text())
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

/**
 * Waits until `look` gives something true, and answers that. `what` is a text, or gives one. The page's policy
 * rules out Playwright's own wait.
 */
export async function until(what, look) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > deadline) assert.fail(`still waiting until ${typeof what === "function" ? what() : what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

export const library = (name, more = {}) => json("POST", "/v1/libraries", { name, ...more });
export async function ingest(name, documents) {
  const body = documents.map((one) => JSON.stringify(one)).join("\n");
  const told = await lines(
    "POST",
    `/v1/libraries/${name}/documents/stream?report=failures`,
    body,
    "application/x-ndjson",
  );
  assert.deepEqual(told.slice(0, -1), []);
}
export const stored = async (name) => (await lines("GET", `/v1/libraries/${name}/documents/stream`)).slice(0, -1);
export const statistics = () => json("GET", "/v1/events/statistics");

/** All events of the feed that are left, in order. */
export async function past(query = "") {
  const events = [];
  for (let cursor = "begin"; ;) {
    const page = await json("GET", `/v1/events?limit=1000&cursor=${cursor}${query}`);
    if (page.events.length === 0) return events;
    events.push(...page.events);
    cursor = page.next_cursor;
  }
}

/** A page of the console; what it complains of while the server answers fails the test. */
export async function openConsole(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(error.stack));
  page.on("console", (message) => {
    // A server that is gone, and one without the path of an index's layout, are no faults of the page.
    const text = message.text();
    const expected =
      /ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY_RESPONSE|ERR_ABORTED/.test(text) ||
      /\/index$/.test(message.location().url) ||
      page.refusals;
    if (message.type() === "error" && !(text.startsWith("Failed to load") && expected)) page.complaints.push(text);
  });
  await page.goto(base);
  await page.locator('#health[data-state="up"]').waitFor();
  return page;
}

export const visit = (page, view) => page.evaluate((view) => void (location.hash = `#/${view}`), view);
export const text = (page, selector) => page.locator(selector).first().innerText();
export const received = async (page) =>
  Number(/([\d,]+) events? received/.exec(await text(page, ".strip .figures"))[1].replaceAll(",", ""));
export const shown = (page) => page.locator(".events details").evaluateAll((rows) => rows.map((row) => row.dataset.id));
export const feedIs = (page, state) => page.locator(`.view.feed[data-feed="${state}"]`).waitFor();

/** Asks the feed anew, with what is given. */
export async function ask(page, { library = "", types = [], filter = "", start = "begin", place = "" }) {
  await page.getByRole("combobox", { name: "Library" }).selectOption(library);
  await page.locator(".menu > summary").click();
  for (const box of await page.locator(".menu input").all())
    await box.setChecked(types.includes(await box.inputValue()));
  await page.keyboard.press("Escape");
  await page.getByLabel("Filter").fill(filter);
  await page.getByLabel("Begin at").selectOption(start);
  if (place !== "") await page.getByLabel("Where").fill(place);
  await page.getByRole("button", { name: "Apply" }).click();
}

/**
 * Waits until the feed shows exactly these events, oldest first, each once and in order. A page that is asked
 * anew shows what it was asked before for a moment more, so as many events as these need not be these.
 */
export async function showsEvents(page, events) {
  const ids = events.map((event) => event.id).reverse();
  let seen;
  await until(
    () => `the feed shows these ${ids.length} events:\n${ids.join("\n")}\nIt says ${JSON.stringify(seen)}`,
    async () => {
      seen = { received: await received(page), ids: await shown(page) };
      return isDeepStrictEqual(seen, { received: ids.length, ids });
    },
  );
}

/** Drops files on the page, as a file manager does. */
export async function drop(page, files) {
  const transfer = await page.evaluateHandle(
    (files) => {
      const transfer = new DataTransfer();
      for (const { name, bytes } of files) transfer.items.add(new File([new Uint8Array(bytes)], name));
      return transfer;
    },
    files.map(({ name, content }) => ({ name, bytes: [...Buffer.from(content)] })),
  );
  await page.dispatchEvent(".drop", "dragover", { dataTransfer: transfer });
  await page.dispatchEvent(".drop", "drop", { dataTransfer: transfer });
}

export const upload = (page, name) =>
  page.locator(".upload", { has: page.getByRole("heading", { name, exact: true }) });
export const ended = (page, name, state = "done") =>
  page.locator(`.upload[data-state="${state}"]`, { has: page.getByRole("heading", { name, exact: true }) }).waitFor();
