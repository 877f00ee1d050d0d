//! What filters look at, of all documents of a library at one revision: hides how it is read from
//! the store once, follows the changes, and answers which rows a filter lets through.

use std::sync::Arc;

use super::Chosen;
use super::column::{Column, Content, Source, is_field};
use crate::engine::state::{LibraryState, Published};
use crate::index::RowKey;
use crate::store::{DocumentKey, DocumentParts, StoreError, StoreSnapshot};
use crate::types::filter::{Expr, Fields, Filter, Name, Value};
use crate::types::{LibraryId, Revision};

/// Columns over all documents of a library, at one revision.
#[derive(Debug)]
pub(super) struct Table {
    /// The newest change of a document that is in it.
    revision: Revision,
    /// The documents' keys, ascending; those that are gone keep their place.
    documents: Vec<u64>,
    gone: usize,
    columns: Vec<Column>,
    /// Answers at `revision`, used last at the end.
    answers: Vec<(Arc<Filter>, Arc<Chosen>)>,
    /// Sources of the filters asked for last, used last at the end.
    recent: Vec<Source>,
}

/// Columns of one table: each costs a change some time and a document 4 bytes.
const COLUMNS_MAX: usize = 32;
/// Answers kept of one revision: each costs a bit a row.
const ANSWERS_MAX: usize = 64;
/// Documents read between two looks at the memory that they take.
const DOCUMENTS_PER_CHECK: usize = 1_024;
/// Places or values that may be out of use whatever the size.
const UNUSED_MIN: usize = 1_024;

/// The sources that filters need, each once.
pub(super) fn sources_of(filters: &[Arc<Filter>]) -> Vec<Source> {
    let mut sources = Vec::new();
    for term in filters.iter().flat_map(|filter| filter.conjuncts()) {
        add(&mut sources, Source::of_term(term));
    }
    sources
}

/// The terms of filters, each once: for filters whose fields take too much memory.
pub(super) fn terms_of(filters: &[Arc<Filter>]) -> Vec<Source> {
    let mut sources = Vec::new();
    for term in filters.iter().flat_map(|filter| filter.conjuncts()) {
        add(&mut sources, vec![Source::Term(term.clone())]);
    }
    sources
}

