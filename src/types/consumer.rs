//! Durable consumers: named cursors that the server keeps.

use super::clock::Timestamp;
use super::cursor::Cursor;
use super::error::{Error, Result};
use super::event::EventType;
use super::id::{ConsumerName, LibraryId, RequestId};

/// A durable consumer as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Its name, unique on the server.
    pub name: ConsumerName,
    /// Only events of this library.
    pub library: Option<LibraryId>,
    /// Only events of these types; empty: all.
    pub event_types: Vec<EventType>,
    /// Only events of which this expression is true, as the client wrote it.
    pub filter: Option<String>,
    /// Everything up to here is acknowledged.
    pub cursor: Cursor,
    /// Counts its owners: each new one, and each seek, makes the ones before stale. Zero until
    /// the first.
    pub generation: u64,
    /// What its owner calls itself; empty where it has none or the owner said nothing.
    pub owner: String,
    /// Whether it is paused: it gives nothing out and keeps its place.
    pub paused: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When anything of it changed last.
    pub updated_at: Timestamp,
    /// The request that made it.
    pub request_id: Option<RequestId>,
}

/// Longest label of an owner, in characters.
const OWNER_CHARACTERS_MAX: usize = 128;

/// Checks what an owner calls itself; `invalid-argument` naming `owner` when it is too long or has
/// control characters.
pub fn check_owner(owner: &str) -> Result<()> {
    if owner.chars().count() > OWNER_CHARACTERS_MAX || owner.chars().any(char::is_control) {
        let detail =
            format!("must be at most {OWNER_CHARACTERS_MAX} characters, no control characters");
        return Err(Error::invalid("owner", detail));
    }
    Ok(())
}
