//! `selvedge compress`: makes the files of threads smaller that nobody writes.

use std::io::Write;

use anyhow::Context;
use indicatif::HumanBytes;
use selvedge_protocol::{ThreadId, ThreadQuery};
use selvedge_rollout::{HomeFiles, RolloutHome};
use selvedge_thread_store::{StoreError, ThreadReader};
use selvedge_thread_store_local::Compressed;
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::{App, note};
use crate::args::CompressArgs;
use crate::commands::list;
use crate::exit::{Code, Failure, Result};
use crate::progress::ThreadsBar;
use crate::resolve;

/// What is to be compressed of a thread.
#[derive(Clone, Copy)]
struct Plain {
    id: ThreadId,
    files: usize,
    bytes: u64,
}

/// What became of the threads.
#[derive(Default)]
struct Done {
    threads: Vec<(ThreadId, Compressed)>,
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
    let meant = meant(args, app).await?;
    // Those that are meant are in it, wherever somebody moved them until now.
    let files = RolloutHome::new(&app.home).files().context("cannot read the home")?;
    let are_named = !args.threads.is_empty();
    if are_named && let Some(id) = meant.iter().find(|id| files.segments(**id).is_empty()) {
        return Err(StoreError::not_found(*id).into());
    }
    let mut plain: Vec<Plain> = meant.iter().map(|id| plain(*id, &files)).collect();
    // What is named is tried in any case, so that it is said if somebody writes it.
    if args.dry_run || !are_named {
        plain.retain(|plain| plain.files > 0);
    }
    if args.dry_run {
        return tell_plan(&plain, app);
    }
    let done = compress(&plain, are_named, app).await;
    tell(&done, app)?;
    app.out.flush()?;
    verdict(done, plain.len())
}

/// The threads that are meant, each once.
async fn meant(args: &CompressArgs, app: &App<'_>) -> Result<Vec<ThreadId>> {
    let mut meant = Vec::new();
    for text in &args.threads {
        let id = resolve::thread(&*app.store, text).await?;
        if !meant.contains(&id) {
            meant.push(id);
        }
    }
    if !args.threads.is_empty() {
        return Ok(meant);
    }
    let Some(until) = args.older_than else {
        return Err(Failure::new(Code::Usage, "which threads are meant is not said")
            .hint("give the ids of threads, or --older-than DAYS for all that were not updated for so long"));
    };
    let archived = list::archived(args.all, args.archived);
    let query = ThreadQuery { archived, until: Some(until), limit: usize::MAX, ..ThreadQuery::default() };
    Ok(app.store.list_threads(&query).await?.items.into_iter().map(|thread| thread.id).collect())
}

/// What of a thread is not compressed. A file that somebody moved just now has no size here, which is only told.
fn plain(id: ThreadId, files: &HomeFiles) -> Plain {
    let plain = files.segments(id).iter().filter(|file| !file.name.compressed);
    let sizes = plain.clone().filter_map(|file| Some(std::fs::metadata(&file.path).ok()?.len()));
    Plain { id, files: plain.count(), bytes: sizes.sum() }
}

async fn compress(tried: &[Plain], are_named: bool, app: &App<'_>) -> Done {
    let bar = ThreadsBar::default();
    let bytes = tried.iter().map(|plain| plain.bytes).sum();
    let mut bytes_done = 0;
    let mut done = Done::default();
    for (number, plain) in tried.iter().enumerate() {
        bar.tell((number as u64, tried.len() as u64), (bytes_done, bytes));
        match app.local.compress(plain.id).await {
            Ok(compressed) => done.threads.push((plain.id, compressed)),
            Err(error @ StoreError::Conflict { .. }) if !are_named => done.busy.push((plain.id, error.to_string())),
            // Somebody deleted it meanwhile.
            Err(StoreError::NotFound { .. }) if !are_named => {}
            Err(error) => done.failed.push((plain.id, error.into())),
        }
        bytes_done += plain.bytes;
    }
    done
}

fn tell_plan(plain: &[Plain], app: &mut App<'_>) -> Result<()> {
    let (files, bytes) = (plain.iter().map(|plain| plain.files).sum(), plain.iter().map(|plain| plain.bytes).sum());
    if app.json {
        let rows = plain.iter().map(|plain| Row {
            id: plain.id,
            files: plain.files,
            bytes_before: plain.bytes,
            bytes_after: None,
        });
        let answer = answer(rows.collect(), [plain.len(), files], bytes, None);
        return app.out.json(&answer);
    }
    for plain in plain {
        writeln!(app.out, "{}  {}", plain.id, HumanBytes(plain.bytes))?;
    }
    writeln!(app.out, "to compress: {}, {}", count(plain.len(), files), HumanBytes(bytes))?;
    Ok(())
}

fn tell(done: &Done, app: &mut App<'_>) -> Result<()> {
    let changed: Vec<_> = done.threads.iter().filter(|(_, compressed)| compressed.files > 0).collect();
    let mut total = Compressed::default();
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
