//! Measures a list in a home of 10,000 threads, from the start of the program and in a running process. Measures also a
//! rename, in large and small homes, of long and short threads.
//!
//! Run it with `cargo xtask bench index`, or with `cargo bench -p selvedge-cli --bench index -- --threads 1000` for a
//! smaller home. The report has the limits beside the measured times, and a time above its limit fails the benchmark.
//! With `--against COMMIT` it measures a home of 200 threads, and nothing from the start of the program.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use selvedge_protocol::{CwdFilter, ThreadId, ThreadMetadataPatch, ThreadQuery};
use selvedge_rollout::RolloutHome;
use selvedge_thread_store::{MetadataOrigin, ThreadReader, ThreadStore};
use selvedge_thread_store_local::LocalThreadStore;

use crate::support::probe::Probe;
use crate::support::report::{Report, Times};
use crate::support::{PROBED_THREADS, PROBED_TIMES, THREAD_BYTES, Words, another_turn, ask, fill, write_thread};

#[expect(dead_code, reason = "other benchmarks use the rest of it")]
#[path = "../../state/benches/support/mod.rs"]
mod support;

/// Limits from the start of the program to its end, for the first list of 50: in a home without an index, and with one.
const WITHOUT_INDEX: Duration = Duration::from_millis(100);
const WITH_INDEX: Duration = Duration::from_millis(30);

/// Limit for a list of 50 in a running process.
const RUNNING: Duration = Duration::from_millis(2);

/// Limit for a list of 50 by directory in a running process. Each directory that a thread has recorded is looked up.
const BY_DIRECTORY: Duration = Duration::from_millis(10);

/// Limit for all pages of 100.
const ALL_PAGES: Duration = Duration::from_millis(150);

/// How many threads a small home has.
const FEW: usize = 100;

/// The size of the long thread that is renamed.
const LONG_BYTES: usize = 19_000_000;

/// For how long the modification time of a directory is not trusted after a change, plus a margin.
const SETTLING: Duration = Duration::from_secs(4);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(probe) = Probe::asked()? {
        return compared(&probe);
    }
    let given = arguments.iter().position(|argument| argument == "--threads").and_then(|at| arguments.get(at + 1));
    let threads: usize = given.map_or(Ok(10_000), |given| given.parse()).context("--threads takes a number")?;
    let dir = tempfile::tempdir()?;
    let home = RolloutHome::new(dir.path());
    let mut words = Words::new();
    let paths = fill(&home, &mut words, threads)?;
    let mut report = Report::default();
    Report::begin(&format!("a list of 50 of {threads} threads, from start to end"));
    std::thread::sleep(SETTLING);
    from_start(dir.path(), &mut report)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        Report::begin("a list in a process that runs");
        in_process(dir.path(), threads, &paths[0], &mut words, &mut report).await?;
        Report::begin("a rename, and the list after it");
        renames(&home, threads, &mut words).await?;
        let few = tempfile::tempdir()?;
        let home = RolloutHome::new(few.path());
        fill(&home, &mut words, FEW)?;
        renames(&home, FEW, &mut words).await
    })?;
    report.end()
}

/// What a comparison with another commit measures.
fn compared(probe: &Probe) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let home = RolloutHome::new(dir.path());
    let mut words = Words::new();
    let paths = fill(&home, &mut words, PROBED_THREADS)?;
    let (id, _) = write_thread(&home, &mut words, PROBED_THREADS, THREAD_BYTES, "")?;
    let store = LocalThreadStore::open(dir.path());
    let query = ThreadQuery::default();
    // The first list makes a background task check every file a little later.
    probe.runtime.block_on(store.list_threads(&query))?;
    probe.runtime.block_on(async { tokio::time::sleep(SETTLING).await });
    ask(probe, "store, list of 50", async || Ok(store.list_threads(&query).await?))?;
    let appended = async || {
        let mut paths = paths.iter().enumerate().take(PROBED_TIMES);
        paths.try_for_each(|(number, path)| another_turn(path, &mut words, number % 2 == 1).map(drop))
    };
    let name = format!("store, list behind {PROBED_TIMES} turns appended elsewhere");
    probe.measure(&name, appended, async |()| Ok(store.list_threads(&query).await?))?;
    let patch = ThreadMetadataPatch { name: Some(Some("a name".to_owned())), ..ThreadMetadataPatch::default() };
    ask(probe, "store, rename and list", async || {
        store.update_thread_metadata(id, &patch, MetadataOrigin::Explicit).await?;
        Ok(store.list_threads(&query).await?)
    })?;
    probe.runtime.block_on(store.close());
    Ok(())
}

/// Measures lists of the program, as people and as scripts call it.
fn from_start(home: &Path, report: &mut Report) -> Result<()> {
    Report::tell("selvedge --version, for comparison", &runs(20, home, &["--version"], || Ok(()))?.to_string());
    let for_people: &[&str] = &["list", "--limit", "50"];
    let for_scripts: &[&str] = &["list", "--limit", "50", "--json"];
    // The background process finds that the index is being filled, and ends.
    let filling = File::create(home.join("selvedge-index.sqlite.filling"))?;
    filling.lock()?;
    for (what, args) in [("as a table", for_people), ("as JSON", for_scripts)] {
        let times = runs(10, home, args, || {
            std::thread::sleep(Duration::from_millis(100));
            remove_index(home)
        })?;
        report.hold_time(&format!("without an index, {what}"), &times, WITHOUT_INDEX);
    }
    drop(filling);
    remove_index(home)?;
    run(home, &["index", "sync"])?;
    for (what, args) in [("as a table", for_people), ("as JSON", for_scripts)] {
        report.hold_time(&format!("with an index, {what}"), &runs(20, home, args, || Ok(()))?, WITH_INDEX);
    }
    Ok(())
}

