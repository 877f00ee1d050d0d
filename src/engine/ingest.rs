//! Streaming ingest: one batch, many documents, not atomic.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;

use super::document::PreparedDocument;
use super::library::revision_written;
use super::writer::{Command, Outcome};
use super::{Engine, ReadAt};
use crate::types::{
    BatchCounts, BatchFailure, BatchId, DocumentId, Error, ErrorKind, Library, LibraryId,
    LibraryRef, NewDocument, OnConflict, Result, Revision,
};

/// What a transport reads from its client, in order.
#[derive(Debug)]
pub enum IngestItem {
    /// A document to write.
    Document {
        /// Its place as the client counts: the line, or the number of the message, from 1.
        position: u64,
        /// What to write; checked here against the limits.
        document: Box<NewDocument>,
    },
    /// An item that the transport could not read; it fails alone.
    Rejected {
        /// Its place as the client counts.
        position: u64,
        /// Its title, as far as it could be read.
        title: String,
        /// What is wrong with it.
        error: Error,
    },
    /// The stream itself broke: nothing follows, the batch fails.
    Broken {
        /// What the batch's event says.
        reason: BatchFailure,
        /// What the client is told, should it still listen.
        error: Error,
    },
}

/// What became of an item, in the order of the items; then how the stream ended.
#[derive(Debug, Clone, PartialEq)]
pub enum IngestStatus {
    /// The item was read and is being worked on.
    Processing {
        /// Its place.
        position: u64,
        /// Its title.
        title: String,
    },
    /// The document is durable and searchable.
    Completed {
        /// Its place.
        position: u64,
        /// Its id, the client's or the server's.
        id: DocumentId,
        /// Its title.
        title: String,
        /// Its chunks.
        num_chunks: u32,
        /// Of its change.
        revision: Revision,
    },
    /// A document with this id exists and `on_conflict` is `skip`.
    Skipped {
        /// Its place.
        position: u64,
        /// Its id.
        id: DocumentId,
        /// Its title.
        title: String,
        /// Of the document that exists.
        revision: Revision,
    },
    /// The item was refused; nothing of it was written.
    Failed {
        /// Its place.
        position: u64,
        /// Its title, as far as it could be read.
        title: String,
        /// Why.
        error: Error,
    },
    /// All items were read and answered; the last status of a whole stream.
    Summary {
        /// Of the batch.
        batch_id: BatchId,
        /// What became of the items.
        counts: BatchCounts,
        /// Of the batch's closing change: reads at it see all that was written.
        revision: Revision,
    },
    /// The stream broke; the last status of such a stream.
    Broken {
        /// Of the batch.
        batch_id: BatchId,
        /// Why.
        error: Error,
    },
}

/// An ingest stream that may begin: its library exists and a place for it is free.
#[derive(Debug)]
pub struct Ingest {
    engine: Engine,
    library: Library,
    on_conflict: OnConflict,
    batch_id: BatchId,
    _place: OwnedSemaphorePermit,
}

impl Engine {
    /// Begins an ingest stream: `not-found` for an unknown library, `resource-exhausted` when
    /// `limits.ingest_streams_max` are open.
    pub async fn ingest(&self, library: &LibraryRef, on_conflict: OnConflict) -> Result<Ingest> {
        let state = self.state_at(ReadAt::default()).await?;
        let library = state.library(library)?.library.clone();
        let place = Arc::clone(&self.inner.ingests).try_acquire_owned().map_err(|_| {
            let most = self.inner.limits.ingest_streams_max;
            let detail = format!("{most} ingest streams are open (ingest_streams_max)");
            Error::new(ErrorKind::ResourceExhausted, detail).retry_after(RETRY_STREAM)
        })?;
        let batch_id = BatchId::generate();
        Ok(Ingest { engine: self.clone(), library, on_conflict, batch_id, _place: place })
    }
}

/// When a client that found no free place should ask again.
const RETRY_STREAM: Duration = Duration::from_secs(1);

impl Ingest {
    /// Of the batch.
    #[must_use]
    pub fn batch_id(&self) -> BatchId {
        self.batch_id
    }

