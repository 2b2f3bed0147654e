//! The meaning of a thread.
//!
//! A thread's log is a list of items; this crate says what they come to. Everything here is a pure fold: items in, in
//! order, and a value out. No files, no stores, no async, no clock: a rule holds in the same way for a live thread, a file
//! on disk and an import.
//!
//! # Vocabulary
//!
//! - The *persistence policy* ([`is_persisted`]) says which items reach the log at all.
//! - *Facts* ([`MetadataFold`]) are what a listing says of a thread: its preview, model, times, token usage.
//! - *Replay* ([`Replay`], [`replay`]) gives what the model sees next, and what it has been told: the
//!   [`ModelContext`].
//! - *Turns* ([`TurnProjection`]) are what a client shows, and where a thread can be forked and rewound.
//! - A *cut* ([`resolve_boundary`]) is a place between two turns, to fork at or to go back to. What then begins, begins with a *head*
//!   ([`fork_head`]), and with what a thread is labelled with ([`CarriedMetadata`], [`revert_items`]). How somebody's change of metadata
//!   is kept in a log, [`metadata_items`] says.
//! - A *search* ([`TextSearch`]) says where in names and turns a text stands, and how well a thread fits.
//! - A *context fragment* ([`markers`]) is a message that the program wrote in the name of the user or the developer, to
//!   tell the model about its surroundings. It is no message of the user.
//! - The *token budget* ([`TokenBudget`]) is the fragment that names a thread's context windows to its model.
//! - *Trackers* ([`WorldStateTracker`], [`ContextWindowTracker`]) follow a live thread and say what to write next.
//!
//! Two notions of undoing meet here. Legacy threads undo by an event, `thread_rolled_back`, and every fold takes it as
//! said in [`Replay`]. Paginated threads undo by a new segment that builds on less; their folds never see what was undone.
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
//! // Turns come from events, so that these items alone show nothing.
//! let mut turns = TurnProjection::new();
//! for (position, item) in (0..).zip(&items) {
//!     turns.push(position, &RolloutLine::new(Timestamp::default(), None, item));
//! }
//! assert!(turns.finish().is_empty());
//! ```

mod bare;
mod boundary;
mod boundary_search;
mod carried_metadata;
mod compaction;
mod context_tail;
mod context_window;
mod facts;
mod heads;
mod lines_before;
pub mod markers;
mod metadata_items;
mod peek;
mod policy;
mod projected_turn;
mod replay;
mod rollback_ledger;
mod search;
mod share;
mod shorten;
mod stats;
mod token_budget;
mod turn_events;
mod turn_item;
mod turns;
mod user_input;
mod user_turns;
mod world_journal;
mod world_state;

pub use bare::upgrade_bare_item;
pub use boundary::{NoUserMessages, ResolvedBoundary, UnknownTurn, base_length, resolve_boundary};
pub use boundary_search::{BackwardRead, BoundarySearch, turns_to_boundary};
pub use carried_metadata::{CarriedMetadata, revert_items};
pub use context_tail::ContextTail;
pub use context_window::ContextWindowTracker;
pub use facts::{MetadataFold, has_no_metadata};
pub use heads::{HeadError, detached_head, fork_head, head_identity, inherit_head, new_head, newest_head};
pub use lines_before::LinesBefore;
pub use metadata_items::{metadata_items, name_change};
pub use policy::is_persisted;
pub use projected_turn::{ProjectedTurn, TurnRestart, is_never_shown};
pub use replay::{ModelContext, Replay, ReplayOptions, replay, replay_lines};
pub use search::{
    EmptySearch, ItemPlace, SearchRank, SearchTerm, Snippet, TextSearch, ThreadHits, fold_text, item_texts,
};
pub use share::{SegmentEnd, ShareFold, segment_head};
pub use stats::StatsFold;
pub use token_budget::TokenBudget;
pub use turn_events::opens_turn;
pub use turns::{TurnProjection, apply_view};
pub use world_state::WorldStateTracker;
