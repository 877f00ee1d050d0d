//! Every path that this machine has, against naive versions in wider arithmetic.

#![expect(clippy::cast_possible_truncation, reason = "small test data")]

use proptest::prelude::*;

use super::*;

fn lanes(numbers: &[f32]) -> Vec<FloatLane> {
    let lane = |chunk: &[f32]| {
        let mut lane = FloatLane::ZERO;
        lane.0[..chunk.len()].copy_from_slice(chunk);
        lane
    };
    numbers.chunks(16).map(lane).collect()
}

fn pair_of_vectors() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
    let numbers = |n| prop::collection::vec(-100.0_f32..100.0, n);
    (1_usize..700).prop_flat_map(move |n| (numbers(n), numbers(n)))
}

fn query_and_rows() -> impl Strategy<Value = (Vec<i8>, Vec<Vec<u8>>)> {
    (1_usize..5, 0_usize..23).prop_flat_map(|(width, rows)| {
        let query =
            prop::collection::vec(prop_oneof![Just(-127_i8), Just(127), -127..=127_i8], 64 * width);
        let row = prop::collection::vec(prop_oneof![Just(1_u8), Just(255), 1..=255_u8], 64 * width);
        (query, prop::collection::vec(row, rows))
    })
}

fn as_lanes(query: &[i8], rows: &[Vec<u8>]) -> (Vec<QueryLane>, Vec<RowLane>) {
    let query = query.as_chunks::<64>().0.iter().map(|lane| QueryLane(*lane)).collect();
    let rows = rows.iter().flat_map(|row| row.as_chunks::<64>().0).map(|lane| RowLane(*lane));
    (query, rows.collect())
}

proptest! {
    #[test]
    fn code_dots_are_exact_on_every_path((query, rows) in query_and_rows()) {
        let naive = |row: &Vec<u8>| -> i64 {
            row.iter().zip(&query).map(|(r, q)| i64::from(*r) * i64::from(*q)).sum()
        };
        let expected: Vec<i64> = rows.iter().map(naive).collect();
        let (query, rows) = as_lanes(&query, &rows);
        for kernels in Kernels::available() {
            let mut out = vec![-1; expected.len()];
            kernels.dots(&query, &rows, &mut out);
            let got: Vec<i64> = out.into_iter().map(i64::from).collect();
            prop_assert_eq!(&got, &expected, "{:?}", kernels);
        }
    }

    #[test]
    fn f32_sums_are_near_those_in_f64_on_every_path((a, b) in pair_of_vectors()) {
        let pairs = || a.iter().zip(&b).map(|(x, y)| (f64::from(*x), f64::from(*y)));
        let dot: f64 = pairs().map(|(x, y)| x * y).sum();
        let squared: f64 = pairs().map(|(x, y)| (x - y) * (x - y)).sum();
        let magnitude: f64 = pairs().map(|(x, y)| (x * y).abs()).sum();
        // The bound that searches rely on: one rounding for each step of the longest chain.
        let steps = (a.len() as f64 / F32_PARTIAL_SUMS as f64).ceil() + 8.0;
        let unit = f64::from(f32::EPSILON) / 2.0;
        let (a, b) = (lanes(&a), lanes(&b));
        for kernels in Kernels::available() {
            let error = (f64::from(kernels.dot(&a, &b)) - dot).abs();
            prop_assert!(error <= steps * unit * magnitude, "{kernels:?}: {error}");
            let error = (f64::from(kernels.squared_l2(&a, &b)) - squared).abs();
            prop_assert!(error <= (steps + 3.0) * unit * squared, "{kernels:?}: {error}");
        }
    }

    #[test]
    fn the_sieve_keeps_exactly_the_rows_within_the_limit(
        dots in prop::collection::vec(-1000..1000_i32, 0..70),
        limit in -2000.0..2000.0_f32,
        bias in -100..100_i32,
    ) {
        // Powers of two and small whole numbers: every path must get the very same bounds.
        let column = |factor: usize| -> Vec<f32> {
            (0..dots.len()).map(|i| (i * factor % 8) as f32).collect()
        };
        let (scales, residuals, norms, squares) = (column(3), column(5), column(7), column(1));
        let columns = Columns {
            scales: &scales, residuals: &residuals, norms: &norms, squares: &squares,
        };
        let terms = Terms { base: 3.0, square: 0.5, gain: -2.0, bias, residual: -4.0, norm: -0.25 };
        let lower = |i: usize| {
            3.0 + 0.5 * squares[i] - 2.0 * scales[i] * (dots[i] - bias) as f32
                - 4.0 * residuals[i] - 0.25 * norms[i]
        };
        let expected: Vec<u32> =
            (0..dots.len()).filter(|i| lower(*i) <= limit).map(|i| i as u32).collect();
        for kernels in Kernels::available() {
            let mut hits = Vec::new();
            kernels.sift(&dots, columns, &terms, limit, &mut hits);
            prop_assert_eq!(&hits, &expected, "{:?}", kernels);
        }
    }
}

#[test]
fn a_bound_that_is_no_number_excludes_no_row() {
    let nan = [f32::NAN; 17];
    let columns = Columns { scales: &nan, residuals: &nan, norms: &nan, squares: &nan };
    let terms = Terms { base: 0.0, square: 1.0, gain: 1.0, bias: 0, residual: 1.0, norm: 1.0 };
    for kernels in Kernels::available() {
        let mut hits = Vec::new();
        kernels.sift(&[0; 17], columns, &terms, -1.0, &mut hits);
        assert_eq!(hits, (0..17).collect::<Vec<u32>>(), "{kernels:?}");
    }
}

#[test]
fn the_largest_dimension_does_not_overflow() {
    let (query, rows) = (vec![QueryLane([127; 64]); 128], vec![RowLane([255; 64]); 128]);
    for kernels in Kernels::available() {
        let mut out = [0];
        kernels.dots(&query, &rows, &mut out);
        assert_eq!(out, [8192 * 127 * 255], "{kernels:?}");
    }
}
