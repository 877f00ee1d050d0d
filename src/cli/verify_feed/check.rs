//! What one recording tells by itself: order, uniqueness, atomicity, bookmarks, resumption.

use std::collections::{BTreeSet, HashMap};

use super::record::{
    Asked, DocumentRecord, EventRecord, Item, Place, Recording, Rule, Subject, Violation,
};
use crate::types::{BatchId, Cursor, DocumentId, EventType, LibraryId, Revision};

/// A part of the log that a recording shows without a gap: what follows `after`, up to `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered {
    /// Where it begins; nothing of `after` itself is in it.
    pub after: Cursor,
    /// Where it ends.
    pub until: Cursor,
}

/// What came of checking one recording.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Breaches, in the order of the recording.
    pub violations: Vec<Violation>,
    /// What it shows of the log, in order.
    pub covered: Vec<Covered>,
    /// Events in it.
    pub events: u64,
    /// Bookmarks in it.
    pub bookmarks: u64,
    /// Connections after the first.
    pub resumes: u64,
}

/// Checks one recording. `start` is where it was asked to begin, if it does not say so itself by
/// beginning with a bookmark.
#[must_use]
pub fn check(recording: &Recording, asked: Asked, start: Option<Cursor>) -> Checked {
    Check::new(asked, asked.whole_changes(), start).run(recording)
}

/// As [`check`], of a recording that was asked for with a filter expression: changes need not be
/// whole.
#[must_use]
pub fn check_filtered(recording: &Recording, asked: Asked, start: Option<Cursor>) -> Checked {
    Check::new(asked, false, start).run(recording)
}

/// The last event, while more of its change are to come; also what its followers must agree with.
#[derive(Debug, Clone)]
struct Open {
    event: EventRecord,
    /// Chunks that the change's first event speaks of.
    chunks: Option<u64>,
}

struct Check {
    asked: Asked,
    /// Whether changes were asked for as a whole.
    whole: bool,
    checked: Checked,
    /// Ids that came in order.
    seen: Vec<Cursor>,
    last: Option<EventRecord>,
    open: Option<Open>,
    bookmark: Option<(Cursor, Place)>,
    /// Where the part of the log that is shown without a gap begins.
    after: Option<Cursor>,
    /// Whether a connection has begun and nothing has come of it.
    fresh: bool,
    /// Documents of batches whose start was seen.
    batches: HashMap<BatchId, u64>,
    /// Documents of a snapshot that is not at its end.
    snapshot: BTreeSet<(LibraryId, DocumentId)>,
}

impl Check {
    fn new(asked: Asked, whole: bool, start: Option<Cursor>) -> Self {
        Self {
            asked,
            whole,
            checked: Checked::default(),
            seen: Vec::new(),
            last: None,
            open: None,
            bookmark: None,
            after: start,
            fresh: false,
            batches: HashMap::new(),
            snapshot: BTreeSet::new(),
        }
    }

    fn run(mut self, recording: &Recording) -> Checked {
        for entry in &recording.entries {
            match &entry.item {
                Item::Connected => self.connected(),
                Item::Event(event) => self.event(&entry.place, event),
                Item::Bookmark(cursor) => self.bookmark(&entry.place, *cursor),
                Item::Document(document) => self.document(&entry.place, document),
                Item::SnapshotEnd { cursor, total } => {
                    self.snapshot_end(&entry.place, *cursor, *total);
                }
                Item::Ended => {}
            }
        }
        self.finish()
    }

    fn breach(&mut self, rule: Rule, place: &Place, detail: String) {
        self.checked.violations.push(Violation { rule, place: place.clone(), detail });
    }

    /// What the reader has: the id to resume from.
    fn position(&self) -> Option<Cursor> {
        let bookmark = self.bookmark.as_ref().map(|(cursor, _)| *cursor);
        self.seen.last().copied().max(bookmark)
    }

    fn connected(&mut self) {
        if self.position().is_some() {
            self.checked.resumes += 1;
        }
        self.fresh = true;
        // One that was cut begins again.
        self.snapshot.clear();
    }

