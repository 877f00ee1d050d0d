//! Hides the processor: dot products, squared distances and the sieve of a scan, each in the
//! widest form that this machine has, chosen once.
//!
//! With `gather`, the only place of unsafe code. Lengths are whole lanes of 64 bytes, aligned by
//! type, so that no kernel has a tail over a vector's numbers. Paths differ in the order of f32
//! additions and so in the last digits; every path adds at least 32 partial sums
//! ([`F32_PARTIAL_SUMS`]).

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "instructions that are only known at run time to exist")
)]

mod gather;

use std::sync::OnceLock;

pub(super) use self::gather::{prefetch, prefetch_codes, prefetch_floats};

/// What [`RowLane`] adds to a code.
pub(super) const CODE_BIAS: i32 = 128;

/// 16 numbers of a vector.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(super) struct FloatLane(pub(super) [f32; 16]);

/// 64 codes of a row: value + 128, so 1 to 255. (`dpbusd` multiplies unsigned by signed bytes.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct RowLane(pub(super) [u8; 64]);

/// 64 codes of a query: −127 to 127, 0 beyond the dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct QueryLane(pub(super) [i8; 64]);

impl FloatLane {
    /// Zeros.
    pub(super) const ZERO: Self = Self([0.0; 16]);
}

/// The least number of partial sums that an f32 kernel adds up: what its rounding error is
/// bounded with.
pub(super) const F32_PARTIAL_SUMS: usize = 32;

/// What the bound of a row is made from, a column each, as long as the rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns<'a> {
    /// What one step of a code is worth.
    pub(super) scales: &'a [f32],
    /// At least the norm of what the codes leave out.
    pub(super) residuals: &'a [f32],
    /// At least the norm of what the codes say.
    pub(super) norms: &'a [f32],
    /// The squared norm for L2, else 0.
    pub(super) squares: &'a [f32],
}

/// A query's part in a bound of a row's key: `base + square·squares + gain·scales·(dot − bias) +
/// residual·residuals + norm·norms`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Constant.
    pub(super) base: f32,
    /// Of the row's squared norm.
    pub(super) square: f32,
    /// Of the codes' dot product.
    pub(super) gain: f32,
    /// What the bias of row codes adds to every dot product.
    pub(super) bias: i32,
    /// Of the row's residual.
    pub(super) residual: f32,
    /// Of the row's norm.
    pub(super) norm: f32,
}

impl Terms {
    /// The bound of one row.
    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "the slack in `norm` covers the rounding")]
    pub(super) fn bound(&self, dot: i32, scale: f32, residual: f32, norm: f32, square: f32) -> f32 {
        let codes = self.gain * scale * (dot - self.bias) as f32;
        let estimate = self.base + self.square * square + codes;
        estimate + (self.residual * residual + self.norm * norm)
    }

    /// What the codes alone say of a row's key.
    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(super) fn estimate(&self, dot: i32, scale: f32, square: f32) -> f32 {
        self.base + self.square * square + self.gain * scale * (dot - self.bias) as f32
    }
}

/// One set of kernels that this machine can run. Having one proves that its instructions exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernels(Path);

