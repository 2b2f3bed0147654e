//! The rate of appends at level `synced`: what tasks gain that share the fsyncs of one thread, and the rate of many threads, as a
//! ratio to a floor. The floor is measured in the same run: a bare loop of as many system threads, each of which writes and
//! syncs a file of its own.
//!
//! `cargo xtask bench sync`; with `--against COMMIT` a fixed number of items instead of a fixed time.

#![expect(clippy::print_stdout, reason = "a benchmark prints its numbers")]

#[path = "../../state/benches/support/probe.rs"]
mod probe;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use selvedge_protocol::{Durability, HistoryMode, ResponseItem, RolloutItem, SessionMeta, ThreadId};
use selvedge_rollout::RolloutHome;
use selvedge_thread_store::{BatchId, ThreadStore};
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore};
use tokio::runtime::Runtime;

use crate::probe::Probe;

/// The duration of one measurement.
const SPAN: Duration = Duration::from_millis(1500);
/// Measurements of each kind. They alternate, so that a noisy moment affects all of them.
const ROUNDS: usize = 5;
/// How many tasks append to one thread.
const TASKS: usize = 16;
/// The least ratio of their rate to that of one task.
const SHARED: f64 = 5.0;
/// How many threads are appended to in parallel.
const THREADS: usize = 64;
/// The least ratio of their rate to that of the bare loop.
const SIDE_BY_SIDE: f64 = 0.8;

fn main() -> anyhow::Result<()> {
    if let Some(probe) = Probe::asked()? {
        return compared(&probe);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let dir = tempfile::tempdir()?;
    let (mut one, mut shared, mut bare, mut many) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let home = dir.path().join(round.to_string());
        one.push(append(&runtime, &home, 1, 1)?);
        shared.push(append(&runtime, &home, 1, TASKS)?);
        bare.push(bare_loops(&home)?);
        many.push(append(&runtime, &home, THREADS, 1)?);
        std::fs::remove_dir_all(&home)?;
    }
    println!("500-byte items, one per call, durability synced; medians of {ROUNDS} rounds");
    let shared_ok = report(&format!("{TASKS} tasks on one thread"), &shared, "one task", &one, SHARED);
    let floor = format!("bare loops of {THREADS} threads");
    let many_ok = report(&format!("{THREADS} threads, a task each"), &many, &floor, &bare, SIDE_BY_SIDE);
    anyhow::ensure!(shared_ok && many_ok, "below the floor");
    Ok(())
}

/// Measures the workloads of a comparison with another commit.
fn compared(probe: &Probe) -> anyhow::Result<()> {
    for (threads, tasks, items) in [(1, 1, 50), (1, TASKS, 25), (THREADS, 1, 5)] {
        let opened = async || {
            let home = tempfile::tempdir()?;
            // An index would work in the background, at different moments in each run.
            let synced = RolloutHome::new(home.path()).with_durability(Durability::Synced);
            let store = LocalThreadStore::of(synced, IndexLocation::Disabled);
            let ids = create(&store, threads).await?;
            Ok((home, store, ids))
        };
        let name = format!("threads: {threads}, tasks for each: {tasks}, items of each: {items}");
        probe.measure(&name, opened, async |(home, store, ids)| {
            let item = [item()];
            let running = ids.iter().flat_map(|id| std::iter::repeat_n(*id, tasks)).map(|id| {
                let (store, item) = (store.clone(), item.clone());
                tokio::spawn(async move {
                    for _ in 0..items {
                        store.append_items(id, BatchId::generate(), &item).await?;
                    }
                    anyhow::Ok(())
                })
            });
            for task in running.collect::<Vec<_>>() {
                task.await??;
            }
            Ok((home, store))
        })?;
    }
    Ok(())
}

fn report(what: &str, measured: &[f64], than: &str, floor: &[f64], wanted: f64) -> bool {
    // Only neighbouring measurements are compared: the speed of a shared machine changes within seconds.
    let ratios: Vec<f64> = measured.iter().zip(floor).map(|(measured, floor)| measured / floor).collect();
    let (measured, floor, ratio) = (median(measured), median(floor), median(&ratios));
    println!("{what}: {measured:.0}/s; {than}: {floor:.0}/s; ratio {ratio:.2} (must be at least {wanted})");
    ratio >= wanted
}

fn median(rates: &[f64]) -> f64 {
    let mut rates = rates.to_vec();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn item() -> RolloutItem {
    ResponseItem::assistant_text(&"the quick brown fox jumps over the lazy dog ".repeat(10)).into()
}

/// Creates threads.
async fn create(store: &LocalThreadStore, threads: usize) -> anyhow::Result<Vec<ThreadId>> {
    let ids: Vec<ThreadId> = (0..threads).map(|_| ThreadId::new(SystemTime::now().into())).collect();
    for id in &ids {
        let head = SessionMeta::new(*id, SystemTime::now().into());
        store.create_thread(SessionMeta { history_mode: Some(HistoryMode::Paginated), ..head }).await?;
        store.persist_thread(*id).await?;
    }
    Ok(ids)
}

/// Appends for one measurement, by `tasks` tasks to each of `threads` threads.
fn append(runtime: &Runtime, home: &Path, threads: usize, tasks: usize) -> anyhow::Result<f64> {
    runtime.block_on(async {
        let store = LocalThreadStore::open_with(home, Durability::Synced);
        let ids = create(&store, threads).await?;
        let (count, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let start = Instant::now();
        let running: Vec<_> = ids
            .iter()
            .flat_map(|id| std::iter::repeat_n(*id, tasks))
            .map(|id| {
                let (store, count, is_over) = (store.clone(), Arc::clone(&count), Arc::clone(&is_over));
                tokio::spawn(async move {
                    let items = [item()];
                    while !is_over.load(Ordering::Relaxed) {
                        store.append_items(id, BatchId::generate(), &items).await?;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        tokio::time::sleep(SPAN).await;
        is_over.store(true, Ordering::Relaxed);
        for task in running {
            task.await??;
        }
        let rate = count.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
        for id in &ids {
            store.shutdown_thread(*id).await?;
        }
        Ok(rate)
    })
}

/// Appends for one measurement, by bare loops.
fn bare_loops(dir: &Path) -> anyhow::Result<f64> {
    let (count, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let start = Instant::now();
    let item = item();
    std::thread::scope(|scope| {
        let loops: Vec<_> = (0..THREADS)
            .map(|number| {
                let (count, is_over, item) = (&count, &is_over, &item);
                let path = dir.join(format!("bare-{number}"));
                scope.spawn(move || {
                    let mut file = File::options().append(true).create(true).open(path)?;
                    while !is_over.load(Ordering::Relaxed) {
                        let mut line = serde_json::to_vec(item)?;
                        line.push(b'\n');
                        file.write_all(&line)?;
                        file.sync_data()?;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        std::thread::sleep(SPAN);
        is_over.store(true, Ordering::Relaxed);
        loops.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow::anyhow!("a loop panicked"))?)
    })?;
    Ok(count.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64())
}
