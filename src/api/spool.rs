//! Replies that an ingesting client has not read yet: in memory first, then in an unlinked
//! temporary file, and only beyond that the upload pauses. So a client that sends everything
//! before it reads neither deadlocks nor makes the server grow.
//!
//! The queue has three parts, read in this order: `head`, messages in memory; the file, a run of
//! length-prefixed messages between two offsets; `tail`, messages that the file has not taken
//! yet. What is pushed goes to `head` while nothing lies behind it, otherwise to `tail`.
//!
//! At most one job works on the file at a time, on a blocking thread, in blocks of about 64 KiB:
//! it moves a block from `tail` to the file's end, or from the file's start to `head`, or gives
//! the disk back once the file is read to its end. A job finishes by itself, so dropping a
//! `push` or a `next` in the middle loses nothing.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::types::Limits;

/// Bytes that one job moves: large enough that system calls are few.
const BLOCK_BYTES: usize = 64 << 10;
/// Bytes that may wait for the file: a block being gathered and some behind it.
const TAIL_BYTES_MAX: usize = 4 * BLOCK_BYTES;
/// What a message costs in memory besides its bytes: its place in the queue, its allocation.
const MESSAGE_OVERHEAD_BYTES: usize = 64;
/// The length before each message in the file, little-endian.
const PREFIX_BYTES: usize = 4;

/// The reader left: nobody will read what is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reader left")]
pub struct ReaderGone;

/// The end that replies go in at. Dropping it ends the reader after what was pushed.
#[derive(Debug)]
pub struct SpoolWriter {
    shared: Arc<Shared>,
}

/// The end that the client's connection reads from: messages in order, each as pushed.
#[derive(Debug)]
pub struct SpoolReader {
    shared: Arc<Shared>,
}

/// A new, empty spool.
#[must_use]
pub fn spool(limits: &Limits) -> (SpoolWriter, SpoolReader) {
    let shared = Arc::new(Shared {
        memory_bytes_max: limits.spool_memory_bytes_max,
        disk_bytes_max: limits.spool_disk_bytes_max as u64,
        queue: Mutex::default(),
        file: Mutex::default(),
        readable: Notify::new(),
        writable: Notify::new(),
    });
    (SpoolWriter { shared: Arc::clone(&shared) }, SpoolReader { shared })
}

impl SpoolWriter {
    /// Puts a message in; waits only while `limits.spool_memory_bytes_max` and
    /// `limits.spool_disk_bytes_max` are both used up, or while the disk is slower than the
    /// messages come.
    ///
    /// [`ReaderGone`] at once when the reader left or the temporary file failed. A message is in
    /// wholly or, when the future is dropped, not at all.
    pub async fn push(&mut self, message: Bytes) -> Result<(), ReaderGone> {
        loop {
            {
                let mut queue = self.shared.lock();
                if queue.reader_gone || queue.failed {
                    return Err(ReaderGone);
                }
                if self.shared.put(&mut queue, &message) {
                    self.shared.start_job(&mut queue);
                    drop(queue);
                    self.shared.readable.notify_one();
                    return Ok(());
                }
            }
            self.shared.writable.notified().await;
        }
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        self.shared.lock().writer_gone = true;
        self.shared.readable.notify_one();
    }
}

impl SpoolReader {
    /// The next message; `None` behind the last. An error when the temporary file fails; nothing
    /// follows it. Safe to drop and call again: nothing is lost.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            {
                let mut queue = self.shared.lock();
                if let Some(message) = self.shared.take(&mut queue) {
                    return Some(Ok(message));
                }
                if let Some(error) = queue.error.take() {
                    return Some(Err(error));
                }
                if queue.failed || (queue.writer_gone && queue.is_empty()) {
                    return None;
                }
            }
            self.shared.readable.notified().await;
        }
    }

    /// A message that is at hand without waiting.
    pub fn try_next(&mut self) -> Option<Bytes> {
        self.shared.take(&mut self.shared.lock())
    }
}

