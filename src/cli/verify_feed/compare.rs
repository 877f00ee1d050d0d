//! Recordings against the log: against one that is taken for it, or against all that is known of
//! it from the recordings together.

use super::check::Covered;
use super::record::{Asked, EventRecord, Place, Recording, Rule, Violation};
use crate::types::Cursor;

/// What is known of the log: events in order, and the parts of it that are known whole.
#[derive(Debug, Clone)]
pub struct Log<'a> {
    events: Vec<(&'a Place, &'a EventRecord)>,
    covered: Vec<Covered>,
    /// Whether an event that is not here, within what is covered, is not in the log.
    authority: bool,
}

impl<'a> Log<'a> {
    /// What one recording of all events shows, taken for true.
    #[must_use]
    pub fn reference(recording: &'a Recording, covered: &'a [Covered]) -> Self {
        Self { authority: true, ..Self::union([(recording, covered)]) }
    }

    /// What recordings show together.
    #[must_use]
    pub fn union(recordings: impl IntoIterator<Item = (&'a Recording, &'a [Covered])>) -> Self {
        let (mut events, mut covered) = (Vec::new(), Vec::new());
        for (recording, parts) in recordings {
            events.extend(recording.events());
            covered.extend_from_slice(parts);
        }
        // Stable: of events with one id the first recording's stays.
        events.sort_by_key(|(_, event)| event.id);
        events.dedup_by_key(|(_, event)| event.id);
        Self { events, covered: merged(covered), authority: false }
    }

    /// Its events up to a cursor.
    pub(super) fn until(&self, cursor: Cursor) -> &[(&'a Place, &'a EventRecord)] {
        &self.events[..self.events.partition_point(|(_, event)| event.id <= cursor)]
    }

    /// The parts of it that are known whole.
    #[must_use]
    pub fn covered(&self) -> &[Covered] {
        &self.covered
    }

    /// How many events are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Checks that a recording has every event of the log that it was asked for, within what it
    /// covers, that it has no other, and that they say the same.
    #[must_use]
    pub fn compare(
        &self,
        recording: &Recording,
        covered: &[Covered],
        asked: Asked,
    ) -> Vec<Violation> {
        let mut own: Vec<_> = recording.events().collect();
        own.sort_by_key(|(_, event)| event.id);
        let mut violations = Vec::new();
        for (place, event) in &own {
            match self.events.binary_search_by_key(&event.id, |(_, known)| known.id) {
                Ok(at) => {
                    let (at, known) = self.events[at];
                    if known != *event {
                        let detail = format!("{event} says something else than at {at}");
                        violations.push(violation(Rule::Payload, place, detail));
                    }
                }
                Err(_) if self.authority && within(&self.covered, event.id) => {
                    let detail = format!("{event} is not in the reference");
                    violations.push(violation(Rule::Foreign, place, detail));
                }
                Err(_) => {}
            }
        }
        for part in covered {
            let from = self.events.partition_point(|(_, event)| event.id <= part.after);
            for (at, event) in self.until(part.until).get(from..).unwrap_or_default() {
                let found = own.binary_search_by_key(&event.id, |(_, own)| own.id);
                if let (Err(next), true) = (found, asked.admits(event)) {
                    let detail = format!("{event} is missing here; it is at {at}");
                    let before = next.checked_sub(1).and_then(|before| own.get(before));
                    let place = before.map(|(place, _)| (*place).clone());
                    let place = place.unwrap_or_else(|| begin(recording));
                    violations.push(violation(Rule::Complete, &place, detail));
                }
            }
        }
        violations
    }
}

fn violation(rule: Rule, place: &Place, detail: String) -> Violation {
    Violation { rule, place: place.clone(), detail }
}

fn begin(recording: &Recording) -> Place {
    let first = recording.entries.first().map(|entry| entry.place.clone());
    first.unwrap_or_else(|| Place { file: recording.name.clone(), line: 1 })
}

fn within(parts: &[Covered], id: Cursor) -> bool {
    parts.iter().any(|part| part.after < id && id <= part.until)
}

/// Parts that touch or overlap made one.
fn merged(mut parts: Vec<Covered>) -> Vec<Covered> {
    parts.sort_by_key(|part| part.after);
    let mut merged: Vec<Covered> = Vec::new();
    for part in parts {
        match merged.last_mut() {
            Some(last) if part.after <= last.until => last.until = last.until.max(part.until),
            _ => merged.push(part),
        }
    }
    merged
}
