//! Decision trees: from the features of a row, down to the leaf that each tree leads to.
//!
//! All trees of a forest lie in one array of nodes, leaves last, and a leaf's branches lead back to itself. So a walk needs
//! no test for its end at each step, and several walks go side by side: while one waits for its next node, the others
//! move.

/// Walks that go side by side.
const LANES: usize = 8;

/// Set in [`Node::feature`] where a missing feature goes the way of a true comparison.
const MISSING_IS_TRUE: u32 = 1 << 31;

/// How a branch compares the feature `x` with its threshold `t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the comparisons")]
pub enum Comparison {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
    /// x is one of `members[start..end]` of the forest.
    Member {
        start: u32,
        end: u32,
    },
}

/// Where a branch leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The branch of this index.
    Branch(u32),
    /// The leaf of this index.
    Leaf(u32),
}

/// An inner node of a tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Branch<T> {
    /// The feature that it looks at.
    pub feature: u32,
    /// How it compares.
    pub comparison: Comparison,
    /// What it compares with.
    pub threshold: T,
    /// Whether a missing feature (NaN) goes the way of a true comparison.
    pub missing_is_true: bool,
    /// Where a true comparison leads.
    pub if_true: Place,
    /// Where a false one leads.
    pub if_false: Place,
}

/// Why branches are not a forest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are what the messages say")]
pub enum ForestError {
    /// A place that is not there.
    NoSuchPlace { place: Place },
    /// A branch that leads back to itself.
    Cycle { branch: u32 },
    /// A set of members beyond the end of the members.
    NoSuchMembers { branch: u32 },
    /// More nodes or features than 31 bits can number.
    TooLarge,
}

impl std::fmt::Display for ForestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ForestError::NoSuchPlace { place } => write!(f, "a branch leads to {place:?}, which is not there"),
            ForestError::Cycle { branch } => write!(f, "node {branch} leads back to itself"),
            ForestError::NoSuchMembers { branch } => write!(f, "node {branch} has no members to compare with"),
            ForestError::TooLarge => f.write_str("there are too many nodes or features"),
        }
    }
}

impl std::error::Error for ForestError {}

/// A feature or threshold.
pub trait Feature: Copy + PartialOrd + Default + Send + Sync + 'static {}

impl Feature for f32 {}
impl Feature for f64 {}

#[derive(Clone, Copy, Debug)]
struct Node<T> {
    threshold: T,
    /// With [`MISSING_IS_TRUE`].
    feature: u32,
    /// Where a false and where a true comparison lead.
    next: [u32; 2],
}

/// Decision trees over features of type `T`.
///
/// Always true: every node leads to a node; every walk ends at a leaf; every feature is below `num_features`; every set of
/// members lies in `members`.
#[derive(Clone, Debug)]
pub struct Forest<T> {
    /// The branches, then the leaves.
    nodes: Vec<Node<T>>,
    num_branches: u32,
    roots: Vec<u32>,
    comparisons: Comparisons,
    members: Vec<T>,
    num_features: usize,
}

/// What the branches compare by.
#[derive(Clone, Debug)]
enum Comparisons {
    /// All by the same.
    Uniform(Comparison),
    /// Each by its own.
    Each(Vec<Comparison>),
}

impl<T: Feature> Forest<T> {
    /// The forest of these branches and of leaves `0..num_leaves`, one tree a root.
    pub fn new(
        branches: &[Branch<T>],
        num_leaves: usize,
        roots: &[Place],
        members: Vec<T>,
    ) -> Result<Forest<T>, ForestError> {
        let count = branches.len().checked_add(num_leaves).and_then(|n| u32::try_from(n).ok());
        count.filter(|&n| n < MISSING_IS_TRUE).ok_or(ForestError::TooLarge)?;
        let num_branches = branches.len() as u32;
        let number = |place: Place| match place {
            Place::Branch(branch) if branch < num_branches => Ok(branch),
            Place::Leaf(leaf) if (leaf as usize) < num_leaves => Ok(num_branches + leaf),
            place => Err(ForestError::NoSuchPlace { place }),
        };
        let mut nodes = Vec::with_capacity(branches.len() + num_leaves);
        for (index, branch) in (0..).zip(branches) {
            if branch.feature >= MISSING_IS_TRUE {
                return Err(ForestError::TooLarge);
            }
            if let Comparison::Member { start, end } = branch.comparison
                && members.get(start as usize..end as usize).is_none()
            {
                return Err(ForestError::NoSuchMembers { branch: index });
            }
            let missing = if branch.missing_is_true { MISSING_IS_TRUE } else { 0 };
            let next = [number(branch.if_false)?, number(branch.if_true)?];
            nodes.push(Node { threshold: branch.threshold, feature: branch.feature | missing, next });
        }
        let leaf = |number| Node { threshold: T::default(), feature: 0, next: [number; 2] };
        nodes.extend((num_branches..).take(num_leaves).map(leaf));
        let roots = roots.iter().map(|&root| number(root)).collect::<Result<Vec<_>, _>>()?;
        find_cycle(&nodes[..branches.len()])?;
        let num_features = branches.iter().map(|b| b.feature as usize + 1).max().unwrap_or(0);
        let comparisons = match branches.first().map(|b| b.comparison) {
            Some(first) if branches.iter().all(|b| b.comparison == first) => Comparisons::Uniform(first),
            None => Comparisons::Uniform(Comparison::Less),
            Some(_) => Comparisons::Each(branches.iter().map(|b| b.comparison).collect()),
        };
        Ok(Forest { nodes, num_branches, roots, comparisons, members, num_features })
    }

