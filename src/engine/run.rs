//! Runs of consecutive changes, shared by all readers: each is encoded at most once for each
//! format, whoever asks first.
//!
//! A run knows what it may concern (libraries, types), so that a filtered reader skips it whole.
//! Does not know what a format looks like: a transport gives a function and a slot.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;

use super::metrics::Metrics;
use crate::types::{ChangeHead, ChangeKind, DocumentHead, Event, Library, LibraryId, Revision};

/// Formats that a run has room for.
pub const FORMATS_MAX: usize = 2;

/// Bytes of events that a run holds, in whichever format, unless one change has more: encoding it
/// takes less than 0.1 ms, and a reader that stalls keeps some of this size in memory.
const RUN_BYTES_TARGET: usize = 16 << 10;

/// How a transport writes an event: the same bytes for the same event, always.
#[derive(Clone, Copy)]
pub struct Format {
    slot: usize,
    write: fn(&mut Vec<u8>, &Event<'_>),
}

impl Format {
    /// With a slot below [`FORMATS_MAX`] that no other format has.
    #[must_use]
    pub const fn new(slot: usize, write: fn(&mut Vec<u8>, &Event<'_>)) -> Self {
        assert!(slot < FORMATS_MAX, "a run has no such slot");
        Self { slot, write }
    }

    /// Writes an event to the end of `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>, event: &Event<'_>) {
        (self.write)(out, event);
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Format").field("slot", &self.slot).finish_non_exhaustive()
    }
}

/// Consecutive changes, at least one.
#[derive(Debug)]
pub(super) struct Run {
    heads: Vec<Arc<ChangeHead>>,
    /// About how many bytes its events have in a format.
    bytes: usize,
    /// The types of its events, as a set of [`crate::types::EventType::bit`]s.
    types: u16,
    /// The libraries of its events, sorted.
    libraries: Vec<LibraryId>,
    encoded: [OnceLock<Encoded>; FORMATS_MAX],
    /// Whoever holds it has a large run encoded.
    turn: tokio::sync::Mutex<()>,
}

/// The events of a run, one behind the other.
#[derive(Debug)]
pub(super) struct Encoded {
    /// All of them.
    pub(super) bytes: Bytes,
    /// Where each event ends.
    ends: Vec<usize>,
}

impl Encoded {
    pub(super) fn num_events(&self) -> u64 {
        self.ends.len() as u64
    }

    /// The event at a place, counted over the run.
    pub(super) fn event(&self, place: usize) -> &[u8] {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[place]]
    }
}

impl Run {
    /// Cuts consecutive changes into runs.
    pub(super) fn cut(heads: &[Arc<ChangeHead>]) -> Vec<Arc<Self>> {
        let mut runs = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (place, head) in heads.iter().enumerate() {
            let more = change_bytes(head);
            if place > start && bytes + more > RUN_BYTES_TARGET {
                runs.push(Arc::new(Self::new(&heads[start..place], bytes)));
                (start, bytes) = (place, 0);
            }
            bytes += more;
        }
        if start < heads.len() {
            runs.push(Arc::new(Self::new(&heads[start..], bytes)));
        }
        runs
    }

    fn new(heads: &[Arc<ChangeHead>], bytes: usize) -> Self {
        let types = heads.iter().fold(0, |types, head| types | event_types(head));
        let mut libraries: Vec<_> = heads.iter().map(|head| head.library_id).collect();
        libraries.sort_unstable();
        libraries.dedup();
        let (encoded, turn) = Default::default();
        Self { heads: heads.to_vec(), bytes, types, libraries, encoded, turn }
    }

    pub(super) fn heads(&self) -> &[Arc<ChangeHead>] {
        &self.heads
    }

    /// Its changes after a revision.
    pub(super) fn heads_after(&self, after: Revision) -> &[Arc<ChangeHead>] {
        &self.heads[self.heads.partition_point(|head| head.revision <= after)..]
    }

    pub(super) fn first(&self) -> Revision {
        self.heads.first().map_or(Revision::ZERO, |head| head.revision)
    }

