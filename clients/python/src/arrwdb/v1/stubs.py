"""A stub of each service, for blocking and for asyncio channels. Made by generate.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import (
    consumer_service_pb2,
    document_service_pb2,
    event_service_pb2,
    index_service_pb2,
    library_service_pb2,
    search_service_pb2,
)

if TYPE_CHECKING:
    import grpc
    import grpc.aio


class ConsumerServiceStub:
    """ConsumerService over a `grpc.Channel`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.CreateConsumer: grpc.UnaryUnaryMultiCallable[
            consumer_service_pb2.CreateConsumerRequest,
            consumer_service_pb2.CreateConsumerResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/CreateConsumer",
            request_serializer=consumer_service_pb2.CreateConsumerRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.CreateConsumerResponse.FromString,
        )
        self.GetConsumer: grpc.UnaryUnaryMultiCallable[
            consumer_service_pb2.GetConsumerRequest,
            consumer_service_pb2.GetConsumerResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/GetConsumer",
            request_serializer=consumer_service_pb2.GetConsumerRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.GetConsumerResponse.FromString,
        )
        self.ListConsumers: grpc.UnaryUnaryMultiCallable[
            consumer_service_pb2.ListConsumersRequest,
            consumer_service_pb2.ListConsumersResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/ListConsumers",
            request_serializer=consumer_service_pb2.ListConsumersRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.ListConsumersResponse.FromString,
        )
        self.PullEvents: grpc.UnaryUnaryMultiCallable[
            consumer_service_pb2.PullEventsRequest,
            consumer_service_pb2.PullEventsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/PullEvents",
            request_serializer=consumer_service_pb2.PullEventsRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.PullEventsResponse.FromString,
        )
        self.Acknowledge: grpc.UnaryUnaryMultiCallable[
            consumer_service_pb2.AcknowledgeRequest,
            consumer_service_pb2.AcknowledgeResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/Acknowledge",
            request_serializer=consumer_service_pb2.AcknowledgeRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.AcknowledgeResponse.FromString,
        )
        self.Seek: grpc.UnaryUnaryMultiCallable[
            consumer_service_pb2.SeekRequest,
            consumer_service_pb2.SeekResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/Seek",
            request_serializer=consumer_service_pb2.SeekRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.SeekResponse.FromString,
        )
        self.Pause: grpc.UnaryUnaryMultiCallable[
            consumer_service_pb2.PauseRequest,
            consumer_service_pb2.PauseResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/Pause",
            request_serializer=consumer_service_pb2.PauseRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.PauseResponse.FromString,
        )
        self.Resume: grpc.UnaryUnaryMultiCallable[
            consumer_service_pb2.ResumeRequest,
            consumer_service_pb2.ResumeResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/Resume",
            request_serializer=consumer_service_pb2.ResumeRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.ResumeResponse.FromString,
        )
        self.DeleteConsumer: grpc.UnaryUnaryMultiCallable[
            consumer_service_pb2.DeleteConsumerRequest,
            consumer_service_pb2.DeleteConsumerResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/DeleteConsumer",
            request_serializer=consumer_service_pb2.DeleteConsumerRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.DeleteConsumerResponse.FromString,
        )


