//! `selvedge` without a verb on a terminal: what is in the store, and what one can do.

use std::io::Write;

use selvedge_protocol::{ArchivedFilter, StatsKey, StatsQuery, ThreadQuery};

use super::list;
use crate::app::App;
use crate::failure::Result;
use crate::global_options::GlobalOptions;
use crate::output::Output;
use crate::render::counted::counted;
use crate::store_location::{self, StoreLocation};
use crate::wiring::HomeOptions;

/// How many of the newest threads are shown.
const NEWEST: usize = 5;

/// What one can do with threads. `ID` is replaced by the id of the newest one.
const NEXT: [(&str, &str); 6] = [
    ("show ID", "read the newest thread"),
    ("search TEXT", "find threads that contain a text"),
    ("pick", "choose a thread while typing"),
    ("serve --open", "all of it in a browser"),
    ("stats", "threads and tokens by day"),
    ("--help", "all commands"),
];

/// What one can do without threads.
const FIRST: [(&str, &str); 3] = [
    ("demo", "a tour on recorded threads, in a temporary folder"),
    ("--home DIR list", "the threads of another home; `--store URL` takes a database"),
    ("--help", "all commands"),
];

/// Prints the overview.
pub(crate) async fn run(global: &GlobalOptions, out: &mut Output) -> Result<()> {
    let mut app = match store_location::locate(global)? {
        StoreLocation::Home(path) if !path.exists() => {
            writeln!(out, "No threads yet: there is no home at {}.\n", path.display())?;
            return hints(&FIRST, "", out);
        }
        StoreLocation::Home(path) => {
            let options =
                HomeOptions { durability: global.durability()?.unwrap_or_default(), index: global.index_location() };
            App::open_home(&path, options, global.json, out)?
        }
        StoreLocation::Database(database) => App::connect(&database, global.json, out).await?,
    };
    let outcome = describe(&mut app).await;
    app.note_left_out();
    app.close().await;
    outcome
}

async fn describe(app: &mut App<'_>) -> Result<()> {
    let newest = app.store.list_threads(&ThreadQuery { limit: NEWEST, ..ThreadQuery::default() }).await?.items;
    if newest.is_empty() {
        let archived = ThreadQuery { archived: ArchivedFilter::Archived, limit: 1, ..ThreadQuery::default() };
        let what = match app.store.list_threads(&archived).await?.items.is_empty() {
            true => "No threads yet",
            false => "Only archived threads, which `selvedge list --archived` shows,",
        };
        writeln!(app.out, "{what} in {}.\n", app.location)?;
        return hints(&FIRST, "", app.out);
    }
    // The same threads as in `list` and `stats`: the archived ones do not count.
    let query = StatsQuery { threads: ThreadQuery::default(), by: StatsKey::Source, offsets: Vec::new() };
    let total = app.store.thread_stats(&query).await?.total;
    let (threads, turns) = (counted(total.threads, "thread"), counted(total.turns, "turn"));
    writeln!(app.out, "{threads} with {turns} in {}. The newest:\n", app.location)?;
    let id_len = app.short_id_len(&newest).await?;
    let table = list::render(app, &newest, id_len);
    app.out.write_all(table.as_bytes())?;
    writeln!(app.out)?;
    let id = newest.first().map(|thread| thread.id.to_string()[..id_len].to_owned()).unwrap_or_default();
    hints(&NEXT, &id, app.out)
}

fn hints(hints: &[(&str, &str)], id: &str, out: &mut Output) -> Result<()> {
    let paint = out.paint();
    let commands: Vec<String> =
        hints.iter().map(|(command, _)| format!("selvedge {}", command.replace("ID", id))).collect();
    let width = commands.iter().map(String::len).max().unwrap_or(0);
    for (command, (_, what)) in commands.iter().zip(hints) {
        writeln!(out, "  {command:<width$}  {}", paint.dim(what))?;
    }
    Ok(())
}