    /// Works through the items until they end; statuses come while items are still awaited.
    ///
    /// Reads no further ahead than `limits.ingest_items_in_flight_max` and
    /// `limits.ingest_bytes_in_flight_max`. Poll it to its end even when nobody listens: dropping
    /// it abandons the items that are not yet submitted, and the batch is closed as `interrupted`
    /// behind it.
    pub fn run(
        self,
        items: impl Stream<Item = IngestItem> + Send + 'static,
    ) -> impl Stream<Item = IngestStatus> + Send + 'static {
        async_stream::stream! {
            let mut items = std::pin::pin!(items);
            let mut run = Run::new(self);
            let mut broken = None;
            loop {
                match run.next(items.as_mut()).await {
                    Step::Status(status) => yield status,
                    Step::Read(None) => run.reading = false,
                    Step::Read(Some(IngestItem::Broken { reason, error })) => {
                        broken = Some((reason, error));
                        run.reading = false;
                    }
                    Step::Read(Some(IngestItem::Document { position, document })) => {
                        if let Err(error) = run.start().await {
                            broken = Some((BatchFailure::Other(error.detail.clone()), error));
                            run.reading = false;
                            continue;
                        }
                        yield IngestStatus::Processing { position, title: document.title.clone() };
                        run.prepare(position, document);
                    }
                    Step::Read(Some(IngestItem::Rejected { position, title, error })) => {
                        if let Err(error) = run.start().await {
                            broken = Some((BatchFailure::Other(error.detail.clone()), error));
                            run.reading = false;
                            continue;
                        }
                        run.reject(Item { position, title, id: None, bytes: 0 }, error);
                    }
                    Step::Done => break,
                }
            }
            yield run.finish(broken).await;
        }
    }
}

/// What is remembered of an item while it is worked on.
#[derive(Debug)]
struct Item {
    position: u64,
    title: String,
    id: Option<DocumentId>,
    bytes: usize,
}

type Prepared = (Item, Result<Box<PreparedDocument>>);
type Committed = (Item, Result<Outcome>);

enum Step {
    Status(IngestStatus),
    Read(Option<IngestItem>),
    Done,
}

/// An ingest stream under way. Items go through two ordered stages: being prepared (split,
/// embedded), then being committed; so that two items with one id are applied in their order.
struct Run {
    ingest: Ingest,
    preparing: FuturesOrdered<BoxFuture<'static, Prepared>>,
    committing: FuturesOrdered<BoxFuture<'static, Committed>>,
    bytes_in_flight: usize,
    counts: BatchCounts,
    last_revision: Revision,
    reading: bool,
    /// Closes the batch if this is dropped on the way.
    open: Option<OpenBatchGuard>,
    began: Instant,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.ingest.engine.inner.metrics.ingest_ended(&self.counts, self.began.elapsed());
    }
}

impl Run {
    fn new(ingest: Ingest) -> Self {
        ingest.engine.inner.metrics.ingest_began();
        Self {
            began: Instant::now(),
            ingest,
            preparing: FuturesOrdered::new(),
            committing: FuturesOrdered::new(),
            bytes_in_flight: 0,
            counts: BatchCounts::default(),
            last_revision: Revision::ZERO,
            reading: true,
            open: None,
        }
    }

    /// Waits for whatever comes first: an item committed, an item prepared, an item to read.
    async fn next(&mut self, mut items: Pin<&mut impl Stream<Item = IngestItem>>) -> Step {
        let engine = self.ingest.engine.clone();
        let limits = engine.limits();
        loop {
            let in_flight = self.preparing.len() + self.committing.len();
            let room = in_flight < limits.ingest_items_in_flight_max
                && (self.bytes_in_flight < limits.ingest_bytes_in_flight_max || in_flight == 0);
            if !self.reading && in_flight == 0 {
                return Step::Done;
            }
            tokio::select! {
                biased;
                Some((item, outcome)) = self.committing.next() => {
                    return Step::Status(self.settle(item, outcome));
                }
                Some((item, document)) = self.preparing.next() => {
                    let committed = self.commit(item, document).await;
                    self.committing.push_back(committed);
                }
                item = items.next(), if self.reading && room => return Step::Read(item),
            }
        }
    }

    /// Starts the batch with its first item.
    async fn start(&mut self) -> Result<()> {
        self.counts.processed += 1;
        if self.open.is_some() {
            return Ok(());
        }
        let (library, batch_id) = (self.ingest.library.id, self.ingest.batch_id);
        let started = self.ingest.engine.inner.submit(Command::StartBatch { library, batch_id });
        let started = started.await?;
        // From here on it may be in the log, whoever waits.
        self.open = Some(OpenBatchGuard {
            engine: self.ingest.engine.clone(),
            library,
            batch_id,
            ended: false,
        });
        // Items follow only on a start that is in the log: no batch ends that has not begun.
        if let Err(error) = started.wait().await {
            if let Some(guard) = &mut self.open {
                guard.ended = true;
            }
            self.open = None;
            return Err(error);
        }
        Ok(())
    }

