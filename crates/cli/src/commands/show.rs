//! `selvedge show`: a thread as a transcript.

use std::io::Write;
use std::num::NonZeroUsize;

use clap::Args;
use selvedge_protocol::{StoredThread, Turn, TurnQuery};
use selvedge_thread_store::Damage;
use selvedge_transcript::{TranscriptParts, markdown_document};
use serde::Serialize;

use crate::app::App;
use crate::clock::now;
use crate::diverged;
use crate::failure::Result;
use crate::notes::note;
use crate::render::transcript::{self, TranscriptStyle};
use crate::resolve::ThreadArg;
use crate::wiring::DivergedSegment;

/// How many damaged ranges are reported one by one.
const MAX_REPORTED: usize = 5;

/// Arguments of `selvedge show`.
#[derive(Debug, Args)]
#[command(after_help = "\
With --json: {thread, turns: [{id, status, started_at, completed_at, items: [{type, …}]}]}, and diverged: \
[{segment_id, abandoned_at, first_at, last_at, lines, turns}] if another program went on in a segment that a rewind had \
abandoned, so that its turns are not among these.

Examples:
  selvedge show 01a1fd5d-aacb
  selvedge show 'Thread on zebras' --last 3 --full
  selvedge show 'Thread on zebras' --format markdown | less
  selvedge show 01a1fd5d-aacb --json | jq '.turns[].items[].type'")]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    thread: ThreadArg,
    /// Print long outputs and messages in full
    #[arg(long)]
    full: bool,
    /// Format of the transcript
    #[arg(long, value_enum, default_value_t = ShowFormat::Text, conflicts_with = "json")]
    format: ShowFormat,
    /// Only the newest N turns
    #[arg(long, value_name = "N")]
    last: Option<NonZeroUsize>,
}

/// The formats of a transcript for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ShowFormat {
    /// For a terminal
    Text,
    /// The document that `export --format markdown` writes, always in full
    #[value(alias = "md")]
    Markdown,
}

/// A transcript as JSON.
#[derive(Serialize)]
pub(crate) struct TranscriptJson<'a> {
    pub(crate) thread: &'a StoredThread,
    pub(crate) turns: &'a [Turn],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) diverged: &'a [DivergedSegment],
}

/// Shows a thread.
pub(crate) async fn run(args: &ShowArgs, app: &mut App<'_>) -> Result<()> {
    let id = args.thread.resolve(&*app.store).await?;
    let thread = app.store.read_thread(id).await?;
    // Of this history only the damage is kept, so the lines and the turns are never in memory at the same time.
    let damage = app.store.load_history(id).await?.damage;
    let mut turns = app.store.list_turns(&TurnQuery::all(id)).await?.items;
    let skipped = args.last.map_or(0, |last| turns.len().saturating_sub(last.get()));
    turns.drain(..skipped);
    let diverged = diverged::find(id, app).await;
    match args.format {
        ShowFormat::Text => print_with(&thread, &turns, &diverged, skipped, args.full, app)?,
        ShowFormat::Markdown => {
            let first = u64::try_from(skipped + 1).unwrap_or(u64::MAX);
            let text = markdown_document(&thread, &turns, first, TranscriptParts::default());
            app.out.write_all(text.as_bytes())?;
        }
    }
    // Standard error is not buffered. Without this, the notes would come before the transcript.
    app.out.flush()?;
    report_damage(&damage);
    diverged::warn(id, &diverged);
    Ok(())
}

/// Prints a thread and some of its turns. `skipped` is the number of turns before them.
pub(crate) fn print(
    thread: &StoredThread,
    turns: &[Turn],
    skipped: usize,
    full: bool,
    app: &mut App<'_>,
) -> Result<()> {
    print_with(thread, turns, &[], skipped, full, app)
}

fn print_with(
    thread: &StoredThread,
    turns: &[Turn],
    diverged: &[DivergedSegment],
    skipped: usize,
    full: bool,
    app: &mut App<'_>,
) -> Result<()> {
    if app.json {
        return app.out.json(&TranscriptJson { thread, turns, diverged });
    }
    let style = TranscriptStyle { paint: app.out.paint(), full, now: now() };
    app.out.write_all(transcript::facts(thread, style).as_bytes())?;
    app.out.write_all(transcript::turns(turns, skipped + 1, style).as_bytes())?;
    Ok(())
}

/// Reports the parts of the log that could not be read.
fn report_damage(damage: &[Damage]) {
    for damage in damage.iter().take(MAX_REPORTED) {
        note(&format!("note: damaged: {damage}"));
    }
    if damage.len() > MAX_REPORTED {
        note(&format!("note: and {} more damaged ranges", damage.len() - MAX_REPORTED));
    }
    if !damage.is_empty() {
        note("note: everything else was read; nothing was changed");
    }
}
