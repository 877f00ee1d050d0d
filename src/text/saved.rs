//! The bytes of an index on disk: hides their layout.
//!
//! A block's bytes never change; a manifest names the blocks of one state and which of their rows
//! are removed. Both have a version, the number of the rules by which words are read, and a
//! CRC-32C. Everything is little-endian; `docs/FORMAT.md` has the fields. What is read is checked
//! before it is believed: bytes that are damaged or made up give a [`Damage`], not a panic.

use std::sync::Arc;

use super::block::{Block, Filling};
use super::parts::{Part, Parts, Tombstones};
use super::words::READING;
use super::{TextIndex, TextView};
use crate::types::RowKey;

const BLOCK_MAGIC: [u8; 8] = *b"arrwtxtb";
const MANIFEST_MAGIC: [u8; 8] = *b"arrwtxtm";
const VERSION: u32 = 1;

/// Why stored bytes cannot be used: the texts must be read again.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Damage {
    /// They are not what they should be, or of a later release.
    #[error("{0}: of another kind or version")]
    Version(&'static str),
    /// Words were read by other rules.
    #[error("the words were read by other rules (number {0})")]
    Reading(u32),
    /// Bytes were changed or are missing.
    #[error("{0}: the checksum does not match")]
    Checksum(&'static str),
    /// The checksum matches and the content makes no sense.
    #[error("{0}: {1}")]
    Content(&'static str, &'static str),
    /// The manifest names a block that is not there.
    #[error("block {0} is missing")]
    Missing(u64),
}

/// A state of an index, ready to be stored.
#[derive(Debug)]
pub struct Saved {
    /// Names the blocks and their removed rows; to be stored after the blocks, and replaced as a
    /// whole.
    pub manifest: Vec<u8>,
    /// In the order of their ids.
    pub blocks: Vec<SavedBlock>,
}

/// A block of a saved state.
#[derive(Debug)]
pub struct SavedBlock {
    id: u64,
    block: Arc<Block>,
}

impl SavedBlock {
    /// Names it. A block of this id in an earlier saved state of the same index is this block and
    /// need not be stored again. After [`TextIndex::open`] ids go on behind those of the
    /// manifest, so stored blocks that it does not name must be removed then.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its bytes. Cost: a copy of it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let block = &*self.block;
        let mut bytes = Writing::begin(BLOCK_MAGIC, block.bytes());
        bytes.u64(self.id);
        for count in [block.len(), block.terms.len(), block.postings.len(), block.frequent.len()] {
            bytes.count(count);
        }
        for key in &block.keys {
            bytes.u64(key.document);
            bytes.u32(key.slot);
        }
        block.lengths.iter().for_each(|length| bytes.u32(*length));
        block.terms.iter().for_each(|term| bytes.u64(*term));
        block.starts.iter().for_each(|start| bytes.u32(*start));
        block.postings.iter().for_each(|posting| bytes.bytes(&posting.0.to_le_bytes()));
        for (place, frequency) in &block.frequent {
            bytes.u32(*place);
            bytes.u32(*frequency);
        }
        bytes.end()
    }
}

impl TextView {
    /// What to store so that [`TextIndex::open`] gives this state again; `mark` comes back with
    /// it (a revision). Cost: a few bytes a block and a bit for each row of those with removed
    /// rows; the blocks are shared, and copied only by [`SavedBlock::to_bytes`].
    #[must_use]
    pub fn to_saved(&self, mark: u64) -> Saved {
        let parts = self.parts.as_slice();
        let mut manifest = Writing::begin(MANIFEST_MAGIC, 64 * parts.len());
        manifest.u64(mark);
        manifest.count(parts.len());
        for part in parts {
            manifest.u64(part.id);
            let dead = part.tombstones.as_deref().map_or(&[][..], |dead| &dead.words);
            manifest.count(dead.len());
            dead.iter().for_each(|word| manifest.u64(*word));
        }
        let block = |part: &Part| SavedBlock { id: part.id, block: Arc::clone(&part.block) };
        Saved { manifest: manifest.end(), blocks: parts.iter().map(block).collect() }
    }
}

impl TextIndex {
    /// An index as it was saved, and the mark given then. `block` reads a stored block by its id.
    ///
    /// Cost: a pass over the bytes, and a place in a tree for each row: about a microsecond a
    /// row.
    pub fn open(
        manifest: &[u8],
        mut block: impl FnMut(u64) -> Option<Vec<u8>>,
    ) -> Result<(Self, u64), Damage> {
        let what = "text manifest";
        let mut bytes = Reading::begin(what, MANIFEST_MAGIC, manifest)?;
        let mark = bytes.u64()?;
        let mut parts: Vec<Part> = Vec::new();
        for _ in 0..bytes.u32()? {
            let id = bytes.u64()?;
            if parts.last().is_some_and(|last| last.id >= id) || id == u64::MAX {
                return Err(Damage::Content(what, "ids are out of order"));
            }
            let words = bytes.u32()? as usize;
            let words = bytes.many(words, Reading::u64)?;
            let stored = block(id).ok_or(Damage::Missing(id))?;
            let block = block_of_bytes(id, &stored)?;
            let tombstones = match words.is_empty() {
                true => None,
                false => Some(
                    Tombstones::of_words(words, block.len())
                        .ok_or(Damage::Content(what, "removed rows are not rows of their block"))?,
                ),
            };
            parts.push(Part::new(id, block, tombstones));
        }
        bytes.end()?;
        let mut index = Self::new();
        index.view = Arc::new(TextView { parts: Parts::of(parts) });
        index.locate(0);
        Ok((index, mark))
    }
}

