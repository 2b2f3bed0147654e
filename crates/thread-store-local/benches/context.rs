//! The cost of loading the model context of a very long thread: 1 GB, with a compaction 1 MB before its end.
//!
//! `cargo xtask bench context`; `SELVEDGE_BENCH_BYTES` makes the thread smaller, and so does `--against COMMIT`.

#![expect(clippy::print_stdout, reason = "a benchmark prints its numbers")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use selvedge_history::replay_lines;
use selvedge_protocol::RolloutLine;
use selvedge_thread_store::ThreadReader;
use selvedge_thread_store_local::LocalThreadStore;

use crate::support::probe::Probe;
use crate::support::{PROBED_BYTES, TAIL, peak_memory};

/// Measurements.
const ROUNDS: usize = 15;
/// The most time that the median of a warm load may take.
const MOST_TIME: Duration = Duration::from_millis(20);
/// The highest peak memory of the process, where the system reports it.
const MOST_MEMORY: u64 = 64 << 20;

fn main() -> anyhow::Result<()> {
    if let Some(probe) = Probe::asked()? {
        return compared(&probe);
    }
    let bytes = support::bytes();
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let store = LocalThreadStore::open(dir.path());
    let thread = support::record(&store, &runtime, bytes)?;

    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let context = runtime.block_on(store.load_model_context(thread.id))?;
        times.push(start.elapsed());
        anyhow::ensure!(context.window.number == 1 && context.history.len() > 100, "not the context of this thread");
    }
    times.sort_unstable();
    let median = times[ROUNDS / 2];
    let memory = peak_memory();
    let floor = floor(&thread.path)?;
    println!(
        "context of a thread of {} MB and {} turns, compaction {} MB before its end: median {median:.1?} of {ROUNDS} (must be at most \
         {MOST_TIME:?}); reading and replaying its last {} MB alone: {floor:.1?}; ratio {:.2}",
        bytes / 1_000_000,
        thread.turns,
        TAIL / 1_000_000,
        TAIL / 1_000_000,
        median.as_secs_f64() / floor.as_secs_f64(),
    );
    match memory {
        Some(memory) => println!("highest memory of the process: {} MB (must be at most 64 MiB)", memory >> 20),
        None => println!("highest memory of the process: not reported by this system"),
    }
    anyhow::ensure!(median <= MOST_TIME && memory.is_none_or(|memory| memory <= MOST_MEMORY), "beyond the bound");
    Ok(())
}

/// Measures the workloads of a comparison with another commit.
fn compared(probe: &Probe) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let store = support::open_alone(dir.path());
    let thread = support::record(&store, &probe.runtime, PROBED_BYTES)?;
    let beside = thread.path.with_extension("beside");
    // A directory that has just changed is read again, however long ago the thread was recorded.
    let changed = || std::fs::write(&beside, "").and_then(|()| std::fs::remove_file(&beside));
    let of = format!("context of a thread of {} MB", PROBED_BYTES / 1_000_000);
    probe.measure(&of, async || Ok(changed()?), async |()| Ok(store.load_model_context(thread.id).await?))?;
    let opened = async || {
        changed()?;
        Ok(support::open_alone(dir.path()))
    };
    probe.measure(&format!("{of}, by a new store"), opened, async |store| {
        let context = store.load_model_context(thread.id).await?;
        Ok((store, context))
    })
}

/// Measures the floor: the last `TAIL` bytes of the file are read in one piece, parsed and replayed.
fn floor(path: &Path) -> anyhow::Result<Duration> {
    use std::io::{Read, Seek, SeekFrom};

    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut file = std::fs::File::open(path)?;
        let len = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(len.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8(bytes)?;
        let lines: Vec<RolloutLine> = text.lines().skip(1).map(RolloutLine::parse).collect::<Result<_, _>>()?;
        let context = replay_lines(&lines);
        times.push(start.elapsed());
        anyhow::ensure!(context.history.len() > 100, "nothing was replayed");
    }
    times.sort_unstable();
    Ok(times[ROUNDS / 2])
}
