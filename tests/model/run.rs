//! One run: operations, faults and ends in random order, each followed by what must hold.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use arrwdb::engine::Engine;
use arrwdb::engine::ingest::{IngestItem, IngestStatus};
use arrwdb::engine::library::LibraryView;
use arrwdb::types::{
    BatchCounts, BatchFailure, BatchId, Document, Error, ErrorKind, OnConflict, Result, Revision,
    StartAt,
};
use futures::{StreamExt, stream};
use tokio::sync::watch;

use crate::check::{assert_document, everything, read_feed, replay};
use crate::dice::Dice;
use crate::fold::{Fold, Made, Verdict};
use crate::ops::{Atom, Item, Maker, Op, Stream};
use crate::told::{self, Payload, Told};
use crate::world::{DEADLINE, End, StoreLeft, World};

/// What a write answered.
enum Answer {
    Library(LibraryView),
    Document(Document),
    Revision(Revision),
}

/// What is known of an item of an ingest stream.
#[derive(Debug, Clone)]
enum Known {
    Completed {
        revision: Revision,
        num_chunks: u32,
    },
    Skipped(Revision),
    Failed(ErrorKind),
    /// A fault: it was refused, or what became of it is not known.
    Unavailable,
    /// Nothing was heard.
    Nothing,
}

pub struct Run {
    world: World,
    fold: Fold,
    dice: Dice,
    maker: Maker,
    /// Behind all that was read of the feed.
    position: StartAt,
    /// A fault was ordered in this life, so that a write may be unavailable.
    armed: bool,
    trace: Trace,
}

/// What was done, printed when a run fails.
#[derive(Default)]
struct Trace(VecDeque<String>);

impl Trace {
    fn note(&mut self, what: String) {
        if self.0.len() == 25 {
            self.0.pop_front();
        }
        self.0.push_back(what);
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the last steps were:");
            self.0.iter().for_each(|step| eprintln!("  {step:.1500}"));
        }
    }
}

impl Run {
    pub fn new(world: World, seed: u64) -> Self {
        Self {
            world,
            fold: Fold::new(crate::world::limits().request_ids_max),
            dice: Dice::new(seed),
            maker: Maker::default(),
            position: StartAt::Begin,
            armed: false,
            trace: Trace::default(),
        }
    }

    /// So many rounds of some operations each, and a check of everything after each.
    pub async fn rounds(&mut self, rounds: usize) {
        for round in 0..rounds {
            for _ in 0..self.dice.below(16) {
                self.step().await;
            }
            self.check(round).await;
            if self.dice.percent(50) {
                let end = self.some_end();
                self.restart(end).await;
                self.check(round).await;
            }
        }
        replay(&self.world).await;
    }

    async fn check(&mut self, round: usize) {
        self.trace.note(format!("check {round}"));
        everything(&self.world, &self.fold, &mut self.dice).await;
        if self.dice.percent(25) {
            replay(&self.world).await;
        }
        if self.dice.percent(30) {
            self.world.keep_store();
        }
    }

    async fn step(&mut self) {
        if self.dice.percent(8) {
            let what = self.world.inject(&mut self.dice);
            self.trace.note(format!("fault: {what}"));
            self.armed = true;
        }
        let op = self.maker.op(&mut self.dice, &self.fold);
        self.trace.note(format!("{op:?}"));
        match op {
            Op::Single(atom) => self.single(&atom).await,
            Op::Stream(stream) if self.dice.percent(12) => self.killed_stream(stream).await,
            Op::Stream(mut stream) => {
                // With faults about, nobody would hear that its end was refused.
                stream.dropped_after = stream.dropped_after.filter(|_| !self.armed);
                self.stream(stream).await;
            }
            // With faults about, it could not be told which of them came to be.
            Op::Burst(_) if self.armed => {}
            Op::Burst(atoms) => self.burst(atoms).await,
        }
    }

    /// The changes that the feed tells since it was last read.
    async fn news(&mut self) -> VecDeque<Told> {
        let engine = self.world.engine();
        let (events, position) = read_feed(engine, self.position, 1_000).await;
        self.position = StartAt::Cursor(position);
        told::changes(events).into()
    }

    async fn no_news(&mut self) {
        is_over(&self.news().await);
    }

