//! The words of a thread.
//!
//! A *thread* is one conversation with an agent, kept as a log of *lines*. This crate names everything that the other
//! layers talk about and does nothing with it: no files, no SQL, no async, no clock. Times and new ids are made from a
//! [`Timestamp`] that the caller brings.
//!
//! # Vocabulary
//!
//! - [`ThreadId`] names a thread, [`SegmentId`] one file of it, [`SessionId`] the tree of sub-agents it belongs to and
//!   [`WindowId`] one context window, the stretch between two compactions.
//! - [`RolloutLine`] is one line of a log. It keeps its bytes: a line that was read and not changed is written again
//!   as it was, and a typed view ([`RolloutItem`]) is parsed only when somebody asks for it.
//! - [`RolloutItem`] is what a line says: [`SessionMeta`], [`ResponseItem`], [`EventMsg`], [`TurnContext`],
//!   [`Compacted`], [`WorldStateRecord`], or something this version does not know, kept whole.
//! - [`WorldState`] is what the model was told about its surroundings; it changes by RFC 7386 merge patches.
//! - [`StoredThread`] is a thread's row in a listing, [`ThreadMetadataPatch`] a change of it, [`ThreadQuery`] a
//!   question for rows and [`Page`] the answer, for every layer the same.
//! - [`Turn`] and [`TurnItem`] are what a client shows.
//! - [`Durability`] says what an acknowledgement is worth: written or synced.
//!
//! # Openness
//!
//! The format gains kinds and fields every month. Types here name the fields that a rule of this project needs and
//! carry all others in [`Extra`], so nothing that was not understood is lost on the way through.
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
mod context_window;
mod durability;
mod event;
mod filter;
mod id;
mod id_prefix;
mod item;
mod line;
pub mod log;
mod metadata;
mod open;
mod paging;
mod query;
mod repository;
mod response_item;
mod session_meta;
mod stats;
mod time;
mod turn;
mod turn_context;
mod world_state;

pub use compacted::Compacted;
pub use context_window::ContextWindow;
pub use durability::{Durability, DurabilityError};
pub use event::{
    AgentMessageEvent, AgentReasoningEvent, AgentReasoningRawContentEvent, CompletedItem, ContextCompactedEvent,
    EnteredReviewModeEvent, ErrorEvent, EventMsg, ExitedReviewModeEvent, ImageGenerationEndEvent, ItemCompletedEvent,
    McpToolCallEndEvent, PatchApplyEndEvent, TaskCompleteEvent, TaskStartedEvent, ThreadGoalUpdatedEvent,
    ThreadRolledBackEvent, ThreadSettings, ThreadSettingsAppliedEvent, TokenCountEvent, TokenUsage, TokenUsageInfo,
    TurnAbortedEvent, UserMessageEvent, WebSearchEndEvent,
};
pub use filter::{ThreadFilter, ThreadLink, descendants};
pub use id::{IdError, ItemId, SegmentId, SessionId, ThreadId, TurnId, WindowId};
pub use id_prefix::distinct_prefix_len;
pub use item::{InterAgentCommunication, RolloutItem, ThreadMetadataRecord};
pub use line::{LineError, LineFormat, RolloutLine};
pub use metadata::{GitInfo, GitInfoPatch, StoredThread, ThreadMetadataPatch};
pub use open::{Extra, OpenItem};
pub use paging::{EmptyPage, ItemPosition, PageWindow, check_limit};
pub use query::{
    ArchivedFilter, Cursor, CursorError, CwdFilter, ItemQuery, Page, Relation, SearchHit, SearchOrder, SearchQuery,
    SortDirection, ThreadCursor, ThreadQuery, ThreadSortKey, TurnQuery, TurnSelector,
};
pub use repository::{RepositoryFilter, repository_name};
pub use response_item::{ResponseItem, ResponseItemKind};
pub use session_meta::{BaseInstructions, ContextWindowMeta, HistoryBase, HistoryMode, SessionMeta};
pub use stats::{StatsCounts, StatsGroup, StatsKey, StatsQuery, ThreadStats, UtcOffset, day_text};
pub use time::{Timestamp, TimestampError};
pub use turn::{ItemStatus, ItemsView, OtherTurnItem, Turn, TurnBoundary, TurnItem, TurnItemEntry, TurnStatus};
pub use turn_context::TurnContext;
pub use world_state::{WorldState, WorldStateError, WorldStatePatch, WorldStateRecord};