impl Drop for SpoolReader {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.reader_gone = true;
        queue.head = VecDeque::new();
        queue.tail = Vec::new();
        if !queue.busy {
            self.shared.close_file();
        }
        drop(queue);
        self.shared.writable.notify_one();
    }
}

#[derive(Debug)]
struct Shared {
    memory_bytes_max: usize,
    disk_bytes_max: u64,
    queue: Mutex<Queue>,
    /// Made by the first job. Locked by jobs alone, of which there is one at a time.
    file: Mutex<Option<File>>,
    /// Tells the reader that there may be something to take.
    readable: Notify,
    /// Tells the writer that there may be room.
    writable: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    head: VecDeque<Bytes>,
    head_bytes: usize,
    /// Offsets of the file's unread part.
    file_start: u64,
    file_end: u64,
    /// Bytes on their way from `tail` to the file.
    writing_bytes: u64,
    tail: Vec<u8>,
    /// Whether a job is at work on the file.
    busy: bool,
    writer_gone: bool,
    reader_gone: bool,
    /// Why the file failed, until the reader is told.
    error: Option<io::Error>,
    failed: bool,
}

impl Queue {
    /// Whether nothing lies behind `head`.
    fn is_all_in_head(&self) -> bool {
        self.file_start == self.file_end && self.writing_bytes == 0 && self.tail.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.head.is_empty() && self.is_all_in_head()
    }

    fn disk_bytes(&self) -> u64 {
        self.file_end - self.file_start + self.writing_bytes + self.tail.len() as u64
    }

    fn push_head(&mut self, message: Bytes) {
        self.head_bytes += message.len() + MESSAGE_OVERHEAD_BYTES;
        self.head.push_back(message);
    }
}

/// One piece of work on the file.
#[derive(Debug)]
enum Job {
    /// Puts these bytes at this offset.
    Write(u64, Vec<u8>),
    /// Takes messages from between these offsets.
    Read(u64, u64),
    /// Gives the disk back.
    Truncate,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the disk back for good. Only while no job is at work.
    fn close_file(&self) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Puts a message where it belongs; `false` when there is no room yet.
    fn put(&self, queue: &mut Queue, message: &Bytes) -> bool {
        let cost = message.len() + MESSAGE_OVERHEAD_BYTES;
        if queue.is_all_in_head() {
            // A message larger than any limit still fits into an empty spool.
            if queue.head.is_empty() || queue.head_bytes + cost <= self.memory_bytes_max {
                queue.push_head(message.clone());
                return true;
            }
        }
        let Ok(length) = u32::try_from(message.len()) else { return false };
        let framed = (message.len() + PREFIX_BYTES) as u64;
        if queue.tail.len() >= TAIL_BYTES_MAX || queue.disk_bytes() + framed > self.disk_bytes_max {
            return false;
        }
        queue.tail.extend_from_slice(&length.to_le_bytes());
        queue.tail.extend_from_slice(message);
        true
    }

    /// Takes the first message, and sets the file in motion when the memory part is empty.
    fn take(self: &Arc<Self>, queue: &mut Queue) -> Option<Bytes> {
        let nothing_on_file = queue.file_start == queue.file_end && queue.writing_bytes == 0;
        if queue.head.is_empty() && nothing_on_file && !queue.tail.is_empty() {
            // The reader has caught up with the file: what it did not take need not go there.
            let mut block = Bytes::from(std::mem::take(&mut queue.tail));
            while let Some(message) = cut_message(&mut block) {
                queue.push_head(message);
            }
        }
        let message = queue.head.pop_front();
        if let Some(message) = &message {
            queue.head_bytes -= message.len() + MESSAGE_OVERHEAD_BYTES;
            self.writable.notify_one();
        }
        self.start_job(queue);
        message
    }

