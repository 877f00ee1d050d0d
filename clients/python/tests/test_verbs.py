"""Every verb, with both clients."""

from __future__ import annotations

import math
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from conftest import Kind, Server, StartServer, collect, document, make_library, run

import arrwdb


def name() -> str:
    return f"library {uuid.uuid4()}"


def test_libraries(shared_server: Server, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(shared_server.address) as client:
            first, second = sorted([name(), name()])
            metadata = {"team": "x", "n": 3, "deep": {"list": [1, 2.5, None, True, "s"], "empty": {}}}
            made = await client.create_library(
                first, description="d", metric="l2", index_type="flat", metadata=metadata
            )
            assert (made.name, made.description, made.metric) == (first, "d", "l2")
            assert (made.index_type, made.dimension) == ("flat", 256)
            assert made.metadata == metadata
            assert type(made.metadata["n"]) is int
            assert abs(datetime.now(timezone.utc) - made.created_at) < timedelta(minutes=5)
            assert made.embedder.id != "none" and len(made.embedder.sha256) == 64
            assert await client.get_library(first) == made
            assert await client.get_library(made.id, min_revision=made.revision) == made

            other = await client.create_library(second, embedder="none", dimension=2)
            assert (other.embedder.id, other.dimension, other.metric) == ("none", 2, "cosine")
            listed = await collect(client.list_libraries(page_size=1))
            names = [library.name for library in listed]
            assert [n for n in names if n in (first, second)] == [first, second]
            assert names == sorted(names)

            changed = await client.update_library(first, description="", metadata={"new": 1})
            assert (changed.name, changed.description) == (first, "")
            assert changed.metadata == {"new": 1}
            assert changed.revision > made.revision
            with pytest.raises(arrwdb.Conflict):
                await client.update_library(first, name="x", expected_revision=made.revision)
            emptied = await client.update_library(
                first, metadata=None, expected_revision=changed.revision
            )
            assert emptied.metadata == {}

            statistics = await client.get_library_statistics(first)
            assert (statistics.name, statistics.num_documents) == (first, 0)
            assert await client.delete_library(first) > emptied.revision
            with pytest.raises(arrwdb.NotFound):
                await client.get_library(first)

    run(test())


def test_documents(shared_server: Server, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(shared_server.address) as client:
            library = (await client.create_library(name())).id
            made = await client.create_document(
                library,
                arrwdb.NewDocument(
                    "Heron",
                    id="heron",
                    author="A",
                    document_type="bird",
                    source_url="https://example.org/heron",
                    tags=["wading", "grey"],
                    metadata={"seen": 3},
                    texts=["A grey bird.", "It eats frogs."],
                ),
            )
            assert (made.id, made.title, made.author, made.document_type) == (
                *("heron", "Heron", "A", "bird"),
            )
            assert (made.tags, made.metadata, made.num_chunks) == (
                *(["wading", "grey"], {"seen": 3}, 2),
            )
            assert [chunk.text for chunk in made.chunks] == ["A grey bird.", "It eats frogs."]
            assert [chunk.index for chunk in made.chunks] == [0, 1]
            assert await client.get_document(library, "heron") == made

            second = await client.create_document(library, {"title": "Anvil", "text": "Of iron."})
            assert str(uuid.UUID(second.id)) == second.id
            batch = await client.get_documents(library, [second.id, "none", "heron"])
            assert ([d.id for d in batch.documents], batch.missing_ids) == (
                *([second.id, "heron"], ["none"]),
            )
            listed = await collect(client.list_documents(library, page_size=1))
            assert [(d.id, d.chunks) for d in listed] == [("heron", []), (second.id, [])]
            listed = await collect(client.list_documents(library, include_chunks=True))
            assert listed == [made, second]

            changed = await client.update_document(library, "heron", tags=[], metadata={"seen": 4})
            assert (changed.tags, changed.metadata, changed.title) == ([], {"seen": 4}, "Heron")
            assert [c.id for c in changed.chunks] == [c.id for c in made.chunks]
            with pytest.raises(arrwdb.Conflict):
                await client.update_document(
                    library, "heron", title="x", expected_revision=made.revision
                )
            changed = await client.update_document(
                library, "heron", chunks=[arrwdb.NewChunk("A grey bird."), {"text": "New."}]
            )
            assert [chunk.text for chunk in changed.chunks] == ["A grey bird.", "New."]
            assert changed.chunks[0].id == made.chunks[0].id

            with pytest.raises(arrwdb.Conflict):
                await client.delete_document(library, "heron", expected_revision=made.revision)
            revision = await client.delete_document(library, "heron")
            assert revision > changed.revision
            with pytest.raises(arrwdb.NotFound):
                await client.get_document(library, "heron", min_revision=revision)

    run(test())


def test_ingest_search_and_export(shared_server: Server, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(shared_server.address) as client:
            library = (await client.create_library(name())).id

            def documents() -> Any:
                for number in range(700):
                    yield {
                        "id": str(number),
                        "title": f"Doc {number}",
                        "texts": [f"text {number}"],
                        "metadata": {"n": number},
                    }
                yield {"title": "empty"}
                yield {"title": "bad", "text": "x", "metadata": {"when": datetime.now()}}
                yield {"title": "misspelt", "txt": "x"}
                yield arrwdb.NewDocument("surrogate \ud800", text="x")
                yield {"id": "large", "title": "large", "text": "x" * (17 << 20)}
                yield arrwdb.NewDocument("last", chunks=[arrwdb.NewChunk("chunk")])

            told: list[arrwdb.IngestProgress] = []
            summary = await client.ingest(library, documents(), on_progress=told.append)
            assert (summary.total_processed, summary.total_succeeded) == (706, 701)
            assert (summary.total_failed, summary.total_skipped) == (5, 0)
            assert (summary.total_chunks, summary.resumptions) == (701, 0)
            assert len(summary.batch_ids) == 1
            assert [p.outcome.position for p in told] == list(range(1, 707))
            assert [p.total_processed for p in told] == list(range(1, 707))
            failures = [p.outcome for p in told if p.outcome.status == "failed"]
            assert summary.failures == failures
            assert [f.title for f in failures[:3]] == ["empty", "bad", "misspelt"]
            slugs = [f.error.slug for f in failures if f.error is not None]
            assert slugs == [*(["invalid-argument"] * 4), "too-large"]
            fields = [f.error.violations[0].field for f in failures[1:3] if f.error is not None]
            assert fields == ["metadata.when", "txt"]
            assert told[-1].outcome.status == "completed"

            revision = summary.revision
            found = await client.search(library, "text 77", k=5, min_revision=revision)
            assert found.total_results == len(found.results) == 5
            assert found.results[0].document_id == "77"
            assert found.results[0].metadata == {"n": 77}
            assert found.results[0].text == "text 77"
            assert [hit.rank for hit in found.results] == [1, 2, 3, 4, 5]
            bare = await client.search(library, "text 77", k=1, include_text=False)
            assert bare.results[0].text is None
            many = await client.search_many(
                library, ["text 77", arrwdb.SearchQuery("text 5", k=2)], k=5
            )
            assert many[0].results == found.results
            assert many[1].total_results == 2

            few = "document.metadata.n < 10"
            some = await client.search(library, "text 77", k=100, filter=few)
            assert {hit.metadata["n"] for hit in some.results} == set(range(10))
            mixed = await client.search_many(
                library, ["x", arrwdb.SearchQuery("x", filter="document.id == '77'")], filter=few
            )
            assert [results.total_results for results in mixed] == [10, 1]
            streamed = await collect(client.stream_search(library, "text 77", k=100, filter=few))
            assert streamed == some.results

            stream = client.stream_search(library, "text 77", k=5000)
            hits = await collect(stream)
            assert [hit.rank for hit in hits] == list(range(1, 702))
            assert hits[:5] == found.results
            assert (stream.total_results, stream.revision) == (701, found.revision)

            export = client.export(library, include_embeddings=True)
            exported = await collect(export)
            assert [d.id for d in exported[:-1]] == [str(n) for n in range(700)]
            assert len(exported[0].chunks[0].embedding) == 256
            assert export.total_documents == 701
            # An export goes into an ingest as it is.
            copy = (await client.create_library(name())).id
            source = client.export(library, include_embeddings=True)
            if kind.name == "blocking":
                source = source._blocking
            summary = await client.ingest(copy, source)
            assert summary.total_succeeded == 701
            assert await collect(client.export(copy, include_embeddings=True)) == exported
            # What came after the export is what the feed has behind its cursor.
            made = await client.create_document(library, {"title": "after", "text": "x"})
            page = await client.list_events(library, cursor=export.cursor)
            assert [e.document_id for e in page.events] == [made.id, made.id]

    run(test())


def test_a_search_may_count_documents_and_say_how_wide_it_looks(
    shared_server: Server, kind: Kind
) -> None:
    async def test() -> None:
        async with kind.connect(shared_server.address) as client:
            library = (await make_library(client, name())).id
            await client.ingest(library, [document(1, chunks=3), document(2), document(3)])
            near = {"embedding": [1, 1], "k": 3}

            def ids(results: Any) -> list[str]:
                return [hit.document_id for hit in results.results]

            assert ids(await client.search(library, **near)) == ["d1", "d1", "d1"]
            grouped = ["d1", "d2", "d3"]
            found = await client.search(library, **near, group_by="document", exact=True)
            assert ids(found) == grouped
            streamed = client.stream_search(library, **near, group_by="document", ef=100)
            assert [hit.document_id for hit in await collect(streamed)] == grouped
            query = arrwdb.SearchQuery(embedding=[1, 1], ef=5)
            many = await client.search_many(library, [query], k=3, group_by="document")
            assert [ids(results) for results in many] == [grouped]
            with pytest.raises(arrwdb.InvalidArgument) as raised:
                await client.search(library, **near, group_by="chapter")
            assert raised.value.violations[0].field == "group_by"
            # They arrive: out of their range they are refused.
            wide = arrwdb.SearchQuery(embedding=[1, 1], ef=10_001)
            for wrong in (
                client.search(library, **near, ef=10_001),
                client.search_many(library, [wide]),
                client.search_many(library, [arrwdb.SearchQuery(embedding=[1, 1])], ef=10_001),
                collect(client.stream_search(library, **near, ef=10_001)),
                client.measure_recall(library, ef=10_001),
            ):
                with pytest.raises(arrwdb.InvalidArgument) as raised:
                    await wrong
                assert raised.value.violations[0].field.endswith("ef")

    run(test())


def test_counting_and_deleting_by_filter(shared_server: Server, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(shared_server.address) as client:
            library = (await make_library(client, name())).id
            summary = await client.ingest(library, [document(n, chunks=2) for n in range(1, 11)])
            revision = summary.revision
            whole = await client.count_documents(library, min_revision=revision)
            assert (whole.num_documents, whole.num_chunks) == (10, 20)
            assert whole.revision >= revision
            few = "document.metadata.n < 5"
            some = await client.count_documents(library, few)
            assert (some.num_documents, some.num_chunks) == (4, 8)
            for wrong in (
                client.count_documents(library, "no("),
                client.delete_documents(library, ""),
            ):
                with pytest.raises(arrwdb.InvalidArgument) as raised:
                    await wrong
                assert raised.value.violations[0].field == "filter"
            gone = await client.delete_documents(library, few)
            assert (gone.num_deleted, gone.num_changed) == (4, 0)
            assert gone.revision > revision
            again = await client.delete_documents(library, few, min_revision=gone.revision)
            assert (again.num_deleted, again.num_changed) == (0, 0)
            left = await collect(client.list_documents(library))
            assert [d.id for d in left] == [f"d{n}" for n in range(5, 11)]

    run(test())


def test_indexes(start_server: StartServer, kind: Kind) -> None:
    server = start_server("--limit", "index_graph_rows_min_asked=300")

    async def test() -> None:
        async with kind.connect(server.address) as client:
            library = (await client.create_library("a", embedder="none", dimension=4)).id

            def made(n: int) -> dict[str, Any]:
                vector = [math.sin(n), math.cos(n), math.sin(7 * n), math.cos(3 * n)]
                return {"id": f"d{n}", "title": "D", "chunks": [{"embedding": vector}]}

            summary = await client.ingest("a", [made(n) for n in range(400)])
            flat = await client.get_index_statistics("a", min_revision=summary.revision)
            assert (flat.library_id, flat.index_type) == (library, "auto")
            assert (flat.num_rows, flat.num_tombstones, flat.building) == (400, 0, None)
            assert sum(segment.num_rows for segment in flat.segments) == 400
            assert not any(segment.has_graph or segment.ef for segment in flat.segments)

            rebuilt = await client.rebuild_index("a", "hnsw")
            assert rebuilt > summary.revision
            built = await client.get_index_statistics("a", min_revision=rebuilt)
            assert built.index_type == "hnsw"
            assert built.segments[0].has_graph and built.segments[0].ef > 0
            measured = await client.measure_recall("a", num_queries=20, k=5, ef=200)
            assert (measured.num_queries, measured.k) == (20, 5)
            assert 0.9 < measured.recall <= 1 and measured.recall_min <= measured.recall
            assert measured.search_us > 0 and measured.exact_us > 0

            await client.delete_documents("a", "document.id != 'd1'")
            optimized = await client.optimize_index("a")
            left = await client.get_index_statistics("a", min_revision=optimized)
            assert (left.num_rows, left.num_tombstones) == (1, 0)
            types = ["index.rebuilt", "index.optimized"]
            page = await client.list_events(event_types=types)
            assert [(e.type, e.revision) for e in page.events] == [
                *zip(types, [rebuilt, optimized], strict=True),
            ]
            with pytest.raises(arrwdb.NotFound):
                await client.optimize_index("none")
            with pytest.raises(arrwdb.InvalidArgument):
                await client.rebuild_index("a", "tree")

    run(test())


def test_on_conflict(shared_server: Server, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(shared_server.address) as client:
            library = (await make_library(client, name())).id
            documents = [document(1), document(2)]
            await client.ingest(library, documents[:1])
            skipping = await client.ingest(library, documents, on_conflict="skip")
            assert (skipping.total_skipped, skipping.total_succeeded) == (1, 1)
            failing = await client.ingest(library, [*documents, document(3)], on_conflict="fail")
            assert (failing.total_failed, failing.total_succeeded) == (2, 1)
            assert isinstance(failing.failures[0].error, arrwdb.AlreadyExists)
            with pytest.raises(arrwdb.InvalidArgument):
                await client.ingest(library, documents, on_conflict="never")
            with pytest.raises(arrwdb.NotFound):
                await client.ingest(name(), documents)
            nothing = await client.ingest(library, [])
            assert nothing.total_processed == 0

    run(test())


def test_what_a_source_raises_ends_the_ingest(shared_server: Server, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(shared_server.address) as client:
            library = (await make_library(client, name())).id
            told: list[arrwdb.IngestProgress] = []

            def documents() -> Any:
                yield document(1)
                raise KeyError("mine")

            with pytest.raises(KeyError, match="mine"):
                await client.ingest(library, documents(), on_progress=told.append)

            def refuse(progress: arrwdb.IngestProgress) -> None:
                raise KeyError("callback")

            with pytest.raises(KeyError, match="callback"):
                await client.ingest(library, [document(1), document(2)], on_progress=refuse)

    run(test())


def test_progress_is_told_while_the_source_waits(shared_server: Server, kind: Kind) -> None:
    async def test() -> None:
        import asyncio
        import queue

        async with kind.connect(shared_server.address) as client:
            library = (await make_library(client, name())).id
            told: queue.Queue[int] = queue.Queue()

            def blocking_source() -> Any:
                for number in range(1, 4):
                    yield document(number)
                    # Nothing more is given until this one is acknowledged.
                    assert told.get(timeout=30) == number

            async def source() -> Any:
                for number in range(1, 4):
                    yield document(number)
                    assert await asyncio.to_thread(told.get, timeout=30) == number

            documents = source() if kind.name == "asyncio" else blocking_source()
            summary = await client.ingest(
                library, documents, on_progress=lambda p: told.put(p.outcome.position)
            )
            assert summary.total_succeeded == 3

    run(test())


def test_events(shared_server: Server, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(shared_server.address) as client:
            library = await make_library(client, name())
            heartbeats: list[arrwdb.Heartbeat] = []
            async with await client.subscribe(
                library.name, on_heartbeat=heartbeats.append
            ) as events:
                # Its place was fixed by the first heartbeat.
                assert len(heartbeats) == 1 and events.cursor == heartbeats[0].cursor
                await client.create_document(library.id, document(1, chunks=2))
                await client.update_document(library.id, "d1", title="New", metadata={"n": 2})
                await client.delete_document(library.id, "d1")
                await client.delete_library(library.id)
                seen = await collect(events, lambda event: event.type == "library.deleted")
                assert events.cursor == seen[-1].id
            assert [event.type for event in seen] == [
                *("document.added", "chunk.added", "chunk.added"),
                "document.updated",
                *("document.deleted", "chunk.deleted", "chunk.deleted"),
                "library.deleted",
            ]
            assert [e.last for e in seen] == [False, False, True, True, False, False, True, True]
            assert {event.library_id for event in seen} == {library.id}
            added, updated, gone = seen[0].payload, seen[3].payload, seen[-1].payload
            assert isinstance(added, arrwdb.DocumentEvent)
            assert (added.document_id, added.title, added.num_chunks) == ("d1", "Doc 1", 2)
            assert added.previous_title is None
            assert isinstance(updated, arrwdb.DocumentEvent)
            assert (updated.title, updated.previous_title) == ("New", "Doc 1")
            assert (updated.metadata, updated.previous_metadata) == ({"n": 2}, {"n": 1})
            assert isinstance(seen[1].payload, arrwdb.ChunkEvent)
            assert seen[1].document_id == "d1"
            assert isinstance(gone, arrwdb.LibraryEvent)
            assert (gone.name, gone.num_documents, gone.dimension) == (library.name, 0, 2)

            # The past of a library that is gone, by its id, from within a change on.
            async with await client.subscribe(library.id, cursor=seen[1].id) as events:
                rest = await collect(events, lambda event: event.type == "library.deleted")
            assert rest == seen[2:]
            page = await client.list_events(library.id, event_types=["document.deleted"], limit=10)
            assert page.events == [seen[4]]
            assert page.next_cursor <= page.tail_cursor
            statistics = await client.get_event_statistics()
            assert statistics.running and statistics.tail_revision >= seen[-1].revision

            for cursor in ("nonsense", "time:never"):
                with pytest.raises(arrwdb.InvalidArgument) as raised:
                    await client.subscribe(cursor=cursor)
                assert raised.value.violations[0].field == "cursor"
            with pytest.raises(arrwdb.CursorUnknown):
                await client.subscribe(cursor="f" * 40)
            with pytest.raises(arrwdb.InvalidArgument):
                await client.subscribe(event_types=["document.eaten"])

    run(test())


def test_consumers(shared_server: Server, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(shared_server.address) as client:
            library = await make_library(client, name())
            mailer = f"mailer-{uuid.uuid4()}"
            made = await client.create_consumer(
                mailer, library=library.name, event_types=["document.added"], cursor="begin"
            )
            assert (made.name, made.library_id) == (mailer, library.id)
            assert made.event_types == ["document.added"]
            with pytest.raises(arrwdb.AlreadyExists):
                await client.create_consumer(mailer)
            await client.ingest(library.id, [document(number) for number in range(1, 6)])

            first = await client.pull_events(mailer, owner="one", max_events=2)
            assert [event.document_id for event in first.events] == ["d1", "d2"]
            ahead = await client.pull_events(
                mailer, generation=first.generation, cursor=first.next_cursor, max_events=1
            )
            assert [event.document_id for event in ahead.events] == ["d3"]
            acknowledged = await client.acknowledge(
                mailer, generation=first.generation, cursor=first.next_cursor
            )
            assert acknowledged.cursor == first.next_cursor and acknowledged.owner == "one"

            second = await client.pull_events(mailer, owner="two")
            assert [event.document_id for event in second.events] == ["d3", "d4", "d5"]
            with pytest.raises(arrwdb.Conflict):
                await client.acknowledge(
                    mailer, generation=first.generation, cursor=first.next_cursor
                )
            with pytest.raises(arrwdb.Conflict):
                await client.pull_events(mailer, generation=first.generation)
            await client.acknowledge(
                mailer, generation=second.generation, cursor=second.next_cursor
            )
            nothing = await client.pull_events(mailer, generation=second.generation, wait=0.05)
            assert nothing.events == []

            await client.pause_consumer(mailer)
            with pytest.raises(arrwdb.FailedPrecondition):
                await client.pull_events(mailer)
            assert (await client.resume_consumer(mailer)).paused is False
            await client.seek_consumer(mailer, first.events[0].id)

            # As a stream: what is not acknowledged, and acknowledged on the way.
            async with await client.subscribe(consumer=mailer, owner="three") as events:
                got = await collect(events, lambda event: event.document_id == "d4")
                assert [event.document_id for event in got] == ["d2", "d3", "d4"]
                assert (await client.get_consumer(mailer)).generation == events.generation
                now = await events.acknowledge(got[0].id)
                assert (now.cursor, now.owner) == (got[0].id, "three")
                assert (await events.acknowledge()).cursor == got[2].id
                # Somebody else comes: the stream ends.
                await client.pull_events(mailer, owner="four")
                with pytest.raises(arrwdb.Conflict):
                    await collect(events)
                with pytest.raises(arrwdb.Conflict):
                    await events.acknowledge()
            listed = await collect(client.list_consumers(page_size=1))
            assert mailer in [consumer.name for consumer in listed]
            await client.delete_consumer(mailer)
            with pytest.raises(arrwdb.NotFound):
                await client.get_consumer(mailer)

    run(test())


def test_errors_and_deadlines(shared_server: Server, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(shared_server.address) as client:
            library = (await make_library(client, name())).id
            with pytest.raises(arrwdb.InvalidArgument) as raised:
                await client.search(library, embedding=[1, 2], k=0)
            assert raised.value.slug == "invalid-argument" and raised.value.from_server
            assert [violation.field for violation in raised.value.violations] == ["k"]
            assert "k" in str(raised.value)
            with pytest.raises(arrwdb.InvalidArgument) as raised:
                await client.search(library, embedding=[1, 2, 3])
            assert raised.value.violations[0].field == "embedding"
            with pytest.raises(arrwdb.ArrwdbError) as any_error:
                await collect(client.stream_search("no such library", "x"))
            assert any_error.value.slug == "not-found"
            with pytest.raises(arrwdb.NotFound):
                await collect(client.export("no such library"))
            with pytest.raises(arrwdb.NotFound):
                await client.subscribe("no such library")
            # A revision that never comes, within a deadline.
            with pytest.raises(arrwdb.DeadlineExceeded):
                await client.get_library(library, min_revision=1 << 60, timeout=0.05)
        # Nobody there: retried, then told.
        retry = arrwdb.Retry(attempts=3, pause=0.01)
        async with kind.connect("127.0.0.13:1", retry=retry) as client:
            with pytest.raises(arrwdb.Unavailable) as unavailable:
                await client.get_library("a")
            assert not unavailable.value.from_server
            with pytest.raises(arrwdb.Unavailable):
                await client.subscribe(give_up_after=0.1)

    run(test())
