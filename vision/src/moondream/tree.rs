//! Many questions as one packed sequence: a tree of tokens in which questions share how they begin.
//!
//! Every token sees the image prefix, the tokens on its way up the tree and itself, and stands at the position that it
//! would have if its question were asked alone; so the answers are the same, and what questions have in common is
//! computed once. Pure: it knows ids and positions, no tensors and no model.

use std::collections::HashMap;
use std::ops::Range;

/// Tokens after an image prefix; each but the first ones continues an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tree {
    tokens: Vec<u32>,
    parents: Vec<Option<usize>>,
    depths: Vec<u32>,
}

impl Tree {
    /// The tree of these questions, and for each the node of its last token. A question without tokens has none.
    pub(super) fn of(questions: &[&[u32]]) -> (Self, Vec<Option<usize>>) {
        let mut tree = Self::default();
        let mut children: HashMap<(Option<usize>, u32), usize> = HashMap::new();
        let leaves = questions
            .iter()
            .map(|tokens| {
                let mut at = None;
                for &token in *tokens {
                    let node = children
                        .entry((at, token))
                        .or_insert_with(|| tree.push(at, token));
                    at = Some(*node);
                }
                at
            })
            .collect();
        (tree, leaves)
    }

    /// Adds a token after `parent`, or at the start, and gives its node.
    pub(super) fn push(&mut self, parent: Option<usize>, token: u32) -> usize {
        self.depths
            .push(parent.map_or(0, |parent| self.depths[parent] + 1));
        self.parents.push(parent);
        self.tokens.push(token);
        self.tokens.len() - 1
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens' ids.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The positions of nodes, where the first token of a question has position `start`.
    pub(super) fn positions(&self, nodes: Range<usize>, start: usize) -> Vec<u32> {
        self.depths[nodes]
            .iter()
            .map(|depth| depth + start as u32)
            .collect()
    }

    /// What the nodes see of all nodes so far, `[nodes, self.len()]` row by row: 0 where they do, -inf where not.
    pub(super) fn mask(&self, nodes: Range<usize>) -> Vec<f32> {
        let width = self.len();
        let mut mask = vec![f32::NEG_INFINITY; nodes.len() * width];
        for (row, node) in mask.chunks_exact_mut(width.max(1)).zip(nodes) {
            let mut at = Some(node);
            while let Some(node) = at {
                row[node] = 0.0;
                at = self.parents[node];
            }
        }
        mask
    }
}

/// Splits questions, in their order, into runs whose trees have at most `limit` tokens; a longer question goes alone.
pub(super) fn runs(questions: &[&[u32]], limit: usize) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    let mut seen: HashMap<(usize, u32), usize> = HashMap::new();
    for (index, tokens) in questions.iter().enumerate() {
        let before = seen.len();
        grow(&mut seen, tokens);
        if seen.len() > limit && before > 0 {
            runs.push(start..index);
            start = index;
            seen.clear();
            grow(&mut seen, tokens);
        }
    }
    if start < questions.len() {
        runs.push(start..questions.len());
    }
    runs
}

/// Adds a question to the set of tree nodes; node 0 is the root.
fn grow(seen: &mut HashMap<(usize, u32), usize>, tokens: &[u32]) {
    let mut at = 0;
    for &token in tokens {
        let next = seen.len() + 1;
        at = *seen.entry((at, token)).or_insert(next);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn questions() -> impl Strategy<Value = Vec<Vec<u32>>> {
        proptest::collection::vec(proptest::collection::vec(0..4_u32, 0..9), 0..20)
    }

    fn slices(questions: &[Vec<u32>]) -> Vec<&[u32]> {
        questions.iter().map(Vec::as_slice).collect()
    }

    /// The tokens that a node sees, in the order of their positions.
    fn seen(tree: &Tree, node: usize) -> Vec<u32> {
        let mask = tree.mask(node..node + 1);
        let mut seen: Vec<(u32, u32)> = (0..tree.len())
            .filter(|&other| mask[other] == 0.0)
            .map(|other| {
                (
                    tree.positions(other..other + 1, 730)[0],
                    tree.tokens()[other],
                )
            })
            .collect();
        seen.sort_unstable();
        assert!(
            seen.iter()
                .enumerate()
                .all(|(at, (position, _))| *position == 730 + at as u32)
        );
        seen.into_iter().map(|(_, token)| token).collect()
    }

    #[test]
    fn what_questions_begin_with_is_there_once() {
        let (tree, leaves) = Tree::of(&[&[1, 2, 3, 9], &[1, 2, 4, 9], &[1, 2, 3, 9], &[1, 2]]);
        assert_eq!(tree.tokens(), [1, 2, 3, 9, 4, 9]);
        assert_eq!(leaves, [Some(3), Some(5), Some(3), Some(1)]);
    }

    proptest! {
        #[test]
        fn each_question_sees_itself_and_nothing_else(questions in questions()) {
            let (tree, leaves) = Tree::of(&slices(&questions));
            for (question, leaf) in questions.iter().zip(leaves) {
                match leaf {
                    Some(leaf) => prop_assert_eq!(&seen(&tree, leaf), question),
                    None => prop_assert!(question.is_empty()),
                }
            }
        }

        #[test]
        fn a_node_comes_after_all_that_it_sees(questions in questions()) {
            let (tree, _) = Tree::of(&slices(&questions));
            for node in 0..tree.len() {
                let mask = tree.mask(node..node + 1);
                prop_assert!(mask[node + 1..].iter().all(|&hidden| hidden == f32::NEG_INFINITY));
            }
        }

        #[test]
        fn runs_keep_the_order_and_the_limit(questions in questions(), limit in 1..30_usize) {
            let questions = slices(&questions);
            let runs = runs(&questions, limit);
            let all: Vec<usize> = runs.iter().cloned().flatten().collect();
            prop_assert_eq!(all, (0..questions.len()).collect::<Vec<_>>());
            for run in runs {
                let (tree, _) = Tree::of(&questions[run.clone()]);
                let alone = questions[run].iter().filter(|q| !q.is_empty()).count() <= 1;
                prop_assert!(tree.len() <= limit || alone);
            }
        }
    }
}
