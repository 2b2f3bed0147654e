//! `selvedge compress`: makes the files of threads smaller that nobody writes.

use std::io::Write;

use indicatif::HumanBytes;
use selvedge_protocol::ThreadId;
use selvedge_thread_store::StoreError;
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::{App, note};
use crate::args::CompressArgs;
use crate::commands::list;
use crate::exit::{Code, Failure, Result};
use crate::progress::ThreadsBar;
use crate::resolve;
use crate::wiring::{CompressionReport, CompressionScope, UncompressedThread};

/// What became of the threads.
#[derive(Default)]
struct Done {
    threads: Vec<(ThreadId, CompressionReport)>,
    /// Those that somebody writes, which is no failure unless they were named.
    busy: Vec<(ThreadId, String)>,
    failed: Vec<(ThreadId, Failure)>,
}

#[derive(Serialize)]
struct Row {
    id: ThreadId,
    files: usize,
    bytes_before: u64,
    /// Nothing before it is done.
    bytes_after: Option<u64>,
}

/// Compresses the threads that are meant.
pub(crate) async fn run(args: &CompressArgs, app: &mut App<'_>) -> Result<()> {
    let scope = scope(args, app).await?;
    let mut plan = app.admin.plan_compression(&scope).await?;
    if args.dry_run {
        plan.retain(|thread| !thread.files.is_empty());
        return tell_plan(&plan, app);
    }
    // What is named is tried in any case, so that it is said if somebody writes it.
    let are_named = !args.threads.is_empty();
    let done = compress(&plan, are_named, app).await;
    tell(&done, app)?;
    app.out.flush()?;
    verdict(done, plan.len())
}

/// The threads that are meant.
async fn scope(args: &CompressArgs, app: &App<'_>) -> Result<CompressionScope> {
    let mut named = Vec::new();
    for text in &args.threads {
        named.push(resolve::thread(&*app.store, text).await?);
    }
    if !named.is_empty() {
        return Ok(CompressionScope::Threads(named));
    }
    let Some(time) = args.older_than else {
        return Err(Failure::new(Code::Usage, "which threads are meant is not said")
            .hint("give the ids of threads, or --older-than DAYS for all that were not updated for so long"));
    };
    Ok(CompressionScope::UpdatedBefore { time, archived: list::archived(args.all, args.archived) })
}

async fn compress(plan: &[UncompressedThread], are_named: bool, app: &App<'_>) -> Done {
    let bar = ThreadsBar::default();
    let bytes = plan.iter().map(UncompressedThread::bytes).sum();
    let mut bytes_done = 0;
    let mut done = Done::default();
    for (number, thread) in plan.iter().enumerate() {
        let id = thread.thread_id;
        bar.tell((number as u64, plan.len() as u64), (bytes_done, bytes));
        match app.admin.compress(id).await {
            Ok(compressed) => done.threads.push((id, compressed)),
            Err(error @ StoreError::Conflict { .. }) if !are_named => done.busy.push((id, error.to_string())),
            // Somebody deleted it meanwhile.
            Err(StoreError::NotFound { .. }) if !are_named => {}
            Err(error) => done.failed.push((id, error.into())),
        }
        bytes_done += thread.bytes();
    }
    done
}

fn tell_plan(plan: &[UncompressedThread], app: &mut App<'_>) -> Result<()> {
    let files = plan.iter().map(|thread| thread.files.len()).sum();
    let bytes = plan.iter().map(UncompressedThread::bytes).sum();
    if app.json {
        let rows = plan.iter().map(|thread| Row {
            id: thread.thread_id,
            files: thread.files.len(),
            bytes_before: thread.bytes(),
            bytes_after: None,
        });
        let answer = answer(rows.collect(), [plan.len(), files], bytes, None);
        return app.out.json(&answer);
    }
    for thread in plan {
        writeln!(app.out, "{}  {}", thread.thread_id, HumanBytes(thread.bytes()))?;
    }
    writeln!(app.out, "to compress: {}, {}", count(plan.len(), files), HumanBytes(bytes))?;
    Ok(())
}

fn tell(done: &Done, app: &mut App<'_>) -> Result<()> {
    let changed: Vec<_> = done.threads.iter().filter(|(_, compressed)| compressed.files > 0).collect();
    let mut total = CompressionReport::default();
    for (_, compressed) in &changed {
        total.files += compressed.files;
        total.bytes_before += compressed.bytes_before;
        total.bytes_after += compressed.bytes_after;
    }
    for (_, reason) in &done.busy {
        note(&format!("left as it is: {reason}"));
    }
    if app.json {
        let rows = changed.iter().map(|(id, compressed)| Row {
            id: *id,
            files: compressed.files,
            bytes_before: compressed.bytes_before,
            bytes_after: Some(compressed.bytes_after),
        });
        let mut answer =
            answer(rows.collect(), [changed.len(), total.files], total.bytes_before, Some(total.bytes_after));
        let failed = done.failed.iter().map(|(id, failure)| (id, failure.message()));
        let busy = done.busy.iter().map(|(id, reason)| (id, reason.clone()));
        answer["left"] = busy.chain(failed).map(|(id, reason)| json!({"id": id, "reason": reason})).collect();
        return app.out.json(&answer);
    }
    let (before, after) = (HumanBytes(total.bytes_before), HumanBytes(total.bytes_after));
    writeln!(app.out, "compressed: {}, {before} → {after}", count(changed.len(), total.files))?;
    Ok(())
}

fn answer(rows: Vec<Row>, [threads, files]: [usize; 2], bytes_before: u64, bytes_after: Option<u64>) -> Value {
    let total = json!({"threads": threads, "files": files, "bytes_before": bytes_before, "bytes_after": bytes_after});
    json!({"threads": rows, "total": total})
}

fn count(threads: usize, files: usize) -> String {
    let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    format!("{} ({})", plural(threads, "thread"), plural(files, "file"))
}

/// Fails for the first thread that could not be compressed; the others are told as notes.
fn verdict(done: Done, tried: usize) -> Result<()> {
    let count = done.failed.len();
    let mut failed = done.failed.into_iter();
    let Some((_, first)) = failed.next() else { return Ok(()) };
    for (_, failure) in failed {
        note(&format!("left as it is: {}", failure.message()));
    }
    Err(if tried > 1 { first.context(format!("{count} of {tried} threads were not compressed")) } else { first })
}
