"""Ingest and search of arrwdb and of Chroma's server, one after the other, from Python.

Rows are vectors of 256 numbers with a short text, in batches of 100, acknowledged one by one;
searches ask for ten hits with their texts. Clients are processes, so that Python's lock does not
count. Recall is against exact search. arrwdb's ranking is exact, Chroma's is by HNSW with its
default settings. Both sync before they acknowledge. What a batch is differs: Chroma takes one in
a request, arrwdb in a stream that is opened, filled and summed up.
"""

import multiprocessing
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import numpy

ROWS = int(os.environ.get("ROWS", "20000"))
DIMENSION, K, BATCH, QUERIES, CLIENTS = 256, 10, 100, 1000, 8


def mixture(random, centres, projection, count):
    inner = centres[random.integers(0, len(centres), count)]
    inner = inner + 0.7 * random.normal(size=inner.shape)
    rows = inner @ projection
    rows /= numpy.linalg.norm(rows, axis=1, keepdims=True)
    rows += 0.03 * random.normal(size=rows.shape)
    rows /= numpy.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(numpy.float32)


class Chroma:
    def __init__(self, port):
        import chromadb

        settings = chromadb.Settings(anonymized_telemetry=False)
        self.client = chromadb.HttpClient(host="127.0.0.1", port=port, settings=settings)

    def create(self):
        space = {"hnsw": {"space": "cosine"}}
        self.client.create_collection("rows", configuration=space, embedding_function=None)

    def open(self):
        self.rows = self.client.get_collection("rows", embedding_function=None)

    def write(self, ids, texts, vectors):
        self.rows.add(ids=ids, documents=texts, embeddings=vectors)

    def search(self, vector):
        return self.rows.query(
            query_embeddings=[vector], n_results=K, include=["documents", "distances"]
        )["ids"][0]


class Arrwdb:
    def __init__(self, port):
        import grpc
        from arrwdb.v1 import document_pb2, document_service_pb2, document_service_pb2_grpc
        from arrwdb.v1 import library_service_pb2, library_service_pb2_grpc
        from arrwdb.v1 import search_service_pb2, search_service_pb2_grpc

        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.documents, self.document = document_service_pb2, document_pb2
        self.libraries, self.searches = library_service_pb2, search_service_pb2
        self.document_service = document_service_pb2_grpc.DocumentServiceStub(channel)
        self.library_service = library_service_pb2_grpc.LibraryServiceStub(channel)
        self.search_service = search_service_pb2_grpc.SearchServiceStub(channel)

    def create(self):
        self.library_service.CreateLibrary(
            self.libraries.CreateLibraryRequest(name="rows", embedder="none", dimension=DIMENSION)
        )

    def open(self):
        pass

    def write(self, ids, texts, vectors):
        def items():
            request = self.documents.IngestDocumentsRequest
            yield request(header=self.documents.IngestHeader(library_id="rows"))
            for id, text, vector in zip(ids, texts, vectors):
                chunk = self.document.ChunkInput(text=text, embedding=vector)
                document = self.document.DocumentInput(id=id, title=id, chunks=[chunk])
                yield request(document=document)

        summary = self.document_service.IngestDocuments(items())
        assert summary.total_succeeded == len(ids), summary

    def search(self, vector):
        request = self.searches.SearchRequest(library_id="rows", embedding=vector, k=K)
        return [hit.document_id for hit in self.search_service.Search(request).results]


PEERS = {"arrwdb": Arrwdb, "chroma": Chroma}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(name, chroma, folder, port):
    if name == "arrwdb":
        command = ["target/release/arrwdb", "serve", "--data-dir", folder]
        command += ["--listen", f"127.0.0.1:{port}"]
    else:
        command = [chroma, "run", "--path", folder, "--port", str(port)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
    began = time.monotonic()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process
        except OSError:
            if process.poll() is not None or time.monotonic() - began > 60:
                raise SystemExit(f"{name} does not start")
            time.sleep(0.02)


def resident_mb(process):
    pages = int(open(f"/proc/{process.pid}/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def searched(name, port, queries, barrier, times):
    peer = PEERS[name](port)
    peer.open()
    peer.search(queries[0])
    barrier.wait()
    took = []
    for vector in queries:
        began = time.perf_counter()
        assert len(peer.search(vector)) == K
        took.append(time.perf_counter() - began)
    times.put(took)


def search_from(name, port, queries, clients):
    context = multiprocessing.get_context("spawn")
    barrier, times = context.Barrier(clients + 1), context.Queue()
    arguments = [(name, port, queries[n:] + queries[:n], barrier, times) for n in range(clients)]
    processes = [context.Process(target=searched, args=each) for each in arguments]
    for process in processes:
        process.start()
    barrier.wait()
    began = time.perf_counter()
    took = sorted(sum((times.get() for _ in processes), []))
    wall = time.perf_counter() - began
    for process in processes:
        process.join()
    return len(took) / wall, statistics.median(took) * 1e3, took[len(took) * 99 // 100] * 1e3


def measure(name, chroma, rows, queries, exact):
    folder, port = tempfile.mkdtemp(), free_port()
    process = start(name, chroma, folder, port)
    try:
        peer = PEERS[name](port)
        idle = resident_mb(process)
        peer.create()
        peer.open()
        vectors = rows.tolist()
        began = time.perf_counter()
        for at in range(0, ROWS, BATCH):
            numbers = range(at, min(at + BATCH, ROWS))
            ids, texts = [f"row-{n}" for n in numbers], [f"the text of row {n}" for n in numbers]
            peer.write(ids, texts, vectors[at : at + BATCH])
        figures = {"ingest, rows/s": ROWS / (time.perf_counter() - began)}
        found = [set(peer.search(vector)) for vector in queries[:200]]
        right = sum(len(got & want) for got, want in zip(found, exact))
        figures["recall"] = right / (K * len(found))
        for clients in (1, CLIENTS):
            rate, p50, p99 = search_from(name, port, queries, clients)
            figures[f"queries/s, {clients}"] = rate
            figures[f"p50 ms, {clients}"], figures[f"p99 ms, {clients}"] = p50, p99
        figures["memory idle, MB"], figures["memory loaded, MB"] = idle, resident_mb(process)
        return figures
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    random = numpy.random.default_rng(42)
    centres, projection = random.normal(size=(300, 30)), random.normal(size=(30, DIMENSION))
    rows = mixture(random, centres, projection, ROWS)
    queries = mixture(random, centres, projection, QUERIES)
    nearest = numpy.argsort(-(queries[:200] @ rows.T), axis=1)[:, :K]
    exact = [{f"row-{n}" for n in row} for row in nearest]
    figures = {name: measure(name, sys.argv[1], rows, queries.tolist(), exact) for name in PEERS}
    print(f"{ROWS} rows of {DIMENSION}, clients in Python; load average {os.getloadavg()[0]:.1f}")
    print(f"{'':<20} {'arrwdb':>10} {'chroma':>10} {'ratio':>8}")
    for what, ours in figures["arrwdb"].items():
        theirs = figures["chroma"][what]
        print(f"{what:<20} {ours:>10.3f} {theirs:>10.3f} {ours / theirs:>8.2f}")


if __name__ == "__main__":
    main()
