//! Batching: hides that the texts of many callers are embedded in one call.
//!
//! A call begins as soon as there is a text and a free place; what arrives while all places are
//! taken becomes the next call, so batches grow with the load and an idle server adds no delay.
//! Queries have a lane of their own: they never wait behind documents. What one caller sends or
//! does (a text that cannot be embedded, leaving) shows to no other caller, except that they share
//! the fate of a call that fails as a whole. It does not retry those: callers know whether to.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::{EmbedError, Embedder, Purpose};
use crate::types::{EmbedderRef, Limits};

type Vectors = Vec<Vec<f32>>;

/// Calls' worth of one caller's texts that wait or are embedded at once, when it brings more texts
/// than fit one call: one under way and one ready to follow.
const PARTS_IN_FLIGHT: usize = 2;

/// An embedder that puts the texts of concurrent callers into common calls of another embedder.
///
/// Bounds: a call has at most `limits.embed_batch_texts_max` texts and takes at most
/// `limits.embed_timeout_ms`; at most `limits.embed_waiting_texts_max` texts a lane wait, further
/// callers wait for room, in their order. Errors: those of the embedder behind it; `Broken` besides
/// when that answers nonsense or panics, `DeadlineExceeded` when it takes too long. Cancellation: a
/// caller that leaves takes its texts along, unless they are under way with those of others.
#[derive(Debug)]
pub struct BatchingEmbedder {
    model: EmbedderRef,
    dimension: usize,
    call_texts_max: usize,
    documents: Lane,
    queries: Lane,
}

impl BatchingEmbedder {
    /// Puts itself before `inner`, which gets at most `calls_in_flight_max` calls a lane at once
    /// (0 counts as 1). Must be called on a tokio runtime; its tasks end when it is dropped.
    #[must_use]
    pub fn new(inner: &Arc<dyn Embedder>, limits: &Limits, calls_in_flight_max: usize) -> Self {
        let room = limits.embed_waiting_texts_max.clamp(1, Semaphore::MAX_PERMITS.min(1 << 30));
        let call_texts_max = limits.embed_batch_texts_max.clamp(1, room);
        let lane = |purpose| {
            let worker = Worker {
                inner: Arc::clone(inner),
                purpose,
                call_texts_max,
                calls_in_flight_max: calls_in_flight_max.max(1),
                timeout: Duration::from_millis(limits.embed_timeout_ms),
            };
            // A waiting job holds room for at least one text, so the queue never fills first.
            let (queue, jobs) = mpsc::channel(room);
            let worker = AbortOnDropHandle::new(tokio::spawn(worker.run(jobs)));
            Lane { queue, room: Arc::new(Semaphore::new(room)), _worker: worker }
        };
        Self {
            model: inner.model().clone(),
            dimension: inner.dimension(),
            call_texts_max,
            documents: lane(Purpose::Document),
            queries: lane(Purpose::Query),
        }
    }

    /// How many texts wait for a call now, those of callers that wait for room not counted.
    #[must_use]
    pub fn waiting_texts(&self) -> usize {
        self.documents.waiting_texts() + self.queries.waiting_texts()
    }
}

#[async_trait]
impl Embedder for BatchingEmbedder {
    fn model(&self) -> &EmbedderRef {
        &self.model
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    async fn embed(&self, purpose: Purpose, texts: Vec<Arc<str>>) -> Result<Vectors, EmbedError> {
        let lane = match purpose {
            Purpose::Document => &self.documents,
            Purpose::Query => &self.queries,
        };
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        if texts.len() <= self.call_texts_max {
            return lane.embed(texts).await;
        }
        let mut parts = Vec::new();
        for (number, part) in texts.chunks(self.call_texts_max).enumerate() {
            let (part, offset) = (part.to_vec(), number * self.call_texts_max);
            parts.push(async move { lane.embed(part).await.map_err(|e| moved(e, offset)) });
        }
        stream::iter(parts).buffered(PARTS_IN_FLIGHT).try_concat().await
    }
}

/// The same error with its text counted from `offset` texts earlier.
fn moved(error: EmbedError, offset: usize) -> EmbedError {
    match error {
        EmbedError::Text { index, reason } => EmbedError::Text { index: index + offset, reason },
        other @ (EmbedError::Unavailable { .. }
        | EmbedError::DeadlineExceeded(_)
        | EmbedError::Broken(_)) => other,
    }
}

/// The way to the calls of one purpose.
#[derive(Debug)]
struct Lane {
    queue: mpsc::Sender<Job>,
    /// One permit a text that may wait.
    room: Arc<Semaphore>,
    _worker: AbortOnDropHandle<()>,
}

impl Lane {
    /// At most one call's worth of texts.
    async fn embed(&self, texts: Vec<Arc<str>>) -> Result<Vectors, EmbedError> {
        let stopped = || EmbedError::Unavailable {
            reason: "the embedder has stopped".into(),
            retry_after: None,
        };
        let size = u32::try_from(texts.len()).map_err(|_| stopped())?;
        let room = Arc::clone(&self.room).acquire_many_owned(size).await.map_err(|_| stopped())?;
        let (reply, answer) = oneshot::channel();
        let job = Job { caller: Caller { texts, reply }, room };
        self.queue.send(job).await.map_err(|_| stopped())?;
        // Nobody drops a caller without an answer but a call that panics.
        answer.await.unwrap_or_else(|_| Err(EmbedError::Broken("the embedder panicked".into())))
    }

