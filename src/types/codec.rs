//! The durable bytes of a change: versioned, checksummed, readable for ever.
//!
//! A record is a fixed prefix, the head and the bodies, each with a checksum of its own, so that
//! a reader of events skips texts and vectors without touching them. `docs/FORMAT.md` has the
//! layout; fixtures pin it. Does not know where records lie: that is the log's.

use serde::{Deserialize, Serialize};

use super::change::{Change, ChangeHead};
use super::document::ChunkBody;

/// The record version that this release writes.
const VERSION: u8 = 1;

/// Bytes before the head: version 1, reserved 3, head length 4, head checksum 4, bodies length
/// 4, bodies checksum 4, checksum of those twenty 4.
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

/// The lengths that a record's prefix tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLengths {
    head: usize,
    bodies: usize,
}

impl RecordLengths {
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
        Ok(Self { head: number(prefix, 4) as usize, bodies: number(prefix, 12) as usize })
    }

    /// The whole record's length, prefix included.
    #[must_use]
    pub const fn total(self) -> usize {
        PREFIX_BYTES + self.head + self.bodies
    }
}

fn number(prefix: &[u8; PREFIX_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]])
}

/// Appends a change's record to `out`.
///
/// Errors when head or bodies are 4 GiB or more, which the limits exclude.
pub fn encode_change(change: &Change, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
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
    let own = crc32c::crc32c(&prefix[..20]);
    prefix[20..24].copy_from_slice(&own.to_le_bytes());
    out[start..start + PREFIX_BYTES].copy_from_slice(&prefix);
    Ok(())
}

fn extend(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let taken = std::mem::take(out);
    *out = postcard::to_extend(value, taken).map_err(malformed)?;
    Ok(())
}

fn malformed(error: postcard::Error) -> CodecError {
    CodecError::Malformed(error.to_string())
}

/// Reads the head of the record at the start of `bytes`; gives it and the record's length.
/// Checks prefix and head; does not look at the bodies, but they must be there.
pub fn decode_head(bytes: &[u8]) -> Result<(ChangeHead, usize), CodecError> {
    let lengths = RecordLengths::read(bytes)?;
    let head = part(bytes, PREFIX_BYTES, lengths.head, 8, "head")?;
    if bytes.len() < lengths.total() {
        return Err(CodecError::Truncated);
    }
    Ok((decode(head)?, lengths.total()))
}

/// Reads the whole record at the start of `bytes`; gives it and its length. Checks everything.
pub fn decode_change(bytes: &[u8]) -> Result<(Change, usize), CodecError> {
    let lengths = RecordLengths::read(bytes)?;
    let (head, total) = decode_head(bytes)?;
    let bodies = part(bytes, PREFIX_BYTES + lengths.head, lengths.bodies, 16, "bodies")?;
    let bodies: Vec<ChunkBody> = decode(bodies)?;
    if bodies.len() != head.kind.added_chunks().len() {
        return Err(CodecError::Malformed("bodies do not match the head".to_owned()));
    }
    Ok((Change { head, bodies }, total))
}

/// Checks prefix, head and bodies by their checksums without decoding; gives the length.
pub fn verify_record(bytes: &[u8]) -> Result<usize, CodecError> {
    let lengths = RecordLengths::read(bytes)?;
    part(bytes, PREFIX_BYTES, lengths.head, 8, "head")?;
    part(bytes, PREFIX_BYTES + lengths.head, lengths.bodies, 16, "bodies")?;
    Ok(lengths.total())
}

fn part<'a>(
    bytes: &'a [u8],
    start: usize,
    length: usize,
    checksum_at: usize,
    name: &'static str,
) -> Result<&'a [u8], CodecError> {
    let prefix = bytes.first_chunk::<PREFIX_BYTES>().ok_or(CodecError::Truncated)?;
    let part = bytes.get(start..start + length).ok_or(CodecError::Truncated)?;
    if crc32c::crc32c(part) != number(prefix, checksum_at) {
        return Err(CodecError::Checksum(name));
    }
    Ok(part)
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(malformed)?;
    if rest.is_empty() { Ok(value) } else { Err(CodecError::Malformed("bytes left over".into())) }
}
