//! Hides how rows lie in memory: each as one byte a number, for the scan that decides which rows
//! deserve an exact distance, and in single precision, for these, there or in a file (`floats`).
//!
//! A block is filled ([`Draft`]), then shared, and what it says never changes after that. It knows
//! nothing of deletion.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::RowKey;
use super::floats::{FloatFile, Floats, sum_of};
use super::kernels::{CODE_BIAS, Columns, FloatLane, QueryLane, RowLane, prefetch_floats};
use crate::types::Metric;

/// What all rows of a library have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Numbers in a vector.
    pub(super) dimension: usize,
    /// What near means.
    pub(super) metric: Metric,
    /// Most rows in a block.
    pub(super) block_rows_max: usize,
}

/// Enough that a pass over a million rows meets few block borders, and few enough that copying
/// one reference a block with each update stays cheap.
const BLOCK_ROWS_MAX: usize = 4_096;
/// Rows of many numbers come in smaller blocks, so that merging one never stalls the writer for
/// more than some milliseconds.
const BLOCK_BYTES_TARGET: usize = 8 * 1024 * 1024;
/// Below this the fixed costs of a block would show in a scan.
const BLOCK_ROWS_MIN: usize = 128;

impl Shape {
    pub(super) fn new(dimension: usize, metric: Metric) -> Self {
        let mut shape = Self { dimension, metric, block_rows_max: 0 };
        let row_bytes = size_of::<FloatLane>() * shape.float_lanes() + 64 * shape.code_lanes();
        shape.block_rows_max =
            (BLOCK_BYTES_TARGET / row_bytes.max(1)).clamp(BLOCK_ROWS_MIN, BLOCK_ROWS_MAX);
        shape
    }

    /// Bits that the place of a row in its block takes.
    pub(super) fn row_bits(&self) -> u32 {
        self.block_rows_max.next_power_of_two().trailing_zeros()
    }

    /// Lanes of a row in single precision.
    pub(super) fn float_lanes(&self) -> usize {
        self.dimension.div_ceil(16)
    }

    /// Lanes of a row in codes.
    pub(super) fn code_lanes(&self) -> usize {
        self.dimension.div_ceil(64)
    }

    /// A vector as rows and queries are compared in single precision: normalised for cosine, as
    /// given otherwise, and zeros up to a whole lane.
    #[expect(clippy::cast_possible_truncation, reason = "rounding to single precision is meant")]
    pub(super) fn float_row(&self, vector: &[f32]) -> Vec<FloatLane> {
        debug_assert_eq!(vector.len(), self.dimension, "vectors are checked where they come in");
        let factor = match self.metric {
            Metric::Cosine => sum_of_squares(vector).sqrt().recip(),
            Metric::Dot | Metric::L2 => 1.0,
        };
        let mut lanes = vec![FloatLane::ZERO; self.float_lanes()];
        for (lane, numbers) in lanes.iter_mut().zip(vector.chunks(16)) {
            for (to, from) in lane.0.iter_mut().zip(numbers) {
                *to = (f64::from(*from) * factor) as f32;
            }
        }
        lanes
    }
}

/// Rows in contiguous memory.
#[derive(Debug)]
pub(super) struct Block {
    float_lanes: usize,
    code_lanes: usize,
    keys: Vec<RowKey>,
    /// The numbers stay the same; where they are may change once.
    floats: ArcSwap<Floats>,
    codes: Vec<RowLane>,
    scales: Vec<f32>,
    residuals: Vec<f32>,
    norms: Vec<f32>,
    /// Squared norms for L2; zeros otherwise, so that all metrics share one kernel.
    squares: Vec<f32>,
}

/// A block that is being filled.
#[derive(Debug)]
pub(super) struct Draft {
    block: Block,
    floats: Floats,
}

impl Draft {
    /// Empty, with room for so many rows.
    pub(super) fn with_capacity(shape: &Shape, rows: usize) -> Self {
        let (float_lanes, code_lanes) = (shape.float_lanes(), shape.code_lanes());
        let block = Block {
            float_lanes,
            code_lanes,
            keys: Vec::with_capacity(rows),
            floats: ArcSwap::from_pointee(Floats::Memory(Vec::new())),
            codes: Vec::with_capacity(rows * code_lanes),
            scales: Vec::with_capacity(rows),
            residuals: Vec::with_capacity(rows),
            norms: Vec::with_capacity(rows),
            squares: Vec::with_capacity(rows),
        };
        Self { block, floats: Floats::Memory(Vec::with_capacity(rows * float_lanes)) }
    }