    /// The writer gave up.
    fn is_broken(&self) -> bool {
        self.world.engine().readiness().is_err()
    }

    /// Whether a write may fail like this without being wrong.
    fn is_fault(&self, error: &Error) -> bool {
        self.armed && error.kind == ErrorKind::Unavailable
    }

    fn some_end(&mut self) -> End {
        let left = *self.dice.pick(&[StoreLeft::Now, StoreLeft::Kept, StoreLeft::Nothing]);
        *self.dice.pick(&[End::Close, End::Drop, End::PowerLoss, End::Kill(left), End::Kill(left)])
    }

    /// Ends this life and begins the next; nothing is under way.
    async fn restart(&mut self, end: End) {
        let news = self.reopen(end).await;
        self.cut_batches(news);
    }

    /// Ends this life and begins the next; gives what the feed tells then.
    async fn reopen(&mut self, end: End) -> VecDeque<Told> {
        self.trace.note(format!("{end:?}"));
        drop(self.world.end(end).await);
        self.begin_anew().await
    }

    async fn begin_anew(&mut self) -> VecDeque<Told> {
        self.world.begin_anew(&mut self.dice).await;
        self.armed = false;
        self.news().await
    }

    /// Recovery ends every batch that has begun, and does nothing else.
    fn cut_batches(&mut self, news: VecDeque<Told>) {
        for told in news {
            let batch = told.first().batch.expect("recovery does nothing but end batches");
            assert_eq!(told.first().payload, interrupted());
            self.fold.end_batch(&told, batch);
        }
        assert!(self.fold.open_batches.is_empty(), "{:?} stay open", self.fold.open_batches);
    }

    async fn single(&mut self, atom: &Atom) {
        let verdict = self.fold.judge(atom);
        match (verdict, perform(self.world.engine(), atom).await) {
            (Verdict::Change, Ok(answer)) => {
                let mut news = self.news().await;
                let told = news.pop_front().expect("an acknowledged change is told");
                is_over(&news);
                self.fold.apply(atom, &told, None);
                self.check_answer(&answer, told.revision);
            }
            (Verdict::Remember(made), result) => {
                self.check_remembered(made, result);
                self.no_news().await;
            }
            (Verdict::Fails(kind), Err(error)) if error.kind == kind => self.no_news().await,
            (Verdict::Change, Err(error)) if self.is_fault(&error) => {
                self.no_news().await;
                if self.is_broken() {
                    let end = self.some_end();
                    let mut news = self.reopen(end).await;
                    if news.front().is_some_and(|told| !is_end(told)) {
                        let told = news.pop_front().expect("there");
                        self.fold.apply(atom, &told, None);
                    }
                    self.cut_batches(news);
                }
            }
            (verdict, Ok(_)) => panic!("succeeded, expected {verdict:?}"),
            (verdict, Err(error)) => panic!("failed: {error:?}, expected {verdict:?}"),
        }
    }

    fn check_answer(&self, answer: &Answer, revision: Revision) {
        match answer {
            Answer::Library(view) => {
                let library = &self.fold.libraries[&view.library.id];
                assert_eq!((&view.library, view.counts), (&library.library, library.counts()));
                assert_eq!(view.library.revision, revision);
            }
            Answer::Document(document) => {
                let of = |library: &crate::fold::ModelLibrary| {
                    library.created_at(document.head.created_revision).cloned()
                };
                let expected = self.fold.libraries.values().find_map(of).expect("there");
                assert_document(document, &expected, false);
                assert_eq!(document.head.revision, revision);
            }
            Answer::Revision(is) => assert_eq!(*is, revision),
        }
    }

    /// A request that was done before gives what it made, as it is now.
    fn check_remembered(&self, made: Made, result: Result<Answer>) {
        let library = self.fold.libraries.get(&made.library);
        match (result, library, made.document) {
            (Ok(Answer::Library(view)), Some(library), false) => {
                assert_eq!((&view.library, view.counts), (&library.library, library.counts()));
            }
            (Err(error), None, false) => assert_eq!(error.kind, ErrorKind::NotFound),
            (Ok(Answer::Document(document)), Some(library), true) => {
                assert_document(
                    &document,
                    library.created_at(made.revision).expect("there"),
                    false,
                );
            }
            (Err(error), Some(library), true) => {
                assert_eq!(error.kind, ErrorKind::FailedPrecondition, "{error:?}");
                assert_eq!(library.created_at(made.revision), None);
            }
            (Ok(_), ..) => panic!("gave something else than {made:?}"),
            (Err(error), ..) => panic!("{error:?} for {made:?}"),
        }
    }

