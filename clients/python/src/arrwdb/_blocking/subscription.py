# Made by generate.py from ../_aio/subscription.py: change that, not this.
"""A subscription that resumes by itself: hides that connections break and servers restart."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, TypeVar, cast

import grpc

from .. import _convert
from .._options import Options
from .._policy import Outage, is_passing
from ..errors import ArrwdbError, Conflict, Unavailable, error_of_call
from ..v1 import consumer_service_pb2, event_service_pb2
from ..values import Consumer, Event, Heartbeat, SnapshotBegin, SnapshotEnd, SnapshotItem
from .transport import Reader, Stubs

LOG = logging.getLogger("arrwdb")

Item = TypeVar("Item")


class Subscription(Generic[Item]):
    """The events of a subscription, in order, each once, over broken connections and restarts of
    the server alike. Made by `Client.subscribe`; iterate over it, and close it at the end.

    It ends with an error that resuming does not help: `CursorExpired` or `CursorUnknown` when
    events were lost to it, `Conflict` when its consumer has another owner, and what the server
    refuses. It does not end otherwise, unless it is closed. It has a connection of its own, so
    that a slow reader is slow alone.
    """

    def __init__(
        self,
        options: Options,
        request: event_service_pb2.SubscribeRequest,
        *,
        silence_max: float,
        give_up_after: float | None,
        on_heartbeat: Callable[[Heartbeat], None] | None,
    ) -> None:
        self._options = options
        self._request = request
        self._silence_max = silence_max
        self._on_heartbeat = on_heartbeat
        self._outage = Outage(options.retry, give_up_after)
        self._stubs: Stubs | None = None
        self._reader: Reader[event_service_pb2.SubscribeResponse] | None = None
        self._ready: deque[SnapshotItem] = deque()
        self._closed = False
        self._cursor = request.cursor
        # Whether this connection has begun to give a snapshot.
        self._in_snapshot = False
        # As a durable consumer.
        self._generation: int | None = None
        self._takeovers_unheard = 0
        self._handed_out = ""
        self._acknowledged = ""

    @property
    def cursor(self) -> str:
        """Where to go on: behind the last event that was handed out, or the heartbeat since. Empty
        until a snapshot's end was handed out."""
        return self._cursor

    @property
    def generation(self) -> int | None:
        """Of a subscription as a durable consumer: what to acknowledge with. Changes with each
        connection."""
        return self._generation

    def __enter__(self) -> Subscription[Item]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        while not self._ready:
            message = self._receive()
            if message is None:
                raise StopIteration
            self._take(message)
        item = self._ready.popleft()
        if isinstance(item, Event):
            self._cursor = self._handed_out = item.id
        elif isinstance(item, SnapshotEnd):
            self._cursor = item.cursor
        return cast(Item, item)

    def open(self) -> None:
        """Waits for the first message, with which its place is fixed. `subscribe` has done so."""
        message = self._receive()
        if message is not None:
            self._take(message)

    def acknowledge(self, cursor: str | None = None) -> Consumer:
        """As a durable consumer: everything up to here is dealt with, or, without a cursor,
        everything that was handed out. Durable when it answers. `Conflict` when the consumer has
        another owner. Retried when a connection breaks: acknowledging twice changes nothing."""
        if not self._request.consumer:
            raise ValueError("only a subscription as a durable consumer can be acknowledged")
        outage = Outage(self._options.retry, self._options.timeout)
        while True:
            stubs = self._connected()
            request = consumer_service_pb2.AcknowledgeRequest(
                name=self._request.consumer,
                generation=self._generation or 0,
                cursor=cursor or self._cursor,
            )
            try:
                reply = stubs.consumers.Acknowledge(
                    request, timeout=self._options.timeout, metadata=self._options.metadata
                )
            except grpc.RpcError as failed:
                error = error_of_call(failed)
                if self._is_ours_after_all(error, self._takeovers_unheard):
                    continue
                pause = outage.pause(error) if is_passing(error) else None
                if pause is None:
                    raise error from None
                stubs.pause(pause)
            else:
                self._acknowledged = max(self._acknowledged, request.cursor)
                return _convert.consumer_from_pb(reply.consumer)

    def close(self) -> None:
        """Ends it, also while another task or thread waits for the next event."""
        self._closed = True
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
        stubs, self._stubs = self._stubs, None
        if stubs is not None:
            stubs.close()

    def _take(self, message: event_service_pb2.SubscribeResponse) -> None:
        """Makes ready what a message has for the reader: one that it has not had, or nothing."""
        kind = message.WhichOneof("item")
        if kind == "event":
            event = _convert.event_from_pb(message.event)
            # A consumer's stream begins anew behind what is acknowledged: cursors sort as text.
            if not self._request.consumer or event.id > self._handed_out:
                self._ready.append(event)
        elif kind == "heartbeat":
            self._beat(message.heartbeat)
        elif kind == "snapshot_document":
            self._begin_snapshot()
            self._ready.append(_convert.snapshot_document_from_pb(message.snapshot_document))
        elif kind == "snapshot_end":
            self._begin_snapshot()
            self._ready.append(_convert.snapshot_end_from_pb(message.snapshot_end))
            # It is whole: what follows is resumed like any other stream.
            self._request.snapshot = False

    def _begin_snapshot(self) -> None:
        """Before the first message of a snapshot on this connection."""
        if not self._in_snapshot:
            self._in_snapshot = True
            self._ready.append(SnapshotBegin())

    def _beat(self, heartbeat: event_service_pb2.Heartbeat) -> None:
        if not self._request.consumer:
            self._cursor = heartbeat.cursor
        else:
            self._beat_as_consumer(heartbeat)
        if self._on_heartbeat is not None:
            self._on_heartbeat(_convert.heartbeat_from_pb(heartbeat))

    def _beat_as_consumer(self, heartbeat: event_service_pb2.Heartbeat) -> None:
        if self._generation is None or self._takeovers_unheard > 0:
            # The first on this connection: it is at what is acknowledged, and may lie behind
            # what was handed out.
            self._acknowledged = max(self._acknowledged, heartbeat.cursor)
        self._generation = heartbeat.generation
        self._takeovers_unheard = 0
        self._cursor = max(self._cursor, heartbeat.cursor)
        if self._handed_out <= self._acknowledged < heartbeat.cursor:
            # All that was handed out is dealt with, so what did not pass the filter since then
            # may be acknowledged too: an idle consumer holds no log.
            self.acknowledge(heartbeat.cursor)

    def _receive(self) -> event_service_pb2.SubscribeResponse | None:
        """The next message, over as many connections as it takes; `None` once it is closed."""
        while not self._closed:
            error: ArrwdbError = Unavailable("the server ended the stream")
            try:
                reader = self._reader or self._ask()
                message = reader.read()
                if message is not None:
                    self._outage.over()
                    return message
            except grpc.RpcError as failed:
                error = error_of_call(failed)
            except Unavailable as silent:
                error = silent
                self._disconnect()
            except BaseException:
                # The read is lost with its waiter; the next one resumes.
                self._drop()
                if not self._closed:
                    raise
            self._drop()
            if self._closed:
                break
            # This request is unheard itself; one before it must have been too.
            if self._is_ours_after_all(error, self._takeovers_unheard - 1):
                continue
            pause = self._outage.pause(error) if is_passing(error) else None
            if pause is None:
                self.close()
                raise error
            LOG.warning("subscription broken, resumes in %.1f s: %s", pause, error)
            self._connected().pause(pause)
        return None

    def _connected(self) -> Stubs:
        if self._stubs is None:
            self._stubs = Stubs(self._options, alone=True)
        return self._stubs

    def _ask(self) -> Reader[event_service_pb2.SubscribeResponse]:
        request = event_service_pb2.SubscribeRequest()
        request.CopyFrom(self._request)
        self._in_snapshot = False
        if not request.consumer:
            request.cursor = self._cursor
        elif self._generation is not None:
            request.generation = self._generation
            self._takeovers_unheard += 1
        call = self._connected().events.Subscribe(request, metadata=self._options.metadata)
        reader: Reader[event_service_pb2.SubscribeResponse] = Reader(call, self._silence_max)
        self._reader = reader
        return reader

    def _drop(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()

    def _disconnect(self) -> None:
        """Leaves a connection on which nothing comes: another call would wait there again."""
        self._drop()
        stubs, self._stubs = self._stubs, None
        if stubs is not None:
            stubs.close()

    def _is_ours_after_all(self, error: ArrwdbError, takeovers_unheard: int) -> bool:
        """Whether a conflict is with ourselves: the server took us back under a generation that
        we never heard of, because the connection broke before it could say so."""
        if not isinstance(error, Conflict) or takeovers_unheard <= 0:
            return False
        request = consumer_service_pb2.GetConsumerRequest(name=self._request.consumer)
        try:
            reply = self._connected().consumers.GetConsumer(
                request, timeout=self._options.timeout, metadata=self._options.metadata
            )
        except grpc.RpcError:
            return False
        if reply.consumer.owner != self._request.owner:
            return False
        self._generation = reply.consumer.generation
        return True
