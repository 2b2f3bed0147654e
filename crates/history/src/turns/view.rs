//! Removes the items of a complete turn that a query does not ask for.

use selvedge_protocol::{ItemContent, ItemsView, Turn};

/// Removes the items that `view` does not include from a turn with all its items.
pub fn apply_view(turn: &mut Turn, view: ItemsView) {
    match view {
        ItemsView::Full => return,
        ItemsView::None => {
            turn.items.clear();
            turn.item_positions.clear();
        }
        // The question and the answer: the first message of the user and the last one of the agent.
        ItemsView::Summary => {
            let first = turn.items.iter().position(|item| matches!(item.content, ItemContent::UserMessage { .. }));
            let last = turn.items.iter().rposition(|item| matches!(item.content, ItemContent::AgentMessage { .. }));
            retain_indexes(&mut turn.items, [first, last]);
            retain_indexes(&mut turn.item_positions, [first, last]);
        }
    }
    turn.items_view = view;
}

fn retain_indexes<T>(entries: &mut Vec<T>, indexes: [Option<usize>; 2]) {
    let mut index = 0..;
    entries.retain(|_| {
        let index = index.next();
        index.is_some() && indexes.contains(&index)
    });
}