    /// Starts the job that is due, unless one is at work or nobody would see its result.
    fn start_job(self: &Arc<Self>, queue: &mut Queue) {
        if queue.busy || queue.failed || queue.reader_gone {
            return;
        }
        let Some(job) = next_job(queue) else { return };
        queue.busy = true;
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || shared.work(job));
    }

    /// Does this job and those that become due meanwhile.
    fn work(&self, mut job: Job) {
        loop {
            let outcome = self.run(job);
            let mut queue = self.lock();
            match outcome {
                Ok(Moved::Written) => {
                    queue.file_end += queue.writing_bytes;
                    queue.writing_bytes = 0;
                }
                Ok(Moved::Read(bytes, messages)) => {
                    queue.file_start += bytes;
                    messages.into_iter().for_each(|message| queue.push_head(message));
                }
                Ok(Moved::Truncated) => (queue.file_start, queue.file_end) = (0, 0),
                Err(error) => {
                    queue.error = Some(error);
                    queue.failed = true;
                }
            }
            let over = queue.failed || queue.reader_gone;
            let next = if over { None } else { next_job(&mut queue) };
            if over {
                self.close_file();
            }
            queue.busy = next.is_some();
            drop(queue);
            self.readable.notify_one();
            self.writable.notify_one();
            match next {
                Some(next) => job = next,
                None => return,
            }
        }
    }

    fn run(&self, job: Job) -> io::Result<Moved> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        match job {
            Job::Write(offset, bytes) => {
                file.seek(SeekFrom::Start(offset))?;
                file.write_all(&bytes)?;
                Ok(Moved::Written)
            }
            Job::Read(start, end) => read_block(file, start, end),
            Job::Truncate => {
                file.set_len(0)?;
                Ok(Moved::Truncated)
            }
        }
    }
}

/// What a job did.
#[derive(Debug)]
enum Moved {
    Written,
    /// So many bytes of the file were these messages.
    Read(u64, Vec<Bytes>),
    Truncated,
}

/// The job that is due: the reader comes first, since the client waits for it.
fn next_job(queue: &mut Queue) -> Option<Job> {
    if queue.head.is_empty() && queue.file_start < queue.file_end {
        return Some(Job::Read(queue.file_start, queue.file_end));
    }
    if queue.tail.len() >= BLOCK_BYTES {
        let bytes = std::mem::take(&mut queue.tail);
        queue.writing_bytes = bytes.len() as u64;
        return Some(Job::Write(queue.file_end, bytes));
    }
    (queue.file_start == queue.file_end && queue.file_end > 0).then_some(Job::Truncate)
}

/// Reads about a block of whole messages, at least one.
fn read_block(file: &mut File, start: u64, end: u64) -> io::Result<Moved> {
    let mut block = read_at(file, start, (end - start).min(BLOCK_BYTES as u64))?;
    let first = message_bytes(&block).ok_or_else(damaged)?;
    if first > block.len() as u64 {
        if first > end - start {
            return Err(damaged());
        }
        block = read_at(file, start, first)?;
    }
    let whole = block.len() as u64;
    let (mut block, mut messages) = (Bytes::from(block), Vec::new());
    while let Some(message) = cut_message(&mut block) {
        messages.push(message);
    }
    Ok(Moved::Read(whole - block.len() as u64, messages))
}

fn read_at(file: &mut File, start: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut block = vec![0; usize::try_from(length).map_err(|_| damaged())?];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut block)?;
    Ok(block)
}

/// How many bytes the message at the start of `block` takes, with its prefix.
fn message_bytes(block: &[u8]) -> Option<u64> {
    let prefix = block.first_chunk::<PREFIX_BYTES>()?;
    Some(PREFIX_BYTES as u64 + u64::from(u32::from_le_bytes(*prefix)))
}

