//! Which kinds of items are known: the others may be misspelt.

use selvedge_protocol::{EventMsg, ResponseItemKind, RolloutItem};

use crate::persistence_policy::is_transient;
use crate::turn_item::is_step;

/// Events without a typed view that programs write.
const OTHER_EVENTS: [&str; 5] =
    ["item_started", "thread_name_updated", "sub_agent_activity", "undo_completed", "thread_memory_mode_updated"];

/// Kinds of the items of an `item_completed` event. The first ones are those of
/// [`CompletedItem`](selvedge_protocol::CompletedItem).
const COMPLETED_ITEMS: [&str; 18] = [
    "UserMessage",
    "AgentMessage",
    "Reasoning",
    "CommandExecution",
    "FileChange",
    "McpToolCall",
    "DynamicToolCall",
    "WebSearch",
    "ImageGeneration",
    "Plan",
    "ContextCompaction",
    "EnteredReviewMode",
    "ExitedReviewMode",
    "HookPrompt",
    "CollabAgentToolCall",
    "SubAgentActivity",
    "ImageView",
    "Sleep",
];

/// Returns what is not known of the kind of an item. `None` if the kind is known.
///
/// Such an item is kept and shown as it is. Programs of tomorrow write kinds that are not known today; in an item that a person
/// writes, such a kind is more likely misspelt.
#[must_use]
pub fn unknown_kind(item: &RolloutItem) -> Option<String> {
    let named = |what: &str, kind: &str| match kind {
        "" => Some(format!("{what} without a type")),
        kind => Some(format!("{what} of type `{kind}`")),
    };
    match item {
        RolloutItem::ResponseItem(item) => match item.kind() {
            ResponseItemKind::Other(kind) => named("a response item", kind),
            _ => None,
        },
        RolloutItem::EventMsg(EventMsg::ItemCompleted(event)) => {
            let kind = event.item.as_ref().map(|item| item.kind()).unwrap_or_default();
            if COMPLETED_ITEMS.contains(&kind) { None } else { named("a completed item", kind) }
        }
        RolloutItem::EventMsg(EventMsg::Other(event)) => {
            let kind = event.kind();
            let is_known = is_transient(kind) || is_step(kind) || OTHER_EVENTS.contains(&kind);
            if is_known { None } else { named("an event", kind) }
        }
        RolloutItem::Other(item) => named("a line", item.kind()),
        _ => None,
    }
}
