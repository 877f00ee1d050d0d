from arrwdb.v1 import library_pb2 as _library_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RebuildIndexRequest(_message.Message):
    __slots__ = ("library_id", "index_type")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_TYPE_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    index_type: _library_pb2.IndexType
    def __init__(self, library_id: _Optional[str] = ..., index_type: _Optional[_Union[_library_pb2.IndexType, str]] = ...) -> None: ...

class RebuildIndexResponse(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class OptimizeIndexRequest(_message.Message):
    __slots__ = ("library_id",)
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    def __init__(self, library_id: _Optional[str] = ...) -> None: ...

class OptimizeIndexResponse(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class GetIndexStatisticsRequest(_message.Message):
    __slots__ = ("library_id", "min_revision", "timeout_ms")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    min_revision: int
    timeout_ms: int
    def __init__(self, library_id: _Optional[str] = ..., min_revision: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class GetIndexStatisticsResponse(_message.Message):
    __slots__ = ("library_id", "index_type", "num_rows", "num_tombstones", "index_bytes", "segments", "building", "revision", "text")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_TYPE_FIELD_NUMBER: _ClassVar[int]
    NUM_ROWS_FIELD_NUMBER: _ClassVar[int]
    NUM_TOMBSTONES_FIELD_NUMBER: _ClassVar[int]
    INDEX_BYTES_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    BUILDING_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    index_type: _library_pb2.IndexType
    num_rows: int
    num_tombstones: int
    index_bytes: int
    segments: _containers.RepeatedCompositeFieldContainer[IndexSegment]
    building: IndexBuild
    revision: int
    text: TextIndex
    def __init__(self, library_id: _Optional[str] = ..., index_type: _Optional[_Union[_library_pb2.IndexType, str]] = ..., num_rows: _Optional[int] = ..., num_tombstones: _Optional[int] = ..., index_bytes: _Optional[int] = ..., segments: _Optional[_Iterable[_Union[IndexSegment, _Mapping]]] = ..., building: _Optional[_Union[IndexBuild, _Mapping]] = ..., revision: _Optional[int] = ..., text: _Optional[_Union[TextIndex, _Mapping]] = ...) -> None: ...

class TextIndex(_message.Message):
    __slots__ = ("num_rows", "num_tombstones", "num_terms", "index_bytes")
    NUM_ROWS_FIELD_NUMBER: _ClassVar[int]
    NUM_TOMBSTONES_FIELD_NUMBER: _ClassVar[int]
    NUM_TERMS_FIELD_NUMBER: _ClassVar[int]
    INDEX_BYTES_FIELD_NUMBER: _ClassVar[int]
    num_rows: int
    num_tombstones: int
    num_terms: int
    index_bytes: int
    def __init__(self, num_rows: _Optional[int] = ..., num_tombstones: _Optional[int] = ..., num_terms: _Optional[int] = ..., index_bytes: _Optional[int] = ...) -> None: ...

class IndexSegment(_message.Message):
    __slots__ = ("has_graph", "num_rows", "num_tombstones", "index_bytes", "ef")
    HAS_GRAPH_FIELD_NUMBER: _ClassVar[int]
    NUM_ROWS_FIELD_NUMBER: _ClassVar[int]
    NUM_TOMBSTONES_FIELD_NUMBER: _ClassVar[int]
    INDEX_BYTES_FIELD_NUMBER: _ClassVar[int]
    EF_FIELD_NUMBER: _ClassVar[int]
    has_graph: bool
    num_rows: int
    num_tombstones: int
    index_bytes: int
    ef: int
    def __init__(self, has_graph: _Optional[bool] = ..., num_rows: _Optional[int] = ..., num_tombstones: _Optional[int] = ..., index_bytes: _Optional[int] = ..., ef: _Optional[int] = ...) -> None: ...

class IndexBuild(_message.Message):
    __slots__ = ("num_rows", "num_rows_done")
    NUM_ROWS_FIELD_NUMBER: _ClassVar[int]
    NUM_ROWS_DONE_FIELD_NUMBER: _ClassVar[int]
    num_rows: int
    num_rows_done: int
    def __init__(self, num_rows: _Optional[int] = ..., num_rows_done: _Optional[int] = ...) -> None: ...
