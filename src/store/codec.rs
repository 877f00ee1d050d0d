//! Values as bytes: a version, then the content. The key-value store checksums its blocks.
//!
//! A new version gets a new arm here; old ones are read for ever.

use serde::{Deserialize, Serialize};

use super::{StoreError, StoredDocument};
use crate::types::DocumentHead;

const VERSION: u8 = 1;

pub(super) fn encode(what: &'static str, value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    postcard::to_extend(value, vec![VERSION])
        .map_err(|error| StoreError::Corrupt { what, why: error.to_string() })
}

pub(super) fn decode<'a, T: Deserialize<'a>>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<T, StoreError> {
    let (value, rest) = decode_first(what, bytes)?;
    if rest.is_empty() { Ok(value) } else { Err(corrupt(what, "bytes left over")) }
}

/// Reads the first part of a value and gives what is behind it.
fn decode_first<'a, T: Deserialize<'a>>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<(T, &'a [u8]), StoreError> {
    match bytes.split_first() {
        Some((&VERSION, content)) => {
            postcard::take_from_bytes(content).map_err(|error| corrupt(what, error.to_string()))
        }
        Some((&version, _)) => Err(StoreError::Format(u64::from(version))),
        None => Err(corrupt(what, "empty")),
    }
}

/// The head comes first, so that a reader of heads does not decode the chunks behind it.
pub(super) fn encode_document(document: &StoredDocument) -> Result<Vec<u8>, StoreError> {
    encode("document", &(&document.head, document.next_slot, &document.chunks))
}

pub(super) fn decode_document(bytes: &[u8]) -> Result<StoredDocument, StoreError> {
    let (head, next_slot, chunks) = decode("document", bytes)?;
    Ok(StoredDocument { head, next_slot, chunks })
}

pub(super) fn decode_document_head(bytes: &[u8]) -> Result<DocumentHead, StoreError> {
    decode_first("document", bytes).map(|(head, _)| head)
}

pub(super) fn encode_text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + 1);
    bytes.push(VERSION);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

pub(super) fn decode_text(bytes: &[u8]) -> Result<&str, StoreError> {
    match bytes.split_first() {
        Some((&VERSION, text)) => {
            std::str::from_utf8(text).map_err(|error| corrupt("text", error.to_string()))
        }
        Some((&version, _)) => Err(StoreError::Format(u64::from(version))),
        None => Err(corrupt("text", "empty")),
    }
}

fn corrupt(what: &'static str, why: impl Into<String>) -> StoreError {
    StoreError::Corrupt { what, why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_document(&bytes);
            let _ = decode_document_head(&bytes);
            let _ = decode_text(&bytes);
            let _ = decode::<crate::types::Library>("library", &bytes);
        }

        #[test]
        fn texts_round_trip(text in "\\PC*") {
            let bytes = encode_text(&text);
            prop_assert_eq!(decode_text(&bytes).expect("own bytes"), text);
        }
    }
}
