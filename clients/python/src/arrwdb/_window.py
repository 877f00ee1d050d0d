"""The documents of an ingest that are not acknowledged yet: hides how an ingest survives a broken
connection. Does no I/O; whoever drives it sees to it that one thread at a time uses it.

Every document has an id before it is sent. The server answers in order, so the first pending one
is the one that an answer is about. A connection that breaks leaves the pending ones in doubt: each
may have been written, unheard. The next connection sends them again, in order:

- `replace` writes the same again, which changes nothing but, at most, the revision.
- `skip` leaves what is there. It was written by us if its revision is above all that we knew when
  we first sent it, and was there before otherwise; only the latter counts as skipped.
- `fail` would refuse our own write, so those in doubt go ahead in a stream of their own that skips.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from . import _convert
from .errors import AlreadyExists, ArrwdbError, Internal, TooLarge, error_of_item
from .v1 import document_pb2, document_service_pb2
from .values import IngestOutcome, IngestProgress, IngestSummary, NewDocument, OnConflict

# As many as the server has under way for one stream, and as much: more would only wait there.
_PENDING_MAX = 512
_PENDING_BYTES_MAX = 32 * 1024 * 1024

# Failures kept for the summary. All are told of as they come.
_FAILURES_MAX = 1_000


@dataclass
class Pending:
    """A document that is not acknowledged."""

    position: int
    document: document_pb2.DocumentInput
    num_bytes: int
    error: ArrwdbError | None
    """Why it is not even sent."""
    sent: bool = False
    in_doubt: bool = False
    """Whether it was sent on a connection that broke."""
    known_revision: int = 0
    """What was known of the server when it was first sent."""

    def is_ours(self, revision: int) -> bool:
        """Whether what is there under its id, at this revision, is it: written, and unheard."""
        return self.in_doubt and revision > self.known_revision


class Window:
    """What is pending, what has become of the rest, and what to send next."""

    def __init__(
        self,
        library_id: str,
        on_conflict: OnConflict,
        *,
        known_revision: int,
        message_bytes_max: int,
    ) -> None:
        _convert.on_conflict_to_pb(on_conflict)
        self.library_id = library_id
        self._on_conflict = on_conflict
        self._known_revision = known_revision
        self._message_bytes_max = message_bytes_max
        self._pending: deque[Pending] = deque()
        self._pending_bytes = 0
        self._next = 0
        self._stream: int = 0
        self._only_doubts = False
        self._sent_on_stream = 0
        self._answered_on_stream = 0
        self._heard = False
        self._finished = False
        self._resumptions = 0
        self._succeeded = self._failed = self._skipped = self._chunks = 0
        self._revision = 0
        self._batch_ids: list[str] = []
        self._failures: list[IngestOutcome] = []

    # --- the side that has documents

    def prepare(self, document: NewDocument | Mapping[str, Any], position: int) -> Pending:
        """What to admit; needs no turn, for it touches nothing shared."""
        try:
            message = _convert.document_to_pb(document, new_id=str(uuid.uuid4()))
            num_bytes = message.ByteSize()
        except ArrwdbError as error:
            return Pending(position, _shell(document), 0, error)
        # What frames a document in a message.
        if num_bytes + 16 > self._message_bytes_max:
            most = self._message_bytes_max
            shell = document_pb2.DocumentInput(id=message.id, title=message.title[:256])
            too_large = TooLarge(f"document: is larger than {most} bytes (message_bytes_max)")
            return Pending(position, shell, 0, too_large)
        return Pending(position, message, num_bytes, None)

    def has_room(self) -> bool:
        """Whether another document may be admitted."""
        return len(self._pending) < _PENDING_MAX and self._pending_bytes < _PENDING_BYTES_MAX

    def admit(self, pending: Pending) -> list[IngestProgress]:
        """Takes a document in, behind all that were. One that is refused right away is told of
        when all before it were: here, or by `answered`."""
        self._pending.append(pending)
        self._pending_bytes += pending.num_bytes
        return self._refusals()

    def finish(self) -> None:
        """No more documents come."""
        self._finished = True

    # --- the side that has a connection

    def wants_stream(self) -> bool:
        """Whether there is something to send, or all is over and the server was never heard."""
        return bool(self._pending) or (self._finished and not self._heard)

    def is_done(self) -> bool:
        """Whether everything is acknowledged."""
        return self._finished and not self._pending and self._heard

    def begin_stream(self) -> int:
        """Starts over with the first pending document; gives the stream's number."""
        for pending in self._pending:
            pending.in_doubt = pending.in_doubt or pending.sent
        self._only_doubts = self._on_conflict == "fail" and any(p.in_doubt for p in self._pending)
        self._stream += 1
        self._next = self._sent_on_stream = self._answered_on_stream = 0
        return self._stream

    def header(self) -> document_service_pb2.StreamIngestDocumentsRequest:
        """What the stream begins with."""
        on_conflict = "skip" if self._only_doubts else self._on_conflict
        return document_service_pb2.StreamIngestDocumentsRequest(
            header=document_service_pb2.IngestHeader(
                library_id=self.library_id,
                on_conflict=_convert.on_conflict_to_pb(on_conflict),
            )
        )

    def next_message(
        self, stream: int
    ) -> document_service_pb2.StreamIngestDocumentsRequest | Literal["wait", "end"]:
        """The next document of a stream; `wait` for more of them, `end` when there will be none."""
        if stream != self._stream:
            return "end"
        while self._next < len(self._pending):
            pending = self._pending[self._next]
            if self._only_doubts and not pending.in_doubt:
                # Everything in doubt is ahead of everything that is not.
                return "end"
            self._next += 1
            if pending.error is None:
                self._sent_on_stream += 1
                if not pending.sent:
                    pending.sent = True
                    pending.known_revision = self._known_revision
                return document_service_pb2.StreamIngestDocumentsRequest(document=pending.document)
        return "end" if self._finished or self._only_doubts else "wait"

    def half_told(
        self, message: document_service_pb2.StreamIngestDocumentsResponse
    ) -> str | None:
        """The id of the document of which an answer does not tell all, if there is one: it was
        written unheard, and into how many chunks its text was split is not told again."""
        if message.WhichOneof("status") != "skipped" or not self._pending:
            return None
        pending = self._pending[0]
        ours = pending.is_ours(message.skipped.revision)
        return pending.document.id if ours and pending.document.HasField("text") else None

    def answered(
        self,
        message: document_service_pb2.StreamIngestDocumentsResponse,
        num_chunks: int | None = None,
    ) -> list[IngestProgress]:
        """What an answer says of the documents; more than one when it sets off refusals.
        `num_chunks` is of the document that `half_told` gave."""
        self._heard = True
        kind = message.WhichOneof("status")
        if kind == "summary":
            self._batch_ids.append(message.summary.batch_id)
            self._know(message.summary.revision)
            return []
        if kind not in ("completed", "skipped", "failed"):
            return []
        self._answered_on_stream += 1
        position = getattr(message, kind).position
        if position != self._answered_on_stream or position > self._sent_on_stream:
            raise Internal(f"the server answered to {position} of {self._sent_on_stream} sent")
        pending = self._shift()
        if kind == "completed":
            done = message.completed
            progress = self._complete(pending, done.num_chunks, done.revision)
        elif kind == "skipped":
            progress = self._skip(pending, message.skipped.revision, num_chunks)
        else:
            error = error_of_item(message.failed.error)
            progress = self._fail(pending, message.failed.title, error)
        return [progress, *self._refusals()]

    def end_stream(self, error: ArrwdbError | None) -> None:
        """The stream is over: well, or broken."""
        self._stream += 1
        self._resumptions += error is not None

    # --- the end

    def summary(self) -> IngestSummary:
        """How it ended."""
        return IngestSummary(
            total_processed=self._succeeded + self._failed + self._skipped,
            total_succeeded=self._succeeded,
            total_failed=self._failed,
            total_skipped=self._skipped,
            total_chunks=self._chunks,
            revision=self._revision,
            batch_ids=list(self._batch_ids),
            resumptions=self._resumptions,
            failures=list(self._failures),
            failures_omitted=self._failed - len(self._failures),
        )

    def _refusals(self) -> list[IngestProgress]:
        """What becomes of the documents at the front that are not even sent."""
        told = []
        while self._pending and (error := self._pending[0].error) is not None:
            pending = self._shift()
            told.append(self._fail(pending, pending.document.title, error))
        return told

    def _shift(self) -> Pending:
        pending = self._pending.popleft()
        self._pending_bytes -= pending.num_bytes
        self._next = max(self._next - 1, 0)
        return pending

    def _know(self, revision: int) -> None:
        self._revision = max(self._revision, revision)
        self._known_revision = max(self._known_revision, revision)

    def _complete(self, pending: Pending, num_chunks: int, revision: int) -> IngestProgress:
        self._know(revision)
        self._succeeded += 1
        self._chunks += num_chunks
        document = pending.document
        return self._progress(
            IngestOutcome(
                position=pending.position,
                status="completed",
                id=document.id,
                title=document.title,
                num_chunks=num_chunks,
                revision=revision,
            )
        )

    def _skip(self, pending: Pending, revision: int, num_chunks: int | None) -> IngestProgress:
        if pending.is_ours(revision):
            if num_chunks is None:
                num_chunks = len(pending.document.texts) or len(pending.document.chunks)
            return self._complete(pending, num_chunks, revision)
        document = pending.document
        if self._on_conflict == "fail":
            detail = f"document {document.id} exists already"
            error = AlreadyExists(detail, from_server=True)
            return self._fail(pending, document.title, error)
        self._know(revision)
        self._skipped += 1
        return self._progress(
            IngestOutcome(
                position=pending.position,
                status="skipped",
                id=document.id,
                title=document.title,
                revision=revision,
            )
        )

    def _fail(self, pending: Pending, title: str, error: ArrwdbError) -> IngestProgress:
        self._failed += 1
        outcome = IngestOutcome(
            position=pending.position,
            status="failed",
            id=pending.document.id,
            title=title,
            error=error,
        )
        if len(self._failures) < _FAILURES_MAX:
            self._failures.append(outcome)
        return self._progress(outcome)

    def _progress(self, outcome: IngestOutcome) -> IngestProgress:
        return IngestProgress(
            outcome=outcome,
            total_processed=self._succeeded + self._failed + self._skipped,
            total_succeeded=self._succeeded,
            total_failed=self._failed,
            total_skipped=self._skipped,
            total_chunks=self._chunks,
        )


def _shell(document: object) -> document_pb2.DocumentInput:
    """What can be told of a document that cannot be said on the wire."""
    shell = document_pb2.DocumentInput()
    for name in ("id", "title"):
        if isinstance(document, Mapping):
            value = document.get(name)
        else:
            value = getattr(document, name, None)
        try:
            setattr(shell, name, value)
        except (TypeError, ValueError):
            pass
    return shell
