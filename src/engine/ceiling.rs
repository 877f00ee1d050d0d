//! How much memory the indexes take, and what is refused when that is too much.

use std::collections::HashMap;

use crate::types::{Error, ErrorKind, LibraryId, Result};

/// The memory of all indexes, as they count it themselves, and how much it may be.
#[derive(Debug)]
pub(super) struct Ceiling {
    bytes_max: usize,
    /// Of each library.
    sizes: HashMap<LibraryId, usize>,
    /// Of all together.
    bytes: usize,
}

impl Ceiling {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, sizes: HashMap::new(), bytes: 0 }
    }

    /// What a library's index takes now; 0 when the library is gone.
    pub(super) fn set(&mut self, library: LibraryId, bytes: usize) {
        let before = match bytes {
            0 => self.sizes.remove(&library),
            bytes => self.sizes.insert(library, bytes),
        };
        self.bytes = self.bytes + bytes - before.unwrap_or(0);
    }

    /// `resource-exhausted` when the indexes take as much as they may.
    pub(super) fn check(&self) -> Result<()> {
        if self.bytes < self.bytes_max {
            return Ok(());
        }
        let mib = |bytes: usize| bytes >> 20;
        Err(Error::new(
            ErrorKind::ResourceExhausted,
            format!(
                "the indexes take {} MiB of memory of {} that they may (index_memory_bytes_max): \
                 delete documents or libraries, set index_vectors to disk, or raise the limit",
                mib(self.bytes),
                mib(self.bytes_max)
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_is_taken_off_and_what_changes_is_counted_once() {
        let [a, b] = [1, 2].map(|n| LibraryId::from_bytes([n; 16]));
        let mut ceiling = Ceiling::new(100);
        ceiling.set(a, 60);
        ceiling.set(b, 30);
        ceiling.set(a, 69);
        assert_eq!(ceiling.check(), Ok(()));
        ceiling.set(b, 31);
        let error = ceiling.check().expect_err("as much as may be");
        assert_eq!(error.kind, ErrorKind::ResourceExhausted);
        assert!(error.detail.contains("index_memory_bytes_max"), "{error}");
        ceiling.set(a, 0);
        assert_eq!(ceiling.check(), Ok(()));
        ceiling.set(a, 69);
        assert!(ceiling.check().is_err());
    }
}
