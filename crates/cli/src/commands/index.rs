//! `selvedge index`: the index beside the logs, looked at, brought up to date, made anew.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use indicatif::HumanBytes;
use selvedge_rollout::RolloutHome;
use selvedge_state::{IndexStatus, StateIndex, SyncReport};
use selvedge_thread_store_local::IndexLocation;

use crate::app::{App, note};
use crate::args::{IndexArgs, IndexVerb};
use crate::exit::{Code, Failure, Result};
use crate::progress::ThreadsBar;
use crate::render::time::ago;

/// Does what is asked of the index.
pub(crate) async fn run(args: &IndexArgs, app: &mut App<'_>) -> Result<()> {
    let path = path(app)?;
    if let IndexVerb::Sync { background: true } = args.verb {
        return in_background(app, &path).await;
    }
    let index = open(app, &path).await?;
    match args.verb {
        IndexVerb::Status => {}
        IndexVerb::Sync { .. } => return sync(app, &index).await,
        IndexVerb::Rebuild => {
            index.clear().await.context("cannot clear the index")?;
            return sync(app, &index).await;
        }
    }
    let status = index.status().await.context("cannot compare the index with the home")?;
    index.close().await;
    if app.json {
        return app.out.json(&status);
    }
    describe(app, &status)
}

pub(super) fn path(app: &App<'_>) -> Result<PathBuf> {
    match &app.index {
        IndexLocation::InHome => Ok(StateIndex::path_in(&RolloutHome::new(&app.home))),
        IndexLocation::At(path) => Ok(path.clone()),
        IndexLocation::Disabled => {
            Err(Failure::new(Code::Usage, "the index is switched off").hint("leave out --index off and SELVEDGE_INDEX"))
        }
    }
}

async fn open(app: &App<'_>, path: &Path) -> Result<StateIndex> {
    let index = StateIndex::open(&RolloutHome::new(&app.home), path).await;
    let index = index.with_context(|| format!("cannot open the index {}", path.display()))?;
    if let Some(aside) = index.set_aside() {
        note(&format!("what was there is kept as {}: {}", aside.kept.display(), aside.reason));
    }
    Ok(index)
}

async fn sync(app: &mut App<'_>, index: &StateIndex) -> Result<()> {
    let bar = ThreadsBar::default();
    let report = index
        .sync(|progress| {
            bar.tell((progress.threads_done, progress.threads), (progress.bytes_done, progress.bytes));
        })
        .await;
    drop(bar);
    let report = report.context("cannot bring the index up to date")?;
    index.close().await;
    if app.json {
        return app.out.json(&report);
    }
    tell(app, &report)
}

fn tell(app: &mut App<'_>, report: &SyncReport) -> Result<()> {
    let SyncReport { threads, read_whole, read_tail, removed, unreadable, bytes_read, .. } = report;
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

/// Leaves the rest of filling the index to a process of its own: this one has said what it was asked.
pub(crate) fn go_on_alone(app: &App<'_>) {
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = Command::new(program);
    command.arg("--home").arg(&app.home);
    if let IndexLocation::At(path) = &app.index {
        command.arg("--index").arg(path);
    }
    command.args(["index", "sync", "--background"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    if let Err(error) = command.spawn() {
        tracing::debug!(%error, "the index is left as it is");
    }
}

/// Fills the index unless another process is at it.
async fn in_background(app: &App<'_>, path: &Path) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".filling");
    let lock = File::options().append(true).create(true).open(&name);
    let lock = lock.with_context(|| format!("cannot open {}", Path::new(&name).display()))?;
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        return Ok(());
    }
    let index = open(app, path).await?;
    index.sync(|_| {}).await.context("cannot bring the index up to date")?;
    index.close().await;
    let _ = std::fs::remove_file(&name);
    Ok(())
}
