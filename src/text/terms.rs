//! What an index keeps of a text, before it has it: hides how terms are counted.

use super::words::read;

/// How often a word of the title counts in each chunk of its document.
const TITLE_WEIGHT: u32 = 1;

/// What the index keeps of a row: which terms, how often.
///
/// Made where there is time (on the way to the writer), for the writer to take as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowTerms {
    /// In ascending order, each once, with how often.
    pub(super) terms: Box<[(u64, u32)]>,
    /// Terms, repetitions included.
    pub(super) length: u32,
}

impl RowTerms {
    /// Reads a chunk: its document's title and its text.
    ///
    /// CPU-bound: some 10 µs for 100 words.
    #[must_use]
    pub fn of_chunk(title: &str, text: &str) -> Self {
        let mut found: Vec<u64> = Vec::with_capacity((title.len() + text.len()) / 4);
        let mut add =
            |term, _: &str| found.extend(std::iter::repeat_n(term, TITLE_WEIGHT as usize));
        read(title, &mut add);
        read(text, |term, _| found.push(term));
        found.sort_unstable();
        let terms = found.chunk_by(u64::eq).map(|equal| (equal[0], count(equal.len())));
        Self { terms: terms.collect(), length: count(found.len()) }
    }

    /// Whether it has no term: no search finds such a row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.terms)
    }
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

/// The terms of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryTerms(pub(super) Box<[QueryTerm]>);

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct QueryTerm {
    pub(super) term: u64,
    /// How often the query says it.
    pub(super) count: u32,
    /// The first word that it stood for: folded, but not cut.
    pub(super) word: Box<str>,
}

impl QueryTerms {
    /// Reads a query, and leaves out what is behind its first `terms_max` different terms
    /// (`limits.query_terms_max`).
    ///
    /// CPU-bound: some 10 µs for 100 words.
    #[must_use]
    pub fn of(text: &str, terms_max: usize) -> Self {
        let mut terms: Vec<QueryTerm> = Vec::new();
        let mut places = std::collections::HashMap::new();
        read(text, |term, word| {
            if let Some(place) = places.get(&term) {
                let known: &mut QueryTerm = &mut terms[*place];
                known.count = known.count.saturating_add(1);
            } else if terms.len() < terms_max {
                places.insert(term, terms.len());
                terms.push(QueryTerm { term, count: 1, word: word.into() });
            }
        });
        Self(terms.into())
    }

    /// Whether there is none: nothing can be found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_its_terms() {
        let row = RowTerms::of_chunk("Dogs", "a dog and another dog's cat");
        assert_eq!(row.length, 7);
        let dog = QueryTerms::of("DOG", 8).0[0].term;
        assert!(row.terms.contains(&(dog, 2 + TITLE_WEIGHT)));
        assert!(row.terms.is_sorted());
        assert!(RowTerms::of_chunk("", " -- ").is_empty());
    }

    #[test]
    fn a_query_counts_and_ends_where_it_must() {
        let query = QueryTerms::of("dog cat dogs bird cat", 2);
        let said: Vec<_> = query.0.iter().map(|term| (&*term.word, term.count)).collect();
        assert_eq!(said, [("dog", 2), ("cat", 2)]);
        assert!(QueryTerms::of("?", 2).is_empty());
    }
}
