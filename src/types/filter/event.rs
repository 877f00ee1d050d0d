//! Hides which images of a change a filter looks at.

use super::fields::FieldsOf;
use crate::types::event::{Event, EventPayload};

/// How an event matches a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Match {
    /// It is no document's update, and matches: the after-image of what was added, the
    /// before-image of what was deleted.
    Matched,
    /// An updated document matches now and did not before.
    Entered,
    /// An updated document matches now as it did before.
    Stayed,
    /// An updated document matched before and does not now.
    Left,
}

impl Match {
    /// What the event says of it; `None` where it says nothing.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Matched => None,
            Self::Entered => Some("entered"),
            Self::Stayed => Some("stayed"),
            Self::Left => Some("left"),
        }
    }

    /// From whether the image before an update, if there is one, and the image that is matched.
    pub(super) const fn of(before: Option<bool>, now: bool) -> Option<Self> {
        match (before, now) {
            (None, true) => Some(Self::Matched),
            (Some(false), true) => Some(Self::Entered),
            (Some(true), true) => Some(Self::Stayed),
            (Some(true), false) => Some(Self::Left),
            (None | Some(false), false) => None,
        }
    }
}

/// The fields of an event, made once for all filters that look at it.
#[derive(Debug, Clone)]
pub struct EventFields<'a> {
    /// With what the event shows: an addition as it is, a deletion as it was, an update as it is.
    pub image: FieldsOf<'a>,
    /// With the document as it was, of an update.
    pub before: Option<FieldsOf<'a>>,
}

impl<'a> EventFields<'a> {
    /// Of an event. Events about libraries, batches and indexes have no document and no chunk;
    /// chunk events have both, without the text.
    #[must_use]
    pub fn of(event: &Event<'a>) -> Self {
        let own = FieldsOf::event(event.event_type, event.library_id, event.batch_id);
        match event.payload {
            EventPayload::Document { document, before } => Self {
                before: before.map(|before| own.clone().with_document(before)),
                image: own.with_document(document),
            },
            EventPayload::Chunk { document, chunk } => {
                Self { image: own.with_document(document).with_chunk(chunk, None), before: None }
            }
            EventPayload::Library { .. }
            | EventPayload::LibraryDeleted { .. }
            | EventPayload::BatchStarted
            | EventPayload::BatchEnded { .. }
            | EventPayload::IndexRebuilt { .. }
            | EventPayload::IndexOptimized { .. } => Self { image: own, before: None },
        }
    }
}
