//! The head of a segment: its first line, a `session_meta`.
//!
//! A head identifies the thread and the segment, and names the segment whose history this one continues, if there is
//! one.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::open_object::open_object;
use crate::{GitInfo, SegmentId, SessionId, ThreadId, Timestamp, WindowId};

/// The way in which the log of a thread is kept.
///
/// | | legacy | paginated |
/// | --- | --- | --- |
/// | `ordinal` | on no line | on every line: its number in the history, counted from 0 |
/// | what events show | each kind has its own, such as `user_message` | `item_completed`, each with its whole item |
/// | rewind | appends a `thread_rolled_back` event | begins a new segment, and abandons the old one |
/// | fork | copies the history | refers to the history ([`HistoryBase`]) |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryMode {
    /// Lines have no ordinals. A rewind is an event, and a fork is a copy. A head that names no mode is of this mode.
    #[default]
    Legacy,
    /// Every line has an ordinal. A rewind is a new segment, and a fork is a reference.
    Paginated,
}

impl HistoryMode {
    /// Returns the mode as the log spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Paginated => "paginated",
        }
    }
}

open_object! {
    /// The inherited prefix of a segment: its history begins with the lines of another segment, up to a certain line.
    ///
    /// A fork and a revert write such a base instead of a copy of the history. The base can have a base of its own, so
    /// a history is a chain of segments:
    ///
    /// ```text
    /// segment A     ordinals  0  1  2  3  4  5
    /// segment B               └──┴──┴─┐  3  4        base: A, end_ordinal_exclusive 3
    /// history of B            0  1  2    3  4        0 to 2 are lines of A, 3 and 4 are lines of B
    /// ```
    ///
    /// Ordinals count along the history and not along the file: the first line of B, its head, has ordinal 3. So an
    /// ordinal alone does not identify a line of a thread. Here, 3 to 5 in A are other lines than 3 and 4 in B.
    ///
    /// The end is named twice. A reader looks for the ordinal first. It uses the byte offset if two lines of the base
    /// have the same ordinal or if the line is damaged.
    pub struct HistoryBase {
        /// The id of the base *segment*. The wire format calls it `thread_id`, because the first segment of a thread
        /// has the id of the thread.
        thread_id: SegmentId,
        /// The ordinal at which the inherited prefix ends: that of the first line of the base that is not part of the
        /// history.
        end_ordinal_exclusive: u64,
        /// The offset at which the inherited prefix ends, in bytes of the uncompressed base. The byte before it is a
        /// newline.
        end_byte_offset: u64,
    }
}

open_object! {
    /// The base instructions of a thread, which a program gives the model.
    pub struct BaseInstructions {
        /// The text of the instructions.
        text: String,
    }
}

open_object! {
    /// The context window with which a thread starts, as a head records it.
    pub struct ContextWindowMeta {
        /// The id of the window.
        window_id: WindowId,
    }
}

