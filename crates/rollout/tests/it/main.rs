//! Tests of the bytes of a thread, by topic.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod cached_home;
mod corruption;
mod diverged;
mod doctor;
mod files;
mod history;
mod layout;
mod lock;
mod names;
mod reader;
mod recorder;
mod references;
mod retry;
mod reverse;
mod round_trip;
mod support;
mod zst;
