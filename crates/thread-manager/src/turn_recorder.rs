//! Records a turn: each call is one batch of what the model and a client must see of it.

use std::hash::{DefaultHasher, Hash};
use std::sync::Arc;

use selvedge_history::shown_call;
use selvedge_protocol::{
    ContextWindow, EventMsg, ItemContent, ItemId, ResponseItem, RolloutItem, TaskCompleteEvent, TokenCountEvent,
    TokenUsage, TokenUsageInfo, TurnId, WorldState,
};
use selvedge_thread_store::{Result, StoreError};
use serde_json::{Value, json};

use crate::clock::now;
use crate::compaction::Compaction;
use crate::live::LiveThread;
use crate::prompt::{AgentText, Prompt};
use crate::recorded::Recorded;
use crate::recorded_turn::RecordedTurn;
use crate::tool_call::ToolCallRecorder;
use crate::turn_settings::TurnSettings;

/// Records one turn of a live thread ([`LiveThread::begin_turn`]).
///
/// Each call appends one batch: the item of the model, and the event from which a client shows the same, with the ids,
/// the order and the times that readers of the format expect. It returns when the batch is in the store. What a turn
/// recorder writes is what [`TurnProjection`](selvedge_history::TurnProjection) reads back, in both modes.
///
/// A call whose future was dropped, or that failed with [`OutcomeUnknown`](StoreError::OutcomeUnknown), can be repeated
/// with the same arguments as the next call on the thread: the batch is in the log once.
///
/// Methods take `&self`, so that several tool calls can run at the same time. [`complete`](Self::complete),
/// [`fail`](Self::fail) or [`interrupt`](Self::interrupt) ends the turn. A recorder that is dropped before interrupts
/// the turn.
#[derive(Debug)]
pub struct TurnRecorder {
    turn: Arc<RecordedTurn>,
}

impl LiveThread {
    /// Begins a turn and returns its recorder: the way to record what is said and done.
    ///
    /// Settings that are not set are those of the turn before, and in the first turn those with which the thread was
    /// started.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append).
    pub async fn begin_turn(&self, settings: TurnSettings) -> Result<TurnRecorder> {
        let settings = settings.or(&TurnSettings::of_thread(&self.metadata().await)).or(self.first_settings());
        Ok(TurnRecorder { turn: Arc::new(RecordedTurn::begin(self.strong_self()?, settings).await?) })
    }
}

impl TurnRecorder {
    /// Returns the id of the turn.
    #[must_use]
    pub fn id(&self) -> &TurnId {
        &self.turn.id
    }

    /// Returns the thread.
    #[must_use]
    pub fn thread(&self) -> &Arc<LiveThread> {
        &self.turn.thread
    }

    /// Records what the model is told about its surroundings: the messages, and the state that they describe, as a full
    /// snapshot, as a patch, or not at all if the model knows it already. Call it before the message of the user.
    ///
    /// # Errors
    /// The errors of [`LiveThread::append_context`].
    pub async fn world_state(&self, state: &WorldState, messages: &[ResponseItem]) -> Result<Recorded> {
        self.turn.check_open()?;
        let items: Vec<RolloutItem> = messages.iter().cloned().map(RolloutItem::from).collect();
        self.turn.thread.append_context(&items, state).await
    }

    /// Records a message of the user: a text, or a [`Prompt`] with images.
    ///
    /// # Errors
    /// The errors of [`LiveThread::append`], and `InvalidRequest` if the turn has ended. The same holds for all methods.
    pub async fn user_message(&self, prompt: impl Into<Prompt>) -> Result<Recorded> {
        let prompt = prompt.into();
        self.turn
            .record(
                |call| ("user", &prompt).hash(call),
                |turn, _, batch| {
                    let item = turn.item(ItemId::from(turn.new_id("")), prompt.content());
                    // The model's item comes first, as other programs write it.
                    batch.push(prompt.response_item().into());
                    turn.show(&item, batch);
                },
            )
            .await
    }

    /// Records a message of the agent: a text, or an [`AgentText`] with the id that the provider of the model gave it.
    ///
    /// # Errors
    /// As [`user_message`](Self::user_message).
    pub async fn agent_message(&self, message: impl Into<AgentText>) -> Result<Recorded> {
        let message = message.into();
        let appended = self
            .turn
            .record(
                |call| ("agent", &message).hash(call),
                |turn, _, batch| {
                    let id = message.id.clone().unwrap_or_else(|| turn.new_id("msg_"));
                    let response = message.response_item(&id);
                    turn.show(&turn.item(ItemId::from(id), message.content()), batch);
                    batch.push(response.into());
                },
            )
            .await?;
        self.turn.progress().last_agent_message = Some(message.text);
        Ok(appended)
    }

