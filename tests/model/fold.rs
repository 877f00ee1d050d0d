//! The naive fold: what the database should hold, in plain maps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use arrwdb::types::{
    BatchId, ChunkHead, ChunkId, DocumentHead, DocumentId, DocumentPatch, ErrorKind, EventType,
    Library, LibraryCounts, LibraryId, LibraryPatch, LibraryRef, Metadata, Metric, NewChunk,
    NewContent, NewDocument, NewLibrary, OnConflict, RequestId, Revision, Timestamp,
};

use crate::embedder;
use crate::ops::Atom;
use crate::told::{Payload, Told};

#[derive(Debug, Clone, PartialEq)]
pub struct ModelChunk {
    pub head: ChunkHead,
    pub text: String,
    pub vector: Vec<f32>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ModelDocument {
    pub head: DocumentHead,
    pub chunks: Vec<ModelChunk>,
    next_slot: u32,
}

#[derive(Debug, Clone)]
pub struct ModelLibrary {
    pub library: Library,
    pub documents: BTreeMap<DocumentId, ModelDocument>,
}

/// What a remembered request made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Made {
    pub revision: Revision,
    pub library: LibraryId,
    pub document: bool,
}

/// What an atom does to the state as it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It becomes a change.
    Change,
    /// The document is left, at this revision.
    Skip(Revision),
    /// It was done before.
    Remember(Made),
    Fails(ErrorKind),
}

#[derive(Default)]
pub struct Fold {
    pub libraries: BTreeMap<LibraryId, ModelLibrary>,
    pub gone: Vec<LibraryId>,
    /// Ingest streams that have begun and not ended.
    pub open_batches: BTreeSet<BatchId>,
    /// Everything that the feed has told, from the beginning.
    pub history: Vec<Told>,
    requests: VecDeque<(RequestId, Made)>,
    requests_max: usize,
    chunk_ids: BTreeSet<ChunkId>,
}

type Content = Vec<(String, Vec<f32>, Metadata)>;

impl ModelLibrary {
    pub fn counts(&self) -> LibraryCounts {
        let chunks = self.documents.values().map(|document| document.chunks.len() as u64).sum();
        LibraryCounts { documents: self.documents.len() as u64, chunks }
    }

    /// The document that this revision created.
    pub fn created_at(&self, revision: Revision) -> Option<&ModelDocument> {
        self.documents.values().find(|document| document.head.created_revision == revision)
    }

    /// What a document says, as chunks; `None` when it is refused.
    fn content(&self, content: &NewContent) -> Option<Content> {
        let NewContent::Chunks(chunks) = content else { panic!("the model sends chunks") };
        let chunk = |chunk: &NewChunk| {
            let vector = match &chunk.embedding {
                Some(vector) => vector.clone(),
                None if self.library.embedder.is_none() => return None,
                None => embedder::vector_of(&chunk.text),
            };
            let fits = vector.len() == self.library.dimension as usize;
            fits.then(|| (chunk.text.clone(), vector, chunk.metadata.clone()))
        };
        chunks.iter().map(chunk).collect()
    }
}

fn is_empty(content: &NewContent) -> bool {
    matches!(content, NewContent::Chunks(chunks) if chunks.is_empty())
}

const INVALID: Verdict = Verdict::Fails(ErrorKind::InvalidArgument);
const NOT_FOUND: Verdict = Verdict::Fails(ErrorKind::NotFound);
const CONFLICT: Verdict = Verdict::Fails(ErrorKind::Conflict);
const EXISTS: Verdict = Verdict::Fails(ErrorKind::AlreadyExists);

impl Fold {
    pub fn new(requests_max: usize) -> Self {
        Self { requests_max, ..Self::default() }
    }

    pub fn find(&self, library: &LibraryRef) -> Option<&ModelLibrary> {
        match library {
            LibraryRef::Id(id) => self.libraries.get(id),
            LibraryRef::Name(name) => self.libraries.values().find(|l| l.library.name == *name),
        }
    }

    fn find_mut(&mut self, library: &LibraryRef) -> &mut ModelLibrary {
        let id = self.find(library).expect("judged before").library.id;
        self.libraries.get_mut(&id).expect("found")
    }

    pub fn tail(&self) -> Revision {
        self.history.last().map_or(Revision::ZERO, |told| told.revision)
    }

    /// Where a reader stands that has read everything.
    pub fn num_events(&self) -> u64 {
        self.history.iter().map(|told| told.events.len() as u64).sum()
    }

