//! Tests of the words of a thread, by topic.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod copied_heads;
mod events;
mod ids;
mod lines;
mod metadata;
mod open;
mod paging;
mod query;
mod response_items;
mod support;
mod times;
mod world_state;