fn add(sources: &mut Vec<Source>, new: Vec<Source>) {
    for source in new {
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
}

impl Table {
    /// Reads all documents of a library; `None` when it would take more than `bytes_max`.
    /// CPU-bound in the number of documents, and in the length of texts where a term reads them.
    pub(super) fn read(
        snapshot: &StoreSnapshot,
        library: &LibraryState,
        sources: Vec<Source>,
        bytes_max: usize,
    ) -> Result<Option<Self>, StoreError> {
        let mut table = Self {
            revision: library.touched.last(),
            documents: Vec::new(),
            gone: 0,
            recent: sources.clone(),
            columns: sources.into_iter().map(Column::new).collect(),
            answers: Vec::new(),
        };
        let reader = Reader::of(snapshot, library.library.id, &table.columns);
        for content in reader.all() {
            let content = content?;
            content.put_into(&mut table.columns, table.documents.len());
            table.documents.push(content.head.created_revision.0);
            if table.documents.len().is_multiple_of(DOCUMENTS_PER_CHECK)
                && table.bytes() > bytes_max
            {
                return Ok(None);
            }
        }
        Ok(Some(table).filter(|table| table.bytes() <= bytes_max))
    }

    /// About how many bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        let answers: usize = self.answers.iter().map(|(_, chosen)| chosen.bytes()).sum();
        let columns: usize = self.columns.iter().map(Column::bytes).sum();
        size_of::<u64>() * self.documents.capacity() + answers + columns
    }

    /// What it should have besides `sources` when it is read again, used last first.
    pub(super) fn carried(&self, sources: &[Source]) -> Vec<Source> {
        let others = self.recent.iter().rev().filter(|source| !sources.contains(source));
        others.take(COLUMNS_MAX.saturating_sub(sources.len())).cloned().collect()
    }

    /// The answers that are known at this state, if all are.
    pub(super) fn known(
        &mut self,
        library: &LibraryState,
        filters: &[Arc<Filter>],
    ) -> Option<Vec<Arc<Chosen>>> {
        if self.revision != library.touched.last() {
            return None;
        }
        filters.iter().map(|filter| self.answer(library, filter)).collect()
    }

    fn answer(&mut self, library: &LibraryState, filter: &Filter) -> Option<Arc<Chosen>> {
        let place = self.answers.iter().rposition(|(of, _)| **of == *filter)?;
        let found = self.answers.remove(place);
        if !found.1.is_of(library) {
            return None;
        }
        let chosen = Arc::clone(&found.1);
        self.answers.push(found);
        Some(chosen)
    }

    /// The rows that each filter lets through at this state, which is not older than the table;
    /// `None` when the table cannot say and is to be read again. CPU-bound: reads what changed
    /// since, and decides each document and row in some nanoseconds.
    pub(super) fn select(
        &mut self,
        state: &Published,
        library: &LibraryState,
        filters: &[Arc<Filter>],
        bytes_max: usize,
    ) -> Result<Option<Vec<Arc<Chosen>>>, StoreError> {
        let covered = filters.iter().all(|filter| self.tests(filter).is_some());
        if !covered || !self.advance(&state.snapshot, library, bytes_max)? {
            return Ok(None);
        }
        let mut all = Vec::with_capacity(filters.len());
        for filter in filters {
            self.note_use(filter);
            if let Some(chosen) = self.answer(library, filter) {
                all.push(chosen);
                continue;
            }
            let Some(tests) = self.tests(filter) else { return Ok(None) };
            let chosen = Arc::new(self.choose(library, &tests)?);
            drop(tests);
            if self.answers.len() == ANSWERS_MAX {
                self.answers.remove(0);
            }
            self.answers.push((Arc::clone(filter), Arc::clone(&chosen)));
            all.push(chosen);
        }
        Ok(Some(all))
    }

    /// Drops answers, used longest ago first, while the table takes more than `bytes_max`.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        while !self.answers.is_empty() && self.bytes() > bytes_max {
            self.answers.remove(0);
        }
    }

    fn note_use(&mut self, filter: &Filter) {
        for term in filter.conjuncts() {
            let whole = Source::Term(term.clone());
            let has_term = self.columns.iter().any(|column| column.source == whole);
            let used = if has_term { vec![whole] } else { Source::of_term(term) };
            self.recent.retain(|source| !used.contains(source));
            self.recent.extend(used);
        }
    }

    /// Takes in what changed up to this state; whether the table is worth keeping.
    fn advance(
        &mut self,
        snapshot: &StoreSnapshot,
        library: &LibraryState,
        bytes_max: usize,
    ) -> Result<bool, StoreError> {
        let now = library.touched.last();
        if now == self.revision {
            return Ok(true);
        }
        let Some(touched) = library.touched.after(self.revision) else { return Ok(false) };
        let reader = Reader::of(snapshot, library.library.id, &self.columns);
        for key in touched {
            let place = self.documents.binary_search(&key);
            match (reader.one(key)?, place) {
                (Some(content), Ok(place)) => content.put_into(&mut self.columns, place),
                // A new document's key is a new revision.
                (Some(content), Err(place)) if place == self.documents.len() => {
                    content.put_into(&mut self.columns, place);
                    self.documents.push(key);
                }
                (Some(_), Err(_)) => return Ok(false),
                (None, Ok(_)) => self.gone += 1,
                (None, Err(_)) => {}
            }
        }
        self.revision = now;
        self.answers.clear();
        let documents = self.documents.len();
        let values = self.columns.iter().map(Column::values).max().unwrap_or(0);
        let has_fields = self.columns.iter().any(|c| matches!(c.source, Source::Field(_)));
        Ok(self.gone <= documents / 2 + UNUSED_MIN
            && values <= documents * 2 + UNUSED_MIN
            && (!has_fields || self.bytes() <= bytes_max))
    }

    /// How to decide the terms of a filter; `None` where a column lacks.
    fn tests<'t>(&'t self, filter: &'t Filter) -> Option<Vec<Test<'t>>> {
        filter.conjuncts().iter().map(|term| self.test(term)).collect()
    }

    fn test<'t>(&'t self, term: &'t Expr) -> Option<Test<'t>> {
        let column = |source: &Source| self.columns.iter().find(|column| column.source == *source);
        if let Some(column) = column(&Source::Term(term.clone())) {
            return Some(Test { term, columns: vec![column] });
        }
        let columns = Source::of_term(term).iter().map(column).collect::<Option<Vec<_>>>()?;
        Some(Test { term, columns })
    }

    fn choose(&self, library: &LibraryState, tests: &[Test<'_>]) -> Result<Chosen, StoreError> {
        let (of_chunks, of_documents): (Vec<_>, Vec<_>) =
            tests.iter().partition(|test| test.columns.iter().any(|c| c.is_of_chunks()));
        let mut wanted = vec![true; self.documents.len()];
        for test in of_documents {
            test.keep_documents(&mut wanted);
        }
        let of_chunks: Vec<Decided<'_>> = of_chunks.into_iter().map(Decided::of).collect();
        let mut places = Places { documents: &self.documents, last: 0 };
        let mut strayed = false;
        let mut is_wanted = |RowKey { document, slot }| {
            let Some(place) = places.find(document) else {
                strayed = true;
                return false;
            };
            wanted[place] && of_chunks.iter().all(|test| test.is_true(place, slot))
        };
        let rows = library.view.select(&mut is_wanted);
        let texts = library.text.select(&mut is_wanted);
        if strayed {
            let why = "the index has a document that the store lacks".to_owned();
            return Err(StoreError::Corrupt { what: "filter", why });
        }
        Ok(Chosen { rows, texts })
    }
}

