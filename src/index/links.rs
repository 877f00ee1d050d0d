//! Who is linked to whom: hides how a graph's links lie in memory, and how they come out of the
//! builder that keeps them to itself.
//!
//! The builder shows its links only by serialising them, and in a form of fixed width that is five
//! times what they need. So they are read from the stream while it is written, and never lie in
//! memory in that form.

use std::io;

/// The most links of a node: what the builder gives one at most.
pub(super) const LINKS_MAX: usize = 64;

/// The slots that the builder serialises for a node above the base.
const UPPER_SLOTS: usize = 32;
/// An empty slot.
const NOBODY: u64 = u32::MAX as u64;

/// The links of nodes 0 to n − 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Links {
    /// n + 1 places in `targets`.
    offsets: Vec<u32>,
    targets: Vec<u32>,
}

impl Links {
    fn with_capacity(nodes: usize) -> Self {
        let mut offsets = Vec::with_capacity(nodes + 1);
        offsets.push(0);
        Self { offsets, targets: Vec::new() }
    }

    /// Out of two arrays that [`Links::arrays`] gave; `None` when they cannot be such, or a link
    /// leads to a node that `is_node` does not know.
    pub(super) fn from_arrays(
        offsets: Vec<u32>,
        targets: Vec<u32>,
        is_node: impl Fn(u32) -> bool,
    ) -> Option<Self> {
        let ends_meet = offsets.first() == Some(&0)
            && offsets.last().is_some_and(|end| *end as usize == targets.len());
        let few = |pair: &[u32]| pair[0] <= pair[1] && (pair[1] - pair[0]) as usize <= LINKS_MAX;
        let is_right = ends_meet
            && offsets.windows(2).all(few)
            && targets.iter().all(|target| is_node(*target));
        is_right.then_some(Self { offsets, targets })
    }

    /// As two arrays.
    pub(super) fn arrays(&self) -> [&[u32]; 2] {
        [&self.offsets, &self.targets]
    }

    /// Closes the node whose links were pushed last.
    #[expect(clippy::cast_possible_truncation, reason = "fewer than 2^32 rows / 64 are built")]
    fn close_node(&mut self) {
        self.offsets.push(self.targets.len() as u32);
    }

    /// Nodes.
    pub(super) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whom this node is linked to.
    pub(super) fn of(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.targets[self.offsets[node] as usize..self.offsets[node + 1] as usize]
    }

    /// Where a node's links begin, for a prefetch.
    pub(super) fn begin_of(&self, node: u32) -> &u32 {
        &self.offsets[node as usize]
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        4 * (self.offsets.capacity() + self.targets.capacity())
    }

    /// The same links under other names: node r becomes `names[r]`, all below `nodes`. Names that
    /// no node has get no links.
    pub(super) fn renamed(&self, names: &[u32], nodes: usize) -> Self {
        let mut ranks = vec![u32::MAX; nodes];
        for (rank, name) in (0_u32..).zip(names) {
            ranks[*name as usize] = rank;
        }
        let mut renamed = Self::with_capacity(nodes);
        renamed.targets.reserve_exact(self.targets.len());
        for rank in ranks {
            if rank != u32::MAX {
                let targets = self.of(rank).iter().map(|target| names[*target as usize]);
                renamed.targets.extend(targets);
            }
            renamed.close_node();
        }
        renamed
    }
}

/// Takes the links of all layers out of a serialised graph (postcard), as it is written.
#[derive(Debug)]
pub(super) struct LinksWriter {
    /// The number that is coming in, seven bits a byte.
    number: u64,
    shift: u32,
    stage: Stage,
    layers: Vec<Links>,
    /// Layers that have not begun, once it is known how many there are.
    layers_left: u64,
}

/// What the next number is.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// The graph's own ef, of no use here.
    Ef,
    /// How many points, which serialise to nothing.
    Points,
    /// How many nodes the base has.
    BaseNodes,
    /// A slot of a node.
    Slots {
        /// How many a node has.
        width: usize,
        /// How many of this node are left, this one included.
        slots: usize,
        /// How many nodes of the layer are left, this one included.
        nodes: u64,
    },
    /// How many layers there are above the base.
    UpperLayers,
    /// How many nodes the next of them has.
    UpperNodes,
    /// Nothing comes any more.
    End,
}

impl LinksWriter {
    pub(super) fn new() -> Self {
        Self { number: 0, shift: 0, stage: Stage::Ef, layers: Vec::new(), layers_left: 0 }
    }

    /// The layers from the base up; `None` when the stream was not a whole graph.
    pub(super) fn finish(mut self) -> Option<Vec<Links>> {
        self.layers.iter_mut().for_each(|layer| layer.targets.shrink_to_fit());
        matches!(self.stage, Stage::End).then_some(self.layers)
    }

