// What of the console needs no browser: run by console.mjs as the scenario `parts`.

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const PAGE = fileURLToPath(new URL("../../src/api/http/console/page/", import.meta.url));

/** What needs no browser: the mathematics of the map, the figures of the charts, lines and pieces, uPlot's origin. */
export async function parts() {
  const modules = mkdtempSync(path.join(tmpdir(), "arrwdb-console-"));
  cpSync(PAGE, modules, { recursive: true });
  writeFileSync(path.join(modules, "package.json"), '{"type":"module"}');
  const part = (name) => import(path.join(modules, name));
  const { principal, groups, tellingWords, dice } = await part("projection.js");
  // Points along known directions in 5 dimensions: the shares and the first axis come out.
  const random = dice(5);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const [n, d] = [4_000, 5];
  const [u, v] = [
    [0.6, 0.8, 0, 0, 0],
    [0, 0, 0, 0.8, -0.6],
  ];
  const points = new Float32Array(n * d);
  const along = [];
  for (let i = 0; i < n; i++) {
    const [a, b] = [3 * normal(), 2 * normal()];
    along.push([a, b]);
    for (let j = 0; j < d; j++) points[i * d + j] = 10 + a * u[j] + b * v[j];
  }
  const { scores, shares } = principal(points, n, d, 3);
  const variance = (c) => along.reduce((sum, pair) => sum + pair[c] ** 2, 0);
  const total = variance(0) + variance(1);
  assert.ok(
    Math.abs(shares[0] - variance(0) / total) < 0.01 && Math.abs(shares[1] - variance(1) / total) < 0.01,
    `${shares}`,
  );
  assert.ok(shares[2] < 1e-6);
  const match = (c) =>
    Math.abs(along.reduce((sum, pair, i) => sum + pair[c] * scores[i * 3 + c], 0)) /
    Math.sqrt(variance(c) * along.reduce((sum, _, i) => sum + scores[i * 3 + c] ** 2, 0));
  assert.ok(match(0) > 0.99 && match(1) > 0.99, `${match(0)} ${match(1)}`);
  const alike = principal(new Float32Array(6).fill(4), 3, 2, 2);
  assert.deepEqual([...alike.scores, ...alike.shares], [0, 0, 0, 0, 0, 0, 0, 0]);
  const rows = Float64Array.from({ length: 60 }, (_, i) => (i % 3) * 10 + (i % 2) * 0.1 + (i >= 45 ? 0.01 : 0));
  const labels = groups(rows, 60, 1, 3);
  assert.equal(new Set(labels).size, 3);
  for (let i = 3; i < 60; i++) assert.equal(labels[i], labels[i % 3]);
  const texts = Array.from(labels, (label) => `the common ${["heron", "anvil", "river"][label]} word`);
  assert.deepEqual(
    tellingWords(labels, texts, 3).map((words) => words[0]),
    ["heron", "anvil", "river"],
  );

  const { parseMetrics, quantile, figures } = await part("metrics.js");
  const buckets = (counts) =>
    parseMetrics(
      [
        "# TYPE x histogram",
        ...counts.map(([le, count]) => `arrwdb_search_seconds_bucket{le="${le}"} ${count}`),
        `arrwdb_events_published_total ${counts[0][1]}`,
        "# EOF",
      ].join("\n"),
    );
  const [before, after] = [
    buckets([
      ["0.1", 5],
      ["0.2", 5],
      ["+Inf", 5],
    ]),
    buckets([
      ["0.1", 7],
      ["0.2", 9],
      ["+Inf", 9],
    ]),
  ];
  assert.ok(Math.abs(quantile(before, after, "arrwdb_search_seconds", 0.5) - 0.1) < 1e-9);
  assert.ok(Math.abs(quantile(before, after, "arrwdb_search_seconds", 0.75) - 0.15) < 1e-9);
  assert.equal(quantile(after, after, "arrwdb_search_seconds", 0.5), null);
  assert.equal(figures(before, after, 2).published, 1);
  assert.equal(figures(after, before, 2).published, null, "a server that began anew");

  const { lineOf, ndjsonPieces, isNdjson, textDocument } = await part("pieces.js");
  assert.match(
    lineOf(' {"n": 12345678901234567890}').text,
    /^ \{"id":"console-[0-9a-f]{32}","n": 12345678901234567890\}$/,
  );
  for (const text of ["[1]", "nonsense", "{}", '{"id":"x"}', '"{"', '{"status":"complete"}x'])
    assert.deepEqual(lineOf(text), { text });
  assert.deepEqual(lineOf('{"status":"complete","total_documents":3,"cursor":"c"}'), { end: 3 });
  const bytes = new Blob([
    `{"id":"a"}\n\n{"id":"${"b".repeat(2 << 20)}"}\r\n{"id":"c"}\n`,
    "x".repeat(17 << 20),
    '\n{"id":"d"}',
  ]);
  const pieces = [];
  for await (const piece of ndjsonPieces(bytes)) pieces.push([piece.lines.map(({ number }) => number), piece.refused]);
  assert.deepEqual(pieces, [
    [[1, 3], []],
    [[4, 6], [5]],
  ]);
  assert.ok(isNdjson("a.jsonl", "") && isNdjson("", ' {"a"') && !isNdjson("a.md", "{") && !isNdjson("", "# words"));
  assert.equal(textDocument("", "First line\nmore").title, "First line");
  assert.equal(Buffer.byteLength(textDocument("", "ä".repeat(2_000)).title), 160);

  const packed = path.join(process.env.ARRWDB_TEST_TOOLS, "node_modules/uplot");
  const { version, license } = JSON.parse(readFileSync(path.join(packed, "package.json"), "utf8"));
  const vendored = path.join(PAGE, "vendor/uplot");
  assert.ok(readFileSync(path.join(vendored, "README.md"), "utf8").startsWith(`uPlot ${version} (${license}`));
  for (const name of ["dist/uPlot.iife.min.js", "dist/uPlot.min.css", "LICENSE"]) {
    assert.ok(
      readFileSync(path.join(packed, name)).equals(readFileSync(path.join(vendored, path.basename(name)))),
      name,
    );
  }
  rmSync(modules, { recursive: true });
}