fn block_of_bytes(id: u64, bytes: &[u8]) -> Result<Block, Damage> {
    let what = "text block";
    let wrong = |why| Damage::Content(what, why);
    let mut bytes = Reading::begin(what, BLOCK_MAGIC, bytes)?;
    if bytes.u64()? != id {
        return Err(wrong("is another one"));
    }
    let mut count = || bytes.u32().map(|count| count as usize);
    let (rows, terms, postings, frequent) = (count()?, count()?, count()?, count()?);
    let key = |bytes: &mut Reading<'_>| Ok(RowKey { document: bytes.u64()?, slot: bytes.u32()? });
    let keys = bytes.many(rows, key)?;
    let lengths = bytes.many(rows, Reading::u32)?;
    let terms = bytes.many(terms, Reading::u64)?;
    let starts = bytes.many(terms.len() + 1, Reading::u32)?;
    let postings = bytes.many(postings, Reading::u16)?;
    let frequent = bytes.many(frequent, |bytes| Ok((bytes.u32()?, bytes.u32()?)))?;
    bytes.end()?;
    if starts[0] != 0 || !terms.is_sorted_by(|one, other| one < other) {
        return Err(wrong("terms are out of order"));
    }
    let mut filling = Filling::of_rows(keys, lengths).ok_or(wrong("has too many rows"))?;
    let mut frequent = frequent.into_iter();
    for (term, range) in terms.into_iter().zip(starts.windows(2)) {
        let list = postings.get(range[0] as usize..range[1] as usize);
        for posting in list.filter(|list| !list.is_empty()).ok_or(wrong("a list is empty"))? {
            let added = filling.push_posting(*posting, || frequent.next());
            added.ok_or(wrong("a posting is out of order"))?;
        }
        filling.close(term);
    }
    if filling.num_postings() != postings.len() || frequent.next().is_some() {
        return Err(wrong("has postings without a term"));
    }
    Ok(filling.finish())
}

/// Bytes that are being written.
struct Writing(Vec<u8>);

impl Writing {
    fn begin(magic: [u8; 8], capacity: usize) -> Self {
        let mut bytes = Self(Vec::with_capacity(capacity + 64));
        bytes.bytes(&magic);
        bytes.u32(VERSION);
        bytes.u32(READING);
        bytes
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn u32(&mut self, number: u32) {
        self.bytes(&number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// A block's counts are below 2³², and so is the number of blocks.
    fn count(&mut self, items: usize) {
        self.u32(u32::try_from(items).unwrap_or(u32::MAX));
    }

    fn end(mut self) -> Vec<u8> {
        let checksum = crc32c::crc32c(&self.0);
        self.u32(checksum);
        self.0
    }
}

/// Bytes that are being read; their checksum matches.
struct Reading<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reading<'a> {
    fn begin(what: &'static str, magic: [u8; 8], bytes: &'a [u8]) -> Result<Self, Damage> {
        let (rest, checksum) = bytes.split_last_chunk::<4>().ok_or(Damage::Checksum(what))?;
        if crc32c::crc32c(rest) != u32::from_le_bytes(*checksum) {
            return Err(Damage::Checksum(what));
        }
        let mut reading = Self { what, rest };
        if reading.array()? != magic || reading.u32()? != VERSION {
            return Err(Damage::Version(what));
        }
        match reading.u32()? {
            READING => Ok(reading),
            other => Err(Damage::Reading(other)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let ends = Damage::Content(self.what, "ends too early");
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(ends)?;
        self.rest = rest;
        Ok(*array)
    }

    fn u16(&mut self) -> Result<u16, Damage> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Damage> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Damage> {
        self.array().map(u64::from_le_bytes)
    }

    /// So many items, none of them of fewer than two bytes.
    fn many<T>(
        &mut self,
        count: usize,
        item: impl Fn(&mut Self) -> Result<T, Damage>,
    ) -> Result<Vec<T>, Damage> {
        let mut items = Vec::with_capacity(count.min(self.rest.len() / 2));
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn end(&self) -> Result<(), Damage> {
        match self.rest.is_empty() {
            true => Ok(()),
            false => Err(Damage::Content(self.what, "does not end where it should")),
        }
    }
}
