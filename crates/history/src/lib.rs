//! The meaning of a thread.
//!
//! The [glossary](../../../docs/glossary.md) defines the terms.
//!
//! The log of a thread is a list of items. This crate derives from them what a listing shows, what a client shows, and what the
//! model sees. Everything here is a pure fold: items in, in order, and a value out. There are no files, no stores, no async code
//! and no clock. So the same rule holds for a live thread, a file on disk and an import.
//!
//! # Vocabulary
//!
//! - The *persistence policy* ([`is_persisted`]) decides which items are written to the log.
//! - *Metadata* ([`MetadataFold`]) is what a listing shows of a thread: preview, model, times, token usage. [`metadata_items()`]
//!   returns the items that record an explicit change of it.
//! - *Replay* ([`Replay`], [`replay()`]) computes the [`ModelContext`]: what the model sees next, and which world state it knows.
//!   [`ContextTail`] finds how much of the end of a history a replay needs. The context is verbatim; [`ReplayOptions`] give it as
//!   Codex sends it.
//! - *Turns* ([`TurnProjection`]) are what a client shows, and where a thread can be forked and rewound. Events tell what they
//!   contain; what no event tells comes from the items of the model.
//! - A *turn index* ([`turn_index`]) says where turns are, so that a store reads a page of them without the lines of others.
//! - A *boundary* ([`resolve_boundary`]) is a position between two turns, to fork at or to revert to. [`BoundarySearch`] finds it
//!   from the end of a history. The segment that begins there needs a *head* ([`fork_head`]), a base ([`BaseFinder`]) and the
//!   metadata of the thread ([`CarriedMetadata`], [`revert_items`]).
//! - An *inherited prefix* ([`InheritedPrefix`]) consists of those lines of a segment that belong to the history of a segment that
//!   builds on it.
//! - A *search* ([`TextSearch`]) finds a text in names and turns, and ranks threads. Keys of words ([`ranking::keys`]) let a database
//!   propose what may match.
//! - A *context fragment* ([`context_fragments`]) is a message of role `user` or `developer` that the program wrote to describe the
//!   environment to the model. It is no message of the user.
//! - The *token budget* ([`TokenBudget`]) is the context fragment with the ids of a thread's context windows.
//! - An *activity* ([`ThreadActivity`], [`ActivityFold`]) says what happened in a thread and when: its turns, and the tokens that were
//!   spent. [`StatsFold`] adds up those of many threads.
//! - *Trackers* ([`WorldStateTracker`], [`ContextWindowTracker`]) follow a live thread and determine what it writes next.
//!
//! There are two ways to undo turns. A legacy thread appends a `thread_rolled_back` event, and every fold applies it as
//! [`Replay`] describes. A paginated thread begins a new segment that inherits less; its folds never get the undone lines.
//!
//! # Example
//!
//! ```
//! use selvedge_history::{TurnProjection, replay};
//! use selvedge_protocol::{ResponseItem, RolloutItem, RolloutLine, Timestamp};
//!
//! let items: Vec<RolloutItem> = vec![
//!     ResponseItem::user_text("<environment_context>…</environment_context>").into(),
//!     ResponseItem::user_text("hello").into(),
//!     ResponseItem::assistant_text("good morning").into(),
//! ];
//! assert_eq!(replay(&items).history.len(), 3);
//!
//! // No event shows these messages, so the turn is taken from the items of the model.
//! let mut turns = TurnProjection::new();
//! for (position, item) in (0..).zip(&items) {
//!     turns.push(position, &RolloutLine::new(Timestamp::default(), None, item));
//! }
//! let turns = turns.finish();
//! assert_eq!((turns.len(), turns[0].items.len()), (1, 2));
//! ```

mod activity;
mod activity_fold;
mod bare_lines;
mod base_finder;
mod boundary;
mod boundary_search;
mod carried_metadata;
pub mod context_fragments;
mod context_tail;
mod context_window;
mod copied_lines;
mod inherited_prefix;
pub mod known_kinds;
mod legacy_compaction;
mod line_prefilter;
mod metadata_fold;
mod metadata_items;
mod model_item;
mod payload_fields;
mod persistence_policy;
mod projected_turn;
pub mod ranking;
mod replay;
mod rollback_ledger;
mod search;
mod segment_heads;
mod sent_history;
mod stats;
mod token_budget;
mod token_meter;
mod truncation;
mod turn_events;
mod turn_format;
pub mod turn_index;
mod turn_item;
mod turns;
mod user_input;
mod user_turns;
pub mod varint;
mod world_journal;
mod world_state;

pub use activity::{ActivityEntry, ThreadActivity};
pub use activity_fold::{ActivityFold, ActivityFoldState};
pub use bare_lines::upgrade_bare_item;
pub use base_finder::BaseFinder;
pub use boundary::{
    NoUserMessages, ResolvedBoundary, UnknownTurn, base_length, only_compacts, resolve_boundary, turns_before_newest,
};
pub use boundary_search::{BackwardRead, BoundarySearch, turns_to_boundary};
pub use carried_metadata::{CarriedMetadata, revert_items};
pub use context_tail::ContextTail;
pub use context_window::ContextWindowTracker;
pub use inherited_prefix::{InheritedPrefix, PrefixEnd};
pub use line_prefilter::{has_no_activity, has_no_later_metadata, has_no_metadata, has_no_turn_state, is_never_shown};
pub use metadata_fold::MetadataFold;
pub use metadata_items::{metadata_items, name_change};
pub use persistence_policy::is_persisted;
pub use projected_turn::{ProjectedTurn, TurnRestart};
pub use replay::{ModelContext, Replay, ReplayOptions, replay, replay_lines};
pub use search::{
    EmptySearch, FoldedWord, ItemLocation, SearchRank, SearchTerm, Snippet, TextSearch, ThreadHits, fold_text,
    folded_words, is_mark, item_texts,
};
pub use segment_heads::{
    HeadError, detached_head, fork_head, head_identity, inherit_head, new_head, newest_head, segment_head,
};
pub use sent_history::{aborted_output, unanswered_calls};
pub use stats::StatsFold;
pub use token_budget::{TokenBudget, TokenBudgetForm};
pub use truncation::{InvalidOutputLimit, OutputLimit};
pub use turn_events::{is_conversation, opens_turn};
pub use turn_format::{TurnFormat, answered_call, shown_call};
pub use turns::{KeptItems, TurnProjection, apply_view};
pub use world_state::WorldStateTracker;
