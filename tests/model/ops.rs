//! What is done to the database: random operations, aimed at what the model says is there.

use arrwdb::types::{
    BatchFailure, DocumentId, DocumentPatch, LibraryId, LibraryName, LibraryPatch, LibraryRef,
    Limits, Metadata, Metric, NewChunk, NewContent, NewDocument, NewLibrary, OnConflict, RequestId,
    Revision,
};
use serde_json::json;

use crate::dice::Dice;
use crate::fold::Fold;

/// What becomes one change or none.
#[derive(Debug, Clone)]
pub enum Atom {
    CreateLibrary {
        new: NewLibrary,
        request: Option<RequestId>,
    },
    UpdateLibrary {
        library: LibraryRef,
        patch: LibraryPatch,
        expected: Option<Revision>,
    },
    DeleteLibrary {
        library: LibraryRef,
        expected: Option<Revision>,
    },
    Write {
        library: LibraryRef,
        new: NewDocument,
        on_conflict: OnConflict,
        request: Option<RequestId>,
    },
    Update {
        library: LibraryRef,
        id: DocumentId,
        patch: DocumentPatch,
        expected: Option<Revision>,
    },
    Delete {
        library: LibraryRef,
        id: DocumentId,
        expected: Option<Revision>,
    },
}

/// One item of an ingest stream.
#[derive(Debug, Clone)]
pub enum Item {
    Document(NewDocument),
    Rejected,
}

/// An ingest stream.
#[derive(Debug, Clone)]
pub struct Stream {
    pub library: LibraryRef,
    pub on_conflict: OnConflict,
    pub items: Vec<Item>,
    /// How the transport says that it broke, after the items.
    pub broken: Option<BatchFailure>,
    /// The stream is dropped when it has given so many statuses.
    pub dropped_after: Option<usize>,
}

#[derive(Debug, Clone)]
pub enum Op {
    Single(Atom),
    Stream(Stream),
    /// Writes to few documents at once: their order is the database's choice.
    Burst(Vec<Atom>),
}

const TEXTS: &[&str] = &[
    "a red fox",
    "an old map",
    "the tide table",
    "a list of birds",
    "salt",
    "the last tram",
    "a cold lamp",
    "two rivers",
];
const WORDS: &[&str] = &["north", "south", "ä ö ü", "", "x"];

/// Makes operations. Every document written has a title of its own, so that a change in the log
/// tells which write it was.
#[derive(Default)]
pub struct Maker {
    titles: usize,
}

impl Maker {
    pub fn op(&mut self, dice: &mut Dice, fold: &Fold) -> Op {
        if fold.libraries.is_empty() {
            return Op::Single(self.create_library(dice, fold));
        }
        match dice.below(100) {
            0..=5 => Op::Single(self.create_library(dice, fold)),
            6..=10 => Op::Single(update_library(dice, fold)),
            11..=13 => {
                let (library, expected) = library_and_expected(dice, fold);
                Op::Single(Atom::DeleteLibrary { library, expected })
            }
            14..=64 => Op::Single(self.document_atom(dice, fold)),
            65..=91 => Op::Stream(self.stream(dice, fold)),
            _ => {
                let library = some_library(dice, fold);
                let atom = |_| self.document_atom_in(dice, fold, library.clone());
                Op::Burst((0..8).map(atom).collect())
            }
        }
    }

    fn create_library(&mut self, dice: &mut Dice, fold: &Fold) -> Atom {
        let mut new = NewLibrary::named(name(dice));
        new.metric = *dice.pick(&[Metric::Cosine, Metric::Dot, Metric::L2]);
        if dice.percent(60) {
            "none".clone_into(&mut new.embedder);
            new.dimension = Some(*dice.pick(&[3, 5]));
        }
        new.description = (*dice.pick(WORDS)).to_owned();
        new.metadata = metadata(dice);
        Atom::CreateLibrary { new, request: request(dice, fold) }
    }

    fn document_atom(&mut self, dice: &mut Dice, fold: &Fold) -> Atom {
        let library = some_library(dice, fold);
        self.document_atom_in(dice, fold, library)
    }

