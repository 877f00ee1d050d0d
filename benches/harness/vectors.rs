//! Vectors as texts have them: 256 numbers, normalised, from a mixture of 300 clusters with 30
//! inner dimensions and some noise; queries are drawn from the same mixture.

#![allow(unreachable_pub, reason = "public within a bench")]

pub const DIMENSION: usize = 256;

const CLUSTERS: usize = 300;
const INNER: usize = 30;

/// Clusters in a space of fewer dimensions, the same in every run.
pub struct Mixture {
    /// Of each cluster: its centre and how wide it is.
    clusters: Vec<(Vec<f32>, f32)>,
    /// From the inner dimensions outward, `INNER` × `DIMENSION`.
    projection: Vec<f32>,
}

impl Mixture {
    pub fn new() -> Self {
        let mut random = Random(42);
        let cluster = |random: &mut Random| {
            let centre = (0..INNER).map(|_| random.gauss()).collect();
            (centre, 0.7 * (0.6 + 0.8 * random.uniform()))
        };
        let clusters = (0..CLUSTERS).map(|_| cluster(&mut random)).collect();
        let scale = (DIMENSION as f32).sqrt().recip();
        let projection = (0..INNER * DIMENSION).map(|_| random.gauss() * scale).collect();
        Self { clusters, projection }
    }

    pub fn draw(&self, seed: u64, count: usize) -> Vec<Vec<f32>> {
        let mut random = Random(seed);
        (0..count).map(|_| self.draw_one(&mut random)).collect()
    }

    fn draw_one(&self, random: &mut Random) -> Vec<f32> {
        let (centre, spread) = &self.clusters[random.below(CLUSTERS)];
        let mut values = vec![0.0; DIMENSION];
        for (centre, outward) in centre.iter().zip(self.projection.chunks_exact(DIMENSION)) {
            let inner = centre + spread * random.gauss();
            for (value, factor) in values.iter_mut().zip(outward) {
                *value += inner * factor;
            }
        }
        scale_to_one(&mut values);
        values.iter_mut().for_each(|x| *x += 0.03 * random.gauss());
        scale_to_one(&mut values);
        values
    }
}

fn scale_to_one(values: &mut [f32]) {
    let norm = values.iter().map(|x| x * x).sum::<f32>().sqrt();
    values.iter_mut().for_each(|x| *x /= norm);
}

/// Splitmix64.
struct Random(u64);

impl Random {
    #[expect(clippy::cast_possible_truncation, reason = "below a usize")]
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 24) as f32
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Near enough to a normal distribution: the sum of twelve.
    fn gauss(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }
}