/// Finds documents by key, fastest where they are asked for in their order.
struct Places<'a> {
    documents: &'a [u64],
    last: usize,
}

impl Places<'_> {
    fn find(&mut self, document: u64) -> Option<usize> {
        for place in [self.last, self.last + 1] {
            if self.documents.get(place) == Some(&document) {
                self.last = place;
                return Some(place);
            }
        }
        self.last = self.documents.binary_search(&document).ok()?;
        Some(self.last)
    }
}

/// A term and the columns that decide it: its own, or those of all its fields.
struct Test<'t> {
    term: &'t Expr,
    columns: Vec<&'t Column>,
}

impl Test<'_> {
    /// Takes out the documents for which the term is not true.
    fn keep_documents(&self, wanted: &mut [bool]) {
        if let [column] = self.columns[..]
            && let Some(codes) = column.documents()
        {
            let holds = column.holds(self.term);
            for (wanted, code) in wanted.iter_mut().zip(codes) {
                *wanted &= holds.get(*code as usize).is_some_and(|holds| *holds);
            }
            return;
        }
        for (place, wanted) in wanted.iter_mut().enumerate() {
            *wanted = *wanted && self.holds(place, 0);
        }
    }

    fn holds(&self, place: usize, slot: u32) -> bool {
        self.term.holds(&Row { columns: &self.columns, place, slot })
    }
}

/// A term about chunks, decided by value where it looks at one column only.
enum Decided<'t> {
    ByValue(&'t Column, Vec<bool>),
    ByRow(&'t Test<'t>),
}

impl<'t> Decided<'t> {
    fn of(test: &'t Test<'t>) -> Self {
        match test.columns[..] {
            [column] => Self::ByValue(column, column.holds(test.term)),
            _ => Self::ByRow(test),
        }
    }

    fn is_true(&self, place: usize, slot: u32) -> bool {
        match self {
            Self::ByValue(column, holds) => {
                let code = column.code_of(place, slot) as usize;
                holds.get(code).is_some_and(|holds| *holds)
            }
            Self::ByRow(test) => test.holds(place, slot),
        }
    }
}

/// The fields of one chunk, from columns.
struct Row<'t> {
    columns: &'t [&'t Column],
    place: usize,
    slot: u32,
}

impl Fields for Row<'_> {
    fn value(&self, name: Name, path: &[String]) -> Option<Value<'_>> {
        let column = self.columns.iter().find(|column| is_field(&column.source, name, path))?;
        column.value(column.code_of(self.place, self.slot))
    }
}

/// Reads documents from the store, as far as some columns need them.
struct Reader<'a> {
    snapshot: &'a StoreSnapshot,
    library: LibraryId,
    chunks: bool,
    texts: bool,
}

impl<'a> Reader<'a> {
    fn of(snapshot: &'a StoreSnapshot, library: LibraryId, columns: &[Column]) -> Self {
        let chunks = columns.iter().any(Column::is_of_chunks);
        let texts = columns.iter().any(|column| column.source.reads_texts());
        Self { snapshot, library, chunks, texts }
    }

    /// In the order of their keys.
    fn all(&self) -> Box<dyn Iterator<Item = Result<Content, StoreError>> + 'a> {
        if self.chunks && !self.texts {
            return Box::new(self.snapshot.stored_documents(self.library).map(|stored| {
                let stored = stored?;
                let chunks = stored.chunks.into_iter().map(|chunk| (chunk, None)).collect();
                Ok(Content { head: stored.head, chunks })
            }));
        }
        let parts = DocumentParts { texts: self.texts, vectors: false };
        let documents = self.snapshot.documents(self.library, Revision(0), parts);
        Box::new(documents.map(|document| {
            let document = document?;
            let chunks = document.chunks.into_iter().map(|one| (one.head, Some(one.text)));
            Ok(Content { head: document.head, chunks: chunks.collect() })
        }))
    }

    fn one(&self, document: u64) -> Result<Option<Content>, StoreError> {
        let key = DocumentKey { library: self.library, created: Revision(document) };
        let Some(stored) = self.snapshot.stored_document(key)? else { return Ok(None) };
        let mut chunks = Vec::with_capacity(stored.chunks.len());
        for chunk in stored.chunks {
            let text = if self.texts { self.snapshot.text(key, chunk.slot)? } else { None };
            chunks.push((chunk, text));
        }
        Ok(Some(Content { head: stored.head, chunks }))
    }
}
