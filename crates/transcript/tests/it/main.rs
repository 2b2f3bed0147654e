//! Documents of every recording: valid, safe, and without a lost turn.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod documents;
mod hostile;
mod recordings;