class AsyncConsumerServiceStub:
    """ConsumerService over a `grpc.aio.Channel`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.CreateConsumer: grpc.aio.UnaryUnaryMultiCallable[
            consumer_service_pb2.CreateConsumerRequest,
            consumer_service_pb2.CreateConsumerResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/CreateConsumer",
            request_serializer=consumer_service_pb2.CreateConsumerRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.CreateConsumerResponse.FromString,
        )
        self.GetConsumer: grpc.aio.UnaryUnaryMultiCallable[
            consumer_service_pb2.GetConsumerRequest,
            consumer_service_pb2.GetConsumerResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/GetConsumer",
            request_serializer=consumer_service_pb2.GetConsumerRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.GetConsumerResponse.FromString,
        )
        self.ListConsumers: grpc.aio.UnaryUnaryMultiCallable[
            consumer_service_pb2.ListConsumersRequest,
            consumer_service_pb2.ListConsumersResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/ListConsumers",
            request_serializer=consumer_service_pb2.ListConsumersRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.ListConsumersResponse.FromString,
        )
        self.PullEvents: grpc.aio.UnaryUnaryMultiCallable[
            consumer_service_pb2.PullEventsRequest,
            consumer_service_pb2.PullEventsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/PullEvents",
            request_serializer=consumer_service_pb2.PullEventsRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.PullEventsResponse.FromString,
        )
        self.Acknowledge: grpc.aio.UnaryUnaryMultiCallable[
            consumer_service_pb2.AcknowledgeRequest,
            consumer_service_pb2.AcknowledgeResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/Acknowledge",
            request_serializer=consumer_service_pb2.AcknowledgeRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.AcknowledgeResponse.FromString,
        )
        self.Seek: grpc.aio.UnaryUnaryMultiCallable[
            consumer_service_pb2.SeekRequest,
            consumer_service_pb2.SeekResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/Seek",
            request_serializer=consumer_service_pb2.SeekRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.SeekResponse.FromString,
        )
        self.Pause: grpc.aio.UnaryUnaryMultiCallable[
            consumer_service_pb2.PauseRequest,
            consumer_service_pb2.PauseResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/Pause",
            request_serializer=consumer_service_pb2.PauseRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.PauseResponse.FromString,
        )
        self.Resume: grpc.aio.UnaryUnaryMultiCallable[
            consumer_service_pb2.ResumeRequest,
            consumer_service_pb2.ResumeResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/Resume",
            request_serializer=consumer_service_pb2.ResumeRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.ResumeResponse.FromString,
        )
        self.DeleteConsumer: grpc.aio.UnaryUnaryMultiCallable[
            consumer_service_pb2.DeleteConsumerRequest,
            consumer_service_pb2.DeleteConsumerResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.ConsumerService/DeleteConsumer",
            request_serializer=consumer_service_pb2.DeleteConsumerRequest.SerializeToString,
            response_deserializer=consumer_service_pb2.DeleteConsumerResponse.FromString,
        )


class DocumentServiceStub:
    """DocumentService over a `grpc.Channel`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.CreateDocument: grpc.UnaryUnaryMultiCallable[
            document_service_pb2.CreateDocumentRequest,
            document_service_pb2.CreateDocumentResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.DocumentService/CreateDocument",
            request_serializer=document_service_pb2.CreateDocumentRequest.SerializeToString,
            response_deserializer=document_service_pb2.CreateDocumentResponse.FromString,
        )
        self.GetDocument: grpc.UnaryUnaryMultiCallable[
            document_service_pb2.GetDocumentRequest,
            document_service_pb2.GetDocumentResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.DocumentService/GetDocument",
            request_serializer=document_service_pb2.GetDocumentRequest.SerializeToString,
            response_deserializer=document_service_pb2.GetDocumentResponse.FromString,
        )
        self.BatchGetDocuments: grpc.UnaryUnaryMultiCallable[
            document_service_pb2.BatchGetDocumentsRequest,
            document_service_pb2.BatchGetDocumentsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.DocumentService/BatchGetDocuments",
            request_serializer=document_service_pb2.BatchGetDocumentsRequest.SerializeToString,
            response_deserializer=document_service_pb2.BatchGetDocumentsResponse.FromString,
        )
        self.ListDocuments: grpc.UnaryUnaryMultiCallable[
            document_service_pb2.ListDocumentsRequest,
            document_service_pb2.ListDocumentsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.DocumentService/ListDocuments",
            request_serializer=document_service_pb2.ListDocumentsRequest.SerializeToString,
            response_deserializer=document_service_pb2.ListDocumentsResponse.FromString,
        )
        self.UpdateDocument: grpc.UnaryUnaryMultiCallable[
            document_service_pb2.UpdateDocumentRequest,
            document_service_pb2.UpdateDocumentResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.DocumentService/UpdateDocument",
            request_serializer=document_service_pb2.UpdateDocumentRequest.SerializeToString,
            response_deserializer=document_service_pb2.UpdateDocumentResponse.FromString,
        )
        self.DeleteDocument: grpc.UnaryUnaryMultiCallable[
            document_service_pb2.DeleteDocumentRequest,
            document_service_pb2.DeleteDocumentResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.DocumentService/DeleteDocument",
            request_serializer=document_service_pb2.DeleteDocumentRequest.SerializeToString,
            response_deserializer=document_service_pb2.DeleteDocumentResponse.FromString,
        )
        self.CountDocuments: grpc.UnaryUnaryMultiCallable[
            document_service_pb2.CountDocumentsRequest,
            document_service_pb2.CountDocumentsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.DocumentService/CountDocuments",
            request_serializer=document_service_pb2.CountDocumentsRequest.SerializeToString,
            response_deserializer=document_service_pb2.CountDocumentsResponse.FromString,
        )
        self.DeleteDocuments: grpc.UnaryUnaryMultiCallable[
            document_service_pb2.DeleteDocumentsRequest,
            document_service_pb2.DeleteDocumentsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.DocumentService/DeleteDocuments",
            request_serializer=document_service_pb2.DeleteDocumentsRequest.SerializeToString,
            response_deserializer=document_service_pb2.DeleteDocumentsResponse.FromString,
        )
        self.IngestDocuments: grpc.StreamUnaryMultiCallable[
            document_service_pb2.IngestDocumentsRequest,
            document_service_pb2.IngestDocumentsResponse,
        ] = channel.stream_unary(
            "/arrwdb.v1.DocumentService/IngestDocuments",
            request_serializer=document_service_pb2.IngestDocumentsRequest.SerializeToString,
            response_deserializer=document_service_pb2.IngestDocumentsResponse.FromString,
        )
        self.StreamIngestDocuments: grpc.StreamStreamMultiCallable[
            document_service_pb2.StreamIngestDocumentsRequest,
            document_service_pb2.StreamIngestDocumentsResponse,
        ] = channel.stream_stream(
            "/arrwdb.v1.DocumentService/StreamIngestDocuments",
            request_serializer=document_service_pb2.StreamIngestDocumentsRequest.SerializeToString,
            response_deserializer=document_service_pb2.StreamIngestDocumentsResponse.FromString,
        )
        self.ExportDocuments: grpc.UnaryStreamMultiCallable[
            document_service_pb2.ExportDocumentsRequest,
            document_service_pb2.ExportDocumentsResponse,
        ] = channel.unary_stream(
            "/arrwdb.v1.DocumentService/ExportDocuments",
            request_serializer=document_service_pb2.ExportDocumentsRequest.SerializeToString,
            response_deserializer=document_service_pb2.ExportDocumentsResponse.FromString,
        )


