//! The packing rule: which pending jobs run together.
//!
//! A pure function of sizes and limits, so that its properties can be tested without a model or a thread.
//! It keeps the order of arrival: reordering for fuller batches would let a large job wait for ever.

use std::ops::Range;

/// What one batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackLimits {
    /// Most items in a batch; 0 is taken as 1.
    pub items: usize,
    /// Largest sum of costs in a batch, in the unit of the costs; an item that costs more goes alone.
    pub cost: usize,
}

/// Splits items of the given costs, in their order, into consecutive batches.
///
/// The ranges are not empty, do not overlap and cover `0..costs.len()` in order. Each holds at most
/// `limits.items` items, and costs at most `limits.cost` unless it is a single item that alone costs more.
/// Greedy: a batch ends only where the next item would break a limit, which gives the fewest batches that
/// keep the order.
pub fn pack(costs: &[usize], limits: PackLimits) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let mut start = 0;
    let mut sum = 0_usize;
    for (index, &cost) in costs.iter().enumerate() {
        let full = index - start >= limits.items.max(1) || sum.saturating_add(cost) > limits.cost;
        if index > start && full {
            batches.push(start..index);
            start = index;
            sum = 0;
        }
        sum = sum.saturating_add(cost);
    }
    if start < costs.len() {
        batches.push(start..costs.len());
    }
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn costs() -> impl Strategy<Value = Vec<usize>> {
        let cost = prop_oneof![9 => 0..100_usize, 1 => Just(usize::MAX)];
        proptest::collection::vec(cost, 0..200)
    }

    fn total(costs: &[usize]) -> usize {
        costs.iter().fold(0, |sum, &cost| sum.saturating_add(cost))
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_taken_twice_and_the_order_is_kept(
            costs in costs(), items in 0..40_usize, cost in 0..400_usize,
        ) {
            let packed: Vec<usize> = pack(&costs, PackLimits { items, cost }).into_iter().flatten().collect();
            prop_assert_eq!(packed, (0..costs.len()).collect::<Vec<_>>());
        }

        #[test]
        fn the_limits_hold(costs in costs(), items in 1..40_usize, cost in 0..400_usize) {
            for batch in pack(&costs, PackLimits { items, cost }) {
                prop_assert!(!batch.is_empty() && batch.len() <= items);
                prop_assert!(batch.len() == 1 || total(&costs[batch]) <= cost);
            }
        }

        #[test]
        fn a_batch_ends_only_where_the_next_item_would_break_a_limit(
            costs in costs(), items in 1..40_usize, cost in 0..400_usize,
        ) {
            let batches = pack(&costs, PackLimits { items, cost });
            for pair in batches.windows(2) {
                let more = pair[0].start..pair[0].end + 1;
                prop_assert!(more.len() > items || total(&costs[more]) > cost);
            }
        }
    }
}
