from arrwdb.v1 import document_pb2 as _document_pb2
from arrwdb.v1 import error_pb2 as _error_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class IngestReport(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INGEST_REPORT_UNSPECIFIED: _ClassVar[IngestReport]
    INGEST_REPORT_ALL: _ClassVar[IngestReport]
    INGEST_REPORT_FAILURES: _ClassVar[IngestReport]
    INGEST_REPORT_SUMMARY: _ClassVar[IngestReport]
INGEST_REPORT_UNSPECIFIED: IngestReport
INGEST_REPORT_ALL: IngestReport
INGEST_REPORT_FAILURES: IngestReport
INGEST_REPORT_SUMMARY: IngestReport

class CreateDocumentRequest(_message.Message):
    __slots__ = ("library_id", "document", "request_id")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    document: _document_pb2.DocumentInput
    request_id: str
    def __init__(self, library_id: _Optional[str] = ..., document: _Optional[_Union[_document_pb2.DocumentInput, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateDocumentResponse(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: _document_pb2.Document
    def __init__(self, document: _Optional[_Union[_document_pb2.Document, _Mapping]] = ...) -> None: ...

class GetDocumentRequest(_message.Message):
    __slots__ = ("library_id", "document_id", "min_revision", "timeout_ms")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    document_id: str
    min_revision: int
    timeout_ms: int
    def __init__(self, library_id: _Optional[str] = ..., document_id: _Optional[str] = ..., min_revision: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class GetDocumentResponse(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: _document_pb2.Document
    def __init__(self, document: _Optional[_Union[_document_pb2.Document, _Mapping]] = ...) -> None: ...

class BatchGetDocumentsRequest(_message.Message):
    __slots__ = ("library_id", "document_ids", "min_revision", "timeout_ms")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_IDS_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    document_ids: _containers.RepeatedScalarFieldContainer[str]
    min_revision: int
    timeout_ms: int
    def __init__(self, library_id: _Optional[str] = ..., document_ids: _Optional[_Iterable[str]] = ..., min_revision: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class BatchGetDocumentsResponse(_message.Message):
    __slots__ = ("documents", "missing_ids")
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    MISSING_IDS_FIELD_NUMBER: _ClassVar[int]
    documents: _containers.RepeatedCompositeFieldContainer[_document_pb2.Document]
    missing_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, documents: _Optional[_Iterable[_Union[_document_pb2.Document, _Mapping]]] = ..., missing_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ListDocumentsRequest(_message.Message):
    __slots__ = ("library_id", "page_size", "page_token", "include_chunks", "min_revision", "timeout_ms")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    page_size: int
    page_token: str
    include_chunks: bool
    min_revision: int
    timeout_ms: int
    def __init__(self, library_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., include_chunks: _Optional[bool] = ..., min_revision: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class ListDocumentsResponse(_message.Message):
    __slots__ = ("documents", "next_page_token")
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    documents: _containers.RepeatedCompositeFieldContainer[_document_pb2.Document]
    next_page_token: str
    def __init__(self, documents: _Optional[_Iterable[_Union[_document_pb2.Document, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateDocumentRequest(_message.Message):
    __slots__ = ("library_id", "document_id", "document", "update_mask", "expected_revision")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    document_id: str
    document: _document_pb2.DocumentInput
    update_mask: _field_mask_pb2.FieldMask
    expected_revision: int
    def __init__(self, library_id: _Optional[str] = ..., document_id: _Optional[str] = ..., document: _Optional[_Union[_document_pb2.DocumentInput, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., expected_revision: _Optional[int] = ...) -> None: ...

class UpdateDocumentResponse(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: _document_pb2.Document
    def __init__(self, document: _Optional[_Union[_document_pb2.Document, _Mapping]] = ...) -> None: ...

class DeleteDocumentRequest(_message.Message):
    __slots__ = ("library_id", "document_id", "expected_revision")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    document_id: str
    expected_revision: int
    def __init__(self, library_id: _Optional[str] = ..., document_id: _Optional[str] = ..., expected_revision: _Optional[int] = ...) -> None: ...

class DeleteDocumentResponse(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class CountDocumentsRequest(_message.Message):
    __slots__ = ("library_id", "filter", "min_revision", "timeout_ms")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    filter: str
    min_revision: int
    timeout_ms: int
    def __init__(self, library_id: _Optional[str] = ..., filter: _Optional[str] = ..., min_revision: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class CountDocumentsResponse(_message.Message):
    __slots__ = ("num_documents", "num_chunks", "revision")
    NUM_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    NUM_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    num_documents: int
    num_chunks: int
    revision: int
    def __init__(self, num_documents: _Optional[int] = ..., num_chunks: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class DeleteDocumentsRequest(_message.Message):
    __slots__ = ("library_id", "filter", "min_revision", "timeout_ms")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    filter: str
    min_revision: int
    timeout_ms: int
    def __init__(self, library_id: _Optional[str] = ..., filter: _Optional[str] = ..., min_revision: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class DeleteDocumentsResponse(_message.Message):
    __slots__ = ("num_deleted", "num_changed", "revision")
    NUM_DELETED_FIELD_NUMBER: _ClassVar[int]
    NUM_CHANGED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    num_deleted: int
    num_changed: int
    revision: int
    def __init__(self, num_deleted: _Optional[int] = ..., num_changed: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class IngestHeader(_message.Message):
    __slots__ = ("library_id", "on_conflict", "report")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    ON_CONFLICT_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    on_conflict: _document_pb2.OnConflict
    report: IngestReport
    def __init__(self, library_id: _Optional[str] = ..., on_conflict: _Optional[_Union[_document_pb2.OnConflict, str]] = ..., report: _Optional[_Union[IngestReport, str]] = ...) -> None: ...

class IngestDocumentsRequest(_message.Message):
    __slots__ = ("header", "document")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    header: IngestHeader
    document: _document_pb2.DocumentInput
    def __init__(self, header: _Optional[_Union[IngestHeader, _Mapping]] = ..., document: _Optional[_Union[_document_pb2.DocumentInput, _Mapping]] = ...) -> None: ...

class IngestDocumentsResponse(_message.Message):
    __slots__ = ("batch_id", "total_processed", "total_succeeded", "total_failed", "total_skipped", "total_chunks", "revision", "failures", "failures_omitted")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    TOTAL_PROCESSED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FAILED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SKIPPED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_OMITTED_FIELD_NUMBER: _ClassVar[int]
    batch_id: str
    total_processed: int
    total_succeeded: int
    total_failed: int
    total_skipped: int
    total_chunks: int
    revision: int
    failures: _containers.RepeatedCompositeFieldContainer[IngestFailure]
    failures_omitted: int
    def __init__(self, batch_id: _Optional[str] = ..., total_processed: _Optional[int] = ..., total_succeeded: _Optional[int] = ..., total_failed: _Optional[int] = ..., total_skipped: _Optional[int] = ..., total_chunks: _Optional[int] = ..., revision: _Optional[int] = ..., failures: _Optional[_Iterable[_Union[IngestFailure, _Mapping]]] = ..., failures_omitted: _Optional[int] = ...) -> None: ...

class IngestFailure(_message.Message):
    __slots__ = ("position", "title", "error")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    position: int
    title: str
    error: _error_pb2.Error
    def __init__(self, position: _Optional[int] = ..., title: _Optional[str] = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ...) -> None: ...

class StreamIngestDocumentsRequest(_message.Message):
    __slots__ = ("header", "document")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    header: IngestHeader
    document: _document_pb2.DocumentInput
    def __init__(self, header: _Optional[_Union[IngestHeader, _Mapping]] = ..., document: _Optional[_Union[_document_pb2.DocumentInput, _Mapping]] = ...) -> None: ...

class StreamIngestDocumentsResponse(_message.Message):
    __slots__ = ("processing", "completed", "skipped", "failed", "summary")
    PROCESSING_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    processing: IngestProcessing
    completed: IngestCompleted
    skipped: IngestSkipped
    failed: IngestFailure
    summary: IngestSummary
    def __init__(self, processing: _Optional[_Union[IngestProcessing, _Mapping]] = ..., completed: _Optional[_Union[IngestCompleted, _Mapping]] = ..., skipped: _Optional[_Union[IngestSkipped, _Mapping]] = ..., failed: _Optional[_Union[IngestFailure, _Mapping]] = ..., summary: _Optional[_Union[IngestSummary, _Mapping]] = ...) -> None: ...

class IngestProcessing(_message.Message):
    __slots__ = ("position", "title")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    position: int
    title: str
    def __init__(self, position: _Optional[int] = ..., title: _Optional[str] = ...) -> None: ...

class IngestCompleted(_message.Message):
    __slots__ = ("position", "id", "title", "num_chunks", "revision")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    NUM_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    position: int
    id: str
    title: str
    num_chunks: int
    revision: int
    def __init__(self, position: _Optional[int] = ..., id: _Optional[str] = ..., title: _Optional[str] = ..., num_chunks: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class IngestSkipped(_message.Message):
    __slots__ = ("position", "id", "title", "revision")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    position: int
    id: str
    title: str
    revision: int
    def __init__(self, position: _Optional[int] = ..., id: _Optional[str] = ..., title: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class IngestSummary(_message.Message):
    __slots__ = ("batch_id", "total_processed", "total_succeeded", "total_failed", "total_skipped", "total_chunks", "revision")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    TOTAL_PROCESSED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FAILED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SKIPPED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    batch_id: str
    total_processed: int
    total_succeeded: int
    total_failed: int
    total_skipped: int
    total_chunks: int
    revision: int
    def __init__(self, batch_id: _Optional[str] = ..., total_processed: _Optional[int] = ..., total_succeeded: _Optional[int] = ..., total_failed: _Optional[int] = ..., total_skipped: _Optional[int] = ..., total_chunks: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class ExportDocumentsRequest(_message.Message):
    __slots__ = ("library_id", "include_embeddings", "min_revision", "timeout_ms")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    include_embeddings: bool
    min_revision: int
    timeout_ms: int
    def __init__(self, library_id: _Optional[str] = ..., include_embeddings: _Optional[bool] = ..., min_revision: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class ExportDocumentsResponse(_message.Message):
    __slots__ = ("document", "complete")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    document: _document_pb2.DocumentInput
    complete: ExportComplete
    def __init__(self, document: _Optional[_Union[_document_pb2.DocumentInput, _Mapping]] = ..., complete: _Optional[_Union[ExportComplete, _Mapping]] = ...) -> None: ...

class ExportComplete(_message.Message):
    __slots__ = ("total_documents", "cursor")
    TOTAL_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    total_documents: int
    cursor: str
    def __init__(self, total_documents: _Optional[int] = ..., cursor: _Optional[str] = ...) -> None: ...
