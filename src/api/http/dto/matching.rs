//! What a filter let through, in JSON.

use serde::Serialize;
use utoipa::ToSchema;

use super::Shown;
use super::described::ShownRevision;
use crate::engine::matching::{Deleted, Matching};

/// What was counted.
#[derive(Serialize, ToSchema)]
#[schema(as = Count)]
pub(in crate::api::http) struct MatchingOut {
    /// Documents of which at least one chunk passes.
    num_documents: u64,
    /// Chunks that pass.
    num_chunks: u64,
    /// The revision that was looked at.
    revision: ShownRevision,
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
#[derive(Serialize, ToSchema)]
#[schema(as = Deleted)]
pub(in crate::api::http) struct DeletedOut {
    /// Documents that were deleted.
    num_deleted: u64,
    /// Documents that another client changed meanwhile, which are left as they are.
    num_changed: u64,
    /// Reads at this revision see all deletions.
    revision: ShownRevision,
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