    /// Appends a row.
    #[expect(clippy::cast_possible_truncation, reason = "rounding to single precision is meant")]
    pub(super) fn push(&mut self, shape: &Shape, key: RowKey, vector: &[f32]) {
        let floats = shape.float_row(vector);
        let codes = Codes::of(&floats);
        let block = &mut self.block;
        block.codes.extend(codes.lanes.iter().map(|lane| RowLane(lane.0.map(biased))));
        block.keys.push(key);
        block.scales.push(codes.scale);
        block.residuals.push(codes.residual);
        block.norms.push(codes.norm);
        block.squares.push(match shape.metric {
            Metric::Cosine | Metric::Dot => 0.0,
            Metric::L2 => sum_of_squares(vector) as f32,
        });
        self.push_floats(&floats);
    }

    /// Appends a copy of another block's row.
    pub(super) fn push_row_of(&mut self, other: &Block, row: usize) {
        let block = &mut self.block;
        block.keys.push(other.keys[row]);
        block.scales.push(other.scales[row]);
        block.residuals.push(other.residuals[row]);
        block.norms.push(other.norms[row]);
        block.squares.push(other.squares[row]);
        block.codes.extend_from_slice(other.codes_of(row, row + 1));
        other.with_floats(row, |floats| self.push_floats(floats));
    }

    fn push_floats(&mut self, floats: &[FloatLane]) {
        match &mut self.floats {
            Floats::Memory(all) => all.extend_from_slice(floats),
            Floats::File(_) => debug_assert!(false, "a file is whole"),
        }
    }

    /// Out of what was kept of it. All as many as rows; vectors in memory are zeros until they are
    /// set, and `None` stands for these.
    pub(super) fn kept(
        shape: &Shape,
        keys: Vec<RowKey>,
        columns: [Vec<f32>; 4],
        codes: Vec<RowLane>,
        floats: Option<Floats>,
    ) -> Self {
        let zeros = || Floats::Memory(vec![FloatLane::ZERO; keys.len() * shape.float_lanes()]);
        let floats = floats.unwrap_or_else(zeros);
        let [scales, residuals, norms, squares] = columns;
        let rows = Self::with_capacity(shape, 0).block;
        let block = Block { keys, codes, scales, residuals, norms, squares, ..rows };
        Self { block, floats }
    }

    /// Sets a row's vector. False, and nothing is set, when it is not the one that was kept.
    pub(super) fn set_vector(&mut self, shape: &Shape, row: usize, vector: &[f32]) -> bool {
        match &mut self.floats {
            Floats::File(extent) => sum_of(&shape.float_row(vector)) == extent.sums[row],
            Floats::Memory(floats) => {
                let mut own = Self::with_capacity(shape, 1);
                own.push(shape, self.block.keys[row], vector);
                let own = own.finish();
                let (codes, mut columns) =
                    (self.block.codes_of(row, row + 1), self.block.columns().into_iter());
                let same = own.codes == codes
                    && own
                        .columns()
                        .iter()
                        .all(|own| columns.next().is_some_and(|c| own[0] == c[row]));
                if same {
                    let lanes = row * shape.float_lanes()..(row + 1) * shape.float_lanes();
                    own.with_floats(0, |own| floats[lanes].copy_from_slice(own));
                }
                same
            }
        }
    }

    /// Whose each row is.
    pub(super) fn keys(&self) -> &[RowKey] {
        &self.block.keys
    }

    /// Rows.
    pub(super) fn len(&self) -> usize {
        self.block.len()
    }

    /// As it is from now on.
    pub(super) fn finish(self) -> Block {
        self.block.floats.store(Arc::new(self.floats));
        self.block
    }
}

impl Block {
    /// Scales, residuals, norms and squared norms, as [`Draft::kept`] takes them.
    pub(super) fn columns(&self) -> [&[f32]; 4] {
        [&self.scales, &self.residuals, &self.norms, &self.squares]
    }

