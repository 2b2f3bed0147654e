//! For those who write a store: what two stores would otherwise both write. Callers of a store need none of it.
//!
//! A store that can load a thread's segments as a whole begins with [`Segment`] and [`SegmentChain`]: with them it answers
//! everything that is asked of one thread. One that must not, because threads are large, has its own [`LineSource`].

mod batches;
mod branch;
mod chain;
mod change_log;
mod detach;
mod import;
pub mod line_pages;
mod paging;
mod patch;
mod position;
mod rows;
mod segment;
mod signal;
mod whole;

pub use batches::{BatchOutcome, RecentBatches};
pub use branch::{RevertWrite, fork_segment, next_segment_id, plan_revert, segment_order};
pub use chain::SegmentChain;
pub use change_log::ChangeLog;
pub use detach::detached_bytes;
pub use import::{MAX_SEGMENT_READ, compare_part};
pub use line_pages::{LinePart, LineSource, MissingBytes, RawEntries, Share, read_lines};
pub use paging::{page_hits, page_items, page_threads, page_turns, start_of};
pub use patch::plan_patch;
pub use rows::{find_threads, sum_threads};
pub use segment::{Segment, SegmentTail};
pub use signal::ChangeSignal;
pub use whole::WholeHistory;