class AsyncDocumentServiceStub:
    """DocumentService over a `grpc.aio.Channel`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.CreateDocument: grpc.aio.UnaryUnaryMultiCallable[
            document_service_pb2.CreateDocumentRequest,
            document_service_pb2.CreateDocumentResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.DocumentService/CreateDocument",
            request_serializer=document_service_pb2.CreateDocumentRequest.SerializeToString,
            response_deserializer=document_service_pb2.CreateDocumentResponse.FromString,
        )
        self.GetDocument: grpc.aio.UnaryUnaryMultiCallable[
            document_service_pb2.GetDocumentRequest,
            document_service_pb2.GetDocumentResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.DocumentService/GetDocument",
            request_serializer=document_service_pb2.GetDocumentRequest.SerializeToString,
            response_deserializer=document_service_pb2.GetDocumentResponse.FromString,
        )
        self.BatchGetDocuments: grpc.aio.UnaryUnaryMultiCallable[
            document_service_pb2.BatchGetDocumentsRequest,
            document_service_pb2.BatchGetDocumentsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.DocumentService/BatchGetDocuments",
            request_serializer=document_service_pb2.BatchGetDocumentsRequest.SerializeToString,
            response_deserializer=document_service_pb2.BatchGetDocumentsResponse.FromString,
        )
        self.ListDocuments: grpc.aio.UnaryUnaryMultiCallable[
            document_service_pb2.ListDocumentsRequest,
            document_service_pb2.ListDocumentsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.DocumentService/ListDocuments",
            request_serializer=document_service_pb2.ListDocumentsRequest.SerializeToString,
            response_deserializer=document_service_pb2.ListDocumentsResponse.FromString,
        )
        self.UpdateDocument: grpc.aio.UnaryUnaryMultiCallable[
            document_service_pb2.UpdateDocumentRequest,
            document_service_pb2.UpdateDocumentResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.DocumentService/UpdateDocument",
            request_serializer=document_service_pb2.UpdateDocumentRequest.SerializeToString,
            response_deserializer=document_service_pb2.UpdateDocumentResponse.FromString,
        )
        self.DeleteDocument: grpc.aio.UnaryUnaryMultiCallable[
            document_service_pb2.DeleteDocumentRequest,
            document_service_pb2.DeleteDocumentResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.DocumentService/DeleteDocument",
            request_serializer=document_service_pb2.DeleteDocumentRequest.SerializeToString,
            response_deserializer=document_service_pb2.DeleteDocumentResponse.FromString,
        )
        self.CountDocuments: grpc.aio.UnaryUnaryMultiCallable[
            document_service_pb2.CountDocumentsRequest,
            document_service_pb2.CountDocumentsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.DocumentService/CountDocuments",
            request_serializer=document_service_pb2.CountDocumentsRequest.SerializeToString,
            response_deserializer=document_service_pb2.CountDocumentsResponse.FromString,
        )
        self.DeleteDocuments: grpc.aio.UnaryUnaryMultiCallable[
            document_service_pb2.DeleteDocumentsRequest,
            document_service_pb2.DeleteDocumentsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.DocumentService/DeleteDocuments",
            request_serializer=document_service_pb2.DeleteDocumentsRequest.SerializeToString,
            response_deserializer=document_service_pb2.DeleteDocumentsResponse.FromString,
        )
        self.IngestDocuments: grpc.aio.StreamUnaryMultiCallable[
            document_service_pb2.IngestDocumentsRequest,
            document_service_pb2.IngestDocumentsResponse,
        ] = channel.stream_unary(
            "/arrwdb.v1.DocumentService/IngestDocuments",
            request_serializer=document_service_pb2.IngestDocumentsRequest.SerializeToString,
            response_deserializer=document_service_pb2.IngestDocumentsResponse.FromString,
        )
        self.StreamIngestDocuments: grpc.aio.StreamStreamMultiCallable[
            document_service_pb2.StreamIngestDocumentsRequest,
            document_service_pb2.StreamIngestDocumentsResponse,
        ] = channel.stream_stream(
            "/arrwdb.v1.DocumentService/StreamIngestDocuments",
            request_serializer=document_service_pb2.StreamIngestDocumentsRequest.SerializeToString,
            response_deserializer=document_service_pb2.StreamIngestDocumentsResponse.FromString,
        )
        self.ExportDocuments: grpc.aio.UnaryStreamMultiCallable[
            document_service_pb2.ExportDocumentsRequest,
            document_service_pb2.ExportDocumentsResponse,
        ] = channel.unary_stream(
            "/arrwdb.v1.DocumentService/ExportDocuments",
            request_serializer=document_service_pb2.ExportDocumentsRequest.SerializeToString,
            response_deserializer=document_service_pb2.ExportDocumentsResponse.FromString,
        )


class EventServiceStub:
    """EventService over a `grpc.Channel`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.Subscribe: grpc.UnaryStreamMultiCallable[
            event_service_pb2.SubscribeRequest,
            event_service_pb2.SubscribeResponse,
        ] = channel.unary_stream(
            "/arrwdb.v1.EventService/Subscribe",
            request_serializer=event_service_pb2.SubscribeRequest.SerializeToString,
            response_deserializer=event_service_pb2.SubscribeResponse.FromString,
        )
        self.ListEvents: grpc.UnaryUnaryMultiCallable[
            event_service_pb2.ListEventsRequest,
            event_service_pb2.ListEventsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.EventService/ListEvents",
            request_serializer=event_service_pb2.ListEventsRequest.SerializeToString,
            response_deserializer=event_service_pb2.ListEventsResponse.FromString,
        )
        self.GetEventStatistics: grpc.UnaryUnaryMultiCallable[
            event_service_pb2.GetEventStatisticsRequest,
            event_service_pb2.GetEventStatisticsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.EventService/GetEventStatistics",
            request_serializer=event_service_pb2.GetEventStatisticsRequest.SerializeToString,
            response_deserializer=event_service_pb2.GetEventStatisticsResponse.FromString,
        )