    /// What an atom does to the state as it is.
    pub fn judge(&self, atom: &Atom) -> Verdict {
        match atom {
            Atom::CreateLibrary { new, request } => match self.remembered(request.as_ref(), None) {
                Some(verdict) => verdict,
                None if self.find(&LibraryRef::Name(new.name.clone())).is_some() => EXISTS,
                None => Verdict::Change,
            },
            Atom::UpdateLibrary { library, patch, expected } => {
                let Some(found) = self.find(library) else { return NOT_FOUND };
                let taken = |name| {
                    self.find(&LibraryRef::Name(name))
                        .is_some_and(|other| other.library.id != found.library.id)
                };
                match expected {
                    Some(expected) if *expected != found.library.revision => CONFLICT,
                    _ if patch.name.clone().is_some_and(taken) => EXISTS,
                    _ => Verdict::Change,
                }
            }
            Atom::DeleteLibrary { library, expected } => match (self.find(library), expected) {
                (None, _) => NOT_FOUND,
                (Some(found), Some(is)) if *is != found.library.revision => CONFLICT,
                _ => Verdict::Change,
            },
            Atom::Write { library, new, on_conflict, request } => {
                let Some(found) = self.find(library) else { return NOT_FOUND };
                if new.title.trim().is_empty()
                    || is_empty(&new.content)
                    || found.content(&new.content).is_none()
                {
                    return INVALID;
                }
                if let Some(verdict) = self.remembered(request.as_ref(), Some(found.library.id)) {
                    return verdict;
                }
                let existing = new.id.as_ref().and_then(|id| found.documents.get(id));
                match (existing, on_conflict) {
                    (None, _) | (Some(_), OnConflict::Replace) => Verdict::Change,
                    (Some(document), OnConflict::Skip) => Verdict::Skip(document.head.revision),
                    (Some(_), OnConflict::Fail) => EXISTS,
                }
            }
            Atom::Update { library, id, patch, expected } => {
                let empty = patch.content.as_ref().is_some_and(|(_, content)| is_empty(content));
                if empty || patch.title.as_ref().is_some_and(|title| title.trim().is_empty()) {
                    return INVALID;
                }
                let Some(found) = self.find(library) else { return NOT_FOUND };
                let refused = |(_, content): &(_, NewContent)| found.content(content).is_none();
                if patch.content.as_ref().is_some_and(refused) {
                    return INVALID;
                }
                judge_document(found, id, *expected)
            }
            Atom::Delete { library, id, expected } => match self.find(library) {
                None => NOT_FOUND,
                Some(found) => judge_document(found, id, *expected),
            },
        }
    }

    fn remembered(
        &self,
        request: Option<&RequestId>,
        document_in: Option<LibraryId>,
    ) -> Option<Verdict> {
        let request = request?;
        let (_, made) = self.requests.iter().find(|(id, _)| id == request)?;
        let same = match document_in {
            Some(library) => made.document && made.library == library,
            None => !made.document,
        };
        Some(if same { Verdict::Remember(*made) } else { INVALID })
    }

    /// Does what an atom that was judged [`Verdict::Change`] does, and checks that the feed told
    /// exactly that. Ids and times that the database chose are taken from there.
    pub fn apply(&mut self, atom: &Atom, told: &Told, batch: Option<BatchId>) {
        assert_eq!(self.judge(atom), Verdict::Change, "{atom:?} became {told:?}");
        assert_eq!(told.first().batch, batch, "{told:?}");
        match atom {
            Atom::CreateLibrary { new, request } => {
                let library = created(new, told);
                let id = library.id;
                self.remember(request.as_ref(), told, id, false);
                let library = ModelLibrary { library, documents: BTreeMap::new() };
                assert!(self.libraries.insert(id, library).is_none(), "{id} is used again");
            }
            Atom::UpdateLibrary { library, patch, .. } => {
                let found = self.find_mut(library);
                let before = found.library.clone();
                found.library = updated(before.clone(), patch, told);
                let library = found.library.clone();
                expect_one(told, EventType::LibraryUpdated, library.id);
                let payload = Payload::Library { library, before: Some(before) };
                assert_eq!(told.first().payload, payload);
            }
            Atom::DeleteLibrary { library, .. } => {
                let id = self.find_mut(library).library.id;
                let gone = self.libraries.remove(&id).expect("found");
                self.gone.push(id);
                expect_one(told, EventType::LibraryDeleted, id);
                let LibraryCounts { documents: num_documents, chunks: num_chunks } = gone.counts();
                let library = gone.library;
                let payload = Payload::LibraryDeleted { library, num_documents, num_chunks };
                assert_eq!(told.first().payload, payload);
            }
            Atom::Write { library, new, request, .. } => {
                let id = self.find_mut(library).library.id;
                self.remember(request.as_ref(), told, id, true);
                self.write(id, new, told);
            }
            Atom::Update { library, id, patch, .. } => {
                let found = self.find_mut(library);
                let content = patch.content.as_ref().and_then(|(_, c)| found.content(c));
                let before = &found.documents[id];
                let head = patched(before.head.clone(), patch, told);
                let library = found.library.id;
                self.change(library, head, content, told);
            }
            Atom::Delete { library, id, .. } => {
                let found = self.find_mut(library);
                let gone = found.documents.remove(id).expect("judged before");
                assert_eq!(told.first().library, found.library.id);
                assert_eq!(told.first().event_type, EventType::DocumentDeleted);
                let document = gone.head.clone();
                assert_eq!(told.first().payload, Payload::Document { document, before: None });
                let heads: Vec<_> = gone.chunks.iter().map(|c| (&gone.head, &c.head)).collect();
                assert_eq!(told.chunks(EventType::ChunkDeleted), heads);
                assert_eq!(told.events.len(), heads.len() + 1);
            }
        }
        self.history.push(told.clone());
    }

