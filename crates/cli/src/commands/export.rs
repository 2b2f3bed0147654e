//! `selvedge export`: the resolved history of a thread, in its original bytes.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use selvedge_protocol::ThreadId;

use crate::app::App;
use crate::failure::{Failure, FailureKind, Result};
use crate::notes::note;
use crate::resolve::ThreadArg;

/// Arguments of `selvedge export`.
#[derive(Debug, Args)]
#[command(after_help = "\
For a thread that is not a fork and was not rewound, the output is its file, byte for byte. Otherwise the inherited lines come first.

Examples:
  selvedge export 01a1fd5d-aacb > thread.jsonl
  selvedge export 01a1fd5d-aacb -o thread.jsonl")]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    thread: ThreadArg,
    /// File to write, completely or not at all; `-` is standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the history of a thread to standard output or to a file.
pub(crate) async fn run(args: &ExportArgs, app: &mut App<'_>) -> Result<()> {
    let id = args.thread.resolve(&*app.store).await?;
    match args.output.as_deref().filter(|path| *path != Path::new("-")) {
        None => {
            app.store.export(id, app.out).await?;
            Ok(())
        }
        Some(path) => export_to(app, id, path).await,
    }
}

async fn export_to(app: &App<'_>, id: ThreadId, path: &Path) -> Result<()> {
    let bytes = match fs::metadata(path) {
        Ok(existing) if existing.is_dir() => {
            return Err(Failure::new(FailureKind::Other, format!("{} is a directory", path.display()))
                .hint("-o names the file to write"));
        }
        // A pipe or a device cannot be replaced by a finished file, and is written to directly.
        Ok(existing) if !existing.is_file() => into_special_file(app, id, path).await?,
        _ => into_regular_file(app, id, path).await?,
    };
    note(&format!("wrote {bytes} bytes to {}", path.display()));
    Ok(())
}

async fn into_special_file(app: &App<'_>, id: ThreadId, path: &Path) -> Result<u64> {
    let file = File::options().write(true).open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut out = BufWriter::new(file);
    let bytes = app.store.export(id, &mut out).await?;
    out.flush().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(bytes)
}

/// Writes a temporary file in the same directory and renames it, so that no partial history ever has this name. Only
/// its owner can read the file, like the thread itself.
async fn into_regular_file(app: &App<'_>, id: ThreadId, path: &Path) -> Result<u64> {
    let cannot_write = || format!("cannot write {}", path.display());
    let temporary =
        tempfile::Builder::new().prefix(".selvedge-").tempfile_in(directory(path)).with_context(cannot_write)?;
    // If anything fails from here on, the temporary file is removed when it is dropped, and an older export stays as it
    // is.
    let mut out = BufWriter::new(temporary);
    let bytes = app.store.export(id, &mut out).await.map_err(|error| Failure::from(error).context(cannot_write()))?;
    let temporary = out.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(cannot_write)?;
    temporary.persist(path).with_context(cannot_write)?;
    Ok(bytes)
}

fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}
