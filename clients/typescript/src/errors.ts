// What can go wrong, as one type: from gRPC statuses, from problems over HTTP, from the client.

import { Code, ConnectError } from "@connectrpc/connect";
import { durationMs } from "@bufbuild/protobuf/wkt";

import type { Error as PbError } from "./gen/arrwdb/v1/error_pb.js";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/** The stable names of kinds of errors. A newer server may have others. */
export type ErrorSlug =
  | "invalid-argument"
  | "not-found"
  | "already-exists"
  | "conflict"
  | "failed-precondition"
  | "too-large"
  | "resource-exhausted"
  | "cursor-expired"
  | "cursor-unknown"
  | "unavailable"
  | "deadline-exceeded"
  | "cancelled"
  | "unauthenticated"
  | "permission-denied"
  | "unimplemented"
  | "corrupt"
  | "internal"
  | (string & {});

/** One field that is wrong, and why. */
export interface FieldViolation {
  /** The field's path, for example `chunks[2].embedding`. */
  field: string;
  /** What must be true of it. */
  detail: string;
}

/** What became of an item that failed, or of a call. */
export interface ErrorDetails {
  /** The kind of error. */
  slug: ErrorSlug;
  /** What happened, for a person. */
  detail: string;
  /** The fields that are wrong, where that is the cause. */
  violations: FieldViolation[];
  /** Milliseconds after which a retry is worth it, where that is known. */
  retryAfterMs?: number;
  /** Of `cursor-expired`: the oldest cursor that works. */
  floorCursor?: string;
}

/** Every error of this client. `slug` says what kind, `message` is for people. */
export class ArrwdbError extends Error implements ErrorDetails {
  override readonly name: string = "ArrwdbError";
  readonly slug: ErrorSlug;
  readonly detail: string;
  readonly violations: FieldViolation[];
  // Only there when they say something.
  declare readonly retryAfterMs?: number;
  declare readonly floorCursor?: string;

  constructor(error: Pick<ErrorDetails, "slug" | "detail"> & Partial<ErrorDetails>, cause?: unknown) {
    super(`${error.slug}: ${error.detail}`, cause === undefined ? undefined : { cause });
    this.slug = error.slug;
    this.detail = error.detail;
    this.violations = error.violations ?? [];
    if (error.retryAfterMs !== undefined) this.retryAfterMs = error.retryAfterMs;
    if (error.floorCursor !== undefined) this.floorCursor = error.floorCursor;
  }
}

/**
 * Whether the same request may find the server again: it could not be reached, the connection
 * broke, or it said when to come back.
 */
export function isPassing(error: ArrwdbError): boolean {
  return (
    error.slug === "unavailable" ||
    (error.slug === "resource-exhausted" && error.retryAfterMs !== undefined)
  );
}

/** A call that was given up by its caller. */
export function cancelled(signal: AbortSignal): ArrwdbError {
  return new ArrwdbError({ slug: "cancelled", detail: "the caller gave it up" }, signal.reason);
}

/** A request that is wrong before it is sent. */
export function invalid(field: string, detail: string): ArrwdbError {
  const violations = [{ field, detail }];
  return new ArrwdbError({ slug: "invalid-argument", detail: `${field}: ${detail}`, violations });
}

/**
 * What statuses mean that a server of arrwdb did not write: they come of a connection that broke or
 * was never there, of a proxy, or of the gRPC library.
 */
const SLUG_OF_CODE: Record<Code, ErrorSlug> = {
  [Code.Canceled]: "unavailable",
  [Code.Unknown]: "unavailable",
  [Code.InvalidArgument]: "invalid-argument",
  [Code.DeadlineExceeded]: "deadline-exceeded",
  [Code.NotFound]: "not-found",
  [Code.AlreadyExists]: "already-exists",
  [Code.PermissionDenied]: "permission-denied",
  [Code.ResourceExhausted]: "resource-exhausted",
  [Code.FailedPrecondition]: "failed-precondition",
  [Code.Aborted]: "unavailable",
  // A message beyond the server's limit: the only case in which its gRPC library says so.
  [Code.OutOfRange]: "too-large",
  [Code.Unimplemented]: "unimplemented",
  [Code.Internal]: "unavailable",
  [Code.Unavailable]: "unavailable",
  [Code.DataLoss]: "unavailable",
  [Code.Unauthenticated]: "unauthenticated",
};

/** The error behind whatever a gRPC call threw; `signal` is the caller's. */
export function fromGrpc(thrown: unknown, signal?: AbortSignal): ArrwdbError {
  if (thrown instanceof ArrwdbError) return thrown;
  if (signal?.aborted) return cancelled(signal);
  const error = ConnectError.from(thrown);
  const info = error.findDetails(ErrorInfoSchema).find((info) => info.domain === "arrwdb");
  if (info === undefined) {
    return new ArrwdbError({ slug: SLUG_OF_CODE[error.code], detail: error.rawMessage }, thrown);
  }
  const violations = error
    .findDetails(BadRequestSchema)
    .flatMap((wrong) => wrong.fieldViolations)
    .map(({ field, description }) => ({ field, detail: description }));
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const floorCursor = info.metadata["floor_cursor"];
  return new ArrwdbError(
    {
      slug: info.reason.toLowerCase().replaceAll("_", "-"),
      detail: error.rawMessage,
      violations,
      ...(delay && { retryAfterMs: durationMs(delay) }),
      ...(floorCursor && { floorCursor }),
    },
    thrown,
  );
}

/** Why one item of a stream failed, out of its message. */
export function fromItem(error: PbError | undefined): ErrorDetails {
  return {
    slug: error?.slug ?? "internal",
    detail: error?.detail ?? "",
    violations: (error?.violations ?? []).map(({ field, detail }) => ({ field, detail })),
    ...(error?.retryAfterMs !== undefined && { retryAfterMs: Number(error.retryAfterMs) }),
  };
}

/** An error or problem as HTTP writes it: `type` is the slug or ends with it. */
export function fromProblem(problem: unknown): ErrorDetails {
  const said = (problem ?? {}) as Record<string, unknown>;
  const violations = Array.isArray(said["errors"]) ? (said["errors"] as Partial<FieldViolation>[]) : [];
  return {
    slug: String(said["type"] ?? "internal").replace("urn:arrwdb:error:", ""),
    detail: String(said["detail"] ?? said["title"] ?? ""),
    violations: violations.map(({ field, detail }) => ({ field: field ?? "", detail: detail ?? "" })),
    ...(typeof said["retry_after_ms"] === "number" && { retryAfterMs: said["retry_after_ms"] }),
    ...(typeof said["floor_cursor"] === "string" && { floorCursor: said["floor_cursor"] }),
  };
}
