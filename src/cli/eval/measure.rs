//! The figures: how good a ranking is, by the grades of what it has.

/// Ranks that nDCG looks at.
const NDCG_RANKS: usize = 10;

/// How good one ranking is, or many on average. Each from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Figures {
    /// nDCG@10: the sum of grade / log₂(rank + 1), over that of the best ranking there could be. As
    /// `trec_eval` has it, a grade is its own gain.
    pub(super) ndcg: f64,
    /// The share of the right documents that the ranking has.
    pub(super) recall: f64,
    /// 1 / the rank of the first right document; 0 without one.
    pub(super) reciprocal_rank: f64,
}

impl Figures {
    /// Of a ranking with these grades from rank 1 on, where `all` are the grades of all documents
    /// that were judged, some of them above 0. A grade above 0 is a right document.
    pub(super) fn of(ranked: &[u32], all: &[u32]) -> Self {
        let mut ideal = all.to_vec();
        ideal.sort_unstable_by(|one, other| other.cmp(one));
        let right = |grades: &[u32]| grades.iter().filter(|grade| **grade > 0).count();
        let first = ranked.iter().position(|grade| *grade > 0);
        Self {
            ndcg: ratio(gain(ranked), gain(&ideal)),
            recall: ratio(number(right(ranked)), number(right(all))),
            reciprocal_rank: first.map_or(0.0, |place| 1.0 / number(place + 1)),
        }
    }
}

fn gain(grades: &[u32]) -> f64 {
    let ranked = grades.iter().take(NDCG_RANKS).enumerate();
    ranked.map(|(place, grade)| f64::from(*grade) / number(place + 2).log2()).sum()
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn number(count: usize) -> f64 {
    count as f64
}

/// The figures of many rankings.
#[derive(Debug, Default)]
pub(super) struct Sum {
    of: Figures,
    count: usize,
}

impl Sum {
    pub(super) fn add(&mut self, figures: Figures) {
        self.of.ndcg += figures.ndcg;
        self.of.recall += figures.recall;
        self.of.reciprocal_rank += figures.reciprocal_rank;
        self.count += 1;
    }

    /// Their mean; zero of none.
    pub(super) fn mean(&self) -> Figures {
        let mean = |sum: f64| ratio(sum, number(self.count));
        Figures {
            ndcg: mean(self.of.ndcg),
            recall: mean(self.of.recall),
            reciprocal_rank: mean(self.of.reciprocal_rank),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn figures_are_those_computed_by_hand() {
        // Ranked: grade 0, 2, 0, 1; judged right besides: a grade 1 that was not found.
        let figures = Figures::of(&[0, 2, 0, 1], &[2, 1, 1, 0]);
        // log₂3 = 1.5849625, log₂5 = 2.3219281: (2/1.5849625 + 1/2.3219281) = 1.6925361, over
        // (2 + 1/1.5849625 + 1/2) = 3.1309298.
        assert!(close(figures.ndcg, 0.540_585_767_945), "{figures:?}");
        assert!(close(figures.recall, 2.0 / 3.0));
        assert!(close(figures.reciprocal_rank, 0.5));
    }

    #[test]
    fn a_perfect_ranking_is_one_and_a_useless_one_nothing() {
        let perfect = Figures::of(&[3, 1, 0, 0], &[1, 3]);
        assert_eq!(perfect, Figures { ndcg: 1.0, recall: 1.0, reciprocal_rank: 1.0 });
        assert_eq!(Figures::of(&[0, 0], &[1]), Figures::default());
        assert_eq!(Figures::of(&[], &[1]), Figures::default());
    }

    #[test]
    fn ndcg_looks_at_ten_ranks_and_the_others_at_all() {
        let late = [[0; 10].as_slice(), &[1]].concat();
        let figures = Figures::of(&late, &[1]);
        assert!(close(figures.ndcg, 0.0) && close(figures.recall, 1.0));
        assert!(close(figures.reciprocal_rank, 1.0 / 11.0));
        // With more right documents than ranks, the best ranking has ten of them.
        assert!(close(Figures::of(&[1; 10], &[1; 20]).ndcg, 1.0));
    }

    #[test]
    fn a_mean_is_over_queries() {
        let mut sum = Sum::default();
        assert_eq!(sum.mean(), Figures::default());
        sum.add(Figures { ndcg: 1.0, recall: 0.5, reciprocal_rank: 1.0 });
        sum.add(Figures { ndcg: 0.5, recall: 0.0, reciprocal_rank: 0.0 });
        assert_eq!(sum.mean(), Figures { ndcg: 0.75, recall: 0.25, reciprocal_rank: 0.5 });
    }
}