    /// Records reasoning: the parts of its summary, and the encrypted form in which the provider of the model gets it
    /// back.
    ///
    /// # Errors
    /// As [`user_message`](Self::user_message).
    pub async fn reasoning(&self, summary: &[&str], encrypted: Option<&str>) -> Result<Recorded> {
        let summary: Vec<String> = summary.iter().map(|&part| part.to_owned()).collect();
        self.turn
            .record(
                |call| ("reasoning", &summary, encrypted).hash(call),
                |turn, _, batch| {
                    let id = turn.new_id("rs_");
                    let response = ResponseItem::reasoning(&id, &summary, encrypted);
                    let content = ItemContent::Reasoning { summary: summary.clone(), content: Vec::new() };
                    turn.show(&turn.item(ItemId::from(id), content), batch);
                    batch.push(response.into());
                },
            )
            .await
    }

    /// Records that the model calls a function. The call shows as in progress until its recorder ends it.
    ///
    /// A call of `exec_command`, `shell` or `shell_command` with a `cmd` or `command` among its arguments shows as a
    /// command, and `mcp__server__tool` as a tool of that MCP server.
    ///
    /// # Errors
    /// As [`user_message`](Self::user_message).
    pub async fn tool_call(&self, call_id: &str, name: &str, arguments: &Value) -> Result<ToolCallRecorder> {
        self.call(call_id, ResponseItem::function_call(call_id, name, &arguments.to_string())).await
    }

    /// Records that the model calls a free-form tool, such as `apply_patch` with a patch.
    ///
    /// # Errors
    /// As [`user_message`](Self::user_message).
    pub async fn custom_tool_call(&self, call_id: &str, name: &str, input: &str) -> Result<ToolCallRecorder> {
        self.call(call_id, ResponseItem::custom_tool_call(call_id, name, input)).await
    }

    /// Records that the model runs a command line in a shell.
    ///
    /// # Errors
    /// As [`user_message`](Self::user_message).
    pub async fn command(&self, call_id: &str, command_line: &str, cwd: &str) -> Result<ToolCallRecorder> {
        let arguments = json!({"command": ["bash", "-lc", command_line], "workdir": cwd});
        self.tool_call(call_id, "shell", &arguments).await
    }

    /// Records that the model calls a tool of an MCP server.
    ///
    /// # Errors
    /// As [`user_message`](Self::user_message).
    pub async fn mcp_tool_call(
        &self,
        call_id: &str,
        server: &str,
        tool: &str,
        arguments: &Value,
    ) -> Result<ToolCallRecorder> {
        self.tool_call(call_id, &format!("mcp__{server}__{tool}"), arguments).await
    }

    async fn call(&self, call_id: &str, call: ResponseItem) -> Result<ToolCallRecorder> {
        let started_at = now();
        let key = |hasher: &mut DefaultHasher| ("call", call.json().get()).hash(hasher);
        self.turn.record(key, |_, _, batch| batch.push(call.clone().into())).await?;
        let content = shown_call(&call).ok_or_else(|| StoreError::invalid("the item is no call"))?;
        Ok(ToolCallRecorder::new(Arc::clone(&self.turn), ItemId::from(call_id.to_owned()), call, content, started_at))
    }

    /// Records a web search that the provider of the model performed.
    ///
    /// # Errors
    /// As [`user_message`](Self::user_message).
    pub async fn web_search(&self, id: &str, query: &str) -> Result<Recorded> {
        let action = json!({"type": "search", "query": query});
        let call = json!({"type": "web_search_call", "id": id, "status": "completed", "action": action});
        let content = ItemContent::WebSearch { query: query.to_owned(), action: Some(action), results: None };
        self.performed(id, &call, content).await
    }

    /// Records an image that the provider of the model generated, and where it was saved.
    ///
    /// # Errors
    /// As [`user_message`](Self::user_message).
    pub async fn generated_image(&self, id: &str, revised_prompt: &str, saved_path: &str) -> Result<Recorded> {
        let call = json!({
            "type": "image_generation_call", "id": id, "status": "completed", "revised_prompt": revised_prompt, "result": "",
        });
        let content = ItemContent::ImageGeneration {
            status: "completed".to_owned(),
            revised_prompt: Some(revised_prompt.to_owned()),
            saved_path: Some(saved_path.to_owned()),
        };
        self.performed(id, &call, content).await
    }

    /// Records a step that the provider of the model performed itself.
    async fn performed(&self, id: &str, call: &Value, content: ItemContent) -> Result<Recorded> {
        let call = ResponseItem::from_value(call).ok_or_else(|| StoreError::invalid("the item is no object"))?;
        self.turn
            .record(
                |hasher| ("performed", call.json().get()).hash(hasher),
                |turn, _, batch| {
                    turn.show(&turn.item(ItemId::from(id.to_owned()), content), batch);
                    batch.push(call.clone().into());
                },
            )
            .await
    }

    /// Records a plan that the agent proposes. The model does not see it: record what it wrote as
    /// [`agent_message`](Self::agent_message).
    ///
    /// # Errors
    /// As [`user_message`](Self::user_message).
    pub async fn plan(&self, text: &str) -> Result<Recorded> {
        let content = ItemContent::Plan { text: text.to_owned() };
        self.shown_item(content).await
    }

