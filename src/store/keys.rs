//! Key layouts: one pair of functions per key type. All numbers big-endian, so that keys sort as
//! what they stand for.
//!
//! ```text
//! libraries, purges  library 16
//! documents          library 16, created revision 8
//! names              library 16, document id            → created revision 8
//! texts, vectors     library 16, created revision 8, slot 4
//! requests           revision 8
//! batches            batch 16
//! ```

use super::{DocumentKey, StoreError};
use crate::types::{DocumentId, LibraryId, Revision};

/// In `meta`: the format of the whole store.
pub(super) const FORMAT: &[u8] = b"format";
/// In `meta`: how far the log has been applied.
pub(super) const APPLIED: &[u8] = b"applied";

const LIBRARY: usize = 16;
const DOCUMENT: usize = LIBRARY + 8;
const CHUNK: usize = DOCUMENT + 4;

pub(super) fn revision(revision: Revision) -> [u8; 8] {
    revision.0.to_be_bytes()
}

pub(super) fn read_u64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

pub(super) fn document(key: DocumentKey) -> [u8; DOCUMENT] {
    let mut bytes = [0; DOCUMENT];
    bytes[..LIBRARY].copy_from_slice(key.library.as_bytes());
    bytes[LIBRARY..].copy_from_slice(&revision(key.created));
    bytes
}

pub(super) fn chunk(key: DocumentKey, slot: u32) -> [u8; CHUNK] {
    let mut bytes = [0; CHUNK];
    bytes[..DOCUMENT].copy_from_slice(&document(key));
    bytes[DOCUMENT..].copy_from_slice(&slot.to_be_bytes());
    bytes
}

pub(super) fn name(library: LibraryId, id: &DocumentId) -> Vec<u8> {
    [library.as_bytes().as_slice(), id.as_str().as_bytes()].concat()
}

pub(super) fn read_library(bytes: &[u8]) -> Result<LibraryId, StoreError> {
    match bytes.try_into() {
        Ok(bytes) => Ok(LibraryId::from_bytes(bytes)),
        Err(_) => Err(wrong("library key")),
    }
}

pub(super) fn read_document(bytes: &[u8]) -> Result<DocumentKey, StoreError> {
    let split = bytes.split_first_chunk::<LIBRARY>();
    match split.and_then(|(library, rest)| Some((library, read_u64(rest)?))) {
        Some((library, created)) => {
            Ok(DocumentKey { library: LibraryId::from_bytes(*library), created: Revision(created) })
        }
        None => Err(wrong("document key")),
    }
}

pub(super) fn read_chunk(bytes: &[u8]) -> Result<(DocumentKey, u32), StoreError> {
    match bytes.split_first_chunk::<DOCUMENT>().map(|(key, slot)| (key, slot.try_into())) {
        Some((key, Ok(slot))) => Ok((read_document(key)?, u32::from_be_bytes(slot))),
        _ => Err(wrong("chunk key")),
    }
}

fn wrong(what: &'static str) -> StoreError {
    StoreError::Corrupt { what, why: "wrong length".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chunk_keys_round_trip_and_sort_by_document_then_slot(
            a in (any::<[u8; 16]>(), any::<u64>(), any::<u32>()),
            b in (any::<[u8; 16]>(), any::<u64>(), any::<u32>()),
        ) {
            let make = |(library, created, slot): ([u8; 16], u64, u32)| {
                let library = LibraryId::from_bytes(library);
                (DocumentKey { library, created: Revision(created) }, slot)
            };
            let (a, b) = (make(a), make(b));
            prop_assert_eq!(read_chunk(&chunk(a.0, a.1)).expect("own key"), a);
            prop_assert_eq!(a.cmp(&b), chunk(a.0, a.1).cmp(&chunk(b.0, b.1)));
        }

        #[test]
        fn foreign_keys_are_errors(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(read_library(&bytes).is_ok(), bytes.len() == LIBRARY);
            prop_assert_eq!(read_document(&bytes).is_ok(), bytes.len() == DOCUMENT);
            prop_assert_eq!(read_chunk(&bytes).is_ok(), bytes.len() == CHUNK);
        }
    }
}
