// What both entries have in common.

export type { ClientOptions, Consumers, Documents, Libraries } from "./client.js";
export type { ConsumeOptions, Consumption } from "./consumption.js";
export { ArrwdbError, type ErrorDetails, type ErrorSlug, type FieldViolation } from "./errors.js";
export type { FollowOptions } from "./follow.js";
export type { Indexes } from "./indexes.js";
export { IngestError } from "./ingest.js";
export type { Stream } from "./stream.js";
export type { Subscribed, SubscribeOptions, Subscription } from "./subscription.js";
export type * from "./types.js";
