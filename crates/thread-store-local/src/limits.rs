//! Intervals and limits of the store, together with what each one trades off.
//!
//! None of them changes a result, only when and at what cost a caller gets it. Two bounds that results do depend on are in
//! `read/list.rs`, beside the algorithm that needs them.

use std::time::Duration;

// Writing.

/// Batches of at least this many bytes are written by a blocking thread. For a smaller batch the hand-over costs more than
/// the write; a larger one would delay the other tasks of the runtime.
pub(crate) const LARGE_BATCH_BYTES: usize = 256 * 1024;

/// How many blocking tasks sync files at the same time at most. The device merges syncs that wait at the same time, so each
/// additional one costs little. Measurements show no gain above this number.
pub(crate) const MAX_SYNC_WORKERS: usize = 48;

/// How often a sync worker yields and polls the empty queue again before it ends. Under load the next appends arrive during
/// these polls, and the worker saves being started again. Without load they cost some microseconds.
pub(crate) const IDLE_POLLS: usize = 8;

// Reading logs.

/// How many bytes of the end of a history are kept in memory by a backward search. A search that needs more reads the
/// history forward, as a stream.
pub(crate) const MAX_TAIL_BYTES: usize = 64 << 20;

/// How many bytes of entries are kept while a compressed file is read backwards. Each time they run out the file is
/// decompressed from its beginning again: a larger window costs memory, a smaller one time.
pub(crate) const BACKWARD_WINDOW_BYTES: usize = 8 << 20;

/// How many inherited prefixes are cached. Each takes a few hundred bytes, and saves reading a base segment.
pub(crate) const MAX_CACHED_PREFIXES: usize = 1024;

/// How many bytes an export hands from the reading thread to the writing task at a time.
pub(crate) const EXPORT_BLOCK_BYTES: usize = 1 << 18;

/// How many such blocks may be queued, so that a slow writer stops the reader.
pub(crate) const MAX_QUEUED_EXPORT_BLOCKS: usize = 2;

// Waiting for changes.

/// The time between two ticks. It is shorter than a person notices, and long enough that one `stat` per tick costs nothing.
pub(crate) const TICK: Duration = Duration::from_millis(75);

/// How many ticks pass between two scans of the home's directories: about a second. A scan costs more than a `stat`, and only
/// finds what is rare: a new segment, or a file that was moved.
pub(crate) const TICKS_PER_SCAN: u32 = 13;
