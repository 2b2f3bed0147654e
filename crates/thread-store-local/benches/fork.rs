//! The cost of a fork and of a revert of a very long thread: 1 GB, in a home with thousands of others. Near its end it must cost
//! next to nothing; the cost of a turn further back is printed for information.
//!
//! `cargo xtask bench fork`; `SELVEDGE_BENCH_BYTES` makes the thread smaller, `SELVEDGE_BENCH_THREADS` sets the number of others. With
//! `--against COMMIT` the thread is small and alone.

#![expect(clippy::print_stdout, reason = "a benchmark prints its numbers")]

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use selvedge_protocol::{ResponseItem, SessionMeta, ThreadId, Timestamp, TurnBoundary};
use selvedge_thread_store::{BatchId, ForkThread, RevertThread, ThreadStore};
use selvedge_thread_store_local::LocalThreadStore;
use tokio::runtime::Runtime;

use crate::support::probe::Probe;
use crate::support::{LongThread, PROBED_BYTES, TAIL, peak_memory, turn_id};

/// How often one workload of a comparison repeats its operation.
const PROBED_TIMES: usize = 10;
/// Measurements of each kind.
const ROUNDS: usize = 3;
/// The most time that the median of each may take.
const MOST_TIME: Duration = Duration::from_millis(5);
/// The most bytes that each may write.
const MOST_WRITTEN: u64 = 4096;
/// The highest peak memory of the process, where the system reports it.
const MOST_MEMORY: u64 = 64 << 20;

struct Bench {
    runtime: Runtime,
    store: LocalThreadStore,
    thread: LongThread,
    size: u64,
}

fn main() -> anyhow::Result<()> {
    if let Some(probe) = Probe::asked()? {
        return compared(&probe);
    }
    let bytes = support::bytes();
    let others = std::env::var("SELVEDGE_BENCH_THREADS").ok().and_then(|others| others.parse().ok()).unwrap_or(5000);
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let store = LocalThreadStore::open(dir.path());
    runtime.block_on(record_others(&store, others))?;
    let thread = support::record(&store, &runtime, bytes)?;
    let size = std::fs::metadata(&thread.path)?.len();
    println!(
        "a thread of {} MB and {} turns, among {others} others; medians of {ROUNDS}",
        bytes / 1_000_000,
        thread.turns
    );
    let bench = Bench { runtime, store, thread, size };

    // Within the last megabyte, and so after the compaction.
    let near = bench.turn_before_end(TAIL - 50_000);
    let mut near_ok = true;
    near_ok &= bench.forks("fork at the latest", TurnBoundary::Latest)?.is_bounded();
    near_ok &= bench.forks("fork before the newest turn", TurnBoundary::BeforeNewest(1))?.is_bounded();
    near_ok &= bench.forks("fork after a turn 1 MB before the end", TurnBoundary::After(turn_id(near)))?.is_bounded();
    near_ok &= bench.forks("fork before a turn 1 MB before the end", TurnBoundary::Before(turn_id(near)))?.is_bounded();
    near_ok &= bench.reverts("revert by one turn", TurnBoundary::BeforeNewest(1))?.is_bounded();
    near_ok &= bench.reverts("revert to a turn 1 MB before the end", TurnBoundary::After(turn_id(near)))?.is_bounded();
    bench.runtime.block_on(bench.store.resume_thread(bench.thread.id))?;
    near_ok &= bench.forks("fork at the latest of a live thread", TurnBoundary::Latest)?.is_bounded();
    bench.runtime.block_on(bench.store.shutdown_thread(bench.thread.id))?;
    let memory = peak_memory();
    match memory {
        Some(memory) => println!("highest memory of the process: {} MB (must be at most 64 MiB)", memory >> 20),
        None => println!("highest memory of the process: not reported by this system"),
    }
    bench.forks_by_new_store("for information: fork at the latest by a store that was just opened")?;
    for megabytes in [100] {
        if bytes > 2 * megabytes * 1_000_000 {
            let far = TurnBoundary::After(turn_id(bench.turn_before_end(megabytes * 1_000_000)));
            bench.forks(&format!("for information: fork after a turn {megabytes} MB before the end"), far)?;
        }
    }
    anyhow::ensure!(std::fs::metadata(&bench.thread.path)?.len() == bench.size, "the thread itself was written");
    println!("{:?} {:?}", peak_memory(), bench.thread.path);
    if std::env::var("KEEP").is_ok() {
        std::mem::forget(dir);
    }
    anyhow::ensure!(near_ok && memory.is_none_or(|memory| memory <= MOST_MEMORY), "beyond the bound");
    Ok(())
}

