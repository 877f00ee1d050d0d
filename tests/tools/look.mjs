// Looks at pages as a person would.
//
// look.mjs watch URL SELECTOR: prints what an element shows, each time that it changes, until its
// input is closed.
// look.mjs docs ADDRESS [FOLDER]: the page of the API description has every operation, complains
// about nothing, fetches nothing from elsewhere, and fits a phone; pictures of it go into FOLDER.

import assert from "node:assert/strict";

import { launch } from "./chromium.mjs";

/** What the browser has to complain about, and where it went. */
function listen(page) {
  const heard = { complaints: [], requests: [] };
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) heard.complaints.push(message.text());
  });
  page.on("pageerror", (error) => heard.complaints.push(String(error)));
  page.on("request", (request) => heard.requests.push(request.url()));
  return heard;
}

async function watch(page, url, selector) {
  await page.exposeFunction("tell", (text) => console.log(text));
  await page.goto(url);
  await page.evaluate((selector) => {
    const element = document.querySelector(selector);
    const tell = () => window.tell(element.textContent);
    new MutationObserver(tell).observe(element, { childList: true, characterData: true, subtree: true });
    tell();
  }, selector);
  await new Promise((resolve) => process.stdin.resume().on("end", resolve));
}

async function docs(page, address, folder) {
  const base = `http://${address}`;
  const heard = listen(page);
  const response = await page.goto(`${base}/docs`);
  assert.equal(response.status(), 200);
  assert.match(response.headers()["content-security-policy"], /^default-src 'none';/);
  const description = await (await fetch(`${base}/openapi.json`)).json();

  const operations = Object.entries(description.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, ...operation })));
  assert.ok(operations.length > 30);
  for (const { path, method, operationId, summary, parameters = [], responses } of operations) {
    const article = page.locator(`article[id="${operationId}"]`);
    const text = await article.innerText();
    const parts = [method.toUpperCase(), path, summary, ...Object.keys(responses), ...parameters.map((p) => p.name)];
    for (const part of parts) assert.ok(text.includes(part), `${operationId} lacks ${part}`);
    assert.equal(await page.locator(`nav a[href="#${operationId}"]`).innerText(), summary);
  }
  for (const name of Object.keys(description.components.schemas)) {
    assert.equal(await page.locator(`article[id="schema-${name}"]`).count(), 1, name);
  }

  // A person clicks: into an operation, and on to a shape.
  await page.locator('nav a[href="#create_document"]').click();
  assert.ok(await page.locator("#create_document").isVisible());
  await page.locator("#create_document a", { hasText: "NewDocument" }).click();
  assert.equal(new URL(page.url()).hash, "#schema-NewDocument");

  const sizes = { desktop: [1280, 800, "light"], phone: [390, 844, "light"], dark: [1280, 800, "dark"] };
  for (const [name, [width, height, colorScheme]] of Object.entries(sizes)) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme });
    const beyond = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(beyond <= 0, `${name}: ${beyond} pixels too wide`);
    if (folder) {
      await page.evaluate(() => window.scrollTo(0, 0));
      await page.screenshot({ path: `${folder}/docs-${name}.png` });
      await page.locator("#create_document").scrollIntoViewIfNeeded();
      await page.screenshot({ path: `${folder}/docs-${name}-operation.png` });
    }
  }
  assert.deepEqual(heard.complaints, []);
  assert.deepEqual(heard.requests.filter((url) => !url.startsWith(base) && !url.startsWith("data:")), []);
}

const [scenario, ...rest] = process.argv.slice(2);
const browser = await launch();
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  await { watch, docs }[scenario](page, ...rest);
} finally {
  await browser.close();
  process.stdin.destroy();
}
