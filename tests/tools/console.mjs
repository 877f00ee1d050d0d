// The console in a real browser, clicked through as a person would.
//
// Usage: console.mjs SCENARIO ADDRESS; ends with status 0 when everything held. A line on standard output
// (`kill`, `terminate`, `start`) asks for that to be done to the server, and is answered by `done` on the input.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import readline from "node:readline";

import { parts } from "./console_parts.mjs";
import {
  base,
  api,
  json,
  lines,
  until,
  library,
  ingest,
  stored,
  statistics,
  past,
  openConsole,
  visit,
  text,
  received,
  shown,
  feedIs,
  ask,
  showsEvents,
  drop,
  upload,
  ended,
} from "./console_page.mjs";
import { load } from "./generate.mjs";

const VIEWS = ["libraries", "library/a", "feed", "ingest/a", "search/a", "map/a", "activity"];

/** From nothing: a library, documents from files and from a paste, each with its status; then their end. */
async function ingestion(page) {
  await page.getByText("Begin with a library").waitFor();
  await visit(page, "ingest");
  await page.getByText("There is no library yet").waitFor();
  await visit(page, "libraries");
  await page.getByRole("button", { name: "New library" }).click();
  await page.getByLabel("Name", { exact: true }).fill("notes");
  await page.getByLabel("Description").fill("What was noted");
  await page.getByRole("button", { name: "Make it" }).click();
  await page.getByRole("heading", { name: "notes", exact: true }).waitFor();
  assert.equal((await json("GET", "/v1/libraries/notes")).description, "What was noted");
  // The name is taken: said in words, and the dialog stays.
  page.refusals = true;
  await visit(page, "libraries");
  await page.getByRole("button", { name: "New library" }).click();
  await page.getByLabel("Name", { exact: true }).fill("notes");
  await page.getByRole("button", { name: "Make it" }).click();
  await page.locator("dialog .notice").getByText("Choose another name.").waitFor();
  await page.getByRole("button", { name: "Close" }).click();
  page.refusals = false;

  await visit(page, "ingest/notes");
  const bad = Buffer.concat([
    Buffer.from('{"id":"heron","title":"Heron","texts":["A grey bird.","It eats fish."]}\n\n{"title":"no text"}\n'),
    Buffer.from([0xff, 0xfe, 0x0a]),
    Buffer.from('not json\n{"title":"Big","text":"many","metadata":{"n":12345678901234567890.5}}\n{}\n'),
  ]);
  await drop(page, [
    { name: "some.ndjson", content: bad },
    { name: "iron.md", content: "Preface.\n\n# Iron *works*\n\nA block of iron.\n" },
  ]);
  await ended(page, "some.ndjson");
  await ended(page, "iron.md");
  const some = upload(page, "some.ndjson");
  assert.match(await some.locator(".figures").innerText(), /^2 documents in \(3 chunks\) · 4 failed/);
  assert.equal(await some.locator("summary").innerText(), "4 failures");
  await some.locator("summary").click();
  const failed = await some.locator(".failures li .line").allInnerTexts();
  assert.deepEqual(failed, ["3", "4", "5", "7"], "lines as the file counts them");
  await page.locator("#files").setInputFiles([
    { name: "plain.txt", mimeType: "text/plain", buffer: Buffer.from("Words of no form.") },
    { name: "picture.png", mimeType: "image/png", buffer: Buffer.from([1, 2]) },
  ]);
  await ended(page, "plain.txt");
  await page.getByText("Not taken: picture.png.").waitFor();
  await page
    .getByLabel("Paste")
    .fill('{"title":"Pasted","text":"by hand"}\n{"id":"heron","title":"Heron","text":"Replaced."}');
  await page.getByRole("button", { name: "Ingest the text" }).click();
  await ended(page, "Pasted text");
  const documents = Object.fromEntries((await stored("notes")).map((one) => [one.title, one]));
  assert.deepEqual(Object.keys(documents).sort(), ["Big", "Heron", "Iron *works*", "Pasted", "plain.txt"]);
  assert.equal(documents.Heron.chunks[0].text, "Replaced.");
  assert.equal(documents["Iron *works*"].document_type, "markdown");
  assert.equal(documents["Iron *works*"].source_url, "iron.md");
  assert.equal(documents["plain.txt"].chunks[0].text, "Words of no form.");
  // An export goes in again whole, whatever pieces it is sent in, and a cut one is told.
  const exported = await (await api("GET", "/v1/libraries/notes/documents/stream")).text();
  await drop(page, [{ name: "whole.ndjson", content: exported }]);
  await ended(page, "whole.ndjson");
  assert.equal(await upload(page, "whole.ndjson").locator(".notice").count(), 0);
  await drop(page, [{ name: "cut.ndjson", content: exported.split("\n").slice(0, 2).join("\n") }]);
  await ended(page, "cut.ndjson");
  await upload(page, "cut.ndjson").getByText("This is an export without its last line").waitFor();
  await page.getByLabel("If a document is there").selectOption("skip");
  await drop(page, [{ name: "again.ndjson", content: exported }]);
  await ended(page, "again.ndjson");
  assert.match(
    await upload(page, "again.ndjson").locator(".figures").innerText(),
    /^0 documents in \(0 chunks\) · 5 skipped · 0 failed/,
  );

  // A status leads to its document; there it can be deleted.
  await some.getByRole("button", { name: "Heron" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("Replaced.").waitFor();
  await dialog.getByRole("button", { name: "Delete the document" }).click();
  await dialog.getByRole("button", { name: "Really delete it?" }).click();
  await dialog.waitFor({ state: "detached" });
  assert.equal((await stored("notes")).length, 4);
  await visit(page, "library/notes");
  await page.locator(".facts").getByText("4 documents").waitFor();
  await page.locator(".index dd").first().waitFor();
  assert.equal(await page.locator(".documents li").count(), 4);
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  const go = page.getByRole("button", { name: "Delete it for good" });
  assert.ok(await go.isDisabled());
  await page.getByLabel("The library's name").fill("notes");
  await go.click();
  await page.getByText("Begin with a library").waitFor();
  assert.deepEqual((await json("GET", "/v1/libraries")).libraries, []);
}

/** Statuses come in while the rest of a file is still being read and sent. */
async function streaming(page) {
  await library("a");
  await visit(page, "ingest/a");
  const content = Array.from({ length: 12_000 }, (_, i) =>
    JSON.stringify({ title: `t${i}`, text: `number ${i}` }),
  ).join("\n");
  await drop(page, [{ name: "many.ndjson", content }]);
  const card = upload(page, "many.ndjson");
  const partly = await until("some are in and others not", async () => {
    const figures = await card.locator(".figures").innerText();
    const done = Number(/^([\d,]+) documents? in/.exec(figures)?.[1].replaceAll(",", "") ?? 0);
    return done > 0 && { done, state: await card.getAttribute("data-state") };
  });
  assert.ok(partly.done < 12_000, "the first status came with the last");
  // Elsewhere meanwhile: it goes on.
  await visit(page, "libraries");
  await visit(page, "ingest/a");
  await ended(page, "many.ndjson");
  assert.match(await card.locator(".figures").innerText(), /^12,000 documents in/);
  assert.equal((await stored("a")).length, 12_000);
  // Stopped in the middle: what was acknowledged stays, and it says so.
  await drop(page, [{ name: "stopped.ndjson", content: content.replaceAll(':"t', ':"s') }]);
  await upload(page, "stopped.ndjson").locator('[data-status="completed"]').first().waitFor();
  await upload(page, "stopped.ndjson").getByRole("button", { name: "Stop" }).click();
  await ended(page, "stopped.ndjson", "stopped");
}

/** The feed as it is asked for, paused and resumed, hidden and shown: nothing missing, nothing twice. */
async function following(page) {
  const a = await library("a");
  await library("b");
  await ingest("a", [
    { id: "a1", title: "One", text: "x", metadata: { n: 1 } },
    { id: "a2", title: "Two", text: "y", metadata: { n: 2 } },
  ]);
  await ingest("b", [{ id: "b1", title: "Three", text: "z", metadata: { n: 1 } }]);
  await visit(page, "feed");
  await feedIs(page, "live");
  await ask(page, {});
  await showsEvents(page, await past());
  // Opened right here, events may be there before the libraries; these are named all the same.
  await page.route("**/v1/libraries?*", async (route) => {
    await page.locator(".where[data-library]").first().waitFor();
    await route.continue();
  });
  await page.reload();
  await feedIs(page, "live");
  await until("libraries are named", async () => (await page.locator(".where[data-library]").count()) === 0);
  const named = new Set(await page.locator(".events .where").allInnerTexts());
  assert.deepEqual([...named].sort(), ["a", "b"]);
  await page.unroute("**/v1/libraries?*");
  await ask(page, {});
  await showsEvents(page, await past());
  // What happens shows.
  await json("POST", "/v1/libraries/a/documents", { id: "a3", title: "Live", text: "now" });
  await showsEvents(page, await past());

  await page.getByRole("button", { name: "Pause" }).click();
  await feedIs(page, "paused");
  const before = await shown(page);
  await until("its connection is gone", async () => (await statistics()).subscriber_count === 0);
  for (let i = 0; i < 40; i++)
    await json("POST", "/v1/libraries/b/documents", { id: `p${i}`, title: `Paused ${i}`, text: "later" });
  await page.locator(".strip").getByText("40 changes since").waitFor();
  assert.deepEqual(await shown(page), before);
  // Left and come back to: still paused, at the same place.
  await visit(page, "libraries");
  await visit(page, "feed");
  assert.deepEqual(await shown(page), before);
  await page.getByRole("button", { name: "Resume" }).click();
  await showsEvents(page, await past());

  // A page that nobody sees lets go of its connection, and misses nothing.
  const look = (hidden) =>
    page.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  await look(true);
  await until("its connection is gone", async () => (await statistics()).subscriber_count === 0);
  await json("DELETE", "/v1/libraries/b/documents/p0");
  await look(false);
  await showsEvents(page, await past());
  // One that was opened behind others takes no connection before somebody looks.
  const behind = await page.context().newPage();
  await behind.addInitScript(() => Object.defineProperty(document, "hidden", { value: true, configurable: true }));
  await behind.goto(`${base}/#/feed`);
  await feedIs(behind, "away");
  assert.equal((await statistics()).subscriber_count, 1);
  await behind.evaluate(() => {
    Object.defineProperty(document, "hidden", { value: false, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await feedIs(behind, "live");
  await behind.close();
  // One subscription, whatever was looked at and asked for.
  await until("one is left", async () => (await statistics()).subscriber_count === 1);

  await ask(page, { types: ["document.added", "document.deleted"] });
  await showsEvents(page, await past("&event_types=document.added,document.deleted"));
  await ask(page, { library: "a" });
  await showsEvents(page, await past(`&library_id=${a.id}`));
  const filter = 'document.metadata.n == 1 && event.type == "document.added"';
  await ask(page, { filter });
  await showsEvents(page, await past(`&filter=${encodeURIComponent(filter)}`));
  assert.equal((await shown(page)).length, 2);
  const all = await past();
  await ask(page, { start: "cursor", place: all[5].id });
  await showsEvents(page, all.slice(6));
  await page.locator(".events summary").first().click();
  await page.getByLabel("The event as JSON").getByText(all.at(-1).id).waitFor();
  await page.locator(`[data-id="${all.at(-4).id}"] summary`).click();
  await page
    .locator(`[data-id="${all.at(-4).id}"]`)
    .getByRole("button", { name: "Begin the feed behind this event" })
    .click();
  await showsEvents(page, all.slice(-3));
  assert.equal(await page.getByLabel("Where").inputValue(), all.at(-4).id);

  page.refusals = true;
  await ask(page, { filter: "document.nothing == 1" });
  await feedIs(page, "refused");
  await page.locator(".notice.bad").getByText("unknown name document.nothing").waitFor();
  await ask(page, { start: "cursor", place: "f".repeat(40) });
  await page.locator(".notice.bad").getByText("Go on from the oldest that is kept, or from now.").waitFor();
  page.refusals = false;
  await page.getByRole("button", { name: "From the oldest" }).click();
  await showsEvents(page, all);
  assert.equal(await page.getByLabel("Begin at").inputValue(), "begin");
  await page.getByRole("button", { name: "Clear the list" }).click();
  await page.getByText("Nothing has happened here yet").waitFor();
}

/** The server is killed in the middle of an upload and of the feed, and comes back. */
async function restarts(page) {
  const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const have = async (what) => {
    console.log(what);
    assert.equal((await answers.next()).value, "done");
  };
  await library("a");
  await visit(page, "feed");
  await feedIs(page, "live");
  await ask(page, { types: ["document.added"] });
  await feedIs(page, "live");
  await visit(page, "ingest/a");
  // None has an id of its own: only the console's keep a second sending from doubling them.
  const total = 20_000;
  const content = Array.from({ length: total }, (_, i) => JSON.stringify({ title: `t${i}`, text: `number ${i}` })).join(
    "\n",
  );
  await drop(page, [{ name: "long.ndjson", content }]);
  const card = upload(page, "long.ndjson");
  await card.locator('[data-status="completed"]').first().waitFor();
  await have("kill");
  await have("start");
  assert.notEqual(await card.getAttribute("data-state"), "done", "it was killed in the middle");
  await ended(page, "long.ndjson");
  assert.match(await card.locator(".figures").innerText(), /^20,000 documents in \(20,000 chunks\) · 0 failed/);
  const titles = (await stored("a")).map((one) => one.title);
  assert.deepEqual([titles.length, new Set(titles).size], [total, total]);
  // The feed went on behind its cursor: each document once, the newest of them shown.
  await visit(page, "feed");
  const added = await past("&event_types=document.added");
  assert.equal(added.length, total);
  await until("all were received", async () => (await received(page)) === total);
  const rows = await shown(page);
  assert.ok(rows.length >= 100);
  assert.deepEqual(
    rows,
    added
      .slice(-rows.length)
      .map((event) => event.id)
      .reverse(),
  );
  // An outage is told, with the place where it goes on, and then it is over.
  await page.locator("#outage").waitFor({ state: "hidden" });
  await have("terminate");
  await page.locator('#health[data-state="down"]').waitFor();
  await page.locator("#outage").getByText("nothing is lost").waitFor();
  assert.ok((await text(page, "#outage")).includes(await text(page, ".cursor")));
  await have("start");
  await page.locator('#health[data-state="up"]').waitFor();
  await page.locator("#outage").waitFor({ state: "hidden" });
  await json("POST", "/v1/libraries/a/documents", { id: "after", title: "After", text: "after it" });
  await until("the event is there", async () => (await received(page)) === total + 1);
  await page.locator(".events").getByText("After (1 chunk)").waitFor();
}

/** Search as somebody types: the former request ends, the hits are the server's, and lead to their documents. */
async function searching(page) {
  await library("a");
  const kinds = ["bird", "iron", "river", "bread"];
  await ingest(
    "a",
    Array.from({ length: 400 }, (_, i) => ({
      id: `d${i}`,
      title: `${kinds[i % 4]} ${i}`,
      texts: [`a text about ${kinds[i % 4]}, number ${i}`, "and more"],
      metadata: { kind: kinds[i % 4] },
    })),
  );
  await visit(page, "search/a");
  // The first request never gets through; the next key ends it.
  let held = 0;
  const failed = [];
  page.on("requestfailed", (request) => request.url().includes("/search/stream") && failed.push(request.postData()));
  await page.route("**/search/stream", (route) => (held++ === 0 ? null : route.continue()));
  const query = page.getByRole("searchbox", { name: "Query" });
  await query.pressSequentially("bir");
  await until("it is asked", () => held === 1);
  await query.pressSequentially("d");
  await page.locator('.state[data-query="bird"]').waitFor();
  assert.equal(JSON.parse(failed[0]).query, "bir");
  await page.unroute("**/search/stream");

  const hits = async (question) => (await json("POST", "/v1/libraries/a/search", question)).results;
  const listed = () =>
    page
      .locator(".hit")
      .evaluateAll((rows) =>
        rows.map((row) => [row.querySelector("button").innerText, row.querySelector(".score span").innerText]),
      );
  const wanted = (results) => results.map((hit) => [hit.title, hit.score.toFixed(3)]);
  assert.deepEqual(await listed(), wanted(await hits({ query: "bird", k: 10 })));
  await page.getByLabel("Hits").selectOption("200");
  await page.locator(".state").getByText("200 hits").waitFor();
  assert.deepEqual(await listed(), wanted(await hits({ query: "bird", k: 200 })));
  const filter = 'document.metadata.kind == "river"';
  await page.getByLabel("Filter").fill(filter);
  await page.locator(".hit").first().getByText("river").first().waitFor();
  assert.deepEqual(await listed(), wanted(await hits({ query: "bird", k: 200, filter })));
  page.refusals = true;
  await page.getByLabel("Filter").fill("document.metadata.kind ==");
  await page.locator(".notice.bad").waitFor();
  assert.ok((await listed()).length > 0, "what was found stays");
  page.refusals = false;
  await page.getByLabel("Filter").fill("");
  await page.locator(".notice.bad").waitFor({ state: "detached" });
  const [first] = await hits({ query: "bird", k: 1 });
  await page.locator(".hit button").first().click();
  await page.getByRole("dialog").locator(".chosen").getByText(first.text).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  // Gone and come back: the question is still there.
  await visit(page, "feed");
  await visit(page, "search/a");
  await page.locator(".hit").first().waitFor();
  assert.equal(await query.inputValue(), "bird");
  await query.fill("");
  await page.locator(".hit").first().waitFor({ state: "detached" });
}

/** Three heaps of vectors, far from each other. */
function heaps() {
  let state = 1;
  const noise = () => ((state = (state * 48_271) % 2_147_483_647) / 2_147_483_647 - 0.5) * 0.2;
  const names = ["alpha", "beta", "gamma"];
  return Array.from({ length: 180 }, (_, i) => {
    const embedding = Array.from({ length: 8 }, (_, j) => (j === i % 3 ? 1 : 0) + noise());
    return {
      id: `m${i}`,
      title: `${names[i % 3]} ${i}`,
      chunks: [{ text: `about ${names[i % 3]}`, embedding }],
      metadata: { heap: names[i % 3] },
    };
  });
}

/** A map in which heaps are seen, and points, regions and groups lead to their documents. */
async function mapping(page) {
  await library("a", { embedder: "none", dimension: 8, metric: "l2" });
  await ingest("a", heaps());
  await visit(page, "map/a");
  await page.locator('.view.map[data-map="drawn"]').waitFor();
  assert.match(await text(page, ".map .state"), /^180 of 180 chunks, from 180 of 180 documents\./);
  await page.getByLabel("Colours").selectOption("metadata.heap");
  const chips = page.locator(".legend button");
  assert.deepEqual((await chips.allInnerTexts()).map((chip) => chip.replace(/\s+/g, " ")).sort(), [
    "alpha 60",
    "beta 60",
    "gamma 60",
  ]);

  const titles = () => page.locator(".picked button").allInnerTexts();
  await chips.filter({ hasText: "beta" }).click();
  await page.locator(".panel").getByText("60 chunks in “beta”").waitFor();
  assert.ok((await titles()).every((title) => title.startsWith("beta")) && (await titles()).length === 60);
  await page.getByRole("button", { name: "Let go" }).click();

  // Where the points are; they were sampled in an order of their own, so a point tells its name when it is pressed.
  await page.locator(".map canvas").scrollIntoViewIfNeeded();
  const places = await page
    .locator(".map canvas")
    .evaluate((canvas) => Array.from({ length: 180 }, (_, i) => canvas.placeOf(i)));
  const frame = await page.locator(".map canvas").boundingBox();
  const [x, y] = places[7];
  await page.mouse.click(frame.x + x, frame.y + y);
  const dialog = page.getByRole("dialog");
  await dialog
    .locator("code")
    .getByText(/^m\d+$/)
    .waitFor();
  const heading = await dialog.getByRole("heading", { level: 2 }).innerText();
  await page.getByRole("button", { name: "Close" }).click();
  assert.deepEqual(await titles(), [heading]);
  // A box around its heap: all of that heap, and nothing else.
  const near = places.filter(([px, py]) => Math.hypot(px - x, py - y) < frame.width / 5);
  const [left, right] = [Math.min(...near.map(([px]) => px)) - 6, Math.max(...near.map(([px]) => px)) + 6];
  const [top, bottom] = [Math.min(...near.map(([, py]) => py)) - 6, Math.max(...near.map(([, py]) => py)) + 6];
  await page.mouse.move(frame.x + left, frame.y + top);
  await page.mouse.down();
  await page.mouse.move(frame.x + (left + right) / 2, frame.y + bottom, { steps: 3 });
  await page.mouse.move(frame.x + right, frame.y + bottom, { steps: 3 });
  await page.mouse.up();
  await page.locator(".panel").getByText("60 chunks in the region").waitFor();
  const kind = heading.split(" ")[0];
  assert.ok(
    (await titles()).every((title) => title.startsWith(kind)),
    `${kind}: ${await titles()}`,
  );
  await page.getByRole("button", { name: "Zoom there" }).click();
  await page.getByRole("button", { name: "All" }).click();

  // By keys alone.
  await page.locator(".map canvas").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("+");
  await page.keyboard.press("0");
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("Enter");
  await dialog
    .locator("code")
    .getByText(/^m\d+$/)
    .waitFor();
  await page.keyboard.press("Escape");

  // A library too large to be drawn whole says how much of it is.
  await library("large", { embedder: "none", dimension: 2, metric: "l2" });
  await ingest(
    "large",
    Array.from({ length: 3_300 }, (_, i) => ({
      id: `l${i}`,
      title: `l${i}`,
      chunks: [{ text: "t", embedding: [Math.cos(i), i % 7] }],
    })),
  );
  await library("empty");
  await visit(page, "map/large");
  await page.locator(".map .state").getByText("3,000 of 3,300 chunks, from 3,000 of 3,300 documents.").waitFor();
  await visit(page, "map/empty");
  await page.getByText("There is nothing to draw yet").waitFor();
}

/** The charts move with what the server does. */
async function charts(page) {
  await library("a");
  await visit(page, "activity");
  const value = (title, label) =>
    page
      .locator(".chart", { has: page.getByRole("heading", { name: title }) })
      .locator(".values div", { hasText: label })
      .locator("dd")
      .innerText();
  const moves = (title, label, seen) =>
    until(`${title} moves`, async () => {
      await ingest(
        "a",
        Array.from({ length: 20 }, (_, i) => ({ id: `c${i}`, title: "c", text: `words ${i}` })),
      );
      await json("POST", "/v1/libraries/a/search", { query: "words", k: 1 });
      return seen.test(await value(title, label));
    });
  await moves("Ingest", "Changes", /^[\d.]*[1-9][\d.,]*\/s$/);
  await moves("Events", "Published", /^[\d.]*[1-9][\d.,]*\/s$/);
  await moves("Search latency", "Half are faster", /^[\d.]+ (µs|ms|s)$/);
  await moves("Subscriber lag", "Slowest", /^[\d.]+ (µs|ms|s|min)$/);
  assert.equal(await page.locator(".chart canvas").count(), 4);
  const drawn = await page.locator(".chart canvas").evaluateAll((all) =>
    all.map((canvas) =>
      canvas
        .getContext("2d")
        .getImageData(0, 0, canvas.width, canvas.height)
        .data.some((part) => part > 0),
    ),
  );
  assert.deepEqual(drawn, [true, true, true, true]);
  const [one] = (await statistics()).subscribers;
  await page.locator("tbody tr", { hasText: `#${one.id}` }).waitFor();
}

/** An index: in figures where that is all that the server tells, in segments where it tells them. */
async function layout(page) {
  await library("a");
  await ingest(
    "a",
    Array.from({ length: 30 }, (_, i) => ({ id: `i${i}`, title: "i", text: `words ${i}` })),
  );
  await json("DELETE", "/v1/libraries/a/documents/i0");
  // Where this server has the path, it answers what is pretended below.
  const real = await fetch(`${base}/v1/libraries/a/index`);
  if (real.ok) {
    const { segments } = await real.json();
    for (const name of ["has_graph", "num_rows", "num_tombstones", "index_bytes"])
      assert.ok(
        segments.every((segment) => name in segment),
        name,
      );
  } else assert.equal(real.status, 404);
  let answer = null;
  const nothing = { status: 404, json: { type: "urn:arrwdb:error:not-found", detail: "there is nothing at …/index" } };
  await page.route("**/libraries/a/index", (route) => route.fulfill(answer ?? nothing));
  page.refusals = true;
  await visit(page, "library/a");
  const figure = (name) => page.locator(".index .figure", { hasText: name }).locator("dd").innerText();
  await page.locator(".index dd").first().waitFor();
  const told = await json("GET", "/v1/libraries/a/statistics");
  assert.deepEqual([await figure("Segments"), await figure("Rows")], [`${told.num_segments}`, "30"]);
  assert.match(await figure("Tombstones"), /^1 \(3\.3 %\)$/);
  assert.equal(await page.locator(".index table").count(), 0);

  // As the path answers: a graph, what grows beside it, and a build that goes on.
  const segments = [
    { has_graph: false, num_rows: 900, num_tombstones: 0, index_bytes: 4_096, ef: 0 },
    { has_graph: true, num_rows: 65_536, num_tombstones: 12, index_bytes: 3 << 20, ef: 64 },
  ];
  answer = {
    json: {
      index_type: "auto",
      num_rows: 66_436,
      num_tombstones: 12,
      index_bytes: 1,
      segments,
      building: { num_rows: 1_000, num_rows_done: 250 },
      revision: "9",
    },
  };
  await page.reload();
  await page.locator(".index").getByText("A graph is being built: 250 of 1,000 rows").waitFor();
  const rows = await page.locator(".index tbody tr").allInnerTexts();
  assert.deepEqual(
    rows.map((row) => row.split(/\s*\t\s*/)),
    [
      ["Graph", "65,536", "12", "3.0 MiB"],
      ["Flat", "900", "0", "4.0 KiB"],
    ],
  );
  // It ends while it is looked at.
  delete answer.json.building;
  await page.locator(".index .building").waitFor({ state: "detached" });
}

/** No serious finding in either theme, no sideways scrolling on a phone, all of it by keyboard. */
async function everyView(page, browser) {
  const source = readFileSync(path.join(process.env.ARRWDB_TEST_TOOLS, "node_modules/axe-core/axe.min.js"), "utf8");
  const settle = async (page, view) => {
    await visit(page, view);
    await page.locator(`.view.${view.split("/")[0]} h1`).waitFor();
    if (view.startsWith("search")) {
      await page.getByRole("searchbox", { name: "Query" }).fill("iron");
      await page.locator(".hit").first().waitFor();
    }
    if (view.startsWith("map")) await page.locator('[data-map="drawn"]').waitFor();
    if (view === "feed") await page.locator(".events summary").first().click();
    if (view.startsWith("library/")) await page.locator(".documents li").first().waitFor();
    if (view.startsWith("ingest")) {
      await page.getByLabel("Paste").fill('{"title":"Good","text":"words"}\n{"title":"bad"}');
      await page.getByRole("button", { name: "Ingest the text" }).click();
      await page.locator('.upload[data-state="done"] .failures').first().waitFor();
    }
  };
  const check = async (page, what) => {
    await page.evaluate(source);
    const { violations, passes } = await page.evaluate(() => axe.run(document));
    assert.ok(passes.length > 10, `${what}: axe looked at nothing`);
    const grave = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
    assert.deepEqual(
      grave.map(({ id, nodes }) => [what, id, nodes.map((node) => node.html)]),
      [],
    );
  };
  const fits = async (page, what) => {
    const wider = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    assert.equal(wider, 0, `${what} scrolls sideways by ${wider} px`);
  };
  for (const colours of ["light", "dark"]) {
    const dark = await openConsole(browser, { colorScheme: colours });
    for (const view of ["libraries", "ingest"]) {
      // Of a server with nothing in it, only here: what is made below stays.
      if (colours === "light")
        await visit(dark, view)
          .then(() => dark.locator(".empty").first().waitFor())
          .then(() => check(dark, `empty ${view}`));
    }
    if (colours === "light") {
      await library("a", { description: "A library" });
      await ingest(
        "a",
        Array.from({ length: 30 }, (_, i) => ({
          title: `Document ${i}`,
          texts: [`about iron ${i}`, `about birds ${i}`],
          tags: [i % 2 ? "odd" : "even"],
          metadata: { n: i % 3 },
        })),
      );
      await visit(dark, "libraries");
      await dark.locator("tbody a").waitFor();
    }
    for (const view of VIEWS) {
      await settle(dark, view);
      await check(dark, `${view}, ${colours}`);
    }
    await visit(dark, "library/a");
    await dark.locator(".documents button").first().click();
    await dark.locator("dialog .chunks").waitFor();
    await check(dark, `a document, ${colours}`);
    assert.deepEqual(dark.complaints, []);
    await dark.context().close();
  }
  const phone = await openConsole(browser, { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });
  await library("x".repeat(128), { description: "y".repeat(300) });
  await ingest("a", [
    {
      id: "z".repeat(128),
      title: "w".repeat(200),
      text: `iron ${"v".repeat(400)}`,
      metadata: { long: "u".repeat(300) },
    },
  ]);
  for (const view of [...VIEWS, `library/${"x".repeat(128)}`]) {
    if (view === `library/${"x".repeat(128)}`)
      await visit(phone, view).then(() => phone.locator(".index dd").first().waitFor());
    else await settle(phone, view);
    await fits(phone, view);
    await check(phone, `${view}, on a phone`);
  }
  await visit(phone, "map/a");
  await phone.locator('[data-map="drawn"]').waitFor();
  const place = await phone.locator(".map canvas").evaluate((canvas) => canvas.placeOf(0));
  await phone.locator(".map canvas").tap({ position: { x: place[0], y: place[1] } });
  await phone.locator("dialog .chunks").waitFor();
  await fits(phone, "a document");
  assert.deepEqual(phone.complaints, []);
  await phone.context().close();

  // By keys: past the bar, along the rail, into a library.
  const focused = () => page.evaluate(() => document.activeElement.textContent.trim());
  await visit(page, "feed");
  await page.reload();
  await feedIs(page, "live");
  const tabs = [];
  for (let i = 0; i < 12 && tabs.at(-1) !== "Libraries"; i++) {
    await page.keyboard.press("Tab");
    tabs.push(await focused());
  }
  assert.equal(tabs.at(-1), "Libraries", `${tabs}`);
  await page.keyboard.press("Enter");
  await page.locator("tbody a").first().waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  // The choice of colours is kept.
  await page.getByRole("button", { name: "Dark" }).click();
  await page.evaluate(() => location.reload());
  await page.locator('html[data-theme="dark"]').waitFor();
  const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.getByRole("button", { name: "Light" }).click();
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), ground);
}

const scenarios = {
  ingestion,
  streaming,
  following,
  restarts,
  searching,
  mapping,
  charts,
  layout,
  "every-view": everyView,
};

const [scenario] = process.argv.slice(2);
if (scenario === "parts") {
  await parts();
} else {
  const browser = await load("playwright-core").chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  try {
    const page = await openConsole(browser);
    await scenarios[scenario](page, browser);
    assert.deepEqual(page.complaints, []);
  } finally {
    await browser.close();
    process.stdin.destroy();
  }
}
