"""The window of an ingest, without a network: what becomes of documents in doubt."""

from __future__ import annotations

from typing import Any

import arrwdb
from arrwdb._window import Window
from arrwdb.v1 import document_service_pb2 as pb


def window(on_conflict: Any, known_revision: int = 10) -> Window:
    return Window(
        "library", on_conflict, known_revision=known_revision, message_bytes_max=1 << 20
    )


def admit(window: Window, *ids: str) -> None:
    for position, document_id in enumerate(ids, 1):
        document = {"id": document_id, "title": document_id, "texts": ["a", "b"]}
        assert window.admit(window.prepare(document, position)) == []


def sent(window: Window, stream: int) -> list[str]:
    """The ids that a stream sends until it waits or ends."""
    ids = []
    while not isinstance(message := window.next_message(stream), str):
        ids.append(message.document.id)
    return [*ids, message]


def completed(position: int, revision: int) -> pb.StreamIngestDocumentsResponse:
    done = {"position": position, "revision": revision, "num_chunks": 2}
    return pb.StreamIngestDocumentsResponse(completed=done)


def skipped(position: int, revision: int) -> pb.StreamIngestDocumentsResponse:
    return pb.StreamIngestDocumentsResponse(
        skipped={"position": position, "revision": revision}
    )


def statuses(told: list[arrwdb.IngestProgress]) -> list[tuple[str, str]]:
    return [(progress.outcome.id, progress.outcome.status) for progress in told]


def broken() -> arrwdb.ArrwdbError:
    return arrwdb.Unavailable("cut")


def test_what_is_not_acknowledged_is_sent_again_in_order() -> None:
    w = window("replace")
    admit(w, "a", "b", "c", "d")
    stream = w.begin_stream()
    assert sent(w, stream) == ["a", "b", "c", "d", "wait"]
    assert statuses(w.answered(completed(1, 11))) == [("a", "completed")]
    w.end_stream(broken())
    # What belongs to the broken stream sends nothing any more.
    assert sent(w, stream) == ["end"]
    w.finish()
    assert sent(w, w.begin_stream()) == ["b", "c", "d", "end"]
    for position in (1, 2, 3):
        assert w.wants_stream() and not w.is_done()
        w.answered(completed(position, 11 + position))
    assert w.is_done() and not w.wants_stream()
    summary = w.summary()
    assert (summary.total_succeeded, summary.resumptions, summary.revision) == (4, 1, 14)


def test_a_skip_in_doubt_is_ours_only_if_it_is_newer_than_what_was_known() -> None:
    w = window("skip", known_revision=10)
    admit(w, "ours", "theirs", "unsent")
    stream = w.begin_stream()
    for _ in range(2):
        w.next_message(stream)
    w.end_stream(broken())
    sent(w, w.begin_stream())
    told = w.answered(skipped(1, 12))
    told += w.answered(skipped(2, 10))
    # Never sent before, so whoever wrote it was not us, however new it is.
    told += w.answered(skipped(3, 13))
    assert statuses(told) == [("ours", "completed"), ("theirs", "skipped"), ("unsent", "skipped")]
    assert told[0].outcome.num_chunks == 2


def test_a_text_that_was_written_unheard_asks_how_it_was_split() -> None:
    w = window("skip", known_revision=10)
    for position, document_id in enumerate(["ours", "theirs"], 1):
        w.admit(w.prepare({"id": document_id, "title": "t", "text": "x"}, position))
    sent(w, w.begin_stream())
    w.end_stream(broken())
    sent(w, w.begin_stream())
    assert w.half_told(skipped(1, 11)) == "ours"
    (ours,) = w.answered(skipped(1, 11), 7)
    assert (ours.outcome.status, ours.outcome.num_chunks, ours.total_chunks) == ("completed", 7, 7)
    assert w.half_told(skipped(2, 10)) is None
    assert statuses(w.answered(skipped(2, 10))) == [("theirs", "skipped")]


def test_those_in_doubt_go_ahead_when_a_conflict_fails() -> None:
    w = window("fail", known_revision=10)
    admit(w, "ours", "theirs", "lost")
    stream = w.begin_stream()
    assert w.header().header.on_conflict == 3
    for _ in range(3):
        w.next_message(stream)
    admit(w, "next")
    w.end_stream(broken())
    w.finish()
    stream = w.begin_stream()
    assert w.header().header.on_conflict == 2
    assert sent(w, stream) == ["ours", "theirs", "lost", "end"]
    told = w.answered(skipped(1, 11)) + w.answered(skipped(2, 9)) + w.answered(completed(3, 13))
    assert statuses(told) == [("ours", "completed"), ("theirs", "failed"), ("lost", "completed")]
    assert isinstance(told[1].outcome.error, arrwdb.AlreadyExists)
    w.end_stream(None)
    stream = w.begin_stream()
    assert w.header().header.on_conflict == 3
    assert sent(w, stream) == ["next", "end"]


def test_refusals_keep_their_place_among_the_rest() -> None:
    w = window("replace")
    told = w.admit(w.prepare({"title": "bad", "nonsense": 1}, 1))
    assert statuses(told) == [("", "failed")]
    admit(w, "a")
    assert w.admit(w.prepare({"title": "bad", "text": 5}, 3)) == []
    admit(w, "b")
    stream = w.begin_stream()
    assert sent(w, stream) == ["a", "b", "wait"]
    assert statuses(w.answered(completed(1, 11))) == [("a", "completed"), ("", "failed")]
    assert statuses(w.answered(completed(2, 12))) == [("b", "completed")]
    w.finish()
    assert w.is_done()


def test_a_window_is_bounded() -> None:
    w = window("replace")
    count = 0
    while w.has_room():
        admit(w, str(count))
        count += 1
        assert count <= 10_000
    big = window("replace")
    while big.has_room():
        big.admit(big.prepare({"title": "t", "text": "x" * 1_000_000}, 1))
        count += 1
    assert big._pending_bytes < 35_000_000


def test_documents_without_an_id_get_one_that_stays() -> None:
    w = window("replace")
    w.admit(w.prepare({"title": "t", "text": "x"}, 1))
    first = sent(w, w.begin_stream())
    w.end_stream(broken())
    assert sent(w, w.begin_stream()) == first
    assert len(first[0]) == 36
