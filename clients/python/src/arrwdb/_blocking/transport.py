"""Channels and calls for threads; `_aio/transport.py` has the same names for asyncio."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar, cast

import grpc

from .._options import Options
from ..errors import Unavailable
from ..v1.stubs import (
    ConsumerServiceStub,
    DocumentServiceStub,
    EventServiceStub,
    IndexServiceStub,
    LibraryServiceStub,
    SearchServiceStub,
)

Reply = TypeVar("Reply")

UnaryUnary = grpc.UnaryUnaryMultiCallable
UnaryStream = grpc.UnaryStreamMultiCallable


class Stubs:
    """A channel and a stub of each service over it."""

    def __init__(self, options: Options, *, alone: bool = False) -> None:
        settings = options.channel_options(alone=alone)
        credentials = options.credentials
        self.channel = (
            grpc.insecure_channel(options.target, options=settings)
            if credentials is None
            else grpc.secure_channel(options.target, credentials, options=settings)
        )
        self.libraries = LibraryServiceStub(self.channel)
        self.documents = DocumentServiceStub(self.channel)
        self.searches = SearchServiceStub(self.channel)
        self.events = EventServiceStub(self.channel)
        self.consumers = ConsumerServiceStub(self.channel)
        self.indexes = IndexServiceStub(self.channel)
        self._health: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(
            "/grpc.health.v1.Health/Check"
        )

    def pause(self, seconds: float) -> None:
        """Waits before another attempt."""
        with self.connecting(seconds):
            time.sleep(seconds)

    @contextlib.contextmanager
    def connecting(self, seconds: float) -> Iterator[None]:
        """For so long, or until it is left, the channel connects. Some versions of grpc (1.76 and
        before) do so only while a call is under way; but calls of a channel without a connection
        fail at once, so that with nothing but pauses between them there would never be one. So
        one that waits for a connection asks for the server's health, whatever comes of it."""
        try:
            asking = self._health.future(b"", timeout=seconds, wait_for_ready=True)
        except ValueError:
            # Closed meanwhile.
            yield
            return
        try:
            yield
        finally:
            asking.cancel()

    def close(self) -> None:
        """Ends every call on the channel."""
        self.channel.close()


class _StreamCall(Protocol):
    def __iter__(self) -> Iterator[object]: ...

    def cancel(self) -> bool: ...


class _Watch:
    """Gives a call up when a read waits for too long. A read of grpc has no deadline of its own,
    and this costs a thread for each stream rather than a timer for each read."""

    def __init__(self, call: _StreamCall, silence_max: float) -> None:
        self._call = call
        self._silence_max = silence_max
        self._ended = threading.Event()
        self.waiting_since: float | None = None
        self.expired = False
        threading.Thread(target=self._run, name="arrwdb-silence", daemon=True).start()

    def end(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(self._silence_max / 4):
            since = self.waiting_since
            if since is not None and time.monotonic() - since >= self._silence_max:
                self.expired = True
                self._call.cancel()
                return


class Reader(Generic[Reply]):
    """The messages of one call that streams, each waited for no longer than `silence_max`."""

    def __init__(self, call: object, silence_max: float | None) -> None:
        self._call = cast(_StreamCall, call)
        self._messages = cast("Iterator[Reply]", iter(self._call))
        self._silence_max = silence_max
        self._watch = None if silence_max is None else _Watch(self._call, silence_max)

    def read(self) -> Reply | None:
        """The next message; `None` when the server has ended the stream well. Raises
        `grpc.RpcError` when it ended badly and `Unavailable` when it was silent for too long."""
        watch = self._watch
        if watch is None:
            return next(self._messages, None)
        watch.waiting_since = time.monotonic()
        try:
            return next(self._messages, None)
        except grpc.RpcError:
            if watch.expired:
                raise Unavailable(f"heard nothing for {self._silence_max} s") from None
            raise
        finally:
            watch.waiting_since = None

    def cancel(self) -> None:
        """Gives the call up."""
        if self._watch is not None:
            self._watch.end()
        self._call.cancel()

    def __del__(self) -> None:
        if self._watch is not None:
            self._watch.end()

