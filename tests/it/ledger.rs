//! What clients know of a server that may die at any moment, and what must be true of it after
//! its restart: nothing acknowledged is lost, nothing is torn, nothing is invented, and the state
//! is what the feed folds to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::client::{Client, vector};
use crate::wires::Item;

/// One fact that a write asks for, and that the feed shows when it has happened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    LibraryCreated {
        library: String,
    },
    LibraryDeleted {
        library: String,
    },
    /// A document written in this version: no two versions are alike.
    Written {
        library: String,
        id: String,
        version: u64,
    },
    Deleted {
        library: String,
        id: String,
    },
}

/// The document of a version: title, number of chunks, texts and vectors all follow from it, so
/// that a mixture of two shows.
pub fn document(id: &str, version: u64) -> Item {
    let chunks = (0..1 + version % 3)
        .map(|index| (format!("version {version}, chunk {index}"), vector(3 * version + index)))
        .collect();
    Item { id: id.to_owned(), title: format!("v{version}"), chunks }
}

/// The same as the body of a request.
pub fn body(item: &Item) -> Value {
    serde_json::from_str(&item.line()).expect("JSON")
}

/// What clients sent, heard and saw.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By revision.
    acknowledged: BTreeMap<u64, Fact>,
    /// Sent, and the answer never came: they happened once or not at all.
    unknown: BTreeMap<Fact, usize>,
    /// Batches that were told to be complete.
    completed_batches: BTreeSet<String>,
    /// Events as subscribers saw them, one list each.
    seen: Vec<Vec<Value>>,
    /// The whole feed as it was at the last check.
    feed: Vec<Value>,
    /// What it folds to.
    state: State,
    versions: u64,
}

/// Libraries by name; in each the documents by id.
type State = BTreeMap<String, BTreeMap<String, Folded>>;

/// What the feed says of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Folded {
    title: String,
    revision: u64,
    /// Ids by index.
    chunks: BTreeMap<u64, String>,
}

impl Ledger {
    /// A version that no document has had.
    pub fn next_version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    /// Before a write is sent.
    pub fn sent(&mut self, fact: Fact) {
        *self.unknown.entry(fact).or_default() += 1;
    }

    /// When it is acknowledged.
    pub fn acknowledged(&mut self, fact: &Fact, revision: u64) {
        let left = self.unknown.get_mut(fact).expect("it was sent");
        *left -= 1;
        let before = self.acknowledged.insert(revision, fact.clone());
        assert_eq!(before, None, "revision {revision} was given to two writes");
        let tail = self.tail();
        assert!(
            revision > tail,
            "revision {revision} of {fact:?} is not above the old tail {tail}"
        );
    }

    pub fn batch_completed(&mut self, batch_id: String) {
        self.completed_batches.insert(batch_id);
    }

    pub fn num_acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Events that one subscriber saw, in its order.
    pub fn seen(&mut self, events: Vec<Value>) {
        self.seen.push(events);
    }

    /// The last revision of the feed at the last check.
    pub fn tail(&self) -> u64 {
        self.feed.last().map_or(0, revision_of)
    }

    pub fn epoch(&self) -> String {
        epoch_of(self.feed.last().expect("a feed"))
    }

    /// Ids of a library's documents at the last check.
    pub fn ids(&self, library: &str) -> Vec<String> {
        self.state.get(library).map(|of| of.keys().cloned().collect()).unwrap_or_default()
    }

    /// Compares the server with all of this, while nobody writes.
    pub async fn check(&mut self, client: &Client) {
        let feed = client.events("begin", "").await;
        check_order(&feed);
        assert!(feed.len() >= self.feed.len(), "the feed is shorter than it was");
        for (was, is) in self.feed.iter().zip(&feed) {
            assert_eq!(was, is, "the past has changed");
        }
        self.check_facts(&feed);
        self.check_batches(&feed);
        self.check_seen(&feed);
        let state = fold(&feed);
        check_state(client, &state).await;
        (self.feed, self.state) = (feed, state);
    }

    /// Every acknowledged write is in the feed once, at its revision; and every write in the feed
    /// was sent.
    fn check_facts(&mut self, feed: &[Value]) {
        let mut happened = BTreeMap::new();
        let mut names = BTreeMap::new();
        for event in feed {
            if let Some(fact) = fact_of(event, &mut names) {
                happened.insert(revision_of(event), fact);
            }
        }
        for (revision, fact) in &self.acknowledged {
            let found = happened.remove(revision);
            assert_eq!(found.as_ref(), Some(fact), "acknowledged at revision {revision} and lost");
        }
        let mut unknown = self.unknown.clone();
        for (revision, fact) in happened {
            let left = unknown.get_mut(&fact).filter(|left| **left > 0);
            let left = left.unwrap_or_else(|| {
                panic!("revision {revision}: {fact:?} happened more often than it was sent")
            });
            *left -= 1;
        }
    }

