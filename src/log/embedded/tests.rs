//! What is particular to files: crashes at every byte, damage, failing disks, lost power, epochs.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::executor::block_on;
use tempfile::TempDir;

use super::piece::file_name;
use super::*;
use crate::log::contract::{self, sample};

const ALL: usize = usize::MAX;

/// A folder, a disk that can fail, and how to open the log there.
struct Place {
    folder: TempDir,
    disk: FaultyDisk,
    options: EmbeddedOptions,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = EmbeddedOptions { piece_bytes_target: 2_000, ..Default::default() };
        Self { folder, disk: FaultyDisk::new(), options }
    }

    /// With one large piece, so that everything lies in the last.
    fn of_one_piece() -> Self {
        let mut place = Self::new();
        place.options.piece_bytes_target = 1 << 20;
        place
    }

    fn with_os_durability(mut self) -> Self {
        self.options.durability = Durability::Os;
        self
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn open(&self) -> EmbeddedLog {
        self.try_open().expect("opened")
    }

    fn try_open(&self) -> Result<EmbeddedLog, OpenError> {
        EmbeddedLog::open_with(self.path(), self.options, Arc::new(self.disk.clone()))
    }

    fn pieces(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path()).expect("listed");
        let paths = entries.map(|entry| entry.expect("listed").path());
        let mut pieces: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
        pieces.sort();
        pieces
    }

    fn last_piece(&self) -> PathBuf {
        self.pieces().pop().expect("a piece")
    }

    fn corrupt_at_open(&self) -> String {
        match self.try_open() {
            Err(OpenError::Corrupt(what)) => what,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("opened"),
        }
    }
}

/// A copy of a folder as it is now, as a crash would leave it.
fn copy(place: &Place) -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(place.path()).expect("listed") {
        let path = entry.expect("listed").path();
        let name = path.file_name().expect("a name");
        std::fs::copy(&path, folder.path().join(name)).expect("copied");
    }
    Place { folder, disk: place.disk.clone(), options: place.options }
}

fn bounds(log: &EmbeddedLog) -> LogBounds {
    block_on(log.bounds()).expect("bounds")
}

fn try_append(
    log: &EmbeddedLog,
    revisions: impl IntoIterator<Item = u64>,
) -> Result<Vec<Change>, AppendError> {
    let bounds = bounds(log);
    let changes = sample(&bounds, revisions);
    block_on(log.append(bounds.end, &changes)).map(|()| changes)
}

fn append(log: &EmbeddedLog, revisions: impl IntoIterator<Item = u64>) -> Vec<Change> {
    try_append(log, revisions).expect("appended")
}

fn read(log: &EmbeddedLog, after: u64) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    loop {
        let from = all.last().map_or(Revision(after), |change| change.head.revision);
        let page = block_on(log.read_changes(from, ALL)).expect("readable");
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).expect("a file").len()
}

fn cut(path: &Path, length: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    file.set_len(length).expect("cut");
}

fn flip(path: &Path, at: u64, bits: u8) {
    let mut file = OpenOptions::new().read(true).write(true).open(path).expect("a file");
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).expect("there");
    file.read_exact(&mut byte).expect("there");
    file.seek(SeekFrom::Start(at)).expect("there");
    file.write_all(&[byte[0] ^ bits]).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_log_keeps_the_contract() {
    for durability in [Durability::Fsync, Durability::Os] {
        for piece_bytes_target in [1, 1_000] {
            let folder = tempfile::tempdir().expect("a folder");
            let options = EmbeddedOptions { durability, piece_bytes_target, ..Default::default() };
            contract::conformance(async |place: &str| {
                let log = EmbeddedLog::open(&folder.path().join(place), options).expect("opened");
                Arc::new(log) as Arc<dyn ChangeLog>
            })
            .await;
        }
    }
}

