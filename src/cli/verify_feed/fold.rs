//! An export against the log: the state that the events give, folded from the first on, is what the
//! export shows.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::Log;
use super::read::ExportRecord;
use super::record::{EventRecord, Place, Rule, Subject, Violation};
use crate::types::{ChunkId, DocumentId, EventType, LibraryId, Revision};

/// A document as events made it.
#[derive(Debug)]
struct Folded<'a> {
    image: u64,
    revision: Revision,
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
    let begins = log.covered().first().filter(|part| part.after.revision == Revision::ZERO);
    match begins {
        None => {
            breach(&export.end, "the recordings do not show the feed from its begin on".to_owned());
            return violations;
        }
        Some(part) if part.until < export.cursor => {
            let (until, cursor) = (part.until, export.cursor);
            let detail =
                format!("the export is up to {cursor}, the recordings without a gap {until}");
            breach(&export.end, detail);
            return violations;
        }
        Some(_) => {}
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
            let folded = Folded { image: *image, revision, chunks, place };
            if documents.insert(id.clone(), folded).is_some() {
                breach(place, format!("{event} adds document {id}, which exists"));
            }
        }
        (Subject::Document { id, image, .. }, EventType::DocumentUpdated) => {
            match documents.get_mut(id) {
                Some(folded) => {
                    (folded.image, folded.revision, folded.place) = (*image, revision, place);
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
