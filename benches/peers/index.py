"""hnswlib, faiss and usearch on the vectors of a folder, as benches/graphs.rs takes them.

One thread searches, in one call for all queries, so that Python does not count; two build. Times
are those of the process on a processor. Recall is against exact search. `table` puts what all of
them printed, arrwdb's bench among them, beside each other.
"""

import os
import re
import sys
import time

import numpy

K = (10, 100)
ROUNDS = 3
THREADS = int(os.environ.get("ARRWDB_BENCH_THREADS", "2"))


def make(folder, count, dimension=256, clusters=300, inner=30):
    random = numpy.random.default_rng(42)
    centres = random.normal(size=(clusters, inner))
    spread = 0.7 * random.uniform(0.6, 1.4, clusters)
    outward = random.normal(size=(inner, dimension)) / dimension**0.5

    def draw(count):
        of = random.integers(0, clusters, count)
        rows = (centres[of] + spread[of, None] * random.normal(size=(count, inner))) @ outward
        rows /= numpy.linalg.norm(rows, axis=1, keepdims=True)
        rows += 0.03 * random.normal(size=rows.shape)
        rows /= numpy.linalg.norm(rows, axis=1, keepdims=True)
        return rows.astype("<f4")

    draw(count).tofile(f"{folder}/rows.f32")
    draw(1_000).tofile(f"{folder}/queries.f32")
    open(f"{folder}/dimension", "w").write(str(dimension))


def read(folder):
    dimension = int(open(f"{folder}/dimension").read())

    def vectors(name):
        rows = numpy.fromfile(f"{folder}/{name}", "<f4").reshape(-1, dimension)
        return rows / numpy.linalg.norm(rows, axis=1, keepdims=True)

    return vectors("rows.f32"), vectors("queries.f32")


def cpu():
    return time.process_time()


def resident():
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) * 1024


class Hnswlib:
    name = "hnswlib M16 efc200"

    def build(self, rows):
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=rows.shape[1])
        self.index.init_index(len(rows), M=16, ef_construction=200)
        self.index.add_items(rows, num_threads=THREADS)
        self.index.set_num_threads(1)

    def search(self, queries, k, ef):
        self.index.set_ef(ef)
        return self.index.knn_query(queries, k, num_threads=1)[0]


class Faiss:
    name = "faiss HNSW16 efc200"

    def build(self, rows):
        import faiss

        faiss.omp_set_num_threads(THREADS)
        self.index = faiss.IndexHNSWFlat(rows.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = 200
        self.index.add(rows)
        faiss.omp_set_num_threads(1)

    def search(self, queries, k, ef):
        self.index.hnsw.efSearch = ef
        return self.index.search(queries, k)[1]


class Usearch:
    name = "usearch M16 efc200"

    def build(self, rows):
        from usearch.index import Index

        self.index = Index(
            ndim=rows.shape[1], metric="ip", dtype="f32", connectivity=16, expansion_add=200
        )
        self.index.add(numpy.arange(len(rows)), rows, threads=THREADS)

    def search(self, queries, k, ef):
        self.index.expansion_search = ef
        return self.index.search(queries, k, threads=1).keys


PEERS = (Hnswlib, Faiss, Usearch)


def compare(folder):
    rows, queries = read(folder)
    truth = {k: [] for k in K}
    # In parts: all distances at once would take gigabytes.
    for at in range(0, len(queries), 50):
        near = -(queries[at : at + 50] @ rows.T)
        nearest = numpy.argpartition(near, max(K), axis=1)[:, : max(K)]
        order = numpy.take_along_axis(near, nearest, axis=1).argsort(axis=1)
        nearest = numpy.take_along_axis(nearest, order, axis=1)
        for k in K:
            truth[k].append(nearest[:, :k])
    truth = {k: numpy.concatenate(parts) for k, parts in truth.items()}
    wanted = os.environ.get("PEERS", "hnswlib,faiss,usearch").split(",")
    for peer in (each() for each in PEERS if each.name.split()[0] in wanted):
        before, began, wall = resident(), cpu(), time.time()
        peer.build(rows)
        took, wall = cpu() - began, time.time() - wall
        print(
            f"{peer.name}: build {took / len(rows) * 1e6:.1f} us of processor a row,"
            f" {wall:.1f} s of wall time, {(resident() - before) / len(rows):.0f} B a row",
            flush=True,
        )
        for k in K:
            for ef in (10, 16, 24, 32, 48, 64, 96, 128, 200, 300, 400, 600, 800, 1_200):
                if ef < k:
                    continue
                times = []
                for _ in range(ROUNDS):
                    began = cpu()
                    found = peer.search(queries, k, ef)
                    times.append((cpu() - began) / len(queries) * 1e6)
                hits = sum(
                    len(set(found[i][:k]) & set(truth[k][i])) for i in range(len(queries))
                )
                recall = hits / truth[k].size
                took = sorted(times)[1]
                print(f"  k {k:>3} ef {ef:>5}: recall {recall:.4f} {took:>8.1f} us", flush=True)
                if recall > 0.997:
                    break
        del peer.index


def table(path):
    """Times at equal recall, between the two nearest that were measured, and arrwdb's lead."""
    point = re.compile(r"\s*k =? *(\d+) +ef +(\d+): recall ([\d.]+) +([\d.]+) us")
    curves, builds, name = {}, {}, None
    for line in open(path):
        if "us of processor a row" in line:
            number = re.search(r"([\d.]+) us of processor", line)[1]
            name = line.split()[0] if not line.startswith("build") else "arrwdb"
            builds.setdefault(name, []).append(float(number))
        elif found := point.match(line):
            k, _, recall, took = found.groups()
            curves.setdefault((name, int(k)), {}).setdefault(float(recall), []).append(float(took))
    names = list(builds)
    lead = [name for name in names if name != "arrwdb"]
    print(" " * 20 + "".join(f"{each:>10}" for each in names) + "   arrwdb's lead over " + ", ".join(lead))

    def row(what, cells):
        shown = (f"{'-' if x is None else f'{x:.0f}':>10}" for x in cells.values())
        ours = cells.get("arrwdb")
        ratios = [f"{cells[x] / ours:.2f}" if ours and cells[x] else "-" for x in lead]
        print(f"{what:<20}" + "".join(shown) + "   " + "  ".join(ratios))

    row("build, us a row", {each: min(builds[each]) for each in names})
    for k in K:
        for recall in (0.90, 0.95, 0.98, 0.99):
            at = {each: time_at(recall, curves.get((each, k), {})) for each in names}
            row(f"@{k} {recall:.2f}, us", at)


def time_at(recall, curve):
    points = sorted((at, sum(took) / len(took)) for at, took in curve.items())
    for below, above in zip(points, points[1:]):
        if below[0] <= recall <= above[0]:
            share = (recall - below[0]) / (above[0] - below[0])
            return below[1] + share * (above[1] - below[1])
    return None


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1] == "table":
        table(sys.argv[2])
    else:
        compare(sys.argv[2])
