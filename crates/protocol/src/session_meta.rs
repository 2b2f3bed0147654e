//! The first line of every segment: whose file this is and where its history begins.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::metadata::GitInfo;
use crate::open::open_object;
use crate::{SegmentId, SessionId, ThreadId, Timestamp, WindowId};

/// How a thread's log is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryMode {
    /// No ordinals; what a client shows comes from events such as `user_message`; undo is a `thread_rolled_back` event and a
    /// fork a full copy. The mode of every file that names none.
    #[default]
    Legacy,
    /// An ordinal on every line; what a client shows comes from `item_completed`; undo is a new segment and a fork a
    /// reference ([`HistoryBase`]).
    Paginated,
}

impl HistoryMode {
    /// The mode as the log spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Paginated => "paginated",
        }
    }
}

open_object! {
    /// Where a segment's history begins: with the first lines of another segment, up to a point.
    pub struct HistoryBase {
        /// The *segment* that is built on. For the first segment of a thread this is the thread's id.
        thread_id: SegmentId,
        /// The ordinal of the first line of the base that is not part of the history.
        end_ordinal_exclusive: u64,
        /// The byte of the base file where the history ends, just past a newline.
        end_byte_offset: u64,
    }
}

open_object! {
    /// The instructions that the thread runs under.
    pub struct BaseInstructions {
        /// The instructions.
        text: String,
    }
}

open_object! {
    /// The context window that a thread starts in.
    pub struct ContextWindowMeta {
        /// The window's id.
        window_id: WindowId,
    }
}

open_object! {
    /// Payload of a `session_meta` line. The first one of a file is the thread's own; later ones with the same id update
    /// it, and ones with another id are history that a full-copy fork inherited.
    pub struct SessionMeta {
        /// The tree of sub-agents that the thread belongs to; the thread's own id when missing.
        session_id: SessionId,
        /// The thread.
        id: ThreadId,
        /// The thread that this one was forked from.
        forked_from_id: ThreadId,
        /// For a fork by reference: the ordinal of the source where the fork leaves it.
        forked_from_ordinal_exclusive: u64,
        /// The thread that started this one as a sub-agent.
        parent_thread_id: ThreadId,
        /// When the segment was created.
        timestamp: Timestamp,
        /// Working directory.
        cwd: String,
        /// The client that asked for the thread.
        originator: String,
        /// Version of the program that wrote the segment.
        cli_version: String,
        /// Where the thread comes from: `"cli"`, `"exec"`, … or an object (`{"subagent": …}`).
        source: Value,
        /// What kind of source it is, in newer files.
        thread_source: Value,
        /// Name of a sub-agent.
        agent_nickname: String,
        /// Role of a sub-agent.
        agent_role: String ["agent_type"],
        /// Path of a sub-agent in its tree.
        agent_path: String,
        /// Provider of the model.
        model_provider: String,
        /// Instructions.
        base_instructions: BaseInstructions,
        /// Tools that the client brought.
        dynamic_tools: Value,
        /// How the log is kept; legacy when missing.
        history_mode: HistoryMode,
        /// Where the history begins, when not with this line.
        history_base: HistoryBase,
        /// Where the history began before it was copied: on the head of a segment that holds all of it, so that it builds on
        /// nothing. The lines before this ordinal are those of the base.
        copied_base: HistoryBase,
        /// The window that the thread starts in.
        context_window: ContextWindowMeta,
        /// State of the repository that the thread works in.
        git: GitInfo,
    }
}

impl SessionMeta {
    /// The head of a new thread: its id and time, paginated, and no more.
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

    /// How the log is kept; legacy where the line does not say.
    #[must_use]
    pub fn mode(&self) -> HistoryMode {
        self.history_mode.unwrap_or_default()
    }

    /// The window that the thread starts in.
    #[must_use]
    pub fn window_id(&self) -> Option<WindowId> {
        self.context_window.as_ref().and_then(|window| window.window_id)
    }
}