class AsyncEventServiceStub:
    """EventService over a `grpc.aio.Channel`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.Subscribe: grpc.aio.UnaryStreamMultiCallable[
            event_service_pb2.SubscribeRequest,
            event_service_pb2.SubscribeResponse,
        ] = channel.unary_stream(
            "/arrwdb.v1.EventService/Subscribe",
            request_serializer=event_service_pb2.SubscribeRequest.SerializeToString,
            response_deserializer=event_service_pb2.SubscribeResponse.FromString,
        )
        self.ListEvents: grpc.aio.UnaryUnaryMultiCallable[
            event_service_pb2.ListEventsRequest,
            event_service_pb2.ListEventsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.EventService/ListEvents",
            request_serializer=event_service_pb2.ListEventsRequest.SerializeToString,
            response_deserializer=event_service_pb2.ListEventsResponse.FromString,
        )
        self.GetEventStatistics: grpc.aio.UnaryUnaryMultiCallable[
            event_service_pb2.GetEventStatisticsRequest,
            event_service_pb2.GetEventStatisticsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.EventService/GetEventStatistics",
            request_serializer=event_service_pb2.GetEventStatisticsRequest.SerializeToString,
            response_deserializer=event_service_pb2.GetEventStatisticsResponse.FromString,
        )


class IndexServiceStub:
    """IndexService over a `grpc.Channel`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.RebuildIndex: grpc.UnaryUnaryMultiCallable[
            index_service_pb2.RebuildIndexRequest,
            index_service_pb2.RebuildIndexResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.IndexService/RebuildIndex",
            request_serializer=index_service_pb2.RebuildIndexRequest.SerializeToString,
            response_deserializer=index_service_pb2.RebuildIndexResponse.FromString,
        )
        self.OptimizeIndex: grpc.UnaryUnaryMultiCallable[
            index_service_pb2.OptimizeIndexRequest,
            index_service_pb2.OptimizeIndexResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.IndexService/OptimizeIndex",
            request_serializer=index_service_pb2.OptimizeIndexRequest.SerializeToString,
            response_deserializer=index_service_pb2.OptimizeIndexResponse.FromString,
        )
        self.GetIndexStatistics: grpc.UnaryUnaryMultiCallable[
            index_service_pb2.GetIndexStatisticsRequest,
            index_service_pb2.GetIndexStatisticsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.IndexService/GetIndexStatistics",
            request_serializer=index_service_pb2.GetIndexStatisticsRequest.SerializeToString,
            response_deserializer=index_service_pb2.GetIndexStatisticsResponse.FromString,
        )


