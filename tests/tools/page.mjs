// What runs in the browser: `window.arrwdb`, used by browser.mjs from outside.

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { DocumentService } from "#generated/arrwdb/v1/document_service_pb.js";
import { EventType } from "#generated/arrwdb/v1/event_pb.js";
import { EventService } from "#generated/arrwdb/v1/event_service_pb.js";
import { LibraryService } from "#generated/arrwdb/v1/library_service_pb.js";
import { SearchService } from "#generated/arrwdb/v1/search_service_pb.js";

/** Clients of every service over gRPC-web. */
function clients(baseUrl) {
  const transport = createGrpcWebTransport({ baseUrl });
  return {
    libraries: createClient(LibraryService, transport),
    documents: createClient(DocumentService, transport),
    searches: createClient(SearchService, transport),
    events: createClient(EventService, transport),
  };
}

/** Starts an EventSource and keeps what it says in `window.followed`. */
function follow(url, types) {
  const followed = { opened: 0, events: [] };
  const source = new EventSource(url);
  source.onopen = () => (followed.opened += 1);
  for (const type of types) {
    source.addEventListener(type, (event) => {
      followed.events.push({ type, id: event.lastEventId, data: JSON.parse(event.data) });
    });
  }
  window.followed = followed;
}

/** Reads NDJSON by a ReadableStream: its lines, and how many pieces it came in. */
async function readLines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let pieces = 0;
  const lines = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces += 1;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    lines.push(...parts.map((line) => JSON.parse(line)));
  }
  return { lines, pieces, rest };
}

window.arrwdb = { Code, ConnectError, EventType, clients, follow, readLines };