    /// The number of trees.
    pub fn num_trees(&self) -> usize {
        self.roots.len()
    }

    /// How many features a row must have at least.
    pub fn num_features(&self) -> usize {
        self.num_features
    }

    /// Into `leaves`, the leaf that `tree` leads each row of `rows` to. A row has `width` features.
    ///
    /// # Panics
    /// If `width` is below [`num_features`](Self::num_features) or zero, there is no such tree, or there are not as many
    /// rows as leaves.
    pub fn leaves_of_rows(&self, tree: usize, rows: &[T], width: usize, leaves: &mut [u32]) {
        assert!(width >= self.num_features && rows.len() == leaves.len() * width, "rows are as wide as said");
        let root = self.roots[tree];
        for (rows, leaves) in rows.chunks(width * LANES).zip(leaves.chunks_mut(LANES)) {
            leaves.fill(root);
            self.walk(leaves, |lane| &rows[lane * width..(lane + 1) * width]);
        }
    }

    /// Into `leaves`, the leaf that each tree leads `row` to.
    ///
    /// # Panics
    /// If the row has fewer features than [`num_features`](Self::num_features), or there are not as many leaves as trees.
    pub fn leaves_of_trees(&self, row: &[T], leaves: &mut [u32]) {
        assert!(row.len() >= self.num_features, "the row is as wide as said");
        leaves.copy_from_slice(&self.roots);
        for leaves in leaves.chunks_mut(LANES) {
            self.walk(leaves, |_| row);
        }
    }

    /// Takes each of `at`, at most [`LANES`], from its node to its leaf.
    fn walk<'a>(&self, at: &mut [u32], row: impl Fn(usize) -> &'a [T]) {
        match &self.comparisons {
            Comparisons::Uniform(Comparison::LessOrEqual) => self.walk_by(at, row, |_, x, t| x <= t),
            Comparisons::Uniform(Comparison::Less) => self.walk_by(at, row, |_, x, t| x < t),
            Comparisons::Uniform(comparison) => self.walk_by(at, row, |_, x, t| self.holds(*comparison, x, t)),
            Comparisons::Each(comparisons) => self.walk_by(at, row, |node, x, t| {
                comparisons.get(node as usize).is_some_and(|&comparison| self.holds(comparison, x, t))
            }),
        }
        at.iter_mut().for_each(|at| *at -= self.num_branches);
    }

    #[inline(always)]
    fn walk_by<'a>(&self, at: &mut [u32], row: impl Fn(usize) -> &'a [T], holds: impl Fn(u32, T, T) -> bool) {
        while at.iter().any(|&at| at < self.num_branches) {
            for (lane, at) in at.iter_mut().enumerate() {
                let node = &self.nodes[*at as usize];
                let feature = (node.feature & !MISSING_IS_TRUE) as usize;
                let x = row(lane).get(feature).copied().unwrap_or_default();
                let is_missing = x.partial_cmp(&x).is_none();
                let goes = holds(*at, x, node.threshold) | (is_missing & (node.feature & MISSING_IS_TRUE != 0));
                *at = node.next[usize::from(goes)];
            }
        }
    }

    fn holds(&self, comparison: Comparison, x: T, threshold: T) -> bool {
        match comparison {
            Comparison::LessOrEqual => x <= threshold,
            Comparison::Less => x < threshold,
            Comparison::GreaterOrEqual => x >= threshold,
            Comparison::Greater => x > threshold,
            Comparison::Equal => x == threshold,
            Comparison::NotEqual => x != threshold,
            Comparison::Member { start, end } => self.members[start as usize..end as usize].contains(&x),
        }
    }
}

