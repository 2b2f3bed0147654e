//! `selvedge import`: takes rollout files in that no command reads.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use selvedge_protocol::ThreadId;
use serde::Serialize;

use crate::app::App;
use crate::failure::{Failure, FailureKind, Result};
use crate::notes::note;
use crate::render::counted::counted;
use crate::wiring::ImportedFile;

/// Arguments of `selvedge import`.
#[derive(Debug, Args)]
#[command(after_help = "\
For copies that a synchronizing program made of a conflict, and for rollouts that are in another place of the home or come \
from elsewhere. `selvedge doctor` names those of the home that hold lines which are nowhere else.

A file whose thread is not in the home becomes that thread, byte for byte. Otherwise it becomes a new thread that is forked \
from the one in the home. A file without a new line is refused. The file itself is only read and stays where it is, and no \
thread of the home changes.

With --json: [{file, thread_id, forked_from_id, path, lines, new_lines}], in the order of the files that were taken in.

Examples:
  selvedge import ~/Dropbox/'rollout-2026-09-10T08-02-00-01a10002-000e-7000-8002-00009ccf8d4e (1).jsonl'
  selvedge doctor --json | jq -r '.findings[] | select(.kind == \"stray_rollout\").path' | xargs -d '\\n' selvedge import")]
pub(crate) struct ImportArgs {
    /// Rollout files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct ImportReport<'a> {
    file: &'a PathBuf,
    thread_id: ThreadId,
    forked_from_id: Option<ThreadId>,
    path: PathBuf,
    lines: u64,
    new_lines: u64,
}

/// Takes files in, and prints the ids of their threads. A file that is refused does not keep the others out.
pub(crate) async fn run(args: &ImportArgs, app: &mut App<'_>) -> Result<()> {
    let mut reports = Vec::new();
    let mut refused: Vec<Failure> = Vec::new();
    for file in &args.files {
        // The store compares the path with those of the home, which are absolute.
        let path = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        match app.admin()?.import_file(path).await {
            Ok(imported) => {
                if !app.json {
                    writeln!(app.out, "{}", imported.thread_id)?;
                    app.out.flush()?;
                    note(&describe(&imported));
                }
                let ImportedFile { thread_id, forked_from_id, path, lines, new_lines, .. } = imported;
                reports.push(ImportReport { file, thread_id, forked_from_id, path, lines, new_lines });
            }
            Err(error) => refused.push(error.into()),
        }
    }
    if app.json {
        app.out.json(&reports)?;
    }
    if args.files.len() == 1
        && let Some(only) = refused.pop()
    {
        return Err(only);
    }
    for failure in &refused {
        note(&failure.message());
    }
    match refused.len() {
        0 => Ok(()),
        count => {
            Err(Failure::new(FailureKind::Other, format!("{count} of {} files were not taken in", args.files.len())))
        }
    }
}

fn describe(imported: &ImportedFile) -> String {
    let ImportedFile { forked_from_id, lines, new_lines, .. } = imported;
    match forked_from_id {
        Some(source) => {
            format!("a new thread, forked from {source}: {new_lines} of its {} are new", counted(*lines, "line"))
        }
        None => format!("{}, {new_lines} of them new", counted(*lines, "line")),
    }
}
