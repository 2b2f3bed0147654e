//! `selvedge compress`: compresses the files of threads that no process writes.

use std::io::Write;

use clap::Args;
use selvedge_protocol::{ThreadId, Timestamp};
use selvedge_thread_store::StoreError;
use selvedge_transcript::size_text;
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::failure::{Failure, FailureKind, Result};
use crate::maintenance;
use crate::notes::note;
use crate::progress::{Progress, ThreadsBar};
use crate::render::counted::counted;
use crate::resolve;
use crate::thread_filters::archived_filter;
use crate::value_parsers::parse_days_or_age;
use crate::wiring::{CompressionReport, CompressionScope, HomeAdmin, UncompressedThread};

/// Arguments of `selvedge compress`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every command works with a compressed thread as before. The next process that appends to the thread decompresses its \
newest file first. Codex does the same: it reads compressed rollouts, and decompresses one before it appends. Compression keeps every \
byte, damage too, and the time of the last change. A file is removed only after its compressed form is durable and was \
read back.

With --older-than, threads that a process writes are skipped. If an argument names such a thread, that is a conflict (exit \
4). Files that are already compressed are always skipped.

With --json: {threads: [{id, files, bytes_before, bytes_after}], total: {threads, files, bytes_before, bytes_after}, \
left: [{id, reason}]}. With --dry-run, bytes_after is null, and left is missing.

Examples:
  selvedge compress 01a1fd5d-aacb
  selvedge compress --older-than 30 --dry-run
  selvedge compress --older-than 90 --all --json | jq .total")]
