//! Tests of the index.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod backfill;
mod blocking;
mod check;
mod codex_database;
mod edits;
mod homes;
mod list;
mod recordings;
mod refresh;
mod search;
mod set_aside;
mod stats;
mod turns;
