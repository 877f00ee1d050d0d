// Real servers, a wire that breaks at will, and the feed's verifier.

import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

import type { DocumentInput, Event, Heartbeat } from "arrwdb";

export type Received = Event | Heartbeat;

const binary = process.env["ARRWDB_BINARY"] ?? assert.fail("ARRWDB_BINARY says where the server is");
const running = new Set<ChildProcess>();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/** The real binary on a folder of its own, and on an address that stays over restarts. */
export class Server {
  readonly folder = mkdtempSync(path.join(tmpdir(), "arrwdb-ts-"));
  readonly #flags: string[];
  #child: ChildProcess | undefined;
  address = "";

  private constructor(flags: string[]) {
    this.#flags = flags;
  }

  /** `host`: a loopback address of the test's own, so that nobody takes the port in between. */
  static async start(host: string, ...flags: string[]): Promise<Server> {
    const server = new Server(flags);
    server.address = `${host}:0`;
    await server.restart();
    return server;
  }

  get url(): string {
    return `http://${this.address}`;
  }

  async restart(): Promise<void> {
    const folder = path.join(this.folder, "data");
    const child = spawn(binary, ["serve", "--listen", this.address, "--data-dir", folder, ...this.#flags], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    running.add(child);
    this.#child = child;
    for await (const line of createInterface({ input: child.stdout! })) {
      this.address = line.match(/http:\/\/(\S+?:\d+)/)?.[1] ?? assert.fail(`no address in ${line}`);
      return;
    }
    assert.fail("the server did not start");
  }

  /** SIGKILL: no chance to tidy up. */
  async kill(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    const child = this.#child!;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await gone;
    running.delete(child);
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true });
  }

  /** What an HTTP path answers. */
  async text(path: string): Promise<string> {
    const response = await fetch(this.url + path);
    assert.equal(response.status, 200, path);
    return response.text();
  }

  /** The ids of a library's documents. */
  async exported(library: string): Promise<string[]> {
    const lines = (await this.text(`/v1/libraries/${library}/documents/stream`)).trimEnd().split("\n");
    return lines.slice(0, -1).map((line) => (JSON.parse(line) as { id: string }).id);
  }

  /** The whole log, as pages of events. */
  async pages(): Promise<string[]> {
    const pages: string[] = [];
    for (let cursor = "begin", tail = ""; cursor !== tail; ) {
      const page = await this.text(`/v1/events?cursor=${cursor}&limit=1000`);
      ({ next_cursor: cursor, tail_cursor: tail } = JSON.parse(page) as Record<"next_cursor" | "tail_cursor", string>);
      pages.push(page);
    }
    return pages;
  }

  /** The id of the newest event: a reader whose cursor has reached it has everything. */
  async newest(): Promise<string> {
    const events = (await this.pages()).flatMap((page) => (JSON.parse(page) as { events: { id: string }[] }).events);
    return events.at(-1)?.id ?? assert.fail("there are no events");
  }

  /** Has the server's own verifier look at what a client was given, against log and export. */
  async verify(received: Received[], library: string, ...more: string[]): Promise<string> {
    const file = (name: string, text: string) => {
      writeFileSync(path.join(this.folder, name), text);
      return path.join(this.folder, name);
    };
    const pages = (await this.pages()).join("");
    const recording = file("received.ndjson", received.map((item) => JSON.stringify(toWire(item))).join("\n"));
    const exported = file("export.ndjson", await this.text(`/v1/libraries/${library}/documents/stream`));
    const reference = file("log.json", pages);
    const told = execFileSync(binary, ["verify-feed", recording, "--reference", reference, ...more], { encoding: "utf8" });
    if (more.length > 0) return told;
    return told + execFileSync(binary, ["verify-feed", recording, "--library", library, "--export", exported], { encoding: "utf8" });
  }
}

/** An event with the names and values that it has over HTTP. */
export function toWire(value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, value]) => {
      const wire = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      return [wire, name === "metadata" || name === "previousMetadata" ? value : toWire(value)];
    }),
  );
}

/** A wire between a client and a server that can go silent and break. */
export class Proxy {
  readonly #listener = net.createServer((client) => this.#join(client));
  readonly #pairs = new Set<net.Socket>();
  readonly #target: string;
  url = "";
  /** Whether what the server says is dropped. */
  muted = false;
  /** After so many bytes of the server's a connection breaks. */
  bytesMax = Infinity;
  connections = 0;

  private constructor(target: string) {
    this.#target = target;
  }

  static async start(target: string): Promise<Proxy> {
    const proxy = new Proxy(target);
    await new Promise<void>((resolve) => proxy.#listener.listen(0, "127.0.0.1", resolve));
    proxy.url = `http://127.0.0.1:${(proxy.#listener.address() as net.AddressInfo).port}`;
    return proxy;
  }

  #join(client: net.Socket): void {
    const [host, port] = this.#target.split(":");
    const server = net.connect(Number(port), host);
    let left = this.bytesMax;
    this.connections += 1;
    this.#pairs.add(client);
    client.on("data", (bytes) => server.write(bytes));
    server.on("data", (bytes) => {
      if (this.muted) return;
      client.write(bytes.subarray(0, left));
      left -= bytes.length;
      if (left <= 0) client.destroy();
    });
    for (const [one, other] of [[client, server], [server, client]] as const) {
      one.on("error", () => {});
      one.on("close", () => other.destroy());
    }
    client.on("close", () => this.#pairs.delete(client));
  }

  /** Breaks every connection. */
  cut(): void {
    for (const client of this.#pairs) client.destroy();
  }

  stop(): void {
    this.#listener.close();
    this.cut();
  }
}

/** Waits until something holds. */
export async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 30_000;
  while (!(await holds())) {
    assert.ok(performance.now() < end, `never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Documents that differ. */
export function* documents(count: number, id?: (i: number) => string): Generator<DocumentInput> {
  for (let i = 0; i < count; i++) yield { ...(id && { id: id(i) }), title: `Doc ${i}`, text: `text number ${i}` };
}
