//! Rows in single precision: hides whether they lie in memory or in a file, and that a file may be
//! damaged.
//!
//! New rows are in memory. Once their block lies still, and the server is told to, they are written
//! to a segment's file (`file`) and their memory is given back; the block, its place and what
//! searches find stay the same. A row of a file is read when its exact distance is wanted, and
//! compared with a checksum that is in memory. What cannot be read is read from where the
//! library's vectors are kept for good ([`RowSource`]), so that a damaged file costs time and
//! nothing else.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::RowKey;
use super::block::{Block, Shape};
use super::kernels::FloatLane;
use crate::types::Vector;

/// Where a library's vectors are kept for good.
pub trait RowSource: fmt::Debug + Send + Sync {
    /// The vector of a row; `None` when it is no longer in the library.
    fn vector(&self, row: RowKey) -> Option<Vector>;
}

/// Where the single-precision numbers of rows are that lie still.
#[derive(Debug, Clone)]
pub enum Home {
    /// In memory.
    Memory,
    /// In the files of their segments; what cannot be read there is read from the source.
    Disk(Arc<dyn RowSource>),
}

/// The single-precision rows of a block.
#[derive(Debug)]
pub(super) enum Floats {
    /// One after the other.
    Memory(Vec<FloatLane>),
    /// In a file.
    File(Extent),
}

/// Rows one after the other in a file.
#[derive(Debug)]
pub(super) struct Extent {
    /// The file.
    pub(super) file: Arc<FloatFile>,
    /// Where the first row begins.
    pub(super) offset: u64,
    /// Of each row.
    pub(super) sums: Vec<u32>,
}

/// A file with single-precision rows, open for as long as one is wanted: it may be removed
/// meanwhile.
#[derive(Debug)]
pub(super) struct FloatFile {
    file: File,
    path: PathBuf,
    shape: Shape,
    source: Arc<dyn RowSource>,
    damaged: AtomicBool,
}

thread_local! {
    static ROW: RefCell<Vec<FloatLane>> = const { RefCell::new(Vec::new()) };
}

impl FloatFile {
    pub(super) fn open(
        path: &Path,
        shape: &Shape,
        source: &Arc<dyn RowSource>,
    ) -> io::Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            path: path.to_owned(),
            shape: *shape,
            source: Arc::clone(source),
            damaged: AtomicBool::new(false),
        })
    }

    /// Whether something that was read was not what had been written.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Names the file in the server's log, once.
    fn found_damaged(&self, error: &dyn fmt::Display) {
        if !self.damaged.swap(true, Ordering::Relaxed) {
            let file = self.path.display();
            tracing::error!(%file, %error, "vectors of an index cannot be read from its file: they are \
                read from the store, and written to a new file");
        }
    }
}

impl Floats {
    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Memory(lanes) => lanes.capacity() * size_of::<FloatLane>(),
            Self::File(extent) => extent.sums.capacity() * size_of::<u32>(),
        }
    }

    /// The file that they are in.
    pub(super) fn file(&self) -> Option<&Arc<FloatFile>> {
        match self {
            Self::Memory(_) => None,
            Self::File(extent) => Some(&extent.file),
        }
    }

    /// The rows, if they are in memory.
    pub(super) fn lanes_of(&self, row: usize, lanes: usize) -> Option<&[FloatLane]> {
        match self {
            Self::Memory(all) => Some(&all[row * lanes..(row + 1) * lanes]),
            Self::File(_) => None,
        }
    }

    /// Gives a row of the block to `take`. Reads a file where it has to.
    pub(super) fn with<T>(
        &self,
        block: &Block,
        row: usize,
        lanes: usize,
        take: impl FnOnce(&[FloatLane]) -> T,
    ) -> T {
        match self {
            Self::Memory(all) => take(&all[row * lanes..(row + 1) * lanes]),
            Self::File(extent) => {
                // Taken out, not borrowed: `take` may look at another row.
                let mut buffer = ROW.take();
                buffer.resize(lanes, FloatLane::ZERO);
                extent.read(block, row, &mut buffer);
                let taken = take(&buffer);
                ROW.set(buffer);
                taken
            }
        }
    }
}

impl Extent {
    fn read(&self, block: &Block, row: usize, into: &mut Vec<FloatLane>) {
        let FloatFile { file, shape, source, .. } = &*self.file;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(into);
        let offset = self.offset + row as u64 * bytes.len() as u64;
        let error = match read_at(file, bytes, offset) {
            Ok(()) if crc32c::crc32c(bytes) == self.sums[row] => {
                turn(into);
                return;
            }
            Ok(()) => "a checksum is wrong".to_owned(),
            Err(error) => error.to_string(),
        };
        self.file.found_damaged(&error);
        *into = match source.vector(block.keys()[row]) {
            Some(vector) => shape.float_row(vector.as_slice()),
            // Removed a moment ago: nobody keeps what is found of it.
            None => block.decoded(row),
        };
    }
}

/// The checksum of a row as [`Extent::sums`] has it.
pub(super) fn sum_of(row: &[FloatLane]) -> u32 {
    row.iter().fold(0, |sum, lane| crc32c::crc32c_append(sum, &bytes_of(lane)))
}

/// A lane as files have it: little-endian.
pub(super) fn bytes_of(lane: &FloatLane) -> [u8; 64] {
    bytemuck::cast(lane.0.map(|x| x.to_bits().to_le()))
}

/// From the order of bytes in a file to the processor's.
fn turn(lanes: &mut [FloatLane]) {
    if cfg!(target_endian = "big") {
        for lane in lanes {
            lane.0 = lane.0.map(|x| f32::from_bits(u32::from_le(x.to_bits())));
        }
    }
}

#[cfg(unix)]
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, into, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut into: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !into.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, into, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        into = &mut into[read..];
        offset += read as u64;
    }
    Ok(())
}
