// The server's figures over time, made of `/metrics` as it reads at two moments.

/** The samples of OpenMetrics text: from name, with labels as written, to number. */
export function parseMetrics(text) {
  const samples = new Map();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const end = line.lastIndexOf("}") + 1 || line.indexOf(" ");
    samples.set(line.slice(0, end), Number(line.slice(end).trim().split(" ")[0]));
  }
  return samples;
}

/** How much a counter grew; `null` when it began anew. */
function growth(before, after, name) {
  const grown = (after.get(name) ?? NaN) - (before.get(name) ?? NaN);
  return grown >= 0 ? grown : null;
}

/** The buckets of a histogram, in order: `[upper bound, count up to it]`. */
function buckets(samples, name) {
  const start = `${name}_bucket{le="`;
  const found = [];
  for (const [key, count] of samples) {
    if (key.startsWith(start)) found.push([Number(key.slice(start.length, -2).replace("+Inf", "Infinity")), count]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}

/** The value that a part `q` of what a histogram saw in between does not exceed; `null` when it saw nothing. */
export function quantile(before, after, name, q) {
  const earlier = new Map(buckets(before, name));
  const grown = buckets(after, name).map(([bound, count]) => [bound, count - (earlier.get(bound) ?? 0)]);
  const total = grown.at(-1)?.[1] ?? 0;
  if (!(total > 0)) return null;
  let [low, below] = [0, 0];
  for (const [bound, count] of grown) {
    if (count >= q * total)
      return bound === Infinity ? low : low + ((bound - low) * (q * total - below)) / (count - below);
    [low, below] = [bound, count];
  }
  return low;
}

/** What is charted, of two readings that lie `seconds` apart. `null` is not known. */
export function figures(before, after, seconds) {
  const rate = (name) => {
    const grown = growth(before, after, name);
    return grown === null ? null : grown / seconds;
  };
  return {
    changes: rate("arrwdb_commit_changes_sum"),
    published: rate("arrwdb_events_published_total"),
    delivered: rate("arrwdb_events_delivered_total"),
    searches: rate("arrwdb_search_queries_total"),
    searchMedian: quantile(before, after, "arrwdb_search_seconds", 0.5),
    searchSlow: quantile(before, after, "arrwdb_search_seconds", 0.99),
    lagSeconds: after.get("arrwdb_subscriber_lag_max_seconds") ?? null,
    pending: after.get("arrwdb_subscriber_pending_events") ?? null,
  };
}
