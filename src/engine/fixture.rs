//! Changes for the tests of the feed.

use std::sync::Arc;

use crate::types::{
    ChangeHead, ChangeKind, ChunkHead, ChunkId, DocumentHead, DocumentId, Epoch, LibraryId,
    Metadata, Revision, Timestamp,
};

pub(super) fn document(id: &str, num_chunks: u32) -> DocumentHead {
    DocumentHead {
        id: DocumentId::parse(id).expect("an id"),
        created_revision: Revision(1),
        title: format!("Title of {id}"),
        author: String::new(),
        document_type: String::new(),
        source_url: String::new(),
        tags: vec![],
        metadata: Metadata::default(),
        num_chunks,
        created_at: Timestamp::from_micros(1),
        updated_at: Timestamp::from_micros(1),
        revision: Revision(1),
    }
}

pub(super) fn added(id: &str, num_chunks: u32) -> ChangeKind {
    let chunk = |index| ChunkHead {
        id: ChunkId::generate(),
        slot: index,
        index,
        metadata: Metadata::default(),
    };
    let chunks = (0..num_chunks).map(chunk).collect();
    ChangeKind::DocumentAdded { document: document(id, num_chunks), chunks }
}

/// These changes one behind the other, from revision 1 on, in a library of their own.
pub(super) fn heads(kinds: Vec<ChangeKind>) -> Vec<Arc<ChangeHead>> {
    heads_from(LibraryId::generate(), 1, 0, kinds)
}

/// The same from a revision and a number of events on.
pub(super) fn heads_from(
    library_id: LibraryId,
    first: u64,
    mut events_before: u64,
    kinds: Vec<ChangeKind>,
) -> Vec<Arc<ChangeHead>> {
    let mut heads = Vec::new();
    for (revision, kind) in (first..).zip(kinds) {
        let head = ChangeHead {
            epoch: Epoch(7),
            revision: Revision(revision),
            time: Timestamp::from_micros(revision),
            events_before,
            library_id,
            batch_id: None,
            request_id: None,
            kind,
        };
        events_before += u64::from(head.kind.num_events());
        heads.push(Arc::new(head));
    }
    heads
}
