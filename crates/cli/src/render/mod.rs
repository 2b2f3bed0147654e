//! Renders answers for people. Everything that comes from a thread goes through `sanitize` before it is printed, because
//! a transcript may contain escape sequences for the terminal.

pub(crate) mod context;
pub(crate) mod counted;
pub(crate) mod log_line;
pub(crate) mod paint;
pub(crate) mod plot;
pub(crate) mod sanitize;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod thread_title;
pub(crate) mod time;
pub(crate) mod transcript;
pub(crate) mod tree;