/// An error if a branch leads back to itself.
fn find_cycle<T>(branches: &[Node<T>]) -> Result<(), ForestError> {
    #[derive(Clone, Copy, PartialEq)]
    enum Visit {
        Not,
        Open,
        Done,
    }
    let mut visits = vec![Visit::Not; branches.len()];
    let mut path: Vec<(u32, usize)> = Vec::new();
    for start in 0..branches.len() as u32 {
        if visits[start as usize] == Visit::Not {
            visits[start as usize] = Visit::Open;
            path.push((start, 0));
        }
        while let Some((node, side)) = path.last_mut() {
            let Some(&next) = branches[*node as usize].next.get(*side) else {
                visits[*node as usize] = Visit::Done;
                path.pop();
                continue;
            };
            *side += 1;
            match visits.get_mut(next as usize) {
                Some(visit @ Visit::Not) => {
                    *visit = Visit::Open;
                    path.push((next, 0));
                }
                Some(Visit::Open) => return Err(ForestError::Cycle { branch: next }),
                Some(Visit::Done) | None => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMPARISONS: [Comparison; 7] = [
        Comparison::LessOrEqual,
        Comparison::Less,
        Comparison::GreaterOrEqual,
        Comparison::Greater,
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Member { start: 1, end: 3 },
    ];
    const MEMBERS: [f32; 3] = [0.0, 1.0, 2.0];

    fn feature() -> impl Strategy<Value = f32> {
        prop_oneof![(-3i8..4).prop_map(f32::from), Just(f32::NAN)]
    }

    /// Branches that only lead to later ones or to leaves.
    fn branches(mode: Option<usize>) -> impl Strategy<Value = Vec<Branch<f32>>> {
        let one = (0u32..3, 0..7usize, feature(), any::<bool>(), any::<[u8; 2]>());
        prop::collection::vec(one, 0..12).prop_map(move |parts| {
            let count = parts.len() as u32;
            let place = |index: u32, jump: u8| {
                let target = index + 1 + u32::from(jump) % 5;
                if target < count { Place::Branch(target) } else { Place::Leaf(u32::from(jump) % 4) }
            };
            let branch =
                |(index, (feature, own, threshold, missing_is_true, jumps)): (u32, (_, usize, _, _, [u8; 2]))| {
                    let comparison = COMPARISONS[mode.unwrap_or(own)];
                    let (if_true, if_false) = (place(index, jumps[0]), place(index, jumps[1]));
                    Branch { feature, comparison, threshold, missing_is_true, if_true, if_false }
                };
            (0..).zip(parts).map(branch).collect()
        })
    }

    /// The definition, one node at a time.
    fn leaf(branches: &[Branch<f32>], mut at: Place, row: &[f32]) -> u32 {
        loop {
            let branch = match at {
                Place::Leaf(leaf) => return leaf,
                Place::Branch(branch) => &branches[branch as usize],
            };
            let (x, t) = (row[branch.feature as usize], branch.threshold);
            let holds = match branch.comparison {
                _ if x.is_nan() && branch.missing_is_true => true,
                Comparison::LessOrEqual => x <= t,
                Comparison::Less => x < t,
                Comparison::GreaterOrEqual => x >= t,
                Comparison::Greater => x > t,
                Comparison::Equal => x == t,
                Comparison::NotEqual => x != t,
                Comparison::Member { .. } => x == 1.0 || x == 2.0,
            };
            at = if holds { branch.if_true } else { branch.if_false };
        }
    }

    proptest! {
        #[test]
        fn walks_end_where_the_definition_says(
            branches in prop::option::of(0..7usize).prop_flat_map(branches),
            rows in prop::collection::vec(prop::array::uniform3(feature()), 0..20),
        ) {
            let roots: Vec<Place> = match branches.len() as u32 {
                0 => vec![Place::Leaf(3)],
                n => vec![Place::Branch(0), Place::Leaf(2), Place::Branch(n - 1)],
            };
            let forest = Forest::new(&branches, 4, &roots, MEMBERS.to_vec()).unwrap();
            let mut found = vec![0; rows.len()];
            for (tree, &root) in roots.iter().enumerate() {
                forest.leaves_of_rows(tree, rows.as_flattened(), 3, &mut found);
                let expected: Vec<u32> = rows.iter().map(|row| leaf(&branches, root, row)).collect();
                prop_assert_eq!(&found, &expected);
            }
            let mut found = vec![0; roots.len()];
            for row in &rows {
                forest.leaves_of_trees(row, &mut found);
                let expected: Vec<u32> = roots.iter().map(|&root| leaf(&branches, root, row)).collect();
                prop_assert_eq!(&found, &expected);
            }
        }
    }

    #[test]
    fn what_is_not_a_forest_is_refused() {
        let branch = |if_true, if_false| Branch {
            feature: 0,
            comparison: Comparison::Less,
            threshold: 0.0f32,
            missing_is_true: false,
            if_true,
            if_false,
        };
        let forest = |branches: &[Branch<f32>]| Forest::new(branches, 1, &[Place::Branch(0)], Vec::new()).map(|_| ());
        let end = Place::Leaf(0);
        assert_eq!(forest(&[branch(end, Place::Branch(0))]), Err(ForestError::Cycle { branch: 0 }));
        let ring = [branch(Place::Branch(1), end), branch(end, Place::Branch(2)), branch(Place::Branch(1), end)];
        assert_eq!(forest(&ring), Err(ForestError::Cycle { branch: 1 }));
        assert_eq!(forest(&[]), Err(ForestError::NoSuchPlace { place: Place::Branch(0) }));
        let beyond = Place::Leaf(1);
        assert_eq!(forest(&[branch(end, beyond)]), Err(ForestError::NoSuchPlace { place: beyond }));
        let members = Branch { comparison: Comparison::Member { start: 0, end: 1 }, ..branch(end, end) };
        assert_eq!(forest(&[members]), Err(ForestError::NoSuchMembers { branch: 0 }));
        let far = Branch { feature: u32::MAX, ..branch(end, end) };
        assert_eq!(forest(&[far]), Err(ForestError::TooLarge));
    }
}
