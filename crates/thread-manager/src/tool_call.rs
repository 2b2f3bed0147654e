//! Records the end of a tool call.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use selvedge_history::answered_call;
use selvedge_protocol::{ItemContent, ItemId, ItemStatus, ResponseItem, ResponseItemKind, Timestamp, TurnItem};
use selvedge_thread_store::Result;
use serde_json::Value;

use crate::clock::now;
use crate::recorded::Recorded;
use crate::recorded_turn::RecordedTurn;

/// A tool call that is in progress ([`TurnRecorder::tool_call`](crate::TurnRecorder::tool_call)).
///
/// [`finish`](Self::finish), [`fail`](Self::fail) or [`decline`](Self::decline) ends it. A call that is dropped stays in
/// the log without an output: [`LiveThread::unanswered_calls`](crate::LiveThread::unanswered_calls) lists it.
#[derive(Debug)]
pub struct ToolCallRecorder {
    turn: Arc<RecordedTurn>,
    id: ItemId,
    call: ResponseItem,
    content: ItemContent,
    started_at: Timestamp,
}

/// The output of a tool: what the model gets, and what a client shows if that is more than the output says. A text or JSON
/// converts to it:
///
/// ```
/// use selvedge_thread_manager::ToolOutput;
///
/// let output = ToolOutput::from("2 files changed").exit_code(0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ToolOutput {
    output: Value,
    exit_code: Option<i64>,
    duration: Option<Duration>,
    shown: Option<ItemContent>,
}

impl ToolOutput {
    /// Sets the exit code of a command. Any but 0 makes it failed.
    #[must_use]
    pub fn exit_code(mut self, code: i64) -> Self {
        self.exit_code = Some(code);
        self
    }

    /// Sets the duration. By default it is the time since the call was recorded.
    #[must_use]
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// Sets what a client shows instead of the call, such as the changes of files that a patch made.
    #[must_use]
    pub fn shown_as(mut self, content: ItemContent) -> Self {
        self.shown = Some(content);
        self
    }
}

/// What the user answers when the agent asks whether it may run a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Approval {
    /// The call may run.
    Approved,
    /// The call may run, and so may others like it until the agent ends.
    ApprovedForSession,
    /// The call may not run. The agent goes on without it.
    Denied,
    /// The call may not run, and the turn ends.
    Abort,
}

impl From<&str> for ToolOutput {
    fn from(text: &str) -> Self {
        Value::from(text).into()
    }
}

impl From<String> for ToolOutput {
    fn from(text: String) -> Self {
        Value::from(text).into()
    }
}

impl From<Value> for ToolOutput {
    /// Creates an output of JSON: a text, or a list of parts such as `{"type": "input_text", "text": "…"}`.
    fn from(output: Value) -> Self {
        Self { output, ..Self::default() }
    }
}

impl ToolCallRecorder {
    pub(crate) fn new(
        turn: Arc<RecordedTurn>,
        id: ItemId,
        call: ResponseItem,
        content: ItemContent,
        started_at: Timestamp,
    ) -> Self {
        Self { turn, id, call, content, started_at }
    }

    /// Returns the id of the call.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// Ends the call with its output: what the model gets, and the item that a client shows, in one batch.
    ///
    /// Without an exit code or a content of its own, a client shows what the output says.
    ///
    /// # Errors
    /// As [`TurnRecorder::user_message`](crate::TurnRecorder::user_message). The call can be repeated.
    pub async fn finish(&self, output: impl Into<ToolOutput>) -> Result<Recorded> {
        self.end("finish", &output.into(), None).await
    }

