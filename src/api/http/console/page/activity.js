// The last minutes of the server in charts, and who follows the feed.

import { ask } from "./client.js";
import { colour, compact, count, duration, fill, h, plural, throttled, time, timeOf, momentOf } from "./dom.js";
import { onBeat, pulse } from "./pulse.js";

/** Seconds that a chart shows. */
const SPAN_s = 300;
const HEIGHT_px = 150;
/** Subscribers that are listed: the slowest. */
const SUBSCRIBERS_MAX = 50;

const perSecond = (value) => (value >= 10 || value === 0 ? `${compact(Math.round(value))}/s` : `${value.toFixed(1)}/s`);

const CHARTS = [
  {
    title: "Ingest",
    hint: "Changes made durable a second",
    series: [["Changes", "changes", "--series-1"]],
    written: perSecond,
  },
  {
    title: "Events",
    hint: "Published once, delivered to each subscriber",
    series: [
      ["Published", "published", "--series-1"],
      ["Delivered", "delivered", "--series-2"],
    ],
    written: perSecond,
  },
  {
    title: "Search latency",
    hint: "From the request to its ranking, inside the server",
    series: [
      ["Half are faster", "searchMedian", "--series-1"],
      ["99 of 100 are", "searchSlow", "--series-3"],
    ],
    written: duration,
    points: true,
    logarithmic: true,
  },
  {
    title: "Subscriber lag",
    hint: "How far the slowest live subscription is behind",
    series: [["Slowest", "lagSeconds", "--series-4"]],
    written: duration,
  },
];

/** From nought on. */
const linearScale = { range: (_, __, most) => [0, most > 0 ? most * 1.15 : 1] };
/** In decades: one slow search does not hide how fast the others are. */
const logScale = {
  distr: 3,
  range: (_, least, most) =>
    least > 0 ? [10 ** Math.floor(Math.log10(least)), 10 ** Math.ceil(Math.log10(most * 1.01))] : [1e-4, 1e-1],
};
/** Of lines within decades only the decades themselves. */
const decades = (_, ticks) =>
  ticks.map((tick) => (Math.abs(Math.log10(tick) - Math.round(Math.log10(tick))) < 1e-9 ? tick : null));

/** A chart that keeps itself up to date by `draw`. */
function chart({ title, hint, series, written, points, logarithmic }) {
  const values = h("dl", { class: "values" });
  const canvas = h("div", { class: "plot", role: "img" });
  const moment = h("span", { class: "quiet-text moment" });
  const element = h(
    "section",
    { class: "chart" },
    h("header", {}, h("h2", {}, title, moment), h("p", { class: "quiet-text" }, hint)),
    values,
    canvas,
  );
  let plot = null;
  let pointed = null;
  const make = () => {
    plot?.destroy();
    const [ink, grid] = [colour("--quiet"), colour("--line")];
    const axis = {
      stroke: ink,
      grid: { stroke: grid, width: 1 },
      ticks: { show: false },
      font: "11px system-ui, sans-serif",
    };
    plot = new uPlot(
      {
        width: Math.max(200, canvas.clientWidth),
        height: HEIGHT_px,
        legend: { show: false },
        cursor: { y: false, points: { size: 6 } },
        scales: {
          x: { range: () => [Date.now() / 1_000 - SPAN_s, Date.now() / 1_000] },
          y: logarithmic ? logScale : linearScale,
        },
        axes: [
          { ...axis, size: 26, space: 56, values: "{HH}:{mm}" },
          {
            ...axis,
            size: 62,
            space: 36,
            ...(logarithmic && { grid: { ...axis.grid, filter: decades }, filter: decades }),
            values: (_, ticks) => ticks.map((tick) => (tick === null ? null : tick === 0 ? "0" : written(tick))),
          },
        ],
        // What stood there at the moment that is pointed at, or else stands there now.
        hooks: { setCursor: [({ cursor }) => ((pointed = cursor.idx ?? null), tell())] },
        series: [
          {},
          ...series.map(([label, , name], i) => ({
            label,
            stroke: colour(name),
            width: 1.75,
            points: { show: points === true, size: 3, fill: colour(name) },
            fill: i === 0 && series.length === 1 ? colour(`${name}-soft`) : undefined,
          })),
        ],
      },
      data(),
      canvas,
    );
  };
  const data = () => [
    pulse.samples.map((sample) => sample.at),
    ...series.map(([, name]) => pulse.samples.map((sample) => sample[name] ?? null)),
  ];
  const newest = (name) => pulse.samples.findLast((sample) => (sample[name] ?? null) !== null)?.[name] ?? null;
  const tell = () => {
    const sample = pointed === null ? undefined : pulse.samples[pointed];
    moment.textContent = sample ? timeOf(sample.at * 1_000) : "";
    const told = series.map(([label, name, tint]) => [label, sample ? (sample[name] ?? null) : newest(name), tint]);
    fill(
      values,
      told.map(([label, value, tint]) => {
        const key = h("span", { class: "key", "aria-hidden": "true" });
        key.style.background = `var(${tint})`;
        return h("div", {}, h("dt", {}, key, label), h("dd", {}, value === null ? "–" : written(value)));
      }),
    );
    return told;
  };
  const draw = () => {
    const told = tell();
    canvas.setAttribute(
      "aria-label",
      `${title}, last five minutes: ${told.map(([label, value]) => `${label} ${value === null ? "not known" : written(value)}`).join(", ")}`,
    );
    plot.setData(data());
  };
  return {
    element,
    make,
    draw,
    resize: () => plot?.setSize({ width: Math.max(200, canvas.clientWidth), height: HEIGHT_px }),
  };
}

