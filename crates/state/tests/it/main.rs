//! Tests of the index.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod blocking;
mod check;
mod edits;
mod fill;
mod fresh;
mod heal;
mod homes;
mod list;
mod recordings;
mod search;
mod stats;
mod turns;