#[test]
fn a_second_open_of_a_folder_is_refused() {
    let place = Place::new();
    let log = place.open();
    let Err(error) = place.try_open() else { panic!("opened twice") };
    assert!(matches!(&error, OpenError::InUse(folder) if folder == place.path()));
    assert!(error.to_string().contains(&place.path().display().to_string()), "{error}");
    drop(log);
    place.open();
}

/// A kill in the middle of the last append can leave it cut at any byte.
#[test]
fn a_torn_last_append_leaves_a_prefix_of_it() {
    let place = Place::of_one_piece();
    let log = place.open();
    let mut all = append(&log, [1, 2, 3]);
    let epoch = bounds(&log).epoch();
    let acknowledged = length(&place.last_piece());
    all.extend(append(&log, [5, 6, 7]));
    for at in acknowledged..length(&place.last_piece()) {
        let crashed = copy(&place);
        cut(&crashed.last_piece(), at);
        let log = crashed.open();
        let left = read(&log, 0);
        assert!(left.len() >= 3 && left.len() < 6, "cut at {at}: {} are left", left.len());
        assert_eq!(left, all[..left.len()]);
        assert_eq!(bounds(&log).epoch(), epoch, "nobody was told of what is gone");
        // It goes on as if nothing had been, and survives another opening.
        let mut later = left;
        later.extend(append(&log, [8]));
        drop(log);
        assert_eq!(read(&crashed.open(), 0), later, "cut at {at}");
    }
}

/// What an append cut short by a loss of power can leave: the file grew, the bytes did not come.
#[test]
fn zeros_behind_the_last_append_are_dropped() {
    let place = Place::of_one_piece();
    let log = place.open();
    let all = append(&log, [1, 2]);
    drop(log);
    let piece = place.last_piece();
    let before = length(&piece);
    cut(&piece, before + 10_000);
    assert_eq!(read(&place.open(), 0), all);
    assert_eq!(length(&piece), before);
}

/// Cut at any byte of what the store has already applied: never taken for a torn tail.
#[test]
fn a_cut_through_acknowledged_changes_is_told() {
    let mut place = Place::of_one_piece();
    let log = place.open();
    let mut ends = Vec::new();
    for revision in 1..=4 {
        append(&log, [revision]);
        ends.push(length(&place.last_piece()));
    }
    let epoch = bounds(&log).epoch();
    place.options.min_end = Revision(4);
    for at in HEADER_BYTES as u64..ends[3] {
        let damaged = copy(&place);
        cut(&damaged.last_piece(), at);
        if at == HEADER_BYTES as u64 || ends.contains(&at) {
            // No trace is left of what was cut; the store tells that it was there.
            let bounds = bounds(&damaged.open());
            assert_ne!(bounds.epoch(), epoch);
            assert_eq!((bounds.floor, bounds.end), (Revision(5), Revision(4)));
        } else {
            let what = damaged.corrupt_at_open();
            assert!(what.contains("the store has seen 4"), "{what}");
        }
    }
}

#[test]
fn a_flipped_byte_is_dropped_or_told_but_never_read() {
    let place = Place::of_one_piece();
    let log = place.open();
    let mut all = append(&log, [1]);
    let first_end = length(&place.last_piece());
    all.extend(append(&log, [2, 3]));
    let second_end = length(&place.last_piece());
    all.extend(append(&log, [5, 6]));
    let end = length(&place.last_piece());
    for at in HEADER_BYTES as u64..end {
        let damaged = copy(&place);
        flip(&damaged.last_piece(), at, 0x55);
        if at < second_end {
            // An append lies behind, so this one was whole once.
            let what = damaged.corrupt_at_open();
            assert!(what.contains(&file_name(Revision(1))), "{what}");
            let told = what.split("at byte ").nth(1).and_then(|rest| rest.split(':').next());
            let told: u64 = told.expect("a place").parse().expect("a number");
            assert!(told <= at && (told >= first_end) == (at >= first_end), "{at}: {what}");
        } else {
            // Damage and a torn append cannot be told apart here.
            let left = read(&damaged.open(), 0);
            assert!(left.len() == 3 || left.len() == 4, "{}", left.len());
            assert_eq!(left, all[..left.len()]);
        }
    }
    // After a clean end nothing can be torn.
    block_on(log.close()).expect("closed");
    drop(log);
    for at in (HEADER_BYTES as u64..end).step_by(7) {
        let damaged = copy(&place);
        flip(&damaged.last_piece(), at, 0x55);
        damaged.corrupt_at_open();
        let damaged = copy(&place);
        cut(&damaged.last_piece(), at);
        damaged.corrupt_at_open();
    }
    assert_eq!(read(&place.open(), 0), all);
}

