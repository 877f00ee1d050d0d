//! Graphs on disk: hides how a graph and the codes of its rows lie in a file.
//!
//! A file spares a start the building of its graph; what is in the library, the store alone says
//! (see `restore`). So a file may be old, and one that is damaged or not known is thrown away.
//!
//! Little-endian. A header, then arrays one after the other, then the CRC-32C of all before it;
//! `docs/FORMAT.md` has the fields. Made under a temporary name, synced, renamed.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::RowKey;
use super::block::{Block, Shape};
use super::flat::Part;
use super::graph::{Graph, Width};
use super::kernels::RowLane;
use crate::types::{LibraryId, Metric};

const MAGIC: &[u8; 8] = b"arrwgrf\0";
const VERSION: u32 = 1;
const BUFFER_BYTES: usize = 1 << 20;

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

/// A graph out of a file: its links, and its rows without their vectors.
#[derive(Debug)]
pub(super) struct Kept {
    /// The blocks, in order; their vectors are zeros.
    pub(super) blocks: Vec<Block>,
    /// The graph, over parts 0, 1, …
    pub(super) graph: Graph,
}

/// Writes a graph with the codes of its rows. `parts` are those of the graph.
pub(super) fn write(
    path: &Path,
    library: LibraryId,
    shape: &Shape,
    graph: &Graph,
    parts: &[Part],
) -> Result<(), FileError> {
    let temporary = path.with_extension("tmp");
    let mut out = Output::new(File::create(&temporary)?);
    out.bytes(MAGIC)?;
    out.number(VERSION)?;
    out.bytes(&library.as_bytes()[..])?;
    header(shape).into_iter().try_for_each(|number| out.number(number))?;
    let Width { of_10, of_100 } = graph.width();
    [of_10, of_100, parts.len()].into_iter().try_for_each(|number| out.number(count(number)))?;
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
    }
    let arrays = graph.arrays();
    out.number(count(arrays.len()))?;
    for array in arrays {
        out.number(count(array.len()))?;
        array.iter().try_for_each(|x| out.number(*x))?;
    }
    out.number(out.sum)?;
    let file = out.inner.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Reads what was written for this library and shape.
pub(super) fn read(path: &Path, library: LibraryId, shape: &Shape) -> Result<Kept, FileError> {
    let mut input = Input::new(File::open(path)?)?;
    if input.array::<8>()? != *MAGIC {
        return Err(FileError::Damaged("it does not begin as a graph's file does"));
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
    let width = Width { of_10: input.number()? as usize, of_100: input.number()? as usize };
    let parts = input.count(8)?;
    let blocks: Vec<Block> =
        (0..parts).map(|_| read_block(&mut input, shape)).collect::<Result<_, _>>()?;
    let arrays = (0..input.count(4)?).map(|_| input.numbers()).collect::<Result<Vec<_>, _>>()?;
    let sum = input.sum;
    if input.number()? != sum {
        return Err(FileError::Damaged("its checksum is wrong"));
    }
    let lens: Vec<usize> = blocks.iter().map(Block::len).collect();
    let graph = Graph::from_arrays(arrays, &lens, shape.row_bits(), width)
        .ok_or(FileError::Damaged("its links lead nowhere"))?;
    Ok(Kept { blocks, graph })
}

fn read_block(input: &mut Input, shape: &Shape) -> Result<Block, FileError> {
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
    Ok(Block::without_vectors(shape, keys, columns, codes))
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
}

impl Output {
    fn new(file: File) -> Self {
        Self { inner: BufWriter::with_capacity(BUFFER_BYTES, file), sum: 0 }
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum = crc32c::crc32c_append(self.sum, bytes);
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
}

impl Input {
    fn new(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self { inner: BufReader::with_capacity(BUFFER_BYTES, file), sum: 0, bytes })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FileError> {
        let mut bytes = [0; N];
        let read = self.inner.read_exact(&mut bytes);
        read.map_err(|error| match error.kind() == io::ErrorKind::UnexpectedEof {
            true => FileError::Damaged("it ends too early"),
            false => FileError::Io(error),
        })?;
        self.sum = crc32c::crc32c_append(self.sum, &bytes);
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