open_object! {
    /// Payload of a `session_meta` line.
    ///
    /// A log can contain several of them:
    ///
    /// - The first one is the *head* of its segment. It identifies the thread.
    /// - A later one with the same thread id updates the metadata of the thread (legacy mode).
    /// - A later one with another thread id belongs to the history that a fork by copy inherited. It does not describe
    ///   this thread.
    pub struct SessionMeta {
        // Identity, and links to other threads.
        /// The tree of sub-agents to which the thread belongs. If missing, it is the id of the thread.
        session_id: SessionId,
        /// The id of the thread.
        id: ThreadId,
        /// The thread from which this one was forked.
        forked_from_id: ThreadId,
        /// The ordinal at which a fork by reference leaves its source: that of the first line that is not inherited.
        forked_from_ordinal_exclusive: u64,
        /// The thread that started this one as a sub-agent.
        parent_thread_id: ThreadId,
        // The program that writes the segment, and where it runs.
        /// The time at which the segment was created, according to the program that created it.
        timestamp: Timestamp,
        /// The working directory.
        cwd: String,
        /// The client on whose behalf the thread was created, such as `codex_exec`.
        originator: String,
        /// The version of the program that wrote the segment.
        cli_version: String,
        /// The kind of program that created the thread: a word such as `"cli"` or `"exec"`, or an object such as
        /// `{"subagent": …}`.
        source: Value,
        /// The category of the source, in newer files, such as `"subagent"`.
        thread_source: Value,
        // The thread as a sub-agent.
        /// The name of a sub-agent.
        agent_nickname: String,
        /// The role of a sub-agent. Some files call it `agent_type`.
        agent_role: String ["agent_type"],
        /// The path of a sub-agent in its tree.
        agent_path: String,
        /// The ordinal at which the sub-agent's own lines begin. The lines before it, except the head, were copied from
        /// the parent: the model sees them, but they are no part of what the sub-agent said and did.
        subagent_history_start_ordinal: u64,
        /// The version of the rules by which agents work together, such as `v1` or `v2`.
        multi_agent_version: String,
        // The model, and what it is given before the first turn.
        /// The provider of the model.
        model_provider: String,
        /// The base instructions of the thread.
        base_instructions: BaseInstructions,
        /// The tools that the client offers to the model. A `dynamic_tools_updated` line replaces them.
        dynamic_tools: Value,
        /// Whether the program makes memories of the thread; `disabled` if it does not.
        memory_mode: String,
        /// The directories that the thread works in, besides `cwd`.
        runtime_workspace_roots: Vec<String>,
        /// The places whose capabilities were selected: objects with `id` and `location`.
        selected_capability_roots: Value,
        /// Whether the thread belongs to the account that is logged in.
        account_scoped: bool,
        // The log and its history.
        /// The way in which the log is kept. If missing, the log is legacy.
        history_mode: HistoryMode,
        /// The inherited prefix of the history. If missing, the history begins with this line.
        history_base: HistoryBase,
        /// The inherited prefix that the thread had before it was detached. A detach copies the whole history into one
        /// segment, which then needs no base. The lines before `end_ordinal_exclusive` are copies of inherited lines.
        copied_base: HistoryBase,
        /// How many bytes directly after the head a fork by copy has from its source (legacy mode). They are no part of
        /// what the fork said and did. Only Selvedge writes it.
        copied_bytes: u64,
        // The state in which the thread starts.
        /// The context window with which the thread starts.
        context_window: ContextWindowMeta,
        /// The state of the git repository in which the thread works.
        git: GitInfo,
    }
}

open_object! {
    /// How a sub-agent was started: `subagent.thread_spawn` in the source of its head. In older heads only this names
    /// the parent.
    pub struct ThreadSpawn {
        /// The thread that started the sub-agent.
        parent_thread_id: ThreadId,
        /// The number of threads above it in its tree.
        depth: u64,
        /// The name of the sub-agent.
        agent_nickname: String,
        /// The role of the sub-agent.
        agent_role: String ["agent_type"],
        /// The path of the sub-agent in its tree.
        agent_path: String,
    }
}

impl SessionMeta {
    /// Creates the head of a new paginated thread, with its id and time of creation. The caller sets the other fields.
    #[must_use]
    pub fn new(id: ThreadId, timestamp: Timestamp) -> Self {
        Self {
            session_id: Some(id.into()),
            id: Some(id),
            timestamp: Some(timestamp),
            history_mode: Some(HistoryMode::Paginated),
            ..Self::default()
        }
    }

    /// Returns the way in which the log is kept. Legacy if the line does not name it.
    #[must_use]
    pub fn mode(&self) -> HistoryMode {
        self.history_mode.unwrap_or_default()
    }

    /// Returns whether the source is that of a sub-agent.
    #[must_use]
    pub fn is_of_subagent(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.get("subagent").is_some())
    }

    /// Returns how the thread was started as a sub-agent, as the source describes it. The fields of the head itself
    /// count more. `None` for other threads.
    #[must_use]
    pub fn thread_spawn(&self) -> Option<ThreadSpawn> {
        let spawn = self.source.as_ref()?.get("subagent")?.get("thread_spawn")?;
        serde_json::from_str(&spawn.to_string()).ok()
    }

    /// Returns the id of the context window with which the thread starts.
    #[must_use]
    pub fn window_id(&self) -> Option<WindowId> {
        self.context_window.as_ref().and_then(|window| window.window_id)
    }
}
