//! Tests through the public API: with hand-made threads, and with recordings of the programs that defined the format.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod activity;
mod boundary;
mod context_fragments;
mod context_tail;
mod ignored_lines;
mod known_kinds;
mod linear_cost;
mod metadata_fold;
mod model_items;
mod more_recordings;
mod persistence_policy;
mod projected_turns;
mod recordings;
mod released_items;
mod replay;
mod rollback;
mod search;
mod segment_heads;
mod sent_history;
mod story;
mod subagents;
mod token_budget;
mod trackers;
mod turn_items;
mod turns;
mod world_state_log;
