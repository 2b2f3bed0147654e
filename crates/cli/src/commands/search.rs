//! `selvedge search`: threads that hold a text.

use std::io::Write;

use selvedge_protocol::{SearchHit, SearchQuery, StoredThread, ThreadId};
use selvedge_thread_store::ThreadStore;

use super::list;
use crate::app::{App, note, now};
use crate::args::SearchArgs;
use crate::exit::Result;
use crate::render::table::{self, Cell, Column, Keep, Look};
use crate::render::text::{clean, one_line};
use crate::render::time::ago;

const COLUMNS: [Column; 5] = [
    Column { title: "ID", least: 8, most: 36, keep: Keep::Start, look: Look::Id },
    Column { title: "UPDATED", least: 8, most: 12, keep: Keep::Start, look: Look::Plain },
    Column { title: "TURN", least: 8, most: 36, keep: Keep::Start, look: Look::Dim },
    Column { title: "IN", least: 6, most: 18, keep: Keep::Start, look: Look::Dim },
    Column { title: "TEXT", least: 20, most: 100, keep: Keep::Start, look: Look::Plain },
];

/// Searches the threads of the home.
pub(crate) async fn run(args: &SearchArgs, app: &mut App<'_>) -> Result<()> {
    let threads = list::query(&args.filters, app)?;
    let query = SearchQuery { threads, hits_per_thread: args.hits.get(), ..SearchQuery::new(&args.text) };
    let page = app.store.search_threads(&query).await?;
    if app.json {
        app.out.json(&page.items)?;
    } else if page.items.is_empty() {
        note(&format!("no thread holds {:?}", args.text));
    } else {
        let text = render(app, &page.items)?;
        app.out.write_all(text.as_bytes())?;
    }
    list::more(page.next_cursor.as_ref(), app)
}

fn render(app: &App<'_>, hits: &[SearchHit]) -> Result<String> {
    let threads: Vec<StoredThread> = hits.iter().map(|hit| hit.thread.clone()).collect();
    let short = list::short_length(app, &threads)?;
    let now = now();
    let rows: Vec<Vec<Cell>> = hits
        .iter()
        .map(|hit| {
            vec![
                hit.thread.id.to_string()[..short].to_owned().into(),
                ago(hit.thread.updated_at, now).into(),
                turn(hit).into(),
                one_line(&hit.kind.replace('_', " ")).into(),
                snippet(hit),
            ]
        })
        .collect();
    let mut columns = COLUMNS;
    columns[0].least = short;
    Ok(table::render(&columns, &rows, app.out.width(), app.out.paint()))
}

/// The turn, by the beginning of its id where that is a UUID: enough to name it with.
fn turn(hit: &SearchHit) -> String {
    let id = hit.turn_id.as_ref().map(|id| one_line(id.as_str())).unwrap_or_default();
    let is_uuid = id.parse::<ThreadId>().is_ok();
    if is_uuid { id.chars().take(13).collect() } else { id }
}

fn snippet(hit: &SearchHit) -> Cell {
    let (start, end) = hit.highlight;
    let parts = [hit.snippet.get(..start), hit.snippet.get(start..end), hit.snippet.get(end..)];
    let [Some(before), Some(found), Some(after)] = parts else {
        return one_line(&hit.snippet).into();
    };
    // Blanks at the seams stand between words; `one_line` would take them away.
    let flat = |text: &str| clean(text).replace(['\n', '\t'], " ");
    Cell::Hit(flat(before), flat(found), flat(after))
}
