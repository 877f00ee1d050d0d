"""Draws how searches and writes fare as a library grows, from what the search bench printed.

    ARRWDB_BENCH_ONLY=sizes ARRWDB_BENCH_ROWS=10000,100000,1000000 cargo bench --bench search > FILE
    benches/growth.py FILE docs/img/growth.svg        (needs matplotlib)
"""

import re
import sys

import matplotlib

matplotlib.use("svg")
# Text stays text, and the same figures give the same file.
matplotlib.rcParams["svg.fonttype"] = "none"
matplotlib.rcParams["svg.hashsalt"] = "arrwdb"
import matplotlib.pyplot as plot

NUMBER = r"([\d ]+(?:\.\d+)?)"
SIZE = re.compile(rf"^{NUMBER} rows of \d+, k = 10$")
LATENCY = re.compile(rf"^  (\S.*?) {{2,}}p50 +{NUMBER} ms p99 +{NUMBER} ms")
RATE = re.compile(rf"^  one stream +{NUMBER} docs/s +{NUMBER} rows before")
SEARCHES = {
    "1 client": "default",
    "1 client, exact": "exact",
    "1 client beside an ingest (1 000 vectors a second)": "beside 1 000 writes/s",
    "1 client beside an ingest (5 000 vectors a second)": "beside 5 000 writes/s",
}


def number(text):
    return float(text.replace(" ", ""))


def read(path):
    latencies, rates, rows = {}, {}, None
    with open(path) as lines:
        for line in lines:
            if found := SIZE.match(line):
                rows = number(found[1])
            elif rows and (found := LATENCY.match(line)):
                latencies.setdefault(found[1], {})[rows] = number(found[2]), number(found[3])
            elif rows and (found := RATE.match(line)):
                rates[rows] = number(found[1])
    if not latencies:
        raise SystemExit(f"{path} has no figures")
    return latencies, rates


def draw(axes, series, label, colour):
    sizes = sorted(series)
    for place, style, name in ((0, "-o", f"{label}, p50"), (1, ":^", f"{label}, p99")):
        axes.plot(sizes, [series[size][place] for size in sizes], style, color=colour, label=name)


def main(source, target):
    latencies, rates = read(source)
    figure, (searches, writes) = plot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for (what, label), colour in zip(SEARCHES.items(), ("C0", "C7", "C2", "C3")):
        if what in latencies:
            draw(searches, latencies[what], label, colour)
    searches.set(title="a search, k = 10, over gRPC", ylabel="ms")
    draw(writes, latencies["a write at a time"], "a write at a time", "C0")
    writes.set(title="writes, fsync on", ylabel="ms")
    for axes in (searches, writes):
        axes.set(xlabel="rows of 256 numbers", xscale="log", yscale="log")
        axes.grid(True, which="major", alpha=0.3)
    streams = writes.twinx()
    sizes = sorted(rates)
    streams.plot(sizes, [rates[size] for size in sizes], "-s", color="C1", label="one stream, docs/s")
    streams.set(ylabel="docs/s", ylim=(0, None))
    lines = writes.get_lines() + streams.get_lines()
    writes.legend(lines, [line.get_label() for line in lines], fontsize=8)
    searches.legend(fontsize=8)
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
