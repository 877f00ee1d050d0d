//! When graphs are built and blocks are compacted: decides from sizes alone.
//!
//! Pure. What is decided here is done elsewhere, one thing at a time, and decided anew after it.
//! Three rules. New rows get a graph when there are enough of them that a scan of them is what
//! searches wait for. Graphs of like size become one, so that there are few and a row is built
//! into some log(rows) of them. And when a library is left alone for a while, all its rows go into
//! as few graphs as may be.

use std::ops::Range;

use crate::types::IndexType;

/// Sizes that decide.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Fewer rows get no graph.
    pub graph_rows_min: usize,
    /// Nor do fewer where a library asks for graphs.
    pub graph_rows_min_asked: usize,
    /// More rows are not put into one graph: its build would take too long.
    pub graph_rows_max: usize,
}

/// A part, as the decision sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Rows, removed ones included.
    pub(super) rows: usize,
    /// Rows that are not removed.
    pub(super) live: usize,
    /// Which graph has it, by place.
    pub(super) graph: Option<usize>,
    /// Whether it may still be merged for being small.
    pub(super) grows: bool,
}

/// What the library's state asks for, in the order of how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urge {
    /// As little as searches need: rows are still coming.
    Busy,
    /// What is worth having while nothing else happens.
    Quiet,
    /// Everything: a user asked.
    Asked,
}

/// The next thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Rest,
    /// Take graphs off, and merge blocks.
    Compact {
        /// The graphs' places.
        off: Vec<usize>,
        /// Blocks without a graph go of which so much is dead.
        dead_percent: usize,
    },
    /// A graph over these parts, in place of those that are over some of them.
    Build(Range<usize>),
}

/// Consecutive parts that one graph could have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Their places.
    pub(super) parts: Range<usize>,
    /// Live rows outside the largest of the graphs that are there.
    pub(super) strays: usize,
    /// Live rows of that graph.
    pub(super) largest: usize,
}

/// A graph with fewer live rows than its rows divided by this is more in the way than of use.
const LIVE_SHARE_MIN: usize = 2;
/// The share of a block that is dead when it is merged with others, in percent: what its removals
/// pay for.
pub(super) const DEAD_PERCENT: usize = 50;
/// The same, and for graphs too, when a user asks for everything to be in order.
const DEAD_PERCENT_ASKED: usize = 10;
/// Once there is a graph, new rows get one when there are this many times fewer.
const LATER_SHARE: usize = 4;
/// Adjacent graphs of like size that become one while rows are coming.
const LIKE_GRAPHS: usize = 4;
/// Rows outside a library's largest graph that are worth building it anew when it is quiet, as a
/// share of that graph: one in so many.
const QUIET_SHARE: usize = 16;
/// Fewer rows than this outside graphs cost a search next to nothing.
const STRAY_ROWS_MAX: usize = 2_048;

impl Policy {
    fn rows_min(&self, kind: IndexType) -> usize {
        match kind {
            IndexType::Auto => self.graph_rows_min,
            IndexType::Hnsw => self.graph_rows_min_asked,
            IndexType::Flat => usize::MAX,
        }
    }