    pub(super) fn last(&self) -> Revision {
        self.heads.last().map_or(Revision::ZERO, |head| head.revision)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn types(&self) -> u16 {
        self.types
    }

    pub(super) fn libraries(&self) -> &[LibraryId] {
        &self.libraries
    }

    /// Whether an event of this library (`None`: of any) and one of these types may be in it.
    pub(super) fn may_concern(&self, library: Option<LibraryId>, types: u16) -> bool {
        self.types & types != 0
            && library.is_none_or(|id| self.libraries.binary_search(&id).is_ok())
    }

    /// The place of a change's first event, counted over the run.
    pub(super) fn place(&self, head: &ChangeHead) -> usize {
        let before = self.heads.first().map_or(0, |first| first.events_before);
        usize::try_from(head.events_before - before).unwrap_or(usize::MAX)
    }

    /// Whether it is one change with more events than an async thread may encode in one go.
    pub(super) fn is_large(&self) -> bool {
        self.bytes > 4 * RUN_BYTES_TARGET
    }

    /// Has a large run encoded on a thread where that holds up nobody; then [`Self::encoded`]
    /// does not wait.
    pub(super) async fn encode_apart(self: &Arc<Self>, format: Format, metrics: &Arc<Metrics>) {
        if !self.is_large() || self.known(&format).is_some() {
            return;
        }
        let _turn = self.turn.lock().await;
        if self.known(&format).is_some() {
            return;
        }
        let (run, metrics) = (Arc::clone(self), Arc::clone(metrics));
        let encoding = tokio::task::spawn_blocking(move || {
            run.encoded(&format, &metrics);
        });
        if encoding.await.is_err() {
            tracing::error!("encoding events ended by a panic");
        }
    }

    /// Its events in a format if they were encoded already.
    pub(super) fn known(&self, format: &Format) -> Option<&Encoded> {
        self.encoded[format.slot].get()
    }

    /// Its events in a format. The first to ask encodes them, others wait for that.
    pub(super) fn encoded(&self, format: &Format, metrics: &Metrics) -> &Encoded {
        self.encoded[format.slot].get_or_init(|| {
            let began = Instant::now();
            let mut bytes = Vec::with_capacity(self.bytes);
            let mut ends = Vec::new();
            for event in self.heads.iter().flat_map(|head| head.events()) {
                format.write(&mut bytes, &event);
                ends.push(bytes.len());
            }
            bytes.shrink_to_fit();
            metrics.encoded(began);
            Encoded { bytes: bytes.into(), ends }
        })
    }
}

fn event_types(head: &ChangeHead) -> u16 {
    use crate::types::EventType::{ChunkAdded, ChunkDeleted};
    let first = head.events().next().map_or(0, |event| event.event_type.bit());
    let bit = |any: bool, bit| if any { bit } else { 0 };
    first
        | bit(!head.kind.added_chunks().is_empty(), ChunkAdded.bit())
        | bit(!head.kind.removed_chunks().is_empty(), ChunkDeleted.bit())
}

/// What an event has besides texts: names, ids, times.
pub(super) const EVENT_BYTES: usize = 400;

/// About how many bytes the texts of a document have in an event of it.
pub(super) fn document_bytes(document: &DocumentHead) -> usize {
    let texts = [&document.title, &document.author, &document.source_url];
    texts.map(String::len).iter().sum::<usize>()
        + document.tags.iter().map(|tag| tag.len() + 3).sum::<usize>()
        + document.metadata.as_json().len()
}

/// About how many bytes the events of a change have in a format.
fn change_bytes(head: &ChangeHead) -> usize {
    let library = |library: &Library| library.description.len() + library.metadata.as_json().len();
    let (images, title) = match &head.kind {
        ChangeKind::LibraryCreated { library: one }
        | ChangeKind::LibraryDeleted { before: one, .. } => (library(one), 0),
        ChangeKind::LibraryUpdated { before, after } => (library(before) + library(after), 0),
        ChangeKind::DocumentAdded { document: one, .. }
        | ChangeKind::DocumentDeleted { before: one, .. } => (document_bytes(one), one.title.len()),
        ChangeKind::DocumentUpdated { before, after, .. } => {
            (document_bytes(before) + document_bytes(after), after.title.len())
        }
        ChangeKind::BatchStarted
        | ChangeKind::BatchCompleted { .. }
        | ChangeKind::BatchFailed { .. }
        | ChangeKind::IndexRebuilt { .. }
        | ChangeKind::IndexOptimized { .. } => (0, 0),
    };
    let chunks = head.kind.added_chunks().iter().chain(head.kind.removed_chunks());
    let chunks = chunks.map(|chunk| EVENT_BYTES + title + chunk.metadata.as_json().len());
    EVENT_BYTES + images + chunks.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread::ThreadId;

    use super::*;
    use crate::engine::fixture::{added, heads};
    use crate::types::EventType;

    static WRITTEN: AtomicUsize = AtomicUsize::new(0);

    fn write(out: &mut Vec<u8>, event: &Event<'_>) {
        WRITTEN.fetch_add(1, Ordering::Relaxed);
        out.extend_from_slice(format!("{} {};", event.id, event.event_type.name()).as_bytes());
    }

    #[test]
    fn a_run_is_encoded_once_and_its_events_can_be_told_apart() {
        let heads = heads(vec![added("a", 2), added("b", 0), added("c", 1)]);
        let runs = Run::cut(&heads);
        assert_eq!(runs.len(), 1);
        let run = &runs[0];
        let format = Format::new(0, write);
        let metrics = Metrics::new();
        let before = WRITTEN.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| run.encoded(&format, &metrics).bytes.len());
            }
        });
        assert_eq!(WRITTEN.load(Ordering::Relaxed) - before, 6);
        let mut place = 0;
        for head in run.heads() {
            assert_eq!(run.place(head), place);
            for event in head.events() {
                let mut expected = Vec::new();
                write(&mut expected, &event);
                assert_eq!(run.encoded(&format, &metrics).event(place), expected);
                place += 1;
            }
        }
    }

    static THREADS: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());

    fn note_thread(out: &mut Vec<u8>, _: &Event<'_>) {
        THREADS.lock().expect("not poisoned").push(std::thread::current().id());
        out.push(b';');
    }

    #[tokio::test]
    async fn a_large_run_is_encoded_once_and_away_from_the_readers_threads() {
        let run = Run::cut(&heads(vec![added("large", 1_000)])).remove(0);
        let (format, metrics) = (Format::new(0, note_thread), Arc::new(Metrics::new()));
        let readers = (0..10).map(|_| run.encode_apart(format, &metrics));
        futures::future::join_all(readers).await;
        assert_eq!(run.encoded(&format, &metrics).num_events(), 1_001);
        let threads = std::mem::take(&mut *THREADS.lock().expect("not poisoned"));
        assert_eq!(threads.len(), 1_001);
        assert!(!threads.contains(&std::thread::current().id()));
    }

    #[test]
    fn runs_hold_all_changes_in_order_and_are_bounded() {
        let heads = heads((0..500).map(|n| added(&format!("d{n}"), n % 4)).collect());
        let runs = Run::cut(&heads);
        let joined: Vec<_> = runs.iter().flat_map(|run| run.heads().to_vec()).collect();
        assert_eq!(joined, heads);
        assert!(runs.len() > 5);
        assert!(runs.iter().all(|run| run.bytes() <= RUN_BYTES_TARGET));
        let large = Run::cut(&crate::engine::fixture::heads(vec![
            added("x", 1),
            added("large", 1_000),
            added("y", 1),
        ]));
        assert_eq!(large.len(), 3, "a change is not cut, and does not take others with it");
    }

    #[test]
    fn a_run_says_what_it_may_concern() {
        let heads = heads(vec![added("a", 0)]);
        let runs = Run::cut(&heads);
        let (own, other) = (heads[0].library_id, LibraryId::generate());
        assert!(runs[0].may_concern(None, u16::MAX));
        assert!(runs[0].may_concern(Some(own), EventType::DocumentAdded.bit()));
        assert!(!runs[0].may_concern(Some(own), EventType::ChunkAdded.bit()));
        assert!(!runs[0].may_concern(Some(other), u16::MAX));
    }
}
