"""Python clients of arrwdb, generated from proto/ as any user would.

Usage: grpc_client.py ADDRESS SCENARIO; ends with status 0 when everything held.
"""

import asyncio
import pathlib
import queue
import sys
import tempfile
import time

import grpc
from grpc_status import rpc_status
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
DEADLINE = 60


def generate():
    """Makes the modules of proto/ importable."""
    out = tempfile.mkdtemp()
    files = [str(path.relative_to(PROTO)) for path in sorted(PROTO.rglob("*.proto"))]
    well_known = pathlib.Path(protoc.__file__).parent / "_proto"
    arguments = [f"-I{PROTO}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}"]
    assert protoc.main(["protoc", *arguments, *files]) == 0
    sys.path.insert(0, out)


generate()
from arrwdb.v1 import document_pb2, document_service_pb2 as documents_pb2  # noqa: E402
from arrwdb.v1 import document_service_pb2_grpc, event_pb2, event_service_pb2  # noqa: E402
from arrwdb.v1 import event_service_pb2_grpc, library_service_pb2  # noqa: E402
from arrwdb.v1 import library_service_pb2_grpc, search_service_pb2, search_service_pb2_grpc  # noqa: E402
from google.rpc import error_details_pb2  # noqa: E402


class Client:
    """A stub of each service over one channel, and a library to work in."""

    def __init__(self, channel):
        self.libraries = library_service_pb2_grpc.LibraryServiceStub(channel)
        self.documents = document_service_pb2_grpc.DocumentServiceStub(channel)
        self.searches = search_service_pb2_grpc.SearchServiceStub(channel)
        self.events = event_service_pb2_grpc.EventServiceStub(channel)

    def create_library(self):
        request = library_service_pb2.CreateLibraryRequest(name="a", metadata={"team": "x", "n": 3})
        return self.libraries.CreateLibrary(request, timeout=DEADLINE)


def document(number):
    return document_pb2.DocumentInput(
        id=str(number), title=f"Doc {number}", texts=[f"text {number}"], metadata={"n": number}
    )


def header():
    return documents_pb2.IngestHeader(library_id="a")


def added(cursor):
    return event_service_pb2.SubscribeRequest(
        library_id="a", event_types=[event_pb2.EVENT_TYPE_DOCUMENT_ADDED], cursor=cursor
    )


def events(messages, count):
    """The next events of a subscription, without its heartbeats."""
    found = []
    for message in messages:
        if message.WhichOneof("item") == "event":
            found.append(message.event)
            if len(found) == count:
                return found
    raise AssertionError("the subscription ended")