    /// What comes next. Parts in order, and how many rows each graph was built over.
    pub(super) fn next(
        &self,
        kind: IndexType,
        urge: Urge,
        parts: &[Standing],
        linked_rows: &[usize],
    ) -> Next {
        let graphs = graphs_of(parts);
        let off: Vec<usize> = graphs
            .iter()
            .filter(|graph| graph.is_in_the_way(kind, urge, linked_rows[graph.place]))
            .map(|graph| graph.place)
            .collect();
        let dead_percent = match urge {
            Urge::Busy | Urge::Quiet => DEAD_PERCENT,
            Urge::Asked => DEAD_PERCENT_ASKED,
        };
        let is_free_and_worn =
            |part: &Standing| part.graph.is_none() && is_worn(part.rows, part.live, dead_percent);
        if !off.is_empty() || parts.iter().any(is_free_and_worn) {
            return Next::Compact { off, dead_percent };
        }
        let min = self.rows_min(kind);
        match urge {
            Urge::Busy => self.busy(min, &graphs, parts),
            Urge::Quiet => {
                let worth_it = |stretch: &Stretch| {
                    stretch.strays > STRAY_ROWS_MAX
                        && stretch.strays > stretch.largest / QUIET_SHARE
                };
                let first = self.stretches(kind, parts).into_iter().find(worth_it);
                first.map_or(Next::Rest, |stretch| Next::Build(stretch.parts))
            }
            Urge::Asked => {
                let first = self.stretches(kind, parts).into_iter().find(|s| s.strays > 0);
                first.map_or(Next::Rest, |stretch| Next::Build(stretch.parts))
            }
        }
    }

    /// All rows in as few graphs as may be: what each would have. Stretches of too few rows for
    /// one are left out.
    pub(super) fn stretches(&self, kind: IndexType, parts: &[Standing]) -> Vec<Stretch> {
        let (min, graphs) = (self.rows_min(kind), graphs_of(parts));
        let mut stretches = Vec::new();
        let mut start = 0;
        while start < parts.len() {
            let stretch = self.cut(parts, start..parts.len());
            start = stretch.end;
            let live = live_in(parts, &stretch);
            let within = |graph: &&Linked| {
                stretch.start <= graph.parts.start && graph.parts.end <= stretch.end
            };
            let largest = graphs.iter().filter(within).map(|graph| graph.live).max().unwrap_or(0);
            if live >= min {
                stretches.push(Stretch { parts: stretch, strays: live - largest, largest });
            }
        }
        stretches
    }

    /// New rows first, then graphs of like size.
    fn busy(&self, min: usize, graphs: &[Linked], parts: &[Standing]) -> Next {
        // A scan of all rows is exact and fast enough up to `min`; beside a graph it is the slow
        // part of a search much sooner.
        let min = match graphs.is_empty() {
            true => min,
            false => (min / LATER_SHARE).max(self.graph_rows_min_asked),
        };
        for range in unlinked_runs(parts) {
            let settled = range.start..settled_end(parts, &range);
            if live_in(parts, &settled) >= min {
                return Next::Build(self.cut(parts, settled));
            }
        }
        for group in graphs.windows(LIKE_GRAPHS) {
            let adjacent = group.windows(2).all(|pair| pair[0].parts.end == pair[1].parts.start);
            let live = group.iter().map(|graph| graph.live);
            let (least, most) = (live.clone().min(), live.clone().max());
            let alike = most <= least.map(|least| least * LIKE_GRAPHS);
            if adjacent && alike && live.sum::<usize>() <= self.graph_rows_max {
                return Next::Build(group[0].parts.start..group[LIKE_GRAPHS - 1].parts.end);
            }
        }
        Next::Rest
    }

    /// The first of the parts, as many as one graph takes; whole graphs only.
    fn cut(&self, parts: &[Standing], range: Range<usize>) -> Range<usize> {
        let (mut end, mut rows) = (range.start, 0);
        while end < range.end {
            let unit = match parts[end].graph {
                Some(graph) => {
                    let same = |part: &&Standing| part.graph == Some(graph);
                    parts[end..range.end].iter().take_while(same).count()
                }
                None => 1,
            };
            rows += live_in(parts, &(end..end + unit));
            if rows > self.graph_rows_max && end > range.start {
                break;
            }
            end += unit;
        }
        range.start..end
    }
}

/// A graph, as the decision sees it.
struct Linked {
    place: usize,
    parts: Range<usize>,
    rows: usize,
    live: usize,
}

