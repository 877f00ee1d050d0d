//! The durable bytes of a change: versioned, checksummed, readable for ever.
//!
//! A record is a fixed prefix, the head and the bodies, each with a checksum of its own, so that
//! a reader of events skips texts and vectors without touching them. `docs/FORMAT.md` has the
//! layout; fixtures pin it. Does not know where records lie: that is the log's.

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use super::change::{Change, ChangeHead};
use super::clock::Timestamp;
use super::cursor::{Epoch, Revision};
use super::document::ChunkBody;

/// The record version that this release writes.
const VERSION: u8 = 1;

/// The flag of a record that is the first of its append.
const FLAG_FIRST: u8 = 1;

/// Bytes before the head: version 1, flags 1, reserved 2 (zero), head length 4, head checksum 4,
/// bodies length 4, bodies checksum 4, checksum of those twenty 4.
pub const PREFIX_BYTES: usize = 24;

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Fewer bytes than the record says it has.
    #[error("cut off")]
    Truncated,
    /// A checksum does not match.
    #[error("checksum mismatch in the {0}")]
    Checksum(&'static str),
    /// Written by a release that this one does not know.
    #[error("version {0} is not known to this release")]
    Version(u8),
    /// The checksum matches and yet the content cannot be read.
    #[error("{0}")]
    Malformed(String),
}

/// What a record's prefix tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPrefix {
    head: usize,
    bodies: usize,
    first_of_append: bool,
}

/// Where a change stands: the first fields of its head, which can be read alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Place {
    /// Of the change.
    pub epoch: Epoch,
    /// Of the change.
    pub revision: Revision,
    /// Of the change.
    pub time: Timestamp,
    /// Of the change.
    pub events_before: u64,
}

impl RecordPrefix {
    /// Reads and checks a prefix.
    pub fn read(bytes: &[u8]) -> Result<Self, CodecError> {
        let prefix: &[u8; PREFIX_BYTES] =
            bytes.first_chunk::<PREFIX_BYTES>().ok_or(CodecError::Truncated)?;
        if crc32c::crc32c(&prefix[..20]) != number(prefix, 20) {
            return Err(CodecError::Checksum("prefix"));
        }
        if prefix[0] != VERSION {
            return Err(CodecError::Version(prefix[0]));
        }
        if prefix[1] & !FLAG_FIRST != 0 || prefix[2..4] != [0, 0] {
            return Err(CodecError::Malformed("flags unknown to this release".to_owned()));
        }
        Ok(Self {
            head: number(prefix, 4) as usize,
            bodies: number(prefix, 12) as usize,
            first_of_append: prefix[1] & FLAG_FIRST != 0,
        })
    }

    /// The length of prefix and head.
    #[must_use]
    pub const fn without_bodies(self) -> usize {
        PREFIX_BYTES.saturating_add(self.head)
    }

    /// The whole record's length, prefix included. Trust it no further than the bytes go: it may
    /// say up to 8 GiB.
    #[must_use]
    pub const fn total(self) -> usize {
        self.without_bodies().saturating_add(self.bodies)
    }

    /// Whether an append began with this record: everything before it had been made durable when
    /// it was written, where the log's durability is fsync.
    #[must_use]
    pub const fn first_of_append(self) -> bool {
        self.first_of_append
    }
}

fn number(prefix: &[u8; PREFIX_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]])
}

