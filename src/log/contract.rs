//! The conformance suite: what every log must do, by the numbers of the contract in `super`.
//!
//! A backend passes a function that opens the log at a named place: a new, empty one the first
//! time, the same one again after all handles to it are gone. Its pieces should be small (a few
//! changes), so that trimming has something to drop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;

use super::{AppendError, ChangeLog, LogBounds, ReadError};
use crate::types::{
    Change, ChangeHead, ChangeKind, ChunkBody, ChunkHead, ChunkId, DocumentHead, DocumentId, Epoch,
    LibraryId, Metadata, Metric, Revision, Timestamp, Vector,
};

/// Large enough for everything that the suite writes.
const ALL: usize = usize::MAX;

type Log = Arc<dyn ChangeLog>;

/// Runs the whole suite. Needs a runtime of several threads.
pub(crate) async fn conformance(make: impl AsyncFn(&str) -> Log) {
    an_empty_log_is_empty(make("empty").await).await;
    changes_are_read_as_they_were_appended(make("order").await).await;
    what_does_not_follow_on_is_refused(make("refused").await).await;
    of_two_writers_one_succeeds(make("stale").await).await;
    appends_become_readable_whole(make("whole").await).await;
    acknowledged_changes_survive_reopening(&make).await;
    a_repeated_append_is_stale(make("repeat").await).await;
    a_closed_log_stays_closed(make("closed").await).await;
    reads_are_contiguous_from_anywhere(make("reads").await).await;
    trim_drops_from_the_front_and_no_more(make("trim").await).await;
    excess_is_what_has_to_go(make("excess").await).await;
    readers_race_trims_and_appends_without_a_hole(make("race").await).await;
    seeks_find_the_first_change_in_time(make("seek").await).await;
    dropped_futures_leave_no_trace(make("drop").await).await;
}

/// Changes with these revisions that follow on from `bounds`, of several kinds and sizes, each a
/// millisecond after the one before.
pub(crate) fn sample(bounds: &LogBounds, revisions: impl IntoIterator<Item = u64>) -> Vec<Change> {
    let mut time = bounds.end_time;
    let mut events_before = bounds.end_events;
    let make = |revision| {
        time = Timestamp::from_micros(time.micros() + 1_000);
        let change = sample_change(bounds.epoch(), Revision(revision), time, events_before);
        events_before += u64::from(change.head.kind.num_events());
        change
    };
    revisions.into_iter().map(make).collect()
}

fn sample_change(epoch: Epoch, revision: Revision, time: Timestamp, events_before: u64) -> Change {
    let number = u8::try_from(revision.0 % 251).expect("below 251");
    let chunks = if number % 4 == 0 { 0 } else { u32::from(number) % 5 };
    let chunk = |index| ChunkHead {
        id: ChunkId::from_bytes([number; 16]),
        slot: index,
        index,
        metadata: Metadata::default(),
    };
    let body = |index: u32| ChunkBody {
        text: format!("chunk {index} of {revision} ").repeat(usize::from(number) % 7).into(),
        vector: Vector::new("v", vec![f32::from(number); 8], 8, Metric::L2).expect("valid"),
    };
    let kind = if chunks == 0 {
        ChangeKind::BatchStarted
    } else {
        ChangeKind::DocumentAdded {
            document: DocumentHead {
                id: DocumentId::parse(&format!("doc-{revision}")).expect("valid"),
                created_revision: revision,
                title: format!("Document {revision}"),
                author: String::new(),
                document_type: String::new(),
                source_url: String::new(),
                tags: vec!["tag".to_owned()],
                metadata: Metadata::default(),
                num_chunks: chunks,
                created_at: time,
                updated_at: time,
                revision,
            },
            chunks: (0..chunks).map(chunk).collect(),
        }
    };
    let head = ChangeHead {
        epoch,
        revision,
        time,
        events_before,
        library_id: LibraryId::from_bytes([number; 16]),
        batch_id: None,
        request_id: None,
        kind,
    };
    Change { head, bodies: (0..chunks).map(body).collect() }
}

async fn bounds(log: &Log) -> LogBounds {
    log.bounds().await.expect("bounds")
}

