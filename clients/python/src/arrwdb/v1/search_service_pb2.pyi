from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SearchMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEARCH_MODE_UNSPECIFIED: _ClassVar[SearchMode]
    SEARCH_MODE_HYBRID: _ClassVar[SearchMode]
    SEARCH_MODE_VECTOR: _ClassVar[SearchMode]
    SEARCH_MODE_TEXT: _ClassVar[SearchMode]

class GroupBy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GROUP_BY_UNSPECIFIED: _ClassVar[GroupBy]
    GROUP_BY_DOCUMENT: _ClassVar[GroupBy]
SEARCH_MODE_UNSPECIFIED: SearchMode
SEARCH_MODE_HYBRID: SearchMode
SEARCH_MODE_VECTOR: SearchMode
SEARCH_MODE_TEXT: SearchMode
GROUP_BY_UNSPECIFIED: GroupBy
GROUP_BY_DOCUMENT: GroupBy

class SearchRequest(_message.Message):
    __slots__ = ("library_id", "query", "embedding", "k", "distance_threshold", "queries", "filter", "include_text", "exact", "ef", "min_revision", "timeout_ms", "group_by", "mode", "weights", "explain")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_TEXT_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    EF_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    query: str
    embedding: _containers.RepeatedScalarFieldContainer[float]
    k: int
    distance_threshold: float
    queries: _containers.RepeatedCompositeFieldContainer[SearchQuery]
    filter: str
    include_text: bool
    exact: bool
    ef: int
    min_revision: int
    timeout_ms: int
    group_by: GroupBy
    mode: SearchMode
    weights: SearchWeights
    explain: bool
    def __init__(self, library_id: _Optional[str] = ..., query: _Optional[str] = ..., embedding: _Optional[_Iterable[float]] = ..., k: _Optional[int] = ..., distance_threshold: _Optional[float] = ..., queries: _Optional[_Iterable[_Union[SearchQuery, _Mapping]]] = ..., filter: _Optional[str] = ..., include_text: _Optional[bool] = ..., exact: _Optional[bool] = ..., ef: _Optional[int] = ..., min_revision: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., group_by: _Optional[_Union[GroupBy, str]] = ..., mode: _Optional[_Union[SearchMode, str]] = ..., weights: _Optional[_Union[SearchWeights, _Mapping]] = ..., explain: _Optional[bool] = ...) -> None: ...

class SearchWeights(_message.Message):
    __slots__ = ("vector", "text")
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    vector: float
    text: float
    def __init__(self, vector: _Optional[float] = ..., text: _Optional[float] = ...) -> None: ...

