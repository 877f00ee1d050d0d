// What libraries are searched with.

import { createClient, type Client as Rpc, type Transport } from "@connectrpc/connect";

import { type Caller, seeing } from "./caller.js";
import { fromIndexType, toIndexStatistics } from "./convert.js";
import { IndexService } from "./gen/arrwdb/v1/index_service_pb.js";
import type { CallOptions, IndexStatistics, ReadOptions, RebuildOptions } from "./types.js";

/** The indexes of libraries. The server does by itself what is worth doing: none of this is needed. */
export class Indexes {
  readonly #rpc: Rpc<typeof IndexService>;
  readonly #caller: Caller;

  /** @internal */
  constructor(transport: Transport, caller: Caller) {
    this.#rpc = createClient(IndexService, transport);
    this.#caller = caller;
  }

  /** What a library's index is made of, and what is being built. */
  async statistics(libraryId: string, options: ReadOptions = {}): Promise<IndexStatistics> {
    const request = { libraryId, ...seeing(options) };
    return toIndexStatistics(await this.#caller.again((call) => this.#rpc.getIndexStatistics(request, call), options));
  }

  /**
   * Builds a library's index anew, as another kind if one is given; gives the revision of that when
   * it is done, which may take longer than a call may unless `timeoutMs` says so: it goes on without
   * its caller. `failed-precondition` when a graph over these vectors would not find enough. Not
   * tried again by itself.
   */
  async rebuild(libraryId: string, options: RebuildOptions = {}): Promise<bigint> {
    const request = { libraryId, indexType: fromIndexType(options.indexType) };
    return (await this.#caller.once((call) => this.#rpc.rebuildIndex(request, call), options)).revision;
  }

  /**
   * Merges what a library's index is made of, and gives back the space of deleted rows; otherwise as
   * `rebuild`.
   */
  async optimize(libraryId: string, options: CallOptions = {}): Promise<bigint> {
    return (await this.#caller.once((call) => this.#rpc.optimizeIndex({ libraryId }, call), options)).revision;
  }
}
