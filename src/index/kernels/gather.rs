//! The kernels of a walk through a graph, where rows lie anywhere: dot products of rows that are
//! not beside each other, of two rows, and asking for memory ahead of its use.

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "instructions that are only known at run time to exist")
)]

use super::{CODE_BIAS, FloatLane, Kernels, Path, QueryLane, RowLane};

impl Kernels {
    /// As [`Kernels::dots`], of rows that lie anywhere; each as long as the query. `out` is as
    /// long as `rows`.
    pub(in crate::index) fn dots_of(
        self,
        query: &[QueryLane],
        rows: &[&[RowLane]],
        out: &mut [i32],
    ) {
        assert!(rows.iter().all(|row| row.len() == query.len()), "rows are as long as the query");
        match self.0 {
            Path::Plain => plain::dots_of(query, rows, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a value with this path exists only where its features were detected.
            Path::Avx2 => unsafe { avx2::dots_of(query, rows, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a value with this path exists only where its features were detected.
            Path::Avx512 => unsafe { avx512::dots_of(query, rows, out) },
        }
    }

    /// The dot product of two rows over codes, without bias.
    pub(in crate::index) fn code_dot(self, a: &[RowLane], b: &[RowLane]) -> i32 {
        match self.0 {
            Path::Plain => plain::code_dot(a, b),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a value with this path exists only where its features were detected.
            Path::Avx2 => unsafe { avx2::code_dot(a, b) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a value with this path exists only where its features were detected.
            Path::Avx512 => unsafe { avx512::code_dot(a, b) },
        }
    }
}

/// Asks for a row's codes, which are wanted soon. Costs next to nothing and may do nothing.
#[inline(always)]
pub(in crate::index) fn prefetch_codes(row: &[RowLane]) {
    // Beyond eight lines the processor has understood.
    row.iter().take(8).for_each(prefetch);
}

/// Asks for a row's numbers.
#[inline(always)]
pub(in crate::index) fn prefetch_floats(row: &[FloatLane]) {
    row.iter().take(16).for_each(prefetch);
}

/// Asks for one value of memory.
#[inline(always)]
pub(in crate::index) fn prefetch<T>(of: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of the target's base, and the address is that of a live value; a
        // prefetch changes nothing but the cache.
        unsafe { _mm_prefetch(std::ptr::from_ref(of).cast(), _MM_HINT_T0) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = of;
}

mod plain {
    use super::super::plain::lane_dot;
    use super::{CODE_BIAS, QueryLane, RowLane};

    pub(super) fn dots_of(query: &[QueryLane], rows: &[&[RowLane]], out: &mut [i32]) {
        for (row, out) in rows.iter().zip(out) {
            *out = row.iter().zip(query).map(|(row, query)| lane_dot(row, query)).sum();
        }
    }

    pub(super) fn code_dot(a: &[RowLane], b: &[RowLane]) -> i32 {
        let code = |x: u8| i32::from(x) - CODE_BIAS;
        let lane = |(a, b): (&RowLane, &RowLane)| -> i32 {
            a.0.iter().zip(&b.0).map(|(&a, &b)| code(a) * code(b)).sum()
        };
        a.iter().zip(b).map(lane).sum()
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::super::avx2::{add_lane, store_sums, widen_query};
    use super::{QueryLane, RowLane};

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn dots_of(query: &[QueryLane], rows: &[&[RowLane]], out: &mut [i32]) {
        let (quads, rest) = out.as_chunks_mut::<4>();
        let (rows_of_quads, rows_of_rest) = rows.split_at(quads.len() * 4);
        for (rows, out) in rows_of_quads.as_chunks::<4>().0.iter().zip(quads) {
            let mut sums = [_mm256_setzero_si256(); 4];
            for (i, query) in query.iter().enumerate() {
                let query = widen_query(query);
                for (row, sum) in rows.iter().zip(&mut sums) {
                    *sum = add_lane(*sum, &row[i], query);
                }
            }
            store_sums(sums, out);
        }
        for (row, out) in rows_of_rest.iter().zip(rest) {
            let mut sum = _mm256_setzero_si256();
            for (row, query) in row.iter().zip(query) {
                sum = add_lane(sum, row, widen_query(query));
            }
            *out = total(sum);
        }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn code_dot(a: &[RowLane], b: &[RowLane]) -> i32 {
        let mut sum = _mm256_setzero_si256();
        for (a, b) in a.iter().zip(b) {
            let (a, b) = (widen_row(a), widen_row(b));
            for (a, b) in a.into_iter().zip(b) {
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
            }
        }
        total(sum)
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn widen_row(row: &RowLane) -> [__m256i; 4] {
        // SAFETY: each load reads 16 of the lane's 64 bytes, at an offset of 0, 16, 32 or 48.
        let load = |i: usize| unsafe { _mm_loadu_si128(row.0.as_ptr().add(i * 16).cast()) };
        let bias = _mm256_set1_epi16(128);
        [0, 1, 2, 3].map(|i| _mm256_sub_epi16(_mm256_cvtepu8_epi16(load(i)), bias))
    }

    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn total(sum: __m256i) -> i32 {
        let mut four = [0; 4];
        store_sums([sum; 4], &mut four);
        four[0]
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::super::avx2::store_sums;
    use super::super::avx512::{fold, load_query, load_row};
    use super::{QueryLane, RowLane};

    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vnni")]
    pub(super) fn dots_of(query: &[QueryLane], rows: &[&[RowLane]], out: &mut [i32]) {
        let (quads, rest) = out.as_chunks_mut::<4>();
        let (rows_of_quads, rows_of_rest) = rows.split_at(quads.len() * 4);
        for ([a, b, c, d], out) in rows_of_quads.as_chunks::<4>().0.iter().zip(quads) {
            let mut sums = [_mm512_setzero_si512(); 4];
            for ((((query, a), b), c), d) in query.iter().zip(*a).zip(*b).zip(*c).zip(*d) {
                let query = load_query(query);
                sums[0] = _mm512_dpbusd_epi32(sums[0], load_row(a), query);
                sums[1] = _mm512_dpbusd_epi32(sums[1], load_row(b), query);
                sums[2] = _mm512_dpbusd_epi32(sums[2], load_row(c), query);
                sums[3] = _mm512_dpbusd_epi32(sums[3], load_row(d), query);
            }
            store_sums(sums.map(|sum| fold(sum)), out);
        }
        for (row, out) in rows_of_rest.iter().zip(rest) {
            let mut sum = _mm512_setzero_si512();
            for (row, query) in row.iter().zip(query) {
                sum = _mm512_dpbusd_epi32(sum, load_row(row), load_query(query));
            }
            *out = _mm512_reduce_add_epi32(sum);
        }
    }

    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vnni")]
    pub(super) fn code_dot(a: &[RowLane], b: &[RowLane]) -> i32 {
        // Σ (a + 128) · b, and Σ 128 · b to take off again.
        let (mut sum, mut bias) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        let sign = _mm512_set1_epi8(-128);
        for (a, b) in a.iter().zip(b) {
            let b = _mm512_xor_si512(load_row(b), sign);
            sum = _mm512_dpbusd_epi32(sum, load_row(a), b);
            bias = _mm512_dpbusd_epi32(bias, sign, b);
        }
        _mm512_reduce_add_epi32(_mm512_sub_epi32(sum, bias))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows() -> impl Strategy<Value = (Vec<i8>, Vec<Vec<u8>>)> {
        (1_usize..5, 1_usize..23).prop_flat_map(|(width, rows)| {
            let query = prop::collection::vec(-127..=127_i8, 64 * width);
            let code = prop_oneof![Just(1_u8), Just(255), 1..=255_u8];
            (query, prop::collection::vec(prop::collection::vec(code, 64 * width), rows))
        })
    }

    proptest! {
        #[test]
        fn gathered_dots_and_dots_of_rows_are_exact_on_every_path((query, rows) in rows()) {
            let signed = |x: u8| i64::from(x) - 128;
            let of_query = |row: &Vec<u8>| -> i64 {
                row.iter().zip(&query).map(|(r, q)| i64::from(*r) * i64::from(*q)).sum()
            };
            let of_rows = |a: &[u8], b: &[u8]| -> i64 {
                a.iter().zip(b).map(|(a, b)| signed(*a) * signed(*b)).sum()
            };
            let lanes: Vec<Vec<RowLane>> = rows
                .iter()
                .map(|row| row.as_chunks::<64>().0.iter().map(|lane| RowLane(*lane)).collect())
                .collect();
            let slices: Vec<&[RowLane]> = lanes.iter().map(Vec::as_slice).collect();
            let asked: Vec<QueryLane> =
                query.as_chunks::<64>().0.iter().map(|lane| QueryLane(*lane)).collect();
            for kernels in Kernels::available() {
                let mut out = vec![-1; rows.len()];
                kernels.dots_of(&asked, &slices, &mut out);
                for (row, dot) in rows.iter().zip(&out) {
                    prop_assert_eq!(i64::from(*dot), of_query(row), "{:?}", kernels);
                }
                for (row, lanes) in rows.iter().zip(&lanes) {
                    let dot = i64::from(kernels.code_dot(&lanes[..], slices[0]));
                    prop_assert_eq!(dot, of_rows(row, &rows[0]), "{:?}", kernels);
                }
            }
        }
    }
}
