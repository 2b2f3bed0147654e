//! Measures the index: building it, updating it, and queries. It uses a home of 10,000 threads of about 30 kB, one as large with
//! long outputs of tools, homes in scripts without spaces between words, one of 100 threads of 10 MB, and two threads of 100 MB.
//!
//! `cargo xtask bench index`, or `cargo bench -p selvedge-state --bench index -- --threads 1000` for a smaller home. Each
//! measurement is printed beside its target, and a missed target fails the benchmark. `--against COMMIT` uses a home of 200
//! threads.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use selvedge_protocol::{
    Cursor, ItemQuery, ItemsView, SearchOrder, SearchQuery, SortDirection, StatsKey, StatsQuery, ThreadId, ThreadQuery,
    TurnQuery,
};
use selvedge_rollout::RolloutHome;
use selvedge_state::{IndexError, StateIndex};

use crate::support::probe::Probe;
use crate::support::report::{Report, Times};
use crate::support::{
    COMMON, PROBED_THREADS, PROBED_TIMES, RARE, TextScript, Words, another_turn, ask, fill, write_thread,
};

mod support;

/// The size in bytes of a large thread, and the number of such threads.
const LARGE_BYTES: usize = 10_000_000;
const LARGE_THREADS: usize = 100;

/// The size in bytes of the largest threads.
const HUGE_BYTES: usize = 100_000_000;

/// Target for building: bytes of rollout text per second, or threads per second; one of the two must be met.
const BYTES_PER_SECOND: f64 = 150e6;
const THREADS_PER_SECOND: f64 = 4_000.0;

/// Target: memory while the index is built, in bytes.
const MEMORY: u64 = 150 << 20;

/// Target: size of the index, as a fraction of the rollouts.
const SIZE: f64 = 0.5;

/// Target: one page of 50.
const PAGE: Duration = Duration::from_micros(500);

/// Target: all pages of 100.
const ALL_PAGES: Duration = Duration::from_millis(150);

/// Target: statistics of 10,000 threads. An answer reads a row of each thread.
const STATS: Duration = Duration::from_millis(150);

/// Target: the first page for a word that is in one thread or in none, and for a word or a piece that is in many.
const SEARCH_RARE: Duration = Duration::from_millis(10);
const SEARCH_COMMON: Duration = Duration::from_millis(50);

/// Target: a page of 20 turns of the largest threads.
const TURNS: Duration = Duration::from_millis(5);

/// The size in bytes of the long thread of a comparison.
const PROBED_BYTES: usize = 500_000;

/// How many lines the outputs of tools have in the home with long outputs. Of most of them only the beginning is searched.
const OUTPUT_LINES: usize = 200;

/// How often the index is built.
const BUILDS: usize = 2;

/// The argument with which this program only builds the index of a home, so that its memory is that of building alone.
const BUILD: &str = "--build";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, first, home] = arguments.as_slice()
        && first == BUILD
    {
        return build_alone(Path::new(home));
    }
    if let Some(probe) = Probe::asked()? {
        return compare(&probe);
    }
    let given = arguments.iter().position(|argument| argument == "--threads").and_then(|at| arguments.get(at + 1));
    let threads: usize = given.map_or(Ok(10_000), |given| given.parse()).context("--threads takes a number")?;
    let mut words = Words::new();
    let mut report = Report::default();
    tokio::runtime::Runtime::new()?.block_on(async {
        Report::begin(&format!("{threads} threads of about 30 kB"));
        many(threads, &mut words, &mut report).await?;
        in_scripts(threads / 4, &mut report).await?;
        with_outputs(threads, &mut report).await?;
        large(&mut words, &mut report).await?;
        huge(&mut words, &mut report).await
    })?;
    report.end()
}

/// Measures the workloads of a comparison with another tree.
fn compare(probe: &Probe) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let home = RolloutHome::new(dir.path());
    let path = StateIndex::path_in(&home);
    let mut words = Words::new();
    let paths = fill(&home, &mut words, PROBED_THREADS - 1)?;
    let (id, _) = write_thread(&home, &mut words, PROBED_THREADS, PROBED_BYTES, "")?;
    let without_index = async || {
        remove_index(&home);
        Ok(())
    };
    probe.measure(&format!("index of {PROBED_THREADS} threads"), without_index, async |()| {
        let index = StateIndex::open(&home, &path).await?;
        index.update(|_| {}).await?;
        index.close().await;
        Ok(())
    })?;
    let index = probe.runtime.block_on(StateIndex::open(&home, &path))?;
    let appended = async || {
        let mut paths = paths.iter().enumerate().take(PROBED_TIMES);
        paths.try_for_each(|(number, path)| another_turn(path, &mut words, number % 2 == 1).map(drop))
    };
    let name = format!("sync of {PROBED_TIMES} appended turns");
    probe.measure(&name, appended, async |()| Ok(index.update(|_| {}).await?))?;
    ask(probe, "sync without changes", async || Ok(index.update(|_| {}).await?))?;
    compare_queries(probe, &index, id)?;
    probe.runtime.block_on(index.close());
    Ok(())
}