class AsyncIndexServiceStub:
    """IndexService over a `grpc.aio.Channel`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.RebuildIndex: grpc.aio.UnaryUnaryMultiCallable[
            index_service_pb2.RebuildIndexRequest,
            index_service_pb2.RebuildIndexResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.IndexService/RebuildIndex",
            request_serializer=index_service_pb2.RebuildIndexRequest.SerializeToString,
            response_deserializer=index_service_pb2.RebuildIndexResponse.FromString,
        )
        self.OptimizeIndex: grpc.aio.UnaryUnaryMultiCallable[
            index_service_pb2.OptimizeIndexRequest,
            index_service_pb2.OptimizeIndexResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.IndexService/OptimizeIndex",
            request_serializer=index_service_pb2.OptimizeIndexRequest.SerializeToString,
            response_deserializer=index_service_pb2.OptimizeIndexResponse.FromString,
        )
        self.GetIndexStatistics: grpc.aio.UnaryUnaryMultiCallable[
            index_service_pb2.GetIndexStatisticsRequest,
            index_service_pb2.GetIndexStatisticsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.IndexService/GetIndexStatistics",
            request_serializer=index_service_pb2.GetIndexStatisticsRequest.SerializeToString,
            response_deserializer=index_service_pb2.GetIndexStatisticsResponse.FromString,
        )


class LibraryServiceStub:
    """LibraryService over a `grpc.Channel`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.CreateLibrary: grpc.UnaryUnaryMultiCallable[
            library_service_pb2.CreateLibraryRequest,
            library_service_pb2.CreateLibraryResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.LibraryService/CreateLibrary",
            request_serializer=library_service_pb2.CreateLibraryRequest.SerializeToString,
            response_deserializer=library_service_pb2.CreateLibraryResponse.FromString,
        )
        self.GetLibrary: grpc.UnaryUnaryMultiCallable[
            library_service_pb2.GetLibraryRequest,
            library_service_pb2.GetLibraryResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.LibraryService/GetLibrary",
            request_serializer=library_service_pb2.GetLibraryRequest.SerializeToString,
            response_deserializer=library_service_pb2.GetLibraryResponse.FromString,
        )
        self.ListLibraries: grpc.UnaryUnaryMultiCallable[
            library_service_pb2.ListLibrariesRequest,
            library_service_pb2.ListLibrariesResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.LibraryService/ListLibraries",
            request_serializer=library_service_pb2.ListLibrariesRequest.SerializeToString,
            response_deserializer=library_service_pb2.ListLibrariesResponse.FromString,
        )
        self.UpdateLibrary: grpc.UnaryUnaryMultiCallable[
            library_service_pb2.UpdateLibraryRequest,
            library_service_pb2.UpdateLibraryResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.LibraryService/UpdateLibrary",
            request_serializer=library_service_pb2.UpdateLibraryRequest.SerializeToString,
            response_deserializer=library_service_pb2.UpdateLibraryResponse.FromString,
        )
        self.DeleteLibrary: grpc.UnaryUnaryMultiCallable[
            library_service_pb2.DeleteLibraryRequest,
            library_service_pb2.DeleteLibraryResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.LibraryService/DeleteLibrary",
            request_serializer=library_service_pb2.DeleteLibraryRequest.SerializeToString,
            response_deserializer=library_service_pb2.DeleteLibraryResponse.FromString,
        )
        self.GetLibraryStatistics: grpc.UnaryUnaryMultiCallable[
            library_service_pb2.GetLibraryStatisticsRequest,
            library_service_pb2.GetLibraryStatisticsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.LibraryService/GetLibraryStatistics",
            request_serializer=library_service_pb2.GetLibraryStatisticsRequest.SerializeToString,
            response_deserializer=library_service_pb2.GetLibraryStatisticsResponse.FromString,
        )