    /// Each batch that began has ended once; those that were cut say so.
    fn check_batches(&self, feed: &[Value]) {
        let mut open = BTreeSet::new();
        let mut completed = BTreeSet::new();
        for event in feed {
            let batch = || event["batch_id"].as_str().expect("a batch").to_owned();
            match event["type"].as_str().expect("a type") {
                "batch.started" => assert!(open.insert(batch()), "begun twice: {event}"),
                "batch.completed" => {
                    assert!(open.remove(&batch()), "not open: {event}");
                    completed.insert(batch());
                }
                "batch.failed" => {
                    assert!(open.remove(&batch()), "not open: {event}");
                    assert_eq!(event["reason"], "interrupted", "{event}");
                }
                _ => {}
            }
        }
        assert!(open.is_empty(), "not closed: {open:?}");
        assert!(completed.is_superset(&self.completed_batches), "a complete batch is not");
    }

    /// What each subscriber saw is a run of the feed, to the letter.
    fn check_seen(&self, feed: &[Value]) {
        let places: BTreeMap<&str, usize> =
            feed.iter().enumerate().map(|(place, event)| (id_of(event), place)).collect();
        for seen in &self.seen {
            let Some(first) = seen.first() else { continue };
            let place = places.get(id_of(first)).copied();
            let place = place.unwrap_or_else(|| panic!("seen and gone: {first}"));
            for (seen, event) in seen.iter().zip(&feed[place..]) {
                assert_eq!(seen, event, "seen and gone, or changed");
            }
            assert!(place + seen.len() <= feed.len(), "more was seen than there is");
        }
    }
}

fn id_of(event: &Value) -> &str {
    event["id"].as_str().expect("an id")
}

fn revision_of(event: &Value) -> u64 {
    event["revision"].as_str().and_then(|text| text.parse().ok()).expect("a revision")
}

/// The part of an event's id that names the history.
pub fn epoch_of(event: &Value) -> String {
    id_of(event)[..16].to_owned()
}

/// Ids ascend, all of one epoch; the events of a change stay together and the last says so.
fn check_order(feed: &[Value]) {
    for pair in feed.windows(2) {
        let [before, after] = pair else { unreachable!("windows of two") };
        assert!(id_of(before) < id_of(after), "out of order: {before} {after}");
        assert_eq!(epoch_of(before), epoch_of(after), "another epoch: {after}");
        let (last, next) = (revision_of(before), revision_of(after));
        assert_eq!(before["last"] == true, next > last, "torn apart: {before} {after}");
    }
    assert!(feed.last().is_none_or(|event| event["last"] == true), "cut within a change");
}

/// The fact that an event tells; `names` has the libraries that the feed told of.
fn fact_of(event: &Value, names: &mut BTreeMap<String, String>) -> Option<Fact> {
    let library_id = event["library_id"].as_str().expect("a library");
    let kind = event["type"].as_str().expect("a type");
    if kind == "library.created" {
        let library = event["name"].as_str().expect("a name").to_owned();
        names.insert(library_id.to_owned(), library.clone());
        return Some(Fact::LibraryCreated { library });
    }
    let library = names.get(library_id).expect("a library that was created").clone();
    let id = || event["document_id"].as_str().expect("an id").to_owned();
    match kind {
        "library.deleted" => Some(Fact::LibraryDeleted { library }),
        "document.added" | "document.updated" => {
            let title = event["title"].as_str().expect("a title");
            let version = title[1..].parse().expect("a version");
            Some(Fact::Written { library, id: id(), version })
        }
        "document.deleted" => Some(Fact::Deleted { library, id: id() }),
        _ => None,
    }
}

fn fold(feed: &[Value]) -> State {
    let mut names = BTreeMap::new();
    let mut state = State::new();
    for event in feed {
        match fact_of(event, &mut names) {
            Some(Fact::LibraryCreated { library }) => {
                assert!(state.insert(library, BTreeMap::new()).is_none(), "created twice: {event}");
            }
            Some(Fact::LibraryDeleted { library }) => {
                assert!(state.remove(&library).is_some(), "deleted twice: {event}");
            }
            Some(Fact::Written { library, id, version }) => {
                let documents = state.get_mut(&library).expect("a library");
                let is_new = !documents.contains_key(&id);
                assert_eq!(event["type"] == "document.added", is_new, "{event}");
                let folded = documents.entry(id).or_insert_with(|| Folded {
                    title: String::new(),
                    revision: 0,
                    chunks: BTreeMap::new(),
                });
                folded.title = format!("v{version}");
                folded.revision = revision_of(event);
            }
            Some(Fact::Deleted { library, id }) => {
                let documents = state.get_mut(&library).expect("a library");
                assert!(documents.remove(&id).is_some(), "deleted twice: {event}");
            }
            None => fold_chunk(&mut state, &names, event),
        }
    }
    state
}

