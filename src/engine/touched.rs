//! Which documents of a library were written lately: hides how the list is kept short.

use crate::types::Revision;

/// The documents that the newest changes of a library wrote or deleted. A clone shares the list
/// and is not changed by changes to this.
#[derive(Debug, Clone)]
pub(super) struct Touched {
    /// Every change of a document behind this revision is listed.
    since: Revision,
    /// Revision of the change, key of the document; oldest first.
    writes: imbl::Vector<(Revision, u64)>,
}

/// Changes listed at least, for libraries of few documents: 4 KiB.
const LISTED_MIN: u64 = 256;
/// Changes listed at most: 1 MiB.
const LISTED_MAX: u64 = 65_536;
/// Where more than a quarter of the documents changed, reading all again is about as fast.
const DOCUMENTS_PER_LISTED: u64 = 4;

impl Touched {
    /// Nothing was touched behind this revision.
    pub(super) fn since(revision: Revision) -> Self {
        Self { since: revision, writes: imbl::Vector::new() }
    }

    /// Adds a change of the document with this key. `documents`: how many the library has.
    pub(super) fn push(&mut self, revision: Revision, document: u64, documents: u64) {
        self.writes.push_back((revision, document));
        let most = (documents / DOCUMENTS_PER_LISTED).clamp(LISTED_MIN, LISTED_MAX);
        // Two at a time, so that a library that shrinks gives room back little by little.
        for _ in 0..2 {
            if self.writes.len() as u64 > most {
                self.since = self.writes.pop_front().map_or(self.since, |(revision, _)| revision);
            }
        }
    }

    /// The newest change of any document; the library's content is the same as long as this is.
    pub(super) fn last(&self) -> Revision {
        self.writes.last().map_or(self.since, |(revision, _)| *revision)
    }

    /// The keys of all documents that were touched behind `revision`, ascending; `None` when the
    /// list does not reach back to it.
    pub(super) fn after(&self, revision: Revision) -> Option<Vec<u64>> {
        if revision < self.since {
            return None;
        }
        let newer = self.writes.iter().rev().take_while(|(at, _)| *at > revision);
        let mut documents: Vec<u64> = newer.map(|(_, document)| *document).collect();
        documents.sort_unstable();
        documents.dedup();
        Some(documents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_reaches_back_as_far_as_it_says() {
        let mut touched = Touched::since(Revision(10));
        assert_eq!((touched.last(), touched.after(Revision(9))), (Revision(10), None));
        assert_eq!(touched.after(Revision(10)), Some(vec![]));
        for revision in 11..=20 {
            touched.push(Revision(revision), 30 - revision % 2, 5);
        }
        assert_eq!(touched.last(), Revision(20));
        assert_eq!(touched.after(Revision(10)), Some(vec![29, 30]));
        assert_eq!(touched.after(Revision(19)), Some(vec![30]));
        assert_eq!(touched.after(Revision(20)), Some(vec![]));
        assert_eq!(touched.after(Revision(9)), None);
    }

    #[test]
    fn the_list_is_as_short_as_the_library() {
        let mut touched = Touched::since(Revision(0));
        for revision in 1..=3_000 {
            touched.push(Revision(revision), revision, 8_000);
        }
        assert_eq!(touched.after(Revision(999)), None);
        assert_eq!(touched.after(Revision(1_000)).map(|keys| keys.len()), Some(2_000));
        for revision in 3_001..=10_000 {
            touched.push(Revision(revision), revision, 0);
        }
        assert_eq!(touched.after(Revision(9_743)), None);
        assert_eq!(touched.after(Revision(9_744)).map(|keys| keys.len()), Some(256));
    }
}