    fn waiting_texts(&self) -> usize {
        self.queue.max_capacity() - self.room.available_permits()
    }
}

/// Texts that wait for a call.
#[derive(Debug)]
struct Job {
    caller: Caller,
    room: OwnedSemaphorePermit,
}

/// Texts and who wants their vectors.
#[derive(Debug)]
struct Caller {
    texts: Vec<Arc<str>>,
    reply: oneshot::Sender<Result<Vectors, EmbedError>>,
}

impl Caller {
    fn tell(self, answer: Result<Vectors, EmbedError>) {
        // A caller that has left wants no answer.
        let _ = self.reply.send(answer);
    }
}

/// Makes calls of one lane's jobs.
#[derive(Clone)]
struct Worker {
    inner: Arc<dyn Embedder>,
    purpose: Purpose,
    call_texts_max: usize,
    calls_in_flight_max: usize,
    timeout: Duration,
}

impl Worker {
    async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut calls = JoinSet::new();
        // The job that did not fit the call before.
        let mut held = None;
        loop {
            while calls.len() >= self.calls_in_flight_max {
                if let Some(Err(failure)) = calls.join_next().await {
                    tracing::error!(model = self.inner.model().id, %failure, "embedder failed");
                }
            }
            let first = match held.take() {
                Some(job) => job,
                None => match jobs.recv().await {
                    Some(job) => job,
                    None => return,
                },
            };
            let callers = gather(first, &mut jobs, &mut held, self.call_texts_max);
            calls.spawn(self.clone().call(callers));
        }
    }

    /// Embeds the callers' texts in one call. A caller whose text is refused is told and taken
    /// out; the others are tried again in two halves, so that many refused texts cost many small
    /// calls rather than many large ones.
    async fn call(self, callers: Vec<Caller>) {
        let mut groups = vec![callers];
        while let Some(mut group) = groups.pop() {
            group.retain(|caller| !caller.reply.is_closed());
            let texts: Vec<_> = group.iter().flat_map(|c| c.texts.iter().cloned()).collect();
            if texts.is_empty() {
                continue;
            }
            let answer = tokio::select! {
                answer = self.ask(texts) => answer,
                _ = join_all(group.iter_mut().map(|caller| caller.reply.closed())) => continue,
            };
            match answer {
                Ok(vectors) => deal(group, vectors),
                Err(EmbedError::Text { index, reason }) => {
                    // `ask` has checked that the text is one of these.
                    let Some((place, index)) = locate(&group, index) else { continue };
                    group.remove(place).tell(Err(EmbedError::Text { index, reason }));
                    let second = group.split_off(group.len() / 2);
                    groups.extend([second, group]);
                }
                Err(error) => group.into_iter().for_each(|c| c.tell(Err(error.clone()))),
            }
        }
    }

    /// One call, with its deadline and its answer checked.
    async fn ask(&self, texts: Vec<Arc<str>>) -> Result<Vectors, EmbedError> {
        let count = texts.len();
        let answer =
            tokio::time::timeout(self.timeout, self.inner.embed(self.purpose, texts)).await;
        match answer.unwrap_or(Err(EmbedError::DeadlineExceeded(self.timeout))) {
            Ok(vectors) => check(vectors, count, self.inner.dimension()),
            Err(EmbedError::Text { index, reason }) if index >= count => {
                Err(EmbedError::Broken(format!("refused text {index} of {count}: {reason}")))
            }
            Err(error) => Err(error),
        }
    }
}

