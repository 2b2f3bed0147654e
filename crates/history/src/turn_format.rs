//! The items by which a log records a turn: the inverse of the turn projection.

use selvedge_protocol::{
    AgentMessageEvent, AgentReasoningEvent, AgentReasoningRawContentEvent, ContextCompactedEvent,
    EnteredReviewModeEvent, EventMsg, ExitedReviewModeEvent, Extra, HistoryMode, ImageGenerationEndEvent,
    ItemCompletedEvent, ItemContent, ItemStatus, McpToolCallEndEvent, PatchApplyEndEvent, ResponseItem, ThreadId,
    Timestamp, TurnId, TurnItem, UserMessageEvent, WebSearchEndEvent,
};
use serde::Serialize;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

use crate::model_item;

/// The form in which a thread records its turns.
///
/// Both modes record the items of the model, and events for clients beside them. The events differ: a paginated log has an
/// `item_completed` for each item, a legacy log has an event of its own for some kinds of items, and none for commands and
/// most tools. There, a reader shows what the items of the model tell.
#[derive(Clone, Debug)]
pub struct TurnFormat {
    thread_id: ThreadId,
    mode: HistoryMode,
}

impl TurnFormat {
    /// Creates the form of the turns of a thread.
    #[must_use]
    pub fn new(thread_id: ThreadId, mode: HistoryMode) -> Self {
        Self { thread_id, mode }
    }

    /// Returns the events that show a complete item of a turn. They are written in one batch with the item of the model that tells
    /// the same. Empty if the mode has no event for it.
    #[must_use]
    pub fn events(&self, turn_id: &TurnId, item: &TurnItem) -> Vec<EventMsg> {
        // A plan is a completed item in both modes.
        if self.mode == HistoryMode::Paginated || matches!(item.content, ItemContent::Plan { .. }) {
            return vec![self.completed(turn_id, item).into()];
        }
        legacy_events(turn_id, item)
    }

    fn completed(&self, turn_id: &TurnId, item: &TurnItem) -> ItemCompletedEvent {
        let millis = |time: Option<Timestamp>| time.map(Timestamp::as_millis);
        ItemCompletedEvent {
            thread_id: Some(self.thread_id),
            turn_id: Some(turn_id.clone()),
            item: Some(item.into()),
            started_at_ms: millis(item.started_at),
            completed_at_ms: millis(item.completed_at),
            ..ItemCompletedEvent::default()
        }
    }
}

fn legacy_events(turn_id: &TurnId, item: &TurnItem) -> Vec<EventMsg> {
    let call_id = || Some(item.id.as_str().to_owned());
    match &item.content {
        ItemContent::UserMessage { text, images, client_id, .. } => {
            let is_path = |image: &&Value| match image.as_str() {
                Some(text) => !text.contains(':'),
                None => image["path"].is_string(),
            };
            let (paths, urls): (Vec<&Value>, Vec<&Value>) = images.iter().partition(is_path);
            let plain = |images: Vec<&Value>, field: &str| {
                Some(images.into_iter().map(|image| image.get(field).unwrap_or(image).clone()).collect())
            };
            let mut event = UserMessageEvent {
                message: Some(text.clone()),
                images: plain(urls, "image_url"),
                local_images: plain(paths, "path"),
                ..Default::default()
            };
            if let Some(client_id) = client_id {
                insert(&mut event.extra, "client_id", client_id);
            }
            vec![event.into()]
        }
        ItemContent::AgentMessage { text, phase, memory_citation } => {
            let mut event =
                AgentMessageEvent { message: Some(text.clone()), phase: phase.clone(), ..Default::default() };
            if let Some(citation) = memory_citation {
                insert(&mut event.extra, "memory_citation", citation);
            }
            vec![event.into()]
        }
        ItemContent::Reasoning { summary, content } => {
            let summary = summary
                .iter()
                .map(|text| AgentReasoningEvent { text: Some(text.clone()), ..Default::default() }.into());
            let content = content
                .iter()
                .map(|text| AgentReasoningRawContentEvent { text: Some(text.clone()), ..Default::default() }.into());
            summary.chain(content).collect()
        }
        ItemContent::FileChange { status, changes } => vec![
            PatchApplyEndEvent {
                call_id: call_id(),
                turn_id: Some(turn_id.clone()),
                success: Some(*status == ItemStatus::Completed),
                status: serde_json::to_value(status).ok().and_then(|status| Some(status.as_str()?.to_owned())),
                changes: Some(changes.clone()),
                stdout: Some(String::new()),
                stderr: Some(String::new()),
                ..Default::default()
            }
            .into(),
        ],
        ItemContent::ToolCall { server: Some(server), tool, arguments, result, error, duration_ms, .. } => {
            let outcome = match (error, result) {
                (Some(error), _) => json!({"Err": error}),
                (None, result) => json!({"Ok": result}),
            };
            let millis = duration_ms.unwrap_or(0).max(0);
            vec![
                McpToolCallEndEvent {
                    call_id: call_id(),
                    invocation: Some(json!({"server": server, "tool": tool, "arguments": arguments})),
                    duration: Some(json!({"secs": millis / 1000, "nanos": millis % 1000 * 1_000_000})),
                    result: Some(outcome),
                    ..Default::default()
                }
                .into(),
            ]
        }
        ItemContent::WebSearch { query, action, .. } => vec![
            WebSearchEndEvent {
                call_id: call_id(),
                query: Some(query.clone()),
                action: action.clone(),
                ..Default::default()
            }
            .into(),
        ],
        ItemContent::ImageGeneration { status, revised_prompt, saved_path } => {
            let mut event = ImageGenerationEndEvent {
                call_id: call_id(),
                status: Some(status.clone()),
                revised_prompt: revised_prompt.clone(),
                saved_path: saved_path.clone(),
                ..Default::default()
            };
            insert(&mut event.extra, "result", "");
            vec![event.into()]
        }
        ItemContent::ContextCompaction => vec![ContextCompactedEvent::default().into()],
        ItemContent::EnteredReviewMode { review } => {
            vec![EnteredReviewModeEvent { user_facing_hint: Some(review.clone()), ..Default::default() }.into()]
        }
        ItemContent::ExitedReviewMode { review } => {
            let output = json!({"overall_explanation": review});
            vec![ExitedReviewModeEvent { review_output: Some(output), ..Default::default() }.into()]
        }
        _ => Vec::new(),
    }
}

/// Adds a field that the type of an event does not name.
fn insert(extra: &mut Extra, name: &str, value: &(impl Serialize + ?Sized)) {
    if let Ok(value) = to_raw_value(value) {
        extra.insert(name, value);
    }
}

/// Returns what a client shows of a call while it runs. `None` if the item is no call.
///
/// The turn projection shows the same, from the item alone.
#[must_use]
pub fn shown_call(call: &ResponseItem) -> Option<ItemContent> {
    let fields: Map<String, Value> = serde_json::from_str(call.json().get()).ok()?;
    let kind = call.kind().as_str();
    model_item::is_call(kind).then(|| model_item::call(kind, &fields).content)
}

/// Returns what a client shows of a call after this output. If the item is no output, nothing changes.
///
/// The turn projection shows the same, from the two items alone.
#[must_use]
pub fn answered_call(mut call: ItemContent, output: &ResponseItem) -> ItemContent {
    if let Ok(mut fields) = serde_json::from_str(output.json().get())
        && model_item::is_output(output.kind().as_str())
    {
        model_item::answer(&mut call, &mut fields);
    }
    call
}