impl Linked {
    /// `linked`: rows that it was built over, which its blocks may have more of.
    fn is_in_the_way(&self, kind: IndexType, urge: Urge, linked: usize) -> bool {
        let too_dead = match urge {
            Urge::Busy | Urge::Quiet => self.live * LIVE_SHARE_MIN < linked,
            Urge::Asked => {
                let worn = |rows| is_worn(rows, self.live, DEAD_PERCENT_ASKED);
                worn(self.rows) || worn(linked)
            }
        };
        too_dead || kind == IndexType::Flat
    }
}

/// Whether so much of these rows is dead.
pub(super) fn is_worn(rows: usize, live: usize, dead_percent: usize) -> bool {
    (rows - live) * 100 >= rows * dead_percent && rows > 0
}

fn graphs_of(parts: &[Standing]) -> Vec<Linked> {
    let mut graphs: Vec<Linked> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let Some(place) = part.graph else { continue };
        match graphs.last_mut().filter(|graph| graph.place == place) {
            Some(graph) => {
                graph.parts.end = at + 1;
                graph.rows += part.rows;
                graph.live += part.live;
            }
            None => {
                let (rows, live) = (part.rows, part.live);
                graphs.push(Linked { place, parts: at..at + 1, rows, live });
            }
        }
    }
    graphs
}

/// Runs of parts that no graph has.
fn unlinked_runs(parts: &[Standing]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for at in (0..parts.len()).filter(|at| parts[*at].graph.is_none()) {
        match runs.last_mut().filter(|run| run.end == at) {
            Some(run) => run.end = at + 1,
            None => runs.push(at..at + 1),
        }
    }
    runs
}

/// The end of those of the run that are not merged any more: behind the last full one.
fn settled_end(parts: &[Standing], run: &Range<usize>) -> usize {
    let settled = parts[run.clone()].iter().rposition(|part| !part.grows);
    settled.map_or(run.start, |last| run.start + last + 1)
}

