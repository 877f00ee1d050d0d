"""Ingest and search of arrwdb beside Chroma's server, Milvus Lite's and Qdrant Edge, from Python.

Rows are vectors of 256 numbers with a short text, in batches of 100, acknowledged one by one;
searches ask for ten hits with their texts. Clients of servers are processes, so that Python's lock
does not count. Qdrant Edge is a library: it is called in the process that has it, by threads, and
has no network to cross. Each searches as wide as finds 98 % of what is nearest to 200 queries
(arrwdb: by default). arrwdb and Chroma sync before they acknowledge; the others do not. What a
batch is differs: arrwdb takes one in a stream that is opened, filled and summed up, the others in a
call.
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
import threading
import time

import numpy

ROWS = int(os.environ.get("ROWS", "20000"))
DIMENSION, K, BATCH, QUERIES, CLIENTS = 256, 10, 100, 1000, 8
RECALL_MIN, TRIED = 0.98, 200
WIDTHS = (10, 16, 24, 32, 48, 64, 100, 150, 200, 300, 400, 600, 800)
BESIDE_SECONDS = 5


def mixture(random, centres, projection, count):
    inner = centres[random.integers(0, len(centres), count)]
    inner = inner + 0.7 * random.normal(size=inner.shape)
    rows = inner @ projection
    rows /= numpy.linalg.norm(rows, axis=1, keepdims=True)
    rows += 0.03 * random.normal(size=rows.shape)
    rows /= numpy.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(numpy.float32)


class Arrwdb:
    widths = (None,)

    @staticmethod
    def command(folder, port):
        flags = ["--data-dir", folder, "--listen", f"127.0.0.1:{port}"]
        return ["target/release/arrwdb", "serve", *flags]

    def __init__(self, port):
        import grpc
        from arrwdb.v1 import document_pb2, document_service_pb2, document_service_pb2_grpc
        from arrwdb.v1 import index_service_pb2, index_service_pb2_grpc
        from arrwdb.v1 import library_service_pb2, library_service_pb2_grpc
        from arrwdb.v1 import search_service_pb2, search_service_pb2_grpc

        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.documents, self.document = document_service_pb2, document_pb2
        self.libraries, self.searches = library_service_pb2, search_service_pb2
        self.indexes = index_service_pb2
        self.document_service = document_service_pb2_grpc.DocumentServiceStub(channel)
        self.library_service = library_service_pb2_grpc.LibraryServiceStub(channel)
        self.search_service = search_service_pb2_grpc.SearchServiceStub(channel)
        self.index_service = index_service_pb2_grpc.IndexServiceStub(channel)

    def create(self):
        self.library_service.CreateLibrary(
            self.libraries.CreateLibraryRequest(name="rows", embedder="none", dimension=DIMENSION)
        )

    def open(self, width):
        pass

    def write(self, first, vectors):
        def items():
            request = self.documents.IngestDocumentsRequest
            yield request(header=self.documents.IngestHeader(library_id="rows"))
            for n, vector in enumerate(vectors, first):
                chunk = self.document.ChunkInput(text=text_of(n), embedding=vector)
                document = self.document.DocumentInput(id=str(n), title=str(n), chunks=[chunk])
                yield request(document=document)

        summary = self.document_service.IngestDocuments(items())
        assert summary.total_succeeded == len(vectors), summary

    def settle(self):
        self.index_service.OptimizeIndex(self.indexes.OptimizeIndexRequest(library_id="rows"))

    def search(self, vector):
        request = self.searches.SearchRequest(library_id="rows", embedding=vector, k=K)
        return [int(hit.document_id) for hit in self.search_service.Search(request).results]


class Chroma:
    widths = WIDTHS

    @staticmethod
    def command(folder, port):
        return [f"{os.path.dirname(sys.executable)}/chroma", "run", "--path", folder, "--port", str(port)]

    def __init__(self, port):
        import chromadb

        settings = chromadb.Settings(anonymized_telemetry=False)
        self.client = chromadb.HttpClient(host="127.0.0.1", port=port, settings=settings)

    def create(self):
        space = {"hnsw": {"space": "cosine"}}
        self.client.create_collection("rows", configuration=space, embedding_function=None)

    def open(self, width):
        self.rows = self.client.get_collection("rows", embedding_function=None)
        if width and self.rows.configuration["hnsw"]["ef_search"] != width:
            self.rows.modify(configuration={"hnsw": {"ef_search": width}})

    def write(self, first, vectors):
        numbers = range(first, first + len(vectors))
        ids, texts = [str(n) for n in numbers], [text_of(n) for n in numbers]
        self.rows.add(ids=ids, documents=texts, embeddings=vectors)

    def settle(self):
        pass

    def search(self, vector):
        include = ["documents", "distances"]
        found = self.rows.query(query_embeddings=[vector], n_results=K, include=include)
        return [int(id) for id in found["ids"][0]]


class Milvus:
    widths = WIDTHS

    @staticmethod
    def command(folder, port):
        program = f"{os.path.dirname(sys.executable)}/milvus-lite"
        return [program, "server", "--data-dir", folder, "--host", "127.0.0.1", "--port", str(port)]

    def __init__(self, port):
        from pymilvus import MilvusClient

        self.client = MilvusClient(uri=f"http://127.0.0.1:{port}")

    def create(self):
        from pymilvus import DataType

        schema = self.client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("text", DataType.VARCHAR, max_length=100)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSION)
        self.client.create_collection("rows", schema=schema)
        self.index()

    def index(self):
        params = self.client.prepare_index_params()
        build = {"M": 16, "efConstruction": 200}
        params.add_index("vector", index_type="HNSW", metric_type="COSINE", params=build)
        self.client.create_index("rows", params)
        self.client.load_collection("rows")

    def open(self, width):
        self.width = width or 100
        self.client.load_collection("rows")

    def write(self, first, vectors):
        rows = [
            {"id": n, "text": text_of(n), "vector": vector} for n, vector in enumerate(vectors, first)
        ]
        self.client.insert("rows", rows)

    def settle(self):
        self.client.flush("rows")
        self.search([1.0] * DIMENSION)

    def search(self, vector):
        params = {"metric_type": "COSINE", "params": {"ef": self.width}}
        found = self.client.search(
            "rows", [vector], limit=K, search_params=params, output_fields=["text"]
        )
        return [hit["id"] for hit in found[0]]


class Qdrant:
    """In this process: all clients have the one shard."""

    widths = WIDTHS
    command = None
    shard = None
    folder = None

    def __init__(self, port):
        import qdrant_edge

        self.api = qdrant_edge

    def create(self):
        api = self.api
        of = api.EdgeVectorParams(size=DIMENSION, distance=api.Distance.Cosine)
        hnsw = api.HnswIndexConfig(m=16, ef_construct=200, full_scan_threshold=1000)
        config = api.EdgeConfig(vectors=of, hnsw_config=hnsw)
        Qdrant.shard = api.EdgeShard.create(Qdrant.folder, config)

    def open(self, width):
        self.params = self.api.SearchParams(hnsw_ef=width or 100)

    def write(self, first, vectors):
        points = [
            self.api.Point(n, vector, {"text": text_of(n)}) for n, vector in enumerate(vectors, first)
        ]
        self.shard.update(self.api.UpdateOperation.upsert_points(points))

    def settle(self):
        self.shard.optimize()
        self.shard.flush()

    def search(self, vector):
        query = self.api.Query.Nearest(vector)
        request = self.api.QueryRequest(
            limit=K, query=query, params=self.params, with_payload=True
        )
        return [point.id for point in self.shard.query(request)]


PEERS = {"arrwdb": Arrwdb, "chroma": Chroma, "milvus-lite": Milvus, "qdrant-edge": Qdrant}


def text_of(n):
    return f"the text of row {n}"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Host:
    """What has the rows: a server, or this process."""

    def __init__(self, name):
        self.peer, self.folder, self.port = PEERS[name], tempfile.mkdtemp(), free_port()
        self.process = None
        Qdrant.folder = f"{self.folder}/shard"
        os.mkdir(Qdrant.folder)
        self.start()

    def start(self):
        if self.peer.command is None:
            return
        quiet = subprocess.DEVNULL
        command = self.peer.command(self.folder, self.port)
        self.process = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
        began = time.monotonic()
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if self.process.poll() is not None or time.monotonic() - began > 120:
                    raise SystemExit(f"{command[0]} does not start")
                time.sleep(0.01)

    def kill(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def reopen(self):
        """After a kill; a library is closed and loaded instead."""
        if self.process:
            self.kill()
            self.start()
        else:
            Qdrant.shard.close()
            Qdrant.shard = self.peer(0).api.EdgeShard.load(Qdrant.folder)

    def resident_mb(self):
        of = self.process.pid if self.process else os.getpid()
        pages = int(open(f"/proc/{of}/statm").read().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def searched(name, port, width, queries, barrier, times):
    peer = PEERS[name](port)
    peer.open(width)
    peer.search(queries[0])
    barrier.wait()
    took = []
    for vector in queries:
        began = time.perf_counter()
        assert len(peer.search(vector)) == K
        took.append(time.perf_counter() - began)
    times.put(took)


def search_from(name, port, width, queries, clients):
    in_process = PEERS[name].command is None
    context = multiprocessing.get_context("spawn")
    start = threading.Thread if in_process else context.Process
    barrier, times = context.Barrier(clients + 1), context.Queue()
    arguments = [
        (name, port, width, queries[n:] + queries[:n], barrier, times) for n in range(clients)
    ]
    workers = [start(target=searched, args=each) for each in arguments]
    for worker in workers:
        worker.start()
    barrier.wait()
    began = time.perf_counter()
    took = sorted(sum((times.get() for _ in workers), []))
    wall = time.perf_counter() - began
    for worker in workers:
        worker.join()
    return len(took) / wall, statistics.median(took) * 1e3, took[len(took) * 99 // 100] * 1e3


def written(name, port, vectors, stop, count):
    """Writes batches until it is told to stop: the rows again, as new ones."""
    peer = PEERS[name](port)
    peer.open(None)
    first = ROWS
    while not stop.is_set():
        at = first % (len(vectors) - BATCH)
        peer.write(first, vectors[at : at + BATCH])
        first += BATCH
        count.value = first - ROWS


def beside_ingest(name, port, width, vectors, queries):
    in_process = PEERS[name].command is None
    context = multiprocessing.get_context("spawn")
    start = threading.Thread if in_process else context.Process
    stop, count = context.Event(), context.Value("q", 0)
    vectors = vectors[:5_000]
    writer = start(target=written, args=(name, port, vectors, stop, count))
    writer.start()
    while count.value == 0:
        time.sleep(0.01)
    peer = PEERS[name](port)
    peer.open(width)
    peer.search(queries[0])
    before, began, took = count.value, time.perf_counter(), []
    while time.perf_counter() - began < BESIDE_SECONDS:
        each = time.perf_counter()
        peer.search(queries[len(took) % len(queries)])
        took.append(time.perf_counter() - each)
    rate = (count.value - before) / (time.perf_counter() - began)
    stop.set()
    writer.join()
    took.sort()
    return rate, statistics.median(took) * 1e3, took[len(took) * 99 // 100] * 1e3


def measure(name, rows, queries, exact, answer):
    host = Host(name)
    try:
        peer = PEERS[name](host.port)
        idle, figures = host.resident_mb(), {}
        peer.create()
        peer.open(None)
        vectors = rows.tolist()
        held = host.resident_mb() - idle if host.process is None else 0
        began = time.perf_counter()
        for at in range(0, ROWS, BATCH):
            peer.write(at, vectors[at : at + BATCH])
        figures["ingest, rows/s"] = ROWS / (time.perf_counter() - began)
        began = time.perf_counter()
        peer.settle()
        figures["then to settle, s"] = time.perf_counter() - began
        for width in peer.widths:
            peer.open(width)
            found = [set(peer.search(vector)) for vector in queries[:TRIED]]
            recall = sum(len(got & want) for got, want in zip(found, exact)) / (K * len(found))
            if recall >= RECALL_MIN:
                break
        figures["recall"], figures["ef"] = recall, width or 0
        for clients in (1, CLIENTS):
            rate, p50, p99 = search_from(name, host.port, width, queries, clients)
            figures[f"queries/s, {clients}"] = rate
            figures[f"p50 ms, {clients}"], figures[f"p99 ms, {clients}"] = p50, p99
        figures["memory idle, MB"] = idle
        figures["memory loaded, MB"] = host.resident_mb() - held
        beside = beside_ingest(name, host.port, width, vectors, queries)
        figures["beside ingest: rows/s"] = beside[0]
        figures["beside ingest: p50 ms"], figures["beside ingest: p99 ms"] = beside[1:]
        began = time.perf_counter()
        host.reopen()
        peer = PEERS[name](host.port)
        while True:
            try:
                peer.open(width)
                if len(peer.search(queries[0])) == K:
                    break
            except Exception:
                if time.perf_counter() - began > 120:
                    raise
                time.sleep(0.01)
        figures["restart to a search, s"] = time.perf_counter() - began
        answer.put(figures)
    except BaseException:
        answer.put({})
        raise
    finally:
        host.kill()
        shutil.rmtree(host.folder, ignore_errors=True)


def main():
    names = sys.argv[1:] or list(PEERS)
    random = numpy.random.default_rng(42)
    centres, projection = random.normal(size=(300, 30)), random.normal(size=(30, DIMENSION))
    rows = mixture(random, centres, projection, ROWS)
    queries = mixture(random, centres, projection, QUERIES)
    nearest = numpy.argsort(-(queries[:TRIED] @ rows.T), axis=1)[:, :K]
    exact = [set(row.tolist()) for row in nearest]
    context, figures = multiprocessing.get_context("spawn"), {}
    for name in names:
        answer = context.Queue()
        arguments = (name, rows, queries.tolist(), exact, answer)
        process = context.Process(target=measure, args=arguments)
        process.start()
        figures[name] = answer.get()
        process.join()
        print(f"{name}: done", file=sys.stderr, flush=True)
    print(f"{ROWS} rows of {DIMENSION}, clients in Python; load average {os.getloadavg()[0]:.1f}")
    print(" " * 24 + "".join(f"{name:>14}" for name in names))
    for what in next(each for each in figures.values() if each):
        cells = (figures[name].get(what) for name in names)
        print(f"{what:<24}" + "".join(f"{'-' if x is None else f'{x:.3f}':>14}" for x in cells))


if __name__ == "__main__":
    main()
