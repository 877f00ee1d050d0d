//! How a query gets what is near to it out of a graph's rows: decides between a walk and a scan.
//!
//! Pure: numbers in, a decision out. A scan is exact, so it is taken wherever it costs about as
//! little: when few rows are wanted, or many are to be found. Costs are in rows scanned.

use super::graph::{Errand, Width};

/// The distances that a walk computes for each node that it keeps. Measured: 7.
const DISTANCES_PER_KEPT: usize = 7;
/// A distance to a row anywhere in memory costs as much as so many of a scan. Measured: 6 to 8.
const SCANNED_PER_DISTANCE: usize = 8;
/// Exactness is worth this factor of time, and a walk among wanted rows that lie apart from the
/// query needs more than what is expected.
const SCAN_PREFERENCE: usize = 2;
/// Below this no walk is worth its beginning.
const DISTANCES_MIN: usize = 256;
/// How many times wider walks are that go through rows which nobody wants: wanted rows may be the
/// far ones.
const FILTERED_WIDTH_TIMES: usize = 2;
/// That is when one in so many rows is unwanted: fewer are hardly ever all that is near.
const UNWANTED_SHARE: usize = 10;

/// What is asked of a graph.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    /// How many neighbours.
    pub(super) k: usize,
    /// Whether approximation is forbidden.
    pub(super) exact: bool,
    /// The width of walks, where the query says it.
    pub(super) ef: Option<usize>,
    /// Rows that the query may find.
    pub(super) wanted: usize,
    /// Rows of the graph.
    pub(super) rows: usize,
    /// The graph's own width.
    pub(super) width: Width,
}

/// How an ask is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By a look at every wanted row.
    Scan,
    /// By a walk.
    Walk(Walk),
}

/// A walk that was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Walk {
    /// What it is to find.
    pub(super) errand: Errand,
    /// What it is expected to cost, in rows scanned.
    pub(super) cost: usize,
    /// If it finds fewer rows, it has not seen all that there are to see.
    pub(super) found_min: usize,
}

impl Ask {
    /// The cheapest way that is good enough.
    pub(super) fn way(self) -> Way {
        if self.exact || self.wanted == 0 {
            return Way::Scan;
        }
        let unwanted = self.rows.saturating_sub(self.wanted);
        let own = match unwanted * UNWANTED_SHARE > self.rows {
            true => self.width.of(self.k).saturating_mul(FILTERED_WIDTH_TIMES),
            false => self.width.of(self.k),
        };
        let width = self.ef.unwrap_or(own).max(self.k);
        // Every wanted row on the way comes with unwanted ones.
        let distances =
            DISTANCES_PER_KEPT.saturating_mul(width).saturating_mul(self.rows.max(1)) / self.wanted;
        let cost = distances.saturating_mul(SCANNED_PER_DISTANCE);
        if cost.saturating_mul(SCAN_PREFERENCE) >= self.wanted {
            return Way::Scan;
        }
        // Beyond this a scan would have been done by now.
        let distances_max = (self.wanted / SCANNED_PER_DISTANCE).max(DISTANCES_MIN);
        // The rest is beaten for certain but where codes tell rows apart badly.
        let take = width.min(2 * self.k + 30);
        let errand = Errand { width, take, distances_max, avoid: None };
        Way::Walk(Walk { errand, cost, found_min: self.k.min(self.wanted) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: Ask = Ask {
        k: 10,
        exact: false,
        ef: None,
        wanted: 100_000,
        rows: 100_000,
        width: Width { of_10: 64, of_100: 200 },
    };

    fn walks(ask: Ask) -> bool {
        matches!(ask.way(), Way::Walk(_))
    }

    #[test]
    fn a_few_of_many_rows_are_walked_to_and_all_else_is_scanned() {
        assert!(walks(ASK));
        assert!(walks(Ask { k: 100, ..ASK }));
        assert!(walks(Ask { wanted: 50_000, ..ASK }));
        assert!(!walks(Ask { exact: true, ..ASK }), "walks are not exact");
        assert!(!walks(Ask { k: 1_000, ..ASK }), "many of the rows are wanted");
        assert!(!walks(Ask { wanted: 10_000, ..ASK }), "few rows may be found");
        assert!(!walks(Ask { wanted: 0, ..ASK }), "none may be found");
        assert!(!walks(Ask { rows: 4_000, wanted: 4_000, ..ASK }), "there are few rows");
        assert!(walks(Ask { wanted: 200_000, rows: 1_000_000, ..ASK }));
    }

    #[test]
    fn a_walk_is_as_wide_as_the_query_says_and_keeps_k() {
        let width = |ask: Ask| match ask.way() {
            Way::Walk(walk) => walk.errand.width,
            Way::Scan => 0,
        };
        assert_eq!(width(ASK), 64);
        assert_eq!(width(Ask { ef: Some(20), ..ASK }), 20);
        assert_eq!(width(Ask { ef: Some(20), k: 50, ..ASK }), 50);
        assert_eq!(width(Ask { ef: Some(100_000), ..ASK }), 0, "a scan is cheaper");
        assert_eq!(width(Ask { wanted: 95_000, ..ASK }), 64, "a few deleted rows cost nothing");
        assert_eq!(width(Ask { wanted: 60_000, ..ASK }), 128, "wider where not all are wanted");
        let between = Ask { k: 55, ..ASK };
        assert_eq!(width(between), 132, "half-way from 64 to 200");
    }

    #[test]
    fn a_walk_that_costs_more_than_a_scan_is_given_up() {
        let Way::Walk(walk) = ASK.way() else { panic!("a walk") };
        assert_eq!(walk.errand.distances_max, 12_500);
        assert!(walk.cost < ASK.wanted);
        assert_eq!(Ask { k: usize::MAX, ..ASK }.way(), Way::Scan, "no overflow");
    }
}