/// Not constructed outside [`Kernels::available`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernels {
    /// The fastest.
    pub(super) fn best() -> Self {
        static BEST: OnceLock<Kernels> = OnceLock::new();
        *BEST.get_or_init(|| Self::available().pop().unwrap_or(Self(Path::Plain)))
    }

    /// All that this machine can run, slowest first: searches use the last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "one path only"))]
        let mut all = vec![Self(Path::Plain)];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 {
                all.push(Self(Path::Avx2));
            }
            let avx512 =
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            if avx2 && avx512 && is_x86_feature_detected!("avx512vnni") {
                all.push(Self(Path::Avx512));
            }
        }
        all
    }

    /// Each row's dot product with the query, over codes: `out[i]` = Σ row code × query code,
    /// the bias of row codes included. `rows` holds `out.len()` rows as long as the query.
    pub(super) fn dots(self, query: &[QueryLane], rows: &[RowLane], out: &mut [i32]) {
        assert_eq!(rows.len(), query.len() * out.len(), "rows are as long as the query");
        match self.0 {
            Path::Plain => plain::dots(query, rows, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a value with this path exists only where its features were detected.
            Path::Avx2 => unsafe { avx2::dots(query, rows, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a value with this path exists only where its features were detected.
            Path::Avx512 => unsafe { avx512::dots(query, rows, out) },
        }
    }

    /// Appends to `hits` the places of the rows whose bound is not above `limit`,
    /// ascending. All columns are as long as `dots`.
    pub(super) fn sift(
        self,
        dots: &[i32],
        columns: Columns<'_>,
        terms: &Terms,
        limit: f32,
        hits: &mut Vec<u32>,
    ) {
        match self.0 {
            Path::Plain => plain::sift(dots, columns, terms, limit, hits),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a value with this path exists only where its features were detected.
            Path::Avx2 => unsafe { avx2::sift(dots, columns, terms, limit, hits) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a value with this path exists only where its features were detected.
            Path::Avx512 => unsafe { avx512::sift(dots, columns, terms, limit, hits) },
        }
    }

    /// The dot product of two vectors of one length, in single precision.
    pub(super) fn dot(self, a: &[FloatLane], b: &[FloatLane]) -> f32 {
        match self.0 {
            Path::Plain => plain::sum_over_pairs(a, b, |x, y| x * y),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a value with this path exists only where its features were detected.
            Path::Avx2 => unsafe { avx2::dot(a, b) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a value with this path exists only where its features were detected.
            Path::Avx512 => unsafe { avx512::dot(a, b) },
        }
    }

    /// The squared Euclidean distance of two vectors of one length, in single precision.
    pub(super) fn squared_l2(self, a: &[FloatLane], b: &[FloatLane]) -> f32 {
        match self.0 {
            Path::Plain => plain::sum_over_pairs(a, b, |x, y| (x - y) * (x - y)),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a value with this path exists only where its features were detected.
            Path::Avx2 => unsafe { avx2::squared_l2(a, b) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a value with this path exists only where its features were detected.
            Path::Avx512 => unsafe { avx512::squared_l2(a, b) },
        }
    }
}

/// Safe code that the compiler vectorises as well as the target's base allows; what NEON gets.
mod plain {
    use super::{Columns, FloatLane, QueryLane, RowLane, Terms};

    pub(super) fn dots(query: &[QueryLane], rows: &[RowLane], out: &mut [i32]) {
        for (row, out) in rows.chunks_exact(query.len()).zip(out) {
            *out = row.iter().zip(query).map(|(row, query)| lane_dot(row, query)).sum();
        }
    }

    pub(super) fn lane_dot(row: &RowLane, query: &QueryLane) -> i32 {
        row.0.iter().zip(&query.0).map(|(&r, &q)| i32::from(i16::from(r)) * i32::from(q)).sum()
    }

    #[inline(always)]
    pub(super) fn sift(
        dots: &[i32],
        columns: Columns<'_>,
        terms: &Terms,
        limit: f32,
        hits: &mut Vec<u32>,
    ) {
        let (scales, residuals) = (columns.scales, columns.residuals);
        let (norms, squares) = (columns.norms, columns.squares);
        let len = dots.len();
        assert!(scales.len() == len && residuals.len() == len, "columns are as long as the rows");
        assert!(norms.len() == len && squares.len() == len, "columns are as long as the rows");
        let bound_of =
            |i: usize| terms.bound(dots[i], scales[i], residuals[i], norms[i], squares[i]);
        let mut at = 0;
        while at + 16 <= len {
            let mut bounds = [0.0; 16];
            for (i, bound) in bounds.iter_mut().enumerate() {
                *bound = bound_of(at + i);
            }
            // Rows near enough are rare once the limit is tight: one test for 16.
            if bounds.iter().fold(false, |any, &bound| any | within(bound, limit)) {
                let near = bounds.iter().enumerate().filter(|(_, bound)| within(**bound, limit));
                hits.extend(near.map(|(i, _)| place(at + i)));
            }
            at += 16;
        }
        hits.extend((at..len).filter(|&i| within(bound_of(i), limit)).map(place));
    }

    #[inline(always)]
    #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "a bound that is NaN excludes nothing")]
    fn within(bound: f32, limit: f32) -> bool {
        !(bound > limit)
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a chunk has a few hundred rows")]
    fn place(i: usize) -> u32 {
        i as u32
    }

    pub(super) fn sum_over_pairs(
        a: &[FloatLane],
        b: &[FloatLane],
        term: impl Fn(f32, f32) -> f32,
    ) -> f32 {
        let mut sums = [[0.0_f32; 16]; 2];
        for (a, b) in a.chunks(2).zip(b.chunks(2)) {
            for ((a, b), sums) in a.iter().zip(b).zip(&mut sums) {
                for ((x, y), sum) in a.0.iter().zip(&b.0).zip(sums) {
                    *sum += term(*x, *y);
                }
            }
        }
        // Halving, because adding 32 sums in a row would round 32 times.
        let [mut first, second] = sums;
        for (x, y) in first.iter_mut().zip(second) {
            *x += y;
        }
        for half in [8, 4, 2, 1] {
            let (low, high) = first.split_at_mut(half);
            for (x, y) in low.iter_mut().zip(high) {
                *x += *y;
            }
        }
        first[0]
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{Columns, FloatLane, QueryLane, RowLane, Terms, plain};

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn dots(query: &[QueryLane], rows: &[RowLane], out: &mut [i32]) {
        let width = query.len();
        let (quads, rest) = out.as_chunks_mut::<4>();
        let (rows_of_quads, rows_of_rest) = rows.split_at(quads.len() * 4 * width);
        for (rows, out) in rows_of_quads.chunks_exact(4 * width).zip(quads) {
            let mut sums = [_mm256_setzero_si256(); 4];
            for (i, query) in query.iter().enumerate() {
                let query = widen_query(query);
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = add_lane(*sum, &rows[j * width + i], query);
                }
            }
            store_sums(sums, out);
        }
        for (row, out) in rows_of_rest.chunks_exact(width).zip(rest) {
            let mut sum = _mm256_setzero_si256();
            for (row, query) in row.iter().zip(query) {
                sum = add_lane(sum, row, widen_query(query));
            }
            let mut four = [0; 4];
            store_sums([sum; 4], &mut four);
            *out = four[0];
        }
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    pub(super) fn widen_query(query: &QueryLane) -> [__m256i; 4] {
        // SAFETY: each load reads 16 of the lane's 64 bytes, at an offset of 0, 16, 32 or 48.
        let load = |i: usize| unsafe { _mm_loadu_si128(query.0.as_ptr().add(i * 16).cast()) };
        [0, 1, 2, 3].map(|i| _mm256_cvtepi8_epi16(load(i)))
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    pub(super) fn add_lane(sum: __m256i, row: &RowLane, query: [__m256i; 4]) -> __m256i {
        // SAFETY: each load reads 16 of the lane's 64 bytes, at an offset of 0, 16, 32 or 48.
        let load = |i: usize| unsafe { _mm_loadu_si128(row.0.as_ptr().add(i * 16).cast()) };
        let product = |i: usize| _mm256_madd_epi16(_mm256_cvtepu8_epi16(load(i)), query[i]);
        let low = _mm256_add_epi32(product(0), product(1));
        let high = _mm256_add_epi32(product(2), product(3));
        _mm256_add_epi32(sum, _mm256_add_epi32(low, high))
    }

    /// `out[i]` = the sum of the eight numbers of `sums[i]`.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    pub(super) fn store_sums(sums: [__m256i; 4], out: &mut [i32; 4]) {
        let [a, b, c, d] = sums;
        let pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        let halves = (_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
        // SAFETY: `out` is 16 bytes, and the store asks for no alignment.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm_add_epi32(halves.0, halves.1)) };
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn sift(
        dots: &[i32],
        columns: Columns<'_>,
        terms: &Terms,
        limit: f32,
        hits: &mut Vec<u32>,
    ) {
        plain::sift(dots, columns, terms, limit, hits);
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn halves(lane: &FloatLane) -> [__m256; 2] {
        let start = lane.0.as_ptr();
        // SAFETY: a lane is 16 numbers, aligned to 64 bytes: both halves are 8 numbers within it
        // and aligned to 32.
        unsafe { [_mm256_load_ps(start), _mm256_load_ps(start.add(8))] }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn dot(a: &[FloatLane], b: &[FloatLane]) -> f32 {
        let mut sums = [_mm256_setzero_ps(); 4];
        for (a, b) in a.chunks(2).zip(b.chunks(2)) {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                let (a, b) = (halves(a), halves(b));
                sums[i * 2] = _mm256_fmadd_ps(a[0], b[0], sums[i * 2]);
                sums[i * 2 + 1] = _mm256_fmadd_ps(a[1], b[1], sums[i * 2 + 1]);
            }
        }
        total(sums)
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn squared_l2(a: &[FloatLane], b: &[FloatLane]) -> f32 {
        let mut sums = [_mm256_setzero_ps(); 4];
        for (a, b) in a.chunks(2).zip(b.chunks(2)) {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                let (a, b) = (halves(a), halves(b));
                let (low, high) = (_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1]));
                sums[i * 2] = _mm256_fmadd_ps(low, low, sums[i * 2]);
                sums[i * 2 + 1] = _mm256_fmadd_ps(high, high, sums[i * 2 + 1]);
            }
        }
        total(sums)
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn total(sums: [__m256; 4]) -> f32 {
        let [a, b, c, d] = sums;
        let eight = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{Columns, FloatLane, QueryLane, RowLane, Terms, avx2, plain};

    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vnni")]
    pub(super) fn dots(query: &[QueryLane], rows: &[RowLane], out: &mut [i32]) {
        let width = query.len();
        let (quads, rest) = out.as_chunks_mut::<4>();
        let (rows_of_quads, rows_of_rest) = rows.split_at(quads.len() * 4 * width);
        for (rows, out) in rows_of_quads.chunks_exact(4 * width).zip(quads) {
            let (a, rows) = rows.split_at(width);
            let (b, rows) = rows.split_at(width);
            let (c, d) = rows.split_at(width);
            let mut sums = [_mm512_setzero_si512(); 4];
            for ((((query, a), b), c), d) in query.iter().zip(a).zip(b).zip(c).zip(d) {
                let query = load_query(query);
                sums[0] = _mm512_dpbusd_epi32(sums[0], load_row(a), query);
                sums[1] = _mm512_dpbusd_epi32(sums[1], load_row(b), query);
                sums[2] = _mm512_dpbusd_epi32(sums[2], load_row(c), query);
                sums[3] = _mm512_dpbusd_epi32(sums[3], load_row(d), query);
            }
            avx2::store_sums(sums.map(|sum| fold(sum)), out);
        }
        for (row, out) in rows_of_rest.chunks_exact(width).zip(rest) {
            let mut sum = _mm512_setzero_si512();
            for (row, query) in row.iter().zip(query) {
                sum = _mm512_dpbusd_epi32(sum, load_row(row), load_query(query));
            }
            *out = _mm512_reduce_add_epi32(sum);
        }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) fn load_row(lane: &RowLane) -> __m512i {
        // SAFETY: a lane is 64 bytes, aligned to 64.
        unsafe { _mm512_load_si512(lane.0.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    pub(super) fn load_query(lane: &QueryLane) -> __m512i {
        // SAFETY: a lane is 64 bytes, aligned to 64.
        unsafe { _mm512_load_si512(lane.0.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn load_floats(lane: &FloatLane) -> __m512 {
        // SAFETY: a lane is 16 numbers, aligned to 64 bytes.
        unsafe { _mm512_load_ps(lane.0.as_ptr()) }
    }

    #[target_feature(enable = "avx2,avx512f")]
    #[inline]
    pub(super) fn fold(sum: __m512i) -> __m256i {
        _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1))
    }

    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vnni")]
    pub(super) fn sift(
        dots: &[i32],
        columns: Columns<'_>,
        terms: &Terms,
        limit: f32,
        hits: &mut Vec<u32>,
    ) {
        plain::sift(dots, columns, terms, limit, hits);
    }

    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vnni")]
    pub(super) fn dot(a: &[FloatLane], b: &[FloatLane]) -> f32 {
        let mut sums = [_mm512_setzero_ps(); 4];
        for (a, b) in a.chunks(4).zip(b.chunks(4)) {
            for ((a, b), sum) in a.iter().zip(b).zip(&mut sums) {
                *sum = _mm512_fmadd_ps(load_floats(a), load_floats(b), *sum);
            }
        }
        total(sums)
    }

    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vnni")]
    pub(super) fn squared_l2(a: &[FloatLane], b: &[FloatLane]) -> f32 {
        let mut sums = [_mm512_setzero_ps(); 4];
        for (a, b) in a.chunks(4).zip(b.chunks(4)) {
            for ((a, b), sum) in a.iter().zip(b).zip(&mut sums) {
                let difference = _mm512_sub_ps(load_floats(a), load_floats(b));
                *sum = _mm512_fmadd_ps(difference, difference, *sum);
            }
        }
        total(sums)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn total(sums: [__m512; 4]) -> f32 {
        let [a, b, c, d] = sums;
        _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)))
    }
}

#[cfg(test)]
#[path = "kernels_tests.rs"]
mod tests;
