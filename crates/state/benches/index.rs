//! What the index of a home of 10,000 threads of about 30 kB and 100 of 10 MB costs: building it, following it, asking it.
//!
//! `cargo xtask bench index`, or `cargo bench -p selvedge-state --bench index -- --threads 1000` for a smaller home.
//! Reading every file once, with nothing done to what was read, is the floor that building is compared with.

#![expect(clippy::print_stdout, reason = "a benchmark tells what it measured")]

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use selvedge_protocol::{
    Cursor, ItemQuery, ItemsView, SearchOrder, SearchQuery, SortDirection, ThreadQuery, TurnQuery,
};
use selvedge_rollout::{RolloutHome, now};
use selvedge_state::{IndexError, StateIndex};

use crate::support::{COMMON, RARE, Words, another_turn, write_thread};

mod support;

/// Bytes of a thread.
const THREAD_BYTES: usize = 30_000;

/// Bytes of a large thread, of which there is one for every hundred others.
const LARGE_BYTES: usize = 10_000_000;

/// Asked: this many bytes of rollout text a second, or this many threads, whichever is less.
const BYTES_PER_SECOND: f64 = 150e6;
const THREADS_PER_SECOND: f64 = 4_000.0;

/// Bytes of the largest thread.
const HUGE_BYTES: usize = 100_000_000;

/// Asked: one page of 50 from the index.
const PAGE: Duration = Duration::from_micros(500);

/// Asked: all pages of 100.
const ALL_PAGES: Duration = Duration::from_millis(150);

/// Asked: a page of 20 turns of the largest thread.
const TURNS: Duration = Duration::from_millis(5);

/// Asked: the first page for a word that stands in one thread, and for one that stands in half of them.
const SEARCH_RARE: Duration = Duration::from_millis(10);
const SEARCH_COMMON: Duration = Duration::from_millis(50);

/// Asked: size of the index as a share of the rollouts.
const SIZE: f64 = 0.5;

/// Asked: memory while the index is built.
const MEMORY: u64 = 150 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == "--threads").and_then(|at| arguments.get(at + 1));
    let threads: usize = given.map_or(Ok(10_000), |given| given.parse()).context("--threads takes a number")?;
    let dir = tempfile::tempdir()?;
    let home = RolloutHome::new(dir.path());
    let large = threads / 100;
    let paths = fill(&home, threads, large)?;
    let mut words = Words::new();
    let other = tempfile::tempdir()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut missed = measure(&home, &paths).await?;
        missed.extend(measure_large(&RolloutHome::new(other.path()), &mut words).await?);
        ensure!(missed.is_empty(), "not as asked: {}", missed.join(", "));
        Ok(())
    })
}

