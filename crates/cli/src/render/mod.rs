//! Answers for people. Everything that comes from a thread goes through `text` before it is printed: transcripts are
//! not trusted with a terminal.

pub(crate) mod context;
pub(crate) mod plot;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod tail;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod transcript;
pub(crate) mod tree;
