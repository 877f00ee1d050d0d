//! Which errors which requests can meet, as responses. How a kind looks is [`Fault`]'s to say.

use std::collections::BTreeMap;

use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{ContentBuilder, Ref, RefOr};
use utoipa::{IntoResponses, ToSchema};

use crate::api::fault::Fault;
use crate::api::http::problem::ProblemBody;
use crate::types::ErrorKind;

/// Kinds that any request can meet.
const ALWAYS: [ErrorKind; 4] =
    [ErrorKind::InvalidArgument, ErrorKind::Unavailable, ErrorKind::Corrupt, ErrorKind::Internal];

/// One response for each status.
fn problems(kinds: &[ErrorKind]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for kind in kinds {
        let fault = Fault::of(*kind);
        let told = by_status.entry(fault.status.as_u16()).or_default();
        told.push(format!("`{}`: {}.", fault.slug, fault.title));
    }
    let problem = || Ref::from_schema_name(ProblemBody::<'_>::name());
    let content = || ContentBuilder::new().schema(Some(problem())).build();
    let response = |told: Vec<String>| {
        let content = content();
        ResponseBuilder::new()
            .description(told.join(" "))
            .content("application/problem+json", content)
            .build()
    };
    by_status
        .into_iter()
        .map(|(status, told)| (status.to_string(), response(told).into()))
        .collect()
}

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident = $($kind:ident)*;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug)]
        pub(in crate::api::http) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                problems(&[&ALWAYS[..], &[$(ErrorKind::$kind),*]].concat())
            }
        }
    )*};
}

faults! {
    /// Of the server itself.
    ServerFaults = ;
    /// Of reads of everything.
    ReadFaults = DeadlineExceeded;
    /// Of reads of something that must exist.
    ReadOneFaults = NotFound DeadlineExceeded;
    /// Of the creation of a library.
    CreateFaults = PermissionDenied AlreadyExists TooLarge FailedPrecondition ResourceExhausted
        DeadlineExceeded;
    /// Of the creation of a consumer.
    CreateConsumerFaults = PermissionDenied NotFound AlreadyExists TooLarge ResourceExhausted
        CursorExpired CursorUnknown DeadlineExceeded;
    /// Of the creation of a document.
    CreateInFaults = PermissionDenied NotFound AlreadyExists TooLarge FailedPrecondition
        DeadlineExceeded;
    /// Of changes of something that must exist.
    ChangeFaults = PermissionDenied NotFound AlreadyExists Conflict TooLarge FailedPrecondition
        DeadlineExceeded;
    /// Of deletions.
    DeleteFaults = PermissionDenied NotFound Conflict;
    /// Of what counts by a filter.
    MatchFaults = NotFound TooLarge DeadlineExceeded;
    /// Of what deletes by a filter.
    DeleteMatchingFaults = PermissionDenied NotFound TooLarge DeadlineExceeded;
    /// Of work on an index.
    IndexFaults = PermissionDenied NotFound TooLarge FailedPrecondition ResourceExhausted;
    /// Of a measurement.
    RecallFaults = PermissionDenied NotFound TooLarge ResourceExhausted DeadlineExceeded;
    /// Of ingests, before the first line.
    IngestFaults = PermissionDenied NotFound ResourceExhausted;
    /// Of searches.
    SearchFaults = PermissionDenied NotFound TooLarge FailedPrecondition ResourceExhausted
        DeadlineExceeded;
    /// Of pages of events.
    EventsFaults = NotFound TooLarge CursorExpired CursorUnknown DeadlineExceeded;
    /// Of streams of events, before the first.
    StreamFaults = NotFound TooLarge Conflict FailedPrecondition CursorExpired CursorUnknown
        ResourceExhausted DeadlineExceeded;
    /// Of what a durable consumer's owner asks.
    OwnerFaults = PermissionDenied NotFound Conflict FailedPrecondition TooLarge CursorExpired
        CursorUnknown DeadlineExceeded;
    /// Of a look at a consumer.
    FindFaults = NotFound;
    /// Of pausing, resuming and deleting a consumer.
    ConsumerFaults = PermissionDenied NotFound;
}
