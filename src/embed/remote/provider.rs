//! What each provider is sent, and what it answers.

use std::sync::Arc;

use reqwest::{Client, RequestBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Protocol, Purpose, RemoteModel, Vectors};

/// How much of a provider's complaint is told.
const COMPLAINT_CHARACTERS_MAX: usize = 300;

#[derive(Serialize)]
struct OpenAiRequest<'a> {
    model: &'a str,
    input: Vec<String>,
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

#[derive(Serialize)]
struct CohereRequest<'a> {
    model: &'a str,
    texts: Vec<String>,
    input_type: &'static str,
    embedding_types: [&'static str; 1],
    /// Rather a refusal than a vector of a part of the text.
    truncate: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimension: Option<usize>,
}

/// The request for these texts' vectors.
pub(super) fn request(
    client: &Client,
    model: &RemoteModel,
    purpose: Purpose,
    texts: &[Arc<str>],
) -> RequestBuilder {
    let prefix = match purpose {
        Purpose::Document => &model.document_prefix,
        Purpose::Query => &model.query_prefix,
    };
    let texts = texts.iter().map(|text| format!("{prefix}{text}")).collect();
    let (base, dimension) =
        (model.url.trim_end_matches('/'), model.ask_dimension.then_some(model.dimension));
    match model.provider {
        Protocol::OpenAi => client.post(format!("{base}/embeddings")).json(&OpenAiRequest {
            model: &model.model,
            input: texts,
            encoding_format: "float",
            dimensions: dimension,
        }),
        Protocol::Cohere => client.post(format!("{base}/v2/embed")).json(&CohereRequest {
            model: &model.model,
            texts,
            input_type: match purpose {
                Purpose::Document => "search_document",
                Purpose::Query => "search_query",
            },
            embedding_types: ["float"],
            truncate: "NONE",
            output_dimension: dimension,
        }),
    }
}

#[derive(Deserialize)]
struct OpenAiAnswer {
    data: Vec<OpenAiVector>,
}

#[derive(Deserialize)]
struct OpenAiVector {
    index: usize,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct CohereAnswer {
    embeddings: CohereVectors,
}

#[derive(Deserialize)]
struct CohereVectors {
    float: Vectors,
}

/// The vectors of an answer, in the order of the texts, one for each of `count`; in words why it
/// has not that.
pub(super) fn read(protocol: Protocol, answer: &[u8], count: usize) -> Result<Vectors, String> {
    let unlike = |error: serde_json::Error| format!("its answer is not of its protocol: {error}");
    match protocol {
        Protocol::OpenAi => {
            let answer: OpenAiAnswer = serde_json::from_slice(answer).map_err(unlike)?;
            counted(answer.data.len(), count)?;
            let mut data = answer.data;
            data.sort_by_key(|vector| vector.index);
            match data.iter().zip(0..).find(|(vector, place)| vector.index != *place) {
                None => Ok(data.into_iter().map(|vector| vector.embedding).collect()),
                Some((_, place)) => Err(format!("its answer has not one vector for text {place}")),
            }
        }
        Protocol::Cohere => {
            let answer: CohereAnswer = serde_json::from_slice(answer).map_err(unlike)?;
            counted(answer.embeddings.float.len(), count)?;
            Ok(answer.embeddings.float)
        }
    }
}

fn counted(came: usize, count: usize) -> Result<(), String> {
    if came == count {
        return Ok(());
    }
    Err(format!("{came} vectors came for {count} texts"))
}

/// What an answer that is no success complains of, as far as it can be found.
pub(super) fn complaint(answer: &[u8]) -> String {
    let json = serde_json::from_slice::<Value>(answer).unwrap_or_default();
    let places = ["/error/message", "/error", "/message", "/detail"];
    let found = places.iter().find_map(|place| json.pointer(place)?.as_str());
    let told = found.map_or_else(|| String::from_utf8_lossy(answer), Into::into);
    let line = told.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(COMPLAINT_CHARACTERS_MAX).collect()
}
