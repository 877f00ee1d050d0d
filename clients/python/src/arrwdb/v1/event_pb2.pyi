import datetime

from arrwdb.v1 import library_pb2 as _library_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventMatch(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_MATCH_UNSPECIFIED: _ClassVar[EventMatch]
    EVENT_MATCH_ENTERED: _ClassVar[EventMatch]
    EVENT_MATCH_STAYED: _ClassVar[EventMatch]
    EVENT_MATCH_LEFT: _ClassVar[EventMatch]

class EventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_TYPE_UNSPECIFIED: _ClassVar[EventType]
    EVENT_TYPE_LIBRARY_CREATED: _ClassVar[EventType]
    EVENT_TYPE_LIBRARY_UPDATED: _ClassVar[EventType]
    EVENT_TYPE_LIBRARY_DELETED: _ClassVar[EventType]
    EVENT_TYPE_DOCUMENT_ADDED: _ClassVar[EventType]
    EVENT_TYPE_DOCUMENT_UPDATED: _ClassVar[EventType]
    EVENT_TYPE_DOCUMENT_DELETED: _ClassVar[EventType]
    EVENT_TYPE_CHUNK_ADDED: _ClassVar[EventType]
    EVENT_TYPE_CHUNK_DELETED: _ClassVar[EventType]
    EVENT_TYPE_INDEX_REBUILT: _ClassVar[EventType]
    EVENT_TYPE_INDEX_OPTIMIZED: _ClassVar[EventType]
    EVENT_TYPE_BATCH_STARTED: _ClassVar[EventType]
    EVENT_TYPE_BATCH_COMPLETED: _ClassVar[EventType]
    EVENT_TYPE_BATCH_FAILED: _ClassVar[EventType]
EVENT_MATCH_UNSPECIFIED: EventMatch
EVENT_MATCH_ENTERED: EventMatch
EVENT_MATCH_STAYED: EventMatch
EVENT_MATCH_LEFT: EventMatch
EVENT_TYPE_UNSPECIFIED: EventType
EVENT_TYPE_LIBRARY_CREATED: EventType
EVENT_TYPE_LIBRARY_UPDATED: EventType
EVENT_TYPE_LIBRARY_DELETED: EventType
EVENT_TYPE_DOCUMENT_ADDED: EventType
EVENT_TYPE_DOCUMENT_UPDATED: EventType
EVENT_TYPE_DOCUMENT_DELETED: EventType
EVENT_TYPE_CHUNK_ADDED: EventType
EVENT_TYPE_CHUNK_DELETED: EventType
EVENT_TYPE_INDEX_REBUILT: EventType
EVENT_TYPE_INDEX_OPTIMIZED: EventType
EVENT_TYPE_BATCH_STARTED: EventType
EVENT_TYPE_BATCH_COMPLETED: EventType
EVENT_TYPE_BATCH_FAILED: EventType

class Event(_message.Message):
    __slots__ = ("id", "type", "library_id", "timestamp", "revision", "last", "batch_id", "match", "library", "document", "chunk", "batch", "index")
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    MATCH_FIELD_NUMBER: _ClassVar[int]
    LIBRARY_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: EventType
    library_id: str
    timestamp: _timestamp_pb2.Timestamp
    revision: int
    last: bool
    batch_id: str
    match: EventMatch
    library: LibraryEvent
    document: DocumentEvent
    chunk: ChunkEvent
    batch: BatchEvent
    index: IndexEvent
    def __init__(self, id: _Optional[str] = ..., type: _Optional[_Union[EventType, str]] = ..., library_id: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., last: _Optional[bool] = ..., batch_id: _Optional[str] = ..., match: _Optional[_Union[EventMatch, str]] = ..., library: _Optional[_Union[LibraryEvent, _Mapping]] = ..., document: _Optional[_Union[DocumentEvent, _Mapping]] = ..., chunk: _Optional[_Union[ChunkEvent, _Mapping]] = ..., batch: _Optional[_Union[BatchEvent, _Mapping]] = ..., index: _Optional[_Union[IndexEvent, _Mapping]] = ...) -> None: ...

class LibraryEvent(_message.Message):
    __slots__ = ("name", "description", "metric", "dimension", "embedder", "index_type", "metadata", "previous_name", "previous_metadata", "num_documents", "num_chunks", "previous_description")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDER_FIELD_NUMBER: _ClassVar[int]
    INDEX_TYPE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_NAME_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_METADATA_FIELD_NUMBER: _ClassVar[int]
    NUM_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    NUM_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    metric: _library_pb2.Metric
    dimension: int
    embedder: _library_pb2.Embedder
    index_type: _library_pb2.IndexType
    metadata: _struct_pb2.Struct
    previous_name: str
    previous_metadata: _struct_pb2.Struct
    num_documents: int
    num_chunks: int
    previous_description: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., metric: _Optional[_Union[_library_pb2.Metric, str]] = ..., dimension: _Optional[int] = ..., embedder: _Optional[_Union[_library_pb2.Embedder, _Mapping]] = ..., index_type: _Optional[_Union[_library_pb2.IndexType, str]] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., previous_name: _Optional[str] = ..., previous_metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., num_documents: _Optional[int] = ..., num_chunks: _Optional[int] = ..., previous_description: _Optional[str] = ...) -> None: ...

class DocumentEvent(_message.Message):
    __slots__ = ("document_id", "title", "author", "document_type", "source_url", "tags", "metadata", "num_chunks", "previous_title", "previous_metadata")
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_URL_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    NUM_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_TITLE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_METADATA_FIELD_NUMBER: _ClassVar[int]
    document_id: str
    title: str
    author: str
    document_type: str
    source_url: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    metadata: _struct_pb2.Struct
    num_chunks: int
    previous_title: str
    previous_metadata: _struct_pb2.Struct
    def __init__(self, document_id: _Optional[str] = ..., title: _Optional[str] = ..., author: _Optional[str] = ..., document_type: _Optional[str] = ..., source_url: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., num_chunks: _Optional[int] = ..., previous_title: _Optional[str] = ..., previous_metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class ChunkEvent(_message.Message):
    __slots__ = ("chunk_id", "document_id", "title", "index", "metadata")
    CHUNK_ID_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    chunk_id: str
    document_id: str
    title: str
    index: int
    metadata: _struct_pb2.Struct
    def __init__(self, chunk_id: _Optional[str] = ..., document_id: _Optional[str] = ..., title: _Optional[str] = ..., index: _Optional[int] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class BatchEvent(_message.Message):
    __slots__ = ("total_processed", "total_succeeded", "total_failed", "total_skipped", "total_chunks", "reason")
    TOTAL_PROCESSED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FAILED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SKIPPED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    total_processed: int
    total_succeeded: int
    total_failed: int
    total_skipped: int
    total_chunks: int
    reason: str
    def __init__(self, total_processed: _Optional[int] = ..., total_succeeded: _Optional[int] = ..., total_failed: _Optional[int] = ..., total_skipped: _Optional[int] = ..., total_chunks: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class IndexEvent(_message.Message):
    __slots__ = ("index_type", "segments_before", "segments_after")
    INDEX_TYPE_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_AFTER_FIELD_NUMBER: _ClassVar[int]
    index_type: _library_pb2.IndexType
    segments_before: int
    segments_after: int
    def __init__(self, index_type: _Optional[_Union[_library_pb2.IndexType, str]] = ..., segments_before: _Optional[int] = ..., segments_after: _Optional[int] = ...) -> None: ...
