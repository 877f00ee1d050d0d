//! Admission: whether a command may become a change, and which.
//!
//! Runs in the writer against the state after the last commit. Commands that touch what an
//! earlier command of the same commit touched wait for the next commit, so that state is all
//! there is to look at.

use std::collections::{HashMap, VecDeque};

use super::apply::Fold;
use super::document::{DocumentFields, PreparedChunk, PreparedDocument, PreparedPatch};
use super::state::{LibraryState, no_document};
use super::store_error;
use super::terms::{ReadTerms, Retitled};
use super::writer::Command;
use crate::store::{DocumentKey, StoreSnapshot, StoredDocument, StoredRequest};
use crate::types::{
    BatchId, ChangeKind, ChunkBody, ChunkHead, ChunkId, DocumentHead, DocumentId, Error, ErrorKind,
    Library, LibraryId, LibraryPatch, LibraryRef, Limits, NewLibrary, OnConflict, RequestId,
    Result, Revision, Timestamp, Vector,
};

/// What admission made of a command.
#[derive(Debug)]
pub(super) enum Admitted {
    /// It becomes this change.
    Change(Box<Draft>),
    /// Nothing is written: the document exists and the client said to leave it.
    Exists(Box<DocumentHead>),
    /// Nothing is written: this request was done before, at this revision.
    Remembered(Revision, StoredRequest),
}

/// A change without what the writer gives it: epoch, events before it.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) library_id: LibraryId,
    pub(super) batch_id: Option<BatchId>,
    pub(super) request_id: Option<RequestId>,
    pub(super) kind: ChangeKind,
    pub(super) bodies: Vec<ChunkBody>,
    /// What was read of its texts.
    pub(super) terms: ReadTerms,
}

/// What a command touches; two that touch the same do not share a commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Touched {
    /// Everything: libraries come and go alone.
    All,
    /// One document.
    Document(LibraryId, DocumentId),
    /// One remembered request.
    Request(RequestId),
}

impl Command {
    /// What it touches.
    pub(super) fn touches(&self) -> Vec<Touched> {
        match self {
            Self::CreateLibrary { .. }
            | Self::UpdateLibrary { .. }
            | Self::DeleteLibrary { .. }
            | Self::RecordIndex { .. }
            | Self::Tend { .. }
            | Self::Close => vec![Touched::All],
            Self::WriteDocument { library, document, request_id, .. } => {
                let id = document.fields.id.clone().map(|id| Touched::Document(*library, id));
                id.into_iter().chain(request_id.clone().map(Touched::Request)).collect()
            }
            Self::UpdateDocument { library, id, .. } | Self::DeleteDocument { library, id, .. } => {
                vec![Touched::Document(*library, id.clone())]
            }
            Self::StartBatch { .. } | Self::EndBatch { .. } => vec![],
        }
    }
}

/// Looks at the state after the last commit, at the revision and time that the change would get.
pub(super) struct Admission<'a> {
    pub(super) fold: &'a Fold,
    pub(super) limits: &'a Limits,
    pub(super) revision: Revision,
    pub(super) time: Timestamp,
}

