//! Every rpc, called by grpcurl over reflection.

use serde_json::{Value, json};

use super::{Running, json as parse, outcome, output, tool, tools};
use crate::harness::Process;

/// grpcurl on one server.
struct Grpcurl<'a>(&'a Process);

impl Grpcurl<'_> {
    fn command(&self, before: &[&str], after: &[&str]) -> std::process::Command {
        let mut command = tool(tools().join("venv/bin/grpcurl"));
        command.arg("-plaintext").args(before).arg(self.0.address.to_string()).args(after);
        command
    }

    /// Calls a method with any number of messages; the messages that came back.
    fn stream(&self, method: &str, messages: &[Value]) -> Vec<Value> {
        let sent: Vec<String> = messages.iter().map(Value::to_string).collect();
        let mut command =
            self.command(&["-d", &sent.join("\n")], &[&format!("arrwdb.v1.{method}")]);
        several(&output(&mut command))
    }

    /// Calls a unary method.
    fn call(&self, method: &str, message: &Value) -> Value {
        let mut replies = self.stream(method, std::slice::from_ref(message));
        assert_eq!(replies.len(), 1, "{method}: {replies:?}");
        replies.remove(0)
    }

    /// Calls a method that must fail; what grpcurl says of it.
    fn refused(&self, method: &str, message: &Value) -> String {
        let mut command =
            self.command(&["-d", &message.to_string()], &[&format!("arrwdb.v1.{method}")]);
        let (code, out, log) = outcome(&mut command);
        assert_ne!(code, Some(0), "{method}: {out}");
        log
    }
}

/// JSON values, one after the other.
fn several(text: &str) -> Vec<Value> {
    let values = serde_json::Deserializer::from_str(text).into_iter();
    values.map(|value| value.unwrap_or_else(|error| panic!("{error} in {text}"))).collect()
}

