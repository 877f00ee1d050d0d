import datetime

from arrwdb.v1 import event_pb2 as _event_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SubscribeRequest(_message.Message):
    __slots__ = ("library_id", "event_types", "cursor", "filter", "snapshot", "consumer", "owner", "generation")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    event_types: _containers.RepeatedScalarFieldContainer[_event_pb2.EventType]
    cursor: str
    filter: str
    snapshot: bool
    consumer: str
    owner: str
    generation: int
    def __init__(self, library_id: _Optional[str] = ..., event_types: _Optional[_Iterable[_Union[_event_pb2.EventType, str]]] = ..., cursor: _Optional[str] = ..., filter: _Optional[str] = ..., snapshot: _Optional[bool] = ..., consumer: _Optional[str] = ..., owner: _Optional[str] = ..., generation: _Optional[int] = ...) -> None: ...

class SubscribeResponse(_message.Message):
    __slots__ = ("event", "heartbeat", "snapshot_document", "snapshot_end")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_END_FIELD_NUMBER: _ClassVar[int]
    event: _event_pb2.Event
    heartbeat: Heartbeat
    snapshot_document: SnapshotDocument
    snapshot_end: SnapshotEnd
    def __init__(self, event: _Optional[_Union[_event_pb2.Event, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., snapshot_document: _Optional[_Union[SnapshotDocument, _Mapping]] = ..., snapshot_end: _Optional[_Union[SnapshotEnd, _Mapping]] = ...) -> None: ...

class SnapshotDocument(_message.Message):
    __slots__ = ("library_id", "timestamp", "revision", "document")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    timestamp: _timestamp_pb2.Timestamp
    revision: int
    document: _event_pb2.DocumentEvent
    def __init__(self, library_id: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., document: _Optional[_Union[_event_pb2.DocumentEvent, _Mapping]] = ...) -> None: ...

class SnapshotEnd(_message.Message):
    __slots__ = ("cursor", "total_documents")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    TOTAL_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    total_documents: int
    def __init__(self, cursor: _Optional[str] = ..., total_documents: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("cursor", "time", "generation")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    time: _timestamp_pb2.Timestamp
    generation: int
    def __init__(self, cursor: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., generation: _Optional[int] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("library_id", "event_types", "cursor", "filter", "limit", "min_revision", "timeout_ms")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    event_types: _containers.RepeatedScalarFieldContainer[_event_pb2.EventType]
    cursor: str
    filter: str
    limit: int
    min_revision: int
    timeout_ms: int
    def __init__(self, library_id: _Optional[str] = ..., event_types: _Optional[_Iterable[_Union[_event_pb2.EventType, str]]] = ..., cursor: _Optional[str] = ..., filter: _Optional[str] = ..., limit: _Optional[int] = ..., min_revision: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events", "next_cursor", "tail_cursor")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    TAIL_CURSOR_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.Event]
    next_cursor: str
    tail_cursor: str
    def __init__(self, events: _Optional[_Iterable[_Union[_event_pb2.Event, _Mapping]]] = ..., next_cursor: _Optional[str] = ..., tail_cursor: _Optional[str] = ...) -> None: ...

class GetEventStatisticsRequest(_message.Message):
    __slots__ = ("min_revision", "timeout_ms")
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    min_revision: int
    timeout_ms: int
    def __init__(self, min_revision: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class GetEventStatisticsResponse(_message.Message):
    __slots__ = ("total_published", "total_delivered", "total_errors", "pending_events", "subscriber_count", "running", "started_at", "tail_revision", "floor_revision", "log_bytes", "subscribers")
    TOTAL_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_DELIVERED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_ERRORS_FIELD_NUMBER: _ClassVar[int]
    PENDING_EVENTS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    TAIL_REVISION_FIELD_NUMBER: _ClassVar[int]
    FLOOR_REVISION_FIELD_NUMBER: _ClassVar[int]
    LOG_BYTES_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBERS_FIELD_NUMBER: _ClassVar[int]
    total_published: int
    total_delivered: int
    total_errors: int
    pending_events: int
    subscriber_count: int
    running: bool
    started_at: _timestamp_pb2.Timestamp
    tail_revision: int
    floor_revision: int
    log_bytes: int
    subscribers: _containers.RepeatedCompositeFieldContainer[SubscriberStatistics]
    def __init__(self, total_published: _Optional[int] = ..., total_delivered: _Optional[int] = ..., total_errors: _Optional[int] = ..., pending_events: _Optional[int] = ..., subscriber_count: _Optional[int] = ..., running: _Optional[bool] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tail_revision: _Optional[int] = ..., floor_revision: _Optional[int] = ..., log_bytes: _Optional[int] = ..., subscribers: _Optional[_Iterable[_Union[SubscriberStatistics, _Mapping]]] = ...) -> None: ...

class SubscriberStatistics(_message.Message):
    __slots__ = ("id", "cursor", "lag_revisions", "lag_seconds", "pending_events", "delivered_events", "since")
    ID_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LAG_REVISIONS_FIELD_NUMBER: _ClassVar[int]
    LAG_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PENDING_EVENTS_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    id: int
    cursor: str
    lag_revisions: int
    lag_seconds: float
    pending_events: int
    delivered_events: int
    since: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[int] = ..., cursor: _Optional[str] = ..., lag_revisions: _Optional[int] = ..., lag_seconds: _Optional[float] = ..., pending_events: _Optional[int] = ..., delivered_events: _Optional[int] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
