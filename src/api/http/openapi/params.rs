//! How the API description shows the parameters that several requests take: those of
//! [`super::super::params`] and [`super::super::reply`], with what each means. A parameter without a
//! value counts as not given, so patterns let it be empty; a header may not be.

#![expect(dead_code, reason = "these describe what handlers take by name")]

use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use crate::api::http::dto::described::EventTypeName;

/// Which library.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::api::http) struct LibraryParam {
    /// Its id or its name, percent-encoded.
    library: String,
}

/// Which document of the library.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::api::http) struct DocumentParam {
    /// Its id, percent-encoded. One called `stream` is `%73tream` here.
    document: String,
}

/// Which consumer.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::api::http) struct ConsumerParam {
    /// Its name, percent-encoded.
    consumer: String,
}

/// Which page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api::http) struct PageParams {
    /// Most items: 100 when absent or 0; more than 1 000 is 1 000.
    #[param(nullable = false)]
    page_size: Option<u32>,
    /// What the page before gave as `next_page_token`.
    #[param(nullable = false)]
    page_token: Option<String>,
}

/// Which state a read is of.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api::http) struct ReadParams {
    /// Waits until it sees at least this revision.
    #[param(nullable = false, pattern = "^[0-9]*$")]
    min_revision: Option<String>,
    /// How long it waits for that, in milliseconds (10 000 when absent, and at most).
    #[param(nullable = false)]
    timeout_ms: Option<u64>,
}

/// What makes the retry of a creation safe.
pub(in crate::api::http) struct RequestIdParams;

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct RequestIdHeader {
    /// 1 to 128 printable ASCII characters: a creation with the same within ten minutes gets the
    /// first one's answer.
    #[param(nullable = false, rename = "Idempotency-Key", pattern = "^[!-~]{1,128}$")]
    idempotency_key: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct RequestIdParam {
    /// The same as `Idempotency-Key`.
    #[param(nullable = false, pattern = "^[!-~]{0,128}$")]
    request_id: Option<String>,
}

/// What makes a change safe against others.
pub(in crate::api::http) struct ExpectedParams;

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct ExpectedHeader {
    /// An `ETag`: 409 unless this is the revision. `*` is any.
    #[param(nullable = false, rename = "If-Match", pattern = "^(\"[0-9]+\"|[0-9]+|[*])$")]
    if_match: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
struct ExpectedParam {
    /// The same as `If-Match`, without quotes.
    #[param(nullable = false, pattern = "^[0-9]*$")]
    expected_revision: Option<String>,
}

/// Two groups as one.
macro_rules! both {
    ($($name:ty = $header:ty, $query:ty;)*) => {$(
        impl IntoParams for $name {
            fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                [<$header>::into_params(&place), <$query>::into_params(&place)].concat()
            }
        }
    )*};
}

both! {
    RequestIdParams = RequestIdHeader, RequestIdParam;
    ExpectedParams = ExpectedHeader, ExpectedParam;
}

/// Which events, and from where.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api::http) struct EventsParams {
    /// Only events of this library, by id or name.
    #[param(nullable = false)]
    library_id: Option<String>,
    /// Only events of these types, separated by commas.
    #[param(nullable = false, style = Form, explode = false, value_type = Option<Vec<EventTypeName>>)]
    event_types: Option<String>,
    /// Only events of which this expression is true.
    #[param(nullable = false)]
    filter: Option<String>,
    /// Where to begin: the id of an event, `begin`, `now`, `revision:N` or `time:RFC3339`.
    #[param(nullable = false)]
    cursor: Option<String>,
}

/// A search in the query string; what stands in the body too is refused.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api::http) struct SearchParams {
    /// A text.
    #[param(nullable = false)]
    query: Option<String>,
    /// Numbers separated by commas.
    #[param(nullable = false, style = Form, explode = false)]
    embedding: Option<Vec<f32>>,
    /// Most hits: 10 when absent; at most 1 000 in one answer, 10 000 in a stream.
    #[param(nullable = false)]
    k: Option<u64>,
    /// `hybrid`, by vectors and words together; `vector`; or `text`, by words alone. When absent:
    /// `vector` for an embedding or with a distance threshold, else `hybrid`.
    #[param(nullable = false)]
    mode: Option<String>,
    /// How much each ranking counts in a hybrid search: that of nearness, then that of words.
    #[param(nullable = false, style = Form, explode = false)]
    weights: Option<Vec<f32>>,
    /// Whether hits say how they came to their ranks.
    #[param(nullable = false)]
    explain: Option<bool>,
    /// The largest distance that a hit may have. Ranks by vectors.
    #[param(nullable = false)]
    distance_threshold: Option<f32>,
    /// Only chunks of which this expression is true.
    #[param(nullable = false)]
    filter: Option<String>,
    /// Whether hits have their text (`true`).
    #[param(nullable = false)]
    include_text: Option<bool>,
    /// Whether to compare with every vector, however large the library.
    #[param(nullable = false)]
    exact: Option<bool>,
    /// How widely graphs are searched: more finds more and takes longer; good when absent.
    #[param(nullable = false)]
    ef: Option<u64>,
    /// `document`: of each document only its best chunk.
    #[param(nullable = false)]
    group_by: Option<String>,
}
