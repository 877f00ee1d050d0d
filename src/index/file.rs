//! Segments on disk: hides how a graph, the codes of its rows and their vectors lie in a file.
//!
//! A file spares a start the building of its graph, and memory the vectors; what is in the
//! library, the store alone says (see `restore`). So a file may be old, and one that is damaged or
//! not known is thrown away.
//!
//! Little-endian. A header, then arrays one after the other, then the CRC-32C of all before it; then
//! vectors, each with a checksum that is above. `docs/FORMAT.md` has the fields. Made under a
//! temporary name, synced, renamed.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use super::RowKey;
use super::block::{Draft, Shape};
use super::flat::Part;
use super::floats::{self, Extent, FloatFile, Floats, Home};
use super::graph::{Graph, Width};
use super::kernels::{FloatLane, RowLane};
use crate::types::{LibraryId, Metric};

const MAGIC: &[u8; 8] = b"arrwgrf\0";
const VERSION: u32 = 2;
const BUFFER_BYTES: usize = 1 << 20;
/// Vectors begin at a multiple of this: what the system reads at once.
const PAGE_BYTES: u64 = 4_096;

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its bytes are not those that were written.
    #[error("damaged: {0}")]
    Damaged(&'static str),
    /// It is of another library, shape or release.
    #[error("of {0}")]
    Foreign(&'static str),
}

/// A segment out of a file: its links, and its rows.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The blocks, in order; vectors that are not in the file are zeros.
    pub(super) drafts: Vec<Draft>,
    /// The graph, over parts 0, 1, …
    pub(super) graph: Option<Graph>,
    /// With the vectors, if they are in it and are to stay there.
    pub(super) file: Option<Arc<FloatFile>>,
}