    /// A batch began.
    pub fn start_batch(&mut self, told: &Told, batch: BatchId) {
        assert_eq!(told.first().payload, Payload::BatchStarted);
        assert_eq!((told.first().batch, told.events.len()), (Some(batch), 1), "{told:?}");
        assert!(self.open_batches.insert(batch), "{batch} begins twice");
        self.history.push(told.clone());
    }

    /// A batch ended, completed or not.
    pub fn end_batch(&mut self, told: &Told, batch: BatchId) {
        assert!(matches!(told.first().payload, Payload::BatchEnded { .. }), "{told:?}");
        assert_eq!((told.first().batch, told.events.len()), (Some(batch), 1), "{told:?}");
        assert!(self.open_batches.remove(&batch), "{batch} ends without having begun");
        self.history.push(told.clone());
    }

    fn remember(
        &mut self,
        request: Option<&RequestId>,
        told: &Told,
        library: LibraryId,
        document: bool,
    ) {
        let Some(request) = request else { return };
        let made = Made { revision: told.revision, library, document };
        self.requests.push_back((request.clone(), made));
        while self.requests.len() > self.requests_max {
            self.requests.pop_front();
        }
    }

    fn write(&mut self, library: LibraryId, new: &NewDocument, told: &Told) {
        let found = &self.libraries[&library];
        let content = found.content(&new.content).expect("judged before");
        let before = new.id.as_ref().and_then(|id| found.documents.get(id));
        let Payload::Document { document, .. } = &told.first().payload else {
            panic!("{new:?} became {told:?}")
        };
        let (id, time, revision) = (document.id.clone(), told.first().time, told.revision);
        assert!(new.id.as_ref().is_none_or(|wanted| *wanted == id));
        let head = |created_revision: Revision, created_at: Timestamp| DocumentHead {
            id,
            created_revision,
            title: new.title.clone(),
            author: new.author.clone(),
            document_type: new.document_type.clone(),
            source_url: new.source_url.clone(),
            tags: new.tags.clone(),
            metadata: new.metadata.clone(),
            num_chunks: 0,
            created_at,
            updated_at: time,
            revision,
        };
        match before {
            Some(before) => {
                let head = head(before.head.created_revision, before.head.created_at);
                self.change(library, head, Some(content), told);
            }
            None => self.add(library, head(revision, time), content, told),
        }
    }

    fn add(&mut self, library: LibraryId, head: DocumentHead, content: Content, told: &Told) {
        let num_chunks = u32::try_from(content.len()).expect("few");
        let head = DocumentHead { num_chunks, ..head };
        assert_eq!(told.first().library, library);
        assert_eq!(told.first().event_type, EventType::DocumentAdded);
        let payload = Payload::Document { document: head.clone(), before: None };
        assert_eq!(told.first().payload, payload);
        let mut came = told.chunks(EventType::ChunkAdded).into_iter();
        assert_eq!((came.len(), told.events.len()), (content.len(), content.len() + 1));
        let mut chunks = Vec::new();
        for (index, (text, vector, metadata)) in (0..).zip(content) {
            let (shown, chunk) = came.next().expect("counted");
            assert_eq!(shown, &head);
            let head = ChunkHead { id: chunk.id, slot: index, index, metadata };
            assert_eq!(chunk, &head);
            assert!(self.chunk_ids.insert(chunk.id), "{} is used again", chunk.id);
            chunks.push(ModelChunk { head, text, vector });
        }
        let (id, next_slot) = (head.id.clone(), num_chunks);
        let document = ModelDocument { head, chunks, next_slot };
        let library = self.libraries.get_mut(&library).expect("judged before");
        assert!(library.documents.insert(id, document).is_none());
    }

