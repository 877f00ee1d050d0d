#!/usr/bin/env python3
"""Fan-out of the change feed beside NATS JetStream and Redis Streams, in one run.

    feed_fanout.py --arrwdb target/release/arrwdb [--nats PATH] [--redis PATH]
                   [--documents 20000] [--subscribers 1,20,100,1000] [--json FILE]

Every server makes each publish durable before it acknowledges: arrwdb by default, NATS with
`sync_interval: always`, Redis with `appendfsync always`. All publish one pipelined stream over one
connection, and every event carries the same bytes: those of an arrwdb `document.added`. Subscribers
are lean: sockets read by one process, which counts events by their delimiter. A server's CPU is
that of its process, publishing included; with few subscribers deliveries are bounded by publishing.
Figures of one machine: run it on a quiet one.
"""

import argparse
import json
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

DEADLINE = 120
TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(port):
    begun = time.monotonic()
    while True:
        try:
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError:
            if time.monotonic() - begun > DEADLINE:
                raise
            time.sleep(0.02)


def read_until(sock, buffer, delimiter):
    """The bytes up to and with the delimiter; what lies behind stays in the buffer."""
    while delimiter not in buffer:
        data = sock.recv(1 << 16)
        if not data:
            raise ConnectionError("closed")
        buffer += data
    end = buffer.index(delimiter) + len(delimiter)
    head = bytes(buffer[:end])
    del buffer[:end]
    return head


class Server:
    """A server process in a folder of its own."""

    def __init__(self, command, folder):
        self.folder = folder
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Counter:
    """Counts a delimiter in a stream of pieces."""

    def __init__(self, marker):
        self.marker, self.tail = marker, b""

    def take(self, data):
        joined = self.tail + data
        self.tail = joined[-(len(self.marker) - 1) :]
        return joined.count(self.marker)


class Reader:
    """One subscriber: a socket and what it has received."""

    def __init__(self, sock, marker):
        self.sock, self.counter = sock, Counter(marker)
        self.events = self.bytes = 0

    def ready(self):
        data = self.sock.recv(1 << 18)
        if not data:
            raise ConnectionError("a subscriber was cut")
        self.bytes += len(data)
        new = self.take(data)
        self.events += new
        return new

    def take(self, data):
        return self.counter.take(data)


class Arrwdb(Server):
    name = "arrwdb (SSE)"

    def __init__(self, binary, folder):
        self.port = free_port()
        listen = f"127.0.0.1:{self.port}"
        binary = os.path.abspath(binary)
        super().__init__([binary, "serve", "--listen", listen, "--data-dir", "data"], folder)
        connect(self.port).close()
        new = {"name": "feed", "embedder": "none", "dimension": 4, "metric": "l2"}
        self.request("POST", "/v1/libraries", json.dumps(new).encode())
        self.made = 0

    def request(self, method, path, body=b""):
        with connect(self.port) as sock:
            head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            sock.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            reply = bytearray()
            while data := sock.recv(1 << 18):
                reply += data
        status = reply.split(b" ", 2)[1]
        if not status.startswith(b"2"):
            raise RuntimeError(reply.decode())
        return bytes(reply)

    def payload(self):
        """What one event looks like, without the frame around it."""
        self.publish(1)
        page = self.request("GET", "/v1/events?limit=1000")
        at = page.rindex(b'{"id":', 0, page.rindex(b'"document.added"'))
        return page[at : page.index(b"}}", at) + 2]

    def document(self):
        self.made += 1
        chunk = {"text": "x", "embedding": [1, 2, 3, 4]}
        of = {"id": f"document-{self.made:09}", "title": "A title of some length", "chunks": [chunk]}
        of["metadata"] = {"topic": "birds", "n": self.made % 10}
        return json.dumps(of).encode() + b"\n"

    def publish(self, number):
        body = b"".join(self.document() for _ in range(number))
        path = "/v1/libraries/feed/documents/stream?report=summary"
        reply = self.request("POST", path, body)
        if f'"total_succeeded":{number},'.encode() not in reply:
            raise RuntimeError(reply.decode())

    def publisher(self):
        """Publishes one at a time over one connection; returns once it is acknowledged."""
        sock, buffer = connect(self.port), bytearray()

        def publish():
            body = self.document()
            head = "POST /v1/libraries/feed/documents HTTP/1.1\r\nhost: x\r\n"
            sock.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            head = read_until(sock, buffer, b"\r\n\r\n").lower()
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            while len(buffer) < length:
                buffer.extend(sock.recv(1 << 16))
            del buffer[:length]

        return publish

    def subscribe(self, start):
        sock = connect(self.port)
        cursor = {"begin": "begin", "now": "now"}[start]
        path = f"/v1/events/stream?event_types=document.added&cursor={cursor}"
        sock.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        buffer = bytearray()
        # The first heartbeat: the subscription is live.
        read_until(sock, buffer, b"event: heartbeat\n")
        reader = Reader(sock, b"\nevent: document.added\n")
        reader.events += reader.take(bytes(buffer))
        return reader