/// Measures the queries of a comparison.
fn compare_queries(probe: &Probe, index: &StateIndex, id: ThreadId) -> Result<()> {
    ask(probe, "list of 50", async || Ok(index.list_threads(&ThreadQuery::default()).await?))?;
    ask(probe, "all pages of 100", async || Ok(all_pages(index, PROBED_THREADS).await?))?;
    ask(probe, "statistics by day", async || Ok(index.stats(&StatsQuery::default()).await?))?;
    for (what, text) in [("rare", RARE), ("common", COMMON)] {
        for (how, order) in [("best", SearchOrder::Best), ("newest", SearchOrder::Sorted)] {
            let query = SearchQuery { order, ..SearchQuery::new(text) };
            let search = async || index.search_threads(&query).await?.context("the index answers");
            ask(probe, &format!("search {how}, {what} word"), search)?;
        }
    }
    let newest = TurnQuery { direction: SortDirection::Descending, limit: 20, ..TurnQuery::all(id) };
    ask(probe, "last 20 turns", async || index.list_turns(&newest, false).await?.context("the index answers"))
}

/// Removes the index of a home, if there is one.
fn remove_index(home: &RolloutHome) {
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(home.root().join(format!("selvedge-index.sqlite{end}")));
    }
}

/// Measures a home of many small threads, as most homes are: building, updates, lists and searches.
async fn many(threads: usize, words: &mut Words, report: &mut Report) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let home = RolloutHome::new(dir.path());
    let paths = fill(&home, words, threads)?;
    let index = build(&home, &paths, words, report).await?;
    let unchanged = Times::measured(5, async || index.update(|_| {}).await.map(drop)).await?;
    Report::tell("sync without changes", &unchanged.to_string());
    append(&index, &paths[0], false, words, report).await?;
    append(&index, &paths[1], true, words, report).await?;

    let page = Times::measured(100, async || index.list_threads(&ThreadQuery::default()).await.map(drop)).await?;
    report.hold_time("a page of 50, the query itself", &page, PAGE);
    let all = Times::measured(5, async || all_pages(&index, threads).await).await?;
    report.hold_time("all pages of 100", &all, ALL_PAGES);
    for (what, by) in [("day", StatsKey::Day), ("project", StatsKey::Project), ("model", StatsKey::Model)] {
        let query = StatsQuery { by, ..StatsQuery::default() };
        let stats = Times::measured(5, async || index.stats(&query).await.map(drop)).await?;
        report.hold_time(&format!("statistics by {what}"), &stats, STATS);
    }

    let (common, rare) = words.searched();
    let piece: String = rare.chars().skip(1).take(6).collect();
    search(&index, "rare word", rare, SEARCH_RARE, report).await?;
    search(&index, "piece of a rare word", &piece, SEARCH_RARE, report).await?;
    search(&index, "word of half of the threads", common, SEARCH_COMMON, report).await?;
    search(&index, "both words", &format!("{common} {rare}"), SEARCH_COMMON, report).await?;
    let phrase = format!("\"{common}{}{rare}\"", words.separator());
    search(&index, "phrase", &phrase, SEARCH_RARE, report).await?;
    let letter: String = common.chars().take(1).collect();
    search(&index, "one letter", &letter, SEARCH_COMMON, report).await?;
    search(&index, "piece of hashes", "a3f", SEARCH_COMMON, report).await?;
    search(&index, "nothing", "c0ffee11", SEARCH_RARE, report).await?;
    index.close().await;
    Ok(())
}

/// Measures homes in scripts without spaces between words.
async fn in_scripts(threads: usize, report: &mut Report) -> Result<()> {
    for script in [TextScript::Chinese, TextScript::Thai] {
        Report::begin(&format!("{threads} threads of about 30 kB, {script:?}"));
        many(threads, &mut Words::in_script(script), report).await?;
    }
    Ok(())
}

/// Measures a home of threads with long outputs of tools.
async fn with_outputs(threads: usize, report: &mut Report) -> Result<()> {
    let mut words = Words::new();
    words.output_lines = Some(OUTPUT_LINES);
    Report::begin(&format!("{threads} threads with outputs of up to {OUTPUT_LINES} lines"));
    many(threads, &mut words, report).await
}