    fn begin_layer(&mut self, nodes: u64, width: usize) -> io::Result<Stage> {
        let capacity = usize::try_from(nodes).map_err(io::Error::other)?;
        self.layers.push(Links::with_capacity(capacity));
        Ok(if nodes == 0 {
            self.layer_ended()
        } else {
            Stage::Slots { width, slots: width, nodes }
        })
    }

    fn layer_ended(&self) -> Stage {
        match (self.layers.len(), self.layers_left) {
            (1, _) => Stage::UpperLayers,
            (_, 0) => Stage::End,
            _ => Stage::UpperNodes,
        }
    }

    fn take(&mut self, number: u64) -> io::Result<()> {
        self.stage = match self.stage {
            Stage::Ef => Stage::Points,
            Stage::Points => Stage::BaseNodes,
            Stage::BaseNodes => self.begin_layer(number, LINKS_MAX)?,
            Stage::Slots { width, slots, nodes } => {
                let layer = self.layers.last_mut().ok_or_else(|| io::Error::other("no layer"))?;
                if number != NOBODY {
                    layer.targets.push(u32::try_from(number).map_err(io::Error::other)?);
                }
                if slots > 1 {
                    Stage::Slots { width, slots: slots - 1, nodes }
                } else {
                    layer.close_node();
                    match nodes - 1 {
                        0 => self.layer_ended(),
                        nodes => Stage::Slots { width, slots: width, nodes },
                    }
                }
            }
            Stage::UpperLayers => {
                self.layers_left = number;
                if number == 0 { Stage::End } else { Stage::UpperNodes }
            }
            Stage::UpperNodes => {
                self.layers_left -= 1;
                self.begin_layer(number, UPPER_SLOTS)?
            }
            Stage::End => return Err(io::Error::other("more than a graph")),
        };
        Ok(())
    }
}

impl io::Write for LinksWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            if self.shift > 63 {
                return Err(io::Error::other("a number of more than 64 bits"));
            }
            self.number |= u64::from(byte & 0x7F) << self.shift;
            self.shift += 7;
            if byte & 0x80 == 0 {
                let number = std::mem::take(&mut self.number);
                self.shift = 0;
                self.take(number)?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;

    /// A graph as the builder serialises it.
    #[derive(Serialize)]
    struct Serialised {
        ef_search: usize,
        points: Vec<()>,
        zero: Vec<Slots<64>>,
        layers: Vec<Vec<Slots<32>>>,
    }

    struct Slots<const N: usize>(Vec<u32>);

    impl<const N: usize> Serialize for Slots<N> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeTuple;
            let mut tuple = serializer.serialize_tuple(N)?;
            for slot in 0..N {
                tuple.serialize_element(self.0.get(slot).unwrap_or(&u32::MAX))?;
            }
            tuple.end()
        }
    }

    fn layer(slots: usize) -> impl Strategy<Value = Vec<Vec<u32>>> {
        prop::collection::vec(prop::collection::vec(0..u32::MAX - 1, 0..=slots), 0..12)
    }

    proptest! {
        #[test]
        fn links_come_out_of_the_serialised_form_as_they_went_in(
            base in layer(64),
            upper in prop::collection::vec(layer(32), 0..4),
        ) {
            let serialised = Serialised {
                ef_search: 100,
                points: vec![(); base.len()],
                zero: base.iter().cloned().map(Slots).collect(),
                layers: upper
                    .iter()
                    .map(|layer| layer.iter().cloned().map(Slots).collect())
                    .collect(),
            };
            let writer = postcard::to_io(&serialised, LinksWriter::new()).expect("writes");
            let layers = writer.finish().expect("a whole graph");
            prop_assert_eq!(layers.len(), upper.len() + 1);
            for (links, expected) in layers.iter().zip(std::iter::once(&base).chain(&upper)) {
                prop_assert_eq!(links.len(), expected.len());
                for (node, expected) in (0..).zip(expected) {
                    prop_assert_eq!(links.of(node), &expected[..]);
                }
            }
        }
    }

    #[test]
    fn half_a_graph_is_none() {
        let mut writer = LinksWriter::new();
        io::Write::write_all(&mut writer, &[100, 1, 1, 5]).expect("the beginning is right");
        assert!(writer.finish().is_none());
    }

    #[test]
    fn renamed_links_are_the_same_links() {
        let mut links = Links::with_capacity(3);
        for targets in [&[1, 2][..], &[0], &[]] {
            links.targets.extend(targets);
            links.close_node();
        }
        let renamed = links.renamed(&[4, 0, 2], 6);
        let all: Vec<&[u32]> = (0..6).map(|node| renamed.of(node)).collect();
        assert_eq!(all, [&[4][..], &[], &[], &[], &[0, 2], &[]]);
    }
}