class Nats(Server):
    name = "NATS JetStream"

    def __init__(self, binary, folder, payload):
        self.port, self.bytes = free_port(), payload
        with open(os.path.join(folder, "nats.conf"), "w") as file:
            file.write(
                f"listen: 127.0.0.1:{self.port}\n"
                f'jetstream {{ store_dir: "{folder}/data", sync_interval: always\n'
                # From 2.15 on a stream has a thousand consumers at most, unless told otherwise.
                "limits { default_max_consumers: -1 } }\n"
            )
        super().__init__([binary, "-c", "nats.conf"], folder)
        self.subscriptions = 0
        sock, buffer = self.open()
        config = {"name": "S", "subjects": ["f.>"], "storage": "file"}
        self.ask(sock, buffer, "STREAM.CREATE.S", config)
        sock.close()

    def open(self):
        sock, buffer = connect(self.port), bytearray()
        read_until(sock, buffer, b"\r\n")
        sock.sendall(b'CONNECT {"verbose":false}\r\nPING\r\n')
        read_until(sock, buffer, b"PONG\r\n")
        return sock, buffer

    def message_size(self, sock, buffer):
        """Reads up to the next message and says how long it is; answers the server's pings."""
        while (line := read_until(sock, buffer, b"\r\n")) == b"PING\r\n":
            sock.sendall(b"PONG\r\n")
        return int(line.split()[-1])

    def ask(self, sock, buffer, what, body):
        body = json.dumps(body).encode()
        inbox = f"r.{os.getpid()}.{id(sock)}"
        head = f"SUB {inbox} 1\r\nPUB $JS.API.{what} {inbox} {len(body)}\r\n"
        sock.sendall(head.encode() + body + b"\r\n")
        size = self.message_size(sock, buffer)
        while len(buffer) < size + 2:
            buffer.extend(sock.recv(1 << 16))
        reply = json.loads(bytes(buffer[:size]))
        del buffer[: size + 2]
        sock.sendall(b"UNSUB 1\r\n")
        if "error" in reply:
            raise RuntimeError(reply)

    def publish(self, number):
        sock, _ = self.open()
        sock.sendall(b"SUB a 9\r\n")
        message = f"PUB f.d a {len(self.bytes)}\r\n".encode() + self.bytes + b"\r\n"
        acknowledged, sent, acks = 0, 0, Counter(b"MSG a ")
        while acknowledged < number:
            burst = min(number - sent, 2_000 - (sent - acknowledged))
            if burst > 0:
                sock.sendall(message * burst)
                sent += burst
            acknowledged += acks.take(sock.recv(1 << 18))
        sock.close()

    def publisher(self):
        sock, buffer = self.open()
        sock.sendall(b"SUB a 9\r\n")
        message = f"PUB f.d a {len(self.bytes)}\r\n".encode() + self.bytes + b"\r\n"

        def publish():
            sock.sendall(message)
            size = self.message_size(sock, buffer)
            while len(buffer) < size + 2:
                buffer.extend(sock.recv(1 << 16))
            del buffer[: size + 2]

        return publish

    def subscribe(self, start):
        sock, buffer = self.open()
        self.subscriptions += 1
        subject = f"d.{self.subscriptions}"
        sock.sendall(f"SUB {subject} 2\r\n".encode())
        policy = {"begin": "all", "now": "new"}[start]
        config = {"deliver_subject": subject, "ack_policy": "none", "deliver_policy": policy}
        # Events may come before the answer: another connection asks.
        asking, answers = self.open()
        self.ask(asking, answers, "CONSUMER.CREATE.S", {"stream_name": "S", "config": config})
        asking.close()
        reader = Reader(sock, b"\r\nMSG ")
        # The first message follows a line that was read above.
        reader.counter.tail = b"\r\n"
        reader.events += reader.take(bytes(buffer))
        return reader