/// Measures a home of large threads.
async fn large(words: &mut Words, report: &mut Report) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let home = RolloutHome::new(dir.path());
    let write = |number| Ok(write_thread(&home, words, number, LARGE_BYTES, COMMON)?.1);
    let paths = (0..LARGE_THREADS).map(write).collect::<Result<Vec<_>>>()?;
    Report::begin(&format!("{LARGE_THREADS} threads of {} MB", LARGE_BYTES / 1_000_000));
    let index = build(&home, &paths, words, report).await?;
    append(&index, &paths[0], false, words, report).await?;
    append(&index, &paths[1], true, words, report).await?;
    index.close().await;
    Ok(())
}

/// Measures pages of threads of 100 MB, at their beginnings, middles and ends, and an append to them.
async fn huge(words: &mut Words, report: &mut Report) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let home = RolloutHome::new(dir.path());
    let index = StateIndex::open(&home, &StateIndex::path_in(&home)).await?;
    for (number, kind) in ["legacy", "paginated"].into_iter().enumerate() {
        let (id, path) = write_thread(&home, words, number, HUGE_BYTES, "")?;
        Report::begin(&format!("a {kind} thread of {} MB", HUGE_BYTES / 1_000_000));
        let started = Instant::now();
        let read = index.update(|_| {}).await?.bytes_read;
        let took = started.elapsed();
        let rate = read as f64 / took.as_secs_f64() / 1e6;
        Report::tell("reading it", &format!("{}, {rate:.0} MB/s", Times::of(vec![took])));
        let count = TurnQuery { items_view: ItemsView::None, ..TurnQuery::all(id) };
        let turns = index.list_turns(&count, false).await?.context("the index has the turns")?.items.len();
        for start in [0, turns / 2, turns.saturating_sub(20)] {
            for direction in [SortDirection::Ascending, SortDirection::Descending] {
                let from = if direction == SortDirection::Descending { start + 20 } else { start };
                let cursor = Some(Cursor::at_position(from as u64));
                let query = TurnQuery { direction, limit: 20, cursor, ..TurnQuery::all(id) };
                let times = Times::measured(10, async || {
                    let page = index.list_turns(&query, false).await?;
                    assert_eq!(page.map(|page| page.items.len()), Some(20), "a whole page");
                    Ok::<(), IndexError>(())
                })
                .await?;
                let way = if direction == SortDirection::Descending { "back" } else { "on" };
                report.hold_time(&format!("20 of {turns} turns, from {from} {way}"), &times, TURNS);
            }
        }
        let query = ItemQuery { direction: SortDirection::Descending, limit: 100, ..ItemQuery::all(id) };
        let items = Times::measured(10, async || index.list_items(&query, false).await.map(drop)).await?;
        Report::tell("the last 100 items", &items.to_string());
        another_turn(&path, words, number == 1)?;
        let started = Instant::now();
        let newest = TurnQuery { direction: SortDirection::Descending, limit: 20, ..TurnQuery::all(id) };
        let page = index.list_turns(&newest, false).await?;
        ensure!(page.is_some_and(|page| page.items.len() == 20), "what was appended is on the page");
        Report::tell("the last 20 turns, one not indexed", &Times::of(vec![started.elapsed()]).to_string());
        index.update(|_| {}).await?;
        append(&index, &path, number == 1, words, report).await?;
    }
    index.close().await;
    Ok(())
}