fn live_in(parts: &[Standing], range: &Range<usize>) -> usize {
    parts[range.clone()].iter().map(|part| part.live).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy =
        Policy { graph_rows_min: 64, graph_rows_min_asked: 8, graph_rows_max: 1_000 };

    fn part(rows: usize, graph: Option<usize>) -> Standing {
        Standing { rows, live: rows, graph, grows: rows < 8 }
    }

    fn parts(sizes: &[(usize, Option<usize>)]) -> Vec<Standing> {
        sizes
            .iter()
            .flat_map(|(rows, graph)| {
                let full = std::iter::repeat_n(part(8, *graph), rows / 8);
                full.chain((rows % 8 > 0).then(|| part(rows % 8, *graph)))
            })
            .collect()
    }

    /// With graphs over all rows that their blocks have.
    fn next_of(policy: &Policy, kind: IndexType, urge: Urge, parts: &[Standing]) -> Next {
        let linked: Vec<usize> = graphs_of(parts).iter().map(|graph| graph.rows).collect();
        policy.next(kind, urge, parts, &linked)
    }

    fn next(urge: Urge, sizes: &[(usize, Option<usize>)]) -> Next {
        next_of(&POLICY, IndexType::Auto, urge, &parts(sizes))
    }

    #[test]
    fn new_rows_get_a_graph_once_there_are_enough_that_lie_still() {
        assert_eq!(next(Urge::Busy, &[(63, None)]), Next::Rest);
        assert_eq!(next(Urge::Busy, &[(56 + 7, None)]), Next::Rest);
        assert_eq!(next(Urge::Busy, &[(64 + 7, None)]), Next::Build(0..8));
        assert_eq!(next(Urge::Busy, &[(64, Some(0)), (64, None)]), Next::Build(8..16));
        assert_eq!(next(Urge::Busy, &[(64, Some(0)), (16, None)]), Next::Build(8..10), "sooner");
        assert_eq!(next(Urge::Busy, &[(64, Some(0)), (15, None)]), Next::Rest);
    }

    #[test]
    fn graphs_of_like_size_become_one_while_rows_come() {
        let four = [(64, Some(0)), (64, Some(1)), (72, Some(2)), (64, Some(3)), (5, None)];
        assert_eq!(next(Urge::Busy, &four), Next::Build(0..33));
        assert_eq!(next(Urge::Busy, &four[..3]), Next::Rest);
        let unlike = [(512, Some(0)), (64, Some(1)), (64, Some(2)), (64, Some(3))];
        assert_eq!(next(Urge::Busy, &unlike), Next::Rest);
        let large = [(256, Some(0)), (256, Some(1)), (256, Some(2)), (256, Some(3))];
        assert_eq!(next(Urge::Busy, &large), Next::Rest, "one of them would be too large");
    }

    #[test]
    fn a_quiet_library_gets_one_graph_when_the_rest_is_worth_it() {
        let rest = |strays| [(16_000, Some(0)), (strays, None)];
        let policy = Policy { graph_rows_max: 100_000, ..POLICY };
        let next = |strays, urge| next_of(&policy, IndexType::Auto, urge, &parts(&rest(strays)));
        assert_eq!(next(2_048, Urge::Quiet), Next::Rest);
        assert_eq!(next(2_056, Urge::Quiet), Next::Build(0..2_257));
        assert_eq!(next(8, Urge::Asked), Next::Build(0..2_001));
        assert_eq!(next(0, Urge::Asked), Next::Rest);
        assert_eq!(
            next_of(&policy, IndexType::Flat, Urge::Asked, &parts(&[(5_000, None)])),
            Next::Rest
        );
    }

    #[test]
    fn more_rows_than_a_graph_takes_become_several() {
        let parts = parts(&[(800, Some(0)), (400, Some(1)), (400, None)]);
        let next = |parts: &[Standing]| next_of(&POLICY, IndexType::Auto, Urge::Asked, parts);
        assert_eq!(next(&parts), Next::Build(100..200), "the first is as large as it can be");
    }

    #[test]
    fn a_graph_that_is_mostly_dead_goes() {
        let mut mostly_dead = parts(&[(64, Some(0)), (64, Some(1))]);
        mostly_dead[..8].iter_mut().for_each(|part| part.live = 3);
        let next = |urge, parts: &[Standing]| next_of(&POLICY, IndexType::Auto, urge, parts);
        let off = |off: &[usize], dead_percent| Next::Compact { off: off.to_vec(), dead_percent };
        assert_eq!(next(Urge::Busy, &mostly_dead), off(&[0], 50));
        mostly_dead.iter_mut().for_each(|part| part.live = 7);
        assert_eq!(next(Urge::Busy, &mostly_dead), Next::Rest);
        assert_eq!(next(Urge::Asked, &mostly_dead), off(&[0, 1], 10));
        let mut unlinked = parts(&[(16, None)]);
        unlinked[0].live = 4;
        assert_eq!(next(Urge::Busy, &unlinked), off(&[], 50));
        // A new graph over blocks that are a little dead is right: it has none of the dead rows.
        mostly_dead.iter_mut().for_each(|part| part.live = 8);
        mostly_dead[0].live = 7;
        assert_eq!(POLICY.next(IndexType::Auto, Urge::Asked, &mostly_dead[..8], &[63]), Next::Rest);
    }

    #[test]
    fn a_library_that_wants_none_loses_its_graphs() {
        let parts = parts(&[(64, Some(0)), (64, Some(1))]);
        let next = |kind| next_of(&POLICY, kind, Urge::Busy, &parts);
        assert_eq!(next(IndexType::Flat), Next::Compact { off: vec![0, 1], dead_percent: 50 });
        assert_eq!(next(IndexType::Hnsw), Next::Rest);
        let small = self::parts(&[(16, None)]);
        assert_eq!(next_of(&POLICY, IndexType::Hnsw, Urge::Busy, &small), Next::Build(0..2));
        assert_eq!(next_of(&POLICY, IndexType::Auto, Urge::Busy, &small), Next::Rest);
    }
}