    /// Writes at once: whichever order the log has, each did what it does in that order.
    async fn burst(&mut self, atoms: Vec<Atom>) {
        let tasks: Vec<_> = atoms
            .into_iter()
            .map(|atom| {
                let engine = self.world.engine().clone();
                tokio::spawn(async move {
                    let result = perform(&engine, &atom).await;
                    (atom, result)
                })
            })
            .collect();
        let mut written = Vec::new();
        for task in tasks {
            let (atom, result) = task.await.expect("no panic");
            match result {
                Ok(Answer::Revision(revision)) => written.push((revision, atom)),
                // With a request that was done before it is of an earlier revision.
                Ok(Answer::Document(document)) => written.push((document.head.revision, atom)),
                Ok(Answer::Library(_)) => panic!("a burst writes documents"),
                Err(error) => assert!(
                    matches!(
                        error.kind,
                        ErrorKind::NotFound
                            | ErrorKind::AlreadyExists
                            | ErrorKind::Conflict
                            | ErrorKind::InvalidArgument
                            | ErrorKind::FailedPrecondition
                    ),
                    "{error:?}"
                ),
            }
        }
        for told in self.news().await {
            let at = written.iter().position(|(revision, atom)| {
                *revision == told.revision && !self.is_remembered(atom)
            });
            let (_, atom) = written.swap_remove(at.expect("a change that nobody made"));
            self.fold.apply(&atom, &told, None);
        }
        for (revision, atom) in written {
            assert!(is_request(&atom), "{atom:?} was acknowledged at {revision} and is not there");
        }
    }

    fn is_remembered(&self, atom: &Atom) -> bool {
        matches!(self.fold.judge(atom), Verdict::Remember(_))
    }

    async fn stream(&mut self, stream: Stream) {
        let Some(ingest) = self.begin(&stream).await else { return };
        let batch = ingest.batch_id();
        let items = stream::iter(items(&stream));
        let mut running = Box::pin(ingest.run(items));
        let mut statuses = Vec::new();
        while stream.dropped_after.is_none_or(|after| statuses.len() < after) {
            let Some(status) = running.next().await else { break };
            statuses.push(status);
        }
        drop(running);
        let ended = statuses.last().is_some_and(is_last);
        let known = known(&stream, &statuses, self.armed);
        let mut news = self.news().await;
        if !ended && !statuses.is_empty() {
            self.wait_for_end(batch, &mut news).await;
        }
        let broken = self.is_broken();
        if broken {
            // What was acknowledged is told already; of the rest the next life tells.
            let end = self.some_end();
            news.extend(self.reopen(end).await);
        }
        let summary = statuses.last().filter(|_| ended && !broken);
        self.settle(&stream, batch, &known, summary, &mut news);
        if !ended || broken {
            self.cut_batches(news);
        } else {
            is_over(&news);
        }
    }

    /// Begins a stream; `None` when it is refused as it should be.
    async fn begin(&mut self, stream: &Stream) -> Option<arrwdb::engine::ingest::Ingest> {
        let begun = self.world.engine().ingest(&stream.library, stream.on_conflict).await;
        match (begun, self.fold.find(&stream.library)) {
            (Ok(ingest), Some(_)) => Some(ingest),
            (Err(error), None) => {
                assert_eq!(error.kind, ErrorKind::NotFound);
                None
            }
            (Ok(_), None) => panic!("ingests into nothing"),
            (Err(error), Some(_)) => panic!("{error:?}"),
        }
    }

    /// A dropped stream's batch is ended in the background.
    async fn wait_for_end(&mut self, batch: BatchId, news: &mut VecDeque<Told>) {
        let begun = Instant::now();
        while !news.iter().any(|told| told.first().batch == Some(batch) && is_end(told)) {
            assert!(begun.elapsed() < DEADLINE, "a dropped batch does not end");
            tokio::time::sleep(Duration::from_millis(2)).await;
            news.extend(self.news().await);
        }
    }