/// Builds an index of the home, and reports the time, the memory and the size.
///
/// Other scripts than Latin have no target for the time: their letters are looked up in the tables of Unicode.
async fn build(home: &RolloutHome, paths: &[PathBuf], words: &Words, report: &mut Report) -> Result<StateIndex> {
    let started = Instant::now();
    let mut text = 0;
    for path in paths {
        text += fs::read(path)?.len();
    }
    let floor = started.elapsed();
    Report::tell("text", &format!("{:9.1} MB", text as f64 / 1e6));
    Report::tell("reading it and nothing else", &Times::of(vec![floor]).to_string());

    let (mut took, mut cpu, mut memory) = (Vec::new(), f64::MAX, 0.0_f64);
    for _ in 0..BUILDS {
        remove_index(home);
        let output = Command::new(std::env::current_exe()?).arg(BUILD).arg(home.root()).output()?;
        let printed = String::from_utf8(output.stdout)?;
        let printed = printed.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        let &[seconds, processor_seconds, bytes, threads] = printed.as_slice() else {
            bail!("the index was not built: {}", String::from_utf8_lossy(&output.stderr));
        };
        ensure!(threads == paths.len() as f64, "every thread is read");
        took.push(Duration::from_secs_f64(seconds));
        cpu = cpu.min(processor_seconds);
        memory = memory.max(bytes);
    }
    let took = Times::of(took);
    let best = took.best().as_secs_f64();
    let (threads_per_second, bytes_per_second) = (paths.len() as f64 / best, text as f64 / best);
    let (what, rates) =
        ("building the index", format!("{threads_per_second:.0} threads/s, {:.0} MB/s", bytes_per_second / 1e6));
    let measured = format!("{took}: {rates}");
    if words.script == TextScript::Latin {
        let target = format!("{THREADS_PER_SECOND} threads/s or {:.0} MB/s", BYTES_PER_SECOND / 1e6);
        let is_kept = threads_per_second >= THREADS_PER_SECOND || bytes_per_second >= BYTES_PER_SECOND;
        report.hold(what, &measured, &target, is_kept);
    } else {
        Report::tell(what, &measured);
    }
    Report::tell("processor time of that", &format!("{:9.2} ms: {:.2} cores at once", cpu * 1e3, cpu / best));
    let target = format!("at most {} MB", MEMORY >> 20);
    report.hold("memory of that", &format!("{:9.1} MB", memory / f64::from(1 << 20)), &target, memory <= MEMORY as f64);
    let path = StateIndex::path_in(home);
    let size = fs::metadata(&path)?.len() as f64;
    let share = size / text as f64;
    let measured = format!("{:9.1} MB, {share:.3} of the text", size / 1e6);
    report.hold("size of the index", &measured, &format!("at most {SIZE}"), share <= SIZE);
    Ok(StateIndex::open(home, &path).await?)
}

/// Builds the index of a home. Prints the seconds that passed, the processor seconds, the peak of memory in bytes, and the number
/// of threads.
fn build_alone(home: &Path) -> Result<()> {
    let home = RolloutHome::new(home);
    let started = Instant::now();
    let done = tokio::runtime::Runtime::new()?.block_on(async {
        let index = StateIndex::open(&home, &StateIndex::path_in(&home)).await?;
        index.update(|_| {}).await
    })?;
    println!("{} {} {} {}", started.elapsed().as_secs_f64(), cpu_time(), peak_memory(), done.read_whole);
    Ok(())
}

/// Appends a turn to a thread, and reports how much an update reads.
async fn append(
    index: &StateIndex,
    path: &Path,
    paginated: bool,
    words: &mut Words,
    report: &mut Report,
) -> Result<()> {
    let appended = another_turn(path, words, paginated)? as u64;
    let size = fs::metadata(path)?.len();
    let started = Instant::now();
    let done = index.update(|_| {}).await?;
    let took = Times::of(vec![started.elapsed()]);
    report.hold(
        &format!("an append to {:.2} MB", size as f64 / 1e6),
        &format!("{took}: {} bytes read, {appended} appended", done.bytes_read),
        "the tail alone is read",
        done.read_tail == 1 && done.read_whole == 0 && done.bytes_read <= 2 * appended,
    );
    Ok(())
}

/// Measures a search in both orders.
async fn search(index: &StateIndex, what: &str, text: &str, target: Duration, report: &mut Report) -> Result<()> {
    for order in [SearchOrder::Best, SearchOrder::Sorted] {
        let query = SearchQuery { order, ..SearchQuery::new(text) };
        let mut hits = 0;
        let times = Times::measured(7, async || {
            hits = index.search_threads(&query).await?.map_or(0, |page| page.items.len());
            Ok::<(), IndexError>(())
        })
        .await?;
        let order = if order == SearchOrder::Best { "best" } else { "newest" };
        let what = format!("search {order}, {what} ({hits})");
        report.hold_time(&what, &times, target);
    }
    Ok(())
}

async fn all_pages(index: &StateIndex, threads: usize) -> Result<(), IndexError> {
    let mut query = ThreadQuery { limit: 100, ..ThreadQuery::default() };
    let mut found = std::collections::HashSet::new();
    loop {
        let page = index.list_threads(&query).await?;
        for thread in page.items {
            assert!(found.insert(thread.id), "a thread twice");
        }
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            assert_eq!(found.len(), threads, "each thread once");
            return Ok(());
        }
    }
}

/// Returns the processor seconds of this process. 0 if the system does not provide them.
fn cpu_time() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// Returns the peak of this process's memory in bytes. 0 if the system does not provide it.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).map_or(0, |kb| kb * 1024)
}