    /// Rows.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let columns = [&self.scales, &self.residuals, &self.norms, &self.squares];
        size_of::<Self>()
            + self.keys.capacity() * size_of::<RowKey>()
            + self.floats.load().bytes()
            + self.codes.capacity() * size_of::<RowLane>()
            + columns.map(|column| column.capacity() * size_of::<f32>()).iter().sum::<usize>()
    }

    /// Whose each row is.
    pub(super) fn keys(&self) -> &[RowKey] {
        &self.keys
    }

    /// Gives a row in single precision to `take`. Reads a file where it has to: then a few
    /// microseconds, or a read of the disk.
    pub(super) fn with_floats<T>(&self, row: usize, take: impl FnOnce(&[FloatLane]) -> T) -> T {
        self.floats.load().with(self, row, self.float_lanes, take)
    }

    /// Asks for a row in single precision, if it is in memory.
    pub(super) fn prefetch_floats(&self, row: usize) {
        if let Some(lanes) = self.floats.load().lanes_of(row, self.float_lanes) {
            prefetch_floats(lanes);
        }
    }

    /// The file that the rows are in, in single precision; `None` while they are in memory.
    pub(super) fn float_file(&self) -> Option<Arc<FloatFile>> {
        self.floats.load().file().map(Arc::clone)
    }

    /// The same numbers have another home from now on; those who read them go on reading.
    pub(super) fn move_floats(&self, floats: Floats) {
        self.floats.store(Arc::new(floats));
    }

    /// About the row that its codes say.
    pub(super) fn decoded(&self, row: usize) -> Vec<FloatLane> {
        let codes = self.codes_of(row, row + 1).iter().flat_map(|lane| lane.0);
        #[expect(clippy::cast_precision_loss, reason = "a byte")]
        let numbers: Vec<f32> =
            codes.map(|code| (i32::from(code) - CODE_BIAS) as f32 * self.scales[row]).collect();
        let lanes = numbers.as_chunks::<16>().0.iter().map(|numbers| FloatLane(*numbers));
        lanes.take(self.float_lanes).collect()
    }

    /// The codes of the rows `first..end`.
    pub(super) fn codes_of(&self, first: usize, end: usize) -> &[RowLane] {
        &self.codes[first * self.code_lanes..end * self.code_lanes]
    }

    /// What bounds are made from, of the rows `first..end`.
    pub(super) fn columns_of(&self, first: usize, end: usize) -> Columns<'_> {
        Columns {
            scales: &self.scales[first..end],
            residuals: &self.residuals[first..end],
            norms: &self.norms[first..end],
            squares: &self.squares[first..end],
        }
    }
}

/// A vector in one byte a number: number ≈ scale × code.
#[derive(Debug)]
pub(super) struct Codes {
    /// Codes from −127 to 127.
    pub(super) lanes: Vec<QueryLane>,
    /// What one step is worth; 0 for a vector too small to be scaled.
    pub(super) scale: f32,
    /// At least the norm of vector − scale × codes.
    pub(super) residual: f32,
    /// At least the norm of scale × codes.
    pub(super) norm: f32,
}

/// A whole lane of floats has four quarters of a lane of codes.
const FLOAT_LANES_PER_CODE_LANE: usize = 4;

impl Codes {
    pub(super) fn of(floats: &[FloatLane]) -> Self {
        let numbers = || floats.iter().flat_map(|lane| lane.0);
        let largest = numbers().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        let steps = 127.0 / largest;
        let (scale, steps) = if steps.is_finite() { (largest / 127.0, steps) } else { (0.0, 0.0) };

        let mut lanes = Vec::with_capacity(floats.len().div_ceil(FLOAT_LANES_PER_CODE_LANE));
        let mut squares = 0_i64;
        let mut residuals = [0.0_f64; 16];
        for quarters in floats.chunks(FLOAT_LANES_PER_CODE_LANE) {
            let mut lane = QueryLane([0; 64]);
            for (codes, floats) in lane.0.as_chunks_mut::<16>().0.iter_mut().zip(quarters) {
                for ((code, x), sum) in codes.iter_mut().zip(floats.0).zip(&mut residuals) {
                    *code = nearest(x * steps);
                    let rest = f64::from(x) - f64::from(scale) * f64::from(*code);
                    *sum += rest * rest;
                }
            }
            squares += lane.0.iter().map(|code| i64::from(*code) * i64::from(*code)).sum::<i64>();
            lanes.push(lane);
        }
        let residual = upward(residuals.iter().sum::<f64>().sqrt());
        // At most 8192 × 127²: exact as a double.
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        let norm = upward(f64::from(scale) * (squares as f64).sqrt());
        Self { lanes, scale, residual, norm }
    }