    fn document_atom_in(&mut self, dice: &mut Dice, fold: &Fold, library: LibraryRef) -> Atom {
        match dice.below(10) {
            0..=3 => Atom::Write {
                new: self.document(dice, fold, &library),
                request: request(dice, fold),
                library,
                on_conflict: OnConflict::Fail,
            },
            4..=7 => {
                let id = document_id(dice, fold, &library);
                let expected = document_expected(dice, fold, &library, &id);
                Atom::Update { patch: self.patch(dice, fold, &library, &id), library, id, expected }
            }
            _ => {
                let id = document_id(dice, fold, &library);
                let expected = document_expected(dice, fold, &library, &id);
                Atom::Delete { library, id, expected }
            }
        }
    }

    fn stream(&mut self, dice: &mut Dice, fold: &Fold) -> Stream {
        let library = some_library(dice, fold);
        let count = *dice.pick(&[0, 1, 3, 10, 25, 40]);
        let item = |_| match dice.percent(6) {
            true => Item::Rejected,
            false => Item::Document(self.document(dice, fold, &library)),
        };
        let items: Vec<_> = (0..count).map(item).collect();
        let statuses = 2 * items.len();
        Stream {
            on_conflict: *dice.pick(&[
                OnConflict::Replace,
                OnConflict::Replace,
                OnConflict::Skip,
                OnConflict::Fail,
            ]),
            broken: dice.percent(10).then_some(BatchFailure::ClientGone),
            dropped_after: (statuses > 0 && dice.percent(15)).then(|| dice.below(statuses)),
            library,
            items,
        }
    }

    fn title(&mut self) -> String {
        self.titles += 1;
        format!("title {}", self.titles)
    }

    fn document(&mut self, dice: &mut Dice, fold: &Fold, library: &LibraryRef) -> NewDocument {
        let title = if dice.percent(3) { " ".to_owned() } else { self.title() };
        let id = (!dice.percent(20)).then(|| document_id(dice, fold, library));
        let count = *dice.pick(&[1, 1, 2, 3, 5]);
        NewDocument {
            id,
            author: (*dice.pick(WORDS)).to_owned(),
            document_type: (*dice.pick(WORDS)).to_owned(),
            source_url: (*dice.pick(WORDS)).to_owned(),
            tags: (0..dice.below(3)).map(|n| format!("tag {n}")).collect(),
            metadata: metadata(dice),
            content: content(dice, fold, library, count),
            content_field: "chunks",
            ..NewDocument::titled(title, Vec::new())
        }
    }

    fn patch(
        &mut self,
        dice: &mut Dice,
        fold: &Fold,
        library: &LibraryRef,
        id: &DocumentId,
    ) -> DocumentPatch {
        let mut patch = DocumentPatch::default();
        if dice.percent(50) {
            patch.title = Some(if dice.percent(4) { String::new() } else { self.title() });
        }
        if dice.percent(30) {
            patch.author = Some((*dice.pick(WORDS)).to_owned());
            patch.document_type = Some("report".to_owned());
        }
        if dice.percent(30) {
            patch.tags = Some((0..dice.below(3)).map(|n| format!("new {n}")).collect());
            patch.source_url = Some("https://example.org".to_owned());
        }
        if dice.percent(50) {
            patch.metadata = Some(metadata(dice));
        }
        if dice.percent(60) {
            let count = *dice.pick(&[1, 2, 4]);
            let mut content = content(dice, fold, library, count);
            if let NewContent::Chunks(chunks) = &mut content {
                keep_some(dice, fold, library, id, chunks);
            }
            patch.content = Some(("chunks", content));
        }
        patch
    }
}

/// Mixes chunks that the document has already into its new ones.
fn keep_some(
    dice: &mut Dice,
    fold: &Fold,
    library: &LibraryRef,
    id: &DocumentId,
    chunks: &mut Vec<NewChunk>,
) {
    let Some(document) = fold.find(library).and_then(|library| library.documents.get(id)) else {
        return;
    };
    for old in &document.chunks {
        if dice.percent(60) {
            let metadata =
                if dice.percent(50) { old.head.metadata.clone() } else { metadata(dice) };
            let embedding = Some(old.vector.clone());
            let at = dice.below(chunks.len() + 1);
            chunks.insert(at, NewChunk { text: old.text.clone(), embedding, metadata });
        }
    }
}

fn name(dice: &mut Dice) -> LibraryName {
    LibraryName::parse(&format!("library {}", dice.below(7))).expect("valid")
}

