//! `selvedge index`: shows the index beside the logs, updates it, or rebuilds it.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::{Args, Subcommand};
use selvedge_transcript::size_text;

use crate::app::App;
use crate::clock::now;
use crate::failure::{Failure, FailureKind, Result};
use crate::notes::note;
use crate::progress::{Progress, ThreadsBar};
use crate::render::counted::counted;
use crate::render::time::ago;
use crate::wiring::{IndexAdmin, IndexStatus, UpdateProgress, UpdateReport};

/// Arguments of `selvedge index`.
#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    #[command(subcommand)]
    verb: IndexVerb,
}

/// What to do with the index.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum IndexVerb {
    /// Show where the index is, what it contains, and which changes it does not have yet; changes nothing
    Status,
    /// Check every file, and read what changed
    Sync {
        /// Print nothing, and end if another process is updating the index already
        #[arg(long, hide = true)]
        background: bool,
    },
    /// Discard the index, and read every thread again
    Rebuild,
}

/// Shows, updates or rebuilds the index.
pub(crate) async fn run(args: &IndexArgs, app: &mut App<'_>) -> Result<()> {
    // `background_index` starts the program in this way. The process fills the index only if no other one does.
    if let IndexVerb::Sync { background: true } = args.verb {
        return fill(app).await;
    }
    let index = open(app).await?;
    let bar = ThreadsBar::default();
    let progress = |at: UpdateProgress| {
        let threads = Progress { done: at.threads_done, total: at.threads };
        bar.update(threads, Progress { done: at.bytes_done, total: at.bytes });
    };
    let report = match args.verb {
        IndexVerb::Status => return status(index, app).await,
        IndexVerb::Sync { .. } => index.update(progress).await.context("cannot bring the index up to date"),
        IndexVerb::Rebuild => index.rebuild(progress).await.context("cannot rebuild the index"),
    };
    // The bar disappears before anything is printed, and also if the update failed.
    drop(bar);
    let report = report?;
    index.close().await;
    if app.json {
        return app.out.json(&report);
    }
    print_report(app, &report)
}

async fn open(app: &App<'_>) -> Result<IndexAdmin> {
    let path = path(app)?;
    let opened = app.admin()?.open_index().await;
    let opened = opened.with_context(|| format!("cannot open the index {}", path.display()))?;
    let index = opened.ok_or_else(switched_off)?;
    if let Some(aside) = index.set_aside() {
        note(&format!("the previous file is kept as {}: {}", aside.kept.display(), aside.reason));
    }
    Ok(index)
}

fn path<'a>(app: &'a App<'_>) -> Result<&'a Path> {
    app.admin()?.index_path().ok_or_else(switched_off)
}

fn switched_off() -> Failure {
    Failure::new(FailureKind::Usage, "the index is switched off")
        .hint("run the command without --index off and without SELVEDGE_INDEX=off")
}

fn print_report(app: &mut App<'_>, report: &UpdateReport) -> Result<()> {
    let UpdateReport { threads, read_whole, read_tail, removed, unreadable, bytes_read, .. } = report;
    writeln!(
        app.out,
        "{}; {read_whole} read, {read_tail} updated incrementally, {removed} removed; {} read",
        counted(*threads, "thread"),
        size_text(*bytes_read)
    )?;
    if *unreadable > 0 {
        note(&format!("{} could not be read; see the messages above", counted(*unreadable, "thread")));
    }
    Ok(())
}

async fn status(index: IndexAdmin, app: &mut App<'_>) -> Result<()> {
    let status = index.status().await.context("cannot compare the index with the home")?;
    index.close().await;
    if app.json {
        return app.out.json(&status);
    }
    print_status(app, &status)
}

fn print_status(app: &mut App<'_>, status: &IndexStatus) -> Result<()> {
    let checked = status.checked_at.map_or_else(|| "never".to_owned(), |at| ago(at, now()));
    writeln!(app.out, "index     {}, {}", status.path.display(), size_text(status.size))?;
    writeln!(app.out, "threads   {} of {}", status.threads, status.threads_in_home)?;
    writeln!(app.out, "to read   {}, {}", counted(status.changed, "thread"), size_text(status.changed_bytes))?;
    writeln!(app.out, "deleted   {}", status.gone)?;
    writeln!(app.out, "checked   {checked}")?;
    app.out.flush()?;
    if status.changed + status.gone > 0 || status.checked_at.is_none() {
        note("`selvedge index sync` brings the index up to date; queries update it automatically");
    }
    Ok(())
}

/// Fills the index, unless another process is doing so.
async fn fill(app: &App<'_>) -> Result<()> {
    path(app)?;
    app.admin()?.fill_index().await.context("cannot bring the index up to date")?;
    Ok(())
}
