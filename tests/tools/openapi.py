"""Holds a server to its own description: is that a valid one, does each operation answer as it says
when it succeeds, and does it when it is asked anything at all (by schemathesis)?

Usage: openapi.py ADDRESS; ends with status 0 when everything held.
"""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request

import jsonschema
import openapi_spec_validator

EXAMPLES = "12"  # for each operation
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
]

# What it may answer beside successes and refusals: a revision was not reached.
CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 504]
"""

base = f"http://{sys.argv[1]}"


def ask(method, path, body=None, headers=None, lines=None, frames=0):
    """Status, content type and text of an answer; of one without an end, so many frames."""
    data = None
    if lines is not None:
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    elif body is not None:
        data = json.dumps(body).encode()
    kind = "application/x-ndjson" if lines is not None else "application/json"
    request = urllib.request.Request(base + path, data, {"content-type": kind} | (headers or {}), method=method)
    try:
        answer = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        content_type = answer.headers["content-type"]
        if content_type == "text/event-stream":
            text = ""
            while text.count("\n\n") < frames:
                text += answer.readline().decode()
        else:
            text = answer.read().decode()
    return answer.status, content_type, text


def closed(schema):
    """The same, but that no object has members which are not described."""
    schema = copy.deepcopy(schema)
    todo = [schema]
    while todo:
        at = todo.pop()
        if isinstance(at, list):
            todo += at
        elif isinstance(at, dict):
            if "properties" in at and isinstance(at["properties"], dict) and at.get("type") == "object":
                at.setdefault("additionalProperties", False)
            todo += at.values()
    return schema


class Description:
    def __init__(self, document):
        self.document = document
        self.closed = closed(document)
        self.seen = set()

    def check(self, schema, value, where):
        validator = jsonschema.Draft202012Validator({**schema, "components": self.closed["components"]})
        errors = [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]
        assert not errors, (where, errors)

    def check_item(self, content, item, where):
        self.check(content["itemSchema"], item, where)
        data = self.closed["components"]["schemas"]["ServerSentEvent"]["properties"]["data"]
        if "event" in item:
            self.check(data["contentSchema"], json.loads(item["data"]), where)

    def succeeds(self, method, path, template=None, **request):
        """Asks, and holds the answer to what is described; the answer's JSON, or its text."""
        template = template or path.split("?")[0]
        operation = self.closed["paths"][template][method.lower()]
        status, content_type, text = ask(method, path, **request)
        where = f"{method} {path}: {status} {text[:300]}"
        assert 200 <= status < 300, where
        content = operation["responses"][str(status)]["content"]
        kind = content_type.split(";")[0]
        assert kind in content, (where, content_type)
        self.seen.add((method, template))
        if kind == "application/x-ndjson":
            lines = [json.loads(line) for line in text.splitlines()]
            assert lines, where
            for line in lines:
                self.check_item(content[kind], line, where)
            return lines
        if kind == "text/event-stream":
            frames = [frame_of(frame) for frame in text.strip().split("\n\n")]
            for frame in frames:
                self.check_item(content[kind], frame, where)
            return frames
        if kind == "application/json":
            self.check(content[kind]["schema"], json.loads(text), where)
            return json.loads(text)
        return text

    def unseen(self):
        all_of_them = {
            (method.upper(), path) for path, item in self.document["paths"].items() for method in item
        }
        return all_of_them - self.seen


def frame_of(text):
    """The fields of a frame."""
    frame = dict(line.split(": ", 1) for line in text.splitlines())
    if "retry" in frame:
        frame["retry"] = int(frame["retry"])
    return frame