impl Admission<'_> {
    pub(super) fn admit(&self, command: Command) -> Result<Admitted> {
        match command {
            Command::CreateLibrary { new, embedder, dimension, request_id } => {
                if let Some(done) = self.remembered(request_id.as_ref(), None)? {
                    return Ok(done);
                }
                self.create_library(*new, embedder, dimension, request_id)
            }
            Command::UpdateLibrary { library, patch, expected } => {
                self.update_library(&library, *patch, expected)
            }
            Command::DeleteLibrary { library, expected } => self.delete_library(&library, expected),
            Command::WriteDocument { library, document, on_conflict, batch_id, request_id } => {
                if let Some(done) = self.remembered(request_id.as_ref(), Some(library))? {
                    return Ok(done);
                }
                self.write_document(library, *document, on_conflict, batch_id, request_id)
            }
            Command::UpdateDocument { library, id, patch, expected } => {
                self.update_document(library, &id, *patch, expected)
            }
            Command::DeleteDocument { library, id, expected } => {
                self.delete_document(library, &id, expected)
            }
            Command::StartBatch { library, batch_id } => {
                Ok(Draft::of_batch(library, batch_id, ChangeKind::BatchStarted).admitted())
            }
            Command::EndBatch { library, batch_id, counts, failure } => {
                let kind = match failure {
                    None => ChangeKind::BatchCompleted { counts },
                    Some(reason) => ChangeKind::BatchFailed { counts, reason },
                };
                Ok(Draft::of_batch(library, batch_id, kind).admitted())
            }
            Command::RecordIndex { library, done } => {
                self.library(library)?;
                Ok(Draft::of(library, done.into()).admitted())
            }
            Command::Tend { .. } | Command::Close => {
                Err(Error::unavailable("the server is shutting down"))
            }
        }
    }

    fn snapshot(&self) -> &StoreSnapshot {
        &self.fold.state().snapshot
    }

    fn library(&self, id: LibraryId) -> Result<&LibraryState> {
        self.fold.state().library(&LibraryRef::Id(id)).map(|state| &**state)
    }

    /// What a request made before, if it is remembered; refused when it was another request.
    fn remembered(
        &self,
        id: Option<&RequestId>,
        document_in: Option<LibraryId>,
    ) -> Result<Option<Admitted>> {
        let Some(id) = id else { return Ok(None) };
        let Some((revision, request)) = self.fold.requests().find(id, self.time) else {
            return Ok(None);
        };
        let same = match document_in {
            Some(library) => request.document && request.library_id == library,
            None => !request.document,
        };
        if !same {
            let detail = "was used for another request within the remembered time";
            return Err(Error::invalid("request_id", detail));
        }
        Ok(Some(Admitted::Remembered(*revision, request.clone())))
    }

    fn create_library(
        &self,
        new: NewLibrary,
        embedder: crate::types::EmbedderRef,
        dimension: u32,
        request_id: Option<RequestId>,
    ) -> Result<Admitted> {
        let state = self.fold.state();
        self.check_name_is_free(&new.name)?;
        if state.libraries.len() >= self.limits.libraries_max {
            let detail =
                format!("there are {} libraries already (libraries_max)", state.libraries.len());
            return Err(Error::new(ErrorKind::ResourceExhausted, detail));
        }
        self.fold.ceiling().check()?;
        let library = Library {
            id: LibraryId::generate(),
            name: new.name,
            description: new.description,
            metric: new.metric,
            dimension,
            embedder,
            index_type: new.index_type,
            metadata: new.metadata,
            created_at: self.time,
            updated_at: self.time,
            revision: self.revision,
        };
        let library_id = library.id;
        let kind = ChangeKind::LibraryCreated { library };
        Ok(Draft { request_id, ..Draft::of(library_id, kind) }.admitted())
    }

    fn check_name_is_free(&self, name: &crate::types::LibraryName) -> Result<()> {
        match self.fold.state().names.get(name) {
            None => Ok(()),
            Some(id) => {
                let detail = format!("a library named {name} exists already (id {id})");
                Err(Error::new(ErrorKind::AlreadyExists, detail))
            }
        }
    }

    fn update_library(
        &self,
        library: &LibraryRef,
        patch: LibraryPatch,
        expected: Option<Revision>,
    ) -> Result<Admitted> {
        let before = self.fold.state().library(library)?.library.clone();
        check_expected(before.revision, expected)?;
        if let Some(name) = patch.name.as_ref().filter(|name| **name != before.name) {
            self.check_name_is_free(name)?;
        }
        let old = before.clone();
        let after = Library {
            name: patch.name.unwrap_or(old.name),
            description: patch.description.unwrap_or(old.description),
            metadata: patch.metadata.unwrap_or(old.metadata),
            updated_at: self.time,
            revision: self.revision,
            ..old
        };
        Ok(Draft::of(before.id, ChangeKind::LibraryUpdated { before, after }).admitted())
    }

    fn delete_library(&self, library: &LibraryRef, expected: Option<Revision>) -> Result<Admitted> {
        let state = self.fold.state().library(library)?;
        check_expected(state.library.revision, expected)?;
        let kind = ChangeKind::LibraryDeleted {
            before: state.library.clone(),
            num_documents: state.counts.documents,
            num_chunks: state.counts.chunks,
        };
        Ok(Draft::of(state.library.id, kind).admitted())
    }

    fn write_document(
        &self,
        library_id: LibraryId,
        document: PreparedDocument,
        on_conflict: OnConflict,
        batch_id: Option<BatchId>,
        request_id: Option<RequestId>,
    ) -> Result<Admitted> {
        let library = &self.library(library_id)?.library;
        let PreparedDocument { fields, chunks } = document;
        let existing = match &fields.id {
            Some(id) => self.find(library_id, id)?,
            None => None,
        };
        let draft = match (existing, on_conflict) {
            (None, _) => self.add_document(library_id, fields, chunks),
            (Some((_, stored)), OnConflict::Skip) => {
                return Ok(Admitted::Exists(Box::new(stored.head)));
            }
            (Some((_, stored)), OnConflict::Fail) => {
                let (id, name) = (&stored.head.id, &library.name);
                let detail = format!("document {id} exists already in library {name}");
                return Err(Error::new(ErrorKind::AlreadyExists, detail));
            }
            (Some((key, stored)), OnConflict::Replace) => {
                let read = Read { title: fields.title.clone(), retitled: None };
                self.change_document(key, stored, fields, Some(chunks), read)?
            }
        };
        self.check_memory(&draft)?;
        Ok(Draft { batch_id, request_id, ..draft }.admitted())
    }

    /// Refuses to add chunks when there is no memory for them.
    fn check_memory(&self, draft: &Draft) -> Result<()> {
        if draft.bodies.is_empty() { Ok(()) } else { self.fold.ceiling().check() }
    }

    fn add_document(
        &self,
        library_id: LibraryId,
        fields: DocumentFields,
        chunks: Vec<PreparedChunk>,
    ) -> Draft {
        let mut heads = Vec::with_capacity(chunks.len());
        let mut bodies = Vec::with_capacity(chunks.len());
        let mut terms = Vec::with_capacity(chunks.len());
        for (index, chunk) in (0..).zip(chunks) {
            let id = ChunkId::generate();
            heads.push(ChunkHead { id, slot: index, index, metadata: chunk.metadata });
            bodies.push(ChunkBody { text: chunk.text, vector: chunk.vector });
            terms.push((index, chunk.terms));
        }
        let id = fields.id.clone().unwrap_or_else(DocumentId::generate);
        let document = self.head(fields, id, &heads, self.revision, self.time);
        let kind = ChangeKind::DocumentAdded { document, chunks: heads };
        Draft { bodies, terms, ..Draft::of(library_id, kind) }
    }

    fn head(
        &self,
        fields: DocumentFields,
        id: DocumentId,
        chunks: &[ChunkHead],
        created_revision: Revision,
        created_at: Timestamp,
    ) -> DocumentHead {
        DocumentHead {
            id,
            created_revision,
            title: fields.title,
            author: fields.author,
            document_type: fields.document_type,
            source_url: fields.source_url,
            tags: fields.tags,
            metadata: fields.metadata,
            num_chunks: u32::try_from(chunks.len()).unwrap_or(u32::MAX),
            created_at,
            updated_at: self.time,
            revision: self.revision,
        }
    }

    fn update_document(
        &self,
        library_id: LibraryId,
        id: &DocumentId,
        patch: PreparedPatch,
        expected: Option<Revision>,
    ) -> Result<Admitted> {
        let library = &self.library(library_id)?.library;
        let found = self.find(library_id, id)?;
        let (key, stored) = found.ok_or_else(|| no_document(library, id))?;
        check_expected(stored.head.revision, expected)?;
        let old = stored.head.clone();
        let fields = DocumentFields {
            id: Some(old.id),
            title: patch.title.unwrap_or(old.title),
            author: patch.author.unwrap_or(old.author),
            document_type: patch.document_type.unwrap_or(old.document_type),
            source_url: patch.source_url.unwrap_or(old.source_url),
            tags: patch.tags.unwrap_or(old.tags),
            metadata: patch.metadata.unwrap_or(old.metadata),
        };
        let read = Read { title: patch.read_title, retitled: patch.retitled };
        let draft = self.change_document(key, stored, fields, patch.chunks, read)?;
        self.check_memory(&draft)?;
        Ok(draft.admitted())
    }

    /// Keeps the chunks whose text and vector stay the same, with their ids.
    fn change_document(
        &self,
        key: DocumentKey,
        stored: StoredDocument,
        fields: DocumentFields,
        chunks: Option<Vec<PreparedChunk>>,
        read: Read,
    ) -> Result<Draft> {
        let StoredDocument { head: before, next_slot, chunks: old } = stored;
        let mut next = Layout { next_slot, ..Layout::default() };
        let has_content = chunks.is_some();
        match chunks {
            None => {
                next.layout = old;
                let retitled = read.retitled.filter(|of| of.created == key.created);
                next.terms = retitled.map(|retitled| retitled.terms).unwrap_or_default();
            }
            Some(chunks) => {
                let mut kept = self.contents(key, &old)?;
                for (index, chunk) in (0..).zip(chunks) {
                    next.place(index, chunk, &old, &mut kept);
                }
                let mut gone: Vec<usize> = kept.into_values().flatten().collect();
                gone.sort_unstable();
                next.removed = gone.into_iter().map(|place| old[place].clone()).collect();
            }
        }
        // Somebody may have given it another title meanwhile.
        if read.title != fields.title && has_content {
            next.terms.clear();
        }
        let (id, created) = (before.id.clone(), before.created_revision);
        let after = self.head(fields, id, &next.layout, created, before.created_at);
        let kind = ChangeKind::DocumentUpdated {
            before,
            after,
            layout: next.layout,
            next_slot: next.next_slot,
            removed: next.removed,
            added: next.added,
        };
        Ok(Draft { bodies: next.bodies, terms: next.terms, ..Draft::of(key.library, kind) })
    }

    /// What a document's chunks hold, each content with its places in index order.
    fn contents(
        &self,
        key: DocumentKey,
        chunks: &[ChunkHead],
    ) -> Result<HashMap<Content, VecDeque<usize>>> {
        let mut contents: HashMap<Content, VecDeque<usize>> = HashMap::new();
        for (place, chunk) in chunks.iter().enumerate() {
            let text = self.snapshot().text(key, chunk.slot).map_err(store_error)?;
            let vector = self.snapshot().vector(key, chunk.slot).map_err(store_error)?;
            // A chunk that the store lost is written anew.
            if let (Some(text), Some(vector)) = (text, vector) {
                contents.entry(content(&text, &vector)).or_default().push_back(place);
            }
        }
        Ok(contents)
    }

    fn delete_document(
        &self,
        library_id: LibraryId,
        id: &DocumentId,
        expected: Option<Revision>,
    ) -> Result<Admitted> {
        let library = &self.library(library_id)?.library;
        let found = self.find(library_id, id)?;
        let (_, stored) = found.ok_or_else(|| no_document(library, id))?;
        check_expected(stored.head.revision, expected)?;
        let kind = ChangeKind::DocumentDeleted { before: stored.head, removed: stored.chunks };
        Ok(Draft::of(library_id, kind).admitted())
    }

    fn find(
        &self,
        library: LibraryId,
        id: &DocumentId,
    ) -> Result<Option<(DocumentKey, StoredDocument)>> {
        let snapshot = self.snapshot();
        let Some(key) = snapshot.find(library, id).map_err(store_error)? else { return Ok(None) };
        let stored = snapshot.stored_document(key).map_err(store_error)?;
        Ok(stored.map(|stored| (key, stored)))
    }
}

