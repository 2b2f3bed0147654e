//! The settings of a turn.

use selvedge_protocol::{StoredThread, TurnContext, TurnId};
use serde_json::Value;

use crate::working_directory::absolute;

/// The settings of a turn. What is not set is as in the turn before, and in the first turn as the thread was started.
#[derive(Clone, Debug, Default)]
pub struct TurnSettings {
    context: TurnContext,
    model_context_window: Option<u64>,
}

impl TurnSettings {
    /// Sets the model.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.context.model = Some(model.into());
        self
    }

    /// Sets the reasoning effort, such as `high`.
    #[must_use]
    pub fn effort(mut self, effort: impl Into<String>) -> Self {
        self.context.effort = Some(effort.into());
        self
    }

    /// Sets the working directory. A relative path begins in the current directory.
    #[must_use]
    pub fn cwd(mut self, cwd: impl AsRef<std::path::Path>) -> Self {
        self.context.cwd = Some(absolute(&cwd.as_ref().to_string_lossy()));
        self
    }

    /// Sets when the agent asks the user for approval: `never`, `on-request`, or another word.
    #[must_use]
    pub fn approval_policy(mut self, policy: impl Into<String>) -> Self {
        self.context.approval_policy = Some(Value::String(policy.into()));
        self
    }

    /// Sets what commands may access, as an object such as `{"type": "danger-full-access"}`.
    #[must_use]
    pub fn sandbox_policy(mut self, policy: Value) -> Self {
        self.context.sandbox_policy = Some(policy);
        self
    }

    /// Sets the id of the turn. Without one, it gets a new id.
    #[must_use]
    pub fn turn_id(mut self, id: TurnId) -> Self {
        self.context.turn_id = Some(id);
        self
    }

    /// Sets the size of the model's context window, in tokens.
    #[must_use]
    pub fn model_context_window(mut self, tokens: u64) -> Self {
        self.model_context_window = Some(tokens);
        self
    }

    /// Returns these settings, and those of `earlier` where nothing is set. The id of a turn is its own.
    #[must_use]
    pub(crate) fn or(mut self, earlier: &Self) -> Self {
        let (context, before) = (&mut self.context, &earlier.context);
        context.model = context.model.take().or_else(|| before.model.clone());
        context.effort = context.effort.take().or_else(|| before.effort.clone());
        context.cwd = context.cwd.take().or_else(|| before.cwd.clone());
        context.approval_policy = context.approval_policy.take().or_else(|| before.approval_policy.clone());
        context.sandbox_policy = context.sandbox_policy.take().or_else(|| before.sandbox_policy.clone());
        self.model_context_window = self.model_context_window.or(earlier.model_context_window);
        self
    }

    /// Returns the settings that a thread record contains.
    pub(crate) fn of_thread(thread: &StoredThread) -> Self {
        let context = TurnContext {
            model: thread.model.clone(),
            effort: thread.reasoning_effort.clone(),
            cwd: thread.cwd.clone(),
            approval_policy: thread.approval_mode.clone(),
            ..TurnContext::default()
        };
        Self { context, model_context_window: None }
    }

    /// Returns the payload of the line that records the settings of turn `turn_id`, and the size of the context window.
    pub(crate) fn into_parts(self, turn_id: &TurnId) -> (TurnContext, Option<u64>) {
        (TurnContext { turn_id: Some(turn_id.clone()), ..self.context }, self.model_context_window)
    }

    /// Returns the id that the turn is to have.
    pub(crate) fn wanted_id(&self) -> Option<&TurnId> {
        self.context.turn_id.as_ref()
    }
}