    fn document(&mut self, place: &Place, document: &DocumentRecord) {
        let id = &document.id;
        if self.position().is_some() {
            let detail = format!("document {id} of a snapshot comes behind events or bookmarks");
            self.breach(Rule::Snapshot, place, detail);
        }
        if self.asked.library.is_some_and(|library| library != document.library) {
            let detail = format!("document {id} of library {} was not asked for", document.library);
            self.breach(Rule::Filter, place, detail);
        }
        if !self.snapshot.insert((document.library, id.clone())) {
            self.breach(Rule::Snapshot, place, format!("document {id} comes twice"));
        }
    }

    fn snapshot_end(&mut self, place: &Place, cursor: Cursor, total: u64) {
        let came = std::mem::take(&mut self.snapshot).len() as u64;
        if came != total {
            let detail = format!("the snapshot says it has {total} documents, {came} came");
            self.breach(Rule::Snapshot, place, detail);
        }
        if self.position().is_none() {
            // The reading begins here.
            self.after = None;
        }
        self.bookmark(place, cursor);
    }

    fn bookmark(&mut self, place: &Place, cursor: Cursor) {
        self.checked.bookmarks += 1;
        let (fresh, position) = (std::mem::take(&mut self.fresh), self.position());
        let expected = position.or(self.after);
        match expected {
            None => self.after = Some(cursor),
            Some(expected) if fresh && end(cursor) != end(expected) => {
                let detail = format!("resumed at {cursor}, expected {expected}, the last id read");
                self.breach(Rule::Resume, place, detail);
                // What was jumped over is told once, here.
                self.covers();
                self.after = Some(cursor);
                self.open = None;
            }
            Some(expected) if end(cursor) < end(expected) => {
                let detail = format!("a bookmark at {cursor} goes back behind {expected}");
                self.breach(Rule::Bookmark, place, detail);
            }
            Some(_) => {}
        }
        if let Some(open) = &self.open
            && cursor > open.event.id
            && !fresh
        {
            let detail = format!(
                "a bookmark at {cursor} passes over the rest of the change of {}",
                open.event
            );
            self.breach(Rule::Bookmark, place, detail);
            self.open = None;
        }
        if self.bookmark.as_ref().is_none_or(|(last, _)| *last < cursor) {
            self.bookmark = Some((cursor, place.clone()));
        }
    }

    fn event(&mut self, place: &Place, event: &EventRecord) {
        self.checked.events += 1;
        self.fresh = false;
        if !std::mem::take(&mut self.snapshot).is_empty() {
            let detail = format!("{event} comes before the snapshot's end");
            self.breach(Rule::Snapshot, place, detail);
        }
        self.alone(place, event);
        if let Some(last) = self.seen.last().copied().filter(|last| event.id <= *last) {
            let (rule, detail) = match self.seen.binary_search(&event.id) {
                Ok(_) => (Rule::Unique, format!("{event} came before")),
                Err(_) => (Rule::Order, format!("{event} comes behind {last}")),
            };
            return self.breach(rule, place, detail);
        }
        let passed = self.bookmark.as_ref().filter(|(cursor, _)| event.id <= *cursor);
        if let Some((cursor, at)) = passed {
            let detail = format!("{event} comes after the bookmark {cursor} of line {}", at.line);
            self.breach(Rule::Bookmark, place, detail);
        }
        if let Some(last) = self.last.as_ref().filter(|last| last.time > event.time) {
            let detail = format!("{event} is of {}, the one before of {}", event.time, last.time);
            self.breach(Rule::Time, place, detail);
        }
        if self.whole {
            self.atomic(place, event);
        }
        self.batch(place, event);
        if self.after.is_none() {
            // Nothing says where it begins: with its first event.
            let ordinal = event.id.ordinal;
            self.after = Some(match event.ordinal().checked_sub(1) {
                Some(before) => Cursor { ordinal: before, ..event.id },
                None => Cursor {
                    revision: Revision(event.revision.0.saturating_sub(1)),
                    ordinal: ordinal | Cursor::ALL,
                    ..event.id
                },
            });
        }
        self.seen.push(event.id);
        self.last = Some(event.clone());
    }

    /// What an event must be, whatever came before.
    fn alone(&mut self, place: &Place, event: &EventRecord) {
        if event.revision != event.id.revision {
            let detail = format!("{event} says it is of revision {}", event.revision);
            self.breach(Rule::Identity, place, detail);
        }
        if event.last != event.id.is_whole() {
            let detail = format!("{event} says last: {}, its id the opposite", event.last);
            self.breach(Rule::Last, place, detail);
        }
        let of_chunk = matches!(event.subject, Subject::Chunk { .. });
        if of_chunk != (event.ordinal() > 0) {
            let detail = format!("{event} cannot be event {} of its change", event.ordinal());
            self.breach(Rule::Identity, place, detail);
        }
        if !self.asked.admits(event) {
            let detail = format!("{event} of library {} was not asked for", event.library);
            self.breach(Rule::Filter, place, detail);
        }
    }