/// A chunk's text and vector as something that can be looked up.
type Content = (std::sync::Arc<str>, Vec<u8>);

fn content(text: &std::sync::Arc<str>, vector: &Vector) -> Content {
    (std::sync::Arc::clone(text), vector.to_bytes())
}

/// What was read of a document's texts before it is changed.
struct Read {
    /// Under which title its new chunks were read.
    title: String,
    /// The chunks that it has.
    retitled: Option<Retitled>,
}

/// A document's chunks after an update, while they are being placed.
#[derive(Default)]
struct Layout {
    layout: Vec<ChunkHead>,
    next_slot: u32,
    removed: Vec<ChunkHead>,
    added: Vec<ChunkHead>,
    bodies: Vec<ChunkBody>,
    terms: ReadTerms,
}

impl Layout {
    fn place(
        &mut self,
        index: u32,
        chunk: PreparedChunk,
        old: &[ChunkHead],
        kept: &mut HashMap<Content, VecDeque<usize>>,
    ) {
        let same = kept.get_mut(&content(&chunk.text, &chunk.vector)).and_then(VecDeque::pop_front);
        if let Some(place) = same {
            self.terms.push((old[place].slot, chunk.terms));
            let head = ChunkHead { index, metadata: chunk.metadata, ..old[place].clone() };
            self.layout.push(head);
            return;
        }
        let slot = self.next_slot;
        self.next_slot += 1;
        let head = ChunkHead { id: ChunkId::generate(), slot, index, metadata: chunk.metadata };
        self.layout.push(head.clone());
        self.added.push(head);
        self.bodies.push(ChunkBody { text: chunk.text, vector: chunk.vector });
        self.terms.push((slot, chunk.terms));
    }
}

impl Draft {
    fn admitted(self) -> Admitted {
        Admitted::Change(Box::new(self))
    }

    fn of(library_id: LibraryId, kind: ChangeKind) -> Self {
        let (bodies, terms) = (Vec::new(), Vec::new());
        Self { library_id, batch_id: None, request_id: None, kind, bodies, terms }
    }

    fn of_batch(library_id: LibraryId, batch_id: BatchId, kind: ChangeKind) -> Self {
        Self { batch_id: Some(batch_id), ..Self::of(library_id, kind) }
    }
}

fn check_expected(is: Revision, expected: Option<Revision>) -> Result<()> {
    match expected {
        Some(expected) if expected != is => {
            let detail = format!("its revision is {is}, not {expected}: read it again");
            Err(Error::new(ErrorKind::Conflict, detail))
        }
        _ => Ok(()),
    }
}
