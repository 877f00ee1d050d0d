"""The client: a verb of the server is a method here."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

import grpc
from google.protobuf import field_mask_pb2

from .. import _convert
from .._options import MIB, Options
from .._policy import Attempts, Retry
from .._unset import UNSET, Unset, given
from ..errors import ArrwdbError, error_of_call
from ..v1 import (
    consumer_service_pb2,
    document_service_pb2,
    event_service_pb2,
    index_service_pb2,
    library_pb2,
    library_service_pb2,
    search_service_pb2,
)
from ..values import (
    BatchOfDocuments,
    Consumer,
    DeletedDocuments,
    Document,
    DocumentCount,
    Event,
    EventPage,
    EventStatistics,
    EventType,
    GroupBy,
    Heartbeat,
    IndexStatistics,
    IndexType,
    IngestProgress,
    IngestSummary,
    Library,
    LibraryStatistics,
    Metadata,
    Metric,
    NewChunk,
    NewDocument,
    OnConflict,
    PulledEvents,
    Recall,
    SearchQuery,
    SearchResults,
    SnapshotItem,
)
from .ingesting import Documents, ingest
from .streams import AsyncExport, AsyncHitStream
from .subscription import AsyncSubscription
from .transport import Stubs, UnaryUnary

Request = TypeVar("Request")
Reply = TypeVar("Reply")

# Beyond what the server waits on a pull, for the way there and back.
_PULL_GRACE = 10.0


class AsyncClient:
    """A connection to one server, made at the first call, made again when it breaks.

    `library` is an id or a name everywhere. `timeout` is the deadline of a call in seconds, over
    all its attempts; without one the client's own applies, and `DeadlineExceeded` is raised when
    it passes. `min_revision` makes a read wait until it sees that revision, so that you read your
    own writes, also over another connection.

    What fails raises a subclass of `ArrwdbError`. Calls that change nothing, and creates, which
    carry a `request_id` that makes them safe to repeat, are retried when the server cannot be
    reached; updates, deletes and seeks are not, for they may have been done.
    """

    def __init__(
        self,
        target: str = "127.0.0.1:8000",
        *,
        timeout: float = 30.0,
        retry: Retry = Retry(),  # noqa: B008 (frozen)
        token: str | None = None,
        certificate: bytes | None = None,
        message_bytes_max: int = 16 * MIB,
    ) -> None:
        """`target`: `host:port`. `token`: sent with every call as `authorization: Bearer …`.
        `certificate`: PEM of the authority that the server's certificate must be of; with it the
        connection is encrypted. (The server does neither by itself yet: they are for what stands
        before it.) `message_bytes_max`: the server's limit of that name: an ingested document
        beyond it fails alone, where sending it would end the stream."""
        self._options = Options(target, timeout, retry, token, certificate, message_bytes_max)
        self._opened: Stubs | None = None

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection, which ends what runs on it. Subscriptions have their own."""
        stubs, self._opened = self._opened, None
        if stubs is not None:
            await stubs.close()

    @property
    def _stubs(self) -> Stubs:
        if self._opened is None:
            self._opened = Stubs(self._options)
        return self._opened

    def _attempts(self, timeout: float | None, *, safe: bool = True) -> Attempts:
        seconds = self._options.timeout if timeout is None else timeout
        return Attempts(self._options.retry, seconds, safe=safe)

    async def _call(
        self,
        method: UnaryUnary[Request, Reply],
        request: Request,
        timeout: float | None,
        *,
        safe: bool = True,
    ) -> Reply:
        attempts = self._attempts(timeout, safe=safe)
        while True:
            try:
                return await method(
                    request, timeout=attempts.left(), metadata=self._options.metadata
                )
            except grpc.RpcError as failed:
                error: ArrwdbError = error_of_call(failed)
            pause = attempts.pause(error)
            if pause is None:
                raise error
            await self._stubs.pause(pause)

    # --- libraries

    async def create_library(
        self,
        name: str,
        *,
        description: str = "",
        metric: Metric | None = None,
        embedder: str = "",
        dimension: int | None = None,
        index_type: IndexType | None = None,
        metadata: Metadata | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Library:
        """Creates a library. With `embedder="none"` its vectors are yours, and `dimension` is
        required. `AlreadyExists` when the name is taken."""
        request = library_service_pb2.CreateLibraryRequest(
            name=name,
            description=description,
            metric=_convert.metric_to_pb(metric),
            embedder=embedder,
            dimension=dimension,
            index_type=_convert.index_type_to_pb(index_type),
            metadata=_convert.struct_to_pb(metadata, "metadata"),
            request_id=request_id or str(uuid.uuid4()),
        )
        reply = await self._call(self._stubs.libraries.CreateLibrary, request, timeout)
        return _convert.library_from_pb(reply.library)

    async def get_library(
        self, library: str, *, min_revision: int | None = None, timeout: float | None = None
    ) -> Library:
        """Reads a library."""
        request = library_service_pb2.GetLibraryRequest(
            library_id=library, min_revision=min_revision
        )
        reply = await self._call(self._stubs.libraries.GetLibrary, request, timeout)
        return _convert.library_from_pb(reply.library)

    async def list_libraries(
        self,
        *,
        page_size: int = 0,
        min_revision: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Library]:
        """All libraries by name, fetched page by page; `timeout` is of each page."""
        request = library_service_pb2.ListLibrariesRequest(
            page_size=page_size, min_revision=min_revision
        )
        while True:
            reply = await self._call(self._stubs.libraries.ListLibraries, request, timeout)
            for library in reply.libraries:
                yield _convert.library_from_pb(library)
            request.page_token = reply.next_page_token
            if not request.page_token:
                return

    async def update_library(
        self,
        library: str,
        *,
        name: str | Unset = UNSET,
        description: str | Unset = UNSET,
        metadata: Metadata | Unset = UNSET,
        expected_revision: int | None = None,
        timeout: float | None = None,
    ) -> Library:
        """Changes what is given and leaves the rest. `Conflict` unless the library is at
        `expected_revision`, if that is given."""
        fields = given(name=name, description=description, metadata=metadata)
        if "metadata" in fields:
            fields["metadata"] = _convert.struct_to_pb(fields["metadata"], "metadata")
        request = library_service_pb2.UpdateLibraryRequest(
            library_id=library,
            library=library_pb2.Library(**fields),
            update_mask=field_mask_pb2.FieldMask(paths=sorted(fields)),
            expected_revision=expected_revision,
        )
        method = self._stubs.libraries.UpdateLibrary
        reply = await self._call(method, request, timeout, safe=False)
        return _convert.library_from_pb(reply.library)

    async def delete_library(
        self,
        library: str,
        *,
        expected_revision: int | None = None,
        timeout: float | None = None,
    ) -> int:
        """Deletes a library with all that is in it; gives the revision of that."""
        request = library_service_pb2.DeleteLibraryRequest(
            library_id=library, expected_revision=expected_revision
        )
        method = self._stubs.libraries.DeleteLibrary
        return (await self._call(method, request, timeout, safe=False)).revision

    async def get_library_statistics(
        self, library: str, *, min_revision: int | None = None, timeout: float | None = None
    ) -> LibraryStatistics:
        """Says what a library holds and costs."""
        request = library_service_pb2.GetLibraryStatisticsRequest(
            library_id=library, min_revision=min_revision
        )
        reply = await self._call(self._stubs.libraries.GetLibraryStatistics, request, timeout)
        return _convert.library_statistics_from_pb(reply)

    # --- documents

    async def create_document(
        self,
        library: str,
        document: NewDocument | Mapping[str, Any],
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Document:
        """Creates a document. `AlreadyExists` when its id is taken."""
        request = document_service_pb2.CreateDocumentRequest(
            library_id=library,
            document=_convert.document_to_pb(document),
            request_id=request_id or str(uuid.uuid4()),
        )
        reply = await self._call(self._stubs.documents.CreateDocument, request, timeout)
        return _convert.document_from_pb(reply.document)

    async def get_document(
        self,
        library: str,
        document_id: str,
        *,
        min_revision: int | None = None,
        timeout: float | None = None,
    ) -> Document:
        """Reads a document with its chunks."""
        request = document_service_pb2.GetDocumentRequest(
            library_id=library, document_id=document_id, min_revision=min_revision
        )
        reply = await self._call(self._stubs.documents.GetDocument, request, timeout)
        return _convert.document_from_pb(reply.document)

    async def get_documents(
        self,
        library: str,
        document_ids: Sequence[str],
        *,
        min_revision: int | None = None,
        timeout: float | None = None,
    ) -> BatchOfDocuments:
        """Reads several documents, at most 1 000, with their chunks."""
        request = document_service_pb2.BatchGetDocumentsRequest(
            library_id=library,
            document_ids=_convert.texts_to_pb(document_ids, "document_ids"),
            min_revision=min_revision,
        )
        reply = await self._call(self._stubs.documents.BatchGetDocuments, request, timeout)
        return BatchOfDocuments(
            documents=[_convert.document_from_pb(document) for document in reply.documents],
            missing_ids=list(reply.missing_ids),
        )

    async def list_documents(
        self,
        library: str,
        *,
        include_chunks: bool = False,
        page_size: int = 0,
        min_revision: int | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Document]:
        """All documents in the order of their creation, fetched page by page; `timeout` is of each
        page. Unlike an export this is no snapshot."""
        request = document_service_pb2.ListDocumentsRequest(
            library_id=library,
            include_chunks=include_chunks,
            page_size=page_size,
            min_revision=min_revision,
        )
        while True:
            reply = await self._call(self._stubs.documents.ListDocuments, request, timeout)
            for document in reply.documents:
                yield _convert.document_from_pb(document)
            request.page_token = reply.next_page_token
            if not request.page_token:
                return

    async def update_document(
        self,
        library: str,
        document_id: str,
        *,
        title: str | Unset = UNSET,
        author: str | Unset = UNSET,
        document_type: str | Unset = UNSET,
        source_url: str | Unset = UNSET,
        tags: Sequence[str] | Unset = UNSET,
        metadata: Metadata | Unset = UNSET,
        text: str | Unset = UNSET,
        texts: Sequence[str] | Unset = UNSET,
        chunks: Sequence[NewChunk | Mapping[str, Any]] | Unset = UNSET,
        expected_revision: int | None = None,
        timeout: float | None = None,
    ) -> Document:
        """Changes what is given and leaves the rest; one of `text`, `texts` and `chunks` replaces
        all chunks. `Conflict` unless the document is at `expected_revision`, if that is given."""
        fields = given(
            title=title,
            author=author,
            document_type=document_type,
            source_url=source_url,
            tags=tags,
            metadata=metadata,
            text=text,
            texts=texts,
            chunks=chunks,
        )
        request = document_service_pb2.UpdateDocumentRequest(
            library_id=library,
            document_id=document_id,
            document=_convert.document_to_pb(fields),
            update_mask=field_mask_pb2.FieldMask(paths=sorted(fields)),
            expected_revision=expected_revision,
        )
        method = self._stubs.documents.UpdateDocument
        reply = await self._call(method, request, timeout, safe=False)
        return _convert.document_from_pb(reply.document)

    async def delete_document(
        self,
        library: str,
        document_id: str,
        *,
        expected_revision: int | None = None,
        timeout: float | None = None,
    ) -> int:
        """Deletes a document with its chunks; gives the revision of that."""
        request = document_service_pb2.DeleteDocumentRequest(
            library_id=library, document_id=document_id, expected_revision=expected_revision
        )
        method = self._stubs.documents.DeleteDocument
        return (await self._call(method, request, timeout, safe=False)).revision

    async def count_documents(
        self,
        library: str,
        filter: str = "",
        *,
        min_revision: int | None = None,
        timeout: float | None = None,
    ) -> DocumentCount:
        """Counts the documents and chunks that a filter lets through; all without one."""
        request = document_service_pb2.CountDocumentsRequest(
            library_id=library, filter=filter, min_revision=min_revision
        )
        reply = await self._call(self._stubs.documents.CountDocuments, request, timeout)
        return DocumentCount(reply.num_documents, reply.num_chunks, reply.revision)

    async def delete_documents(
        self,
        library: str,
        filter: str,
        *,
        min_revision: int | None = None,
        timeout: float | None = None,
    ) -> DeletedDocuments:
        """Deletes every document of which at least one chunk passes a filter (`true`: all)."""
        request = document_service_pb2.DeleteDocumentsRequest(
            library_id=library, filter=filter, min_revision=min_revision
        )
        method = self._stubs.documents.DeleteDocuments
        reply = await self._call(method, request, timeout, safe=False)
        return DeletedDocuments(reply.num_deleted, reply.num_changed, reply.revision)

    async def ingest(
        self,
        library: str,
        documents: Documents,
        *,
        on_conflict: OnConflict = "replace",
        on_progress: Callable[[IngestProgress], None] | None = None,
        give_up_after: float | None = 60.0,
    ) -> IngestSummary:
        """Streams documents in, any number of them; they are taken from `documents` as the server
        keeps up. Each is durable and searchable when `on_progress` tells of it, which it does in
        order, while more are being sent. One that is refused fails alone.

        When the connection breaks or the server restarts, it goes on behind the last document that
        was acknowledged. Documents without an id get one here, so that one which was written
        unheard is not doubled by being sent again. It is given up, with the last error, when for
        `give_up_after` seconds nothing was acknowledged although it tried; `None`: never. What was
        written until then stays. The library is the one that has the name at the beginning.

        `on_progress` must not block for long. In the blocking client it is called in a thread of
        the client's, while `documents` is iterated over in the caller's.
        """
        library_id = (await self.get_library(library)).id
        floor = 0
        if on_conflict != "replace":
            floor = (await self.get_event_statistics()).tail_revision
        return await ingest(
            self._stubs,
            self._options,
            library_id,
            documents,
            on_conflict=on_conflict,
            on_progress=on_progress,
            give_up_after=give_up_after,
            known_revision=floor,
        )

    def export(
        self,
        library: str,
        *,
        include_embeddings: bool = False,
        min_revision: int | None = None,
        timeout: float = 24 * 3600.0,
    ) -> AsyncExport:
        """The documents of a library at one revision, each as an ingest takes it, and then the
        cursor from which the feed tells what came after."""
        request = document_service_pb2.ExportDocumentsRequest(
            library_id=library, include_embeddings=include_embeddings, min_revision=min_revision
        )
        return AsyncExport(
            self._stubs,
            lambda stubs, left: stubs.documents.ExportDocuments(
                request, timeout=left, metadata=self._options.metadata
            ),
            self._attempts(timeout),
        )

    # --- search

    async def search(
        self,
        library: str,
        query: str | None = None,
        *,
        embedding: Iterable[float] | None = None,
        k: int | None = None,
        distance_threshold: float | None = None,
        filter: str = "",
        include_text: bool | None = None,
        group_by: GroupBy | None = None,
        exact: bool = False,
        ef: int | None = None,
        min_revision: int | None = None,
        timeout: float | None = None,
    ) -> SearchResults:
        """Finds the `k` chunks (10 when not given, at most 1 000) nearest to a text or a vector,
        of those of which the `filter` is true, if there is one. With `group_by="document"` `k`
        counts documents, and of each its best chunk is found. `exact` forbids approximation; else
        `ef` (1 to 10 000) says how wide it looks: more finds more and takes longer."""
        request = search_service_pb2.SearchRequest(
            library_id=library,
            query=query,
            embedding=_convert.embedding_to_pb(embedding, "embedding"),
            k=k,
            distance_threshold=distance_threshold,
            filter=filter,
            include_text=include_text,
            group_by=_convert.group_by_to_pb(group_by),
            exact=exact,
            ef=ef,
            min_revision=min_revision,
        )
        reply = await self._call(self._stubs.searches.Search, request, timeout)
        return _convert.results_from_pb(reply)

    async def search_many(
        self,
        library: str,
        queries: Iterable[SearchQuery | str],
        *,
        k: int | None = None,
        distance_threshold: float | None = None,
        filter: str = "",
        include_text: bool | None = None,
        group_by: GroupBy | None = None,
        exact: bool = False,
        ef: int | None = None,
        min_revision: int | None = None,
        timeout: float | None = None,
    ) -> list[SearchResults]:
        """Answers several queries, at most 100, at one revision, in their order. `k`,
        `distance_threshold`, `filter` and `ef` are of those that say nothing else."""
        request = search_service_pb2.SearchRequest(
            library_id=library,
            queries=[_convert.query_to_pb(query) for query in queries],
            k=k,
            distance_threshold=distance_threshold,
            filter=filter,
            include_text=include_text,
            group_by=_convert.group_by_to_pb(group_by),
            exact=exact,
            ef=ef,
            min_revision=min_revision,
        )
        reply = await self._call(self._stubs.searches.Search, request, timeout)
        return [_convert.results_from_pb(results) for results in reply.queries]

    def stream_search(
        self,
        library: str,
        query: str | None = None,
        *,
        embedding: Iterable[float] | None = None,
        k: int | None = None,
        distance_threshold: float | None = None,
        filter: str = "",
        include_text: bool | None = None,
        group_by: GroupBy | None = None,
        exact: bool = False,
        ef: int | None = None,
        min_revision: int | None = None,
        timeout: float | None = None,
    ) -> AsyncHitStream:
        """As `search`, hit by hit, with a `k` of up to 10 000."""
        request = search_service_pb2.StreamSearchRequest(
            library_id=library,
            query=query,
            embedding=_convert.embedding_to_pb(embedding, "embedding"),
            k=k,
            distance_threshold=distance_threshold,
            filter=filter,
            include_text=include_text,
            group_by=_convert.group_by_to_pb(group_by),
            exact=exact,
            ef=ef,
            min_revision=min_revision,
        )
        return AsyncHitStream(
            self._stubs,
            lambda stubs, left: stubs.searches.StreamSearch(
                request, timeout=left, metadata=self._options.metadata
            ),
            self._attempts(timeout),
        )

    # --- indexes

    async def get_index_statistics(
        self, library: str, *, min_revision: int | None = None, timeout: float | None = None
    ) -> IndexStatistics:
        """Says what a library's index is made of, and what is being built."""
        request = index_service_pb2.GetIndexStatisticsRequest(
            library_id=library, min_revision=min_revision
        )
        reply = await self._call(self._stubs.indexes.GetIndexStatistics, request, timeout)
        return _convert.index_statistics_from_pb(reply)

    async def rebuild_index(
        self, library: str, index_type: IndexType | None = None, *, timeout: float | None = None
    ) -> int:
        """Builds a library's index anew, as another kind if one is given; gives the revision of
        that when it is done, which may take long: it goes on when `timeout` is over."""
        request = index_service_pb2.RebuildIndexRequest(
            library_id=library, index_type=_convert.index_type_to_pb(index_type)
        )
        method = self._stubs.indexes.RebuildIndex
        return (await self._call(method, request, timeout, safe=False)).revision

    async def optimize_index(self, library: str, *, timeout: float | None = None) -> int:
        """Merges what a library's index is made of and gives back the space of deleted rows;
        otherwise as `rebuild_index`."""
        request = index_service_pb2.OptimizeIndexRequest(library_id=library)
        method = self._stubs.indexes.OptimizeIndex
        return (await self._call(method, request, timeout, safe=False)).revision

    async def measure_recall(
        self,
        library: str,
        *,
        num_queries: int | None = None,
        k: int | None = None,
        ef: int | None = None,
        min_revision: int | None = None,
        timeout: float | None = None,
    ) -> Recall:
        """Searches for stored vectors and compares with exact search."""
        request = search_service_pb2.MeasureRecallRequest(
            library_id=library, num_queries=num_queries, k=k, ef=ef, min_revision=min_revision
        )
        reply = await self._call(self._stubs.searches.MeasureRecall, request, timeout)
        return _convert.recall_from_pb(reply)

    # --- events

    @overload
    async def subscribe(
        self,
        library: str | None = None,
        *,
        event_types: Iterable[EventType] | None = None,
        cursor: str = "",
        filter: str = "",
        snapshot: Literal[False] = False,
        consumer: str = "",
        owner: str = "",
        generation: int | None = None,
        on_heartbeat: Callable[[Heartbeat], None] | None = None,
        silence_max: float = 60.0,
        give_up_after: float | None = None,
    ) -> AsyncSubscription[Event]: ...

    @overload
    async def subscribe(
        self,
        library: str | None = None,
        *,
        event_types: Iterable[EventType] | None = None,
        cursor: str = "",
        filter: str = "",
        snapshot: Literal[True],
        consumer: str = "",
        owner: str = "",
        generation: int | None = None,
        on_heartbeat: Callable[[Heartbeat], None] | None = None,
        silence_max: float = 60.0,
        give_up_after: float | None = None,
    ) -> AsyncSubscription[SnapshotItem]: ...

    async def subscribe(
        self,
        library: str | None = None,
        *,
        event_types: Iterable[EventType] | None = None,
        cursor: str = "",
        filter: str = "",
        snapshot: bool = False,
        consumer: str = "",
        owner: str = "",
        generation: int | None = None,
        on_heartbeat: Callable[[Heartbeat], None] | None = None,
        silence_max: float = 60.0,
        give_up_after: float | None = None,
    ) -> AsyncSubscription[Event] | AsyncSubscription[SnapshotItem]:
        """Follows what happens, and resumes by itself: each event once, in order, over broken
        connections and restarts of the server.

        It begins behind `cursor` (that of an event, heartbeat, page or export, or `begin`, `now`,
        `revision:N`, `time:RFC3339`), without one with what comes after this call: when it
        answers, its place is fixed. To go on in another process, keep the id of the last event
        that you have dealt with. A library given by name is the one that has it now.

        `filter` lets through events of which an expression is true; those of updates say how they
        `match`. With `snapshot` it begins with the documents that are there, of one moment, and
        goes on with what came after: a `SnapshotBegin`, a `SnapshotDocument` for each, a
        `SnapshotEnd`, and then events, with no gap and no double.

        With `consumer` it follows as that durable consumer, from what is acknowledged on, with the
        consumer's own filter; `acknowledge` it. `owner` is what people are shown, and should be
        of this process alone; without one it is made of host, process and a random number.
        `generation` takes the consumer over only if it is still at this one.

        A connection on which nothing came for `silence_max` seconds, a multiple of the server's
        heartbeat interval, is left for a new one. The server is tried for `give_up_after` seconds
        before its error is raised; `None`: for ever.
        """
        request = event_service_pb2.SubscribeRequest(
            library_id=await self._settled(library),
            event_types=_convert.event_types_to_pb(event_types),
            cursor=cursor,
            filter=filter,
            snapshot=snapshot,
            consumer=consumer,
            owner=owner or (_own_name() if consumer else ""),
            generation=generation,
        )
        subscription: AsyncSubscription[SnapshotItem] = AsyncSubscription(
            self._options,
            request,
            silence_max=silence_max,
            give_up_after=give_up_after,
            on_heartbeat=on_heartbeat,
        )
        try:
            await subscription.open()
        except BaseException:
            await subscription.close()
            raise
        return subscription

    async def _settled(self, library: str | None) -> str:
        """The id of a library given by name, so that a subscription stays with it when the name
        goes or is given to another. The id of one that is gone is as good as any."""
        if library is None:
            return ""
        try:
            return str(uuid.UUID(library))
        except ValueError:
            return (await self.get_library(library)).id

    async def list_events(
        self,
        library: str | None = None,
        *,
        event_types: Iterable[EventType] | None = None,
        cursor: str = "",
        filter: str = "",
        limit: int = 0,
        min_revision: int | None = None,
        timeout: float | None = None,
    ) -> EventPage:
        """Reads past events behind `cursor`, without one from the oldest on: at most `limit` (100
        when 0). The page's `next_cursor` goes on, also when it is empty, until `tail_cursor`."""
        request = event_service_pb2.ListEventsRequest(
            library_id=library or "",
            event_types=_convert.event_types_to_pb(event_types),
            cursor=cursor,
            filter=filter,
            limit=limit,
            min_revision=min_revision,
        )
        reply = await self._call(self._stubs.events.ListEvents, request, timeout)
        return EventPage(
            events=[_convert.event_from_pb(event) for event in reply.events],
            next_cursor=reply.next_cursor,
            tail_cursor=reply.tail_cursor,
        )

    async def get_event_statistics(
        self, *, min_revision: int | None = None, timeout: float | None = None
    ) -> EventStatistics:
        """Says how the feed is doing."""
        request = event_service_pb2.GetEventStatisticsRequest(min_revision=min_revision)
        reply = await self._call(self._stubs.events.GetEventStatistics, request, timeout)
        return _convert.event_statistics_from_pb(reply)

    # --- durable consumers

    async def create_consumer(
        self,
        name: str,
        *,
        library: str | None = None,
        event_types: Iterable[EventType] | None = None,
        filter: str = "",
        cursor: str = "",
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Consumer:
        """Makes a consumer that begins behind `cursor`, without one with what comes after this
        call. It holds the log: delete one that nobody reads from. `AlreadyExists` when the name is
        taken."""
        request = consumer_service_pb2.CreateConsumerRequest(
            name=name,
            library_id=library or "",
            event_types=_convert.event_types_to_pb(event_types),
            filter=filter,
            cursor=cursor,
            request_id=request_id or str(uuid.uuid4()),
        )
        reply = await self._call(self._stubs.consumers.CreateConsumer, request, timeout)
        return _convert.consumer_from_pb(reply.consumer)

    async def get_consumer(self, name: str, *, timeout: float | None = None) -> Consumer:
        """Reads a consumer and how far it is behind."""
        request = consumer_service_pb2.GetConsumerRequest(name=name)
        reply = await self._call(self._stubs.consumers.GetConsumer, request, timeout)
        return _convert.consumer_from_pb(reply.consumer)

    async def list_consumers(
        self, *, page_size: int = 0, timeout: float | None = None
    ) -> AsyncIterator[Consumer]:
        """All consumers by name, fetched page by page; `timeout` is of each page."""
        request = consumer_service_pb2.ListConsumersRequest(page_size=page_size)
        while True:
            reply = await self._call(self._stubs.consumers.ListConsumers, request, timeout)
            for consumer in reply.consumers:
                yield _convert.consumer_from_pb(consumer)
            request.page_token = reply.next_page_token
            if not request.page_token:
                return

    async def pull_events(
        self,
        name: str,
        *,
        generation: int | None = None,
        owner: str = "",
        cursor: str = "",
        max_events: int = 0,
        wait: float = 0.0,
        timeout: float | None = None,
    ) -> PulledEvents:
        """Gives the next events of a consumer that are not acknowledged, at most `max_events` (100
        when 0), and waits `wait` seconds for the first. Without a `generation` this takes the
        consumer over, which makes the owner before stale, and is not retried; with the one that
        the pull before gave it goes on, and raises `Conflict` when the consumer has another owner.
        With a `cursor` it reads on from there without acknowledging."""
        request = consumer_service_pb2.PullEventsRequest(
            name=name,
            generation=generation,
            owner=owner,
            cursor=cursor,
            max_events=max_events,
            wait_ms=round(wait * 1000),
        )
        if timeout is None:
            timeout = max(self._options.timeout, wait + _PULL_GRACE)
        method = self._stubs.consumers.PullEvents
        reply = await self._call(method, request, timeout, safe=generation is not None)
        return PulledEvents(
            events=[_convert.event_from_pb(event) for event in reply.events],
            next_cursor=reply.next_cursor,
            tail_cursor=reply.tail_cursor,
            generation=reply.generation,
        )

    async def acknowledge(
        self, name: str, *, generation: int, cursor: str, timeout: float | None = None
    ) -> Consumer:
        """Acknowledges all events up to `cursor`: a `next_cursor`, or the id of an event. Durable
        when it answers. `Conflict` when the consumer has another owner."""
        request = consumer_service_pb2.AcknowledgeRequest(
            name=name, generation=generation, cursor=cursor
        )
        reply = await self._call(self._stubs.consumers.Acknowledge, request, timeout)
        return _convert.consumer_from_pb(reply.consumer)

    async def seek_consumer(
        self, name: str, cursor: str, *, timeout: float | None = None
    ) -> Consumer:
        """Moves a consumer, forwards or back. Whoever owns it becomes stale."""
        request = consumer_service_pb2.SeekRequest(name=name, cursor=cursor)
        reply = await self._call(self._stubs.consumers.Seek, request, timeout, safe=False)
        return _convert.consumer_from_pb(reply.consumer)

    async def pause_consumer(self, name: str, *, timeout: float | None = None) -> Consumer:
        """Lets a consumer give nothing out until it is resumed. It keeps its place."""
        request = consumer_service_pb2.PauseRequest(name=name)
        reply = await self._call(self._stubs.consumers.Pause, request, timeout, safe=False)
        return _convert.consumer_from_pb(reply.consumer)

    async def resume_consumer(self, name: str, *, timeout: float | None = None) -> Consumer:
        """Ends a pause."""
        request = consumer_service_pb2.ResumeRequest(name=name)
        reply = await self._call(self._stubs.consumers.Resume, request, timeout, safe=False)
        return _convert.consumer_from_pb(reply.consumer)

    async def delete_consumer(self, name: str, *, timeout: float | None = None) -> None:
        """Takes a consumer away."""
        request = consumer_service_pb2.DeleteConsumerRequest(name=name)
        await self._call(self._stubs.consumers.DeleteConsumer, request, timeout, safe=False)


def _own_name() -> str:
    return f"{socket.gethostname()[:64]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