/// Cuts the first message off `block`, if it is there as a whole.
fn cut_message(block: &mut Bytes) -> Option<Bytes> {
    let whole = usize::try_from(message_bytes(block)?).ok()?;
    (whole <= block.len()).then(|| block.split_to(whole).slice(PREFIX_BYTES..))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the spool's temporary file is damaged")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use proptest::prelude::*;

    use super::*;

    fn limits(memory: usize, disk: usize) -> Limits {
        Limits { spool_memory_bytes_max: memory, spool_disk_bytes_max: disk, ..Limits::default() }
    }

    /// A message that tells its number and length.
    fn message(number: u32, length: usize) -> Bytes {
        let mut bytes = number.to_le_bytes().to_vec();
        bytes.resize(length.max(4), number.to_le_bytes()[0]);
        bytes.into()
    }

    fn file_bytes(shared: &Shared) -> u64 {
        let file = shared.file.lock().expect("lock");
        file.as_ref().map_or(0, |file| file.metadata().expect("metadata").len())
    }

    /// Waits until no job is at work.
    async fn settled(shared: &Shared) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while shared.lock().busy {
            assert!(std::time::Instant::now() < deadline, "a job hangs");
            tokio::task::yield_now().await;
        }
    }

    async fn next(reader: &mut SpoolReader) -> Option<Bytes> {
        reader.next().await.map(|message| message.expect("the file works"))
    }

    #[tokio::test]
    async fn a_reader_that_keeps_up_never_touches_the_disk() {
        let (mut writer, mut reader) = spool(&limits(1 << 20, 1 << 30));
        for number in 0..10_000 {
            writer.push(message(number, 300)).await.expect("reader is there");
            assert_eq!(next(&mut reader).await, Some(message(number, 300)));
        }
        assert!(reader.shared.file.lock().expect("lock").is_none());
        assert_eq!(reader.try_next(), None);
        drop(writer);
        assert_eq!(next(&mut reader).await, None);
    }

    #[tokio::test]
    async fn a_writer_far_ahead_spills_in_order_and_the_disk_is_given_back() {
        let (mut writer, mut reader) = spool(&limits(1_000, 1 << 30));
        for number in 0..20_000 {
            writer.push(message(number, 200)).await.expect("reader is there");
        }
        let shared = Arc::clone(&reader.shared);
        settled(&shared).await;
        assert!(file_bytes(&shared) > 3_000_000, "most of it lies on disk");
        let memory = {
            let queue = shared.lock();
            queue.head_bytes + queue.tail.len()
        };
        assert!(memory < 1_000 + TAIL_BYTES_MAX, "{memory} bytes in memory");
        for number in 0..20_000 {
            assert_eq!(next(&mut reader).await, Some(message(number, 200)));
        }
        settled(&shared).await;
        assert_eq!(file_bytes(&shared), 0);
        // And then in memory again.
        writer.push(message(7, 9)).await.expect("reader is there");
        assert_eq!(reader.try_next(), Some(message(7, 9)));
        drop(writer);
        assert_eq!(next(&mut reader).await, None);
    }

    #[tokio::test]
    async fn a_message_larger_than_a_block_passes_through_the_file() {
        let (mut writer, mut reader) = spool(&limits(100, 1 << 30));
        let lengths = [100, 300_000, 5, 1_000_000, 70_000, 4];
        for (number, length) in (0..).zip(lengths) {
            writer.push(message(number, length)).await.expect("reader is there");
        }
        drop(writer);
        for (number, length) in (0..).zip(lengths) {
            assert_eq!(next(&mut reader).await, Some(message(number, length)));
        }
        assert_eq!(next(&mut reader).await, None);
    }

    #[tokio::test]
    async fn a_full_spool_makes_the_writer_wait_until_the_reader_takes_something() {
        let (mut writer, mut reader) = spool(&limits(1_000, 100_000));
        let mut pushed = 0;
        loop {
            settled(&writer.shared).await;
            match writer.push(message(pushed, 500)).now_or_never() {
                Some(outcome) => outcome.expect("reader is there"),
                None => break,
            }
            pushed += 1;
        }
        assert!((150..=220).contains(&pushed), "{pushed} messages of 500 bytes went in");
        assert!(writer.shared.lock().disk_bytes() <= 100_000);
        let writing = tokio::spawn(async move {
            for number in pushed..pushed + 500 {
                writer.push(message(number, 500)).await.expect("reader is there");
            }
        });
        for number in 0..pushed + 500 {
            assert_eq!(next(&mut reader).await, Some(message(number, 500)));
        }
        writing.await.expect("the writer ends");
        assert_eq!(next(&mut reader).await, None);
    }

    #[tokio::test]
    async fn a_message_beyond_every_limit_passes_alone() {
        let (mut writer, mut reader) = spool(&limits(10, 10));
        writer.push(message(1, 1_000)).await.expect("reader is there");
        assert!(writer.push(message(2, 1_000)).now_or_never().is_none());
        assert_eq!(next(&mut reader).await, Some(message(1, 1_000)));
        writer.push(message(2, 1_000)).await.expect("reader is there");
        assert_eq!(next(&mut reader).await, Some(message(2, 1_000)));
    }

    #[tokio::test]
    async fn a_reader_that_leaves_frees_a_waiting_writer_and_refuses_the_next() {
        let (mut writer, reader) = spool(&limits(10, 10));
        writer.push(message(1, 100)).await.expect("reader is there");
        let mut push = Box::pin(writer.push(message(2, 100)));
        assert!(push.as_mut().now_or_never().is_none());
        drop(reader);
        assert_eq!(push.await, Err(ReaderGone));
        assert!(writer.shared.file.lock().expect("lock").is_none());
        assert_eq!(writer.push(message(3, 100)).now_or_never(), Some(Err(ReaderGone)));
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken_by_a_message_and_by_the_end() {
        let (mut writer, mut reader) = spool(&limits(1_000, 1_000));
        let reading = tokio::spawn(async move {
            let first = next(&mut reader).await;
            (first, next(&mut reader).await)
        });
        tokio::task::yield_now().await;
        writer.push(message(1, 4)).await.expect("reader is there");
        tokio::task::yield_now().await;
        drop(writer);
        assert_eq!(reading.await.expect("no panic"), (Some(message(1, 4)), None));
    }

    #[tokio::test]
    async fn a_failing_file_is_told_to_the_reader_once_and_stops_the_writer() {
        let (mut writer, mut reader) = spool(&limits(100, 1 << 30));
        // A file that is not open for writing fails as a full disk would.
        let read_only = File::open("Cargo.toml").expect("exists");
        *writer.shared.file.lock().expect("lock") = Some(read_only);
        let mut number = 0;
        while writer.push(message(number, 1_000)).await.is_ok() {
            number += 1;
            assert!(number < 10_000, "the failure is never told");
            settled(&writer.shared).await;
        }
        let mut got = 0;
        let error = loop {
            match reader.next().await.expect("an error comes before the end") {
                Ok(bytes) => assert_eq!(bytes, message(got, 1_000)),
                Err(error) => break error,
            }
            got += 1;
        };
        assert_eq!(error.raw_os_error(), Some(9), "EBADF: {error}");
        assert!(got < number);
        assert!(reader.next().await.is_none());
    }

    #[tokio::test]
    async fn damaged_lengths_in_the_file_are_an_error() {
        let mut file = tempfile::tempfile().expect("temp file");
        file.write_all(&[255, 255, 255, 255, 1, 2, 3]).expect("write");
        assert!(read_block(&mut file, 0, 7).is_err());
        assert!(read_block(&mut file, 5, 7).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_interleaving_keeps_order_and_bounds(
            steps in prop::collection::vec((any::<bool>(), 0_usize..90_000), 1..120),
            memory in 1_usize..100_000,
            disk in 1_usize..600_000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
            runtime.block_on(async {
                let (mut writer, mut reader) = spool(&limits(memory, disk));
                let mut waiting = VecDeque::new();
                for (number, (write, length)) in (0..).zip(steps) {
                    if write {
                        let message = message(number, length);
                        if writer.push(message.clone()).now_or_never().is_some() {
                            waiting.push_back(message);
                        }
                    } else if let Some(expected) = waiting.pop_front() {
                        assert_eq!(next(&mut reader).await, Some(expected));
                    }
                    let queue = writer.shared.lock();
                    assert!(queue.disk_bytes() <= disk as u64);
                    // What was read back or had not reached the file may stand over the limit.
                    let held: usize = queue.head.iter().map(Bytes::len).sum();
                    assert!(held <= memory.max(TAIL_BYTES_MAX + 90_000));
                }
                drop(writer);
                for expected in waiting {
                    assert_eq!(next(&mut reader).await, Some(expected));
                }
                assert_eq!(next(&mut reader).await, None);
            });
        }
    }
}
