//! Times and sizes that trade one cost for another.
//!
//! The constants of formats are not here, but with each format.

use std::time::Duration;

/// How long a statement waits for other processes before it fails as busy. A longer time makes a caller wait that could have
/// its answer from the logs; a shorter one fails behind an ordinary batch of another process.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_millis(250);

/// How long a query waits for one of the read connections. They are all taken only by queries, so that this is the time in
/// which several queries should have ended.
pub(crate) const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// For how long the next page of a ranking is retried while the index is busy. No other source can give that page, so that
/// this is longer than [`STATEMENT_TIMEOUT`].
pub(crate) const RANKING_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a write transaction is tried that no caller waits for. The pauses double from [`FIRST_BEGIN_PAUSE`], so that all
/// of them are about 20 s: an update outlasts a large merge of another process, but not one that hangs.
pub(crate) const BEGIN_ATTEMPTS: u32 = 12;

/// The pause after the first attempt to begin a write transaction.
pub(crate) const FIRST_BEGIN_PAUSE: Duration = Duration::from_millis(10);

/// How many connections read at the same time. One more connection writes. Each has its own page cache of 8 MiB.
pub(crate) const READERS: u32 = 3;

/// How many tasks scan files. More of them would be faster on a large machine; each takes a core from the program that embeds
/// the index, and holds a batch in memory.
pub(crate) const SCANNERS: usize = 2;

/// How many batches wait to be written. With a longer queue scanners would wait less; each batch in it takes memory.
pub(crate) const QUEUED_BATCHES: usize = 1;

/// How many threads one transaction writes at most. Large batches make an update faster; small ones let other processes write
/// sooner, and lose less if this process dies.
pub(crate) const BATCH_THREADS: usize = 1_000;

/// How many bytes of logs one transaction writes at most.
pub(crate) const BATCH_BYTES: u64 = 40 << 20;

/// How many bytes of searchable text one transaction writes at most. A little less than [`RUN_TEXT_BYTES`], so that a batch of
/// small threads is one run.
pub(crate) const BATCH_TEXT_BYTES: usize = 9 << 20;

/// How many bytes of text one search run takes. This bounds memory; runs of this size need not be merged soon.
pub(crate) const RUN_TEXT_BYTES: usize = 10 << 20;

/// How often an update plans again for threads that another process wrote at the same time.
pub(crate) const UPDATE_ROUNDS: usize = 4;

/// How often the name index is read again because another process stored names at the same time.
pub(crate) const NAME_ROUNDS: usize = 4;

/// How often a page of turns selects its turns: again when the log has grown, and again when the index caught up meanwhile.
pub(crate) const PAGE_ROUNDS: usize = 4;

/// How many bytes behind the indexed ones a page of turns reads. An update has to read more than that.
pub(crate) const MAX_APPENDED_BYTES: u64 = 16 << 20;

/// How many bytes behind the indexed ones a page of turns leaves out, if the turn that is open is so long that
/// [`MAX_APPENDED_BYTES`] do not suffice to read it again. An update before the query leaves far less.
pub(crate) const MAX_UNREAD_BYTES: u64 = 1 << 20;

/// How many bytes of texts a turn may have if its reader does not need long texts. In a turn with more items, the texts become shorter.
pub(crate) const SHORTENED_TURN_BYTES: usize = 16 << 20;

/// The longest text that is read of a turn whose items nobody asks for, if they have to be read to know its state. Shorter ones would cost less
/// memory; messages are recognized by their texts, and must not differ.
pub(crate) const MAX_STATE_TEXT: usize = 32 << 10;

/// How many times as many items a turn has to have as are read of it, so that they are read one by one.
pub(crate) const SINGLE_READS: usize = 4;

/// How many indexers of open turns pause at most. Each takes memory for every item of its turn, and for the texts of the newest ones.
pub(crate) const PAUSED_INDEXERS: usize = 8;

/// How many of the most recently changed files a refresh stats. Logs grow where they grew last; every further file makes each
/// refresh slower, and a change that this misses is found by the next update.
pub(crate) const HOT_FILES: i64 = 64;

/// How many rows one statement writes. A statement costs something, and so does preparing one for each length.
pub(crate) const ROWS_PER_STATEMENT: usize = 50;
