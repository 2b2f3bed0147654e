//! The vocabulary of a thread: the types that every other crate of the workspace uses.
//!
//! The [glossary](../../../docs/glossary.md) defines the terms.
//!
//! A *thread* is one conversation with an agent, kept as a log of *lines*. This crate defines the types and their pure
//! rules. It has no side effects: it opens no file, runs no SQL, starts no task and reads no clock. A caller that makes
//! an id or a time passes in the current [`Timestamp`].
//!
//! # Vocabulary
//!
//! Ids:
//!
//! - [`ThreadId`] identifies a thread, [`SegmentId`] one file of it, and [`SessionId`] the tree of sub-agents to which
//!   it belongs.
//! - [`WindowId`] identifies a context window: the part of a thread between two compactions.
//! - [`TurnId`] and [`ItemId`] identify a turn of a thread and an item of a turn.
//!
//! The log:
//!
//! - [`RolloutLine`] is one line of a log. It keeps its bytes: a line that was read and not changed is written again
//!   byte by byte as it was. The typed view ([`RolloutItem`]) is parsed only on request.
//! - [`RolloutItem`] is the content of a line: [`SessionMeta`], [`ResponseItem`], [`EventMsg`], [`TurnContext`],
//!   [`Compacted`], [`WorldStateRecord`], or a kind that this version does not know, which is kept whole.
//! - [`HistoryMode`] is the way in which a log is kept: *legacy* or *paginated*. In a paginated log each line has an
//!   *ordinal*, and a segment can continue the history of another segment ([`HistoryBase`]).
//! - [`WorldState`] describes the surroundings as the model knows them. It changes by RFC 7386 merge patches.
//! - [`mod@log`] splits the bytes of a log into intact lines and damaged ranges.
//!
//! Derived from the log:
//!
//! - [`StoredThread`] is the thread record, which a listing shows. [`ThreadMetadataPatch`] changes it.
//! - [`Turn`] and [`TurnItem`] are what a client shows of a conversation.
//!
//! Requests and answers:
//!
//! - [`ThreadQuery`], [`SearchQuery`], [`TurnQuery`], [`ItemQuery`] and [`StatsQuery`] are the queries, and [`Page`]
//!   with its [`Cursor`] is the shape of an answer. Every layer uses the same ones.
//! - [`TurnBoundary`] is a position between two turns, at which a thread is forked or rewound.
//! - [`Durability`] is the promise of an acknowledgement: `written` or `synced`.
//!
//! # Unknown kinds and fields are kept
//!
//! New versions of the programs that write the format add kinds and fields every month. A type of this crate names only
//! the fields that a rule of this workspace needs. It keeps all others in [`Extra`], so a copy, a fork or an export
//! loses nothing. Named fields are optional for the same reason: a field that is missing or has an unexpected shape
//! does not make its line unreadable.
//!
//! ```
//! use selvedge_protocol::{ResponseItem, RolloutItem, RolloutLine, Timestamp};
//!
//! let at: Timestamp = "2026-11-21T09:08:56.680Z".parse()?;
//! let item = RolloutItem::ResponseItem(ResponseItem::user_text("hello"));
//! let line = RolloutLine::new(at, None, &item);
//! let again = RolloutLine::parse(line.text())?;
//! assert_eq!(again.text(), line.text());
//! assert_eq!(again.item(), item);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compacted;
mod completed_item;
mod context_window;
mod durability;
mod dynamic_tools;
mod event;
mod git_info;
mod id;
mod id_prefix;
mod item;
mod lazy_json;
mod line;
mod line_parts;
pub mod log;
mod lone_surrogates;
mod metadata_patch;
mod open_item;
mod open_object;
mod query;
mod realtime_item;
mod repository_url;
mod response_item;
mod retained_context;
mod session_meta;
mod stored_thread;
mod time;
mod token_usage;
mod turn;
mod turn_boundary;
mod turn_context;
mod turn_item;
mod world_state;

pub use compacted::{Compacted, HistoryItemMetadata, ResumeMetadata};
pub use completed_item::CompletedItem;
pub use context_window::ContextWindow;
pub use durability::{Durability, DurabilityError};
pub use dynamic_tools::DynamicToolsUpdated;
pub use event::{
    AgentMessageEvent, AgentReasoningEvent, AgentReasoningRawContentEvent, ContextCompactedEvent,
    EnteredReviewModeEvent, ErrorEvent, EventMsg, ExitedReviewModeEvent, ImageGenerationEndEvent, ItemCompletedEvent,
    McpToolCallEndEvent, PatchApplyEndEvent, TaskCompleteEvent, TaskStartedEvent, ThreadGoalUpdatedEvent,
    ThreadRolledBackEvent, ThreadSettings, ThreadSettingsAppliedEvent, TokenCountEvent, TurnAbortedEvent,
    UserMessageEvent, WebSearchEndEvent,
};
pub use git_info::GitInfo;
pub use id::{IdError, ItemId, SegmentId, SessionId, ThreadId, TurnId, WindowId};
pub use id_prefix::distinct_prefix_len;
pub use item::{
    InterAgentCommunication, InterAgentCommunicationMetadata, RolloutItem, SecurityRiskScore, ThreadMetadataRecord,
};
pub use line::{LineError, RolloutLine};
pub use line_parts::LineFormat;
pub use lone_surrogates::without_lone_surrogates;
pub use metadata_patch::{GitInfoPatch, ThreadMetadataPatch};
pub use open_item::OpenItem;
pub use open_object::Extra;
pub use query::{
    ArchivedFilter, Cursor, CursorError, CwdFilter, DirectoryFilter, DirectoryPath, ItemPosition, ItemQuery, Page,
    PageWindow, Relation, RepositoryFilter, SearchHit, SearchOrder, SearchQuery, SortDirection, StatsCounts,
    StatsGroup, StatsKey, StatsQuery, ThreadCursor, ThreadFilter, ThreadLink, ThreadQuery, ThreadSortKey, ThreadStats,
    TurnQuery, TurnSelector, UtcOffset, ZeroLimit, check_limit, day_text, descendants, repository_name,
};
pub use realtime_item::RealtimeItem;
pub use repository_url::RepositoryUrl;
pub use response_item::{ResponseItem, ResponseItemKind};
pub use retained_context::{AnsweredQuestion, RetainedContext};
pub use session_meta::{BaseInstructions, ContextWindowMeta, HistoryBase, HistoryMode, SessionMeta, ThreadSpawn};
pub use stored_thread::StoredThread;
pub use time::{Timestamp, TimestampError};
pub use token_usage::{TokenUsage, TokenUsageInfo, TokenUsageRecord};
pub use turn::{ItemsView, Turn, TurnStatus};
pub use turn_boundary::TurnBoundary;
pub use turn_context::TurnContext;
pub use turn_item::{ItemContent, ItemOrigin, ItemStatus, OtherTurnItem, TurnItem, TurnItemEntry};
pub use world_state::{WorldState, WorldStateError, WorldStatePatch, WorldStateRecord};
