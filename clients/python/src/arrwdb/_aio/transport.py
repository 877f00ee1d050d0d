"""Channels and calls of grpc.aio; `_blocking/transport.py` has the same names for threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, Protocol, TypeVar, cast

import grpc.aio

from .._options import Options
from ..errors import Unavailable
from ..v1.stubs import (
    AsyncConsumerServiceStub,
    AsyncDocumentServiceStub,
    AsyncEventServiceStub,
    AsyncIndexServiceStub,
    AsyncLibraryServiceStub,
    AsyncSearchServiceStub,
)

Reply = TypeVar("Reply")

UnaryUnary = grpc.aio.UnaryUnaryMultiCallable
UnaryStream = grpc.aio.UnaryStreamMultiCallable


class Stubs:
    """A channel and a stub of each service over it."""

    def __init__(self, options: Options, *, alone: bool = False) -> None:
        settings = options.channel_options(alone=alone)
        credentials = options.credentials
        self.channel = (
            grpc.aio.insecure_channel(options.target, options=settings)
            if credentials is None
            else grpc.aio.secure_channel(options.target, credentials, options=settings)
        )
        self.libraries = AsyncLibraryServiceStub(self.channel)
        self.documents = AsyncDocumentServiceStub(self.channel)
        self.searches = AsyncSearchServiceStub(self.channel)
        self.events = AsyncEventServiceStub(self.channel)
        self.consumers = AsyncConsumerServiceStub(self.channel)
        self.indexes = AsyncIndexServiceStub(self.channel)

    async def pause(self, seconds: float) -> None:
        """Waits before another attempt. The channel connects meanwhile."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Ends every call on the channel."""
        await self.channel.close()


class _StreamCall(Protocol):
    def __aiter__(self) -> AsyncIterator[object]: ...

    def cancel(self) -> bool: ...


class _Watch:
    """Gives a call up when a read waits for too long, at the cost of one timer for each stream."""

    def __init__(self, call: _StreamCall, silence_max: float) -> None:
        self._call = call
        self._silence_max = silence_max
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(silence_max / 4, self._look)
        self.waiting_since: float | None = None
        self.expired = False

    def end(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        since = self.waiting_since
        if since is not None and self._loop.time() - since >= self._silence_max:
            self.expired = True
            self._call.cancel()
        else:
            self._timer = self._loop.call_later(self._silence_max / 4, self._look)


class Reader(Generic[Reply]):
    """The messages of one call that streams, each waited for no longer than `silence_max`."""

    def __init__(self, call: object, silence_max: float | None) -> None:
        self._call = cast(_StreamCall, call)
        self._messages = cast("AsyncIterator[Reply]", self._call.__aiter__())
        self._silence_max = silence_max
        self._watch = None if silence_max is None else _Watch(self._call, silence_max)

    async def read(self) -> Reply | None:
        """The next message; `None` when the server has ended the stream well. Raises
        `grpc.RpcError` when it ended badly and `Unavailable` when it was silent for too long."""
        watch = self._watch
        if watch is not None:
            watch.waiting_since = asyncio.get_running_loop().time()
        try:
            return await self._messages.__anext__()
        except StopAsyncIteration:
            return None
        except asyncio.CancelledError:
            if watch is not None and watch.expired:
                raise Unavailable(f"heard nothing for {self._silence_max} s") from None
            raise
        finally:
            if watch is not None:
                watch.waiting_since = None

    def cancel(self) -> None:
        """Gives the call up."""
        if self._watch is not None:
            self._watch.end()
        self._call.cancel()