/// Appends a change's record to `out`; leaves `out` as it was when it fails.
///
/// Errors when head or bodies are 4 GiB or more, which the limits exclude.
pub fn encode_change(change: &Change, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    let result = encode_at(start, change, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn encode_at(start: usize, change: &Change, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let texts: usize = change.bodies.iter().map(|body| body.text.len()).sum();
    let numbers: usize = change.bodies.iter().map(|body| body.vector.as_slice().len()).sum();
    // A guess from above for most changes, so that the buffer grows once.
    out.reserve(PREFIX_BYTES + 512 + texts + 4 * numbers + 8 * change.bodies.len());
    out.resize(start + PREFIX_BYTES, 0);
    extend(&change.head, out)?;
    let head_end = out.len();
    extend(&change.bodies, out)?;

    let head = &out[start + PREFIX_BYTES..head_end];
    let bodies = &out[head_end..];
    let length = |part: &[u8]| {
        u32::try_from(part.len()).map_err(|_| CodecError::Malformed("4 GiB or more".to_owned()))
    };
    let mut prefix = [0; PREFIX_BYTES];
    prefix[0] = VERSION;
    prefix[4..8].copy_from_slice(&length(head)?.to_le_bytes());
    prefix[8..12].copy_from_slice(&crc32c::crc32c(head).to_le_bytes());
    prefix[12..16].copy_from_slice(&length(bodies)?.to_le_bytes());
    prefix[16..20].copy_from_slice(&crc32c::crc32c(bodies).to_le_bytes());
    seal(&mut prefix);
    out[start..start + PREFIX_BYTES].copy_from_slice(&prefix);
    Ok(())
}

/// Marks the record at the start of `bytes` as the first of its append. Does nothing to fewer
/// bytes than a prefix has.
pub fn mark_first_of_append(bytes: &mut [u8]) {
    if let Some(prefix) = bytes.first_chunk_mut::<PREFIX_BYTES>() {
        prefix[1] |= FLAG_FIRST;
        seal(prefix);
    }
}

fn seal(prefix: &mut [u8; PREFIX_BYTES]) {
    let own = crc32c::crc32c(&prefix[..20]);
    prefix[20..].copy_from_slice(&own.to_le_bytes());
}

/// postcard's own flavour for growing buffers takes them by value and byte by byte.
struct Tail<'a>(&'a mut Vec<u8>);

impl Flavor for Tail<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

fn extend(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    postcard::serialize_with_flavor(value, Tail(out)).map_err(|error| malformed(&error))
}

fn malformed(error: &postcard::Error) -> CodecError {
    CodecError::Malformed(error.to_string())
}

/// Reads where the change at the start of `bytes` stands, and its prefix. Checks prefix and head;
/// the bodies need not be there.
pub fn decode_place(bytes: &[u8]) -> Result<(Place, RecordPrefix), CodecError> {
    let prefix = RecordPrefix::read(bytes)?;
    let head = part(bytes, PREFIX_BYTES, prefix.head, 8, "head")?;
    let (place, _rest_of_head) =
        postcard::take_from_bytes(head).map_err(|error| malformed(&error))?;
    Ok((place, prefix))
}

/// Reads the head of the record at the start of `bytes`; gives it and the record's length.
/// Checks prefix and head; the bodies need not be there.
pub fn decode_head(bytes: &[u8]) -> Result<(ChangeHead, usize), CodecError> {
    let prefix = RecordPrefix::read(bytes)?;
    let head = part(bytes, PREFIX_BYTES, prefix.head, 8, "head")?;
    Ok((decode(head)?, prefix.total()))
}

/// Reads the whole record at the start of `bytes`; gives it and its length. Checks everything.
pub fn decode_change(bytes: &[u8]) -> Result<(Change, usize), CodecError> {
    let (head, total) = decode_head(bytes)?;
    let prefix = RecordPrefix::read(bytes)?;
    let bodies = part(bytes, prefix.without_bodies(), prefix.bodies, 16, "bodies")?;
    let bodies: Vec<ChunkBody> = decode(bodies)?;
    if bodies.len() != head.kind.added_chunks().len() {
        return Err(CodecError::Malformed("bodies do not match the head".to_owned()));
    }
    Ok((Change { head, bodies }, total))
}

/// Checks prefix, head and bodies of the record at the start of `bytes` by their checksums and
/// reads where its change stands, without decoding the rest.
pub fn verify_record(bytes: &[u8]) -> Result<(Place, RecordPrefix), CodecError> {
    let (place, prefix) = decode_place(bytes)?;
    part(bytes, prefix.without_bodies(), prefix.bodies, 16, "bodies")?;
    Ok((place, prefix))
}

/// Where the change stands whose record begins here, if this is a record that begins an append.
/// Quick to say no: for searching damaged bytes.
#[must_use]
pub fn find_append(bytes: &[u8]) -> Option<Place> {
    if !bytes.starts_with(&[VERSION, FLAG_FIRST, 0, 0]) {
        return None;
    }
    decode_place(bytes).ok().map(|(place, _)| place)
}

fn part<'a>(
    bytes: &'a [u8],
    start: usize,
    length: usize,
    checksum_at: usize,
    name: &'static str,
) -> Result<&'a [u8], CodecError> {
    let prefix = bytes.first_chunk::<PREFIX_BYTES>().ok_or(CodecError::Truncated)?;
    let behind = bytes.get(start..).ok_or(CodecError::Truncated)?;
    let part = behind.get(..length).ok_or(CodecError::Truncated)?;
    if crc32c::crc32c(part) != number(prefix, checksum_at) {
        return Err(CodecError::Checksum(name));
    }
    Ok(part)
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|error| malformed(&error))?;
    if rest.is_empty() { Ok(value) } else { Err(CodecError::Malformed("bytes left over".into())) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arbitrary;
    use super::*;

    fn encoded(change: &Change) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_change(change, &mut bytes).expect("small");
        bytes
    }

    /// A record with right checksums around any head and bodies.
    fn record(head: &[u8], bodies: &[u8]) -> Vec<u8> {
        let mut prefix = [0; PREFIX_BYTES];
        prefix[0] = VERSION;
        let mut put = |at: usize, number: u32| {
            prefix[at..at + 4].copy_from_slice(&number.to_le_bytes());
        };
        put(4, u32::try_from(head.len()).expect("short"));
        put(8, crc32c::crc32c(head));
        put(12, u32::try_from(bodies.len()).expect("short"));
        put(16, crc32c::crc32c(bodies));
        seal(&mut prefix);
        [&prefix, head, bodies].concat()
    }

    proptest! {
        #[test]
        fn changes_round_trip(
            first in arbitrary::change(),
            second in arbitrary::change(),
            mark in any::<bool>(),
        ) {
            let mut bytes = encoded(&first);
            let length = bytes.len();
            encode_change(&second, &mut bytes).expect("small");
            if mark {
                mark_first_of_append(&mut bytes);
            }
            prop_assert_eq!(decode_change(&bytes), Ok((first.clone(), length)));
            prop_assert_eq!(decode_head(&bytes), Ok((first.head.clone(), length)));
            let (place, prefix) = verify_record(&bytes).expect("valid");
            let head = &first.head;
            prop_assert_eq!(place.epoch, head.epoch);
            prop_assert_eq!(place.revision, head.revision);
            prop_assert_eq!(place.time, head.time);
            prop_assert_eq!(place.events_before, head.events_before);
            prop_assert_eq!((prefix.total(), prefix.first_of_append()), (length, mark));
            prop_assert_eq!(decode_change(&bytes[length..]).map(|(change, _)| change), Ok(second));
            // A head can be read without the bodies.
            let head_bytes = &bytes[..prefix.without_bodies()];
            prop_assert_eq!(decode_head(head_bytes), Ok((first.head, length)));
        }

        #[test]
        fn any_cut_and_any_flipped_bit_is_noticed(
            change in arbitrary::change(),
            at in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let mut bytes = encoded(&change);
            let at = at.index(bytes.len());
            prop_assert!(decode_change(&bytes[..at]).is_err());
            prop_assert!(verify_record(&bytes[..at]).is_err());
            bytes[at] ^= 1 << bit;
            prop_assert!(decode_change(&bytes).is_err());
            prop_assert!(verify_record(&bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (decode_change(&bytes), decode_head(&bytes), verify_record(&bytes));
        }

        /// The checksums match, so that the decoders behind them are reached.
        #[test]
        fn arbitrary_content_never_panics(
            head in prop::collection::vec(any::<u8>(), 0..300),
            bodies in prop::collection::vec(any::<u8>(), 0..300),
            change in arbitrary::change(),
        ) {
            let _ = decode_change(&record(&head, &bodies));
            let bytes = encoded(&change);
            let prefix = RecordPrefix::read(&bytes).expect("valid");
            let _ = decode_change(&record(&bytes[PREFIX_BYTES..prefix.without_bodies()], &bodies));
        }
    }

    /// A decoder that believed such a length would abort for want of memory.
    #[test]
    fn a_claimed_length_allocates_nothing() {
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(decode::<Vec<ChunkBody>>(&huge).is_err());
        assert!(decode::<Vec<String>>(&huge).is_err());
        assert!(decode::<Vec<(u32, super::super::ChunkId)>>(&huge).is_err());
        assert!(decode::<String>(&huge).is_err());
        let mut bytes = record(&[], &[]);
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        seal(bytes.first_chunk_mut().expect("a prefix"));
        assert_eq!(decode_change(&bytes), Err(CodecError::Truncated));
    }

    #[test]
    fn another_version_and_unknown_flags_are_refused() {
        let mut bytes = record(&[], &[]);
        bytes[0] = 2;
        seal(bytes.first_chunk_mut().expect("a prefix"));
        assert_eq!(decode_head(&bytes), Err(CodecError::Version(2)));
        bytes[0] = VERSION;
        bytes[1] = 2;
        seal(bytes.first_chunk_mut().expect("a prefix"));
        assert!(matches!(decode_head(&bytes), Err(CodecError::Malformed(_))));
    }
}