fn fold_chunk(state: &mut State, names: &BTreeMap<String, String>, event: &Value) {
    let kind = event["type"].as_str().expect("a type");
    if !kind.starts_with("chunk.") {
        return;
    }
    let library = &names[event["library_id"].as_str().expect("a library")];
    let documents = state.get_mut(library).expect("a library");
    let folded = documents.get_mut(event["document_id"].as_str().expect("an id"));
    let chunk = event["chunk_id"].as_str().expect("an id").to_owned();
    match (folded, kind) {
        // The last of a document that is deleted.
        (None, "chunk.deleted") => {}
        (Some(folded), "chunk.deleted") => folded.chunks.retain(|_, id| *id != chunk),
        (Some(folded), "chunk.added") => {
            let index = event["index"].as_u64().expect("an index");
            assert_eq!(folded.chunks.insert(index, chunk), None, "two chunks in a place: {event}");
        }
        (_, _) => panic!("a chunk of nothing: {event}"),
    }
}

/// The server has what the feed folds to, and every document whole.
async fn check_state(client: &Client, state: &State) {
    let libraries = client.ask("GET", "/v1/libraries?page_size=1000", None).await;
    let libraries: BTreeMap<&str, &Value> = libraries["libraries"]
        .as_array()
        .expect("libraries")
        .iter()
        .map(|library| (library["name"].as_str().expect("a name"), library))
        .collect();
    let expected: BTreeSet<&str> = state.keys().map(String::as_str).collect();
    assert_eq!(libraries.keys().copied().collect::<BTreeSet<_>>(), expected);
    for (library, expected) in state {
        let listed = client.documents(library).await;
        let exported = client.export(library).await;
        let ids: Vec<_> = expected.keys().collect();
        assert_eq!(listed.keys().collect::<Vec<_>>(), ids, "listed in {library}");
        assert_eq!(exported.keys().collect::<Vec<_>>(), ids, "exported from {library}");
        let mut num_chunks = 0;
        for (id, folded) in expected {
            check_document(id, folded, &listed[id], &exported[id]);
            num_chunks += folded.chunks.len();
        }
        assert_eq!(libraries[library.as_str()]["num_documents"], expected.len(), "{library}");
        assert_eq!(libraries[library.as_str()]["num_chunks"], num_chunks, "{library}");
        // The index has what the store has: the newest is found and nothing that is gone is.
        let newest = expected.iter().max_by_key(|(_, folded)| folded.revision);
        if let Some((id, folded)) = newest {
            let version = folded.title[1..].parse().expect("a version");
            let wanted = &document(id, version).chunks[0].1;
            let found = client.search(library, wanted, 1).await;
            assert_eq!(found["results"][0]["document_id"], **id, "{library}: {found}");
            assert_eq!(found["results"][0]["distance"], 0.0, "{library}: {found}");
        }
    }
}

/// A document is the version that its title names, in every part, and the one of the feed.
fn check_document(id: &str, folded: &Folded, listed: &Value, exported: &Value) {
    let version = folded.title[1..].parse().expect("a version");
    let whole = document(id, version);
    for shown in [listed, exported] {
        assert_eq!(shown["title"], *folded.title, "{shown}");
        assert_eq!(shown["revision"], folded.revision.to_string(), "{shown}");
        let chunks = shown["chunks"].as_array().expect("chunks");
        let texts: Vec<_> = chunks.iter().map(|chunk| &chunk["text"]).collect();
        let expected: Vec<_> = whole.chunks.iter().map(|(text, _)| json!(text)).collect();
        assert_eq!(texts, expected.iter().collect::<Vec<_>>(), "torn: {shown}");
        let ids: Vec<_> = chunks.iter().map(|chunk| chunk["id"].as_str().expect("an id")).collect();
        assert_eq!(ids, folded.chunks.values().collect::<Vec<_>>(), "{shown}");
    }
    assert_eq!(listed["num_chunks"], whole.chunks.len(), "{listed}");
    for (chunk, (_, vector)) in
        exported["chunks"].as_array().expect("chunks").iter().zip(&whole.chunks)
    {
        let embedding: Vec<f32> =
            serde_json::from_value(chunk["embedding"].clone()).expect("a vector");
        assert_eq!(embedding, *vector, "torn: {exported}");
    }
}