/// Measures the workloads of a comparison with another commit.
fn compared(probe: &Probe) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let store = support::open_alone(dir.path());
    let thread = support::record(&store, &probe.runtime, PROBED_BYTES)?;
    let far = turn_id(thread.turns - thread.turns * TAIL / 2 / PROBED_BYTES);
    // Each time the thread is alone, in a directory that has just changed.
    let alone = async || {
        for entry in std::fs::read_dir(thread.path.parent().unwrap_or(dir.path()))? {
            let path = entry?.path();
            if path != thread.path {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    };
    let boundaries = [
        ("at the latest turn", TurnBoundary::Latest),
        ("before the newest turn", TurnBoundary::BeforeNewest(1)),
        ("0.5 MB before the end", TurnBoundary::After(far)),
    ];
    for (boundary, at) in boundaries {
        probe.measure(&format!("{PROBED_TIMES} forks {boundary}"), alone, async |()| {
            for _ in 0..PROBED_TIMES {
                let now = SystemTime::now().into();
                let meta = SessionMeta::new(ThreadId::new(now), now);
                store.fork_thread(ForkThread { source: thread.id, at: at.clone(), meta }).await?;
            }
            Ok(())
        })?;
    }
    probe.measure(&format!("{PROBED_TIMES} rewinds by one turn"), alone, async |()| {
        for _ in 0..PROBED_TIMES {
            store
                .revert_thread(RevertThread {
                    thread_id: thread.id,
                    to: TurnBoundary::BeforeNewest(1),
                    batch: BatchId::generate(),
                })
                .await?;
        }
        Ok(())
    })
}

/// Records small threads, one for each hour before now.
async fn record_others(store: &LocalThreadStore, count: u32) -> anyhow::Result<()> {
    let now: Timestamp = SystemTime::now().into();
    for number in 1..=count {
        let at = Timestamp::from_millis(now.as_millis() - i64::from(number) * 3_600_000);
        let id = ThreadId::new(at);
        store.create_thread(SessionMeta::new(id, at)).await?;
        store.append_items(id, BatchId::generate(), &[ResponseItem::user_text("hello").into()]).await?;
        store.shutdown_thread(id).await?;
    }
    Ok(())
}

/// The cost of an operation.
struct Cost {
    time: Duration,
    /// Bytes that the process wrote and read each time. `None` if the system does not report them.
    written: Option<u64>,
    read: Option<u64>,
    /// The size of the file that it created.
    file: u64,
}

impl Cost {
    fn print(&self, what: &str) {
        let shown = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |bytes| bytes.to_string());
        println!(
            "{what}: {:.2} ms; read {} bytes, wrote {} (a file of {})",
            self.time.as_secs_f64() * 1000.0,
            shown(self.read),
            shown(self.written),
            self.file
        );
    }

    fn is_bounded(&self) -> bool {
        self.time <= MOST_TIME && self.written.unwrap_or(self.file) <= MOST_WRITTEN
    }
}

impl Bench {
    /// Returns the turn that begins `bytes` before the end.
    fn turn_before_end(&self, bytes: u64) -> u64 {
        self.thread.turns - bytes * self.thread.turns / self.size
    }

    fn forks(&self, what: &str, at: TurnBoundary) -> anyhow::Result<Cost> {
        self.measure(what, async |store, now| {
            let meta = SessionMeta::new(ThreadId::new(now), now);
            let fork = store.fork_thread(ForkThread { source: self.thread.id, at: at.clone(), meta }).await?;
            Ok(fork.to_string())
        })
    }

    fn forks_by_new_store(&self, what: &str) -> anyhow::Result<Cost> {
        self.measure(what, async |store, now| {
            let meta = SessionMeta::new(ThreadId::new(now), now);
            let store = LocalThreadStore::open(store.home());
            let fork = store.fork_thread(ForkThread { source: self.thread.id, at: TurnBoundary::Latest, meta }).await?;
            Ok(fork.to_string())
        })
    }

    fn reverts(&self, what: &str, to: TurnBoundary) -> anyhow::Result<Cost> {
        self.measure(what, async |store, _at| {
            let thread_id = self.thread.id;
            let undone =
                store.revert_thread(RevertThread { thread_id, to: to.clone(), batch: BatchId::generate() }).await?;
            anyhow::ensure!(undone > 0, "nothing was undone");
            Ok(format!("{thread_id}_"))
        })
    }

    /// Repeats an operation, and removes each time the file that it has created. `work` returns the name of the file.
    fn measure(
        &self,
        what: &str,
        work: impl AsyncFn(&LocalThreadStore, Timestamp) -> anyhow::Result<String>,
    ) -> anyhow::Result<Cost> {
        let mut costs = Vec::new();
        for round in 0..=ROUNDS {
            let before = io_of_process();
            let start = Instant::now();
            let name = self.runtime.block_on(work(&self.store, SystemTime::now().into()))?;
            let time = start.elapsed();
            let after = io_of_process();
            let path = find(self.store.home(), &name)?.ok_or_else(|| anyhow::anyhow!("no file was made"))?;
            let file = std::fs::metadata(&path)?.len();
            std::fs::remove_file(path)?;
            let since = |io: fn(&Io) -> u64| Some(io(after.as_ref()?) - io(before.as_ref()?));
            // The first one is a warm-up.
            if round > 0 {
                costs.push(Cost { time, written: since(|io| io.written), read: since(|io| io.read), file });
            }
        }
        costs.sort_unstable_by_key(|cost| cost.time);
        let median = costs.swap_remove(ROUNDS / 2);
        median.print(what);
        Ok(median)
    }
}

/// Returns the file whose name contains this text.
fn find(dir: &Path, text: &str) -> anyhow::Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let found = match path.is_dir() {
            true => find(&path, text)?,
            false => Some(path).filter(|path| path.to_string_lossy().contains(text)),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// How many bytes this process has read and written.
struct Io {
    read: u64,
    written: u64,
}

fn io_of_process() -> Option<Io> {
    let text = std::fs::read_to_string("/proc/self/io").ok()?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some(Io { read: field("rchar:")?, written: field("wchar:")? })
}
