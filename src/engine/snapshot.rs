//! The documents that a subscription may begin with: one consistent state, read page by page,
//! from which its events go on without a gap or a double.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Engine;
use super::changes::EventsRequest;
use super::run::{EVENT_BYTES, document_bytes};
use super::select::EventFilter;
use super::state::Published;
use super::subscription::Subscription;
use crate::store::{DocumentParts, StoreError};
use crate::types::filter::FieldsOf;
use crate::types::{
    Cursor, DocumentHead, Error, EventType, LibraryId, LibraryRef, Result, Revision, StartAt,
};

/// Documents read at once, in bytes of metadata and texts about them.
const PAGE_BYTES: usize = 64 << 10;
/// Documents looked at at once.
const PAGE_DOCUMENTS: usize = 512;

/// A document as it is in the snapshot, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotDocument {
    /// Its library.
    pub library_id: LibraryId,
    /// The document.
    pub document: DocumentHead,
}

/// Documents of one state that pass a subscription's filter. Holds that state; drop it to free it.
#[derive(Debug)]
pub struct Snapshot {
    state: Arc<Published>,
    filter: EventFilter,
    /// Those that are not read to their end.
    libraries: VecDeque<LibraryId>,
    /// The last document looked at in the first of them.
    after: Revision,
    cursor: Cursor,
    total_documents: u64,
}

impl Snapshot {
    /// The subscription goes on behind this.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// How many documents were given so far.
    #[must_use]
    pub fn total_documents(&self) -> u64 {
        self.total_documents
    }

    /// The next documents, library by library in the order of their creation, some 64 KiB at a
    /// time; `None` behind the last. Dropping the future loses nothing: the page is read again.
    pub async fn next(&mut self) -> Result<Option<Vec<SnapshotDocument>>> {
        while let Some(library) = self.libraries.front().copied() {
            let (state, filter, after) = (Arc::clone(&self.state), self.filter.clone(), self.after);
            let page = Engine::blocking(move || page(&state, library, after, &filter)).await?;
            match page.last {
                Some(last) => self.after = last,
                None => {
                    self.libraries.pop_front();
                    self.after = Revision::ZERO;
                }
            }
            if !page.documents.is_empty() {
                self.total_documents += page.documents.len() as u64;
                return Ok(Some(page.documents));
            }
        }
        Ok(None)
    }
}

struct Page {
    documents: Vec<SnapshotDocument>,
    /// The last document looked at; `None` at the library's end.
    last: Option<Revision>,
}

fn page(
    state: &Published,
    library_id: LibraryId,
    after: Revision,
    filter: &EventFilter,
) -> Result<Page, StoreError> {
    let (mut documents, mut last, mut bytes) = (Vec::new(), None, 0);
    let scan = state.snapshot.documents(library_id, after, DocumentParts::default());
    for document in scan.take(PAGE_DOCUMENTS) {
        let document = document?.head;
        last = Some(document.created_revision);
        if passes(filter, library_id, &document) {
            bytes += EVENT_BYTES + document_bytes(&document);
            documents.push(SnapshotDocument { library_id, document });
        }
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(Page { documents, last })
}

/// Whether a reader would be told of this document if it were added as it is.
fn passes(filter: &EventFilter, library_id: LibraryId, document: &DocumentHead) -> bool {
    filter.expression.as_ref().is_none_or(|expression| {
        let own = FieldsOf::event(EventType::DocumentAdded, library_id, None);
        expression.matches(&own.with_document(document))
    })
}

impl Engine {
    /// Begins a subscription with the documents that are there now: those of the library, or of
    /// all, of which the filter is true as if each were added as it is; whatever event types are
    /// asked for. The subscription behind it gives what came after, without a heartbeat first.
    ///
    /// As [`Engine::subscribe`]; besides `not-found` for a library that is not there, and
    /// `invalid-argument` for a start other than now.
    pub async fn subscribe_with_snapshot(
        &self,
        request: EventsRequest,
    ) -> Result<(Snapshot, Subscription)> {
        if request.start != StartAt::Now {
            return Err(Error::invalid("cursor", "a snapshot begins now: leave the cursor out"));
        }
        let state = self.inner.published.load_full();
        // From here on by its id: the name may be another library's in a moment.
        let library = match &request.library {
            Some(library) => Some(state.library(library)?.library.id),
            None => None,
        };
        let mut libraries: Vec<_> =
            library.map_or_else(|| state.libraries.keys().copied().collect(), |id| vec![id]);
        libraries.sort_unstable();
        let revision = state.applied.revision;
        // Reads see a commit a little before the feed does.
        let mut tail = self.inner.tail.clone();
        let reached = tail.wait_for(|tail| *tail >= revision).await;
        reached.map_err(|_| Error::unavailable("the server is shutting down"))?;
        let cursor = self.cursor_after(revision).await?;
        let (library, start) = (library.map(LibraryRef::Id), StartAt::Cursor(cursor));
        let request = EventsRequest { library, start, ..request };
        let subscription = self.subscribe(request).await?.without_first_heartbeat();
        let snapshot = Snapshot {
            state,
            filter: subscription.filter().clone(),
            libraries: libraries.into(),
            after: Revision::ZERO,
            cursor,
            total_documents: 0,
        };
        Ok((snapshot, subscription))
    }
}