    /// Kills the server while it ingests.
    async fn killed_stream(&mut self, mut stream: Stream) {
        stream.dropped_after = None;
        let Some(ingest) = self.begin(&stream).await else { return };
        let batch = ingest.batch_id();
        let (sender, mut heard) = watch::channel(Vec::new());
        let running = ingest.run(stream::iter(items(&stream)));
        let task = tokio::spawn(async move {
            let mut running = Box::pin(running);
            while let Some(status) = running.next().await {
                sender.send_modify(|statuses: &mut Vec<IngestStatus>| statuses.push(status));
            }
        });
        let wanted = self.dice.below(2 * stream.items.len() + 1);
        let _ = heard.wait_for(|statuses| statuses.len() >= wanted).await;
        let statuses = heard.borrow().clone();
        let left = *self.dice.pick(&[StoreLeft::Now, StoreLeft::Kept, StoreLeft::Nothing]);
        self.trace.note(format!("killed after {} statuses, {left:?}", statuses.len()));
        let old = self.world.end(End::Kill(left)).await;
        task.await.expect("no panic");
        drop(old);
        let known = known(&stream, &statuses, self.armed);
        let mut news = self.begin_anew().await;
        let summary = statuses.last().filter(|status| is_last(status));
        self.settle(&stream, batch, &known, summary, &mut news);
        self.cut_batches(news);
    }

    /// Goes through the items in their order with what is known of each, and takes their changes
    /// from the news.
    fn settle(
        &mut self,
        stream: &Stream,
        batch: BatchId,
        known: &[Known],
        summary: Option<&IngestStatus>,
        news: &mut VecDeque<Told>,
    ) {
        let is_start = |told: &&Told| told.first().payload == Payload::BatchStarted;
        if news.front().filter(is_start).is_some() {
            let told = news.pop_front().expect("there");
            self.fold.start_batch(&told, batch);
        }
        let mut counts = BatchCounts::default();
        for (item, known) in stream.items.iter().zip(known) {
            counts.processed += 1;
            let Item::Document(new) = item else {
                counts.failed += 1;
                let refused = matches!(known, Known::Nothing | Known::Failed(ErrorKind::TooLarge));
                assert!(refused, "{known:?}");
                continue;
            };
            let atom = Atom::Write {
                library: stream.library.clone(),
                new: new.clone(),
                on_conflict: stream.on_conflict,
                request: None,
            };
            match (known, self.fold.judge(&atom)) {
                (Known::Completed { revision, num_chunks }, Verdict::Change) => {
                    let told = news.pop_front().expect("an acknowledged change is told");
                    assert_eq!(told.revision, *revision, "of {}", new.title);
                    self.fold.apply(&atom, &told, Some(batch));
                    counts.succeeded += 1;
                    counts.chunks += u64::from(*num_chunks);
                }
                (Known::Skipped(is), Verdict::Skip(revision)) => {
                    assert_eq!((*is, stream.on_conflict), (revision, OnConflict::Skip));
                    counts.skipped += 1;
                }
                (Known::Failed(kind), Verdict::Fails(expected)) if *kind == expected => {
                    counts.failed += 1;
                }
                (Known::Unavailable | Known::Nothing, verdict) => {
                    counts.failed += 1;
                    let is_it = |told: &Told| told.title() == Some(&new.title);
                    if verdict == Verdict::Change && news.front().is_some_and(is_it) {
                        let told = news.pop_front().expect("there");
                        self.fold.apply(&atom, &told, Some(batch));
                    }
                }
                (known, verdict) => panic!("{}: {known:?}, expected {verdict:?}", new.title),
            }
        }
        let is_ours = |told: &Told| told.first().batch == Some(batch);
        match (summary, news.front()) {
            (Some(IngestStatus::Summary { counts: told_counts, revision, .. }), _) => {
                assert_eq!(*told_counts, counts);
                if stream.items.is_empty() {
                    assert_eq!(*revision, self.fold.tail());
                    return;
                }
                let told = news.pop_front().expect("a batch that ended is told");
                assert_eq!(told.first().payload, Payload::BatchEnded { counts, reason: None });
                assert_eq!(told.revision, *revision);
                self.fold.end_batch(&told, batch);
            }
            (Some(IngestStatus::Broken { .. }), Some(told))
                if is_ours(told)
                    && stream.broken.is_some()
                    && told.first().payload != interrupted() =>
            {
                let told = news.pop_front().expect("there");
                let reason = stream.broken.as_ref().map(|reason| reason.as_str().to_owned());
                assert_eq!(told.first().payload, Payload::BatchEnded { counts, reason });
                self.fold.end_batch(&told, batch);
            }
            // Nobody heard how it ended, but it did.
            (None, Some(told)) if is_ours(told) && told.first().payload != interrupted() => {
                let told = news.pop_front().expect("there");
                self.fold.end_batch(&told, batch);
            }
            _ => {}
        }
    }
}