    /// Records an item that a client shows and the model does not see. In legacy mode only some kinds have an event;
    /// for the others this is an error.
    ///
    /// # Errors
    /// As [`user_message`](Self::user_message), and `InvalidRequest` if the mode has no event for this kind.
    pub async fn shown_item(&self, content: ItemContent) -> Result<Recorded> {
        let kind = content.kind().to_owned();
        let item = self.turn.item(ItemId::from(self.turn.new_id("")), content);
        let events = self.turn.format.events(&self.turn.id, &item);
        if events.is_empty() {
            return Err(StoreError::invalid(format!("a legacy thread has no event for an item of kind {kind}")));
        }
        let key = |call: &mut DefaultHasher| ("shown", serde_json::to_string(&item.content).ok()).hash(call);
        self.turn.record(key, |_, _, batch| batch.extend(events.into_iter().map(RolloutItem::from))).await
    }

    /// Records the tokens of a request to the model. The tokens of the thread are kept: they are those before it, and
    /// these.
    ///
    /// # Errors
    /// As [`user_message`](Self::user_message).
    pub async fn token_usage(&self, last: TokenUsage) -> Result<Recorded> {
        self.turn
            .record(
                |call| ("tokens", format!("{last:?}")).hash(call),
                |turn, state, batch| {
                    let before = state.fold.thread().token_usage.clone().unwrap_or_default();
                    let info = TokenUsageInfo {
                        total_token_usage: Some(sum(&before, &last)),
                        last_token_usage: Some(last.clone()),
                        model_context_window: turn.model_context_window,
                        ..Default::default()
                    };
                    let count = TokenCountEvent { info: Some(info), ..Default::default() };
                    batch.push(EventMsg::from(count).into());
                },
            )
            .await
    }

    /// Compacts the context within the turn: from now on the model sees `replacement_history`, in a new context window.
    /// A client shows that the context was compacted.
    ///
    /// # Errors
    /// As [`user_message`](Self::user_message).
    pub async fn compact(&self, message: &str, replacement_history: &[ResponseItem]) -> Result<ContextWindow> {
        self.turn
            .record(
                |call| {
                    ("compact", message).hash(call);
                    replacement_history.iter().for_each(|item| item.json().get().hash(call));
                },
                |turn, state, batch| {
                    let at = now();
                    let window = state.window.clone().compact(at);
                    let compaction = Compaction { message, replacement_history, window, at };
                    compaction.within(&turn.id, ItemId::from(turn.new_id("")), &turn.format, batch);
                },
            )
            .await?;
        Ok(self.turn.thread.window().await)
    }

    /// Records items as they are, as [`LiveThread::append`] does, in the order of the other calls.
    ///
    /// # Errors
    /// As [`user_message`](Self::user_message).
    pub async fn items(&self, items: &[RolloutItem]) -> Result<Recorded> {
        let key = |call: &mut DefaultHasher| ("items", serde_json::to_string(items).ok()).hash(call);
        self.turn.record(key, |_, _, batch| batch.extend_from_slice(items)).await
    }

    /// Ends the turn.
    ///
    /// # Errors
    /// As [`user_message`](Self::user_message). The turn is interrupted then, if the store lets it.
    pub async fn complete(self) -> Result<()> {
        self.end(None).await
    }

    /// Ends the turn with an error, which a client shows.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn fail(self, error: &str) -> Result<()> {
        self.end(Some(json!({"message": error}))).await
    }

    /// Interrupts the turn.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn interrupt(self) -> Result<()> {
        self.turn.record(|call| "interrupt".hash(call), |turn, _, batch| batch.push(turn.aborted())).await?;
        self.turn.progress().is_ended = true;
        Ok(())
    }

    async fn end(self, error: Option<Value>) -> Result<()> {
        let call = error.clone();
        self.turn
            .record(
                |hasher| ("end", &call).hash(hasher),
                |turn, _, batch| {
                    let at = now();
                    let complete = TaskCompleteEvent {
                        turn_id: Some(turn.id.clone()),
                        last_agent_message: turn.progress().last_agent_message.clone(),
                        started_at: Some(turn.started_at.as_seconds()),
                        completed_at: Some(at.as_seconds()),
                        duration_ms: Some(turn.millis_until(at)),
                        error,
                        ..Default::default()
                    };
                    batch.push(EventMsg::from(complete).into());
                },
            )
            .await?;
        self.turn.progress().is_ended = true;
        Ok(())
    }
}

impl Drop for TurnRecorder {
    fn drop(&mut self) {
        let is_ended = std::mem::replace(&mut self.turn.progress().is_ended, true);
        if !is_ended {
            self.turn.thread.append_soon(vec![self.turn.aborted()]);
        }
    }
}

/// Adds numbers of tokens.
fn sum(one: &TokenUsage, other: &TokenUsage) -> TokenUsage {
    let add = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
    };
    TokenUsage {
        input_tokens: add(one.input_tokens, other.input_tokens),
        cached_input_tokens: add(one.cached_input_tokens, other.cached_input_tokens),
        output_tokens: add(one.output_tokens, other.output_tokens),
        reasoning_output_tokens: add(one.reasoning_output_tokens, other.reasoning_output_tokens),
        total_tokens: add(one.total_tokens, other.total_tokens),
        ..TokenUsage::default()
    }
}