async fn measure(home: &RolloutHome, paths: &[PathBuf]) -> Result<Vec<&'static str>> {
    let started = Instant::now();
    let mut text = 0;
    for path in paths {
        text += fs::read(path)?.len();
    }
    let floor = started.elapsed();

    let path = StateIndex::path_in(home);
    let index = StateIndex::open(home, &path).await?;
    let (started, cpu) = (Instant::now(), cpu_time());
    let report = index.sync(|_| {}).await?;
    let (built, cpu) = (started.elapsed(), cpu_time() - cpu);
    ensure!(report.read_whole == paths.len() as u64, "every thread is read: {report:?}");
    let memory = peak_memory();
    let threads_per_second = paths.len() as f64 / built.as_secs_f64();
    let bytes_per_second = text as f64 / built.as_secs_f64();
    println!("{} threads, {:.0} MB of text", paths.len(), text as f64 / 1e6);
    println!("read once             {:8.1} ms", floor.as_secs_f64() * 1e3);
    println!(
        "build the index       {:8.1} ms  {threads_per_second:.0} threads/s, {:.0} MB/s, {:.1} times the floor (asked: {THREADS_PER_SECOND} threads/s or {:.0} MB/s)",
        built.as_secs_f64() * 1e3,
        bytes_per_second / 1e6,
        built.as_secs_f64() / floor.as_secs_f64(),
        BYTES_PER_SECOND / 1e6,
    );
    println!("processor time        {:8.1} ms  on all cores", cpu * 1e3);
    println!("peak memory           {:8.1} MB  (asked: {} MB)", memory as f64 / 1e6, MEMORY >> 20);
    let size = fs::metadata(&path)?.len();
    println!("size of the index     {:8.1} MB  {:.3} of the text", size as f64 / 1e6, size as f64 / text as f64);

    let unchanged = best_of(5, async || index.sync(|_| {}).await.map(drop)).await?;
    println!("sync without changes  {:8.1} ms", unchanged.as_secs_f64() * 1e3);
    fs::File::options().append(true).open(&paths[0])?.write_all(line(7).as_bytes())?;
    let report = index.sync(|_| {}).await?;
    println!("an append of one line {:8} bytes read of {THREAD_BYTES}", report.bytes_read);
    ensure!(report.read_tail == 1 && report.read_whole == 0, "an append is read as a tail: {report:?}");

    let page = best_of(50, async || index.list_threads(&ThreadQuery::default()).await.map(drop)).await?;
    println!("a page of 50          {:8.2} ms  (asked: {:.2} ms)", page.as_secs_f64() * 1e3, PAGE.as_secs_f64() * 1e3);
    let all = best_of(3, async || all_pages(&index, paths.len()).await).await?;
    println!("all pages of 100      {:8.1} ms  (asked: {} ms)", all.as_secs_f64() * 1e3, ALL_PAGES.as_millis());

    let rare = search(&index, "rare word", RARE, SEARCH_RARE).await?;
    let piece = search(&index, "piece of a rare word", &RARE[3..9], SEARCH_RARE).await?;
    let common = search(&index, "word of half of them", COMMON, SEARCH_COMMON).await?;
    let both = search(&index, "both", &format!("{COMMON} {RARE}"), SEARCH_COMMON).await?;
    let phrase = search(&index, "phrase", &format!("\"{COMMON} {RARE}\""), SEARCH_RARE).await?;
    for text in ["a3f", "c0ffee11"] {
        search(&index, "for comparison", text, Duration::MAX).await?;
    }

    let is_fast = threads_per_second >= THREADS_PER_SECOND || bytes_per_second >= BYTES_PER_SECOND;
    Ok(missed([
        (is_fast, "building the index is too slow"),
        (memory <= MEMORY, "building the index takes too much memory"),
        (size as f64 <= SIZE * text as f64, "the index is too large"),
        (page <= PAGE, "a page takes too long"),
        (all <= ALL_PAGES, "all pages take too long"),
        (rare && piece && common && both && phrase, "a search takes too long"),
    ]))
}

