//! The thread record: what a listing shows of a thread.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{GitInfo, HistoryMode, SessionId, ThreadId, Timestamp, TokenUsage};

/// The thread record: what a listing shows of a thread. Every layer uses this one type.
///
/// A record is derived from the log of the thread, except for three facts that a store keeps beside the log: `name`,
/// `archived` and `location`. All fields but the ids and times can be unknown, because old logs do not contain them.
///
/// The values have the types and spellings of the log. Where the log has either a text or an object, a field is a
/// [`Value`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredThread {
    // Identity.
    /// The thread.
    pub id: ThreadId,
    /// The tree of sub-agents to which the thread belongs. The id of the thread itself if no other thread started it.
    pub session_id: SessionId,
    // What a listing shows to a user.
    /// The name that a user gave the thread.
    pub name: Option<String>,
    /// What the thread is about, for a listing: the first user message or the first goal, whichever came first.
    pub preview: Option<String>,
    /// The first user message, in full.
    pub first_user_message: Option<String>,
    // Times, by which a listing can be sorted.
    /// The time at which the thread was created.
    pub created_at: Timestamp,
    /// The time of the newest line of the log.
    pub updated_at: Timestamp,
    /// The time at which the newest turn began, or `created_at` if there is no turn. Unlike `updated_at`, a change of
    /// metadata does not move it.
    pub recency_at: Timestamp,
    // Where the thread is in the archive and in the tree of threads.
    /// Whether the thread is archived.
    pub archived: bool,
    /// The thread from which it was forked.
    pub forked_from_id: Option<ThreadId>,
    /// The thread that started it as a sub-agent.
    pub parent_thread_id: Option<ThreadId>,
    // Settings, as of the newest turn or the newest head that has them.
    /// The working directory as it is recorded. [`DirectoryPath`](crate::DirectoryPath) compares it with others.
    pub cwd: Option<String>,
    /// The model of the newest turn.
    pub model: Option<String>,
    /// The provider of the model.
    pub model_provider: Option<String>,
    /// The reasoning effort of the newest turn.
    pub reasoning_effort: Option<String>,
    /// When the agent asks the user for approval: a word such as `"never"`, or an object.
    pub approval_mode: Option<Value>,
    /// What commands may access, as an object such as `{"type": "disabled"}`.
    pub permission_profile: Option<Value>,
    // Origin, as of the first head.
    /// The kind of program that created the thread: a word such as `"cli"` or `"exec"`, or an object such as
    /// `{"subagent": …}`. See [`Self::source_name`].
    pub source: Option<Value>,
    /// The category of the source, in newer logs, such as `"subagent"`.
    pub thread_source: Option<Value>,
    /// The client on whose behalf the thread was created, such as `codex_exec`.
    pub originator: Option<String>,
    /// The version of the program that wrote the first line.
    pub cli_version: Option<String>,
    // The thread as a sub-agent. All are unknown for other threads.
    /// The name of a sub-agent.
    pub agent_nickname: Option<String>,
    /// The role of a sub-agent.
    pub agent_role: Option<String>,
    /// The path of a sub-agent in its tree.
    pub agent_path: Option<String>,
    // Storage.
    /// The way in which the log is kept.
    pub history_mode: HistoryMode,
    /// The location of the thread as a text for people. In a store with files, it is the path of the newest segment.
    pub location: Option<String>,
    // State that changes while the thread runs.
    /// The tokens that the thread has used so far.
    pub token_usage: Option<TokenUsage>,
    /// The state of the git repository in which the thread works.
    pub git: Option<GitInfo>,
}

impl StoredThread {
    /// Creates a record of which only the id and the time of creation are known.
    #[must_use]
    pub fn new(id: ThreadId, created_at: Timestamp) -> Self {
        Self {
            id,
            session_id: id.into(),
            name: None,
            preview: None,
            first_user_message: None,
            created_at,
            updated_at: created_at,
            recency_at: created_at,
            archived: false,
            forked_from_id: None,
            parent_thread_id: None,
            cwd: None,
            model: None,
            model_provider: None,
            reasoning_effort: None,
            approval_mode: None,
            permission_profile: None,
            source: None,
            thread_source: None,
            originator: None,
            cli_version: None,
            agent_nickname: None,
            agent_role: None,
            agent_path: None,
            history_mode: HistoryMode::Legacy,
            location: None,
            token_usage: None,
            git: None,
        }
    }

    /// Returns the name of the source. If the source is an object, this is its first key: `subagent` for `{"subagent":
    /// …}`.
    #[must_use]
    pub fn source_name(&self) -> Option<&str> {
        match self.source.as_ref()? {
            Value::String(name) => Some(name),
            Value::Object(object) => object.keys().next().map(String::as_str),
            _ => None,
        }
    }
}
