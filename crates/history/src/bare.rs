//! Lines from before the envelope, brought into a log of today.

use selvedge_protocol::{AgentMessageEvent, EventMsg, RolloutItem, UserMessageEvent};

use crate::markers::is_user_message;

/// The item of a line from before the envelope, with the event that a client shows of it: logs of that time held no events,
/// and ones that begin with an envelope are shown by nothing else.
#[must_use]
pub fn upgrade_bare_item(item: RolloutItem) -> Vec<RolloutItem> {
    let event: Option<EventMsg> = match &item {
        RolloutItem::ResponseItem(message) if is_user_message(message) => {
            Some(UserMessageEvent { message: Some(message.texts().concat()), ..Default::default() }.into())
        }
        RolloutItem::ResponseItem(message) if message.role().as_deref() == Some("assistant") => {
            Some(AgentMessageEvent { message: Some(message.texts().concat()), ..Default::default() }.into())
        }
        _ => None,
    };
    std::iter::once(item).chain(event.map(RolloutItem::EventMsg)).collect()
}