/// What was asked and not kept.
fn missed<const N: usize>(bounds: [(bool, &'static str); N]) -> Vec<&'static str> {
    bounds.into_iter().filter(|(is_kept, _)| !is_kept).map(|(_, what)| what).collect()
}

/// Pages of a thread of 100 MB, from its beginning, its middle and its end, and what an append to it costs.
async fn measure_large(home: &RolloutHome, words: &mut Words) -> Result<Vec<&'static str>> {
    let mut is_slow = false;
    let index = StateIndex::open(home, &StateIndex::path_in(home)).await?;
    for number in 0..2 {
        let (id, path) = write_thread(home, words, number, HUGE_BYTES, "")?;
        let kind = ["legacy", "paginated"][number];
        let started = Instant::now();
        let report = index.sync(|_| {}).await?;
        let took = started.elapsed().as_secs_f64();
        println!(
            "read {:3} MB {kind:9}  {:8.1} ms  {:.0} MB/s",
            HUGE_BYTES / 1_000_000,
            took * 1e3,
            report.bytes_read as f64 / took / 1e6
        );
        let count = ItemsView::None;
        let turns = index.list_turns(&TurnQuery { items_view: count, ..TurnQuery::all(id) }, false).await?;
        let turns = turns.context("the index has the turns")?.items.len();
        let mut slowest = Duration::ZERO;
        for start in [0, turns / 2, turns.saturating_sub(20)] {
            for direction in [SortDirection::Ascending, SortDirection::Descending] {
                let cursor = Some(Cursor::at_position(
                    start as u64 + if direction == SortDirection::Descending { 20 } else { 0 },
                ));
                let query = TurnQuery { direction, limit: 20, cursor, ..TurnQuery::all(id) };
                let took = best_of(10, async || {
                    let page = index.list_turns(&query, false).await?;
                    assert_eq!(page.map(|page| page.items.len()), Some(20), "a whole page");
                    Ok(())
                })
                .await?;
                slowest = slowest.max(took);
            }
        }
        println!("20 of {turns:5} turns     {:8.2} ms  (asked: {} ms)", slowest.as_secs_f64() * 1e3, TURNS.as_millis());
        is_slow |= slowest > TURNS;
        let query = ItemQuery { direction: SortDirection::Descending, limit: 100, ..ItemQuery::all(id) };
        let items = best_of(10, async || index.list_items(&query, false).await.map(drop)).await?;
        println!("100 items             {:8.2} ms", items.as_secs_f64() * 1e3);
        let appended = another_turn(&path, words, number == 1)?;
        let started = Instant::now();
        let newest = TurnQuery { direction: SortDirection::Descending, limit: 20, ..TurnQuery::all(id) };
        let page = index.list_turns(&newest, false).await?;
        ensure!(page.is_some_and(|page| page.items.len() == 20), "what was appended is on the page");
        println!("20 turns, one fresh   {:8.2} ms", started.elapsed().as_secs_f64() * 1e3);
        let started = Instant::now();
        let report = index.sync(|_| {}).await?;
        println!(
            "an append of a turn   {:8.2} ms  {} bytes read of {appended} appended",
            started.elapsed().as_secs_f64() * 1e3,
            report.bytes_read
        );
        ensure!(report.bytes_read <= 2 * appended as u64, "an append is read as a tail: {report:?}");
    }
    Ok(missed([(!is_slow, "a page of turns takes too long")]))
}

/// Measures a search and says whether it took no longer than asked.
async fn search(index: &StateIndex, what: &str, text: &str, asked: Duration) -> Result<bool> {
    let mut hits = 0;
    let mut slowest = Duration::ZERO;
    for order in [SearchOrder::Best, SearchOrder::Sorted] {
        let query = SearchQuery { order, ..SearchQuery::new(text) };
        let took = best_of(5, async || {
            hits = index.search_threads(&query).await?.map_or(0, |page| page.items.len());
            Ok(())
        })
        .await?;
        slowest = slowest.max(took);
    }
    let asked_ms = if asked == Duration::MAX { "any".to_owned() } else { asked.as_millis().to_string() };
    println!(
        "search: {what:20} {:8.2} ms  {hits} hits for {text:?} (asked: {asked_ms} ms)",
        slowest.as_secs_f64() * 1e3
    );
    Ok(slowest <= asked)
}

async fn all_pages(index: &StateIndex, threads: usize) -> Result<(), IndexError> {
    let mut query = ThreadQuery { limit: 100, ..ThreadQuery::default() };
    let mut found = 0;
    loop {
        let page = index.list_threads(&query).await?;
        found += page.items.len();
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            assert_eq!(found, threads, "each thread once");
            return Ok(());
        }
    }
}

async fn best_of(times: u32, mut work: impl AsyncFnMut() -> Result<(), IndexError>) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..times {
        let started = Instant::now();
        work().await?;
        best = best.min(started.elapsed());
    }
    Ok(best)
}

/// Small threads, and large ones: as many for each hundred.
fn fill(home: &RolloutHome, threads: usize, large: usize) -> Result<Vec<PathBuf>> {
    let mut words = Words::new();
    let mut paths = Vec::new();
    for number in 0..threads {
        let common = if number % 2 == 0 { COMMON } else { "" };
        let rare = if number == threads / 6 * 2 { RARE } else { "" };
        paths.push(write_thread(home, &mut words, number, THREAD_BYTES, &format!(" {common} {rare}"))?.1);
    }
    for number in 0..large {
        paths.push(write_thread(home, &mut words, number, LARGE_BYTES, COMMON)?.1);
    }
    Ok(paths)
}

fn line(seed: usize) -> String {
    format!(
        "{{\"timestamp\":\"{}\",\"type\":\"event_msg\",\"payload\":{{\"type\":\"user_message\",\"message\":\"{}\"}}}}\n",
        now(),
        words(seed, 20)
    )
}

fn words(seed: usize, count: usize) -> String {
    let all = ["thread", "weave", "loom", "selvedge", "pattern", "yarn", "shuttle", "cloth", "finish", "edge", "warp"];
    let words = (0..count).map(|number| all[(seed * 7 + number * number) % all.len()]);
    words.collect::<Vec<_>>().join(" ")
}

/// How long this process had a core, in seconds; 0 where the system does not say.
fn cpu_time() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// The most memory that this process had, in bytes; 0 where the system does not say.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).map_or(0, |kb| kb * 1024)
}