function subscribersTable(statistics) {
  const all = statistics.subscribers;
  if (all.length === 0) return h("p", { class: "quiet-text" }, "Nobody follows.");
  const slowest = [...all].sort((a, b) => b.lag_revisions - a.lag_revisions).slice(0, SUBSCRIBERS_MAX);
  return [
    h(
      "div",
      { class: "table-box" },
      h(
        "table",
        { class: "cards" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["Subscriber", "Since", "Delivered", "Pending", "Behind"].map((name, i) =>
              h("th", { scope: "col", class: i > 1 ? "number" : "" }, name),
            ),
          ),
        ),
        h(
          "tbody",
          {},
          slowest.map((one) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, `#${one.id}`),
              h("td", { "data-label": "Since" }, time(one.since, momentOf)),
              h("td", { class: "number", "data-label": "Delivered" }, count(one.delivered_events)),
              h("td", { class: "number", "data-label": "Pending" }, count(one.pending_events)),
              h(
                "td",
                { class: "number", "data-label": "Behind" },
                one.lag_revisions === 0
                  ? "no"
                  : `${plural(one.lag_revisions, "revision")}, ${duration(one.lag_seconds)}`,
              ),
            ),
          ),
        ),
      ),
    ),
    all.length > slowest.length &&
      h("p", { class: "quiet-text" }, `The ${slowest.length} that are furthest behind, of ${count(all.length)}.`),
  ];
}

/** The view. */
export function activity(root) {
  const charts = CHARTS.map(chart);
  const body = h("div", {});
  fill(
    root,
    h("h1", {}, "Activity"),
    h(
      "div",
      { class: "charts" },
      charts.map(({ element }) => element),
    ),
    h(
      "section",
      {},
      h("h2", {}, "Subscribers"),
      h("p", { class: "quiet-text" }, "Live subscriptions to the feed, this page's own among them."),
      body,
    ),
  );
  const make = () => charts.forEach((one) => (one.make(), one.draw()));
  make();
  document.addEventListener("themechange", make);
  const sized = new ResizeObserver(throttled(() => charts.forEach((one) => one.resize()), 100));
  charts.forEach(({ element }) => sized.observe(element));
  const stop = new AbortController();
  let busy = false;
  const leave = onBeat(async () => {
    charts.forEach((one) => one.draw());
    if (busy || !pulse.up) return;
    busy = true;
    try {
      fill(body, subscribersTable(await ask("GET", "/v1/events/statistics", { signal: stop.signal })));
    } catch {
      // The next beat says that the server is gone.
    } finally {
      busy = false;
    }
  });
  return () => {
    stop.abort();
    leave();
    sized.disconnect();
    document.removeEventListener("themechange", make);
  };
}