def every_operation_succeeds_as_described(description):
    ok = description.succeeds
    for path in ["/health", "/ready", "/metrics", "/openapi.json", "/docs"]:
        ok("GET", path)
    libraries, one = "/v1/libraries", "/v1/libraries/{library}"
    library = ok("POST", libraries, body={"name": "a", "metadata": {"n": 1.5}}, headers={"idempotency-key": "k"})
    ok("POST", libraries, body={"name": "b", "embedder": "none", "dimension": 2, "metric": "l2", "index_type": "flat"})
    ok("GET", f"{libraries}?page_size=1")
    ok("GET", f"/v1/libraries/a?min_revision={library['revision']}", one)
    ok("PATCH", "/v1/libraries/a", one, body={"description": "of a"}, headers={"if-match": f'"{library["revision"]}"'})
    ok("GET", "/v1/libraries/a/statistics", f"{one}/statistics")

    documents, stream = f"{one}/documents", f"{one}/documents/stream"
    full = {"id": "x/1", "title": "X", "author": "A", "document_type": "note", "source_url": "file:x", "tags": ["t"],
            "metadata": {"deep": {"er": [1, None, "x"]}}, "texts": ["one", "two"]}
    document = ok("POST", "/v1/libraries/a/documents", documents, body=full)
    ok("POST", "/v1/libraries/b/documents", documents,
       body={"title": "V", "chunks": [{"embedding": [0, 1], "metadata": {"c": 1}}, {"text": "t", "embedding": [1, 1]}]})
    ok("GET", "/v1/libraries/a/documents?include_chunks=true", documents)
    ok("GET", "/v1/libraries/a/documents", documents)
    path, template = "/v1/libraries/a/documents/x%2F1", f"{documents}/{{document}}"
    assert ok("GET", path, template) == document
    ok("PATCH", path, template, body={"author": None, "texts": ["one", "three"]})
    told = ok("POST", "/v1/libraries/a/documents/stream?on_conflict=skip", stream, lines=[
        {"title": "S", "text": "streamed"}, {"id": "x/1", "title": "X", "text": "again"}, {"nothing": 1}])
    assert {line["status"] for line in told} == {"processing", "completed", "skipped", "failed", "summary"}, told
    exported = ok("GET", "/v1/libraries/b/documents/stream?include_embeddings=true", stream)
    assert "embedding" in exported[0]["chunks"][0] and exported[-1]["status"] == "complete", exported
    ok("GET", "/v1/libraries/a/documents/stream", stream)
    cut = ok("POST", "/v1/libraries/b/documents/stream", stream, lines=exported[:1])
    assert cut[-1]["truncated"], cut

    search = f"{one}/search"
    ok("POST", "/v1/libraries/a/search", search, body={"query": "streamed", "k": 2, "filter": "document.title != \"\""})
    ok("POST", "/v1/libraries/a/search?query=x&include_text=false&exact=true", search)
    ok("POST", "/v1/libraries/b/search?embedding=0,1&distance_threshold=9", search)
    ok("POST", "/v1/libraries/a/search", search, body={"queries": [{"query": "one"}, {"query": "two", "k": 1}]})
    ok("POST", "/v1/libraries/a/search?query=x&ef=100&group_by=document", search)
    ok("POST", "/v1/libraries/a/search/stream?query=one&k=2", f"{search}/stream")
    ok("GET", "/v1/libraries/a/count", f"{one}/count")
    assert ok("GET", "/v1/libraries/a/count?filter=false", f"{one}/count")["num_documents"] == 0
    ok("POST", "/v1/libraries/a/recall", f"{one}/recall", body={"num_queries": 1, "k": 1})
    ok("POST", "/v1/libraries/a/index/rebuild", f"{one}/index/rebuild", body={"index_type": "flat"})
    ok("POST", "/v1/libraries/a/index/optimize", f"{one}/index/optimize")
    ok("GET", "/v1/libraries/a/index", f"{one}/index")

    consumer = "/v1/consumers/{consumer}"
    ok("POST", "/v1/consumers", body={"name": "c", "event_types": ["document.added"], "cursor": "begin"})
    ok("GET", "/v1/consumers")
    ok("GET", "/v1/consumers/c", consumer)
    pulled = ok("POST", "/v1/consumers/c/pull", f"{consumer}/pull", body={"owner": "o", "max_events": 1})
    ok("POST", "/v1/consumers/c/pull", f"{consumer}/pull")
    pulled = ok("POST", "/v1/consumers/c/pull", f"{consumer}/pull")
    done = {"generation": pulled["generation"], "cursor": pulled["next_cursor"]}
    ok("POST", "/v1/consumers/c/acknowledge", f"{consumer}/acknowledge", body=done)
    ok("POST", "/v1/consumers/c/seek", f"{consumer}/seek", body={"cursor": "now"})
    ok("POST", "/v1/consumers/c/pause", f"{consumer}/pause")
    ok("POST", "/v1/consumers/c/resume", f"{consumer}/resume")

    ok("DELETE", path, template)
    ok("DELETE", "/v1/libraries/b/documents?filter=true", documents)
    filtered = urllib.parse.quote('has(document.title)')
    events = ok("GET", "/v1/events?limit=1000")["events"]
    followed = ok("GET", "/v1/events/stream?cursor=begin&library_id=a", frames=3)
    assert [frame["event"] for frame in followed][:2] == ["heartbeat", "library.created"], followed
    begun = ok("GET", "/v1/events/stream?snapshot=true&library_id=a", frames=2)
    assert [frame["event"] for frame in begun] == ["snapshot.document", "snapshot.end"], begun
    ok("GET", f"/v1/events?filter={filtered}&limit=1000")
    ok("GET", "/v1/events/statistics")
    ok("DELETE", "/v1/consumers/c", consumer)
    ok("DELETE", "/v1/libraries/b", one)
    types = {event["type"] for event in ok("GET", "/v1/events?limit=1000")["events"]} | {e["type"] for e in events}
    described = set(description.document["components"]["schemas"]["EventType"]["enum"])
    # One that it takes more than requests to have.
    assert types >= described - {"batch.failed"}, described - types
    assert not description.unseen(), description.unseen()


def nothing_that_is_asked_is_answered_otherwise(description):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "openapi.json"
        file.write_text(json.dumps(description.closed))
        (pathlib.Path(folder) / "schemathesis.toml").write_text(CONFIG)
        subprocess.run(
            [
                pathlib.Path(sys.executable).parent / "st", "run", file, "--url", base,
                "--exclude-path-regex", "/stream$",
                "--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing,stateful",
                "--max-examples", EXAMPLES, "--generation-deterministic",
                "--no-shrink", "--request-timeout", "30",
                "--suppress-health-check", "all", "--warnings", "off", "--no-color",
            ],
            cwd=folder,
            check=True,
        )


def main():
    status, _, text = ask("GET", "/openapi.json")
    assert status == 200
    document = json.loads(text)
    assert document["openapi"] == "3.2.0"
    openapi_spec_validator.validate(document, cls=openapi_spec_validator.OpenAPIV32SpecValidator)
    description = Description(document)
    every_operation_succeeds_as_described(description)
    nothing_that_is_asked_is_answered_otherwise(description)


main()