/// Writes a graph, or none, with the codes of its rows; `parts` are those of the graph. Vectors
/// that are to be on disk are written too, and are read from there once the file has its name.
pub(super) fn write(
    path: &Path,
    library: LibraryId,
    shape: &Shape,
    graph: Option<&Graph>,
    parts: &[Part],
    home: &Home,
) -> Result<Option<Arc<FloatFile>>, FileError> {
    let temporary = path.with_extension("tmp");
    let placed = write_to(&temporary, library, shape, graph, parts, home).and_then(|placed| {
        std::fs::rename(&temporary, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(placed)
    });
    if placed.is_err() {
        // The disk may be full: leave nothing behind. The error that counts is the first.
        let _ = std::fs::remove_file(&temporary);
    }
    let (placed, Home::Disk(source)) = (placed?, home) else { return Ok(None) };
    let file = Arc::new(FloatFile::open(path, shape, source)?);
    for (part, Placed { offset, sums }) in parts.iter().zip(placed) {
        let extent = Extent { file: Arc::clone(&file), offset, sums };
        part.block().move_floats(Floats::File(extent));
    }
    Ok(Some(file))
}

/// Where the vectors of a block are in a file that has them.
struct Placed {
    offset: u64,
    sums: Vec<u32>,
}

/// Writes and syncs.
fn write_to(
    path: &Path,
    library: LibraryId,
    shape: &Shape,
    graph: Option<&Graph>,
    parts: &[Part],
    home: &Home,
) -> Result<Vec<Placed>, FileError> {
    let mut out = Output::new(File::create(path)?);
    out.bytes(MAGIC)?;
    out.number(VERSION)?;
    out.bytes(&library.as_bytes()[..])?;
    header(shape).into_iter().try_for_each(|number| out.number(number))?;
    let has_floats = matches!(home, Home::Disk(_));
    out.number(u32::from(has_floats))?;
    let Width { of_10, of_100 } = graph.map_or(Width { of_10: 0, of_100: 0 }, Graph::width);
    [of_10, of_100, parts.len()].into_iter().try_for_each(|number| out.number(count(number)))?;
    let mut placed: Vec<Placed> = Vec::new();
    for part in parts {
        let block = part.block();
        out.number(count(block.len()))?;
        for key in block.keys() {
            out.bytes(&key.document.to_le_bytes())?;
            out.number(key.slot)?;
        }
        for column in block.columns() {
            column.iter().try_for_each(|x| out.number(x.to_bits()))?;
        }
        block.codes_of(0, block.len()).iter().try_for_each(|lane| out.bytes(&lane.0))?;
        if has_floats {
            let of_block = (0..block.len()).map(|row| block.with_floats(row, floats::sum_of));
            let of_block: Vec<u32> = of_block.collect();
            of_block.iter().try_for_each(|sum| out.number(*sum))?;
            placed.push(Placed { offset: 0, sums: of_block });
        }
    }
    let arrays = graph.map(Graph::arrays).unwrap_or_default();
    out.number(count(arrays.len()))?;
    for array in arrays {
        out.number(count(array.len()))?;
        array.iter().try_for_each(|x| out.number(*x))?;
    }
    out.number(out.sum)?;
    if has_floats {
        let begin = out.written.next_multiple_of(PAGE_BYTES);
        (out.written..begin).try_for_each(|_| out.bytes(&[0]))?;
    }
    for (part, placed) in parts.iter().zip(&mut placed) {
        placed.offset = out.written;
        for row in 0..part.block().len() {
            part.block().with_floats(row, |lanes| {
                lanes.iter().try_for_each(|lane| out.bytes(&floats::bytes_of(lane)))
            })?;
        }
    }
    let file = out.inner.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(placed)
}

/// Reads what was written for this library and shape. Vectors stay where they are.
pub(super) fn read(
    path: &Path,
    library: LibraryId,
    shape: &Shape,
    home: &Home,
) -> Result<Loaded, FileError> {
    let mut input = Input::new(File::open(path)?)?;
    if input.array::<8>()? != *MAGIC {
        return Err(FileError::Damaged("it does not begin as a segment's file does"));
    }
    if input.number()? != VERSION {
        return Err(FileError::Foreign("another release"));
    }
    if input.array::<16>()? != *library.as_bytes() {
        return Err(FileError::Foreign("another library"));
    }
    for number in header(shape) {
        if input.number()? != number {
            return Err(FileError::Foreign("another shape"));
        }
    }
    let has_floats = match input.number()? {
        0 => false,
        1 => true,
        _ => return Err(FileError::Damaged("it neither has vectors nor has it none")),
    };
    let width = Width { of_10: input.number()? as usize, of_100: input.number()? as usize };
    let blocks = input.count(8)?;
    let blocks: Vec<Coded> =
        (0..blocks).map(|_| read_block(&mut input, shape, has_floats)).collect::<Result<_, _>>()?;
    let arrays = (0..input.count(4)?).map(|_| input.numbers()).collect::<Result<Vec<_>, _>>()?;
    let sum = input.sum;
    if input.number()? != sum {
        return Err(FileError::Damaged("its checksum is wrong"));
    }
    let lens: Vec<usize> = blocks.iter().map(|block| block.keys.len()).collect();
    let graph = match arrays.is_empty() {
        true => None,
        false => Some(
            Graph::from_arrays(arrays, &lens, shape.row_bits(), width)
                .ok_or(FileError::Damaged("its links lead nowhere"))?,
        ),
    };
    let row_bytes = (shape.float_lanes() * size_of::<FloatLane>()) as u64;
    let mut offset = input.read.next_multiple_of(PAGE_BYTES);
    let rows = lens.iter().sum::<usize>() as u64;
    if has_floats && input.bytes != offset + rows * row_bytes {
        return Err(FileError::Damaged("it has not as many vectors as rows"));
    }
    let file = match home {
        Home::Disk(source) if has_floats => Some(Arc::new(FloatFile::open(path, shape, source)?)),
        Home::Disk(_) | Home::Memory => None,
    };
    let draft = |block: Coded| {
        let Coded { keys, columns, codes, sums } = block;
        let here = offset;
        offset += keys.len() as u64 * row_bytes;
        let extent = |file: &Arc<FloatFile>| Extent { file: Arc::clone(file), offset: here, sums };
        let floats = file.as_ref().map(|file| Floats::File(extent(file)));
        Draft::kept(shape, keys, columns, codes, floats)
    };
    let drafts = blocks.into_iter().map(draft).collect();
    Ok(Loaded { drafts, graph, file })
}

/// A block without its vectors.
struct Coded {
    keys: Vec<RowKey>,
    columns: [Vec<f32>; 4],
    codes: Vec<RowLane>,
    /// Of the vectors; empty when the file has none.
    sums: Vec<u32>,
}

fn read_block(input: &mut Input, shape: &Shape, has_floats: bool) -> Result<Coded, FileError> {
    let rows = input.count(12)?;
    if rows == 0 || rows > shape.block_rows_max {
        return Err(FileError::Damaged("a block has a wrong number of rows"));
    }
    let key = |input: &mut Input| -> Result<RowKey, FileError> {
        let document = u64::from_le_bytes(input.array()?);
        Ok(RowKey { document, slot: input.number()? })
    };
    let keys = exactly(rows, || key(input))?;
    let column = |input: &mut Input| exactly(rows, || Ok(f32::from_bits(input.number()?)));
    let columns = [column(input)?, column(input)?, column(input)?, column(input)?];
    let lanes = rows * shape.code_lanes();
    let codes = exactly(lanes, || Ok(RowLane(input.array()?)))?;
    let sums = exactly(if has_floats { rows } else { 0 }, || input.number())?;
    Ok(Coded { keys, columns, codes, sums })
}

/// So many items, in no more memory than they need.
fn exactly<T>(
    count: usize,
    mut item: impl FnMut() -> Result<T, FileError>,
) -> Result<Vec<T>, FileError> {
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        items.push(item()?);
    }
    Ok(items)
}

