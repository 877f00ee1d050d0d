//! What a filter let through, in JSON.

use serde::Serialize;

use super::Shown;
use crate::engine::matching::{Deleted, Matching};
use crate::types::Revision;

/// What was counted.
#[derive(Serialize)]
pub(in crate::api::http) struct MatchingOut {
    num_documents: u64,
    num_chunks: u64,
    revision: Shown<Revision>,
}

impl From<&Matching> for MatchingOut {
    fn from(matching: &Matching) -> Self {
        Self {
            num_documents: matching.documents,
            num_chunks: matching.chunks,
            revision: Shown(matching.revision),
        }
    }
}

/// What was deleted.
#[derive(Serialize)]
pub(in crate::api::http) struct DeletedOut {
    num_deleted: u64,
    num_changed: u64,
    revision: Shown<Revision>,
}

impl From<&Deleted> for DeletedOut {
    fn from(deleted: &Deleted) -> Self {
        Self {
            num_deleted: deleted.documents,
            num_changed: deleted.changed,
            revision: Shown(deleted.revision),
        }
    }
}
