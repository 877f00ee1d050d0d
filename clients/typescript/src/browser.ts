// The client in browsers: gRPC-web, and NDJSON POSTs for ingest.

import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { BaseClient, baseUrlOf, type ClientOptions, headersOf, interceptorsOf } from "./client.js";
import { ingestOverHttp } from "./ingest-http.js";

export * from "./exports.js";

/**
 * A client of one server. A page of another origin than the server's needs the server's leave
 * (`--cors-origins`). Over HTTP/1.1 a browser has six connections to a server, all tabs together,
 * and a subscription takes one.
 *
 * @param address for example `http://127.0.0.1:8000`, or `location.origin`
 */
export class Client extends BaseClient {
  constructor(address: string, options: ClientOptions = {}) {
    const baseUrl = baseUrlOf(address);
    const transport = createGrpcWebTransport({ baseUrl, interceptors: interceptorsOf(options) });
    const ingest = () => ingestOverHttp(baseUrl, () => headersOf(options));
    super({ transport, ingest, close: () => {} }, options);
  }
}
