//! Converts bare lines, which were written before the envelope, to items of a current log.

use selvedge_protocol::{AgentMessageEvent, EventMsg, RolloutItem, UserMessageEvent};

use crate::context_fragments::is_typed_message;

/// Returns the item of a bare line, followed by the event that shows it to a client. Logs with bare lines contain no events. A
/// program that reads only events shows nothing without them.
#[must_use]
pub fn upgrade_bare_item(item: RolloutItem) -> Vec<RolloutItem> {
    let event: Option<EventMsg> = match &item {
        RolloutItem::ResponseItem(message) if is_typed_message(message) => {
            Some(UserMessageEvent { message: Some(message.texts().concat()), ..Default::default() }.into())
        }
        RolloutItem::ResponseItem(message) if message.role().as_deref() == Some("assistant") => {
            Some(AgentMessageEvent { message: Some(message.texts().concat()), ..Default::default() }.into())
        }
        _ => None,
    };
    std::iter::once(item).chain(event.map(RolloutItem::EventMsg)).collect()
}
