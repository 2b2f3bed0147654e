//! The meaning of threads, by the public door: hand-made stories, and recordings of the programs that made the format.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cuts;
mod facts;
mod growth;
mod heads;
mod middle;
mod more_recordings;
mod policy;
mod recordings;
mod replay;
mod rollback;
mod search;
mod silent;
mod steps;
mod story;
mod token_budget;
mod told;
mod told_turns;
mod trackers;
mod turns;
