//! For authors of a store: what every store would otherwise have to write itself. Callers of a store need none of it.
//!
//! A store that can load all segments of a thread starts with [`Segment`] and [`SegmentChain`]. They answer every query
//! about one thread. A store whose threads are too large for that implements [`LineSource`].
//!
//! | for | take |
//! | --- | --- |
//! | the bytes of a segment, and the next line | [`Segment`], [`SegmentTail`] |
//! | the history of a thread | [`SegmentChain`], [`WholeHistory`] |
//! | `read_lines` | [`SegmentChain::read_lines`], or [`read_lines`] with a [`LineSource`] |
//! | entries of segments that are read block by block | [`entries_from`], [`entries_before`] |
//! | `wait_for_lines`, `wait_for_changes` | [`ChangeSignal`] |
//! | `list_changes` | [`ChangeLog`] |
//! | pages of threads, hits, turns and items | [`page_threads`], [`page_hits`], [`page_turns`], [`page_items`] |
//! | `find_threads`, `thread_stats` | [`find_threads`], [`sum_threads`] with [`activity_of`] |
//! | batches that take effect once | [`RecentBatches`] |
//! | dropped calls that are completed before later ones | [`ColdQueues`] |
//! | ids without a random number for each | [`UuidSequence`] |
//! | `fork_thread`, `revert_thread`, `detach_thread` | [`fork_segment`] or [`fork_at_base`], [`plan_revert`], [`detached_bytes`] |
//! | `update_thread_metadata` | [`plan_patch`] |
//! | `import_segment`, `read_segment` | [`compare_part`], [`MAX_SEGMENT_READ`] |

mod branch;
mod byte_blocks;
mod chain;
mod change_log;
mod change_signal;
mod cold_queues;
mod detach;
pub mod line_pages;
mod metadata_patch;
mod paging;
mod position;
mod recent_batches;
mod records;
mod segment;
mod segment_import;
mod uuid_sequence;
mod whole_history;

pub use branch::{RevertWrite, fork_at_base, fork_segment, next_segment_id, plan_revert, segment_order};
pub use byte_blocks::{entries_before, entries_from, first_line};
pub use chain::SegmentChain;
pub use change_log::ChangeLog;
pub use change_signal::ChangeSignal;
pub use cold_queues::ColdQueues;
pub use detach::detached_bytes;
pub use line_pages::{
    ChainPart, LineSource, MissingBytes, RawEntryIter, SegmentPrefix, behind_line_before, read_lines,
};
pub use metadata_patch::plan_patch;
pub use paging::{decode_thread_cursor, page_hits, page_items, page_threads, page_turns};
pub use recent_batches::{BatchOutcome, RecentBatches};
pub use records::{activity_of, find_threads, sum_threads};
pub use segment::{Segment, SegmentTail};
pub use segment_import::{MAX_SEGMENT_READ, compare_part};
pub use uuid_sequence::UuidSequence;
pub use whole_history::WholeHistory;
