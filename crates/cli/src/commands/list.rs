//! `selvedge list`: threads as a table, newest update first.

use std::io::Write;

use clap::Args;
use selvedge_protocol::{Page, StoredThread};

use crate::app::App;
use crate::clock::now;
use crate::failure::Result;
use crate::notes::{note, note_next_page};
use crate::render::table::{self, Cell, CellStyle, Column};
use crate::render::text::single_line;
use crate::render::thread_title::thread_title;
use crate::render::time::ago;
use crate::thread_filters::ThreadFilters;

const COLUMNS: [Column; 5] = [
    Column::new("ID", 8, 36, CellStyle::Id),
    Column::new("UPDATED", 8, 12, CellStyle::Plain),
    Column::new("THREAD", 12, 60, CellStyle::Plain),
    Column::new("DIRECTORY", 8, 30, CellStyle::Dim).keep_end(),
    Column::new("MODEL", 6, 20, CellStyle::Dim),
];

/// Arguments of `selvedge list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  selvedge list --under . --since 3d
  selvedge list --all --json | jq -r '.[].id'
  selvedge list --search zebra --sort created --ascending")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filters: ThreadFilters,
    /// Threads whose name or preview contains this text
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
}

/// Lists the threads of the home.
pub(crate) async fn run(args: &ListArgs, app: &mut App<'_>) -> Result<()> {
    let mut query = args.filters.to_query(app).await?;
    query.search_term.clone_from(&args.search);
    let page = app.store.list_threads(&query).await?;
    if app.json {
        app.out.json(&page.items)?;
    } else {
        print(app, &page).await?;
    }
    note_next_page(page.next_cursor.as_ref(), app.out)
}

async fn print(app: &mut App<'_>, page: &Page<StoredThread>) -> Result<()> {
    if page.items.is_empty() {
        note(&format!("no such threads in {}", app.location));
        return Ok(());
    }
    let id_len = app.short_id_len(&page.items).await?;
    let text = render(app, &page.items, id_len);
    app.out.write_all(text.as_bytes())?;
    Ok(())
}

/// Renders threads as a table, each with the first `id_len` characters of its id.
pub(crate) fn render(app: &App<'_>, threads: &[StoredThread], id_len: usize) -> String {
    let now = now();
    let rows: Vec<Vec<Cell>> = threads
        .iter()
        .map(|thread| {
            vec![
                thread.id.to_string()[..id_len].to_owned().into(),
                ago(thread.updated_at, now).into(),
                thread_title(thread).into(),
                single_line(thread.cwd.as_deref().unwrap_or_default()).into(),
                single_line(thread.model.as_deref().unwrap_or_default()).into(),
            ]
        })
        .collect();
    // A short id that is cut does not identify a thread, so its column never gets narrower.
    let mut columns = COLUMNS;
    columns[0].min_width = id_len;
    table::render(&columns, &rows, app.out.width(), app.out.paint())
}
