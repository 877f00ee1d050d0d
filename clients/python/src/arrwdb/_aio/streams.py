"""Streams that end: exports and streamed searches. Neither goes on after a break, for what it
reads is one moment's state; both are asked for again as long as nothing was handed out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import grpc

from .. import _convert
from .._policy import Attempts
from ..errors import ArrwdbError, Unavailable, error_of_call
from ..v1 import document_service_pb2, search_service_pb2
from ..values import Hit, NewDocument
from .transport import Reader, Stubs

Ask = Callable[[Stubs, float], object]
"""Begins the call with so many seconds until its deadline."""


def _cut(what: str) -> ArrwdbError:
    return Unavailable(f"the {what} ended before it was complete")


class AsyncExport:
    """The documents of a library at one revision, each as an ingest takes it.

    Iterate over it; when that is over without an error the export is whole, and `cursor` and
    `total_documents` are set. One that breaks in the middle raises: begin anew.
    """

    def __init__(self, stubs: Stubs, ask: Ask, attempts: Attempts) -> None:
        self._stubs = stubs
        self._ask = ask
        self._attempts = attempts
        self._reader: Reader[document_service_pb2.ExportDocumentsResponse] | None = None
        self.cursor: str | None = None
        """Following the events from here gives exactly what came after the export."""
        self.total_documents: int | None = None
        """How many documents it had."""

    def __aiter__(self) -> AsyncIterator[NewDocument]:
        return self._documents()

    async def _documents(self) -> AsyncIterator[NewDocument]:
        begun = False
        while True:
            reader = self._begin()
            try:
                while (message := await reader.read()) is not None:
                    if message.WhichOneof("item") == "complete":
                        self.cursor = message.complete.cursor
                        self.total_documents = message.complete.total_documents
                        return
                    begun = True
                    yield _convert.new_document_from_pb(message.document)
                error = _cut("export")
            except grpc.RpcError as failed:
                error = error_of_call(failed)
            finally:
                reader.cancel()
            pause = None if begun else self._attempts.pause(error)
            if pause is None:
                raise error
            await self._stubs.pause(pause)

    def _begin(self) -> Reader[document_service_pb2.ExportDocumentsResponse]:
        reader: Reader[document_service_pb2.ExportDocumentsResponse]
        self._reader = reader = Reader(self._ask(self._stubs, self._attempts.left()), None)
        return reader

    def close(self) -> None:
        """Gives it up, which frees what the server holds for it."""
        if self._reader is not None:
            self._reader.cancel()


class AsyncHitStream:
    """The hits of a streamed search, best first, as they come.

    Iterate over it; when that is over without an error all hits were given, and `total_results`
    and `revision` are set. One that breaks in the middle raises: search again.
    """

    def __init__(self, stubs: Stubs, ask: Ask, attempts: Attempts) -> None:
        self._stubs = stubs
        self._ask = ask
        self._attempts = attempts
        self._reader: Reader[search_service_pb2.StreamSearchResponse] | None = None
        self.total_results: int | None = None
        """How many hits there were."""
        self.revision: int | None = None
        """That was searched."""

    def __aiter__(self) -> AsyncIterator[Hit]:
        return self._hits()

    async def _hits(self) -> AsyncIterator[Hit]:
        begun = False
        while True:
            reader = self._begin()
            try:
                while (message := await reader.read()) is not None:
                    if message.WhichOneof("item") == "complete":
                        self.total_results = message.complete.total_results
                        self.revision = message.complete.revision
                        return
                    begun = True
                    yield _convert.hit_from_pb(message.hit)
                error = _cut("search")
            except grpc.RpcError as failed:
                error = error_of_call(failed)
            finally:
                reader.cancel()
            pause = None if begun else self._attempts.pause(error)
            if pause is None:
                raise error
            await self._stubs.pause(pause)

    def _begin(self) -> Reader[search_service_pb2.StreamSearchResponse]:
        reader: Reader[search_service_pb2.StreamSearchResponse]
        self._reader = reader = Reader(self._ask(self._stubs, self._attempts.left()), None)
        return reader

    def close(self) -> None:
        """Gives it up, which frees what the server holds for it."""
        if self._reader is not None:
            self._reader.cancel()