fn with_server(test: impl Fn(&Grpcurl<'_>)) {
    let folder = tempfile::tempdir().expect("folder");
    let server = Process::start(folder.path(), &[]);
    test(&Grpcurl(&server));
    assert_eq!(server.terminate(), Some(0));
}

#[test]
#[ignore = "needs grpcurl: run by .ci/run"]
fn grpcurl_lists_and_describes_every_service() {
    with_server(|grpcurl| {
        let listed = output(&mut grpcurl.command(&[], &["list"]));
        for service in [
            "arrwdb.v1.LibraryService",
            "arrwdb.v1.DocumentService",
            "arrwdb.v1.SearchService",
            "arrwdb.v1.EventService",
            "grpc.health.v1.Health",
        ] {
            assert!(listed.lines().any(|line| line == service), "{service} is not in {listed}");
            let described = output(&mut grpcurl.command(&[], &["describe", service]));
            assert!(described.starts_with(&format!("{service} is a service")), "{described}");
        }
        let message = output(&mut grpcurl.command(&[], &["describe", "arrwdb.v1.SearchRequest"]));
        assert!(message.contains("repeated float embedding = 3"), "{message}");
        let health = output(&mut grpcurl.command(&[], &["grpc.health.v1.Health/Check"]));
        assert_eq!(parse(&health)["status"], "SERVING");
    });
}

#[test]
#[ignore = "needs grpcurl: run by .ci/run"]
fn grpcurl_calls_every_unary_rpc() {
    with_server(|grpcurl| {
        let created = grpcurl.call("LibraryService/CreateLibrary", &json!({"name": "a"}));
        let library = &created["library"];
        let by_id = json!({"library_id": library["id"]});
        assert_eq!(grpcurl.call("LibraryService/GetLibrary", &by_id)["library"], *library);
        let listed = grpcurl.call("LibraryService/ListLibraries", &json!({}));
        assert_eq!(listed["libraries"], json!([library]));
        // This grpcurl writes a field mask as the message that it is; later ones as "metadata".
        let update = json!({"library_id": "a", "library": {"metadata": {"n": 3}}, "update_mask": {"paths": ["metadata"]}});
        let updated = grpcurl.call("LibraryService/UpdateLibrary", &update);
        assert_eq!(updated["library"]["metadata"], json!({"n": 3}));

        let new =
            json!({"id": "1", "title": "Heron", "texts": ["A bird that wades.", "It eats fish."]});
        let create = json!({"library_id": "a", "document": new});
        let document = grpcurl.call("DocumentService/CreateDocument", &create)["document"].clone();
        assert_eq!(document["numChunks"], 2);
        let one = json!({"library_id": "a", "document_id": "1"});
        assert_eq!(grpcurl.call("DocumentService/GetDocument", &one)["document"], document);
        let some = json!({"library_id": "a", "document_ids": ["2", "1"]});
        let batch = grpcurl.call("DocumentService/BatchGetDocuments", &some);
        assert_eq!(
            (&batch["documents"], &batch["missingIds"]),
            (&json!([document]), &json!(["2"]))
        );
        let list = json!({"library_id": "a", "include_chunks": true});
        let listed = grpcurl.call("DocumentService/ListDocuments", &list);
        assert_eq!(listed["documents"], json!([document]));
        let update = json!({"library_id": "a", "document_id": "1", "document": {"title": "Egret"},
            "expected_revision": document["revision"]});
        let updated = grpcurl.call("DocumentService/UpdateDocument", &update);
        assert_eq!(updated["document"]["title"], "Egret");
        let statistics = grpcurl.call("LibraryService/GetLibraryStatistics", &by_id);
        assert_eq!(statistics["numChunks"], "2");

        let search = json!({"library_id": "a", "query": "wading", "k": 1});
        let found = grpcurl.call("SearchService/Search", &search);
        assert_eq!(
            (&found["results"][0]["rank"], &found["results"][0]["title"]),
            (&json!(1), &json!("Egret"))
        );
        let events =
            grpcurl.call("EventService/ListEvents", &json!({"cursor": "begin", "limit": 2}));
        assert_eq!(events["events"][0]["library"]["name"], "a");
        let statistics = grpcurl.call("EventService/GetEventStatistics", &json!({}));
        assert_eq!(
            (&statistics["running"], &statistics["tailRevision"]),
            (&json!(true), &json!("4"))
        );

        let deleted = grpcurl.call("DocumentService/DeleteDocument", &one);
        assert_eq!(deleted["revision"], "5");
        assert_eq!(grpcurl.call("LibraryService/DeleteLibrary", &by_id)["revision"], "6");
    });
}

#[test]
#[ignore = "needs grpcurl: run by .ci/run"]
fn grpcurl_streams_in_both_ways_and_out_of_search_export_and_feed() {
    with_server(|grpcurl| {
        grpcurl.call("LibraryService/CreateLibrary", &json!({"name": "a"}));
        let item =
            |id: &str, text: &str| json!({"document": {"id": id, "title": id, "text": text}});
        let header = json!({"header": {"library_id": "a"}});
        let items =
            [header.clone(), item("1", "A bird that wades."), json!({"document": {"title": "x"}})];
        let summary = grpcurl.stream("DocumentService/IngestDocuments", &items);
        assert_eq!(summary[0]["totalSucceeded"], "1");
        assert_eq!(summary[0]["failures"][0]["position"], "2");
        assert_eq!(summary[0]["failures"][0]["error"]["slug"], "invalid-argument");
        let items = [header, item("2", "A smith's block of iron."), item("3", "A toy that flies.")];
        let told = grpcurl.stream("DocumentService/StreamIngestDocuments", &items);
        let of = |status: &str| told.iter().filter(|message| message.get(status).is_some()).count();
        assert_eq!((of("processing"), of("completed"), of("summary")), (2, 2, 1), "{told:?}");
        assert_eq!(told[4]["summary"]["totalSucceeded"], "2");

        let search = json!({"library_id": "a", "query": "smith", "k": 3});
        let found = grpcurl.stream("SearchService/StreamSearch", &[search]);
        assert_eq!(found[0]["hit"]["documentId"], "2");
        assert_eq!((found.len(), &found[3]["complete"]["totalResults"]), (4, &json!(3)));
        let export = json!({"library_id": "a"});
        let exported = grpcurl.stream("DocumentService/ExportDocuments", &[export]);
        assert_eq!((exported.len(), &exported[3]["complete"]["totalDocuments"]), (4, &json!("3")));

        // A subscription never ends by itself.
        let wanted = json!({"cursor": "begin", "event_types": ["EVENT_TYPE_DOCUMENT_ADDED"]});
        let command =
            grpcurl.command(&["-d", &wanted.to_string()], &["arrwdb.v1.EventService/Subscribe"]);
        let mut follow = Running::start(command);
        let mut seen = Vec::new();
        while seen.len() < 4 {
            let line = follow.read();
            if ["heartbeat", "documentId"].iter().any(|name| line.contains(name)) {
                seen.push(line.trim().trim_end_matches(',').to_owned());
            }
        }
        let added = |id: &str| format!("\"documentId\": \"{id}\"");
        assert_eq!(seen, ["\"heartbeat\": {", &added("1"), &added("2"), &added("3")]);
    });
}

#[test]
#[ignore = "needs grpcurl: run by .ci/run"]
fn grpcurl_shows_the_details_of_errors() {
    with_server(|grpcurl| {
        let said = grpcurl.refused("LibraryService/GetLibrary", &json!({"library_id": "none"}));
        for part in ["Code: NotFound", "google.rpc.ErrorInfo", "\"NOT_FOUND\"", "\"arrwdb\""] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
        let said = grpcurl.refused("LibraryService/CreateLibrary", &json!({"name": " "}));
        for part in ["Code: InvalidArgument", "google.rpc.BadRequest", "\"field\":\"name\""] {
            assert!(
                said.replace(": \"", ":\"").contains(&part.replace(": \"", ":\"")),
                "{part} is not in {said}"
            );
        }
        let never = json!({"library_id": "x", "min_revision": 1_000, "timeout_ms": 1});
        let said = grpcurl.refused("LibraryService/GetLibrary", &never);
        assert!(said.contains("Code: DeadlineExceeded"), "{said}");
    });
}
