//! A query made ready: hides how a bound on a row's distance follows from codes, and what the
//! exact distance is.
//!
//! Both compare *keys*, which order as distances do: 1 − dot, −dot, or the squared distance.
//!
//! **The bound.** With x̂ the row as its codes say it and q̂ the query likewise,
//! q·x − q̂·x̂ = q·(x − x̂) + (q − q̂)·x̂, so by Cauchy–Schwarz
//! |q·x − q̂·x̂| ≤ ‖q‖·‖x − x̂‖ + ‖q − q̂‖·‖x̂‖. The norms of the residuals are known, not
//! estimated. On top comes what single precision may lose in the exact distance and in the bound
//! itself ([`Probe::new`]). So a row whose lower bound is above the k-th smallest upper bound is
//! not among the k nearest: the scan of codes loses nothing.

use super::Query;
use super::block::{Codes, Shape, sum_of_squares};
use super::kernels::{CODE_BIAS, F32_PARTIAL_SUMS, FloatLane, Kernels, QueryLane, Terms};
use crate::types::Metric;

/// A query as the scan wants it.
#[derive(Debug)]
pub(super) struct Probe {
    /// How many neighbours at most.
    pub(super) k: usize,
    /// Only neighbours at this distance or nearer.
    pub(super) distance_max: Option<f32>,
    /// For the scan.
    pub(super) codes: Vec<QueryLane>,
    /// The key is at least this.
    pub(super) lower: Terms,
    /// The key is at most this.
    pub(super) upper: Terms,
    floats: Vec<FloatLane>,
    metric: Metric,
    kernels: Kernels,
}

impl Probe {
    pub(super) fn new(shape: &Shape, query: &Query<'_>, kernels: Kernels) -> Self {
        let floats = shape.float_row(query.vector);
        let codes = Codes::of(&floats);
        let flat: Vec<f32> = floats.iter().flat_map(|lane| lane.0).collect();
        let square = narrow(sum_of_squares(&flat));
        let norm = narrow(sum_of_squares(&flat).sqrt()) * (1.0 + f32::EPSILON);

        // One rounding (half an EPSILON) for each step of the longest chain of additions in the
        // exact kernel and some more for those of the bound; doubled, to be worth no argument.
        let slack = steps(shape.dimension) * f32::EPSILON;
        // ‖x‖ ≤ ‖x̂‖ + ‖x − x̂‖, so the rounding of terms as large as ‖q‖·‖x‖ joins both terms.
        let rounding = slack * (norm + codes.residual);
        let widen = 1.0 + 16.0 * f32::EPSILON;
        let of_residual = (norm + rounding) * widen;
        let of_norm = (codes.residual + rounding) * widen;

        // (base, its slack, factor of squares, its slack, factor of the dot product)
        let (base, base_slack, squares, squares_slack, dots) = match shape.metric {
            Metric::Cosine => (1.0, 8.0 * f32::EPSILON, 0.0, 0.0, -1.0),
            Metric::Dot => (0.0, 0.0, 0.0, 0.0, -1.0),
            Metric::L2 => (square, 4.0 * slack * square, 1.0, 4.0 * slack, -2.0_f32),
        };
        let base_slack = base_slack + f32::MIN_POSITIVE;
        let bias = CODE_BIAS * codes.sum();
        let terms = |sign: f32| Terms {
            base: base + sign * base_slack,
            square: squares + sign * squares_slack,
            gain: dots * codes.scale,
            bias,
            residual: sign * dots.abs() * of_residual,
            norm: sign * dots.abs() * of_norm,
        };
        Self {
            k: query.k,
            distance_max: query.distance_max,
            lower: terms(-1.0),
            upper: terms(1.0),
            codes: codes.lanes,
            floats,
            metric: shape.metric,
            kernels,
        }
    }

    /// What distances are computed with.
    pub(super) fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// The exact distance of a row, as single precision has it.
    pub(super) fn distance_to(&self, row: &[FloatLane]) -> f32 {
        self.distance(match self.metric {
            Metric::Cosine => 1.0 - self.kernels.dot(&self.floats, row),
            // Not −dot: a zero has no sign in an order of distances.
            Metric::Dot => 0.0 - self.kernels.dot(&self.floats, row),
            Metric::L2 => self.kernels.squared_l2(&self.floats, row),
        })
    }

    /// The distance that belongs to a key; never decreasing.
    pub(super) fn distance(&self, key: f32) -> f32 {
        match self.metric {
            // Rounding can carry the cosine beyond ±1.
            Metric::Cosine => key.clamp(0.0, 2.0),
            Metric::Dot => key,
            Metric::L2 => key.max(0.0).sqrt(),
        }
    }