fn request(dice: &mut Dice, _fold: &Fold) -> Option<RequestId> {
    let text = format!("request-{}", dice.below(12));
    dice.percent(25).then(|| RequestId::parse(&text).expect("valid"))
}

fn metadata(dice: &mut Dice) -> Metadata {
    let object = match dice.below(4) {
        0 => json!({}),
        1 => json!({"n": dice.below(9)}),
        2 => json!({"n": dice.below(9), "deep": {"list": [1.5, "ß", null, true]}}),
        _ => json!({"z": "last", "a": "first"}),
    };
    let object = object.as_object().expect("an object").clone();
    Metadata::new("metadata", object, &Limits::default()).expect("valid")
}

fn some_library(dice: &mut Dice, fold: &Fold) -> LibraryRef {
    if dice.percent(4) {
        return match fold.gone.is_empty() {
            true => LibraryRef::Id(LibraryId::from_bytes([7; 16])),
            false => LibraryRef::Id(*dice.pick(&fold.gone)),
        };
    }
    let all: Vec<_> = fold.libraries.values().map(|library| &library.library).collect();
    let library = *dice.pick(&all);
    match dice.percent(50) {
        true => LibraryRef::Id(library.id),
        false => LibraryRef::Name(library.name.clone()),
    }
}

fn expected(dice: &mut Dice, is: Option<Revision>) -> Option<Revision> {
    match (dice.below(10), is) {
        (0..=5, _) => None,
        (6..=8, Some(is)) => Some(is),
        (_, Some(is)) => Some(Revision(is.0 + 1)),
        (_, None) => Some(Revision(1)),
    }
}

fn library_and_expected(dice: &mut Dice, fold: &Fold) -> (LibraryRef, Option<Revision>) {
    let library = some_library(dice, fold);
    let expected = expected(dice, fold.find(&library).map(|library| library.library.revision));
    (library, expected)
}

fn update_library(dice: &mut Dice, fold: &Fold) -> Atom {
    let (library, expected) = library_and_expected(dice, fold);
    let patch = LibraryPatch {
        name: dice.percent(50).then(|| name(dice)),
        description: dice.percent(50).then(|| "changed".to_owned()),
        metadata: dice.percent(50).then(|| metadata(dice)),
    };
    Atom::UpdateLibrary { library, patch, expected }
}

fn document_id(dice: &mut Dice, fold: &Fold, library: &LibraryRef) -> DocumentId {
    let known: Vec<_> = fold.find(library).iter().flat_map(|l| l.documents.keys()).collect();
    if !known.is_empty() && dice.percent(50) {
        return (*dice.pick(&known)).clone();
    }
    DocumentId::parse(&format!("doc/{}", dice.below(14))).expect("valid")
}

fn document_expected(
    dice: &mut Dice,
    fold: &Fold,
    library: &LibraryRef,
    id: &DocumentId,
) -> Option<Revision> {
    let document = fold.find(library).and_then(|library| library.documents.get(id));
    expected(dice, document.map(|document| document.head.revision))
}

/// Chunks for a library, now and then bad ones.
fn content(dice: &mut Dice, fold: &Fold, library: &LibraryRef, count: usize) -> NewContent {
    let found = fold.find(library);
    let dimension = found.map_or(3, |library| library.library.dimension as usize);
    let embeds = found.is_some_and(|library| !library.library.embedder.is_none());
    if dice.percent(2) {
        return NewContent::Chunks(Vec::new());
    }
    let chunk = |_| {
        let bad = dice.percent(2);
        let text = (*dice.pick(TEXTS)).to_owned();
        let embedding = match embeds && dice.percent(70) {
            true => None,
            false => Some(vector(dice, dimension + usize::from(bad))),
        };
        NewChunk { text, embedding, metadata: metadata(dice) }
    };
    NewContent::Chunks((0..count).map(chunk).collect())
}

/// Of small whole numbers, so that distances tie and vectors meet again.
pub fn vector(dice: &mut Dice, dimension: usize) -> Vec<f32> {
    let numbers = [-2.0, -1.0, 0.0, 1.0, 3.0];
    let mut vector: Vec<f32> = (0..dimension).map(|_| *dice.pick(&numbers)).collect();
    if vector.iter().all(|x| *x == 0.0) {
        vector[0] = 1.0;
    }
    vector
}
