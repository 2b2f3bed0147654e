//! `selvedge export`: the resolved history of a thread in its original bytes, or its transcript as a document.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use selvedge_protocol::ThreadId;
use selvedge_thread_store::ThreadStore;
use selvedge_transcript::{html_document, markdown_document};

use super::show::TranscriptJson;
use crate::app::App;
use crate::failure::{Failure, FailureKind, Result};
use crate::notes::note;
use crate::resolve::ThreadArg;
use crate::transcript_selection::SelectionArgs;

/// Arguments of `selvedge export`.
#[derive(Debug, Args)]
#[command(after_help = "\
jsonl is the log: for a thread that is not a fork and was not rewound, its file, byte for byte; otherwise the inherited lines come \
first. The other formats are documents of its transcript. html is one file that needs no network and has no script; json is what `show \
--json` prints.

Examples:
  selvedge export 01a1fd5d-aacb > thread.jsonl
  selvedge export 01a1fd5d-aacb -o thread.html
  selvedge export 01a1fd5d-aacb --format markdown --turns 3-7 --no-tools")]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    thread: ThreadArg,
    /// Format [default: that of the name of the file, else jsonl]
    #[arg(long, short = 'f', value_enum)]
    format: Option<ExportFormat>,
    /// File to write, completely or not at all; `-` is standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    selection: SelectionArgs,
}

/// The formats of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ExportFormat {
    /// The lines of the log
    Jsonl,
    /// A document to read and to edit
    #[value(alias = "md")]
    Markdown,
    /// One file for a browser
    Html,
    /// The turns and items, for scripts
    Json,
}

impl ExportFormat {
    /// Returns the format that the name of a file has. `None` if its extension is none of a format.
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "jsonl" => Some(Self::Jsonl),
            "md" | "markdown" => Some(Self::Markdown),
            "html" | "htm" => Some(Self::Html),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Writes a thread to standard output or to a file.
pub(crate) async fn run(args: &ExportArgs, app: &mut App<'_>) -> Result<()> {
    let output = args.output.as_deref().filter(|path| *path != Path::new("-"));
    let format = args.format.or_else(|| ExportFormat::of(output?)).unwrap_or(ExportFormat::Jsonl);
    if format == ExportFormat::Jsonl && !args.selection.is_everything() {
        return Err(Failure::new(FailureKind::Usage, "jsonl is the whole log: turns and parts cannot be selected")
            .hint("--format markdown, html or json takes --turns, --no-tools, --no-reasoning and --no-images"));
    }
    let id = args.thread.resolve(&*app.store).await?;
    let export = Export { store: &*app.store, id, document: document(args, format, id, app).await? };
    match output {
        None => export.write(app.out).await.map(drop),
        Some(path) => export.write_to(path).await,
    }
}

/// Returns the document of a thread. `None` for its log, which is not read as a whole.
async fn document(args: &ExportArgs, format: ExportFormat, id: ThreadId, app: &App<'_>) -> Result<Option<String>> {
    if format == ExportFormat::Jsonl {
        return Ok(None);
    }
    let thread = app.store.read_thread(id).await?;
    let (mut turns, first) = args.selection.read(&*app.store, id).await?;
    let parts = args.selection.parts();
    Ok(Some(match format {
        ExportFormat::Markdown => markdown_document(&thread, &turns, first, parts),
        ExportFormat::Html => html_document(&thread, &turns, first, parts),
        ExportFormat::Json | ExportFormat::Jsonl => {
            args.selection.cut(&mut turns);
            let mut text = serde_json::to_string(&TranscriptJson { thread: &thread, turns: &turns, diverged: &[] })?;
            text.push('\n');
            text
        }
    }))
}

/// What is written.
struct Export<'a> {
    store: &'a dyn ThreadStore,
    id: ThreadId,
    /// `None` for the log.
    document: Option<String>,
}

impl Export<'_> {
    /// Writes everything and returns the number of bytes.
    async fn write(&self, out: &mut (dyn Write + Send)) -> Result<u64> {
        match &self.document {
            None => Ok(self.store.export(self.id, out).await?),
            Some(text) => {
                out.write_all(text.as_bytes())?;
                Ok(text.len() as u64)
            }
        }
    }

    async fn write_to(&self, path: &Path) -> Result<()> {
        let bytes = match fs::metadata(path) {
            Ok(existing) if existing.is_dir() => {
                return Err(Failure::new(FailureKind::Other, format!("{} is a directory", path.display()))
                    .hint("-o names the file to write"));
            }
            // A pipe or a device cannot be replaced by a finished file, and is written to directly.
            Ok(existing) if !existing.is_file() => self.write_to_special_file(path).await?,
            _ => self.write_to_regular_file(path).await?,
        };
        note(&format!("wrote {bytes} bytes to {}", path.display()));
        Ok(())
    }

    async fn write_to_special_file(&self, path: &Path) -> Result<u64> {
        let file = File::options().write(true).open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut out = BufWriter::new(file);
        let bytes = self.write(&mut out).await?;
        out.flush().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(bytes)
    }

    /// Writes a temporary file in the same directory and renames it, so that no partial history ever has this name. Only
    /// its owner can read the file, like the thread itself.
    async fn write_to_regular_file(&self, path: &Path) -> Result<u64> {
        let cannot_write = || format!("cannot write {}", path.display());
        let temporary =
            tempfile::Builder::new().prefix(".selvedge-").tempfile_in(directory(path)).with_context(cannot_write)?;
        // If anything fails from here on, the temporary file is removed when it is dropped, and an older export stays as it
        // is.
        let mut out = BufWriter::new(temporary);
        let bytes = self.write(&mut out).await.map_err(|error| error.context(cannot_write()))?;
        let temporary = out.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(cannot_write)?;
        temporary.persist(path).with_context(cannot_write)?;
        Ok(bytes)
    }
}

fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}
