//! `selvedge export`: the resolved history, in its original bytes.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use selvedge_protocol::ThreadId;

use crate::app::{App, note};
use crate::args::ExportArgs;
use crate::exit::{Code, Failure, Result};
use crate::resolve;

/// Writes a thread's history to standard output or to a file.
pub(crate) async fn run(args: &ExportArgs, app: &mut App<'_>) -> Result<()> {
    let id = resolve::thread(&*app.store, &args.thread).await?;
    match args.output.as_deref().filter(|path| *path != Path::new("-")) {
        None => {
            app.store.export(id, app.out).await?;
            Ok(())
        }
        Some(path) => to_file(app, id, path).await,
    }
}

async fn to_file(app: &App<'_>, id: ThreadId, path: &Path) -> Result<()> {
    let bytes = match fs::metadata(path) {
        Ok(there) if there.is_dir() => {
            return Err(Failure::new(Code::Failure, format!("{} is a directory", path.display()))
                .hint("-o names the file to write"));
        }
        // A pipe or a device is written to; only a file can be put in the place of another.
        Ok(there) if !there.is_file() => into_special(app, id, path).await?,
        _ => into_file(app, id, path).await?,
    };
    note(&format!("wrote {bytes} bytes to {}", path.display()));
    Ok(())
}

async fn into_special(app: &App<'_>, id: ThreadId, path: &Path) -> Result<u64> {
    let file = File::options().write(true).open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut out = BufWriter::new(file);
    let bytes = app.store.export(id, &mut out).await?;
    out.flush().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(bytes)
}

/// Writes beside the file and moves that over it, so that there is never half a history. Readable by its owner only,
/// as the thread is.
async fn into_file(app: &App<'_>, id: ThreadId, path: &Path) -> Result<u64> {
    let cannot = || format!("cannot write {}", path.display());
    let beside = tempfile::Builder::new().prefix(".selvedge-").tempfile_in(folder(path)).with_context(cannot)?;
    let mut out = BufWriter::new(beside);
    let bytes = app.store.export(id, &mut out).await.map_err(|error| Failure::from(error).context(cannot()))?;
    let beside = out.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(cannot)?;
    beside.persist(path).with_context(cannot)?;
    Ok(bytes)
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}