/// Takes the first job and what waits behind it, as far as it fits one call and its callers are
/// still there; leaves the job that does not fit in `held`.
fn gather(
    first: Job,
    jobs: &mut mpsc::Receiver<Job>,
    held: &mut Option<Job>,
    call_texts_max: usize,
) -> Vec<Caller> {
    let (mut callers, mut texts) = (Vec::new(), 0);
    let mut next = Some(first);
    while let Some(job) = next {
        if job.caller.reply.is_closed() {
            next = jobs.try_recv().ok();
            continue;
        }
        if texts + job.caller.texts.len() > call_texts_max {
            *held = Some(job);
            break;
        }
        texts += job.caller.texts.len();
        // No longer waiting: its room is free for others.
        drop(job.room);
        callers.push(job.caller);
        next = if texts < call_texts_max { jobs.try_recv().ok() } else { None };
    }
    callers
}

/// Gives each caller the vectors of its texts.
fn deal(group: Vec<Caller>, vectors: Vectors) {
    let mut vectors = vectors.into_iter();
    for caller in group {
        let own = vectors.by_ref().take(caller.texts.len()).collect();
        caller.tell(Ok(own));
    }
}

/// Whose text the call's `index`-th is, and which of its texts.
fn locate(group: &[Caller], mut index: usize) -> Option<(usize, usize)> {
    for (place, caller) in group.iter().enumerate() {
        if index < caller.texts.len() {
            return Some((place, index));
        }
        index -= caller.texts.len();
    }
    None
}

