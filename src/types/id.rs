//! Identifiers: what names a library, a document, a chunk, a batch, a request.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::clock;
use super::error::{Error, Result};

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh one (UUIDv7), later than all made before in text order.
            #[must_use]
            pub fn generate() -> Self {
                Self(clock::new_uuid())
            }

            /// From its 16 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Its 16 bytes, big-endian, in the order in which ids sort.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Parses the hyphenated form; `invalid-argument` naming `field` otherwise.
            pub fn parse(field: &str, text: &str) -> Result<Self> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| Error::invalid(field, format!("{text:?} is not a UUID")))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

uuid_id! {
    /// Names a library for ever; made by the server.
    LibraryId
}
uuid_id! {
    /// Names a chunk; made at the write, kept while the chunk's text and vector stay the same.
    ChunkId
}
uuid_id! {
    /// Names one ingest stream.
    BatchId
}

macro_rules! text_id {
    ($name:ident) => {
        impl $name {
            /// The text as given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// Longest document id and library name, in characters.
const NAME_CHARACTERS_MAX: usize = 128;

/// Names a document within its library: 1–128 characters of `A–Z a–z 0–9 . _ : / @ -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DocumentId(Arc<str>);
text_id!(DocumentId);

impl DocumentId {
    /// A fresh UUIDv7 as text, for a document whose client named none.
    #[must_use]
    pub fn generate() -> Self {
        Self(clock::new_uuid().hyphenated().to_string().into())
    }

    /// Checks the length and the characters; `invalid-argument` naming `id` otherwise.
    pub fn parse(text: &str) -> Result<Self> {
        plain("id", text).map(Self)
    }
}

/// Names a durable consumer: 1–128 characters of `A–Z a–z 0–9 . _ : / @ -`, unique on the server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConsumerName(Arc<str>);
text_id!(ConsumerName);

impl ConsumerName {
    /// Checks the length and the characters; `invalid-argument` naming `name` otherwise.
    pub fn parse(text: &str) -> Result<Self> {
        plain("name", text).map(Self)
    }
}

/// A text of characters that need no quoting almost anywhere.
fn plain(field: &str, text: &str) -> Result<Arc<str>> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._:/@-".contains(c);
    if text.is_empty() || text.len() > NAME_CHARACTERS_MAX || !text.chars().all(allowed) {
        let detail =
            format!("must be 1 to {NAME_CHARACTERS_MAX} characters of A–Z a–z 0–9 . _ : / @ -");
        return Err(Error::invalid(field, detail));
    }
    Ok(text.into())
}

/// A library's name: 1–128 characters, no control characters, no blank at either end, not the
/// text of a UUID (an id and a name are accepted in the same places).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LibraryName(Arc<str>);
text_id!(LibraryName);

impl LibraryName {
    /// Checks the rules above; `invalid-argument` naming `name` otherwise.
    pub fn parse(text: &str) -> Result<Self> {
        let characters = text.chars().count();
        if characters == 0 || characters > NAME_CHARACTERS_MAX {
            let detail = format!("must be 1 to {NAME_CHARACTERS_MAX} characters");
            return Err(Error::invalid("name", detail));
        }
        if text.chars().any(char::is_control) || text.trim() != text {
            let detail = "must have no control characters and no blank at either end";
            return Err(Error::invalid("name", detail));
        }
        if Uuid::try_parse(text).is_ok() {
            return Err(Error::invalid("name", "must not look like a UUID: that is an id"));
        }
        Ok(Self(text.into()))
    }
}

/// How a client points at a library: by id or by name, in the same field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LibraryRef {
    /// By id.
    Id(LibraryId),
    /// By name.
    Name(LibraryName),
}

impl FromStr for LibraryRef {
    type Err = Error;

    /// A UUID in any of its usual forms is an id, anything else a name; `invalid-argument` when
    /// it can be neither.
    fn from_str(text: &str) -> Result<Self> {
        match Uuid::try_parse(text) {
            Ok(id) => Ok(Self::Id(LibraryId(id))),
            Err(_) => LibraryName::parse(text).map(Self::Name),
        }
    }
}

impl fmt::Display for LibraryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// Makes the retry of a create safe: the same id within the remembered time gets the first
/// answer again. 1–128 printable ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(Arc<str>);
text_id!(RequestId);

impl RequestId {
    /// Checks the rules above; `invalid-argument` naming `request_id` otherwise.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty()
            || text.len() > NAME_CHARACTERS_MAX
            || !text.chars().all(|c| c.is_ascii_graphic())
        {
            let detail =
                format!("must be 1 to {NAME_CHARACTERS_MAX} printable ASCII characters, no blanks");
            return Err(Error::invalid("request_id", detail));
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_ids_keep_to_their_alphabet() {
        assert!(DocumentId::parse("a/b:c@d.e_f-0").is_ok());
        for bad in ["", "a b", "ä", "a\n", &"x".repeat(129)] {
            assert!(DocumentId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_library_reference_is_an_id_or_a_name() {
        let id = LibraryId::generate();
        assert_eq!(id.to_string().parse::<LibraryRef>(), Ok(LibraryRef::Id(id)));
        assert!(matches!("täglich neu".parse(), Ok(LibraryRef::Name(_))));
        assert!(LibraryName::parse(&id.to_string()).is_err());
        assert!("".parse::<LibraryRef>().is_err());
        assert!(" x".parse::<LibraryRef>().is_err());
    }
}