    /// That changes are whole and their events agree.
    fn atomic(&mut self, place: &Place, event: &EventRecord) {
        let open = self.open.take();
        let ordinal = event.ordinal();
        let chunks = match (&open, self.position().or(self.after)) {
            (Some(open), _) if open.event.revision != event.revision => {
                let detail =
                    format!("expected the rest of the change of {}, got {event}", open.event);
                self.breach(Rule::Atomic, place, detail);
                chunks_of(event)
            }
            (Some(open), _) => {
                let due = open.event.ordinal() + 1;
                if ordinal != due {
                    let detail = format!("expected event {due} of the change, got {event}");
                    self.breach(Rule::Atomic, place, detail);
                }
                self.agree(place, &open.event, event);
                open.chunks
            }
            (None, position) => {
                // A reader that begins in the middle of a change gets its rest.
                let due = match position {
                    None => ordinal,
                    Some(position) if position.revision != event.revision => 0,
                    Some(position) => position.place().wrapping_add(1),
                };
                if ordinal != due {
                    let detail = format!("expected event {due} of the change, got {event}");
                    self.breach(Rule::Atomic, place, detail);
                }
                chunks_of(event)
            }
        };
        if event.last {
            if let Some(chunks) = chunks.filter(|chunks| *chunks != u64::from(ordinal)) {
                let detail =
                    format!("{event} is the last of {chunks} chunks, but number {ordinal}");
                self.breach(Rule::Last, place, detail);
            }
        } else {
            self.open = Some(Open { event: event.clone(), chunks });
        }
    }

    fn agree(&mut self, place: &Place, before: &EventRecord, event: &EventRecord) {
        let shared = |event: &EventRecord| (event.library, event.batch, event.time);
        let document = |event: &EventRecord| match &event.subject {
            Subject::Document { id, .. } | Subject::Chunk { document: id, .. } => Some(id.clone()),
            Subject::Library(_) | Subject::Batch { .. } | Subject::Other => None,
        };
        if shared(before) != shared(event) || document(before) != document(event) {
            let detail = format!("{event} is of one change with {before} and disagrees with it");
            self.breach(Rule::Identity, place, detail);
        }
    }

    /// That a batch wrote what it says, where its start and all its documents were asked for.
    fn batch(&mut self, place: &Place, event: &EventRecord) {
        let Some(batch) = event.batch.filter(|_| self.whole) else { return };
        let seen = self.batches.get(&batch).copied();
        match (event.event_type, &event.subject) {
            (EventType::BatchStarted, _) => {
                self.batches.insert(batch, 0);
            }
            (EventType::DocumentAdded | EventType::DocumentUpdated, _) => {
                self.batches.entry(batch).and_modify(|documents| *documents += 1);
            }
            (EventType::BatchCompleted, Subject::Batch { succeeded }) => {
                if let Some(seen) = seen.filter(|seen| seen != succeeded) {
                    let detail =
                        format!("{event} says {succeeded} documents were written, {seen} came");
                    self.breach(Rule::Batch, place, detail);
                }
                self.batches.remove(&batch);
            }
            _ => {}
        }
    }

    /// Closes the part of the log that is shown without a gap.
    fn covers(&mut self) {
        if let (Some(after), Some(until)) = (self.after.take(), self.position())
            && after < until
        {
            self.checked.covered.push(Covered { after, until: end(until) });
        }
    }

    fn finish(mut self) -> Checked {
        self.covers();
        self.checked
    }
}

/// A cursor at the last event of a change stands behind the whole change.
fn end(cursor: Cursor) -> Cursor {
    match cursor.is_whole() {
        true => Cursor::after(cursor.epoch, cursor.revision),
        false => cursor,
    }
}

fn chunks_of(event: &EventRecord) -> Option<u64> {
    match (event.event_type, &event.subject) {
        (
            EventType::DocumentAdded | EventType::DocumentDeleted,
            Subject::Document { num_chunks, .. },
        ) => Some(*num_chunks),
        _ => None,
    }
}
