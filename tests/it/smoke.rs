//! The main job, once through, over gRPC: the first test to look at when much is broken.

use std::time::Duration;

use arrwdb::engine::ReadAt;
use arrwdb::engine::changes::{EventsRequest, FeedItem};
use arrwdb::engine::search::{QueryBy, SearchQuery, SearchRequest};
use arrwdb::types::{LibraryName, LibraryRef, NewDocument, NewLibrary, StartAt};

use crate::harness::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_found_and_followed_and_survives_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::open(folder.path(), |_| {}).await;
    let engine = server.engine.clone();
    let name = LibraryName::parse("notes").expect("name");
    engine.create_library(NewLibrary::named(name.clone()), None).await.expect("created");
    let library = LibraryRef::Name(name);
    let new = NewDocument::titled("Heron", vec!["A grey bird that stands in water.".into()]);
    let written = engine.create_document(&library, new, None).await.expect("written");

    let search = || SearchRequest {
        queries: vec![SearchQuery {
            by: QueryBy::Text("a wading bird".into()),
            k: Some(3),
            mode: None,
            weights: None,
            distance_threshold: None,
            filter: None,
            ef: None,
        }],
        listed: false,
        filter: None,
        include_text: true,
        exact: false,
        explain: false,
        by_document: false,
        k_max: 10,
        at: ReadAt::default(),
    };
    let results = engine.search(&library, search()).await.expect("searched");
    let hits = results.hits(0, 0..10).await.expect("hits");
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].document_id, written.head.id);
    // Results hold the state that they came from, and with it the store.
    drop((engine, results));
    server.stop().await;

    let server = Server::open(folder.path(), |_| {}).await;
    let results = server.engine.search(&library, search()).await.expect("searched");
    assert_eq!(results.hits(0, 0..10).await.expect("hits"), hits);
    let request =
        EventsRequest { library: None, event_types: vec![], filter: None, start: StartAt::Begin };
    let mut subscription = server.engine.subscribe(request).await.expect("subscribed");
    let mut types = Vec::new();
    while types.len() < 3 {
        let next = tokio::time::timeout(Duration::from_secs(10), subscription.next()).await;
        match next.expect("in time").expect("no error").expect("not the end") {
            FeedItem::Heartbeat { .. } => {}
            FeedItem::Changes(changes) => {
                types.extend(changes.iter().flat_map(|c| c.events()).map(|e| e.event_type.name()));
            }
        }
    }
    assert_eq!(types, ["library.created", "document.added", "chunk.added"]);
    server.stop().await;
}