    /// Chunks whose text and vector stay keep their id and slot, each old one once.
    fn change(
        &mut self,
        library: LibraryId,
        head: DocumentHead,
        content: Option<Content>,
        told: &Told,
    ) {
        let library = self.libraries.get_mut(&library).expect("judged before");
        let old = library.documents.remove(&head.id).expect("judged before");
        let mut came = told.chunks(EventType::ChunkAdded).into_iter();
        let mut left: Vec<Option<ModelChunk>> = old.chunks.iter().cloned().map(Some).collect();
        let mut document = ModelDocument { head, chunks: Vec::new(), next_slot: old.next_slot };
        match content {
            None => {
                document.chunks = old.chunks.clone();
                left.clear();
            }
            Some(content) => {
                document.head.num_chunks = u32::try_from(content.len()).expect("few");
                for (index, (text, vector, metadata)) in (0..).zip(content) {
                    let same = |chunk: &ModelChunk| chunk.text == text && chunk.vector == vector;
                    let same = |chunk: &Option<ModelChunk>| chunk.as_ref().is_some_and(same);
                    let kept = left.iter().position(same).and_then(|at| left[at].take());
                    let head = match kept {
                        Some(kept) => ChunkHead { index, metadata, ..kept.head },
                        None => {
                            let (shown, chunk) = came.next().expect("a chunk that came is told");
                            assert_eq!(shown, &document.head);
                            assert!(self.chunk_ids.insert(chunk.id), "{} used again", chunk.id);
                            let slot = document.next_slot;
                            document.next_slot += 1;
                            let head = ChunkHead { id: chunk.id, slot, index, metadata };
                            assert_eq!(chunk, &head);
                            head
                        }
                    };
                    document.chunks.push(ModelChunk { head, text, vector });
                }
            }
        }
        assert!(came.next().is_none(), "more chunks came than were sent: {told:?}");
        let went: Vec<_> = left.iter().flatten().map(|chunk| (&old.head, &chunk.head)).collect();
        assert_eq!(told.chunks(EventType::ChunkDeleted), went);
        // Those that went are told first.
        let first_came = told.events.iter().position(|e| e.event_type == EventType::ChunkAdded);
        assert!(first_came.is_none_or(|at| at == went.len() + 1), "{told:?}");
        assert_eq!(told.first().library, library.library.id);
        assert_eq!(told.first().event_type, EventType::DocumentUpdated);
        let payload =
            Payload::Document { document: document.head.clone(), before: Some(old.head.clone()) };
        assert_eq!(told.first().payload, payload);
        library.documents.insert(document.head.id.clone(), document);
    }
}

fn judge_document(library: &ModelLibrary, id: &DocumentId, expected: Option<Revision>) -> Verdict {
    match (library.documents.get(id), expected) {
        (None, _) => NOT_FOUND,
        (Some(document), Some(is)) if is != document.head.revision => CONFLICT,
        _ => Verdict::Change,
    }
}

fn expect_one(told: &Told, event_type: EventType, library: LibraryId) {
    assert_eq!(told.events.len(), 1, "{told:?}");
    assert_eq!((told.first().event_type, told.first().library), (event_type, library));
}

fn created(new: &NewLibrary, told: &Told) -> Library {
    let Payload::Library { library, before: None } = &told.first().payload else {
        panic!("{new:?} became {told:?}")
    };
    let expected = Library {
        id: library.id,
        name: new.name.clone(),
        description: new.description.clone(),
        metric: new.metric,
        dimension: new.dimension.unwrap_or(embedder::DIMENSION),
        embedder: embedder::reference(&new.embedder),
        index_type: new.index_type,
        metadata: new.metadata.clone(),
        created_at: told.first().time,
        updated_at: told.first().time,
        revision: told.revision,
    };
    expect_one(told, EventType::LibraryCreated, library.id);
    assert_eq!(*library, expected);
    expected
}

fn updated(before: Library, patch: &LibraryPatch, told: &Told) -> Library {
    Library {
        name: patch.name.clone().unwrap_or(before.name),
        description: patch.description.clone().unwrap_or(before.description),
        metadata: patch.metadata.clone().unwrap_or(before.metadata),
        updated_at: told.first().time,
        revision: told.revision,
        ..before
    }
}

fn patched(before: DocumentHead, patch: &DocumentPatch, told: &Told) -> DocumentHead {
    DocumentHead {
        title: patch.title.clone().unwrap_or(before.title),
        author: patch.author.clone().unwrap_or(before.author),
        document_type: patch.document_type.clone().unwrap_or(before.document_type),
        source_url: patch.source_url.clone().unwrap_or(before.source_url),
        tags: patch.tags.clone().unwrap_or(before.tags),
        metadata: patch.metadata.clone().unwrap_or(before.metadata),
        updated_at: told.first().time,
        revision: told.revision,
        ..before
    }
}

/// The distance of two vectors, in double precision.
pub fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let dot: f64 = pairs().map(|(a, b)| a * b).sum();
    let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    match metric {
        Metric::Cosine => 1.0 - dot / (norm(a) * norm(b)),
        Metric::Dot => -dot,
        Metric::L2 => pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt(),
    }
}
