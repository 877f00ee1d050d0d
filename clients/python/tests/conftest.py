"""A real server for each test, and one client to write tests with that is both."""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

HERE = pathlib.Path(__file__).resolve().parent
CLIENT = HERE.parent
REPOSITORY = CLIENT.parents[1]
sys.path.insert(0, str(CLIENT / "src"))

import arrwdb  # noqa: E402

# Nothing here waits for ever.
DEADLINE = 30.0

# A loopback address of these tests' own: while a server is down nobody else takes its port.
HOST = "127.0.0.13"


def binary() -> str:
    """The server to test against."""
    given = os.environ.get("ARRWDB_BINARY")
    candidates = [pathlib.Path(given)] if given else []
    candidates += [REPOSITORY / "target" / kind / "arrwdb" for kind in ("release", "debug")]
    for path in candidates:
        if path.exists():
            return str(path)
    raise FileNotFoundError("build arrwdb, or set ARRWDB_BINARY")


class Server:
    """A server process on a folder of its own, which can be killed and started again."""

    def __init__(self, folder: str, flags: tuple[str, ...] = ()) -> None:
        self._folder = folder
        self._flags = flags
        self.address = f"{HOST}:0"
        self.start()

    def start(self) -> None:
        """Starts it where it was, and waits until it is ready."""
        self.process = subprocess.Popen(
            [
                *(binary(), "serve", "--listen", self.address, "--data-dir", self._folder),
                *self._flags,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        addresses = [word for word in line.split() if HOST in word]
        assert addresses, line
        self.address = addresses[0].removeprefix("http://").rstrip("/.")

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """SIGTERM, to a good end."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(DEADLINE) == 0

    async def restart(self, how: str) -> None:
        """Ends it by `kill` or `terminate`, and starts it again."""
        await asyncio.to_thread(getattr(self, how))
        await asyncio.to_thread(self.start)


StartServer = Callable[..., Server]


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Starts servers that end with the test."""
    servers = []
    with tempfile.TemporaryDirectory() as folder:

        def start(*flags: str) -> Server:
            server = Server(f"{folder}/{len(servers)}", flags)
            servers.append(server)
            return server

        yield start
        for server in servers:
            server.kill()


@pytest.fixture
def server(start_server: StartServer) -> Server:
    return start_server()


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Server]:
    """One that tests which restart nothing share: each uses names of its own."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(folder)
        yield server
        server.kill()


# What gives an iterator at once, without being awaited.
_ITERATORS = {"list_libraries", "list_documents", "list_consumers", "export", "stream_search"}
_END = object()


class _Threaded:
    """A blocking object, each of whose calls runs in a thread and is awaited: so that one test
    serves both clients."""

    def __init__(self, blocking: Any) -> None:
        self._blocking = blocking

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._blocking, name)
        if not callable(value):
            return value
        if name in _ITERATORS:
            return lambda *args, **named: _Threaded(value(*args, **named))

        async def call(*args: Any, **named: Any) -> Any:
            result = await asyncio.to_thread(value, *args, **named)
            return _Threaded(result) if isinstance(result, arrwdb.Subscription) else result

        return call

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._each()

    async def _each(self) -> AsyncIterator[Any]:
        blocking = await asyncio.to_thread(iter, self._blocking)
        while (item := await asyncio.to_thread(next, blocking, _END)) is not _END:
            yield item

    async def __aenter__(self) -> _Threaded:
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.to_thread(self._blocking.close)


class Kind:
    """`AsyncClient`, or `Client` in its guise."""

    def __init__(self, name: str) -> None:
        self.name = name

    def connect(self, address: str, **options: Any) -> Any:
        """A client with asyncio's manners."""
        if self.name == "asyncio":
            return arrwdb.AsyncClient(address, **options)
        return _Threaded(arrwdb.Client(address, **options))


@pytest.fixture(params=["blocking", "asyncio"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return Kind(request.param)


def run(test: Awaitable[Any]) -> Any:
    """Runs a test's coroutine, with an end."""

    async def bounded() -> Any:
        return await asyncio.wait_for(test, DEADLINE)

    return asyncio.run(bounded())


async def collect(items: Any, until: Callable[[Any], bool] | None = None) -> list[Any]:
    """The items of an iterator: all, or up to and including the first that fits."""
    found = []
    async for item in items:
        found.append(item)
        if until is not None and until(item):
            break
    return found


async def eventually(condition: Callable[[], Awaitable[Any]]) -> Any:
    """What a condition gives once it holds."""
    while not (value := await condition()):
        await asyncio.sleep(0.01)
    return value


def document(number: int, chunks: int = 1) -> dict[str, Any]:
    """A document with the vectors of a library of two dimensions."""
    return {
        "id": f"d{number}",
        "title": f"Doc {number}",
        "metadata": {"n": number},
        "chunks": [{"text": f"text {number}", "embedding": [1, number]} for _ in range(chunks)],
    }


async def make_library(client: Any, name: str = "a") -> Any:
    """A library that needs no model."""
    return await client.create_library(name, embedder="none", dimension=2)
