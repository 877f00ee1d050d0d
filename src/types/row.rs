//! The key of a row in the indexes of a library.

/// Where a row of an index belongs: a document's key and the chunk's slot in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// The document's key: the revision that created it.
    pub document: u64,
    /// The chunk's slot in its document.
    pub slot: u32,
}
