//! Intervals and limits of the index, together with what each one trades off. As those of `limits.rs`, none changes a result.

use std::time::Duration;

/// How many bytes of logs a query reads into the index before it is answered. If there is more to read, the logs answer, and a
/// background task reads the rest.
pub(crate) const MAX_REFRESH_BYTES: u64 = 8 << 20;

/// A home of at most this many threads is indexed before the first query is answered. Larger homes are indexed in the
/// background.
pub(crate) const MAX_THREADS_FILLED_INLINE: usize = 200;

/// How often the index is compared with every file, as long as there are queries. A rescan misses some changes of old files;
/// this interval bounds how long they stay unseen.
pub(crate) const FULL_CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// How long a rescan stays valid for the pages that follow the first one. It makes turning pages cheap, at the price of
/// pages that are this much out of date. A write of this process ends it early.
pub(crate) const RESCAN_VALIDITY: Duration = Duration::from_millis(50);

/// How long an index that failed is not opened again. During this pause the logs answer without a failing attempt.
pub(crate) const INDEX_RETRY_DELAY: Duration = Duration::from_secs(2);

/// How long the background update waits before it begins, so that it does not compete with the query that started it.
pub(crate) const UPDATE_DELAY: Duration = Duration::from_millis(150);

/// How long writes are collected before one update of the index takes them all.
pub(crate) const COLLECT_WRITES: Duration = Duration::from_millis(100);

/// After an update that took some time, the index rests for this many times as long. Writers lose at most a tenth of the
/// database's time to it.
pub(crate) const REST_FACTOR: u32 = 9;
