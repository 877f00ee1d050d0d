//! Which events a reader sees: by library, by type, by expression.

use std::sync::Arc;

use crate::types::filter::{EventFields, FieldsOf};
use crate::types::{
    ChangeHead, Cursor, DocumentHead, Event, EventPayload, EventType, Filter, LibraryId,
};

/// What a reader of the feed wants. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventFilter {
    /// Only of this library.
    pub(super) library: Option<LibraryId>,
    /// Only of these types, as a set of [`EventType::bit`]s.
    pub(super) types: u16,
    /// Only where this is true; says of updates how.
    pub(super) expression: Option<Arc<Filter>>,
}

impl EventFilter {
    /// Whether every event passes as it is.
    pub(super) fn is_open(&self) -> bool {
        self.library.is_none() && self.types == u16::MAX && self.expression.is_none()
    }

    /// The events of a change that pass, in order, those behind `after`.
    pub(super) fn select<'a>(
        &self,
        head: &'a ChangeHead,
        after: Cursor,
    ) -> impl Iterator<Item = Event<'a>> {
        let mut kept = None;
        let rest = head.revision == after.revision;
        let events = head.events().filter(move |event| !rest || event.id.ordinal > after.ordinal);
        events.filter_map(move |event| self.pass(event, &mut kept))
    }

    /// `kept` is what the events of one change have in common.
    fn pass<'a>(&self, event: Event<'a>, kept: &mut Option<Kept<'a>>) -> Option<Event<'a>> {
        let named = self.library.is_none_or(|id| id == event.library_id)
            && self.types & event.event_type.bit() != 0;
        if !named {
            return None;
        }
        let Some(expression) = &self.expression else { return Some(event) };
        let matched = match event.payload {
            EventPayload::Chunk { document, chunk } => {
                let known = kept.take().filter(|kept| kept.is_of(&event, document));
                let fields = known.map_or_else(|| Kept::fields(&event, document), |k| k.fields);
                let image = fields.with_chunk(chunk, None);
                let fields = EventFields { image, before: None };
                let matched = expression.match_fields(&fields);
                *kept = Some(Kept { event_type: event.event_type, document, fields: fields.image });
                matched
            }
            EventPayload::Document { .. }
            | EventPayload::Library { .. }
            | EventPayload::LibraryDeleted { .. }
            | EventPayload::BatchStarted
            | EventPayload::BatchEnded { .. }
            | EventPayload::IndexRebuilt { .. }
            | EventPayload::IndexOptimized { .. } => expression.match_event(&event),
        };
        Some(Event { matched: Some(matched?), ..event })
    }
}

/// The fields that the chunk events of one document share: its metadata is parsed once for all
/// of them.
struct Kept<'a> {
    event_type: EventType,
    document: &'a DocumentHead,
    fields: FieldsOf<'a>,
}

impl<'a> Kept<'a> {
    fn is_of(&self, event: &Event<'_>, document: &DocumentHead) -> bool {
        self.event_type == event.event_type && std::ptr::eq(self.document, document)
    }

    fn fields(event: &Event<'_>, document: &'a DocumentHead) -> FieldsOf<'a> {
        let own = FieldsOf::event(event.event_type, event.library_id, event.batch_id);
        own.with_document(document)
    }
}

/// A change of which at least one event passes the filter.
#[derive(Debug, Clone)]
pub struct Selected {
    head: Arc<ChangeHead>,
    filter: EventFilter,
    /// Events up to this one are the reader's already.
    after: Cursor,
    /// Events behind this one come in a later page.
    pub(super) until: Option<Cursor>,
}

impl Selected {
    /// Of a change, the events after `after`; `None` when none passes.
    pub(super) fn select(
        head: &Arc<ChangeHead>,
        filter: &EventFilter,
        after: Cursor,
    ) -> Option<Self> {
        let any = filter.select(head, after).next().is_some();
        any.then(|| Self { head: Arc::clone(head), filter: filter.clone(), after, until: None })
    }

    /// The events that pass, in order; at least one.
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        let until = self.until.map(|until| until.ordinal);
        let up_to = move |event: &Event<'_>| until.is_none_or(|until| event.id.ordinal <= until);
        self.filter.select(&self.head, self.after).filter(up_to)
    }
}