def eventually(what, condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"never happened: {what}"
        time.sleep(0.005)


def ingest(client):
    library = client.create_library().library
    assert (library.dimension, library.metadata["team"], library.metadata["n"]) == (256, "x", 3.0)

    def items():
        yield documents_pb2.IngestDocumentsRequest(header=header())
        for number in range(1, 1001):
            yield documents_pb2.IngestDocumentsRequest(document=document(number))
        yield documents_pb2.IngestDocumentsRequest(document=document_pb2.DocumentInput(title="empty"))

    summary = client.documents.IngestDocuments(items(), timeout=DEADLINE)
    assert (summary.total_succeeded, summary.total_failed) == (1000, 1), summary
    failure = summary.failures[0]
    assert (failure.position, failure.title) == (1001, "empty"), failure
    assert failure.error.slug == "invalid-argument", failure

    request = search_service_pb2.SearchRequest(
        library_id="a", query="text 77", k=5, min_revision=summary.revision
    )
    reply = client.searches.Search(request, timeout=DEADLINE)
    assert len(reply.results) == reply.total_results == 5, reply
    streamed = search_service_pb2.StreamSearchRequest(library_id="a", query="text 77", k=1000)
    messages = list(client.searches.StreamSearch(streamed, timeout=DEADLINE))
    assert [m.hit.rank for m in messages[:-1]] == list(range(1, 1001))
    assert messages[-1].complete.total_results == 1000
    export = documents_pb2.ExportDocumentsRequest(library_id="a")
    exported = list(client.documents.ExportDocuments(export, timeout=DEADLINE))
    assert [m.document.id for m in exported[:-1]] == [str(n) for n in range(1, 1001)]
    assert exported[-1].complete.total_documents == 1000


def interleave(client):
    client.create_library()
    to_send = queue.Queue()
    call = client.documents.StreamIngestDocuments(iter(to_send.get, None), timeout=DEADLINE)
    to_send.put(documents_pb2.StreamIngestDocumentsRequest(header=header()))
    for number in range(1, 6):
        to_send.put(documents_pb2.StreamIngestDocumentsRequest(document=document(number)))
        # Nothing more is sent until both of its statuses are here.
        assert next(call).processing.position == number
        completed = next(call).completed
        assert (completed.position, completed.id) == (number, str(number))
        request = documents_pb2.GetDocumentRequest(library_id="a", document_id=str(number))
        assert client.documents.GetDocument(request, timeout=DEADLINE).document.num_chunks == 1
    to_send.put(None)
    assert next(call).summary.total_succeeded == 5
    assert next(call, None) is None
    assert call.code() == grpc.StatusCode.OK


def resume(client):
    client.create_library()

    def create(number):
        request = documents_pb2.CreateDocumentRequest(library_id="a", document=document(number))
        client.documents.CreateDocument(request, timeout=DEADLINE)

    follow = client.events.Subscribe(added(""), timeout=DEADLINE)
    first = next(follow)
    assert first.WhichOneof("item") == "heartbeat" and first.heartbeat.cursor
    create(1)
    create(2)
    seen = events(follow, 2)
    assert [event.document.document_id for event in seen] == ["1", "2"]
    assert seen[0].document.metadata["n"] == 1.0
    follow.cancel()
    create(3)
    create(4)
    # Behind the first, so that the second comes again, the same to the byte.
    again = events(client.events.Subscribe(added(seen[0].id), timeout=DEADLINE), 3)
    assert [event.document.document_id for event in again] == ["2", "3", "4"]
    assert again[0] == seen[1]
    # From the first heartbeat, which came before everything.
    whole = events(client.events.Subscribe(added(first.heartbeat.cursor), timeout=DEADLINE), 4)
    assert whole == [seen[0], *again]


def failure(call):
    """How a call fails: its code and its details by type."""
    try:
        call()
    except grpc.RpcError as error:
        details = {}
        status = rpc_status.from_call(error)
        for detail in status.details if status else []:
            kind = getattr(error_details_pb2, detail.TypeName().rsplit(".")[-1])
            details[kind] = kind()
            detail.Unpack(details[kind])
        return error.code(), details
    raise AssertionError("the call did not fail")


def ends(client):
    get = client.libraries.GetLibrary
    code, details = failure(lambda: get(library_service_pb2.GetLibraryRequest(library_id="a")))
    assert code == grpc.StatusCode.NOT_FOUND
    info = details[error_details_pb2.ErrorInfo]
    assert (info.reason, info.domain) == ("NOT_FOUND", "arrwdb")
    client.create_library()
    code, details = failure(client.create_library)
    assert code == grpc.StatusCode.ALREADY_EXISTS
    bad = search_service_pb2.SearchRequest(library_id="a", query="x", k=0)
    code, details = failure(lambda: client.searches.Search(bad, timeout=DEADLINE))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details[error_details_pb2.BadRequest].field_violations[0].field == "k"

    # The server's own deadline, then the client's.
    late = library_service_pb2.GetLibraryRequest(library_id="a", min_revision=99, timeout_ms=5)
    code, details = failure(lambda: get(late, timeout=DEADLINE))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert details[error_details_pb2.ErrorInfo].reason == "DEADLINE_EXCEEDED"
    late.timeout_ms = 10_000
    code, details = failure(lambda: get(late, timeout=0.1))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    code, _ = failure(lambda: list(client.events.Subscribe(added(""), timeout=0.2)))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED

    follow = client.events.Subscribe(added(""), timeout=DEADLINE)
    next(follow)
    follow.cancel()
    code, _ = failure(lambda: next(follow))
    assert code == grpc.StatusCode.CANCELLED

    def subscribers():
        request = event_service_pb2.GetEventStatisticsRequest()
        return client.events.GetEventStatistics(request, timeout=DEADLINE).subscriber_count

    eventually("the server forgets subscribers that left", lambda: subscribers() == 0)

    # An upload that is cancelled leaves what it sent before, and its batch is closed.
    to_send = queue.Queue()
    call = client.documents.StreamIngestDocuments(iter(to_send.get, None), timeout=DEADLINE)
    to_send.put(documents_pb2.StreamIngestDocumentsRequest(header=header()))
    to_send.put(documents_pb2.StreamIngestDocumentsRequest(document=document(1)))
    assert next(call).processing.position == 1
    assert next(call).completed.id == "1"
    call.cancel()
    to_send.put(None)
    failed = event_service_pb2.SubscribeRequest(
        event_types=[event_pb2.EVENT_TYPE_BATCH_FAILED], cursor="begin"
    )
    event = events(client.events.Subscribe(failed, timeout=DEADLINE), 1)[0]
    assert (event.batch.total_succeeded, event.batch.reason) == (1, "client-gone"), event


async def with_asyncio(address):
    async with grpc.aio.insecure_channel(address) as channel:
        client = Client(channel)
        await client.create_library()
        follow = client.events.Subscribe(added("begin"), timeout=DEADLINE)

        async def followed():
            found = []
            async for message in follow:
                if message.WhichOneof("item") == "event":
                    found.append(message.event.document.document_id)
                    if len(found) == 20:
                        follow.cancel()
                        return found

        following = asyncio.create_task(followed())
        call = client.documents.StreamIngestDocuments(timeout=DEADLINE)
        await call.write(documents_pb2.StreamIngestDocumentsRequest(header=header()))
        for number in range(20):
            await call.write(documents_pb2.StreamIngestDocumentsRequest(document=document(number)))
            assert (await call.read()).processing.position == number + 1
            assert (await call.read()).completed.id == str(number)
        await call.done_writing()
        assert (await call.read()).summary.total_succeeded == 20
        assert await call.code() == grpc.StatusCode.OK
        ids = await asyncio.wait_for(following, DEADLINE)
        assert ids == [str(number) for number in range(20)], ids


def main(address, scenario):
    if scenario == "asyncio":
        asyncio.run(with_asyncio(address))
        return
    scenarios = {"ingest": ingest, "interleave": interleave, "resume": resume, "ends": ends}
    with grpc.insecure_channel(address) as channel:
        scenarios[scenario](Client(channel))


if __name__ == "__main__":
    main(*sys.argv[1:])
