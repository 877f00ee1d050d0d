// Node with grpc-js, loading proto/ as it is: one tour.
//
// Usage: node_grpc.mjs ADDRESS; ends with status 0 when everything held.

import assert from "node:assert/strict";
import { once } from "node:events";
import { promisify } from "node:util";

import { load, proto, protoFiles } from "./generate.mjs";

const grpc = load("@grpc/grpc-js");
const options = { keepCase: true, longs: String, enums: String, oneofs: true, includeDirs: [proto] };
const definition = load("@grpc/proto-loader").loadSync(protoFiles(), options);
const { v1 } = grpc.loadPackageDefinition(definition).arrwdb;

const address = process.argv[2];
const client = (service) => new v1[service](address, grpc.credentials.createInsecure());
const [libraries, documents, searches, events] =
  ["LibraryService", "DocumentService", "SearchService", "EventService"].map(client);
const call = (stub, method, request) => promisify(stub[method].bind(stub))(request);
const item = (number) => ({ document: { id: `${number}`, title: `Doc ${number}`, text: `text ${number}` } });

await call(libraries, "CreateLibrary", { name: "a" });
const follow = events.Subscribe({ cursor: "begin", event_types: ["EVENT_TYPE_DOCUMENT_ADDED"] });
const messages = follow[Symbol.asyncIterator]();
assert.equal((await messages.next()).value.item, "heartbeat");

// Bidirectional: both statuses of a document before the next is sent.
const ingest = documents.StreamIngestDocuments();
const statuses = ingest[Symbol.asyncIterator]();
ingest.write({ header: { library_id: "a" } });
for (let number = 1; number <= 5; number++) {
  ingest.write(item(number));
  assert.equal((await statuses.next()).value.processing.position, `${number}`);
  assert.equal((await statuses.next()).value.completed.id, `${number}`);
  let message = (await messages.next()).value;
  while (message.item === "heartbeat") message = (await messages.next()).value;
  assert.equal(message.event.document.document_id, `${number}`);
}
ingest.end();
assert.equal((await statuses.next()).value.summary.total_succeeded, "5");
assert.equal((await statuses.next()).done, true);
follow.cancel();
await assert.rejects(messages.next(), { code: grpc.status.CANCELLED });

// Client streaming.
const summary = await new Promise((resolve, reject) => {
  const upload = documents.IngestDocuments((error, reply) => (error ? reject(error) : resolve(reply)));
  upload.write({ header: { library_id: "a" } });
  for (let number = 6; number <= 10; number++) upload.write(item(number));
  upload.end();
});
assert.equal(summary.total_succeeded, "5");

const found = await call(searches, "Search", { library_id: "a", query: "text 7", k: 3 });
assert.equal(found.results.length, 3);
const export_ = documents.ExportDocuments({ library_id: "a" });
const exported = await export_.toArray();
assert.equal(exported.length, 11);
assert.equal(exported.at(-1).complete.total_documents, "10");

const refused = await call(searches, "Search", { library_id: "none", query: "x" }).catch((e) => e);
assert.equal(refused.code, grpc.status.NOT_FOUND);
const [details] = refused.metadata.get("grpc-status-details-bin");
assert.ok(details.includes("NOT_FOUND") && details.includes("arrwdb"), details.toString());

const late = events.Subscribe({}, { deadline: Date.now() + 200 });
late.resume();
const [error] = await once(late, "error");
assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED);
for (const stub of [libraries, documents, searches, events]) stub.close();
