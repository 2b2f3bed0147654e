//! `selvedge list`: threads, newest update first.

use std::io::Write;

use anyhow::Context;
use selvedge_protocol::{ArchivedFilter, Cursor, CwdFilter, Page, Relation, SortDirection, StoredThread, ThreadQuery};

use crate::app::{App, note, now};
use crate::args::{Filters, ListArgs, Sort};
use crate::exit::Result;
use crate::render::table::{self, Cell, Column, Keep, Look};
use crate::render::text::one_line;
use crate::render::time::ago;
use crate::resolve;

const COLUMNS: [Column; 5] = [
    Column { title: "ID", least: 8, most: 36, keep: Keep::Start, look: Look::Id },
    Column { title: "UPDATED", least: 8, most: 12, keep: Keep::Start, look: Look::Plain },
    Column { title: "THREAD", least: 12, most: 60, keep: Keep::Start, look: Look::Plain },
    Column { title: "DIRECTORY", least: 8, most: 30, keep: Keep::End, look: Look::Dim },
    Column { title: "MODEL", least: 6, most: 20, keep: Keep::Start, look: Look::Dim },
];

/// Lists the threads of the home.
pub(crate) async fn run(args: &ListArgs, app: &mut App<'_>) -> Result<()> {
    let mut query = query(&args.filters, app).await?;
    query.search_term.clone_from(&args.search);
    let page = app.store.list_threads(&query).await?;
    if app.json {
        app.out.json(&page.items)?;
    } else {
        print(app, &page).await?;
    }
    more(page.next_cursor.as_ref(), app)
}

/// The question that the options ask.
pub(crate) async fn query(filters: &Filters, app: &App<'_>) -> Result<ThreadQuery> {
    let relation = match (&filters.child_of, &filters.descendant_of) {
        (Some(text), _) => Some(Relation::ChildOf(resolve::thread(&*app.store, text).await?)),
        (None, Some(text)) => Some(Relation::DescendantOf(resolve::thread(&*app.store, text).await?)),
        (None, None) => None,
    };
    let cwd = match (&filters.cwd, &filters.under) {
        (Some(path), _) => Some(CwdFilter::Exactly(absolute(path)?)),
        (None, Some(path)) => Some(CwdFilter::Under(absolute(path)?)),
        (None, None) => None,
    };
    // A script that names no limit wants everything.
    let default_limit = if app.json { usize::MAX } else { ThreadQuery::default().limit };
    Ok(ThreadQuery {
        sort: filters.sort.map(Sort::key).unwrap_or_default(),
        direction: if filters.ascending { SortDirection::Ascending } else { SortDirection::Descending },
        limit: filters.limit.map_or(default_limit, Into::into),
        cursor: filters.cursor.clone().map(Cursor::from),
        archived: archived(filters.all, filters.archived),
        sources: filters.source.clone(),
        model_providers: filters.provider.clone(),
        models: filters.model.clone(),
        cwd,
        git_branch: filters.branch.clone(),
        git_repository: filters.repository.clone(),
        named: if filters.named || filters.unnamed { Some(filters.named) } else { None },
        since: filters.since,
        until: filters.until,
        relation,
        search_term: None,
    })
}

/// The part of the home that `--all` and `--archived` ask for.
pub(crate) fn archived(all: bool, archived: bool) -> ArchivedFilter {
    match (all, archived) {
        (true, _) => ArchivedFilter::All,
        (false, true) => ArchivedFilter::Archived,
        (false, false) => ArchivedFilter::Active,
    }
}

fn absolute(path: &std::path::Path) -> Result<String> {
    let path = std::path::absolute(path).with_context(|| format!("cannot tell where {} is", path.display()))?;
    Ok(path.to_string_lossy().into_owned())
}

async fn print(app: &mut App<'_>, page: &Page<StoredThread>) -> Result<()> {
    if page.items.is_empty() {
        note(&format!("no such threads in {}", app.home.display()));
        return Ok(());
    }
    let text = render(app, &page.items).await?;
    app.out.write_all(text.as_bytes())?;
    Ok(())
}

/// Threads as a table.
pub(crate) async fn render(app: &App<'_>, threads: &[StoredThread]) -> Result<String> {
    let short = short_length(app, threads).await?;
    let now = now();
    let rows: Vec<Vec<Cell>> = threads
        .iter()
        .map(|thread| {
            vec![
                thread.id.to_string()[..short].to_owned().into(),
                ago(thread.updated_at, now).into(),
                title(thread).into(),
                one_line(thread.cwd.as_deref().unwrap_or_default()).into(),
                one_line(thread.model.as_deref().unwrap_or_default()).into(),
            ]
        })
        .collect();
    Ok(table::render(&columns(short), &rows, app.out.width(), app.out.paint()))
}

/// A short id is of no use when it is cut.
fn columns(short: usize) -> [Column; 5] {
    let mut columns = COLUMNS;
    columns[0].least = short;
    columns
}

/// How many characters of their ids tell these threads from all others.
pub(crate) async fn short_length(app: &App<'_>, threads: &[StoredThread]) -> Result<usize> {
    let shown: Vec<_> = threads.iter().map(|thread| thread.id).collect();
    Ok(app.store.distinct_prefix_len(&shown).await?)
}

/// What a thread is called in a line: its name, or else what it is about.
pub(crate) fn title(thread: &StoredThread) -> String {
    let title = thread.name.as_deref().or(thread.preview.as_deref()).map(one_line).unwrap_or_default();
    let title = if title.is_empty() { "(nothing said yet)".to_owned() } else { title };
    if thread.archived { format!("[archived] {title}") } else { title }
}

/// Says where to go on, below what was printed.
pub(crate) fn more(cursor: Option<&Cursor>, app: &mut App<'_>) -> Result<()> {
    if let Some(cursor) = cursor {
        app.out.flush()?;
        note(&format!("more with --cursor {cursor}"));
    }
    Ok(())
}