/// Appends changes with these revisions at the end.
async fn append(log: &Log, revisions: impl IntoIterator<Item = u64>) -> Vec<Change> {
    let bounds = bounds(log).await;
    let changes = sample(&bounds, revisions);
    log.append(bounds.end, &changes).await.expect("appended");
    changes
}

/// Everything behind `after`, read in small pages.
async fn read_all(log: &Log, after: Revision) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    loop {
        let from = all.last().map_or(after, |change| change.head.revision);
        let page = log.read_changes(from, 2_000).await.expect("readable");
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// What the bounds say of the end is what the changes say.
async fn assert_bounds_are_true(log: &Log) {
    let bounds = bounds(log).await;
    let all = read_all(log, Revision(bounds.floor.0 - 1)).await;
    assert!(!bounds.epochs.is_empty(), "there is always a current epoch");
    assert!(bounds.epochs.is_sorted_by(|a, b| a.1 < b.1), "spans do not overlap: {bounds:?}");
    if let Some(last) = all.last() {
        assert_eq!(bounds.end, last.head.revision);
        assert_eq!(bounds.end_time, last.head.time);
        let events = last.head.events_before + u64::from(last.head.kind.num_events());
        assert_eq!(bounds.end_events, events);
    }
    for change in &all {
        let span = bounds.epochs.iter().rfind(|(_, first)| *first <= change.head.revision);
        assert_eq!(span.map(|span| span.0), Some(change.head.epoch), "rule 9: epochs are spans");
    }
}

async fn an_empty_log_is_empty(log: Log) {
    let bounds = bounds(&log).await;
    assert_eq!((bounds.floor, bounds.end), (Revision(1), Revision::ZERO));
    assert_eq!((bounds.end_time, bounds.end_events), (Timestamp::default(), 0));
    assert_eq!(bounds.epochs, [(bounds.epoch(), Revision(1))]);
    assert_eq!(log.read_changes(Revision::ZERO, ALL).await, Ok(vec![]));
    assert_eq!(log.read_heads(Revision(7), ALL).await, Ok(vec![]));
    assert_eq!(log.seek(Timestamp::now()).await, Ok(Revision::ZERO));
    assert_eq!(log.trim(Revision(7)).await, Ok(Revision(1)));
    assert_eq!(log.append(Revision::ZERO, &[]).await, Ok(()));
}

/// Rule 1.
async fn changes_are_read_as_they_were_appended(log: Log) {
    let mut all = Vec::new();
    for revisions in [vec![1], vec![2, 3, 9], vec![10, 11, 12, 13, 14, 15], vec![40]] {
        all.extend(append(&log, revisions).await);
        assert_eq!(read_all(&log, Revision::ZERO).await, all);
        assert_bounds_are_true(&log).await;
    }
    let heads = log.read_heads(Revision::ZERO, ALL).await.expect("readable");
    assert!(heads.iter().map(|head| &**head).eq(all.iter().map(|change| &change.head)));
}

async fn what_does_not_follow_on_is_refused(log: Log) {
    append(&log, [4, 5]).await;
    let before = bounds(&log).await;
    // Revision 9 has chunks, so that its bodies can be at odds with its head.
    let good = || sample(&before, [6, 9]);
    let spoil = |spoil: &dyn Fn(&mut Change)| {
        let mut changes = good();
        spoil(&mut changes[1]);
        changes
    };
    for changes in [
        spoil(&|change| change.head.revision = Revision(6)),
        spoil(&|change| change.head.epoch = Epoch(change.head.epoch.0 + 1)),
        spoil(&|change| change.head.time = Timestamp::from_micros(1)),
        spoil(&|change| change.head.events_before += 1),
        spoil(&|change| change.head.kind = ChangeKind::BatchStarted),
        sample(&before, [5]),
        sample(&before, [u64::MAX]),
    ] {
        let answer = log.append(before.end, &changes).await;
        assert!(matches!(answer, Err(AppendError::Refused(_))), "{answer:?}");
        assert_eq!(bounds(&log).await, before);
    }
    assert_eq!(log.append(before.end, &good()).await, Ok(()));
}

/// Rule 2.
async fn of_two_writers_one_succeeds(log: Log) {
    append(&log, [1, 2]).await;
    let now = bounds(&log).await;
    for wrong in [Revision::ZERO, Revision(1), Revision(3)] {
        let answer = log.append(wrong, &sample(&now, [10])).await;
        assert_eq!(answer, Err(AppendError::Stale { end: Revision(2) }));
    }
    assert_eq!(bounds(&log).await, now);

    let writer = |log: Log| async move {
        let mut won = 0;
        for _ in 0..50 {
            let bounds = bounds(&log).await;
            let next = bounds.end.next();
            match log.append(bounds.end, &sample(&bounds, [next.0])).await {
                Ok(()) => won += 1,
                Err(AppendError::Stale { end }) => assert!(end > bounds.end),
                Err(error) => panic!("{error}"),
            }
        }
        won
    };
    let (one, other) =
        tokio::join!(tokio::spawn(writer(log.clone())), tokio::spawn(writer(log.clone())));
    let won: u64 = one.expect("no panic") + other.expect("no panic");
    assert_eq!(bounds(&log).await.end, Revision(2 + won), "every success is one change");
    assert_bounds_are_true(&log).await;
}

/// Rules 3 and 4.
async fn appends_become_readable_whole(log: Log) {
    const TOGETHER: u64 = 5;
    const APPENDS: u64 = 60;
    let writer = tokio::spawn({
        let log = log.clone();
        async move {
            for n in 0..APPENDS {
                append(&log, n * TOGETHER + 1..=(n + 1) * TOGETHER).await;
                tokio::task::yield_now().await;
            }
        }
    });
    let mut seen = 0;
    while seen < APPENDS * TOGETHER {
        let heads = log.read_heads(Revision(seen), ALL).await.expect("readable");
        let end = bounds(&log).await.end.0;
        assert_eq!(end % TOGETHER, 0, "bounds show whole appends");
        assert_eq!(heads.len() as u64 % TOGETHER, 0, "a reader sees whole appends");
        let last = heads.last().map_or(seen, |head| head.revision.0);
        assert_eq!(last, seen + heads.len() as u64);
        assert!(last <= end, "what is readable is within the bounds read later");
        seen = last;
        tokio::task::yield_now().await;
    }
    writer.await.expect("no panic");
}

/// Rules 4 and 9.
async fn acknowledged_changes_survive_reopening(make: &impl AsyncFn(&str) -> Log) {
    let mut all = Vec::new();
    let mut epoch = None;
    for round in 0..4 {
        let log = make("reopen").await;
        let found = bounds(&log).await;
        assert_eq!(found.epoch(), *epoch.get_or_insert(found.epoch()), "nothing was lost");
        assert_eq!(read_all(&log, Revision::ZERO).await, all);
        assert_bounds_are_true(&log).await;
        for n in 0..5 {
            let first = round * 100 + n * 10 + 1;
            all.extend(append(&log, first..first + 3).await);
        }
        if round % 2 == 0 {
            assert_eq!(log.close().await, Ok(()));
        }
    }
    let log = make("reopen").await;
    let floor = log.trim(Revision(200)).await.expect("trimmed");
    drop(log);
    let log = make("reopen").await;
    assert_eq!(bounds(&log).await.floor, floor);
    all.retain(|change| change.head.revision >= floor);
    assert_eq!(read_all(&log, Revision(floor.0 - 1)).await, all);
}

/// Rule 5.
async fn a_repeated_append_is_stale(log: Log) {
    let before = bounds(&log).await;
    let changes = sample(&before, [1, 2, 3]);
    assert_eq!(log.append(before.end, &changes).await, Ok(()));
    let again = log.append(before.end, &changes).await;
    assert_eq!(again, Err(AppendError::Stale { end: Revision(3) }));
    assert_eq!(read_all(&log, Revision::ZERO).await, changes);
}

/// Rule 6.
async fn a_closed_log_stays_closed(log: Log) {
    let all = append(&log, [1, 2]).await;
    assert_eq!(log.close().await, Ok(()));
    let now = bounds(&log).await;
    for _ in 0..2 {
        let answer = log.append(now.end, &sample(&now, [3])).await;
        assert!(matches!(answer, Err(AppendError::Closed(_))), "{answer:?}");
    }
    assert!(matches!(log.close().await, Err(AppendError::Closed(_))));
    assert_eq!(read_all(&log, Revision::ZERO).await, all);
}

/// Rule 7.
async fn reads_are_contiguous_from_anywhere(log: Log) {
    let mut all = Vec::new();
    for n in 0..20 {
        all.extend(append(&log, [n * 10 + 2, n * 10 + 3, n * 10 + 9]).await);
    }
    for after in (0..=205).map(Revision) {
        let wanted: Vec<_> = all.iter().filter(|change| change.head.revision > after).collect();
        for target in [0, 1, 600, 5_000, ALL] {
            let changes = log.read_changes(after, target).await.expect("readable");
            let heads = log.read_heads(after, target).await.expect("readable");
            let (c, h) = (changes.len(), heads.len());
            assert!(changes.iter().eq(wanted[..c].iter().copied()), "after {after}, {target}");
            assert!(heads.iter().map(|h| &**h).eq(wanted[..h].iter().map(|c| &c.head)));
            let least = usize::from(!wanted.is_empty());
            assert!(c >= least && h >= least, "a read makes progress");
            if target <= 1 {
                assert_eq!((c, h), (least, least), "a small read stays small");
            }
            if target == ALL {
                assert_eq!((c, h), (wanted.len(), wanted.len()));
            }
        }
    }
    assert_eq!(log.read_changes(Revision(u64::MAX), ALL).await, Ok(vec![]));
}

/// Rule 8.
async fn trim_drops_from_the_front_and_no_more(log: Log) {
    let all = append_many(&log, 60).await;
    let mut floor = Revision(1);
    for through in (0..=60).map(Revision) {
        let bytes = bounds(&log).await.bytes;
        let moved = log.trim(through).await.expect("trimmed");
        assert!(moved >= floor && moved <= through.next(), "{moved} is past {through}");
        assert_eq!(bounds(&log).await.floor, moved);
        assert_eq!(moved > floor, bounds(&log).await.bytes < bytes);
        floor = moved;
        let rest: Vec<_> = all.iter().filter(|c| c.head.revision >= floor).cloned().collect();
        assert_eq!(read_all(&log, Revision(floor.0 - 1)).await, rest);
        assert_eq!(read_all(&log, floor).await, rest[1..]);
        assert_eq!(read_all(&log, floor.next()).await, rest[2.min(rest.len())..]);
        for below in (0..floor.0 - 1).map(Revision) {
            let trimmed = ReadError::Trimmed { floor };
            assert_eq!(log.read_changes(below, ALL).await, Err(trimmed.clone()));
            assert_eq!(log.read_heads(below, 0).await, Err(trimmed));
        }
        assert_bounds_are_true(&log).await;
    }
    assert!(floor > Revision(30), "pieces of the tested log should be small");
    assert_eq!(log.trim(Revision::ZERO).await, Ok(floor), "the floor never falls");
    append(&log, [61, 62]).await;
    assert_bounds_are_true(&log).await;
}

/// What `excess` says is enough, and one less is not.
async fn excess_is_what_has_to_go(log: Log) {
    append_many(&log, 60).await;
    let start = bounds(&log).await;
    assert_eq!(log.excess(start.bytes).await, Ok(Revision(start.floor.0 - 1)));
    let mut bytes_max = start.bytes;
    while bytes_max > 0 {
        bytes_max = bytes_max.saturating_sub(start.bytes / 20 + 1);
        let through = log.excess(bytes_max).await.expect("known");
        let before = Revision(through.0.saturating_sub(1));
        let moves = through >= bounds(&log).await.floor;
        log.trim(before).await.expect("trimmed");
        assert!(!moves || bounds(&log).await.bytes > bytes_max, "{through} for {bytes_max}");
        let floor = log.trim(through).await.expect("trimmed");
        assert_eq!(floor, through.next());
        let left = bounds(&log).await;
        let last_only = log.excess(0).await == Ok(through);
        assert!(left.bytes <= bytes_max || last_only, "{} bytes for {bytes_max}", left.bytes);
        if last_only {
            break;
        }
    }
    assert_eq!(bounds(&log).await.end, Revision(60));
}

async fn append_many(log: &Log, count: u64) -> Vec<Change> {
    let mut all = Vec::new();
    for revision in 1..=count {
        all.extend(append(log, [revision]).await);
    }
    all
}

/// Rules 7 and 8 under concurrency.
async fn readers_race_trims_and_appends_without_a_hole(log: Log) {
    const END: u64 = 300;
    append_many(&log, 20).await;
    let done = Arc::new(AtomicBool::new(false));
    let reader = |distance: i64| {
        let (log, done) = (log.clone(), done.clone());
        async move {
            let mut refused = 0_u64;
            while !done.load(Ordering::Acquire) {
                let floor = bounds(&log).await.floor.0;
                let after = floor.saturating_add_signed(distance);
                match log.read_heads(Revision(after), 3_000).await {
                    Ok(heads) => {
                        for (place, head) in heads.iter().enumerate() {
                            assert_eq!(head.revision.0, after + 1 + place as u64, "a hole");
                        }
                    }
                    Err(ReadError::Trimmed { floor: now }) => {
                        refused += 1;
                        assert!(now.0 > after + 1, "refused without need");
                        assert!(now.0 >= floor, "the floor fell");
                    }
                    Err(error) => panic!("{error}"),
                }
                tokio::task::yield_now().await;
            }
            refused
        }
    };
    let readers: Vec<_> = [-2, -1, 0, 1].map(|d| tokio::spawn(reader(d))).into();
    for revision in 21..=END {
        append(&log, [revision]).await;
        if revision % 3 == 0 {
            log.trim(Revision(revision - 10)).await.expect("trimmed");
        }
        tokio::task::yield_now().await;
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        reader.await.expect("no panic");
    }
    let floor = bounds(&log).await.floor;
    assert!(floor > Revision(END / 2), "there was no race");
    assert_eq!(log.read_heads(Revision(floor.0 - 2), ALL).await, Err(ReadError::Trimmed { floor }),);
}

async fn seeks_find_the_first_change_in_time(log: Log) {
    // Several changes a moment, and moments without a change.
    for revision in 1..=40_u64 {
        let bounds = bounds(&log).await;
        let mut changes = sample(&bounds, [2 * revision]);
        let time = Timestamp::from_micros(revision / 3 * 10);
        changes[0].head.time = time.max(bounds.end_time);
        log.append(bounds.end, &changes).await.expect("appended");
    }
    for through in [0, 25, 61, 80] {
        let floor = log.trim(Revision(through)).await.expect("trimmed");
        let all = read_all(&log, Revision(floor.0 - 1)).await;
        for micros in 0..=140 {
            let time = Timestamp::from_micros(micros);
            let after = log.seek(time).await.expect("found");
            let wanted = all.iter().find(|change| change.head.time >= time);
            let found = log.read_changes(after, 0).await.expect("never below the floor");
            assert_eq!(found.first(), wanted, "{micros} µs after trimming to {floor}");
            if wanted.is_none() {
                assert_eq!(after, Revision(80), "the end when all are earlier");
            }
        }
    }
}

/// Rule 10.
async fn dropped_futures_leave_no_trace(log: Log) {
    let mut all = append_many(&log, 30).await;
    for after in 0..30 {
        // Polled once, then dropped.
        let _ = log.read_changes(Revision(after), ALL).now_or_never();
        let _ = log.read_heads(Revision(after), ALL).now_or_never();
        let _ = log.seek(Timestamp::now()).now_or_never();
    }
    assert_eq!(read_all(&log, Revision::ZERO).await, all);
    let _ = log.trim(Revision(3)).now_or_never();
    let now = bounds(&log).await;
    drop(log.append(now.end, &sample(&now, [31])));
    let outcome = sample(&now, [31, 32]);
    let answered = log.append(now.end, &outcome).now_or_never().is_some();
    let later = bounds(&log).await;
    // Known when it answered; otherwise found out as rule 5 says.
    assert!(later.end == Revision(32) || !answered && later.end == now.end);
    if later.end > now.end {
        all.extend(outcome);
    }
    all.extend(append(&log, [40]).await);
    all.retain(|change| change.head.revision >= later.floor.max(Revision(4)));
    let after = all.first().map_or(Revision::ZERO, |c| Revision(c.head.revision.0 - 1));
    assert_eq!(read_all(&log, after).await, all);
}
