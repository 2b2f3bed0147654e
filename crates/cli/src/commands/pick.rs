//! `selvedge pick`: lets the user choose a thread on the terminal.

use std::io::Write;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use selvedge_protocol::StoredThread;

use crate::app::App;
use crate::clock::now;
use crate::failure::{Failure, FailureKind, Result};
use crate::picker::{self, PickerInput};
use crate::render::paint::Paint;
use crate::render::sanitize::sanitize;
use crate::render::transcript::TranscriptStyle;
use crate::thread_filters::ThreadFilters;

/// Arguments of `selvedge pick`.
#[derive(Debug, Args)]
#[command(after_help = "\
Type to search in names, first messages, directories and branches. Letters may be left out, and words may come in any \
order. A capital letter makes the search case-sensitive. 'word matches exactly, ^word at the start, word$ at the end, \
and !word excludes.

Keys: Enter chooses, Esc and Ctrl-C cancel; Up, Down, Ctrl-P, Ctrl-N, Page Up, Page Down, Home and End move; Ctrl-U \
clears the text, and Ctrl-W its last word. The newest turns of the selected thread are shown beside or below the list, \
if there is room.

The list is drawn on the terminal, and standard output contains only the answer. If the user cancels, the exit code is 130.

Examples:
  selvedge show \"$(selvedge pick)\"
  cd \"$(selvedge pick --print cwd --since 1w)\"
  selvedge pick --under . --query zebra --json | jq .model")]
pub(crate) struct PickArgs {
    /// Text to begin with
    #[arg(long, short = 'q', value_name = "TEXT")]
    query: Option<String>,
    /// What to print of the chosen thread
    #[arg(long, value_name = "WHAT", default_value = "id")]
    print: PickOutput,
    #[command(flatten)]
    filters: ThreadFilters,
}

/// What to print of the chosen thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PickOutput {
    /// Its id
    Id,
    /// The path of its newest file
    Path,
    /// The directory that it works in
    Cwd,
    /// The same object as in `list --json`
    Json,
}

/// Lets the user choose a thread, and prints it.
pub(crate) async fn run(args: &PickArgs, color: clap::ColorChoice, app: &mut App<'_>) -> Result<()> {
    let mut query = args.filters.to_query(app).await?;
    // The picker scrolls, so it has no default limit.
    query.limit = args.filters.limit_or(usize::MAX);
    let threads = app.store.list_threads(&query).await?.items;
    if threads.is_empty() {
        let message = format!("no such threads in {}", app.location);
        return Err(
            Failure::new(FailureKind::NotFound, message).hint("`selvedge list --all` shows the threads of this store")
        );
    }
    let input = PickerInput {
        id_len: app.short_id_len(&threads).await?,
        threads,
        typed: args.query.clone().unwrap_or_default(),
        // Not the colours of standard output, which is usually a pipe here. The picker draws on the terminal, and so
        // does standard error.
        paint: Paint::for_stream(color, &std::io::stderr()),
        style: TranscriptStyle { paint: Paint::plain(), full: false, now: now() },
    };
    let chosen = picker::pick(input, Arc::clone(&app.store)).await?.ok_or_else(Failure::cancelled)?;
    print(&chosen, args, app).await
}

async fn print(thread: &StoredThread, args: &PickArgs, app: &mut App<'_>) -> Result<()> {
    let output = if app.json { PickOutput::Json } else { args.print };
    match output {
        PickOutput::Id => writeln!(app.out, "{}", thread.id)?,
        PickOutput::Json => app.out.json(thread)?,
        PickOutput::Cwd => {
            let cwd = thread.cwd.as_deref().ok_or_else(|| unknown("working directory", thread))?;
            print_path(cwd.as_bytes(), app)?;
        }
        PickOutput::Path => {
            let path = app.admin()?.thread_file(thread.id).await?.ok_or_else(|| unknown("file", thread))?;
            print_path(path.as_os_str().as_encoded_bytes(), app)?;
        }
    }
    Ok(())
}

/// Prints a path: sanitized on a terminal, else byte for byte, because a program needs the path as it is.
fn print_path(path: &[u8], app: &mut App<'_>) -> Result<()> {
    if app.out.is_terminal() {
        writeln!(app.out, "{}", sanitize(&String::from_utf8_lossy(path)))?;
    } else {
        app.out.write_all(path)?;
        app.out.write_all(b"\n")?;
    }
    Ok(())
}

fn unknown(what: &str, thread: &StoredThread) -> Failure {
    Failure::new(FailureKind::NotFound, format!("the {what} of thread {} is not known", thread.id))
        .hint("--print id works for every thread")
}
