//! Which events a reader sees: by library, by type, by expression.

use std::sync::Arc;

use crate::types::filter::{EventFields, FieldsOf, Name};
use crate::types::{
    ChangeHead, Cursor, DocumentHead, Event, EventPayload, EventType, Filter, LibraryId, Match,
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

    /// The events of a change behind `after`, in order, each judged when it is asked for.
    pub(super) fn judge<'a>(
        &self,
        head: &'a ChangeHead,
        after: Cursor,
    ) -> impl Iterator<Item = Judged<'a>> {
        let mut kept = None;
        head.events_after(after).map(move |event| {
            let mut work = 0;
            let passed = self.pass(event, &mut kept, &mut work);
            Judged { id: event.id, passed, work }
        })
    }

    /// `kept` is what the events of one change have in common; evaluations add to `work`.
    fn pass<'a>(
        &self,
        event: Event<'a>,
        kept: &mut Option<Kept<'a>>,
        work: &mut usize,
    ) -> Option<Event<'a>> {
        let named = self.library.is_none_or(|id| id == event.library_id)
            && self.types & event.event_type.bit() != 0;
        if !named {
            return None;
        }
        let Some(expression) = &self.expression else { return Some(event) };
        let matched = match event.payload {
            EventPayload::Chunk { document, chunk } => {
                let known = kept.take().filter(|kept| kept.is_of(&event, document));
                if let Some(Kept { matched, .. }) = known
                    && !reads_chunk(expression)
                {
                    *kept = known;
                    return Some(Event { matched: Some(matched?), ..event });
                }
                *work +=
                    evaluation(document.metadata.as_json().len() + chunk.metadata.as_json().len());
                let fields = known.map_or_else(|| Kept::fields(&event, document), |k| k.fields);
                let image = fields.with_chunk(chunk, None);
                let fields = EventFields { image, before: None };
                let matched = expression.match_fields(&fields);
                let (event_type, fields) = (event.event_type, fields.image);
                *kept = Some(Kept { event_type, document, fields, matched });
                matched
            }
            EventPayload::Document { document, before } => {
                let before = before.map_or(0, |before| before.metadata.as_json().len());
                *work += evaluation(document.metadata.as_json().len() + before);
                expression.match_event(&event)
            }
            EventPayload::Library { .. }
            | EventPayload::LibraryDeleted { .. }
            | EventPayload::BatchStarted
            | EventPayload::BatchEnded { .. }
            | EventPayload::IndexRebuilt { .. }
            | EventPayload::IndexOptimized { .. } => {
                *work += evaluation(0);
                expression.match_event(&event)
            }
        };
        Some(Event { matched: Some(matched?), ..event })
    }
}

/// An event that was looked at.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    pub(super) id: Cursor,
    /// With how it matches; `None` when it does not pass.
    pub(super) passed: Option<Event<'a>>,
    /// What that took, as [`Effort`] counts.
    pub(super) work: usize,
}

/// What evaluating an expression costs beside the metadata that it looks at, in bytes of those.
const EVALUATION_BYTES: usize = 1 << 10;
/// What is evaluated in one go before others have their turn: a millisecond or less.
const EFFORT_BYTES_MAX: usize = 256 << 10;

fn evaluation(bytes: usize) -> usize {
    EVALUATION_BYTES + bytes
}

fn reads_chunk(expression: &Filter) -> bool {
    [Name::ChunkIndex, Name::ChunkText, Name::ChunkMetadata].iter().any(|n| expression.reads(*n))
}

/// What was evaluated in one go.
#[derive(Debug, Default)]
pub(super) struct Effort {
    bytes: usize,
}

impl Effort {
    pub(super) fn add(&mut self, judged: &Judged<'_>) {
        self.bytes += judged.work;
    }

    /// Whether it is the others' turn.
    pub(super) fn is_spent(&self) -> bool {
        self.bytes >= EFFORT_BYTES_MAX
    }
}

/// The fields that the chunk events of one document share: its metadata is parsed once for all
/// of them.
struct Kept<'a> {
    event_type: EventType,
    document: &'a DocumentHead,
    fields: FieldsOf<'a>,
    /// Of the last of them; of all where the expression does not look at chunks.
    matched: Option<Match>,
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

/// The events of one change that pass the filter, as far as it was judged.
#[derive(Debug, Clone)]
pub struct Selected {
    head: Arc<ChangeHead>,
    /// By ordinal, in order.
    passed: Vec<(u32, Option<Match>)>,
}

