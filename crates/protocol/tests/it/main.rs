//! Tests of the vocabulary of a thread, by topic.

#![expect(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

mod copied_heads;
mod cursors;
mod directories;
mod events;
mod ids;
mod kinds;
mod lines;
mod lone_surrogates;
mod metadata;
mod open_objects;
mod page_window;
mod response_items;
mod support;
mod thread_filter;
mod times;
mod world_state;
