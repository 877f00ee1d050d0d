//! Tending an index: hides what there is to do to keep it fast and small, and lets others decide
//! when and where it is done.
//!
//! The work that takes long (building a graph) is done on a view, beside searches and updates.
//! What changes the index takes microseconds to milliseconds, and is for its one writer to do.

use std::ops::Range;
use std::sync::Arc;

use super::block::Shape;
use super::flat::{Flat, Part};
use super::graph::Graph;
use super::policy::{Next, Policy, Standing, Urge};
use super::{BuildError, LibraryIndex, Progress, View, build};
use crate::types::IndexType;

/// What there is to do next.
#[derive(Debug)]
pub enum Work {
    /// Nothing.
    Rest,
    /// [`LibraryIndex::compact`], with these.
    Compact(Outworn),
    /// [`LibraryIndex::seal`], then to ask again.
    Seal,
    /// [`Task::run`], then [`LibraryIndex::install`].
    Build(Task),
}

/// Graphs that are more in the way than of use, and how dead a block must be to go.
#[derive(Debug, Clone)]
pub struct Outworn {
    /// Of each its first part's id.
    graphs: Vec<u64>,
    dead_percent: usize,
}

/// A graph to be built over rows of a view.
#[derive(Debug)]
pub struct Task {
    shape: Shape,
    parts: Vec<Part>,
}

/// A graph that was built.
#[derive(Debug)]
pub struct Built(Graph);

/// A segment of an index, for people: a graph with its rows, or the rows that have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Whether it has a graph.
    pub has_graph: bool,
    /// Rows that are not removed.
    pub rows: usize,
    /// Removed rows that still take space.
    pub tombstones: usize,
    /// Bytes of memory.
    pub bytes: usize,
    /// How wide walks for the 10 nearest are, found at the build; 0 where there is no graph.
    pub ef: usize,
}

impl Task {
    /// Builds. Runs on the threads of the current rayon pool; ends within some milliseconds once
    /// it is told to stop.
    ///
    /// Cost: about 0.1 ms of a core a row of 256 numbers, and some 0.7 KB of memory a row until
    /// it ends.
    pub fn run(&self, progress: &Progress) -> Result<Built, BuildError> {
        build::build(&self.shape, &self.parts, progress).map(Built)
    }

    /// Rows that will be linked.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.parts.iter().map(Part::live).sum()
    }
}

impl View {
    /// What there is to do next to keep searches of this view's index fast.
    #[must_use]
    pub fn work(&self, policy: &Policy, kind: IndexType, urge: Urge) -> Work {
        let linked: Vec<usize> = self.flat.graphs().map(|(_, graph)| graph.rows()).collect();
        match policy.next(kind, urge, &self.flat.standings(), &linked) {
            Next::Rest => Work::Rest,
            Next::Compact { off, dead_percent } => {
                let all: Vec<&Arc<Graph>> = self.flat.graphs().map(|(_, graph)| graph).collect();
                let first_part = |place: &usize| all[*place].parts()[0];
                let graphs = off.iter().map(first_part).collect();
                Work::Compact(Outworn { graphs, dead_percent })
            }
            Next::Build(places) if self.flat.grows_within(&places) => Work::Seal,
            Next::Build(places) => Work::Build(self.task(places)),
        }
    }

    /// The graphs that all its rows would have if there were as few as may be; without those that
    /// are there already, unless `anew`. For a view whose index was sealed.
    #[must_use]
    pub fn tasks(&self, policy: &Policy, kind: IndexType, anew: bool) -> Vec<Task> {
        let stretches = policy.stretches(kind, &self.flat.standings()).into_iter();
        stretches
            .filter(|stretch| anew || stretch.strays > 0)
            .map(|stretch| self.task(stretch.parts))
            .collect()
    }

    fn task(&self, places: Range<usize>) -> Task {
        Task { shape: *self.flat.shape(), parts: self.flat.parts()[places].to_vec() }
    }

    /// Its segments: one for each graph, and one for the rows that have none, if there are such.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        let parts = self.flat.parts();
        let segment = |parts: &mut dyn Iterator<Item = &Part>, graph: Option<&Graph>| {
            let mut segment = Segment {
                has_graph: graph.is_some(),
                rows: 0,
                tombstones: 0,
                bytes: graph.map_or(0, Graph::bytes),
                ef: graph.map_or(0, |graph| graph.width().of(10)),
            };
            for part in parts {
                segment.rows += part.live();
                segment.tombstones += part.tombstones();
                segment.bytes += part.bytes();
            }
            segment
        };
        let mut linked: Vec<Range<usize>> = Vec::new();
        let mut segments: Vec<Segment> = Vec::new();
        for (first, graph) in self.flat.graphs() {
            let places = first..first + graph.parts().len();
            segments.push(segment(&mut parts[places.clone()].iter(), Some(graph)));
            linked.push(places);
        }
        let is_free = |place: usize| !linked.iter().any(|places| places.contains(&place));
        let free = parts.iter().enumerate().filter(|(place, _)| is_free(*place));
        let mut free = free.map(|(_, part)| part).peekable();
        if free.peek().is_some() {
            segments.push(segment(&mut free, None));
        }
        segments
    }
}

impl Flat {
    fn standings(&self) -> Vec<Standing> {
        let mut standings: Vec<Standing> = self
            .parts()
            .iter()
            .map(|part| Standing {
                rows: part.block().len(),
                live: part.live(),
                graph: None,
                grows: self.grows(part),
            })
            .collect();
        for (at, (first, graph)) in self.graphs().enumerate() {
            for standing in &mut standings[first..first + graph.parts().len()] {
                standing.graph = Some(at);
            }
        }
        standings
    }

    /// Whether a part at these places may yet be merged for being small.
    fn grows_within(&self, places: &Range<usize>) -> bool {
        let followed =
            self.parts()[places.clone()].iter().rev().take_while(|part| self.grows(part));
        followed.count() > 0
    }
}

impl LibraryIndex {
    /// Keeps the blocks that are there from being merged for being small, so that a graph can be
    /// built over them.
    pub fn seal(&mut self) {
        Arc::make_mut(&mut self.view).flat.seal();
    }

    /// Puts a graph in place. False, and nothing changes, when rows that it links have been moved
    /// meanwhile; rows that were removed meanwhile are tombstones in it.
    pub fn install(&mut self, built: Built) -> bool {
        Arc::make_mut(&mut self.view).flat.install(built.0)
    }

    /// Takes graphs off and merges some of the blocks that are too dead. True when more are left:
    /// each call takes some milliseconds at most.
    pub fn compact(&mut self, outworn: &Outworn) -> bool {
        let flat = &mut Arc::make_mut(&mut self.view).flat;
        flat.take_off(&outworn.graphs);
        self.update_rows(&[], &[], outworn.dead_percent);
        self.view.flat.is_to_compact(outworn.dead_percent)
    }
}
