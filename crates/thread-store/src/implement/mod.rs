//! For those who write a store: what two stores would otherwise both write. Callers of a store need none of it.

pub mod line_pages;
mod position;

pub use line_pages::{LinePart, LineSource, MissingBytes, RawEntries, Share, read_lines};
