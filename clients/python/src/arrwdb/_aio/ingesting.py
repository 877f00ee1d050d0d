"""Drives a `Window` with tasks: one takes documents in, one has the connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Union

import grpc

from .._options import Options
from .._policy import Outage, is_passing
from .._window import Window
from ..errors import ArrwdbError, DeadlineExceeded, NotFound, Unavailable, error_of_call
from ..v1 import document_service_pb2
from ..values import IngestProgress, IngestSummary, NewDocument, OnConflict
from .transport import Stubs

LOG = logging.getLogger("arrwdb")

Documents = Union[
    Iterable[Union[NewDocument, Mapping[str, Any]]],
    AsyncIterable[Union[NewDocument, Mapping[str, Any]]],
]
"""What can be ingested: documents as they come."""


async def ingest(
    stubs: Stubs,
    options: Options,
    library_id: str,
    documents: Documents,
    *,
    on_conflict: OnConflict,
    on_progress: Callable[[IngestProgress], None] | None,
    give_up_after: float | None,
    known_revision: int,
) -> IngestSummary:
    """Streams the documents in, over as many connections as it takes."""
    window = Window(
        library_id,
        on_conflict,
        known_revision=known_revision,
        message_bytes_max=options.message_bytes_max,
    )
    run = _Run(window, stubs, options, on_progress, Outage(options.retry, give_up_after))
    feeding = asyncio.create_task(run.feed(documents))
    sending = asyncio.create_task(run.send())
    try:
        # Whichever fails first ends the other.
        await asyncio.gather(feeding, sending)
    finally:
        feeding.cancel()
        sending.cancel()
        await asyncio.gather(feeding, sending, return_exceptions=True)
    return window.summary()


class _Run:
    def __init__(
        self,
        window: Window,
        stubs: Stubs,
        options: Options,
        on_progress: Callable[[IngestProgress], None] | None,
        outage: Outage,
    ) -> None:
        self._window = window
        self._stubs = stubs
        self._options = options
        self._on_progress = on_progress
        self._outage = outage
        # Told whenever the window has changed.
        self._changed = asyncio.Condition()

    async def feed(self, documents: Documents) -> None:
        """Takes the documents in, as there is room."""
        position = 0
        async for document in _each(documents):
            position += 1
            pending = self._window.prepare(document, position)
            async with self._changed:
                await self._changed.wait_for(self._window.has_room)
                told = self._window.admit(pending)
                self._changed.notify_all()
            self._tell(told)
        async with self._changed:
            self._window.finish()
            self._changed.notify_all()

    async def send(self) -> None:
        """Opens streams until everything is acknowledged."""
        while True:
            async with self._changed:
                await self._changed.wait_for(
                    lambda: self._window.is_done() or self._window.wants_stream()
                )
                if self._window.is_done():
                    return
                stream = self._window.begin_stream()
            error = await self._work(stream)
            async with self._changed:
                self._window.end_stream(error)
                self._changed.notify_all()
            if error is None or not self._window.wants_stream():
                # Also one that the server closed because nothing came for long.
                continue
            passing = is_passing(error) or isinstance(error, DeadlineExceeded)
            pause = self._outage.pause(error) if passing else None
            if pause is None:
                raise error
            LOG.warning("ingest broken, goes on in %.1f s: %s", pause, error)
            await self._stubs.pause(pause)

    async def _work(self, stream: int) -> ArrwdbError | None:
        """Works on one stream to its end; gives why it broke."""
        call = self._stubs.documents.StreamIngestDocuments(
            self._requests(stream), metadata=self._options.metadata
        )
        try:
            async for message in call:
                half_told = self._window.half_told(message)
                num_chunks = await self._num_chunks(half_told) if half_told else None
                async with self._changed:
                    told = self._window.answered(message, num_chunks)
                    self._changed.notify_all()
                self._tell(told)
                if message.WhichOneof("status") == "summary":
                    return None
            return Unavailable("the ingest stream ended without a summary")
        except grpc.RpcError as failed:
            return error_of_call(failed)
        finally:
            call.cancel()

    async def _num_chunks(self, document_id: str) -> int | None:
        request = document_service_pb2.GetDocumentRequest(
            library_id=self._window.library_id, document_id=document_id
        )
        try:
            reply = await self._stubs.documents.GetDocument(
                request, timeout=self._options.timeout, metadata=self._options.metadata
            )
        except grpc.RpcError as failed:
            if isinstance(error_of_call(failed), NotFound):
                # Written, and deleted since.
                return None
            raise
        return reply.document.num_chunks

    async def _requests(
        self, stream: int
    ) -> AsyncIterator[document_service_pb2.StreamIngestDocumentsRequest]:
        yield self._window.header()
        while True:
            async with self._changed:
                while (message := self._window.next_message(stream)) == "wait":
                    await self._changed.wait()
            if message == "end":
                return
            yield message

    def _tell(self, told: list[IngestProgress]) -> None:
        if told:
            self._outage.over()
        if self._on_progress is not None:
            for progress in told:
                self._on_progress(progress)


async def _each(documents: Documents) -> AsyncIterator[NewDocument | Mapping[str, Any]]:
    if isinstance(documents, AsyncIterable):
        async for document in documents:
            yield document
    else:
        for document in documents:
            yield document
            # Whatever else there is gets its turn.
            await asyncio.sleep(0)