/// Nothing else was told.
fn is_over(news: &VecDeque<Told>) {
    assert!(news.is_empty(), "nobody did this: {news:?}");
}

const UNAVAILABLE: ErrorKind = ErrorKind::Unavailable;

fn interrupted() -> Payload {
    let reason = Some(BatchFailure::Interrupted.as_str().to_owned());
    Payload::BatchEnded { counts: BatchCounts::default(), reason }
}

fn is_end(told: &Told) -> bool {
    matches!(told.first().payload, Payload::BatchEnded { .. })
}

fn is_last(status: &IngestStatus) -> bool {
    matches!(status, IngestStatus::Summary { .. } | IngestStatus::Broken { .. })
}

fn is_request(atom: &Atom) -> bool {
    matches!(atom, Atom::Write { request: Some(_), .. })
}

fn items(stream: &Stream) -> Vec<IngestItem> {
    let item = |(position, item): (u64, &Item)| match item {
        Item::Document(new) => IngestItem::Document { position, document: Box::new(new.clone()) },
        Item::Rejected => IngestItem::Rejected {
            position,
            title: "unread".to_owned(),
            error: Error::too_large("line", "too long, as ordered"),
        },
    };
    let broken = stream.broken.clone().map(|reason| IngestItem::Broken {
        reason,
        error: Error::new(ErrorKind::Cancelled, "the client left"),
    });
    (1..).zip(&stream.items).map(item).chain(broken).collect()
}

/// What the statuses tell of each item. They come in the order of the items.
fn known(stream: &Stream, statuses: &[IngestStatus], armed: bool) -> Vec<Known> {
    let mut known = vec![Known::Nothing; stream.items.len()];
    let mut last = 0;
    for status in statuses {
        let (at, what) = match status {
            IngestStatus::Completed { position, revision, num_chunks, .. } => {
                (*position, Known::Completed { revision: *revision, num_chunks: *num_chunks })
            }
            IngestStatus::Skipped { position, revision, .. } => {
                (*position, Known::Skipped(*revision))
            }
            IngestStatus::Failed { position, error, .. } if error.kind == UNAVAILABLE => {
                assert!(armed, "{error:?}");
                (*position, Known::Unavailable)
            }
            IngestStatus::Failed { position, error, .. } => (*position, Known::Failed(error.kind)),
            IngestStatus::Processing { .. }
            | IngestStatus::Summary { .. }
            | IngestStatus::Broken { .. } => continue,
        };
        assert!(at > last, "statuses out of order: {at} after {last}");
        last = at;
        known[usize::try_from(at).expect("small") - 1] = what;
    }
    known
}

async fn perform(engine: &Engine, atom: &Atom) -> Result<Answer> {
    match atom.clone() {
        Atom::CreateLibrary { new, request } => {
            engine.create_library(new, request).await.map(Answer::Library)
        }
        Atom::UpdateLibrary { library, patch, expected } => {
            engine.update_library(&library, patch, expected).await.map(Answer::Library)
        }
        Atom::DeleteLibrary { library, expected } => {
            engine.delete_library(&library, expected).await.map(Answer::Revision)
        }
        Atom::Write { library, new, request, .. } => {
            engine.create_document(&library, new, request).await.map(Answer::Document)
        }
        Atom::Update { library, id, patch, expected } => {
            engine.update_document(&library, &id, patch, expected).await.map(Answer::Document)
        }
        Atom::Delete { library, id, expected } => {
            engine.delete_document(&library, &id, expected).await.map(Answer::Revision)
        }
    }
}
