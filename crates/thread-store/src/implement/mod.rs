//! For those who write a store: what two stores would otherwise both write. Callers of a store need none of it.

mod batches;
mod change_log;
mod import;
pub mod line_pages;
mod paging;
mod position;

pub use batches::{Done, RecentBatches};
pub use change_log::ChangeLog;
pub use import::{MAX_SEGMENT_READ, compare_part};
pub use line_pages::{LinePart, LineSource, MissingBytes, RawEntries, Share, read_lines};
pub use paging::{page_hits, page_items, page_threads, page_turns, start_of};
