"""Drives a `Window` with threads: the caller's takes documents in, one of ours has the connection,
and one of grpc's takes from the window what it sends."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
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

Documents = Iterable[Union[NewDocument, Mapping[str, Any]]]
"""What can be ingested: documents as they come."""


def ingest(
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
    sending = threading.Thread(target=run.send, name="arrwdb-ingest", daemon=True)
    sending.start()
    try:
        run.feed(documents)
        run.wait()
    finally:
        run.stop()
        sending.join()
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
        # Guards the window and what follows; told whenever any of it has changed.
        self._changed = threading.Condition()
        self._untold: deque[IngestProgress] = deque()
        self._call: grpc.Call | None = None
        self._stopped = False
        self._sent_all = False
        self._failure: BaseException | None = None
        # Held while telling: one at a time, in order, by whichever thread comes.
        self._telling = threading.Lock()

    def feed(self, documents: Documents) -> None:
        """Takes the documents in, as there is room. In the caller's thread."""
        for position, document in enumerate(documents, 1):
            pending = self._window.prepare(document, position)
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._window.has_room())
                if self._stopped:
                    break
                self._untold.extend(self._window.admit(pending))
                self._changed.notify_all()
            self._tell()
        with self._changed:
            self._window.finish()
            self._changed.notify_all()

    def wait(self) -> None:
        """Waits for the end, and raises why it was not a good one. In the caller's thread."""
        with self._changed:
            self._changed.wait_for(lambda: self._sent_all or self._failure is not None)
            if self._failure is not None:
                raise self._failure

    def stop(self) -> None:
        """Ends what is left."""
        with self._changed:
            self._stopped = True
            call = self._call
            self._changed.notify_all()
        if call is not None:
            call.cancel()

    def send(self) -> None:
        """Opens streams until everything is acknowledged. In a thread of ours."""
        try:
            self._send()
        except BaseException as failure:
            with self._changed:
                self._failure = failure
                self._stopped = True
                self._changed.notify_all()

    def _send(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._stopped or self._window.is_done() or self._window.wants_stream()
                )
                if self._stopped or self._window.is_done():
                    self._sent_all = self._window.is_done()
                    self._changed.notify_all()
                    return
                stream = self._window.begin_stream()
            error = self._work(stream)
            with self._changed:
                self._window.end_stream(error)
                self._changed.notify_all()
                over = error is None or self._stopped or not self._window.wants_stream()
            if error is None or over:
                # Also one that the server closed because nothing came for long.
                continue
            passing = is_passing(error) or isinstance(error, DeadlineExceeded)
            pause = self._outage.pause(error) if passing else None
            if pause is None:
                raise error
            LOG.warning("ingest broken, goes on in %.1f s: %s", pause, error)
            until = time.monotonic() + pause
            with self._stubs.connecting(pause), self._changed:
                while not self._stopped and (left := until - time.monotonic()) > 0:
                    self._changed.wait(left)

    def _work(self, stream: int) -> ArrwdbError | None:
        """Works on one stream to its end; gives why it broke."""
        call = self._stubs.documents.StreamIngestDocuments(
            self._requests(stream), metadata=self._options.metadata
        )
        with self._changed:
            self._call = call
        try:
            for message in call:
                with self._changed:
                    half_told = self._window.half_told(message)
                num_chunks = self._num_chunks(half_told) if half_told else None
                with self._changed:
                    self._untold.extend(self._window.answered(message, num_chunks))
                    self._changed.notify_all()
                self._tell()
                if message.WhichOneof("status") == "summary":
                    return None
            return Unavailable("the ingest stream ended without a summary")
        except grpc.RpcError as failed:
            return error_of_call(failed)
        finally:
            with self._changed:
                self._call = None
            call.cancel()

    def _num_chunks(self, document_id: str) -> int | None:
        request = document_service_pb2.GetDocumentRequest(
            library_id=self._window.library_id, document_id=document_id
        )
        try:
            reply = self._stubs.documents.GetDocument(
                request, timeout=self._options.timeout, metadata=self._options.metadata
            )
        except grpc.RpcError as failed:
            if isinstance(error_of_call(failed), NotFound):
                # Written, and deleted since.
                return None
            raise
        return reply.document.num_chunks

    def _requests(
        self, stream: int
    ) -> Iterator[document_service_pb2.StreamIngestDocumentsRequest]:
        with self._changed:
            header = self._window.header()
        yield header
        while True:
            with self._changed:
                while (message := self._window.next_message(stream)) == "wait":
                    if self._stopped:
                        return
                    self._changed.wait()
            if message == "end":
                return
            yield message

    def _tell(self) -> None:
        with self._telling:
            while self._untold:
                with self._changed:
                    progress = self._untold.popleft()
                self._outage.over()
                if self._on_progress is not None:
                    self._on_progress(progress)