/// What must be equal for a file to fit a library.
fn header(shape: &Shape) -> [u32; 3] {
    let metric = match shape.metric {
        Metric::Cosine => 0,
        Metric::Dot => 1,
        Metric::L2 => 2,
    };
    [count(shape.dimension), metric, count(shape.block_rows_max)]
}

/// Everything that is counted fits: a graph has fewer than 2^32 links.
fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

/// A file that is written, and the checksum of what is in it already.
struct Output {
    inner: BufWriter<File>,
    sum: u32,
    /// Bytes so far.
    written: u64,
}

impl Output {
    fn new(file: File) -> Self {
        Self { inner: BufWriter::with_capacity(BUFFER_BYTES, file), sum: 0, written: 0 }
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum = crc32c::crc32c_append(self.sum, bytes);
        self.written += bytes.len() as u64;
        self.inner.write_all(bytes)
    }

    fn number(&mut self, number: u32) -> io::Result<()> {
        self.bytes(&number.to_le_bytes())
    }
}

/// A file that is read, and the checksum of what was read of it.
struct Input {
    inner: BufReader<File>,
    sum: u32,
    /// Bytes of the whole file: no count may ask for more memory than that.
    bytes: u64,
    /// Bytes so far.
    read: u64,
}

impl Input {
    fn new(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self { inner: BufReader::with_capacity(BUFFER_BYTES, file), sum: 0, bytes, read: 0 })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FileError> {
        let mut bytes = [0; N];
        let read = self.inner.read_exact(&mut bytes);
        read.map_err(|error| match error.kind() == io::ErrorKind::UnexpectedEof {
            true => FileError::Damaged("it ends too early"),
            false => FileError::Io(error),
        })?;
        self.sum = crc32c::crc32c_append(self.sum, &bytes);
        self.read += N as u64;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32, FileError> {
        self.array().map(u32::from_le_bytes)
    }

    /// How many items follow, each of at least so many bytes.
    fn count(&mut self, bytes_each: u64) -> Result<usize, FileError> {
        let count = self.number()?;
        if u64::from(count) * bytes_each > self.bytes {
            return Err(FileError::Damaged("it has a count of more than it can hold"));
        }
        Ok(count as usize)
    }

    fn numbers(&mut self) -> Result<Vec<u32>, FileError> {
        exactly(self.count(4)?, || self.number())
    }
}