class RedisReader(Reader):
    """Asks again once an answer is whole."""

    def __init__(self, sock, start):
        super().__init__(sock, b"\r\n$1\r\nd\r\n$")
        self.answer = bytearray()
        self.next = start
        self.ask()

    def ask(self):
        words = ["XREAD", "COUNT", "1000", "BLOCK", "0", "STREAMS", "feed", self.next]
        parts = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
        self.sock.sendall(f"*{len(words)}\r\n{parts}".encode())

    def take(self, data):
        new = super().take(data)
        self.answer += data
        head = self.answer.split(b"\r\n", 5)
        if len(head) < 6:
            return new
        entries, last = int(head[4][1:]), self.answer.rfind(self.counter.marker)
        if last < 0:
            return new
        begin = last + len(self.counter.marker)
        length, _, rest = self.answer[begin:].partition(b"\r\n")
        if self.answer.count(self.counter.marker) == entries and len(rest) == int(length or 0) + 2:
            # The entry's id stands right before its fields.
            self.next = self.answer[:last].rsplit(b"\r\n", 2)[1].decode()
            self.answer.clear()
            self.ask()
        return new


class Redis(Server):
    name = "Redis Streams"

    def __init__(self, binary, folder, payload):
        self.port, self.bytes = free_port(), payload
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        durable = ["--appendonly", "yes", "--appendfsync", "always"]
        super().__init__([binary, *options, *durable], folder)
        connect(self.port).close()

    def message(self):
        head = "*5\r\n$4\r\nXADD\r\n$4\r\nfeed\r\n$1\r\n*\r\n$1\r\nd\r\n"
        return f"{head}${len(self.bytes)}\r\n".encode() + self.bytes + b"\r\n"

    def publish(self, number):
        sock, message = connect(self.port), self.message()
        acknowledged, sent, acks = 0, 0, Counter(b"\r\n")
        while acknowledged < 2 * number:
            burst = min(number - sent, 2_000 - (sent - acknowledged // 2))
            if burst > 0:
                sock.sendall(message * burst)
                sent += burst
            # An answer is two lines: a length and an id.
            acknowledged += acks.take(sock.recv(1 << 18))
        sock.close()

    def publisher(self):
        sock, buffer, message = connect(self.port), bytearray(), self.message()

        def publish():
            sock.sendall(message)
            read_until(sock, buffer, b"\r\n")
            read_until(sock, buffer, b"\r\n")

        return publish

    def subscribe(self, start):
        return RedisReader(connect(self.port), {"begin": "0", "now": "$"}[start])


def follow(readers, due, arrived=None):
    """Reads until every reader has this many events; `arrived(reader, new)` sees each arrival."""
    selector = selectors.DefaultSelector()
    left = 0
    for reader in readers:
        if reader.events < due:
            selector.register(reader.sock, selectors.EVENT_READ, reader)
            left += 1
    begun = time.monotonic()
    while left:
        for key, _ in selector.select(1):
            new = key.data.ready()
            if arrived and new:
                arrived(key.data, new)
            if key.data.events >= due:
                selector.unregister(key.data.sock)
                left -= 1
        if time.monotonic() - begun > DEADLINE:
            raise TimeoutError(f"{left} of {len(readers)} subscribers lack events")


def forked(work):
    """Runs work in a process of its own, which takes no time from the readers'."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(f"publisher: {error!r}", file=sys.stderr)
            os._exit(1)
    return pid


def joined(pid):
    if os.waitpid(pid, 0)[1] != 0:
        raise RuntimeError("the publisher failed")


def close(readers):
    for reader in readers:
        reader.sock.close()


def fan_out(server, subscribers, documents):
    readers = [server.subscribe("now") for _ in range(subscribers)]
    cpu, begun = server.cpu_seconds(), time.monotonic()
    pid = forked(lambda: server.publish(documents))
    follow(readers, documents)
    took = time.monotonic() - begun
    joined(pid)
    # The child counted its documents for itself.
    if isinstance(server, Arrwdb):
        server.made += documents
    cpu = server.cpu_seconds() - cpu
    deliveries = subscribers * documents
    close(readers)
    return {"deliveries_per_s": deliveries / took, "cpu_s_per_million": cpu / deliveries * 1e6}


def latency(server, subscribers=100, rate=50, number=500):
    readers = [server.subscribe("now") for _ in range(subscribers)]
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def publish():
        one, next_at = server.publisher(), time.monotonic()
        for _ in range(number):
            time.sleep(max(0, next_at - time.monotonic()))
            next_at += 1 / rate
            sender.send(repr(time.monotonic()).encode())
            one()

    delays, sent, place = [], [], {id(reader): 0 for reader in readers}

    def arrived(reader, new):
        now = time.monotonic()
        for _ in range(new):
            at = place[id(reader)]
            while len(sent) <= at:
                sent.append(float(receiver.recv(64)))
            delays.append(now - sent[at])
            place[id(reader)] = at + 1

    pid = forked(publish)
    follow(readers, number, arrived)
    joined(pid)
    if isinstance(server, Arrwdb):
        server.made += number
    close(readers)
    cuts = statistics.quantiles(delays, n=100)
    return {"p50_ms": cuts[49] * 1e3, "p99_ms": cuts[98] * 1e3}


def catch_up(server, events):
    begun = time.monotonic()
    reader = server.subscribe("begin")
    follow([reader], events)
    took = time.monotonic() - begun
    close([reader])
    return {"mb_per_s": reader.bytes / took / 1e6, "events_per_s": events / took}


def measure(server, options):
    figures, published = {}, 0
    begun = time.monotonic()
    server.publish(options.documents)
    published += options.documents
    figures["publishes_per_s"] = options.documents / (time.monotonic() - begun)
    for subscribers in options.subscribers:
        # About as many deliveries for each number of subscribers, at least a thousand each.
        documents = max(1_000, options.documents * 100 // max(subscribers, 100))
        figures[f"fan_out_{subscribers}"] = fan_out(server, subscribers, documents)
        published += documents
    figures["latency"] = latency(server)
    published += 500
    figures["catch_up"] = catch_up(server, published)
    return figures


def show(name, figures):
    print(f"\n{name}")
    print(f"  durable publishes      {figures['publishes_per_s']:>12,.0f} /s")
    for key, of in figures.items():
        if key.startswith("fan_out_"):
            rate, cpu = of["deliveries_per_s"], of["cpu_s_per_million"]
            count = key.removeprefix("fan_out_")
            print(f"  {count:>5} subscribers      {rate:>12,.0f} deliveries/s, {cpu:.2f} CPU-s a million")
    of = figures["latency"]
    print(f"  publish to receipt     p50 {of['p50_ms']:.2f} ms, p99 {of['p99_ms']:.2f} ms")
    of = figures["catch_up"]
    print(f"  catch-up               {of['mb_per_s']:,.0f} MB/s, {of['events_per_s']:,.0f} events/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arrwdb", required=True)
    parser.add_argument("--nats")
    parser.add_argument("--redis")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--json")
    numbers = lambda text: [int(number) for number in text.split(",")]
    parser.add_argument("--subscribers", type=numbers, default=[1, 20, 100, 1000])
    options = parser.parse_args()
    results, payload = {}, None
    peers = [
        lambda folder: Arrwdb(options.arrwdb, folder),
        options.nats and (lambda folder: Nats(options.nats, folder, payload)),
        options.redis and (lambda folder: Redis(options.redis, folder, payload)),
    ]
    for start in filter(None, peers):
        with tempfile.TemporaryDirectory() as folder:
            server = start(folder)
            try:
                if isinstance(server, Arrwdb):
                    payload = server.payload()
                    print(f"{len(payload)} bytes an event")
                results[server.name] = measure(server, options)
                show(server.name, results[server.name])
            finally:
                server.stop()
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