class SearchQuery(_message.Message):
    __slots__ = ("query", "embedding", "k", "distance_threshold", "filter", "ef", "mode", "weights")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    EF_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    query: str
    embedding: _containers.RepeatedScalarFieldContainer[float]
    k: int
    distance_threshold: float
    filter: str
    ef: int
    mode: SearchMode
    weights: SearchWeights
    def __init__(self, query: _Optional[str] = ..., embedding: _Optional[_Iterable[float]] = ..., k: _Optional[int] = ..., distance_threshold: _Optional[float] = ..., filter: _Optional[str] = ..., ef: _Optional[int] = ..., mode: _Optional[_Union[SearchMode, str]] = ..., weights: _Optional[_Union[SearchWeights, _Mapping]] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("results", "total_results", "revision", "queries")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_RESULTS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[Hit]
    total_results: int
    revision: int
    queries: _containers.RepeatedCompositeFieldContainer[SearchQueryResults]
    def __init__(self, results: _Optional[_Iterable[_Union[Hit, _Mapping]]] = ..., total_results: _Optional[int] = ..., revision: _Optional[int] = ..., queries: _Optional[_Iterable[_Union[SearchQueryResults, _Mapping]]] = ...) -> None: ...

class SearchQueryResults(_message.Message):
    __slots__ = ("results", "total_results", "revision")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_RESULTS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[Hit]
    total_results: int
    revision: int
    def __init__(self, results: _Optional[_Iterable[_Union[Hit, _Mapping]]] = ..., total_results: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class Hit(_message.Message):
    __slots__ = ("rank", "chunk_id", "document_id", "score", "distance", "text", "title", "metadata", "explanation")
    RANK_FIELD_NUMBER: _ClassVar[int]
    CHUNK_ID_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    rank: int
    chunk_id: str
    document_id: str
    score: float
    distance: float
    text: str
    title: str
    metadata: _struct_pb2.Struct
    explanation: Explanation
    def __init__(self, rank: _Optional[int] = ..., chunk_id: _Optional[str] = ..., document_id: _Optional[str] = ..., score: _Optional[float] = ..., distance: _Optional[float] = ..., text: _Optional[str] = ..., title: _Optional[str] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., explanation: _Optional[_Union[Explanation, _Mapping]] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("vector", "text")
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    vector: VectorPart
    text: TextPart
    def __init__(self, vector: _Optional[_Union[VectorPart, _Mapping]] = ..., text: _Optional[_Union[TextPart, _Mapping]] = ...) -> None: ...

class VectorPart(_message.Message):
    __slots__ = ("rank", "distance", "score")
    RANK_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    rank: int
    distance: float
    score: float
    def __init__(self, rank: _Optional[int] = ..., distance: _Optional[float] = ..., score: _Optional[float] = ...) -> None: ...

class TextPart(_message.Message):
    __slots__ = ("rank", "bm25", "score")
    RANK_FIELD_NUMBER: _ClassVar[int]
    BM25_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    rank: int
    bm25: float
    score: float
    def __init__(self, rank: _Optional[int] = ..., bm25: _Optional[float] = ..., score: _Optional[float] = ...) -> None: ...

class StreamSearchRequest(_message.Message):
    __slots__ = ("library_id", "query", "embedding", "k", "distance_threshold", "filter", "include_text", "exact", "ef", "min_revision", "timeout_ms", "group_by", "mode", "weights", "explain")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_TEXT_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    EF_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    query: str
    embedding: _containers.RepeatedScalarFieldContainer[float]
    k: int
    distance_threshold: float
    filter: str
    include_text: bool
    exact: bool
    ef: int
    min_revision: int
    timeout_ms: int
    group_by: GroupBy
    mode: SearchMode
    weights: SearchWeights
    explain: bool
    def __init__(self, library_id: _Optional[str] = ..., query: _Optional[str] = ..., embedding: _Optional[_Iterable[float]] = ..., k: _Optional[int] = ..., distance_threshold: _Optional[float] = ..., filter: _Optional[str] = ..., include_text: _Optional[bool] = ..., exact: _Optional[bool] = ..., ef: _Optional[int] = ..., min_revision: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., group_by: _Optional[_Union[GroupBy, str]] = ..., mode: _Optional[_Union[SearchMode, str]] = ..., weights: _Optional[_Union[SearchWeights, _Mapping]] = ..., explain: _Optional[bool] = ...) -> None: ...

class StreamSearchResponse(_message.Message):
    __slots__ = ("hit", "complete")
    HIT_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    hit: Hit
    complete: SearchComplete
    def __init__(self, hit: _Optional[_Union[Hit, _Mapping]] = ..., complete: _Optional[_Union[SearchComplete, _Mapping]] = ...) -> None: ...

class SearchComplete(_message.Message):
    __slots__ = ("total_results", "revision")
    TOTAL_RESULTS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    total_results: int
    revision: int
    def __init__(self, total_results: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class MeasureRecallRequest(_message.Message):
    __slots__ = ("library_id", "num_queries", "k", "ef", "min_revision", "timeout_ms")
    LIBRARY_ID_FIELD_NUMBER: _ClassVar[int]
    NUM_QUERIES_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    EF_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    library_id: str
    num_queries: int
    k: int
    ef: int
    min_revision: int
    timeout_ms: int
    def __init__(self, library_id: _Optional[str] = ..., num_queries: _Optional[int] = ..., k: _Optional[int] = ..., ef: _Optional[int] = ..., min_revision: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class MeasureRecallResponse(_message.Message):
    __slots__ = ("recall", "recall_min", "num_queries", "k", "search_us", "exact_us", "revision")
    RECALL_FIELD_NUMBER: _ClassVar[int]
    RECALL_MIN_FIELD_NUMBER: _ClassVar[int]
    NUM_QUERIES_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    SEARCH_US_FIELD_NUMBER: _ClassVar[int]
    EXACT_US_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    recall: float
    recall_min: float
    num_queries: int
    k: int
    search_us: float
    exact_us: float
    revision: int
    def __init__(self, recall: _Optional[float] = ..., recall_min: _Optional[float] = ..., num_queries: _Optional[int] = ..., k: _Optional[int] = ..., search_us: _Optional[float] = ..., exact_us: _Optional[float] = ..., revision: _Optional[int] = ...) -> None: ...
