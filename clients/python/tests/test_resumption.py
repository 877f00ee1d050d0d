"""Servers that are killed and connections that break, in the middle of everything: nothing is lost
and nothing doubled, with both clients."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import Any

import pytest
from conftest import (
    DEADLINE,
    Kind,
    Server,
    StartServer,
    collect,
    document,
    eventually,
    make_library,
    run,
)
from proxy import Proxy

import arrwdb

RETRY = arrwdb.Retry(pause=0.02, pause_max=0.2)


async def the_log(client: Any, library: str = "a") -> list[arrwdb.Event]:
    """All events, as pages give them."""
    events: list[arrwdb.Event] = []
    cursor = "begin"
    while True:
        page = await client.list_events(library, cursor=cursor, limit=1000)
        events += page.events
        if page.next_cursor >= page.tail_cursor:
            return events
        cursor = page.next_cursor


async def exported(client: Any, library: str = "a") -> list[str]:
    """The ids of all documents."""
    return [document.id async for document in client.export(library)]


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_a_subscription_outlives_restarts(server: Server, kind: Kind, how: str) -> None:
    rounds, a_round = 3, 40

    async def write() -> None:
        # A client of its own that never gives up: what it was answered, it wrote.
        async with arrwdb.AsyncClient(server.address, retry=RETRY) as writer:
            number = 0
            for restarts in range(rounds):
                for _ in range(a_round):
                    # Changes of several events, so that some are cut inside.
                    await writer.create_document("a", document(number, chunks=5))
                    number += 1
                if restarts + 1 < rounds:
                    await server.restart(how)
            await writer.delete_library("a")

    async def test() -> None:
        async with kind.connect(server.address, retry=RETRY) as client:
            await make_library(client)
            library = (await client.get_library("a")).id
            async with await client.subscribe("a", cursor="begin") as events:
                writing = asyncio.create_task(write())
                seen = await collect(events, lambda event: event.type == "library.deleted")
                await writing
            assert seen == await the_log(client, library)
            added = [event.document_id for event in seen if event.type == "document.added"]
            assert added == [f"d{number}" for number in range(rounds * a_round)]

    run(test())


def test_a_subscription_outlives_cuts_anywhere(server: Server, kind: Kind) -> None:
    seed = time.time_ns()
    print("seed", seed)
    places = random.Random(seed)

    async def test() -> None:
        async with kind.connect(server.address) as client:
            await make_library(client)
            await client.ingest("a", [document(number, chunks=7) for number in range(100)])
            whole = await the_log(client)
            async with Proxy(server.address) as proxy:
                async with kind.connect(proxy.address, retry=RETRY) as cut:
                    proxy.cut_after = lambda: places.randrange(100, 20_000)
                    async with await cut.subscribe(whole[0].library_id, cursor="begin") as events:
                        seen = await collect(events, lambda event: event.id == whole[-1].id)
                assert proxy.connections > 10
            assert seen == whole

    run(test())


def test_a_snapshot_and_its_tail_give_the_state(server: Server, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(server.address) as client, Proxy(server.address) as proxy:
            await make_library(client)
            await client.ingest("a", [document(number) for number in range(400)])

            async def write() -> None:
                for number in range(200):
                    await client.delete_document("a", f"d{number}")
                    await client.create_document("a", document(1000 + number))
                await client.update_document("a", "d1000", metadata={"n": 2})
                await client.update_document("a", "d1000", title="the end")

            state: dict[str, Any] = {}
            begins = ends = 0
            async with kind.connect(proxy.address, retry=RETRY) as cut:
                # The snapshot is cut in the middle, and begins again.
                proxy.cut_after = lambda: 10_000
                async with await cut.subscribe("a", snapshot=True) as items:
                    writing = asyncio.create_task(write())
                    async for item in items:
                        if isinstance(item, arrwdb.SnapshotBegin):
                            begins += 1
                            state.clear()
                            if begins == 2:
                                proxy.cut_after = None
                        elif isinstance(item, arrwdb.SnapshotDocument):
                            assert item.document.document_id not in state
                            state[item.document.document_id] = item.document
                        elif isinstance(item, arrwdb.SnapshotEnd):
                            ends += 1
                            assert item.total_documents == len(state)
                            assert items.cursor == item.cursor
                            proxy.cut()
                        elif item.type == "document.added":
                            assert item.document_id not in state
                            state[item.document_id] = item.payload
                        elif item.type == "document.updated":
                            state[item.document_id] = item.payload
                            if item.payload.title == "the end":
                                break
                        elif item.type == "document.deleted":
                            del state[item.document_id]
                    await writing
            assert begins > 1 and ends == 1
            there = {d.id: (d.title, d.metadata) async for d in client.export("a")}
            assert {i: (d.title, d.metadata) for i, d in state.items()} == there

    run(test())


def test_a_filter_outlives_a_restart(server: Server, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(server.address, retry=RETRY) as client:
            await make_library(client)
            async with await client.subscribe(
                "a", filter="document.metadata.n >= 2", event_types=["document.updated"]
            ) as events:
                await client.create_document("a", document(1))
                for number in (2, 3, 1, 0):
                    await client.update_document("a", "d1", metadata={"n": number})
                    if number == 2:
                        await server.restart("kill")
                        # An update that finds its connection broken is not retried; this is.
                        await client.get_library("a")
                seen = await collect(events, lambda event: event.match == "left")
            assert [(event.match, event.payload.metadata["n"]) for event in seen] == [
                *(("entered", 2), ("stayed", 3), ("left", 1)),
            ]
            with pytest.raises(arrwdb.InvalidArgument) as raised:
                await client.subscribe(filter="document.(")
            assert raised.value.violations[0].field == "filter"

    run(test())


def test_a_cursor_that_the_log_was_trimmed_past_is_told(
    start_server: StartServer, kind: Kind
) -> None:
    limits = ("log_piece_bytes_target=1000", "retention_bytes_max=1000", "retention_interval_ms=10")
    server = start_server(*(flag for limit in limits for flag in ("--limit", limit)))

    async def test() -> None:
        async with kind.connect(server.address) as client:
            await make_library(client)
            first = (await client.list_events(limit=1)).events[0]
            await client.ingest("a", [document(number) for number in range(100)])

            async def trimmed() -> bool:
                return bool((await client.get_event_statistics()).floor_revision > first.revision + 1)

            await eventually(trimmed)
            with pytest.raises(arrwdb.CursorExpired) as raised:
                await client.subscribe(cursor=first.id)
            floor = raised.value.floor_cursor
            assert floor is not None
            async with await client.subscribe(cursor="begin") as events:
                assert (await collect(events, lambda event: True))[0].revision > first.revision

    run(test())


def test_a_silent_connection_is_left(server: Server, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(server.address) as client, Proxy(server.address) as proxy:
            await make_library(client)
            async with kind.connect(proxy.address, retry=RETRY) as silent:
                async with await silent.subscribe(silence_max=0.3) as events:
                    proxy.silence()
                    await client.create_document("a", document(1))
                    seen = await collect(events, lambda event: event.last)
            assert [event.type for event in seen] == ["document.added", "chunk.added"]

    run(test())


def test_a_subscription_ends_when_it_is_closed(server: Server, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(server.address, retry=RETRY) as client:
            events = await client.subscribe()
            waiting = asyncio.create_task(collect(events))
            await asyncio.sleep(0.05)
            await events.close()
            assert await waiting == []
            # Also while it waits for a server that is gone, and given up in time.
            events = await client.subscribe(give_up_after=0.2)
            server.kill()
            with pytest.raises(arrwdb.Unavailable):
                await collect(events)

    run(test())


def test_a_wait_that_is_given_up_loses_nothing(server: Server) -> None:
    async def test() -> None:
        async with arrwdb.AsyncClient(server.address) as client:
            await make_library(client)
            async with await client.subscribe("a") as events:
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(events.__anext__(), 0.05)
                await client.create_document("a", document(1, chunks=3))
                first = await events.__anext__()
                with pytest.raises(asyncio.TimeoutError):
                    while True:
                        await asyncio.wait_for(events.__anext__(), 0.05)
                await client.create_document("a", document(2))
                assert (await events.__anext__()).document_id == "d2"
                assert first.document_id == "d1"

    run(test())


def test_a_name_that_goes_to_another_library_does_not_move_a_subscription(
    server: Server, kind: Kind
) -> None:
    async def test() -> None:
        async with kind.connect(server.address, retry=RETRY) as client:
            await make_library(client)
            async with await client.subscribe("a") as events:
                await client.create_document("a", document(1))
                await client.delete_library("a")
                await make_library(client)
                await client.create_document("a", document(2))
                await server.restart("kill")
                seen = await collect(events, lambda event: event.type == "library.deleted")
            assert [event.type for event in seen] == [
                *("document.added", "chunk.added", "library.deleted"),
            ]

    run(test())


def test_a_consumer_outlives_restarts(server: Server, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(server.address, retry=RETRY) as client:
            await make_library(client)
            await client.create_consumer("mailer", event_types=["document.added"])
            await client.ingest("a", [document(number) for number in range(20)])
            dealt_with: list[str | None] = []
            async with await client.subscribe(consumer="mailer") as events:
                generations = {events.generation}
                async for event in events:
                    dealt_with.append(event.document_id)
                    generations.add(events.generation)
                    if len(dealt_with) % 20 == 10:
                        await events.acknowledge()
                        await server.restart("terminate")
                    if len(dealt_with) % 20 == 15:
                        # Not acknowledged, so that the server gives it again: but not we.
                        await server.restart("kill")
                        # Only now, so that they come over another connection.
                        more = range(len(dealt_with) + 5, min(len(dealt_with) + 25, 60))
                        await client.ingest("a", [document(number) for number in more])
                    if len(dealt_with) == 60:
                        break
                await events.acknowledge()
            assert dealt_with == [f"d{number}" for number in range(60)]
            assert len(generations) > 1
            # All was acknowledged: the next owner has nothing to do.
            assert (await client.pull_events("mailer")).events == []

    run(test())


def test_a_consumer_that_was_taken_back_unheard_goes_on(server: Server, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(server.address) as client, Proxy(server.address) as proxy:
            await make_library(client)
            await client.create_consumer("mailer")
            async with kind.connect(proxy.address, retry=RETRY) as cut:
                async with await cut.subscribe(consumer="mailer", owner="me") as events:
                    before = events.generation
                    # Nothing comes back of the next connection: the takeover is not heard of.
                    proxy.deaf = True
                    waiting = asyncio.create_task(collect(events, lambda event: event.last))
                    proxy.cut()

                    async def taken() -> bool:
                        return bool((await client.get_consumer("mailer")).generation != before)

                    await eventually(taken)
                    proxy.deaf = False
                    proxy.cut()
                    await client.create_document("a", document(1))
                    seen = await waiting
                    assert [event.document_id for event in seen] == ["d1", "d1"]
                    await events.acknowledge()
                    # And not when it is really somebody else's.
                    before = events.generation
                    proxy.deaf = True
                    waiting = asyncio.create_task(collect(events))
                    proxy.cut()
                    await eventually(taken)
                    await client.pull_events("mailer", owner="other")
                    proxy.deaf = False
                    proxy.cut()
                    with pytest.raises(arrwdb.Conflict):
                        await waiting

    run(test())


def test_an_idle_consumer_does_not_hold_the_log(start_server: StartServer, kind: Kind) -> None:
    server = start_server("--limit", "heartbeat_interval_ms=50")

    async def test() -> None:
        async with kind.connect(server.address) as client:
            await make_library(client)
            await client.create_consumer("idle", event_types=["library.deleted"])
            async with await client.subscribe(consumer="idle") as events:
                waiting = asyncio.create_task(collect(events))
                await client.create_document("a", document(1))

                async def caught_up() -> bool:
                    return bool((await client.get_consumer("idle")).lag_revisions == 0)

                await eventually(caught_up)
                await events.close()
                assert await waiting == []

    run(test())


@pytest.mark.parametrize(
    ("how", "on_conflict"),
    [
        *(("kill", "replace"), ("kill", "skip"), ("kill", "fail")),
        *(("cut", "replace"), ("cut", "fail"), ("terminate", "replace")),
    ],
)
def test_an_ingest_outlives_restarts(
    server: Server, kind: Kind, how: str, on_conflict: Any
) -> None:
    count = 1500

    async def test() -> None:
        async with kind.connect(server.address, retry=RETRY) as client:
            await make_library(client)
            # Some are there before, and are not ours.
            await client.ingest("a", [document(n) for n in range(0, count, 500)])
            before = (await client.get_event_statistics()).tail_revision
            told: list[arrwdb.IngestProgress] = []
            places = {250, 700, 1100}

            async with Proxy(server.address) as proxy:

                async def disturb() -> None:
                    for place in sorted(places):
                        while len(told) < place:
                            await asyncio.sleep(0.001)
                        proxy.cut() if how == "cut" else await server.restart(how)

                def documents() -> Any:
                    for number in range(count):
                        given = document(number)
                        if number % 7 == 0 and number % 500:
                            # The client makes an id, so that a retry cannot double it.
                            del given["id"]
                        yield given

                async with kind.connect(proxy.address, retry=RETRY) as cut:
                    disturbing = asyncio.create_task(disturb())
                    summary = await cut.ingest(
                        "a", documents(), on_conflict=on_conflict, on_progress=told.append
                    )
                    await disturbing
            assert summary.resumptions >= 1
            assert [p.outcome.position for p in told] == list(range(1, count + 1))
            old = [position for position in range(1, count + 1) if (position - 1) % 500 == 0]
            kept = {"replace": "completed", "skip": "skipped", "fail": "failed"}[on_conflict]
            for progress in told:
                outcome = progress.outcome
                expected = kept if outcome.position in old else "completed"
                assert outcome.status == expected, outcome
            assert summary.total_processed == count
            assert summary.total_succeeded == count - (0 if kept == "completed" else len(old))
            # Nothing is missing and nothing doubled, in the export and in the feed.
            there = await exported(client)
            assert len(there) == count
            assert sorted(there) == sorted(p.outcome.id for p in told)
            log = await the_log(client)
            added = [e.document_id for e in log if e.type == "document.added"]
            assert sorted(d for d in added if d) == sorted(there)
            if on_conflict != "replace":
                assert not [e for e in log if e.type == "document.updated"]
            # A read that waits for the summary's revision has seen all.
            assert summary.revision > before
            assert (await client.get_library("a", min_revision=summary.revision)).name == "a"

    run(test())


@pytest.mark.parametrize("on_conflict", ["replace", "skip", "fail"])
def test_what_was_written_unheard_counts_as_written(
    server: Server, kind: Kind, on_conflict: Any
) -> None:
    def text(number: int) -> dict[str, Any]:
        return {"id": f"t{number}", "title": "T", "text": "A sentence about nothing. " * 100}

    async def test() -> None:
        async with kind.connect(server.address) as client, Proxy(server.address) as proxy:
            await client.create_library("a")
            await client.create_document("a", text(0))
            silent, broken = threading.Event(), threading.Event()

            async def all_written() -> bool:
                return bool((await client.get_library("a")).num_documents == 20)

            async def disturb() -> None:
                while not told:
                    await asyncio.sleep(0.01)
                proxy.muted = True
                silent.set()
                await eventually(all_written)
                proxy.muted = False
                proxy.cut()
                broken.set()

            texts = [text(number) for number in range(18)]
            unheard = {"title": "unheard", "text": "x"}

            def blocking_source() -> Any:
                yield {"title": "heard", "text": "x"}
                assert silent.wait(DEADLINE)
                yield from [*texts, unheard]
                assert broken.wait(DEADLINE)
                yield {"title": "last", "text": "x"}

            async def source() -> Any:
                given = blocking_source()
                while (item := await asyncio.to_thread(next, given, None)) is not None:
                    yield item

            told: list[arrwdb.IngestProgress] = []
            async with kind.connect(proxy.address, retry=RETRY) as cut:
                disturbing = asyncio.create_task(disturb())
                documents = source() if kind.name == "asyncio" else blocking_source()
                summary = await cut.ingest(
                    "a", documents, on_conflict=on_conflict, on_progress=told.append
                )
                await disturbing
            kept = {"replace": "completed", "skip": "skipped", "fail": "failed"}[on_conflict]
            expected = ["completed", kept, *["completed"] * 19]
            assert [progress.outcome.status for progress in told] == expected
            num_chunks = (await client.get_document("a", "t17")).num_chunks
            assert num_chunks > 1
            assert {progress.outcome.num_chunks for progress in told[2:19]} == {num_chunks}
            assert summary.total_chunks == 3 + num_chunks * (18 if kept == "completed" else 17)
            assert summary.resumptions >= 1
            assert len(await exported(client)) == 21

    run(test())


def test_an_ingest_is_given_up_in_time(server: Server, kind: Kind) -> None:
    async def test() -> None:
        async with kind.connect(server.address, retry=RETRY) as client:
            await make_library(client)

            def documents() -> Any:
                for number in range(10_000):
                    if number == 1000:
                        server.kill()
                    yield document(number)

            with pytest.raises(arrwdb.Unavailable):
                await client.ingest("a", documents(), give_up_after=0.3)

    run(test())


def test_an_ingest_goes_on_after_its_source_was_silent(
    start_server: StartServer, kind: Kind
) -> None:
    server = start_server("--limit", "ingest_idle_ms=50")

    async def test() -> None:
        async with kind.connect(server.address, retry=RETRY) as client:
            await make_library(client)

            async def closed() -> bool:
                page = await client.list_events(event_types=["batch.failed"])
                return bool(page.events)

            def documents() -> Any:
                yield document(1)
                with arrwdb.Client(server.address) as other:
                    while not other.list_events(event_types=["batch.failed"]).events:
                        time.sleep(0.01)
                yield document(2)

            async def source() -> Any:
                yield document(1)
                await eventually(closed)
                yield document(2)

            given = source() if kind.name == "asyncio" else documents()
            summary = await client.ingest("a", given)
            assert (summary.total_succeeded, summary.resumptions) == (2, 1)
            assert await exported(client) == ["d1", "d2"]

    run(test())