#[test]
fn damage_in_an_earlier_piece_is_told_where_it_lies() {
    let place = Place::new();
    let log = place.open();
    let mut all = Vec::new();
    for revision in 1..=30 {
        all.extend(append(&log, [revision]));
    }
    drop(log);
    let second = place.pieces()[1].clone();
    let first_of_second =
        piece::revision_of(&second.file_name().expect("a name").to_string_lossy())
            .expect("a piece")
            .0;

    let before_second = usize::try_from(first_of_second).expect("small") - 1;

    let damaged = copy(&place);
    let piece = &damaged.pieces()[1];
    flip(piece, length(piece) - 1, 0xff);
    let log = damaged.open();
    let good = read_until_damage(&log);
    assert_eq!(good.0, all[..good.0.len()], "what lies before it is given");
    assert!(good.0.len() >= before_second);
    assert!(good.1.contains(&file_name(Revision(first_of_second))), "{}", good.1);
    // Heads do not need the bodies, so they are whole or told as well.
    let heads = block_on(log.read_heads(Revision(first_of_second - 1), ALL)).expect("heads");
    assert!(heads.iter().zip(&all[before_second..]).all(|(h, c)| **h == c.head));

    // Cut at a boundary of records: no checksum tells, but the next piece does.
    let damaged = copy(&place);
    cut(&damaged.pieces()[1], HEADER_BYTES as u64);
    let good = read_until_damage(&damaged.open());
    assert_eq!(good.0, all[..before_second]);
    assert!(good.1.contains("the next begins"), "{}", good.1);

    let damaged = copy(&place);
    flip(&damaged.pieces()[0], 30, 1);
    assert!(damaged.corrupt_at_open().contains("header"));
    let damaged = copy(&place);
    std::fs::remove_file(&damaged.pieces()[1]).expect("removed");
    assert!(damaged.corrupt_at_open().contains("missing"));
}