class AsyncLibraryServiceStub:
    """LibraryService over a `grpc.aio.Channel`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.CreateLibrary: grpc.aio.UnaryUnaryMultiCallable[
            library_service_pb2.CreateLibraryRequest,
            library_service_pb2.CreateLibraryResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.LibraryService/CreateLibrary",
            request_serializer=library_service_pb2.CreateLibraryRequest.SerializeToString,
            response_deserializer=library_service_pb2.CreateLibraryResponse.FromString,
        )
        self.GetLibrary: grpc.aio.UnaryUnaryMultiCallable[
            library_service_pb2.GetLibraryRequest,
            library_service_pb2.GetLibraryResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.LibraryService/GetLibrary",
            request_serializer=library_service_pb2.GetLibraryRequest.SerializeToString,
            response_deserializer=library_service_pb2.GetLibraryResponse.FromString,
        )
        self.ListLibraries: grpc.aio.UnaryUnaryMultiCallable[
            library_service_pb2.ListLibrariesRequest,
            library_service_pb2.ListLibrariesResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.LibraryService/ListLibraries",
            request_serializer=library_service_pb2.ListLibrariesRequest.SerializeToString,
            response_deserializer=library_service_pb2.ListLibrariesResponse.FromString,
        )
        self.UpdateLibrary: grpc.aio.UnaryUnaryMultiCallable[
            library_service_pb2.UpdateLibraryRequest,
            library_service_pb2.UpdateLibraryResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.LibraryService/UpdateLibrary",
            request_serializer=library_service_pb2.UpdateLibraryRequest.SerializeToString,
            response_deserializer=library_service_pb2.UpdateLibraryResponse.FromString,
        )
        self.DeleteLibrary: grpc.aio.UnaryUnaryMultiCallable[
            library_service_pb2.DeleteLibraryRequest,
            library_service_pb2.DeleteLibraryResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.LibraryService/DeleteLibrary",
            request_serializer=library_service_pb2.DeleteLibraryRequest.SerializeToString,
            response_deserializer=library_service_pb2.DeleteLibraryResponse.FromString,
        )
        self.GetLibraryStatistics: grpc.aio.UnaryUnaryMultiCallable[
            library_service_pb2.GetLibraryStatisticsRequest,
            library_service_pb2.GetLibraryStatisticsResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.LibraryService/GetLibraryStatistics",
            request_serializer=library_service_pb2.GetLibraryStatisticsRequest.SerializeToString,
            response_deserializer=library_service_pb2.GetLibraryStatisticsResponse.FromString,
        )


class SearchServiceStub:
    """SearchService over a `grpc.Channel`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.Search: grpc.UnaryUnaryMultiCallable[
            search_service_pb2.SearchRequest,
            search_service_pb2.SearchResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.SearchService/Search",
            request_serializer=search_service_pb2.SearchRequest.SerializeToString,
            response_deserializer=search_service_pb2.SearchResponse.FromString,
        )
        self.StreamSearch: grpc.UnaryStreamMultiCallable[
            search_service_pb2.StreamSearchRequest,
            search_service_pb2.StreamSearchResponse,
        ] = channel.unary_stream(
            "/arrwdb.v1.SearchService/StreamSearch",
            request_serializer=search_service_pb2.StreamSearchRequest.SerializeToString,
            response_deserializer=search_service_pb2.StreamSearchResponse.FromString,
        )
        self.MeasureRecall: grpc.UnaryUnaryMultiCallable[
            search_service_pb2.MeasureRecallRequest,
            search_service_pb2.MeasureRecallResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.SearchService/MeasureRecall",
            request_serializer=search_service_pb2.MeasureRecallRequest.SerializeToString,
            response_deserializer=search_service_pb2.MeasureRecallResponse.FromString,
        )


