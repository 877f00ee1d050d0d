//! An export or a snapshot against the log: the state that the events give, folded from the first
//! on, is what it shows.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::compare::Log;
use super::read::ExportRecord;
use super::record::{
    DocumentRecord, EventRecord, Item, Place, Recording, Rule, Subject, Violation,
};
use crate::types::{ChunkId, Cursor, DocumentId, EventType, LibraryId, Revision};

/// A document as events made it.
#[derive(Debug)]
struct Folded<'a> {
    image: u64,
    revision: Revision,
    /// Its last event.
    id: Cursor,
    chunks: BTreeSet<ChunkId>,
    /// Where its last event stands.
    place: &'a Place,
}

/// Checks that a library's events up to the export's cursor give the export's documents.
#[must_use]
pub fn check_export(log: &Log<'_>, library: LibraryId, export: &ExportRecord) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut breach = |place: &Place, detail: String| {
        violations.push(Violation { rule: Rule::Export, place: place.clone(), detail });
    };
    if let Err(detail) = reaches(log, export.cursor) {
        breach(&export.end, detail);
        return violations;
    }
    let mut documents = BTreeMap::new();
    for (place, event) in log.until(export.cursor) {
        if event.library == library {
            fold(&mut documents, place, event, &mut breach);
        }
    }
    for (place, exported) in &export.documents {
        let id = &exported.id;
        let Some(folded) = documents.remove(id) else {
            breach(place, format!("document {id} is exported, and the events do not make it"));
            continue;
        };
        let at = folded.place;
        if folded.revision != exported.revision {
            let (folded, exported) = (folded.revision, exported.revision);
            breach(
                place,
                format!("document {id} is of revision {exported}, by its event {folded} ({at})"),
            );
        } else if folded.image != exported.image {
            breach(place, format!("document {id} has other fields than in its event ({at})"));
        }
        if folded.chunks != exported.chunks.iter().copied().collect() {
            let (folded, exported) = (folded.chunks.len(), exported.chunks.len());
            let detail = format!(
                "document {id} has other chunks ({exported}) than its events give ({folded}, {at})"
            );
            breach(place, detail);
        }
    }
    for (id, folded) in documents {
        let at = folded.place;
        breach(&export.end, format!("document {id} is not exported, but its event is at {at}"));
    }
    violations
}

/// Checks that the snapshots which a recording begins with show the documents that the events up
/// to their cursors give, of one library or of all; with a filter those of which `shown` has the
/// last event.
#[must_use]
pub fn check_snapshots(
    log: &Log<'_>,
    recording: &Recording,
    library: Option<LibraryId>,
    shown: Option<&HashSet<Cursor>>,
) -> Vec<Violation> {
    let (mut violations, mut documents) = (Vec::new(), Vec::new());
    for entry in &recording.entries {
        match &entry.item {
            Item::Document(document) => documents.push((&entry.place, &**document)),
            Item::SnapshotEnd { cursor, .. } => {
                let documents = std::mem::take(&mut documents);
                let end = (&entry.place, *cursor);
                violations.extend(check_snapshot(log, &documents, end, library, shown));
            }
            Item::Connected => documents.clear(),
            Item::Event(_) | Item::Bookmark(_) | Item::Ended => {}
        }
    }
    violations
}

fn check_snapshot(
    log: &Log<'_>,
    documents: &[(&Place, &DocumentRecord)],
    (end, cursor): (&Place, Cursor),
    library: Option<LibraryId>,
    shown: Option<&HashSet<Cursor>>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut breach = |place: &Place, detail: String| {
        violations.push(Violation { rule: Rule::Snapshot, place: place.clone(), detail });
    };
    if let Err(detail) = reaches(log, cursor) {
        breach(end, detail);
        return violations;
    }
    let mut folded: BTreeMap<LibraryId, BTreeMap<DocumentId, Folded<'_>>> = BTreeMap::new();
    for (place, event) in log.until(cursor) {
        if library.is_none_or(|library| library == event.library) {
            fold(folded.entry(event.library).or_default(), place, event, &mut breach);
        }
    }
    for (place, document) in documents {
        let id = &document.id;
        let known = folded.get_mut(&document.library).and_then(|known| known.remove(id));
        match known {
            None => breach(place, format!("document {id} is here, and the events do not make it")),
            Some(known) if known.revision != document.revision => {
                let (is, at) = (document.revision, known.place);
                let by = known.revision;
                breach(
                    place,
                    format!("document {id} is of revision {is}, by its event {by} ({at})"),
                );
            }
            Some(known) if known.image != document.image => {
                let at = known.place;
                breach(place, format!("document {id} has other fields than in its event ({at})"));
            }
            Some(known) if shown.is_some_and(|shown| !shown.contains(&known.id)) => {
                breach(place, format!("document {id} does not match the filter"));
            }
            Some(_) => {}
        }
    }
    let rest = folded.into_values().flatten();
    for (id, known) in rest.filter(|(_, one)| shown.is_none_or(|shown| shown.contains(&one.id))) {
        let at = known.place;
        breach(end, format!("document {id} is not in the snapshot, but its event is at {at}"));
    }
    violations
}

/// Whether the log is known from its begin up to a cursor; in words why not.
fn reaches(log: &Log<'_>, cursor: Cursor) -> Result<(), String> {
    match log.covered().first().filter(|part| part.after.revision == Revision::ZERO) {
        None => Err("the recordings do not show the feed from its begin on".to_owned()),
        Some(part) if part.until < cursor => {
            let until = part.until;
            Err(format!("this is up to {cursor}, the recordings without a gap {until}"))
        }
        Some(_) => Ok(()),
    }
}

fn fold<'a>(
    documents: &mut BTreeMap<DocumentId, Folded<'a>>,
    place: &'a Place,
    event: &EventRecord,
    breach: &mut impl FnMut(&Place, String),
) {
    let revision = event.revision;
    match (&event.subject, event.event_type) {
        (Subject::Document { id, image, .. }, EventType::DocumentAdded) => {
            let chunks = BTreeSet::new();
            let folded = Folded { image: *image, revision, id: event.id, chunks, place };
            if documents.insert(id.clone(), folded).is_some() {
                breach(place, format!("{event} adds document {id}, which exists"));
            }
        }
        (Subject::Document { id, image, .. }, EventType::DocumentUpdated) => {
            match documents.get_mut(id) {
                Some(folded) => {
                    (folded.image, folded.revision, folded.place) = (*image, revision, place);
                    folded.id = event.id;
                }
                None => breach(place, format!("{event} updates document {id}, which is not there")),
            }
        }
        (Subject::Document { id, .. }, EventType::DocumentDeleted) => {
            let was = documents.remove(id);
            if was.is_none() {
                breach(place, format!("{event} deletes document {id}, which is not there"));
            }
        }
        (Subject::Chunk { document, id }, EventType::ChunkAdded) => {
            let new = documents.get_mut(document).map(|folded| folded.chunks.insert(*id));
            if new != Some(true) {
                breach(place, format!("{event} adds chunk {id}, which cannot be"));
            }
        }
        (Subject::Chunk { document, id }, EventType::ChunkDeleted) => {
            // With its document it is gone already.
            let was = documents.get_mut(document).map(|folded| folded.chunks.remove(id));
            if was == Some(false) {
                breach(place, format!("{event} deletes chunk {id}, which is not there"));
            }
        }
        (_, EventType::LibraryDeleted) => documents.clear(),
        _ => {}
    }
}