fn read_until_damage(log: &EmbeddedLog) -> (Vec<Change>, String) {
    let mut all: Vec<Change> = Vec::new();
    loop {
        let from = all.last().map_or(Revision::ZERO, |change| change.head.revision);
        match block_on(log.read_changes(from, ALL)) {
            Ok(page) => {
                assert!(!page.is_empty(), "the damage was not noticed");
                all.extend(page);
            }
            Err(ReadError::Corrupt(what)) => return (all, what),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_record_of_a_later_release_is_not_taken_for_a_torn_tail() {
    let place = Place::of_one_piece();
    let log = place.open();
    append(&log, [1]);
    let end = length(&place.last_piece());
    append(&log, [2]);
    drop(log);
    // Version 2 with its checksum.
    let piece = place.last_piece();
    let mut bytes = std::fs::read(&piece).expect("read");
    let at = usize::try_from(end).expect("small");
    bytes[at] = 2;
    let checksum = crc32c::crc32c(&bytes[at..at + 20]);
    bytes[at + 20..at + 24].copy_from_slice(&checksum.to_le_bytes());
    std::fs::write(&piece, bytes).expect("written");
    assert!(place.corrupt_at_open().contains("version 2"));
}

#[test]
fn a_failed_fsync_closes_the_log() {
    let place = Place::new();
    let log = place.open();
    let all = append(&log, [1, 2]);
    let before = bounds(&log);
    place.disk.fail_sync();
    assert!(matches!(try_append(&log, [3]), Err(AppendError::Closed(_))));
    // Nothing of it is shown, and no later append is tried.
    assert_eq!((bounds(&log), read(&log, 0)), (before, all.clone()));
    let syncs = place.disk.syncs();
    let Err(AppendError::Closed(why)) = try_append(&log, [3]) else { panic!("open") };
    assert!(why.contains("fsync failed"), "{why}");
    assert!(matches!(block_on(log.close()), Err(AppendError::Closed(_))));
    assert_eq!(place.disk.syncs(), syncs);
    drop(log);
    let log = place.open();
    assert_eq!(read(&log, 0), all);
    append(&log, [3]);
}

#[test]
fn a_failed_write_is_taken_back() {
    let place = Place::new();
    let log = place.open();
    let mut all = append(&log, [1, 2]);
    for cut in [0, 1, 30, 400] {
        let before = bounds(&log);
        place.disk.fail_append_after(cut);
        let next = before.end.0 + 1;
        let refused = try_append(&log, [next, next + 1]);
        assert!(matches!(refused, Err(AppendError::Refused(_))), "{refused:?}");
        assert_eq!(bounds(&log), before);
        all.extend(append(&log, [next]));
    }
    assert_eq!(read(&log, 0), all);
    place.disk.fail_append_after(10);
    place.disk.fail_truncate();
    assert!(matches!(try_append(&log, [50]), Err(AppendError::Closed(_))));
    assert!(matches!(try_append(&log, [50]), Err(AppendError::Closed(_))));
    drop(log);
    assert_eq!(read(&place.open(), 0), all);
}

#[test]
fn a_piece_that_cannot_be_begun_refuses_the_append_only() {
    let place = Place::new();
    let log = place.open();
    let mut all = Vec::new();
    let mut revision = 0;
    while place.pieces().len() < 4 {
        revision += 1;
        place.disk.fail_create();
        match try_append(&log, [revision]) {
            Ok(changes) => all.extend(changes),
            Err(AppendError::Refused(_)) => all.extend(append(&log, [revision])),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(read(&log, 0), all);
}

#[test]
fn acknowledged_means_synced() {
    let place = Place::new();
    let mut all = Vec::new();
    let mut epoch = None;
    for round in 0..3 {
        let log = place.open();
        assert_eq!(bounds(&log).epoch(), *epoch.get_or_insert(bounds(&log).epoch()));
        for n in 1..=20 {
            all.extend(append(&log, [round * 100 + n]));
        }
        drop(log);
        place.disk.lose_power().expect("off");
        assert_eq!(read(&place.open(), 0), all);
    }
}

#[test]
fn changes_left_in_the_cache_by_a_killed_process_are_synced_before_they_are_shown() {
    let place = Place::new().with_os_durability();
    let log = place.open();
    let all = append(&log, [1, 2]);
    drop(log);
    // Killed, opened again, and only then the power goes.
    assert_eq!(read(&place.open(), 0), all);
    place.disk.lose_power().expect("off");
    assert_eq!(read(&place.open(), 0), all);
}

#[test]
fn a_reboot_after_an_unclean_end_without_fsync_begins_an_epoch() {
    let place = Place::of_one_piece().with_os_durability();
    let log = place.open();
    let first = bounds(&log).epoch();
    append(&log, [1, 2]);
    // A killed process loses nothing.
    drop(log);
    let log = place.open();
    assert_eq!(bounds(&log).epoch(), first);
    append(&log, [3, 4]);
    drop(log);
    // Opening synced 1 and 2; 3 and 4 go with the power, and nothing in the file tells.
    place.disk.lose_power().expect("off");
    let log = place.open();
    let now = bounds(&log);
    assert_ne!(now.epoch(), first);
    assert!(now.epoch() > first);
    assert_eq!((now.floor, now.end), (Revision(1), Revision(2)));
    assert_eq!(now.epochs, [(first, Revision(1)), (now.epoch(), Revision(3))]);
    append(&log, [3]);
    assert_eq!(read(&log, 0).len(), 3);
    // A clean end loses nothing.
    block_on(log.close()).expect("closed");
    drop(log);
    place.disk.lose_power().expect("off");
    let log = place.open();
    assert_eq!(bounds(&log).epoch(), now.epoch());
    assert_eq!(read(&log, 0).len(), 3);
}

#[test]
fn without_fsync_only_the_last_piece_can_lose() {
    let place = Place::new().with_os_durability();
    let log = place.open();
    let mut all = Vec::new();
    for revision in 1..=30 {
        all.extend(append(&log, [revision]));
    }
    let first = bounds(&log).epoch();
    let last_piece = place.last_piece();
    drop(log);
    place.disk.lose_power().expect("off");
    assert_eq!(length(&last_piece), HEADER_BYTES as u64, "its changes were never synced");
    let log = place.open();
    let left = read(&log, 0);
    assert!(left.len() > 10 && left.len() < 30);
    assert_eq!(left, all[..left.len()]);
    let now = bounds(&log);
    assert_eq!(now.epochs, [(first, Revision(1)), (now.epoch(), now.end.next())]);
}

/// The system writes pages in any order: a whole append may lie behind a lost one.
#[test]
fn without_fsync_a_reboot_may_tear_the_middle() {
    let place = Place::of_one_piece().with_os_durability();
    let log = place.open();
    let mut all = append(&log, [1]);
    let end = length(&place.last_piece());
    append(&log, [2]);
    append(&log, [3]);
    let first = bounds(&log).epoch();
    flip(&place.last_piece(), end + 30, 1);
    let killed = copy(&place);
    assert!(killed.corrupt_at_open().contains("at byte"), "without a reboot this is damage");
    drop(log);
    place.disk.lose_power().expect("off");
    // Losing the power cut the piece; put back what the system had written by itself.
    std::fs::copy(killed.last_piece(), place.last_piece()).expect("copied");
    let log = place.open();
    assert_ne!(bounds(&log).epoch(), first);
    assert_eq!(read(&log, 0), all);
    all.extend(append(&log, [2]));
    assert_eq!(read(&log, 0), all);
}

#[test]
fn a_torn_tail_without_fsync_begins_an_epoch() {
    let place = Place::of_one_piece().with_os_durability();
    let log = place.open();
    append(&log, [1]);
    append(&log, [2]);
    let first = bounds(&log).epoch();
    drop(log);
    cut(&place.last_piece(), length(&place.last_piece()) - 1);
    let now = bounds(&place.open());
    assert_eq!(now.epochs, [(first, Revision(1)), (now.epoch(), Revision(2))]);
    assert_ne!(now.epoch(), first);
}

#[test]
fn a_log_behind_its_store_begins_behind_it() {
    let mut place = Place::new();
    let log = place.open();
    for revision in 1..=20 {
        append(&log, [revision]);
    }
    let first = bounds(&log).epoch();
    drop(log);
    place.options.min_end = Revision(20);
    assert_eq!(bounds(&place.open()).epoch(), first, "level with its store");
    place.options.min_end = Revision(25);
    place.options.min_end_time = Timestamp::from_micros(7_000_000);
    place.options.min_end_events = 70;
    let log = place.open();
    let now = bounds(&log);
    assert_eq!((now.end_time, now.end_events), (Timestamp::from_micros(7_000_000), 70));
    assert_ne!(now.epoch(), first);
    assert_eq!((&now.epochs[..], now.epoch_before), (&[(now.epoch(), Revision(26))][..], first));
    assert_eq!((now.floor, now.end), (Revision(26), Revision(25)));
    let trimmed = Err(ReadError::Trimmed { floor: Revision(26) });
    assert_eq!(block_on(log.read_changes(Revision(20), ALL)), trimmed);
    assert_eq!(read(&log, 25), []);
    assert!(matches!(
        block_on(log.append(Revision(20), &sample(&now, [26]))),
        Err(AppendError::Stale { end: Revision(25) })
    ));
    let changes = append(&log, [26]);
    drop(log);
    let log = place.open();
    assert_eq!(bounds(&log).epoch(), now.epoch());
    assert_eq!(read(&log, 25), changes);
    drop(log);

    // A log that is gone altogether.
    for piece in place.pieces() {
        std::fs::remove_file(piece).expect("removed");
    }
    place.options.min_end = Revision(26);
    place.options.min_end_events = 71;
    let now = bounds(&place.open());
    assert_eq!((now.floor, now.end, now.end_events), (Revision(27), Revision(26), 71));
}

#[test]
fn a_restored_backup_begins_an_epoch() {
    let mut place = Place::new();
    let log = place.open();
    let first = bounds(&log).epoch();
    let all = append(&log, [1, 2]);
    drop(log);
    place.options.new_epoch = true;
    let second = bounds(&place.open()).epoch();
    // Once more, before anything was appended: the empty piece is replaced.
    let log = place.open();
    let now = bounds(&log);
    assert_eq!(now.epochs, [(first, Revision(1)), (now.epoch(), Revision(3))]);
    assert!(first < second && second < now.epoch());
    assert_eq!(read(&log, 0), all);
    append(&log, [9]);
    drop(log);
    place.options.new_epoch = false;
    assert_eq!(bounds(&place.open()).epochs, now.epochs);

    // What the first epoch wrote goes; which epoch that was stays known.
    let log = place.open();
    assert_eq!(block_on(log.trim(Revision(2))), Ok(Revision(3)));
    assert_eq!(bounds(&log).epochs, [(now.epoch(), Revision(3))]);
    assert_eq!(bounds(&log).epoch_before, first);
    drop(log);
    assert_eq!(bounds(&place.open()).epoch_before, first);
}

#[test]
fn without_its_state_file_the_log_begins_an_epoch() {
    let place = Place::new();
    let log = place.open();
    let first = bounds(&log).epoch();
    let all = append(&log, [1]);
    drop(log);
    let state = place.path().join("STATE");
    flip(&state, 12, 1);
    let log = place.open();
    assert_ne!(bounds(&log).epoch(), first);
    assert_eq!(read(&log, 0), all);
}

#[test]
fn a_file_that_cannot_be_removed_is_tried_again() {
    let place = Place::new();
    let log = place.open();
    for revision in 1..=30 {
        append(&log, [revision]);
    }
    let count = place.pieces().len();
    assert!(count > 2);
    // A folder in the place of the oldest piece cannot be removed as a file.
    let oldest = place.pieces().remove(0);
    std::fs::remove_file(&oldest).expect("removed");
    std::fs::create_dir(&oldest).expect("made");
    let error = block_on(log.trim(Revision(30)));
    assert!(matches!(error, Err(ReadError::Io(_))), "{error:?}");
    let floor = bounds(&log).floor;
    assert!(floor > Revision(1), "the floor moves before any file goes");
    assert_eq!(place.pieces().len(), count, "files go from the front");
    std::fs::remove_dir(&oldest).expect("removed");
    assert_eq!(block_on(log.trim(Revision(30))), Ok(floor));
    assert_eq!(place.pieces().len(), 1);
}

#[test]
fn leftovers_of_a_crash_are_removed_and_strangers_left_alone() {
    let place = Place::new();
    let log = place.open();
    append(&log, [1]);
    drop(log);
    let unfinished = place.path().join("00000000000000000002.tmp");
    let stranger = place.path().join("notes.txt");
    std::fs::write(&unfinished, b"half").expect("written");
    std::fs::write(&stranger, b"mine").expect("written");
    place.open();
    assert!(!unfinished.exists() && stranger.exists());
}

/// What a run of random operations does, in the terms of a list of changes.
#[derive(Debug, Clone)]
enum Step {
    Append(u64, u64),
    FailedWrite(usize),
    FailedSync,
    Trim(u64),
    Seek(u64),
    Kill,
    TornKill(u64),
    Close,
    LosePower,
}

fn step() -> impl proptest::strategy::Strategy<Value = Step> {
    use proptest::prelude::*;
    prop_oneof![
        8 => (1..4_u64, 1..6_u64).prop_map(|(gap, count)| Step::Append(gap, count)),
        1 => (0..600_usize).prop_map(Step::FailedWrite),
        1 => Just(Step::FailedSync),
        2 => (0..40_u64).prop_map(Step::Trim),
        1 => (0..60_u64).prop_map(Step::Seek),
        1 => Just(Step::Kill),
        1 => (1..300_u64).prop_map(Step::TornKill),
        1 => Just(Step::Close),
        1 => Just(Step::LosePower),
    ]
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 48, ..Default::default() })]

    #[test]
    fn random_operations_and_crashes_keep_what_was_acknowledged(
        steps in proptest::collection::vec(step(), 1..60),
        piece_bytes_target in 1..4_000_usize,
    ) {
        let mut place = Place::new();
        place.options.piece_bytes_target = piece_bytes_target;
        let mut log = place.open();
        let epoch = bounds(&log).epoch();
        let mut acknowledged: Vec<Change> = Vec::new();
        for step in steps {
            let before = bounds(&log);
            let after_reopening = |log: EmbeddedLog| { drop(log); place.open() };
            match step {
                Step::Append(gap, count) => {
                    let first = before.end.0 + gap;
                    acknowledged.extend(append(&log, (first..first + count).collect::<Vec<_>>()));
                }
                Step::FailedWrite(bytes) => {
                    place.disk.fail_append_after(bytes);
                    let answer = try_append(&log, [before.end.0 + 1, before.end.0 + 2]);
                    proptest::prop_assert!(matches!(answer, Err(AppendError::Refused(_))));
                }
                Step::FailedSync => {
                    place.disk.fail_sync();
                    let answer = try_append(&log, [before.end.0 + 1]);
                    proptest::prop_assert!(matches!(answer, Err(AppendError::Closed(_))));
                    log = after_reopening(log);
                }
                Step::Trim(behind) => {
                    let through = before.end.0.saturating_sub(behind);
                    let floor = block_on(log.trim(Revision(through))).expect("trimmed");
                    acknowledged.retain(|change| change.head.revision >= floor);
                }
                Step::Seek(millis) => {
                    let time = Timestamp::from_micros(millis * 1_000);
                    let after = block_on(log.seek(time)).expect("found");
                    let found = block_on(log.read_changes(after, 0)).expect("readable");
                    let wanted = acknowledged.iter().find(|change| change.head.time >= time);
                    proptest::prop_assert_eq!(found.first(), wanted);
                }
                Step::Kill => log = after_reopening(log),
                Step::TornKill(left) => {
                    // An append of which only the first bytes came to the disk.
                    let piece = place.last_piece();
                    let copied = Place { disk: FaultyDisk::new(), ..copy(&place) };
                    let other = copied.open();
                    append(&other, [before.end.0 + 1]);
                    let bytes = std::fs::read(copied.last_piece()).expect("read");
                    let whole = bytes.len() as u64;
                    if copied.pieces().len() == place.pieces().len() {
                        let start = length(&piece);
                        let end = (start + left).min(whole - 1);
                        let range = usize::try_from(start).expect("small")
                            ..usize::try_from(end).expect("small");
                        let mut file =
                            OpenOptions::new().append(true).open(&piece).expect("a file");
                        file.write_all(&bytes[range]).expect("written");
                    }
                    log = after_reopening(log);
                }
                Step::Close => {
                    block_on(log.close()).expect("closed");
                    log = after_reopening(log);
                }
                Step::LosePower => {
                    drop(log);
                    place.disk.lose_power().expect("off");
                    log = place.open();
                }
            }
            let now = bounds(&log);
            proptest::prop_assert_eq!(now.epoch(), epoch);
            proptest::prop_assert_eq!(read(&log, now.floor.0 - 1), acknowledged.clone());
        }
    }
}