fn check(vectors: Vectors, count: usize, dimension: usize) -> Result<Vectors, EmbedError> {
    let fault = if vectors.len() == count {
        vectors.iter().enumerate().find_map(|(i, vector)| {
            if vector.len() != dimension {
                let got = vector.len();
                Some(format!("vector {i} has {got} numbers; the model's dimension is {dimension}"))
            } else if vector.iter().any(|x| !x.is_finite()) {
                Some(format!("vector {i} is not finite"))
            } else if vector.iter().all(|x| *x == 0.0) {
                Some(format!("vector {i} is zero"))
            } else {
                None
            }
        })
    } else {
        Some(format!("{} vectors came for {count} texts", vectors.len()))
    };
    fault.map_or(Ok(vectors), |fault| Err(EmbedError::Broken(fault)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::FutureExt;
    use futures::stream::FuturesUnordered;
    use tokio::task::{JoinHandle, yield_now};

    use super::*;

    /// An embedder whose calls the test sees and answers.
    struct Fake {
        model: EmbedderRef,
        calls: mpsc::Sender<Call>,
    }

    struct Call {
        purpose: Purpose,
        texts: Vec<Arc<str>>,
        answer: oneshot::Sender<Result<Vectors, EmbedError>>,
    }

    #[async_trait]
    impl Embedder for Fake {
        fn model(&self) -> &EmbedderRef {
            &self.model
        }

        fn dimension(&self) -> usize {
            2
        }

        async fn embed(
            &self,
            purpose: Purpose,
            texts: Vec<Arc<str>>,
        ) -> Result<Vectors, EmbedError> {
            let (answer, given) = oneshot::channel();
            let _ = self.calls.send(Call { purpose, texts, answer }).await;
            given.await.expect("the test panicked the model")
        }
    }

    impl Call {
        fn texts(&self) -> Vec<&str> {
            self.texts.iter().map(|text| &**text).collect()
        }

        fn give(self, answer: Result<Vectors, EmbedError>) {
            let _ = self.answer.send(answer);
        }

        /// Answers as a model does that refuses texts beginning with "bad".
        fn work(self) {
            let answer = match self.texts.iter().position(|text| text.starts_with("bad")) {
                Some(index) => Err(EmbedError::Text { index, reason: "bad".into() }),
                None => Ok(self.texts.iter().map(|text| vector_of(text)).collect()),
            };
            self.give(answer);
        }
    }

    fn vector_of(text: &str) -> Vec<f32> {
        let hash = text
            .bytes()
            .fold(7_u16, |hash, byte| hash.wrapping_mul(31).wrapping_add(u16::from(byte)));
        vec![f32::from(hash), 1.0]
    }

    fn start(limits: &Limits, in_flight: usize) -> (Arc<BatchingEmbedder>, mpsc::Receiver<Call>) {
        let (calls, seen) = mpsc::channel(64);
        let model = EmbedderRef { id: "fake".into(), sha256: String::new() };
        let fake: Arc<dyn Embedder> = Arc::new(Fake { model, calls });
        (Arc::new(BatchingEmbedder::new(&fake, limits, in_flight)), seen)
    }

    fn few(call_texts: usize, waiting_texts: usize) -> Limits {
        Limits {
            embed_batch_texts_max: call_texts,
            embed_waiting_texts_max: waiting_texts,
            ..Limits::default()
        }
    }

    type Task = JoinHandle<Result<Vectors, EmbedError>>;

    /// A caller with these texts, separated by spaces.
    fn caller(embedder: &Arc<BatchingEmbedder>, purpose: Purpose, texts: &str) -> Task {
        let embedder = Arc::clone(embedder);
        let texts = texts.split(' ').map(Arc::from).collect();
        tokio::spawn(async move { embedder.embed(purpose, texts).await })
    }

    fn document(embedder: &Arc<BatchingEmbedder>, texts: &str) -> Task {
        caller(embedder, Purpose::Document, texts)
    }

    async fn call(calls: &mut mpsc::Receiver<Call>) -> Call {
        calls.recv().await.expect("a call")
    }

    async fn waiting(embedder: &BatchingEmbedder, texts: usize) {
        for _ in 0..10_000 {
            if embedder.waiting_texts() == texts {
                return;
            }
            yield_now().await;
        }
        panic!("{} texts wait, not {texts}", embedder.waiting_texts());
    }

    async fn assert_given(task: Task, texts: &str) {
        let expected: Vectors = texts.split(' ').map(vector_of).collect();
        assert_eq!(task.await.expect("no panic"), Ok(expected));
    }

    async fn assert_refused(task: Task, index: usize) {
        let error = EmbedError::Text { index, reason: "bad".into() };
        assert_eq!(task.await.expect("no panic"), Err(error));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_starts_at_once_and_the_next_gathers_meanwhile() {
        let (embedder, mut calls) = start(&Limits::default(), 1);
        let first = document(&embedder, "a");
        let call_1 = call(&mut calls).await;
        assert_eq!(call_1.texts(), ["a"]);
        let others = ["b", "c d", "e"].map(|texts| (document(&embedder, texts), texts));
        waiting(&embedder, 4).await;
        assert!(calls.recv().now_or_never().is_none(), "one call at once");
        call_1.work();
        assert_given(first, "a").await;
        let call_2 = call(&mut calls).await;
        assert_eq!(call_2.texts(), ["b", "c", "d", "e"]);
        call_2.work();
        for (task, texts) in others {
            assert_given(task, texts).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_bounded_and_keep_the_order_of_callers() {
        let (embedder, mut calls) = start(&few(3, 100), 1);
        let first = document(&embedder, "a");
        let call_1 = call(&mut calls).await;
        let mut tasks = Vec::new();
        for texts in ["b c", "d e", "f", "g h i", "j"] {
            tasks.push((document(&embedder, texts), texts));
            yield_now().await;
        }
        waiting(&embedder, 9).await;
        call_1.work();
        for expected in [&["b", "c"][..], &["d", "e", "f"], &["g", "h", "i"], &["j"]] {
            let next = call(&mut calls).await;
            assert_eq!(next.texts(), expected);
            next.work();
        }
        assert_given(first, "a").await;
        for (task, texts) in tasks {
            assert_given(task, texts).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_with_many_texts_gets_them_in_order_and_its_faults_by_its_own_count() {
        let (embedder, mut calls) = start(&few(3, 100), 2);
        let texts = "a b c d e f g h";
        let good = document(&embedder, texts);
        let (one, two) = (call(&mut calls).await, call(&mut calls).await);
        assert_eq!((one.texts(), two.texts()), (vec!["a", "b", "c"], vec!["d", "e", "f"]));
        two.work();
        one.work();
        call(&mut calls).await.work();
        assert_given(good, texts).await;

        // What follows a refused text is no longer worth a call.
        let refused = document(&embedder, "a b c d bad f g h");
        for _ in 0..2 {
            call(&mut calls).await.work();
        }
        assert_refused(refused, 4).await;
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_texts_wait_than_there_is_room_for() {
        let (embedder, mut calls) = start(&few(2, 4), 1);
        let tasks: Vec<_> = (0..20)
            .map(|i| format!("x{i} y{i}"))
            .map(|texts| (document(&embedder, &texts), texts))
            .collect();
        for _ in 0..20 {
            let next = call(&mut calls).await;
            assert!(embedder.waiting_texts() <= 4);
            next.work();
        }
        for (task, texts) in tasks {
            assert_given(task, &texts).await;
        }
        waiting(&embedder, 0).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_leaves_takes_its_texts_along() {
        let (embedder, mut calls) = start(&Limits::default(), 1);
        let alone = document(&embedder, "alone");
        let mut call_1 = call(&mut calls).await;
        let (gone, stays) = (document(&embedder, "gone"), document(&embedder, "stays"));
        waiting(&embedder, 2).await;
        gone.abort();
        assert!(gone.await.is_err());
        // The only caller of a call leaves: the call is given up.
        alone.abort();
        call_1.answer.closed().await;
        let call_2 = call(&mut calls).await;
        assert_eq!(call_2.texts(), ["stays"]);
        call_2.work();
        assert_given(stays, "stays").await;
        // One of two callers of a call leaves: the other does not notice.
        let blocker = document(&embedder, "blocker");
        let call_3 = call(&mut calls).await;
        let (gone, stays) = (document(&embedder, "gone"), document(&embedder, "stays"));
        waiting(&embedder, 2).await;
        call_3.work();
        let call_4 = call(&mut calls).await;
        assert_eq!(call_4.texts(), ["gone", "stays"]);
        gone.abort();
        assert!(gone.await.is_err());
        call_4.work();
        assert_given(stays, "stays").await;
        assert_given(blocker, "blocker").await;
        waiting(&embedder, 0).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_text_fails_its_own_caller_alone() {
        let (embedder, mut calls) = start(&Limits::default(), 1);
        let first = document(&embedder, "first");
        let call_1 = call(&mut calls).await;
        let callers = ["a", "b bad", "c", "bad", "d e", "f", "g h bad2 bad3", "i"]
            .map(|texts| (document(&embedder, texts), texts));
        waiting(&embedder, 13).await;
        call_1.work();
        assert_given(first, "first").await;
        let work = tokio::spawn(async move {
            while let Some(next) = calls.recv().await {
                next.work();
            }
        });
        for (task, texts) in callers {
            match texts.split(' ').position(|text| text.starts_with("bad")) {
                Some(index) => assert_refused(task, index).await,
                None => assert_given(task, texts).await,
            }
        }
        work.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_fails_as_a_whole_is_told_to_each_caller() {
        let (embedder, mut calls) = start(&Limits::default(), 1);
        let first = document(&embedder, "first");
        let call_1 = call(&mut calls).await;
        let tasks = ["a", "b"].map(|texts| document(&embedder, texts));
        waiting(&embedder, 2).await;
        call_1.work();
        assert_given(first, "first").await;
        let error = EmbedError::Unavailable {
            reason: "busy".into(),
            retry_after: Some(Duration::from_secs(3)),
        };
        call(&mut calls).await.give(Err(error.clone()));
        for task in tasks {
            assert_eq!(task.await.expect("no panic"), Err(error.clone()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nonsense_is_found_out() {
        let (embedder, mut calls) = start(&Limits::default(), 1);
        let text = |index| EmbedError::Text { index, reason: "no".into() };
        let lies = [
            Ok(vec![vec![1.0, 0.0]]),
            Ok(vec![vec![1.0, 0.0]; 3]),
            Ok(vec![vec![1.0, 0.0], vec![1.0]]),
            Ok(vec![vec![1.0, 0.0], vec![1.0, f32::NAN]]),
            Ok(vec![vec![0.0, 0.0], vec![1.0, 0.0]]),
            Err(text(2)),
        ];
        for lie in lies {
            let task = document(&embedder, "a b");
            call(&mut calls).await.give(lie.clone());
            let answer = task.await.expect("no panic");
            assert!(matches!(answer, Err(EmbedError::Broken(_))), "{lie:?} became {answer:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_has_a_deadline() {
        let limits = Limits { embed_timeout_ms: 1_500, ..Limits::default() };
        let (embedder, mut calls) = start(&limits, 1);
        let before = tokio::time::Instant::now();
        let task = document(&embedder, "a");
        let mut slow = call(&mut calls).await;
        let timeout = Duration::from_millis(1_500);
        let answer = task.await.expect("no panic");
        assert_eq!(answer, Err(EmbedError::DeadlineExceeded(timeout)));
        assert!(before.elapsed() >= timeout);
        slow.answer.closed().await;
        // The place is free again.
        let next = document(&embedder, "b");
        call(&mut calls).await.work();
        assert_given(next, "b").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_query_does_not_wait_behind_documents() {
        let (embedder, mut calls) = start(&few(1, 100), 1);
        let documents: Vec<_> = (0..10).map(|_| document(&embedder, "d")).collect();
        let stuck = call(&mut calls).await;
        waiting(&embedder, 9).await;
        let query = caller(&embedder, Purpose::Query, "q");
        let next = call(&mut calls).await;
        assert_eq!((next.purpose, next.texts()), (Purpose::Query, vec!["q"]));
        next.work();
        assert_given(query, "q").await;
        assert_eq!(stuck.purpose, Purpose::Document);
        documents.iter().for_each(JoinHandle::abort);
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_calls_run_at_once_as_are_allowed() {
        let (embedder, mut calls) = start(&few(1, 100), 2);
        let tasks: Vec<_> = (0..3).map(|_| document(&embedder, "d")).collect();
        let (one, two) = (call(&mut calls).await, call(&mut calls).await);
        waiting(&embedder, 1).await;
        assert!(calls.recv().now_or_never().is_none(), "a third call began");
        two.work();
        call(&mut calls).await.work();
        one.work();
        for task in tasks {
            assert_given(task, "d").await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_told_and_survived() {
        let (embedder, mut calls) = start(&Limits::default(), 1);
        let task = document(&embedder, "a");
        drop(call(&mut calls).await);
        let answer = task.await.expect("the caller does not panic");
        assert!(matches!(answer, Err(EmbedError::Broken(_))), "{answer:?}");
        let next = document(&embedder, "b");
        call(&mut calls).await.work();
        assert_given(next, "b").await;
    }

    #[tokio::test]
    async fn no_texts_need_no_call() {
        let (embedder, mut calls) = start(&Limits::default(), 1);
        assert_eq!(embedder.embed(Purpose::Document, Vec::new()).await, Ok(Vec::new()));
        assert!(calls.recv().now_or_never().is_none());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn every_caller_gets_its_own_whatever_the_others_do() {
        let (embedder, mut calls) = start(&few(7, 16), 2);
        let work = tokio::spawn(async move {
            while let Some(next) = calls.recv().await {
                assert!(next.texts.len() <= 7);
                next.work();
            }
        });
        let tasks: FuturesUnordered<_> = (0..2_000_usize)
            .map(|i| {
                let words = (0..=i % 9).map(|j| match (i + j) % 23 {
                    0 => format!("bad{i}"),
                    _ => format!("text-{i}-{j}"),
                });
                let texts = words.collect::<Vec<_>>().join(" ");
                let task = document(&embedder, &texts);
                if i % 5 == 0 {
                    task.abort();
                }
                async move { (task.await, texts) }
            })
            .collect();
        let mut seen = BTreeSet::new();
        let mut tasks = tasks;
        while let Some((answer, texts)) = tasks.next().await {
            let bad = texts.split(' ').position(|text| text.starts_with("bad"));
            let expected = match bad {
                Some(index) => Err(EmbedError::Text { index, reason: "bad".into() }),
                None => Ok(texts.split(' ').map(vector_of).collect()),
            };
            match answer {
                Ok(answer) => assert_eq!(answer, expected, "{texts}"),
                Err(failure) => assert!(failure.is_cancelled()),
            }
            seen.insert(texts);
        }
        assert_eq!(seen.len(), 2_000);
        waiting(&embedder, 0).await;
        work.abort();
        assert!(work.await.is_err_and(|failure| failure.is_cancelled()));
    }
}
