"""What is retried, what is sent beside a request, and what comes of errors: against a server that
answers as a test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from conftest import Kind, run
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

import arrwdb
from arrwdb._policy import Outage, pause_before
from arrwdb.v1 import document_service_pb2, library_service_pb2

RETRY = arrwdb.Retry(attempts=4, pause=0.01)


class Answers:
    """A server whose answers are given by the test, one for each attempt."""

    def __init__(self) -> None:
        self.attempts: list[tuple[Any, dict[str, str]]] = []
        self.errors: list[tuple[grpc.StatusCode, list[Any]]] = []

    def handler(self, reply: Any) -> Callable[[Any, grpc.ServicerContext], Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            self.attempts.append((request, dict(context.invocation_metadata())))
            if self.errors:
                code, details = self.errors.pop(0)
                status = status_pb2.Status(code=code.value[0], message="not now")
                for detail in details:
                    packed = any_pb2.Any()
                    packed.Pack(detail)
                    status.details.append(packed)
                context.set_trailing_metadata(
                    (("grpc-status-details-bin", status.SerializeToString()),)
                )
                context.abort(code, "not now")
            return reply

        return handle


def method(answers: Answers, request: Any, reply: Any) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        answers.handler(reply),
        request_deserializer=request.FromString,
        response_serializer=type(reply).SerializeToString,
    )


@pytest.fixture
def answers() -> Iterator[Answers]:
    answers = Answers()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    libraries, documents = library_service_pb2, document_service_pb2
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                "arrwdb.v1.LibraryService",
                {
                    "CreateLibrary": method(
                        answers,
                        libraries.CreateLibraryRequest,
                        libraries.CreateLibraryResponse(),
                    ),
                    "GetLibrary": method(
                        answers, libraries.GetLibraryRequest, libraries.GetLibraryResponse()
                    ),
                    "DeleteLibrary": method(
                        answers, libraries.DeleteLibraryRequest, libraries.DeleteLibraryResponse()
                    ),
                },
            ),
            grpc.method_handlers_generic_handler(
                "arrwdb.v1.DocumentService",
                {
                    "CreateDocument": method(
                        answers,
                        documents.CreateDocumentRequest,
                        documents.CreateDocumentResponse(),
                    ),
                    "UpdateDocument": method(
                        answers,
                        documents.UpdateDocumentRequest,
                        documents.UpdateDocumentResponse(),
                    ),
                },
            ),
        ]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    answers.address = f"127.0.0.1:{port}"  # type: ignore[attr-defined]
    yield answers
    server.stop(None)


def info(reason: str, **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain="arrwdb", metadata=metadata)


UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, [info("UNAVAILABLE")])
BROKEN: tuple[grpc.StatusCode, list[Any]] = (grpc.StatusCode.INTERNAL, [])


def test_reads_and_creates_are_retried_as_the_same_request(answers: Any, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(answers.address, retry=RETRY) as client:
            answers.errors = [UNAVAILABLE, BROKEN]
            await client.get_library("a")
            assert len(answers.attempts) == 3
            for create in (
                client.create_library("a"),
                client.create_document("a", {"title": "t", "text": "x"}),
            ):
                answers.attempts.clear()
                answers.errors = [UNAVAILABLE, UNAVAILABLE]
                await create
                ids = {request.request_id for request, _ in answers.attempts}
                assert len(answers.attempts) == 3 and len(ids) == 1 and "" not in ids
            answers.attempts.clear()
            await client.create_library("a", request_id="mine")
            assert answers.attempts[0][0].request_id == "mine"

    run(test())


def test_what_may_have_been_done_is_not_repeated(answers: Any, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(answers.address, retry=RETRY) as client:
            for write in (client.delete_library("a"), client.update_document("a", "d", title="t")):
                answers.attempts.clear()
                answers.errors = [UNAVAILABLE]
                with pytest.raises(arrwdb.Unavailable) as raised:
                    await write
                assert raised.value.from_server and len(answers.attempts) == 1

    run(test())


def test_retries_end(answers: Any, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(answers.address, retry=RETRY) as client:
            answers.errors = [UNAVAILABLE] * 9
            with pytest.raises(arrwdb.Unavailable):
                await client.get_library("a")
            assert len(answers.attempts) == RETRY.attempts
            # What trying again does not help is told at once.
            for code, details, kind_of_error in (
                (grpc.StatusCode.INTERNAL, [info("INTERNAL")], arrwdb.Internal),
                (grpc.StatusCode.NOT_FOUND, [info("NOT_FOUND")], arrwdb.NotFound),
                (grpc.StatusCode.RESOURCE_EXHAUSTED, [], arrwdb.ResourceExhausted),
            ):
                answers.attempts.clear()
                answers.errors = [(code, details)] * 2
                with pytest.raises(kind_of_error):
                    await client.get_library("a")
                assert len(answers.attempts) == 1

    run(test())


def test_advice_of_the_server_is_followed_or_told(answers: Any, kind: Kind) -> None:
    def busy(seconds: int) -> tuple[grpc.StatusCode, list[Any]]:
        delay = duration_pb2.Duration(seconds=seconds, nanos=50_000_000)
        advice = error_details_pb2.RetryInfo(retry_delay=delay)
        return grpc.StatusCode.RESOURCE_EXHAUSTED, [info("RESOURCE_EXHAUSTED"), advice]

    async def test() -> None:
        async with kind.connect(answers.address, retry=RETRY) as client:
            answers.errors = [busy(0)]
            await client.get_library("a")
            assert len(answers.attempts) == 2
            # Longer than the call may take.
            answers.errors = [busy(3600)]
            with pytest.raises(arrwdb.ResourceExhausted) as raised:
                await client.get_library("a")
            assert raised.value.retry_after == 3600.05

    run(test())


def test_errors_tell_all_that_the_server_said(answers: Any, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(answers.address, retry=RETRY) as client:
            bad = error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(field="f", description="is wrong")
                ]
            )
            answers.errors = [(grpc.StatusCode.INVALID_ARGUMENT, [info("INVALID_ARGUMENT"), bad])]
            with pytest.raises(arrwdb.InvalidArgument) as raised:
                await client.get_library("a")
            assert raised.value.violations == (arrwdb.FieldViolation("f", "is wrong"),)
            expired = info("CURSOR_EXPIRED", floor_cursor="abc")
            answers.errors = [(grpc.StatusCode.OUT_OF_RANGE, [expired])]
            with pytest.raises(arrwdb.CursorExpired) as gone:
                await client.get_library("a")
            assert gone.value.floor_cursor == "abc"
            # A slug of a newer server.
            answers.errors = [(grpc.StatusCode.ABORTED, [info("SOMETHING_NEW")])]
            with pytest.raises(arrwdb.ArrwdbError) as new:
                await client.get_library("a")
            assert (new.value.slug, type(new.value)) == ("something-new", arrwdb.ArrwdbError)

    run(test())


def test_a_token_goes_with_every_call(answers: Any, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(answers.address, token="secret") as client:
            await client.get_library("a")
        async with kind.connect(answers.address) as client:
            await client.get_library("a")
        sent = [metadata.get("authorization") for _, metadata in answers.attempts]
        assert sent == ["Bearer secret", None]

    run(test())


def test_a_certificate_makes_the_connection_encrypted(answers: Any, kind: Kind) -> None:
    async def test() -> None:
        # A server in the clear does not understand the handshake.
        retry = arrwdb.Retry(attempts=1)
        pem = b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"
        async with kind.connect(answers.address, certificate=pem, retry=retry) as client:
            with pytest.raises(arrwdb.Unavailable):
                await client.get_library("a")
        assert answers.attempts == []

    run(test())


def test_pauses_grow_to_their_most() -> None:
    retry = arrwdb.Retry(pause=1.0, pause_max=8.0)
    error = arrwdb.Unavailable("x")
    for failures, most in ((1, 1.0), (2, 2.0), (4, 8.0), (9, 8.0), (10_000, 8.0)):
        assert most / 2 <= pause_before(retry, failures, error) <= most
    assert pause_before(retry, 1, arrwdb.Unavailable("x", retry_after=30.0)) == 30.0
    assert Outage(retry, None).pause(error) is not None
    assert Outage(retry, 0.1).pause(error) is None


def test_one_client_serves_many_threads(answers: Any) -> None:
    with arrwdb.Client(answers.address) as client:
        threads = [threading.Thread(target=client.get_library, args=("a",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers.attempts) == 8