/// Calls the program `count` times, and `before` before each call. Returns how long the calls take.
fn runs(count: usize, home: &Path, args: &[&str], before: impl Fn() -> Result<()>) -> Result<Times> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        before()?;
        times.push(run(home, args)?);
    }
    Ok(Times::of(times))
}

/// Calls the program, and returns how long it takes.
fn run(home: &Path, args: &[&str]) -> Result<Duration> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge"));
    command.env_clear().env("HOME", home).env("SELVEDGE_HOME", home).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let output = command.output()?;
    let took = started.elapsed();
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}

fn remove_index(home: &Path) -> Result<()> {
    for end in ["", "-wal", "-shm"] {
        match fs::remove_file(home.join(format!("selvedge-index.sqlite{end}"))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Measures lists through the store: the search for changed files, and the query.
async fn in_process(home: &Path, threads: usize, path: &Path, words: &mut Words, report: &mut Report) -> Result<()> {
    let store = LocalThreadStore::open(home);
    let query = ThreadQuery::default();
    let started = Instant::now();
    store.list_threads(&query).await?;
    Report::tell("the first of the process", &Times::of(vec![started.elapsed()]).to_string());
    let list = async || {
        ensure!(store.list_threads(&query).await?.items.len() == query.limit.min(threads), "a whole page");
        Ok(())
    };
    report.hold_time("50 threads", &Times::measured(100, list).await?, RUNNING);
    let of_one = CwdFilter::Exactly("/home/ada/loom/project-7".to_owned());
    let under = CwdFilter::Under("/home/ada/loom".to_owned());
    for (what, filter) in [("50 threads of a directory", of_one), ("50 threads below a directory", under)] {
        let query = ThreadQuery { cwd: vec![filter], ..ThreadQuery::default() };
        let times = Times::measured(100, async || {
            ensure!(!store.list_threads(&query).await?.items.is_empty(), "threads of the directory");
            Ok(())
        });
        report.hold_time(what, &times.await?, BY_DIRECTORY);
    }
    let mut appended = Vec::new();
    for _ in 0..10 {
        another_turn(path, words, false)?;
        let started = Instant::now();
        store.list_threads(&query).await?;
        appended.push(started.elapsed());
    }
    Report::tell("50 threads, one appended to elsewhere", &Times::of(appended).to_string());
    let all = Times::measured(5, async || all_pages(&store, threads).await).await?;
    report.hold_time("all pages of 100", &all, ALL_PAGES);
    store.close().await;
    Ok(())
}

async fn all_pages(store: &LocalThreadStore, threads: usize) -> Result<()> {
    let mut query = ThreadQuery { limit: 100, ..ThreadQuery::default() };
    let mut found = HashSet::new();
    loop {
        let page = store.list_threads(&query).await?;
        for thread in page.items {
            ensure!(found.insert(thread.id), "{} comes twice", thread.id);
        }
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            ensure!(found.len() == threads, "{} of {threads} threads", found.len());
            return Ok(());
        }
    }
}

/// Measures renames of a short and of a long thread in a home with `threads` others.
async fn renames(home: &RolloutHome, threads: usize, words: &mut Words) -> Result<()> {
    let (short, _) = write_thread(home, words, threads, THREAD_BYTES, "")?;
    let (long, _) = write_thread(home, words, threads + 1, LONG_BYTES, "")?;
    run(home.root(), &["index", "sync"])?;
    tokio::time::sleep(SETTLING).await;
    let store = LocalThreadStore::open(home.root());
    store.list_threads(&ThreadQuery::default()).await?;
    for (id, what) in [(short, "30 kB"), (long, "19 MB")] {
        let (renamed, listed) = rename(&store, id).await?;
        Report::tell(&format!("{what}, among {threads}: the rename"), &renamed.to_string());
        Report::tell(&format!("{what}, among {threads}: the list"), &listed.to_string());
    }
    store.close().await;
    Ok(())
}

/// Returns how long renames take, and lists right after them.
async fn rename(store: &LocalThreadStore, id: ThreadId) -> Result<(Times, Times)> {
    let (mut renamed, mut listed) = (Vec::new(), Vec::new());
    for number in 0..10 {
        let name = format!("name {number}");
        let patch = ThreadMetadataPatch { name: Some(Some(name.clone())), ..ThreadMetadataPatch::default() };
        let started = Instant::now();
        store.update_thread_metadata(id, &patch, MetadataOrigin::Explicit).await?;
        renamed.push(started.elapsed());
        let started = Instant::now();
        let query = ThreadQuery { named: Some(true), ..ThreadQuery::default() };
        let page = store.list_threads(&query).await?;
        listed.push(started.elapsed());
        let row = page.items.iter().find(|thread| thread.id == id).context("the thread is listed")?;
        ensure!(row.name.as_ref() == Some(&name), "it is listed by its new name");
    }
    Ok((Times::of(renamed), Times::of(listed)))
}