    /// No key above this has a distance of `limit` or less.
    pub(super) fn key_limit(&self, limit: f32) -> f32 {
        match self.metric {
            Metric::Cosine if limit >= 2.0 => f32::INFINITY,
            Metric::Cosine | Metric::Dot => limit,
            Metric::L2 => limit * limit * (1.0 + 8.0 * f32::EPSILON) + f32::MIN_POSITIVE,
        }
    }
}

/// The longest chain of roundings that a key of this dimension sees.
#[expect(clippy::cast_precision_loss, reason = "a few hundred")]
fn steps(dimension: usize) -> f32 {
    (dimension.div_ceil(F32_PARTIAL_SUMS) + 24) as f32
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to single precision is meant")]
fn narrow(x: f64) -> f32 {
    x as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index::RowKey;
    use crate::index::block::Draft;
    use crate::types::Vector;

    fn numbers(dimension: usize) -> impl Strategy<Value = Vec<f32>> {
        // Vectors of one direction, tiny ones, large ones and ones far from the origin.
        let number = prop_oneof![-1.0_f32..1.0, 0.9_f32..1.0, Just(0.0)];
        let vector = prop::collection::vec(number, dimension);
        (vector, prop_oneof![Just(1.0_f32), Just(1e-15), Just(1e15), Just(300.0)]).prop_map(
            |(mut numbers, factor)| {
                numbers[0] += 0.01;
                numbers.iter().map(|x| x * factor).collect()
            },
        )
    }

    fn query_and_row() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
        (1_usize..300).prop_flat_map(|n| (numbers(n), numbers(n)))
    }

    /// Fails unless the exact distance is within the bounds, on every path.
    fn check(metric: Metric, query: &[f32], row: &[f32]) {
        let shape = Shape::new(query.len(), metric);
        let mut draft = Draft::with_capacity(&shape, 1);
        draft.push(&shape, RowKey { document: 1, slot: 0 }, row);
        let block = draft.finish();
        let columns = block.columns_of(0, 1);
        let query = Query::new(query);
        for kernels in Kernels::available() {
            let probe = Probe::new(&shape, &query, kernels);
            let mut dots = [0];
            kernels.dots(&probe.codes, block.codes_of(0, 1), &mut dots);
            let bound = |terms: &Terms| {
                let (scale, residual) = (columns.scales[0], columns.residuals[0]);
                terms.bound(dots[0], scale, residual, columns.norms[0], columns.squares[0])
            };
            let (lower, upper) = (bound(&probe.lower), bound(&probe.upper));
            let distance = block.with_floats(0, |floats| probe.distance_to(floats));
            assert!(lower <= probe.key_limit(distance), "{metric:?} {kernels:?} {lower}");
            assert!(probe.distance(lower) <= distance, "{metric:?} {kernels:?} {lower}");
            assert!(distance <= probe.distance(upper), "{metric:?} {kernels:?} {upper}");
        }
    }

    proptest! {
        #[test]
        fn the_exact_distance_is_always_within_the_bounds(
            (query, row) in query_and_row(),
            near in prop_oneof![Just(0.0_f32), Just(1e-6), Just(1e-3), Just(1.0)],
        ) {
            // Also rows that are, or nearly are, the query itself.
            let row: Vec<f32> =
                query.iter().zip(&row).map(|(q, x)| q + (x - q) * near).collect();
            for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
                let valid = |x: &[f32]| Vector::new("", x.to_vec(), query.len(), metric).is_ok();
                // For cosine, a step from tiny to tiny may end at the origin.
                if valid(&query) && valid(&row) {
                    check(metric, &query, &row);
                }
            }
        }

        #[test]
        fn what_the_codes_leave_out_may_all_point_the_querys_way((row, _) in query_and_row()) {
            // The worst case: the query's signs are those of the row's residual.
            let shape = Shape::new(row.len(), Metric::Dot);
            let floats = shape.float_row(&row);
            let codes = Codes::of(&floats);
            let said = codes.lanes.iter().flat_map(|lane| lane.0);
            let said = said.map(|code| f32::from(code) * codes.scale);
            let query: Vec<f32> =
                row.iter().zip(said).map(|(x, said)| (x - said).signum()).collect();
            let opposite: Vec<f32> = query.iter().map(|x| -x).collect();
            for metric in [Metric::Dot, Metric::L2] {
                check(metric, &query, &row);
                check(metric, &opposite, &row);
            }
        }
    }
}
