//! A thread's row: what a listing says of it, and how that is changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::open::open_object;
use crate::{HistoryMode, SessionId, ThreadId, Timestamp, TokenUsage};

open_object! {
    /// State of the repository that a thread works in.
    pub struct GitInfo {
        /// Hash of the commit that is checked out.
        commit_hash: String,
        /// Branch that is checked out.
        branch: String,
        /// Where the repository was cloned from.
        repository_url: String,
    }
}

impl GitInfo {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commit_hash.is_none() && self.branch.is_none() && self.repository_url.is_none() && self.extra.is_empty()
    }
}

/// What a listing says of a thread. Every layer uses this one type.
///
/// All but the ids and times may be unknown: old logs do not say them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredThread {
    /// The thread.
    pub id: ThreadId,
    /// The tree of sub-agents that it belongs to.
    pub session_id: SessionId,
    /// Name that somebody gave it.
    pub name: Option<String>,
    /// What it is about: the first user message or the first goal, whichever came first.
    pub preview: Option<String>,
    /// The whole of the first user message.
    pub first_user_message: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its log last grew.
    pub updated_at: Timestamp,
    /// When its newest turn began; when it was created, if it has none.
    pub recency_at: Timestamp,
    /// Whether it was archived.
    pub archived: bool,
    /// The thread that it was forked from.
    pub forked_from_id: Option<ThreadId>,
    /// The thread that started it as a sub-agent.
    pub parent_thread_id: Option<ThreadId>,
    /// Working directory.
    pub cwd: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Provider of the model.
    pub model_provider: Option<String>,
    /// Reasoning effort.
    pub reasoning_effort: Option<String>,
    /// When to ask for approval.
    pub approval_mode: Option<Value>,
    /// What commands may touch.
    pub permission_profile: Option<Value>,
    /// Where it comes from: `"cli"`, `"exec"`, … or an object.
    pub source: Option<Value>,
    /// What kind of source that is.
    pub thread_source: Option<Value>,
    /// The client that asked for it.
    pub originator: Option<String>,
    /// Version of the program that wrote its first line.
    pub cli_version: Option<String>,
    /// Name of a sub-agent.
    pub agent_nickname: Option<String>,
    /// Role of a sub-agent.
    pub agent_role: Option<String>,
    /// Path of a sub-agent in its tree.
    pub agent_path: Option<String>,
    /// How its log is kept.
    pub history_mode: HistoryMode,
    /// Where it is stored, as a text for people: the file of its newest segment, in a store that keeps files.
    pub location: Option<String>,
    /// Tokens used so far.
    pub token_usage: Option<TokenUsage>,
    /// State of the repository that it works in.
    pub git: Option<GitInfo>,
}

impl StoredThread {
    /// A thread of which nothing is known but its id and when it was created.
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

    /// The name of the thread's source: of an object its first key (`subagent`).
    #[must_use]
    pub fn source_name(&self) -> Option<&str> {
        match self.source.as_ref()? {
            Value::String(name) => Some(name),
            Value::Object(object) => object.keys().next().map(String::as_str),
            _ => None,
        }
    }
}

/// Reads a field that is there: `null` is `Some(None)`, *clear*. A field that is missing stays `None`, *leave*.
fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

