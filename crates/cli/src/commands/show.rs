//! `selvedge show`: a thread as a transcript.

use std::io::Write;
use std::num::NonZeroUsize;

use selvedge_protocol::{StoredThread, Turn, TurnQuery};
use selvedge_thread_store::Damage;
use serde::Serialize;

use crate::app::{App, note, now};
use crate::args::ShowArgs;
use crate::exit::Result;
use crate::render::transcript::{self, Style};
use crate::resolve;

/// How many damaged places to name one by one.
const NAMED: usize = 5;

#[derive(Serialize)]
struct Shown<'a> {
    thread: &'a StoredThread,
    turns: &'a [Turn],
}

/// Shows a thread.
pub(crate) async fn run(args: &ShowArgs, app: &mut App<'_>) -> Result<()> {
    let id = resolve::thread(&*app.store, &args.thread).await?;
    let thread = app.store.read_thread(id).await?;
    // Only the damage is wanted, and the lines need not be held while the turns are made.
    let damage = app.store.load_history(id).await?.damage;
    let mut turns = app.store.list_turns(&TurnQuery::all(id)).await?.items;
    let skipped = skipped(&turns, args.last);
    turns.drain(..skipped);
    print(&thread, &turns, skipped, args.full, app)?;
    app.out.flush()?;
    report(&damage);
    Ok(())
}

/// Prints a thread and some of its turns, before which `skipped` others stand.
pub(crate) fn print(
    thread: &StoredThread,
    turns: &[Turn],
    skipped: usize,
    full: bool,
    app: &mut App<'_>,
) -> Result<()> {
    if app.json {
        return app.out.json(&Shown { thread, turns });
    }
    let style = Style { paint: app.out.paint(), full, now: now() };
    app.out.write_all(transcript::head(thread, style).as_bytes())?;
    app.out.write_all(transcript::turns(turns, skipped + 1, style).as_bytes())?;
    Ok(())
}

fn skipped(turns: &[Turn], last: Option<NonZeroUsize>) -> usize {
    last.map_or(0, |last| turns.len().saturating_sub(last.get()))
}

/// Says what could not be read.
pub(crate) fn report(damage: &[Damage]) {
    for place in damage.iter().take(NAMED) {
        note(&format!("note: damaged: {place}"));
    }
    if damage.len() > NAMED {
        note(&format!("note: and {} more damaged places", damage.len() - NAMED));
    }
    if !damage.is_empty() {
        note("note: everything else was read; nothing was changed");
    }
}
