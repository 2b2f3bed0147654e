//! `selvedge index`: the index beside the logs, looked at, brought up to date, made anew.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use indicatif::HumanBytes;

use crate::app::{App, note};
use crate::args::{IndexArgs, IndexVerb};
use crate::exit::{Code, Failure, Result};
use crate::progress::ThreadsBar;
use crate::render::time::ago;
use crate::wiring::{IndexAdmin, IndexStatus, UpdateProgress, UpdateReport};

/// Does what is asked of the index.
pub(crate) async fn run(args: &IndexArgs, app: &mut App<'_>) -> Result<()> {
    if let IndexVerb::Sync { background: true } = args.verb {
        return fill(app).await;
    }
    let index = open(app).await?;
    let bar = ThreadsBar::default();
    let progress = |at: UpdateProgress| bar.tell((at.threads_done, at.threads), (at.bytes_done, at.bytes));
    let report = match args.verb {
        IndexVerb::Status => return status(index, app).await,
        IndexVerb::Sync { .. } => index.update(progress).await.context("cannot bring the index up to date"),
        IndexVerb::Rebuild => index.rebuild(progress).await.context("cannot rebuild the index"),
    };
    drop(bar);
    let report = report?;
    index.close().await;
    if app.json {
        return app.out.json(&report);
    }
    tell(app, &report)
}

async fn open(app: &App<'_>) -> Result<IndexAdmin> {
    let path = path(app)?;
    let opened = app.admin.open_index().await;
    let opened = opened.with_context(|| format!("cannot open the index {}", path.display()))?;
    let index = opened.ok_or_else(switched_off)?;
    if let Some(aside) = index.set_aside() {
        note(&format!("what was there is kept as {}: {}", aside.kept.display(), aside.reason));
    }
    Ok(index)
}

fn path<'a>(app: &'a App<'_>) -> Result<&'a Path> {
    app.admin.index_path().ok_or_else(switched_off)
}

fn switched_off() -> Failure {
    Failure::new(Code::Usage, "the index is switched off").hint("leave out --index off and SELVEDGE_INDEX")
}

fn tell(app: &mut App<'_>, report: &UpdateReport) -> Result<()> {
    let UpdateReport { threads, read_whole, read_tail, removed, unreadable, bytes_read, .. } = report;
    writeln!(
        app.out,
        "{threads} threads; {read_whole} read, {read_tail} gone on with, {removed} gone; {} read",
        HumanBytes(*bytes_read)
    )?;
    if *unreadable > 0 {
        note(&format!("{unreadable} threads could not be read; see the messages above"));
    }
    Ok(())
}

async fn status(index: IndexAdmin, app: &mut App<'_>) -> Result<()> {
    let status = index.status().await.context("cannot compare the index with the home")?;
    index.close().await;
    if app.json {
        return app.out.json(&status);
    }
    describe(app, &status)
}

fn describe(app: &mut App<'_>, status: &IndexStatus) -> Result<()> {
    let checked = status.checked_at.map_or_else(|| "never".to_owned(), |at| ago(at, crate::app::now()));
    writeln!(app.out, "index     {}, {}", status.path.display(), HumanBytes(status.size))?;
    writeln!(app.out, "threads   {} of {}", status.threads, status.threads_in_home)?;
    writeln!(app.out, "to read   {} threads, {}", status.changed, HumanBytes(status.changed_bytes))?;
    writeln!(app.out, "gone      {}", status.gone)?;
    writeln!(app.out, "checked   {checked}")?;
    app.out.flush()?;
    if status.changed + status.gone > 0 || status.checked_at.is_none() {
        note("`selvedge index sync` brings it up to date; questions do so by themselves");
    }
    Ok(())
}

/// Starts a process that fills the index to the end: this one has said what it was asked.
pub(crate) fn spawn_indexer(app: &App<'_>) {
    let (Ok(program), Some(index)) = (std::env::current_exe(), app.admin.index_path()) else { return };
    let mut command = Command::new(program);
    command.arg("--home").arg(&app.home).arg("--index").arg(index).args(["index", "sync", "--background"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    if let Err(error) = command.spawn() {
        tracing::debug!(%error, "the index is left as it is");
    }
}

/// Fills the index unless another process is at it.
async fn fill(app: &App<'_>) -> Result<()> {
    path(app)?;
    app.admin.fill_index().await.context("cannot bring the index up to date")?;
    Ok(())
}