    fn prepare(&mut self, position: u64, document: Box<NewDocument>) {
        let item = Item {
            position,
            title: document.title.clone(),
            id: document.id.clone(),
            bytes: document.bytes(),
        };
        self.bytes_in_flight += item.bytes;
        let (inner, library) = (Arc::clone(&self.ingest.engine.inner), self.ingest.library.clone());
        self.preparing.push_back(Box::pin(async move {
            let prepared = inner.prepare(&library, *document).await;
            (item, prepared.map(Box::new))
        }));
    }

    fn reject(&mut self, item: Item, error: Error) {
        self.preparing.push_back(Box::pin(std::future::ready((item, Err(error)))));
    }

    /// Submits a prepared item, waiting for a place in the writer's mailbox.
    async fn commit(
        &mut self,
        item: Item,
        document: Result<Box<PreparedDocument>>,
    ) -> BoxFuture<'static, Committed> {
        let document = match document {
            Ok(document) => document,
            Err(error) => return Box::pin(std::future::ready((item, Err(error)))),
        };
        let command = Command::WriteDocument {
            library: self.ingest.library.id,
            document,
            on_conflict: self.ingest.on_conflict,
            batch_id: Some(self.ingest.batch_id),
            request_id: None,
        };
        match self.ingest.engine.inner.submit(command).await {
            Ok(answer) => Box::pin(async move { (item, answer.wait().await) }),
            Err(error) => Box::pin(std::future::ready((item, Err(error)))),
        }
    }

    /// Counts what became of an item and says it.
    fn settle(&mut self, item: Item, outcome: Result<Outcome>) -> IngestStatus {
        let Item { position, title, id, bytes } = item;
        self.bytes_in_flight -= bytes;
        match outcome {
            Ok(Outcome::Written { change, .. }) => {
                let Some(head) = change.kind.written_document() else {
                    return self.failed(position, title, super::library::unexpected());
                };
                self.counts.succeeded += 1;
                self.counts.chunks += u64::from(head.num_chunks);
                self.last_revision = change.revision;
                IngestStatus::Completed {
                    position,
                    id: head.id.clone(),
                    title,
                    num_chunks: head.num_chunks,
                    revision: change.revision,
                }
            }
            Ok(Outcome::Exists(head)) => {
                self.counts.skipped += 1;
                let id = id.unwrap_or_else(|| head.id.clone());
                IngestStatus::Skipped { position, id, title, revision: head.revision }
            }
            Ok(Outcome::Remembered(..)) => {
                self.failed(position, title, super::library::unexpected())
            }
            Err(error) => self.failed(position, title, error),
        }
    }

    fn failed(&mut self, position: u64, title: String, error: Error) -> IngestStatus {
        self.counts.failed += 1;
        IngestStatus::Failed { position, title, error }
    }

    /// Closes the batch and says how the stream ended.
    async fn finish(mut self, broken: Option<(BatchFailure, Error)>) -> IngestStatus {
        let batch_id = self.ingest.batch_id;
        let counts = self.counts;
        let (failure, error) = match broken {
            Some((reason, error)) => (Some(reason), Some(error)),
            None => (None, None),
        };
        let closed = match self.open.take() {
            None => Ok(self.ingest.engine.tail()),
            Some(guard) => guard.close(counts, failure).await,
        };
        match (closed, error) {
            (Ok(revision), None) => IngestStatus::Summary { batch_id, counts, revision },
            (_, Some(error)) | (Err(error), None) => IngestStatus::Broken { batch_id, error },
        }
    }
}

/// A batch that has started and not ended. Dropped, it closes the batch as interrupted, in the
/// background; a crash leaves that to recovery.
struct OpenBatchGuard {
    engine: Engine,
    library: LibraryId,
    batch_id: BatchId,
    /// Set once the end has been submitted: then it happens whoever waits.
    ended: bool,
}

impl OpenBatchGuard {
    async fn close(
        mut self,
        counts: BatchCounts,
        failure: Option<BatchFailure>,
    ) -> Result<Revision> {
        let (library, batch_id) = (self.library, self.batch_id);
        let command = Command::EndBatch { library, batch_id, counts, failure };
        let answer = self.engine.inner.submit(command).await?;
        self.ended = true;
        revision_written(answer.wait().await?)
    }
}

impl Drop for OpenBatchGuard {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let command = Command::EndBatch {
            library: self.library,
            batch_id: self.batch_id,
            counts: BatchCounts::default(),
            failure: Some(BatchFailure::Interrupted),
        };
        // Outside a runtime, which is a process that ends, recovery closes it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let engine = self.engine.clone();
        let close = async move {
            if let Err(error) = engine.inner.write(command).await {
                tracing::warn!(%error, "an abandoned batch is left to recovery to close");
            }
        };
        self.engine.inner.tasks.spawn_on(close, &runtime);
    }
}
