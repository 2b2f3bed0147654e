//! What a caller says of a thread that it starts.

use std::path::Path;

use selvedge_protocol::{BaseInstructions, GitInfo, HistoryMode, SessionMeta, ThreadId};
use serde_json::{Value, json};

use crate::clock::now;
use crate::turn_settings::TurnSettings;

/// A thread to start. Everything is optional: the id, the time, the originator, its version and the working directory
/// are those of this moment and of this process, unless they are set.
///
/// ```
/// use selvedge_thread_manager::NewThread;
///
/// let thread = NewThread::in_dir("/srv/project").model("gpt-x").originator("my-agent", "1.2.0");
/// ```
#[derive(Clone, Debug, Default)]
pub struct NewThread {
    meta: SessionMeta,
    settings: TurnSettings,
}

impl NewThread {
    /// Creates a thread that works in this directory. A relative path begins in the current directory.
    #[must_use]
    pub fn in_dir(cwd: impl AsRef<Path>) -> Self {
        let mut thread = Self::default();
        thread.meta.cwd = Some(cwd.as_ref().to_string_lossy().into_owned());
        thread
    }

    /// Sets the model of its turns. A turn can have another one.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.settings = self.settings.model(model);
        self
    }

    /// Sets the provider of the model, such as `openai`.
    #[must_use]
    pub fn model_provider(mut self, provider: impl Into<String>) -> Self {
        self.meta.model_provider = Some(provider.into());
        self
    }

    /// Sets the settings of its turns, as far as a turn does not have its own.
    #[must_use]
    pub fn settings(mut self, settings: TurnSettings) -> Self {
        self.settings = settings.or(&self.settings);
        self
    }

    /// Sets the name and the version of the program that starts the thread.
    #[must_use]
    pub fn originator(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.meta.originator = Some(name.into());
        self.meta.cli_version = Some(version.into());
        self
    }

    /// Sets the kind of program that starts the thread: `cli`, `vscode`, `exec`, or another word.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.meta.source = Some(Value::String(source.into()));
        self
    }

    /// Sets the base instructions of the model.
    #[must_use]
    pub fn base_instructions(mut self, text: impl Into<String>) -> Self {
        self.meta.base_instructions = Some(BaseInstructions { text: Some(text.into()), ..Default::default() });
        self
    }

    /// Sets the state of the git repository in which the thread works.
    #[must_use]
    pub fn git(mut self, git: GitInfo) -> Self {
        self.meta.git = Some(git);
        self
    }

    /// Keeps the log in legacy mode, which older programs read. The default is paginated mode.
    #[must_use]
    pub fn legacy(mut self) -> Self {
        self.meta.history_mode = Some(HistoryMode::Legacy);
        self
    }

    /// Makes the thread a sub-agent of `parent`, with a name and a role.
    #[must_use]
    pub fn sub_agent_of(mut self, parent: ThreadId, nickname: impl Into<String>, role: impl Into<String>) -> Self {
        let (nickname, role) = (nickname.into(), role.into());
        self.meta.parent_thread_id = Some(parent);
        self.meta.source = Some(json!({"subagent": {"thread_spawn": {
            "parent_thread_id": parent, "depth": 1, "agent_nickname": nickname, "agent_role": role,
        }}}));
        self.meta.thread_source = Some("subagent".into());
        self.meta.agent_nickname = Some(nickname);
        self.meta.agent_role = Some(role);
        self
    }

    /// Sets the id. It must be new.
    #[must_use]
    pub fn id(mut self, id: ThreadId) -> Self {
        self.meta.id = Some(id);
        self
    }

    /// Returns the head of the thread and the settings of its turns.
    pub(crate) fn into_parts(mut self) -> (SessionMeta, TurnSettings) {
        let at = *self.meta.timestamp.get_or_insert_with(now);
        let id = *self.meta.id.get_or_insert_with(|| ThreadId::new(at));
        self.meta.session_id.get_or_insert(id.into());
        (self.meta, self.settings)
    }
}

impl From<SessionMeta> for NewThread {
    /// Creates a thread with this head, for callers that need fields without a method here.
    fn from(meta: SessionMeta) -> Self {
        Self { meta, settings: TurnSettings::default() }
    }
}