/// Where judging a change stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// At its end.
    End,
    /// Before one more event that passes than are wanted.
    Full,
    /// Somewhere in it: others have their turn.
    Spent,
}

impl Selected {
    /// Of a change of which nothing was judged yet.
    pub(super) fn new(head: &Arc<ChangeHead>) -> Self {
        Self { head: Arc::clone(head), passed: Vec::new() }
    }

    /// Judges the events behind `position`, and moves it over them, until more than `most` pass
    /// or the effort is spent.
    pub(super) fn judge(
        &mut self,
        filter: &EventFilter,
        position: &mut Cursor,
        most: usize,
        effort: &mut Effort,
    ) -> Stop {
        for judged in filter.judge(&self.head, *position) {
            if effort.is_spent() {
                return Stop::Spent;
            }
            effort.add(&judged);
            if let Some(event) = &judged.passed {
                if self.passed.len() >= most {
                    return Stop::Full;
                }
                self.passed.push((event.id.place(), event.matched));
            }
            *position = judged.id;
        }
        *position = Cursor::after(self.head.epoch, self.head.revision);
        Stop::End
    }

    pub(super) fn num_events(&self) -> usize {
        self.passed.len()
    }

    /// The events that pass, in order; at least one.
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        let event = |(ordinal, matched): &(u32, Option<Match>)| Event {
            matched: *matched,
            ..self.head.event(*ordinal)
        };
        self.passed.iter().map(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{added, heads};
    use crate::types::{Epoch, FilterScope, Limits, Revision};

    fn filter(text: &str) -> EventFilter {
        let filter = Filter::parse(text, FilterScope::Feed, &Limits::default()).expect("a filter");
        EventFilter { library: None, types: u16::MAX, expression: Some(Arc::new(filter)) }
    }

    fn begin() -> Cursor {
        Cursor::after(Epoch(7), Revision::ZERO)
    }

    fn evaluations(filter: &EventFilter, head: &ChangeHead) -> usize {
        filter.judge(head, begin()).filter(|judged| judged.work > 0).count()
    }

    #[test]
    fn what_looks_at_no_chunk_is_evaluated_once_for_all_chunks_of_a_document() {
        let heads = heads(vec![added("a", 1_000)]);
        let of_document = filter("document.title == \"Title of a\"");
        assert_eq!(evaluations(&of_document, &heads[0]), 2);
        assert!(of_document.judge(&heads[0], begin()).all(|judged| judged.passed.is_some()));
        let of_type = filter("event.type == \"chunk.added\"");
        assert_eq!(of_type.judge(&heads[0], begin()).filter(|j| j.passed.is_some()).count(), 1_000);
        let of_chunk = filter("document.title == \"Title of a\" && chunk.index >= 500");
        assert_eq!(evaluations(&of_chunk, &heads[0]), 1_001);
        assert_eq!(of_chunk.judge(&heads[0], begin()).filter(|j| j.passed.is_some()).count(), 500);
    }

    #[test]
    fn a_change_is_judged_in_parts_each_event_once_and_none_left_out() {
        let head = heads(vec![added("a", 1_000)]).remove(0);
        let filter = filter("chunk.index >= 300");
        let (mut selected, mut position, mut parts) = (Selected::new(&head), begin(), 0);
        loop {
            let mut effort = Effort::default();
            let before = position;
            let stop = selected.judge(&filter, &mut position, usize::MAX, &mut effort);
            let looked_at = head.events_after(before).count() - head.events_after(position).count();
            assert!(looked_at * EVALUATION_BYTES <= EFFORT_BYTES_MAX, "{looked_at} in one go");
            parts += 1;
            if stop == Stop::End {
                break;
            }
        }
        assert_eq!(parts, 4);
        let indexes: Vec<_> = selected.events().map(|event| event.id.place()).collect();
        assert_eq!(indexes, Vec::from_iter(301..=1_000));
        // A page looks no further than to the first event that it has no room for.
        let (mut page, mut position) = (Selected::new(&head), begin());
        let stop = page.judge(&filter, &mut position, 10, &mut Effort::default());
        assert_eq!((stop, page.num_events()), (Stop::Spent, 0));
        let stop = page.judge(&filter, &mut position, 10, &mut Effort::default());
        assert_eq!((stop, page.num_events(), position.ordinal), (Stop::Full, 10, 310));
    }
}