    /// Ends the call with an error, which the model gets as its output.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub async fn fail(&self, error: &str) -> Result<Recorded> {
        self.end("fail", &error.into(), Some(ItemStatus::Failed)).await
    }

    /// Ends a call that the user did not allow. The model gets the reason as its output. A patch shows as a declined change of
    /// files if the reason is a [`ToolOutput`] that is [shown as](ToolOutput::shown_as) one.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub async fn decline(&self, reason: impl Into<ToolOutput>) -> Result<Recorded> {
        self.end("decline", &reason.into(), Some(ItemStatus::Declined)).await
    }

    /// Records what the user answered when the agent asked whether it may run the call.
    ///
    /// The table says what the log contains. As in logs of Codex, the question itself and a permission are not in it: they
    /// are over when the call runs, and its output says that it ran.
    ///
    /// | answer | items | afterwards |
    /// | --- | --- | --- |
    /// | `Approved`, `ApprovedForSession` | none | the call is in progress |
    /// | `Denied` | the output `rejected by the user`, and the declined item | the turn goes on |
    /// | `Abort` | the output `aborted`, the declined item, and the end of the turn | the turn is interrupted |
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub async fn approval(&self, answer: Approval) -> Result<()> {
        match answer {
            Approval::Approved | Approval::ApprovedForSession => self.turn.check_open(),
            Approval::Denied => self.decline("rejected by the user").await.map(drop),
            Approval::Abort => self.abort().await,
        }
    }

    async fn abort(&self) -> Result<()> {
        let output = ToolOutput::from("aborted");
        self.turn
            .record(
                |call| ("abort", self.id.as_str()).hash(call),
                |turn, _, batch| {
                    let answer = self.answer(&output.output);
                    turn.show(&self.shown(&answer, &output, Some(ItemStatus::Declined)), batch);
                    batch.push(answer.into());
                    batch.push(turn.aborted());
                },
            )
            .await?;
        self.turn.progress().is_ended = true;
        Ok(())
    }

    async fn end(&self, how: &str, output: &ToolOutput, status: Option<ItemStatus>) -> Result<Recorded> {
        self.turn
            .record(
                |call| (how, self.id.as_str(), &output.output).hash(call),
                |turn, _, batch| {
                    let answer = self.answer(&output.output);
                    turn.show(&self.shown(&answer, output, status), batch);
                    batch.push(answer.into());
                },
            )
            .await
    }

    /// Returns the item of the model that answers the call.
    fn answer(&self, output: &Value) -> ResponseItem {
        let is_custom = *self.call.kind() == ResponseItemKind::CustomToolCall;
        let kind = if is_custom { "custom_tool_call_output" } else { "function_call_output" };
        let answer = serde_json::json!({"type": kind, "call_id": self.id.as_str(), "output": output});
        ResponseItem::from_value(&answer)
            .unwrap_or_else(|| ResponseItem::function_call_output(self.id.as_str(), &output.to_string()))
    }

    fn shown(&self, answer: &ResponseItem, output: &ToolOutput, status: Option<ItemStatus>) -> TurnItem {
        let at = now();
        let content = output.shown.clone().unwrap_or_else(|| answered_call(self.content.clone(), answer));
        let mut content = match status {
            Some(status) => with_status(content, status),
            None => content,
        };
        let elapsed = output.duration.unwrap_or_else(|| at.saturating_since(self.started_at));
        let elapsed = i64::try_from(elapsed.as_millis()).ok();
        match &mut content {
            ItemContent::CommandExecution { status, exit_code, duration_ms, .. } => {
                if let Some(code) = output.exit_code {
                    *exit_code = Some(code);
                    if code != 0 {
                        *status = ItemStatus::Failed;
                    }
                }
                if output.duration.is_some() || duration_ms.is_none() {
                    *duration_ms = elapsed;
                }
            }
            ItemContent::ToolCall { duration_ms, .. } => *duration_ms = elapsed,
            _ => {}
        }
        TurnItem {
            started_at: Some(self.started_at),
            completed_at: Some(at),
            ..TurnItem::new(self.id.clone(), content)
        }
    }
}

/// Returns the status of a call that the user did not allow, or that failed.
fn with_status(mut content: ItemContent, new: ItemStatus) -> ItemContent {
    match &mut content {
        ItemContent::CommandExecution { status, .. }
        | ItemContent::FileChange { status, .. }
        | ItemContent::ToolCall { status, .. } => *status = new,
        _ => {}
    }
    content
}
