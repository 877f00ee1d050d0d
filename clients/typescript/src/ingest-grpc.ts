// Ingest over a bidirectional gRPC stream: statuses come while items are still being sent.

import type { Client as Rpc } from "@connectrpc/connect";

import { fromOnConflict } from "./convert.js";
import { fromItem } from "./errors.js";
import type { DocumentService } from "./gen/arrwdb/v1/document_service_pb.js";
import type { IngestWire } from "./ingest.js";

/** For transports that stream both ways. */
export function ingestOverGrpc(rpc: Rpc<typeof DocumentService>): IngestWire {
  return async function* ({ libraryId, onConflict }, items, signal) {
    const header = { libraryId, onConflict: fromOnConflict(onConflict) };
    const requests = async function* () {
      yield { item: { case: "header" as const, value: header } };
      for (let item = await items.next(); item !== undefined; item = await items.next()) {
        yield { item: { case: "document" as const, value: item.message } };
      }
    };
    for await (const { status } of rpc.streamIngestDocuments(requests(), { signal, timeoutMs: 0 })) {
      switch (status.case) {
        case "completed": {
          const { id, title, numChunks, revision } = status.value;
          yield { status: "completed", id, title, numChunks, revision };
          break;
        }
        case "skipped": {
          const { id, title, revision } = status.value;
          yield { status: "skipped", id, title, revision };
          break;
        }
        case "failed":
          yield { status: "failed", title: status.value.title, error: fromItem(status.value.error) };
          break;
        case "summary":
          yield { status: "summary", batchId: status.value.batchId };
          break;
      }
    }
  };
}
