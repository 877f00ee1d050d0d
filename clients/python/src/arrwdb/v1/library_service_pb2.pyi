from arrwdb.v1 import library_pb2 as _library_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateLibraryRequest(_message.Message):
    __slots__ = ("name", "description", "metric", "embedder", "dimension", "index_type", "metadata", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    EMBEDDER_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    INDEX_TYPE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    metric: _library_pb2.Metric
    embedder: str
    dimension: int
    index_type: _library_pb2.IndexType
    metadata: _struct_pb2.Struct
    request_id: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., metric: _Optional[_Union[_library_pb2.Metric, str]] = ..., embedder: _Optional[str] = ..., dimension: _Optional[int] = ..., index_type: _Optional[_Union[_library_pb2.IndexType, str]] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateLibraryResponse(_message.Message):
    __slots__ = ("library",)
    LIBRARY_FIELD_NUMBER: _ClassVar[int]
    library: _library_pb2.Library
    def __init__(self, library: _Optional[_Union[_library_pb2.Library, _Mapping]] = ...) -> None: ...

class GetLibraryRequest(_message.Message):
    __slots__ = ("library_id", "min_revision", "timeout_ms")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    min_revision: int
    timeout_ms: int
    def __init__(self, library_id: _Optional[str] = ..., min_revision: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class GetLibraryResponse(_message.Message):
    __slots__ = ("library",)
    LIBRARY_FIELD_NUMBER: _ClassVar[int]
    library: _library_pb2.Library
    def __init__(self, library: _Optional[_Union[_library_pb2.Library, _Mapping]] = ...) -> None: ...

class ListLibrariesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "min_revision", "timeout_ms")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    min_revision: int
    timeout_ms: int
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., min_revision: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class ListLibrariesResponse(_message.Message):
    __slots__ = ("libraries", "next_page_token")
    LIBRARIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    libraries: _containers.RepeatedCompositeFieldContainer[_library_pb2.Library]
    next_page_token: str
    def __init__(self, libraries: _Optional[_Iterable[_Union[_library_pb2.Library, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateLibraryRequest(_message.Message):
    __slots__ = ("library_id", "library", "update_mask", "expected_revision")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    LIBRARY_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    library: _library_pb2.Library
    update_mask: _field_mask_pb2.FieldMask
    expected_revision: int
    def __init__(self, library_id: _Optional[str] = ..., library: _Optional[_Union[_library_pb2.Library, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., expected_revision: _Optional[int] = ...) -> None: ...

class UpdateLibraryResponse(_message.Message):
    __slots__ = ("library",)
    LIBRARY_FIELD_NUMBER: _ClassVar[int]
    library: _library_pb2.Library
    def __init__(self, library: _Optional[_Union[_library_pb2.Library, _Mapping]] = ...) -> None: ...

class DeleteLibraryRequest(_message.Message):
    __slots__ = ("library_id", "expected_revision")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    expected_revision: int
    def __init__(self, library_id: _Optional[str] = ..., expected_revision: _Optional[int] = ...) -> None: ...

class DeleteLibraryResponse(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class GetLibraryStatisticsRequest(_message.Message):
    __slots__ = ("library_id", "min_revision", "timeout_ms")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    min_revision: int
    timeout_ms: int
    def __init__(self, library_id: _Optional[str] = ..., min_revision: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class GetLibraryStatisticsResponse(_message.Message):
    __slots__ = ("library_id", "num_documents", "num_chunks", "num_segments", "num_tombstones", "index_bytes", "revision", "name")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    NUM_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    NUM_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    NUM_SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    NUM_TOMBSTONES_FIELD_NUMBER: _ClassVar[int]
    INDEX_BYTES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    num_documents: int
    num_chunks: int
    num_segments: int
    num_tombstones: int
    index_bytes: int
    revision: int
    name: str
    def __init__(self, library_id: _Optional[str] = ..., num_documents: _Optional[int] = ..., num_chunks: _Optional[int] = ..., num_segments: _Optional[int] = ..., num_tombstones: _Optional[int] = ..., index_bytes: _Optional[int] = ..., revision: _Optional[int] = ..., name: _Optional[str] = ...) -> None: ...