pub(crate) struct CompressArgs {
    /// Threads to compress: id, unique prefix of an id, or name
    #[arg(value_name = "ID")]
    threads: Vec<String>,
    /// Active threads without an update for this many days; an age such as 12h or 2w works, too
    #[arg(long, value_name = "DAYS", value_parser = parse_days_or_age, conflicts_with = "threads")]
    older_than: Option<Timestamp>,
    /// With --older-than: active and archived threads
    #[arg(long, conflicts_with_all = ["archived", "threads"])]
    all: bool,
    /// With --older-than: archived threads only
    #[arg(long, conflicts_with = "threads")]
    archived: bool,
    /// Print what would be compressed, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What happened to each thread.
#[derive(Default)]
struct CompressionOutcome {
    compressed: Vec<(ThreadId, CompressionReport)>,
    /// Threads that another process writes, with the reason. They are not failures, because the user did not name them.
    busy: Vec<(ThreadId, String)>,
    failed: Vec<(ThreadId, Failure)>,
}

#[derive(Serialize)]
struct CompressedThreadJson {
    id: ThreadId,
    files: usize,
    bytes_before: u64,
    /// `None` before the thread is compressed.
    bytes_after: Option<u64>,
}

/// Sums over the threads that were or would be compressed.
#[derive(Serialize)]
struct CompressionTotal {
    threads: usize,
    files: usize,
    bytes_before: u64,
    /// `None` before the threads are compressed.
    bytes_after: Option<u64>,
}

impl CompressionTotal {
    fn counts(&self) -> String {
        format!("{} ({})", counted(self.threads, "thread"), counted(self.files, "file"))
    }
}

/// Compresses the selected threads.
pub(crate) async fn run(args: &CompressArgs, app: &mut App<'_>) -> Result<()> {
    let scope = scope(args, app).await?;
    let mut plan = app.admin()?.plan_compression(&scope).await?;
    if args.dry_run {
        plan.retain(|thread| !thread.files.is_empty());
        return print_plan(&plan, app);
    }
    // The plan has named threads even if nothing is left to compress in them: one that another process writes is then
    // reported.
    let are_named = !args.threads.is_empty();
    let _maintenance = if plan.is_empty() { None } else { Some(maintenance::begin(app).await?) };
    let outcome = compress(&plan, are_named, app.admin()?).await;
    print_outcome(&outcome, app)?;
    app.out.flush()?;
    verdict(outcome, plan.len())
}

async fn scope(args: &CompressArgs, app: &App<'_>) -> Result<CompressionScope> {
    let mut named = Vec::new();
    for text in &args.threads {
        named.push(resolve::thread(&*app.store, text).await?);
    }
    if !named.is_empty() {
        return Ok(CompressionScope::Threads(named));
    }
    let Some(time) = args.older_than else {
        return Err(Failure::new(FailureKind::Usage, "no threads are selected")
            .hint("give the ids of threads, or --older-than DAYS for all threads without an update for that long"));
    };
    Ok(CompressionScope::UpdatedBefore { time, archived: archived_filter(args.all, args.archived) })
}

async fn compress(plan: &[UncompressedThread], are_named: bool, admin: &HomeAdmin) -> CompressionOutcome {
    let bar = ThreadsBar::default();
    let bytes = plan.iter().map(UncompressedThread::bytes).sum();
    let mut bytes_done = 0;
    let mut outcome = CompressionOutcome::default();
    // One thread after another: each is locked only while its own files are compressed, and a failure stops none of the
    // others.
    for (number, thread) in plan.iter().enumerate() {
        let id = thread.thread_id;
        let threads = Progress { done: number as u64, total: plan.len() as u64 };
        bar.update(threads, Progress { done: bytes_done, total: bytes });
        match admin.compress(id).await {
            Ok(compressed) => outcome.compressed.push((id, compressed)),
            Err(error @ StoreError::Conflict { .. }) if !are_named => outcome.busy.push((id, error.to_string())),
            // Another process deleted it after the plan was made.
            Err(StoreError::NotFound { .. }) if !are_named => {}
            Err(error) => outcome.failed.push((id, error.into())),
        }
        bytes_done += thread.bytes();
    }
    outcome
}

fn print_plan(plan: &[UncompressedThread], app: &mut App<'_>) -> Result<()> {
    let total = CompressionTotal {
        threads: plan.len(),
        files: plan.iter().map(|thread| thread.files.len()).sum(),
        bytes_before: plan.iter().map(UncompressedThread::bytes).sum(),
        bytes_after: None,
    };
    if app.json {
        let threads = plan.iter().map(|thread| CompressedThreadJson {
            id: thread.thread_id,
            files: thread.files.len(),
            bytes_before: thread.bytes(),
            bytes_after: None,
        });
        let answer = to_json(threads.collect(), &total);
        return app.out.json(&answer);
    }
    for thread in plan {
        writeln!(app.out, "{}  {}", thread.thread_id, size_text(thread.bytes()))?;
    }
    writeln!(app.out, "to compress: {}, {}", total.counts(), size_text(total.bytes_before))?;
    Ok(())
}

fn print_outcome(outcome: &CompressionOutcome, app: &mut App<'_>) -> Result<()> {
    // A thread without anything left to compress succeeds, and is not listed.
    let changed: Vec<_> = outcome.compressed.iter().filter(|(_, compressed)| compressed.files > 0).collect();
    let (bytes_before, bytes_after) = changed.iter().fold((0, 0), |(before, after), (_, compressed)| {
        (before + compressed.bytes_before, after + compressed.bytes_after)
    });
    let total = CompressionTotal {
        threads: changed.len(),
        files: changed.iter().map(|(_, compressed)| compressed.files).sum(),
        bytes_before,
        bytes_after: Some(bytes_after),
    };
    for (_, reason) in &outcome.busy {
        note(&format!("skipped: {reason}"));
    }
    if app.json {
        let threads = changed.iter().map(|(id, compressed)| CompressedThreadJson {
            id: *id,
            files: compressed.files,
            bytes_before: compressed.bytes_before,
            bytes_after: Some(compressed.bytes_after),
        });
        let mut answer = to_json(threads.collect(), &total);
        let failed = outcome.failed.iter().map(|(id, failure)| (id, failure.message()));
        let busy = outcome.busy.iter().map(|(id, reason)| (id, reason.clone()));
        answer["left"] = busy.chain(failed).map(|(id, reason)| json!({"id": id, "reason": reason})).collect();
        return app.out.json(&answer);
    }
    let (before, after) = (size_text(bytes_before), size_text(bytes_after));
    writeln!(app.out, "compressed: {}, {before} → {after}", total.counts())?;
    Ok(())
}

fn to_json(threads: Vec<CompressedThreadJson>, total: &CompressionTotal) -> Value {
    json!({"threads": threads, "total": total})
}

/// Returns the first failure, if there is one, and notes the others.
fn verdict(outcome: CompressionOutcome, tried: usize) -> Result<()> {
    let count = outcome.failed.len();
    let mut failed = outcome.failed.into_iter();
    let Some((_, first)) = failed.next() else { return Ok(()) };
    for (_, failure) in failed {
        note(&format!("skipped: {}", failure.message()));
    }
    // Only one failure can be the result of the program. The message says how many there were.
    Err(if tried > 1 { first.context(format!("{count} of {tried} threads were not compressed")) } else { first })
}
