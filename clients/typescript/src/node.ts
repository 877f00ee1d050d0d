// The client in Node: gRPC over one HTTP/2 connection.

import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { BaseClient, baseUrlOf, type ClientOptions, interceptorsOf } from "./client.js";
import { set } from "./convert.js";
import { ingestOverGrpc } from "./ingest-grpc.js";

export * from "./exports.js";

/** A connection that does not answer a ping counts as dead, so that calls on it fail. */
const PING = { pingIntervalMs: 20_000, pingTimeoutMs: 10_000 };

/**
 * A client of one server, over one connection that is made at the first call and again when it
 * breaks. Cheap to keep; `close` lets the connection go.
 *
 * @param address for example `http://127.0.0.1:8000`
 */
export class Client extends BaseClient {
  constructor(address: string, options: ClientOptions = {}) {
    const baseUrl = baseUrlOf(address);
    const { ca, certificate: cert, key } = options.tls ?? {};
    const sessionManager = new Http2SessionManager(baseUrl, PING, set({ ca, cert, key }));
    const transport = createGrpcTransport({ baseUrl, sessionManager, interceptors: interceptorsOf(options) });
    super({ transport, ingest: ingestOverGrpc, close: () => sessionManager.abort() }, options);
  }
}
