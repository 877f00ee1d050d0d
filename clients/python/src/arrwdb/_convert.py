"""Between our values and the wire's messages: the only place that knows both."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from google.protobuf import struct_pb2, timestamp_pb2

from . import values
from .errors import FieldViolation, InvalidArgument
from .v1 import (
    consumer_service_pb2,
    document_pb2,
    event_pb2,
    event_service_pb2,
    index_service_pb2,
    library_pb2,
    library_service_pb2,
    search_service_pb2,
)

# Doubles hold whole numbers up to here exactly.
_WHOLE_MAX = 2.0**53

# As the server: deeper is refused there, and here before the stack is used up.
_DEPTH_MAX = 64


def invalid(field: str, detail: str) -> InvalidArgument:
    """What the server would say of such a field."""
    return InvalidArgument(f"{field}: {detail}", violations=(FieldViolation(field, detail),))


# --- JSON


def struct_to_pb(metadata: Mapping[str, Any] | None, field: str) -> struct_pb2.Struct | None:
    """Metadata for the wire; `InvalidArgument` for what JSON does not have."""
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        raise invalid(field, "must be a mapping")
    struct = struct_pb2.Struct()
    _fill(struct, metadata, field, 1)
    return struct


def _fill(struct: struct_pb2.Struct, metadata: Mapping[str, Any], field: str, depth: int) -> None:
    if depth > _DEPTH_MAX:
        raise invalid(field, "is nested too deeply")
    for key, value in metadata.items():
        if not isinstance(key, str):
            raise invalid(field, f"the key {key!r} must be a str")
        _fill_value(struct.fields[key], value, f"{field}.{key}", depth)


def _fill_value(into: struct_pb2.Value, value: object, field: str, depth: int) -> None:
    if value is None:
        into.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, (int, float)):
        try:
            into.number_value = float(value)
        except OverflowError:
            raise invalid(field, "is too large a number") from None
    elif isinstance(value, str):
        into.string_value = value
    elif isinstance(value, Mapping):
        into.struct_value.SetInParent()
        _fill(into.struct_value, value, field, depth + 1)
    elif isinstance(value, (list, tuple)):
        if depth >= _DEPTH_MAX:
            raise invalid(field, "is nested too deeply")
        into.list_value.SetInParent()
        for index, item in enumerate(value):
            _fill_value(into.list_value.values.add(), item, f"{field}[{index}]", depth + 1)
    else:
        raise invalid(field, f"a {type(value).__name__} is not JSON")


def struct_from_pb(struct: struct_pb2.Struct) -> dict[str, Any]:
    return {key: _value_from_pb(value) for key, value in struct.fields.items()}


def _value_from_pb(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        number = value.number_value
        whole = math.isfinite(number) and number.is_integer() and abs(number) <= _WHOLE_MAX
        return int(number) if whole else number
    if kind == "struct_value":
        return struct_from_pb(value.struct_value)
    if kind == "list_value":
        return [_value_from_pb(item) for item in value.list_value.values]
    return None if kind in (None, "null_value") else getattr(value, kind)


def time_from_pb(time: timestamp_pb2.Timestamp) -> datetime:
    return time.ToDatetime(tzinfo=timezone.utc)


# --- enums: the server's names in lower case, as in HTTP


def _wire_name(enum: Any, prefix: str, name: str | None, field: str) -> str:
    wire_name = prefix + ("unspecified" if name is None else str(name)).upper().replace(".", "_")
    if wire_name not in enum.keys() or (name is not None and enum.Value(wire_name) == 0):
        raise invalid(field, f"{name!r} is not one that this client knows")
    return wire_name


def _name(enum: Any, prefix: str, number: int) -> str:
    if number not in enum.values():
        return f"unknown.{number}"
    return str(enum.Name(number)).removeprefix(prefix).lower()


def metric_to_pb(metric: str | None) -> str:
    return _wire_name(library_pb2.Metric, "METRIC_", metric, "metric")


def metric_from_pb(number: int) -> str:
    return _name(library_pb2.Metric, "METRIC_", number)


def index_type_to_pb(index_type: str | None) -> str:
    return _wire_name(library_pb2.IndexType, "INDEX_TYPE_", index_type, "index_type")


def index_type_from_pb(number: int) -> str:
    return _name(library_pb2.IndexType, "INDEX_TYPE_", number)


def group_by_to_pb(group_by: str | None) -> str:
    return _wire_name(search_service_pb2.GroupBy, "GROUP_BY_", group_by, "group_by")


def on_conflict_to_pb(on_conflict: str) -> str:
    return _wire_name(document_pb2.OnConflict, "ON_CONFLICT_", on_conflict, "on_conflict")


def event_types_to_pb(types: Iterable[str] | None) -> list[str]:
    if isinstance(types, str):
        raise invalid("event_types", "must be a list of types, not a str")
    return [
        _wire_name(event_pb2.EventType, "EVENT_TYPE_", name, "event_types") for name in types or ()
    ]


def event_type_from_pb(number: int) -> str:
    return _name(event_pb2.EventType, "EVENT_TYPE_", number).replace("_", ".", 1)


# --- libraries


def embedder_from_pb(embedder: library_pb2.Embedder) -> values.Embedder:
    return values.Embedder(id=embedder.id, sha256=embedder.sha256)


def library_from_pb(library: library_pb2.Library) -> values.Library:
    return values.Library(
        id=library.id,
        name=library.name,
        description=library.description,
        metric=metric_from_pb(library.metric),
        dimension=library.dimension,
        embedder=embedder_from_pb(library.embedder),
        index_type=index_type_from_pb(library.index_type),
        metadata=struct_from_pb(library.metadata),
        num_documents=library.num_documents,
        num_chunks=library.num_chunks,
        created_at=time_from_pb(library.created_at),
        updated_at=time_from_pb(library.updated_at),
        revision=library.revision,
    )


def library_statistics_from_pb(
    statistics: library_service_pb2.GetLibraryStatisticsResponse,
) -> values.LibraryStatistics:
    return values.LibraryStatistics(
        library_id=statistics.library_id,
        name=statistics.name,
        num_documents=statistics.num_documents,
        num_chunks=statistics.num_chunks,
        num_segments=statistics.num_segments,
        num_tombstones=statistics.num_tombstones,
        index_bytes=statistics.index_bytes,
        revision=statistics.revision,
    )


def index_statistics_from_pb(
    statistics: index_service_pb2.GetIndexStatisticsResponse,
) -> values.IndexStatistics:
    building = None
    if statistics.HasField("building"):
        build = statistics.building
        building = values.IndexBuild(build.num_rows, build.num_rows_done)
    return values.IndexStatistics(
        library_id=statistics.library_id,
        index_type=index_type_from_pb(statistics.index_type),
        num_rows=statistics.num_rows,
        num_tombstones=statistics.num_tombstones,
        index_bytes=statistics.index_bytes,
        segments=tuple(
            values.IndexSegment(
                has_graph=one.has_graph,
                num_rows=one.num_rows,
                num_tombstones=one.num_tombstones,
                index_bytes=one.index_bytes,
                ef=one.ef,
            )
            for one in statistics.segments
        ),
        building=building,
        revision=statistics.revision,
    )


def recall_from_pb(measured: search_service_pb2.MeasureRecallResponse) -> values.Recall:
    return values.Recall(
        recall=measured.recall,
        recall_min=measured.recall_min,
        num_queries=measured.num_queries,
        k=measured.k,
        search_us=measured.search_us,
        exact_us=measured.exact_us,
        revision=measured.revision,
    )


# --- documents

_DOCUMENT_FIELDS = {f.name for f in dataclasses.fields(values.NewDocument)}
_CHUNK_FIELDS = {f.name for f in dataclasses.fields(values.NewChunk)}


def document_to_pb(
    document: values.NewDocument | Mapping[str, Any], *, new_id: str = ""
) -> document_pb2.DocumentInput:
    """A document for the wire, with `new_id` when it has none. `InvalidArgument` for fields that
    do not exist and values of a wrong type; what they say is for the server to judge."""
    if isinstance(document, values.NewDocument):
        fields: Mapping[str, Any] = {name: getattr(document, name) for name in _DOCUMENT_FIELDS}
    elif isinstance(document, Mapping):
        fields = document
    else:
        raise invalid("document", f"a {type(document).__name__} is neither NewDocument nor mapping")
    _check_names(fields, _DOCUMENT_FIELDS, "")
    text = fields.get("text")
    return document_pb2.DocumentInput(
        id=_text(fields, "id", "") or new_id,
        title=_text(fields, "title", ""),
        author=_text(fields, "author", ""),
        document_type=_text(fields, "document_type", ""),
        source_url=_text(fields, "source_url", ""),
        tags=texts_to_pb(fields.get("tags"), "tags"),
        metadata=struct_to_pb(fields.get("metadata"), "metadata"),
        text=None if text is None else _checked(text, "text"),
        texts=texts_to_pb(fields.get("texts"), "texts"),
        chunks=chunks_to_pb(fields.get("chunks")),
    )


def chunks_to_pb(
    chunks: Sequence[values.NewChunk | Mapping[str, Any]] | None,
) -> list[document_pb2.ChunkInput]:
    return [_chunk_to_pb(chunk, f"chunks[{index}]") for index, chunk in enumerate(chunks or ())]


def _chunk_to_pb(
    chunk: values.NewChunk | Mapping[str, Any], field: str
) -> document_pb2.ChunkInput:
    if isinstance(chunk, values.NewChunk):
        fields: Mapping[str, Any] = {name: getattr(chunk, name) for name in _CHUNK_FIELDS}
    elif isinstance(chunk, Mapping):
        fields = chunk
    else:
        raise invalid(field, f"a {type(chunk).__name__} is neither NewChunk nor mapping")
    _check_names(fields, _CHUNK_FIELDS, field + ".")
    return document_pb2.ChunkInput(
        text=_text(fields, "text", field + "."),
        embedding=embedding_to_pb(fields.get("embedding"), f"{field}.embedding"),
        metadata=struct_to_pb(fields.get("metadata"), f"{field}.metadata"),
    )


def _check_names(fields: Mapping[str, Any], known: set[str], prefix: str) -> None:
    for name in fields:
        if name not in known:
            raise invalid(f"{prefix}{name}", "is not a field")


def _checked(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise invalid(field, f"must be a str, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise invalid(field, "must be text that UTF-8 can say") from None
    return value


def _text(fields: Mapping[str, Any], name: str, prefix: str) -> str:
    value = fields.get(name)
    return "" if value is None else _checked(value, prefix + name)


def texts_to_pb(texts: Iterable[str] | None, field: str) -> list[str]:
    if texts is None:
        return []
    if isinstance(texts, str):
        raise invalid(field, "must be a list of str, not a str")
    return [_checked(text, f"{field}[{index}]") for index, text in enumerate(texts)]


def embedding_to_pb(embedding: Iterable[float] | None, field: str) -> list[float]:
    if embedding is None:
        return []
    try:
        return [float(number) for number in embedding]
    except (TypeError, ValueError):
        raise invalid(field, "must be numbers") from None


def new_document_from_pb(document: document_pb2.DocumentInput) -> values.NewDocument:
    return values.NewDocument(
        id=document.id,
        title=document.title,
        author=document.author,
        document_type=document.document_type,
        source_url=document.source_url,
        tags=list(document.tags),
        metadata=struct_from_pb(document.metadata) if document.HasField("metadata") else None,
        text=document.text if document.HasField("text") else None,
        texts=list(document.texts),
        chunks=[
            values.NewChunk(
                text=chunk.text,
                embedding=list(chunk.embedding) or None,
                metadata=struct_from_pb(chunk.metadata) if chunk.HasField("metadata") else None,
            )
            for chunk in document.chunks
        ],
    )


def document_from_pb(document: document_pb2.Document) -> values.Document:
    return values.Document(
        id=document.id,
        title=document.title,
        author=document.author,
        document_type=document.document_type,
        source_url=document.source_url,
        tags=list(document.tags),
        metadata=struct_from_pb(document.metadata),
        chunks=[
            values.Chunk(
                id=chunk.id,
                index=chunk.index,
                text=chunk.text,
                metadata=struct_from_pb(chunk.metadata),
            )
            for chunk in document.chunks
        ],
        num_chunks=document.num_chunks,
        created_at=time_from_pb(document.created_at),
        updated_at=time_from_pb(document.updated_at),
        revision=document.revision,
    )


# --- search


def query_to_pb(query: values.SearchQuery | str) -> search_service_pb2.SearchQuery:
    if isinstance(query, str):
        query = values.SearchQuery(query)
    return search_service_pb2.SearchQuery(
        query=query.query,
        embedding=embedding_to_pb(query.embedding, "embedding"),
        k=query.k,
        distance_threshold=query.distance_threshold,
        filter=query.filter,
        ef=query.ef,
    )


def hit_from_pb(hit: search_service_pb2.Hit) -> values.Hit:
    return values.Hit(
        rank=hit.rank,
        chunk_id=hit.chunk_id,
        document_id=hit.document_id,
        score=hit.score,
        distance=hit.distance,
        text=hit.text if hit.HasField("text") else None,
        title=hit.title,
        metadata=struct_from_pb(hit.metadata),
    )


def results_from_pb(
    found: search_service_pb2.SearchResponse | search_service_pb2.SearchQueryResults,
) -> values.SearchResults:
    return values.SearchResults(
        results=[hit_from_pb(hit) for hit in found.results],
        total_results=found.total_results,
        revision=found.revision,
    )


# --- events


def _library_event(event: event_pb2.LibraryEvent) -> values.LibraryEvent:
    had = event.HasField
    return values.LibraryEvent(
        name=event.name,
        description=event.description,
        metric=metric_from_pb(event.metric),
        dimension=event.dimension,
        embedder=embedder_from_pb(event.embedder),
        index_type=index_type_from_pb(event.index_type),
        metadata=struct_from_pb(event.metadata),
        previous_name=event.previous_name if had("previous_name") else None,
        previous_description=event.previous_description if had("previous_description") else None,
        previous_metadata=(
            struct_from_pb(event.previous_metadata) if had("previous_metadata") else None
        ),
        num_documents=event.num_documents if had("num_documents") else None,
        num_chunks=event.num_chunks if had("num_chunks") else None,
    )


def document_event_from_pb(event: event_pb2.DocumentEvent) -> values.DocumentEvent:
    had = event.HasField
    return values.DocumentEvent(
        document_id=event.document_id,
        title=event.title,
        author=event.author,
        document_type=event.document_type,
        source_url=event.source_url,
        tags=list(event.tags),
        metadata=struct_from_pb(event.metadata),
        num_chunks=event.num_chunks,
        previous_title=event.previous_title if had("previous_title") else None,
        previous_metadata=(
            struct_from_pb(event.previous_metadata) if had("previous_metadata") else None
        ),
    )


def _payload(event: event_pb2.Event) -> values.Payload | None:
    which = event.WhichOneof("payload")
    if which == "library":
        return _library_event(event.library)
    if which == "document":
        return document_event_from_pb(event.document)
    if which == "chunk":
        chunk = event.chunk
        return values.ChunkEvent(
            chunk_id=chunk.chunk_id,
            document_id=chunk.document_id,
            title=chunk.title,
            index=chunk.index,
            metadata=struct_from_pb(chunk.metadata),
        )
    if which == "batch":
        batch = event.batch
        return values.BatchEvent(
            total_processed=batch.total_processed,
            total_succeeded=batch.total_succeeded,
            total_failed=batch.total_failed,
            total_skipped=batch.total_skipped,
            total_chunks=batch.total_chunks,
            reason=batch.reason if batch.HasField("reason") else None,
        )
    if which == "index":
        index = event.index
        had = index.HasField
        return values.IndexEvent(
            index_type=index_type_from_pb(index.index_type),
            segments_before=index.segments_before if had("segments_before") else None,
            segments_after=index.segments_after if had("segments_after") else None,
        )
    return None


def event_from_pb(event: event_pb2.Event) -> values.Event:
    return values.Event(
        id=event.id,
        type=event_type_from_pb(event.type),
        library_id=event.library_id,
        timestamp=time_from_pb(event.timestamp),
        revision=event.revision,
        last=event.last,
        batch_id=event.batch_id,
        match=_name(event_pb2.EventMatch, "EVENT_MATCH_", event.match) if event.match else None,
        payload=_payload(event),
    )


def snapshot_document_from_pb(
    document: event_service_pb2.SnapshotDocument,
) -> values.SnapshotDocument:
    return values.SnapshotDocument(
        library_id=document.library_id,
        timestamp=time_from_pb(document.timestamp),
        revision=document.revision,
        document=document_event_from_pb(document.document),
    )


def snapshot_end_from_pb(end: event_service_pb2.SnapshotEnd) -> values.SnapshotEnd:
    return values.SnapshotEnd(cursor=end.cursor, total_documents=end.total_documents)


def heartbeat_from_pb(heartbeat: event_service_pb2.Heartbeat) -> values.Heartbeat:
    return values.Heartbeat(cursor=heartbeat.cursor, time=time_from_pb(heartbeat.time))


def event_statistics_from_pb(
    statistics: event_service_pb2.GetEventStatisticsResponse,
) -> values.EventStatistics:
    return values.EventStatistics(
        total_published=statistics.total_published,
        total_delivered=statistics.total_delivered,
        total_errors=statistics.total_errors,
        pending_events=statistics.pending_events,
        subscriber_count=statistics.subscriber_count,
        running=statistics.running,
        started_at=time_from_pb(statistics.started_at),
        tail_revision=statistics.tail_revision,
        floor_revision=statistics.floor_revision,
        log_bytes=statistics.log_bytes,
        subscribers=[
            values.SubscriberStatistics(
                id=one.id,
                cursor=one.cursor,
                lag_revisions=one.lag_revisions,
                lag_seconds=one.lag_seconds,
                pending_events=one.pending_events,
                delivered_events=one.delivered_events,
                since=time_from_pb(one.since),
            )
            for one in statistics.subscribers
        ],
    )


def consumer_from_pb(consumer: consumer_service_pb2.Consumer) -> values.Consumer:
    return values.Consumer(
        name=consumer.name,
        library_id=consumer.library_id,
        event_types=[event_type_from_pb(number) for number in consumer.event_types],
        filter=consumer.filter,
        cursor=consumer.cursor,
        generation=consumer.generation,
        owner=consumer.owner,
        paused=consumer.paused,
        expired=consumer.expired,
        lag_revisions=consumer.lag_revisions,
        lag_events=consumer.lag_events,
        lag_seconds=consumer.lag_seconds,
        created_at=time_from_pb(consumer.created_at),
        updated_at=time_from_pb(consumer.updated_at),
    )