    /// The sum of all codes.
    pub(super) fn sum(&self) -> i32 {
        self.lanes.iter().flat_map(|lane| lane.0).map(i32::from).sum()
    }
}

fn biased(code: i8) -> u8 {
    code.cast_unsigned() ^ 0x80
}

/// The whole number nearest to one from −127 to 127.
#[expect(clippy::cast_possible_truncation, reason = "within 1..256 after the shift")]
fn nearest(x: f32) -> i8 {
    // `round` is a library call on processors of the base; truncation is an instruction.
    let shifted = (x + 128.5) as i32;
    (shifted - 128) as i8
}

/// In single precision and not less.
#[expect(clippy::cast_possible_truncation, reason = "rounding to single precision is meant")]
fn upward(x: f64) -> f32 {
    (x * (1.0 + 1e-12)) as f32 * (1.0 + f32::EPSILON) + f32::MIN_POSITIVE
}

/// In double precision, in which a sum of 8192 rounds to nothing that single precision can see.
pub(super) fn sum_of_squares(numbers: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let (eights, rest) = numbers.as_chunks::<8>();
    let mut sums = [0.0_f64; 8];
    for eight in eights {
        for (sum, x) in sums.iter_mut().zip(eight) {
            *sum += square(*x);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().copied().map(square).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn codes_say_how_far_they_are_off(
            numbers in prop::collection::vec(-1e3_f32..1e3, 1..300),
            exponent in -60..30,
        ) {
            let numbers: Vec<f32> = numbers.iter().map(|x| x * 2_f32.powi(exponent)).collect();
            let shape = Shape::new(numbers.len(), Metric::L2);
            let codes = Codes::of(&shape.float_row(&numbers));
            let scaled = codes.lanes.iter().flat_map(|lane| lane.0);
            let scaled: Vec<f64> =
                scaled.map(|code| f64::from(code) * f64::from(codes.scale)).collect();
            let norm = scaled.iter().map(|x| x * x).sum::<f64>().sqrt();
            let rest = numbers.iter().zip(&scaled).map(|(x, y)| (f64::from(*x) - y).powi(2));
            let rest = rest.sum::<f64>().sqrt();
            prop_assert!(f64::from(codes.residual) >= rest);
            prop_assert!(f64::from(codes.residual) <= rest * 1.000_001 + 1e-37);
            prop_assert!(f64::from(codes.norm) >= norm);
            prop_assert!(f64::from(codes.norm) <= norm * 1.000_001 + 1e-37);
            // Half a step a number.
            let half = f64::from(codes.scale) * 0.501 * (numbers.len() as f64).sqrt();
            prop_assert!(rest <= half, "{rest} > {half}");
        }
    }

    #[test]
    fn vectors_that_cannot_be_scaled_are_all_residual() {
        let shape = Shape::new(3, Metric::Dot);
        for tiny in [0.0, f32::MIN_POSITIVE / 16.0] {
            let codes = Codes::of(&shape.float_row(&[tiny, -tiny, tiny]));
            assert_eq!((codes.scale, codes.sum()), (0.0, 0));
            assert!(codes.residual >= tiny * 1.7);
        }
    }

    #[test]
    fn cosine_rows_are_normalised() {
        let shape = Shape::new(2, Metric::Cosine);
        let row = shape.float_row(&[3e18, 4e18]);
        assert!((row[0].0[0] - 0.6).abs() <= f32::EPSILON);
        assert!((row[0].0[1] - 0.8).abs() <= f32::EPSILON);
        assert_eq!(row[0].0[2..], [0.0; 14]);
    }
}