macro_rules! patch {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            set { $( $(#[$set_meta:meta])* $set:ident : $set_ty:ty ),* $(,)? }
            clear { $( $(#[$clear_meta:meta])* $clear:ident : $clear_ty:ty ),* $(,)? }
            nested { $( $(#[$nested_meta:meta])* $nested:ident : $nested_ty:ty ),* $(,)? }
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $( $(#[$set_meta])* #[serde(skip_serializing_if = "Option::is_none")] pub $set: Option<$set_ty>, )*
            $( $(#[$clear_meta])*
               #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
               pub $clear: Option<Option<$clear_ty>>, )*
            $( $(#[$nested_meta])*
               #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
               pub $nested: Option<Option<$nested_ty>>, )*
            /// Fields of a later version, kept and not applied.
            #[serde(flatten, skip_serializing_if = "BTreeMap::is_empty")]
            pub extra: BTreeMap<String, Value>,
        }

        impl $name {
            /// Whether the patch leaves everything as it is.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.extra.is_empty() $( && self.$set.is_none() )* $( && self.$clear.is_none() )*
                    $( && self.$nested.as_ref().is_none_or(|nested| nested.as_ref().is_some_and(|nested| nested.is_empty())) )*
            }

            /// Adds a later patch: what it says wins, nested objects field by field.
            pub fn merge(&mut self, later: Self) {
                self.extra.extend(later.extra);
                $( if later.$set.is_some() { self.$set = later.$set; } )*
                $( if later.$clear.is_some() { self.$clear = later.$clear; } )*
                $( match (&mut self.$nested, later.$nested) {
                    (_, None) => {}
                    (Some(Some(earlier)), Some(Some(later))) => earlier.merge(later),
                    // What stood before was cleared: only what the later patch sets is left.
                    (Some(None), Some(Some(later))) => self.$nested = Some(Some(later.over_cleared())),
                    (earlier, later) => *earlier = later,
                } )*
            }
        }
    };
}

patch! {
    /// A change of [`GitInfo`], field by field.
    pub struct GitInfoPatch {
        set {}
        clear {
            /// Hash of the commit that is checked out.
            commit_hash: String,
            /// Branch that is checked out.
            branch: String,
            /// Where the repository was cloned from.
            repository_url: String,
        }
        nested {}
    }
}

impl GitInfoPatch {
    /// The patch that sets what `git` knows.
    #[must_use]
    pub fn set_all(git: &GitInfo) -> Self {
        Self {
            commit_hash: git.commit_hash.clone().map(Some),
            branch: git.branch.clone().map(Some),
            repository_url: git.repository_url.clone().map(Some),
            extra: BTreeMap::new(),
        }
    }

    /// This patch after a patch that cleared the whole object: every field is said.
    fn over_cleared(self) -> Self {
        Self {
            commit_hash: Some(self.commit_hash.flatten()),
            branch: Some(self.branch.flatten()),
            repository_url: Some(self.repository_url.flatten()),
            extra: self.extra,
        }
    }

    /// Makes the change.
    pub fn apply(&self, git: &mut GitInfo) {
        set(&self.commit_hash, &mut git.commit_hash);
        set(&self.branch, &mut git.branch);
        set(&self.repository_url, &mut git.repository_url);
    }
}

patch! {
    /// A change of a thread's metadata: every field literal, a missing field left as it is, `null` cleared. `{}` changes
    /// nothing.
    pub struct ThreadMetadataPatch {
        set {
            /// When the thread was created.
            created_at: Timestamp,
            /// When its log last grew.
            updated_at: Timestamp,
            /// When its newest turn began.
            recency_at: Timestamp,
            /// The tree of sub-agents that it belongs to.
            session_id: SessionId,
            /// How its log is kept.
            history_mode: HistoryMode,
        }
        clear {
            /// Name that somebody gave it.
            name: String,
            /// What it is about.
            preview: String,
            /// The whole of the first user message.
            first_user_message: String,
            /// The thread that it was forked from.
            forked_from_id: ThreadId,
            /// The thread that started it as a sub-agent.
            parent_thread_id: ThreadId,
            /// Working directory.
            cwd: String,
            /// Model.
            model: String,
            /// Provider of the model.
            model_provider: String,
            /// Reasoning effort.
            reasoning_effort: String,
            /// When to ask for approval.
            approval_mode: Value,
            /// What commands may touch.
            permission_profile: Value,
            /// Where it comes from.
            source: Value,
            /// What kind of source that is.
            thread_source: Value,
            /// The client that asked for it.
            originator: String,
            /// Version of the program that wrote its first line.
            cli_version: String,
            /// Name of a sub-agent.
            agent_nickname: String,
            /// Role of a sub-agent.
            agent_role: String,
            /// Path of a sub-agent in its tree.
            agent_path: String,
            /// Tokens used so far.
            token_usage: TokenUsage,
        }
        nested {
            /// State of the repository that it works in.
            git: GitInfoPatch,
        }
    }
}

fn set<T: Clone>(change: &Option<Option<T>>, field: &mut Option<T>) {
    if let Some(value) = change {
        field.clone_from(value);
    }
}

impl ThreadMetadataPatch {
    /// Makes the change.
    pub fn apply(&self, thread: &mut StoredThread) {
        if let Some(at) = self.created_at {
            thread.created_at = at;
        }
        if let Some(at) = self.updated_at {
            thread.updated_at = at;
        }
        if let Some(at) = self.recency_at {
            thread.recency_at = at;
        }
        if let Some(id) = self.session_id {
            thread.session_id = id;
        }
        if let Some(mode) = self.history_mode {
            thread.history_mode = mode;
        }
        set(&self.name, &mut thread.name);
        set(&self.preview, &mut thread.preview);
        set(&self.first_user_message, &mut thread.first_user_message);
        set(&self.forked_from_id, &mut thread.forked_from_id);
        set(&self.parent_thread_id, &mut thread.parent_thread_id);
        set(&self.cwd, &mut thread.cwd);
        set(&self.model, &mut thread.model);
        set(&self.model_provider, &mut thread.model_provider);
        set(&self.reasoning_effort, &mut thread.reasoning_effort);
        set(&self.approval_mode, &mut thread.approval_mode);
        set(&self.permission_profile, &mut thread.permission_profile);
        set(&self.source, &mut thread.source);
        set(&self.thread_source, &mut thread.thread_source);
        set(&self.originator, &mut thread.originator);
        set(&self.cli_version, &mut thread.cli_version);
        set(&self.agent_nickname, &mut thread.agent_nickname);
        set(&self.agent_role, &mut thread.agent_role);
        set(&self.agent_path, &mut thread.agent_path);
        set(&self.token_usage, &mut thread.token_usage);
        match &self.git {
            None => {}
            Some(None) => thread.git = None,
            Some(Some(patch)) => {
                let mut git = thread.git.take().unwrap_or_default();
                patch.apply(&mut git);
                thread.git = (!git.is_empty()).then_some(git);
            }
        }
    }
}
