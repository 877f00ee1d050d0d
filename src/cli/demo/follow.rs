//! The demo's subscriber: what arrives, in which order, how long after the write.

use std::time::Duration;

use indicatif::ProgressBar;
use tonic::Streaming;

use super::super::Failure;
use super::client::told;
use super::report::{Latencies, millis, say};
use crate::api::grpc::pb::{
    BatchEvent, Event, EventType, SubscribeResponse, event, subscribe_response,
};
use crate::types::Timestamp;

/// Events that are shown as they arrive; the others are counted.
const SHOWN: usize = 5;

/// What a subscription gave until the batch ended.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Ids of the `document.added` events and of their documents, as they came.
    pub(super) documents: Vec<(String, String)>,
    /// From the change's time to the arrival of its event.
    pub(super) delays: Latencies,
    /// What `batch.completed` said.
    pub(super) batch: BatchEvent,
}

/// Waits until the subscription is live: its first message says so.
pub(super) async fn begin(events: &mut Streaming<SubscribeResponse>) -> Result<(), Failure> {
    match events.message().await.map_err(told("Subscribe"))? {
        Some(_) => Ok(()),
        None => Err("Subscribe: ended at once".into()),
    }
}

/// Follows until a batch ends; shows the first events beside `bar`, if there is one.
pub(super) async fn until_batch_ends(
    mut events: Streaming<SubscribeResponse>,
    bar: Option<ProgressBar>,
) -> Result<Followed, Failure> {
    let mut followed = Followed::default();
    while let Some(message) = events.message().await.map_err(told("Subscribe"))? {
        let Some(subscribe_response::Item::Event(event)) = message.item else { continue };
        let delay = Timestamp::now().since(written_at(&event));
        match event.payload {
            Some(event::Payload::Document(document))
                if event.r#type == i32::from(EventType::DocumentAdded) =>
            {
                followed.delays.add(delay);
                if let Some(bar) = bar.as_ref().filter(|_| followed.documents.len() < SHOWN) {
                    let (revision, title) = (event.revision, &document.title);
                    bar.suspend(|| {
                        let delay = millis(delay);
                        say(format_args!(
                            "  document.added, revision {revision}, {delay} after the write: {title}"
                        ));
                    });
                }
                followed.documents.push((event.id, document.document_id));
            }
            Some(event::Payload::Batch(batch)) => {
                if let Some(reason) = batch.reason {
                    return Err(format!("the batch failed: {reason}").into());
                }
                followed.batch = batch;
                return Ok(followed);
            }
            Some(
                event::Payload::Document(_)
                | event::Payload::Library(_)
                | event::Payload::Chunk(_)
                | event::Payload::Index(_),
            )
            | None => {}
        }
    }
    Err("Subscribe: ended before the batch".into())
}

fn written_at(event: &Event) -> Timestamp {
    let time = event.timestamp.unwrap_or_default();
    let micros = Duration::new(
        u64::try_from(time.seconds).unwrap_or(0),
        u32::try_from(time.nanos).unwrap_or(0),
    )
    .as_micros();
    Timestamp::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}