class AsyncSearchServiceStub:
    """SearchService over a `grpc.aio.Channel`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.Search: grpc.aio.UnaryUnaryMultiCallable[
            search_service_pb2.SearchRequest,
            search_service_pb2.SearchResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.SearchService/Search",
            request_serializer=search_service_pb2.SearchRequest.SerializeToString,
            response_deserializer=search_service_pb2.SearchResponse.FromString,
        )
        self.StreamSearch: grpc.aio.UnaryStreamMultiCallable[
            search_service_pb2.StreamSearchRequest,
            search_service_pb2.StreamSearchResponse,
        ] = channel.unary_stream(
            "/arrwdb.v1.SearchService/StreamSearch",
            request_serializer=search_service_pb2.StreamSearchRequest.SerializeToString,
            response_deserializer=search_service_pb2.StreamSearchResponse.FromString,
        )
        self.MeasureRecall: grpc.aio.UnaryUnaryMultiCallable[
            search_service_pb2.MeasureRecallRequest,
            search_service_pb2.MeasureRecallResponse,
        ] = channel.unary_unary(
            "/arrwdb.v1.SearchService/MeasureRecall",
            request_serializer=search_service_pb2.MeasureRecallRequest.SerializeToString,
            response_deserializer=search_service_pb2.MeasureRecallResponse.FromString,
        )
