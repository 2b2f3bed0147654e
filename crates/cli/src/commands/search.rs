//! `selvedge search`: threads that hold a text.

use std::io::Write;

use selvedge_protocol::{SearchHit, SearchOrder, SearchQuery, StoredThread, Turn, TurnQuery, TurnSelector};
use selvedge_thread_store::StoreError;

use super::{list, show};
use crate::app::{App, note, now};
use crate::args::{Order, SearchArgs};
use crate::exit::Result;
use crate::render::table::{self, Cell, Column, Keep, Look, Marked};
use crate::render::text::{clean, columns, keep_start, one_line};
use crate::render::time::ago;

const COLUMNS: [Column; 3] = [
    Column { title: "TURN", least: 4, most: 12, keep: Keep::Start, look: Look::Plain },
    Column { title: "IN", least: 6, most: 18, keep: Keep::Start, look: Look::Dim },
    Column { title: "TEXT", least: 20, most: 240, keep: Keep::Start, look: Look::Plain },
];

/// What stands before the hits of a thread.
const INDENT: usize = 2;

/// Searches the threads of the home.
pub(crate) async fn run(args: &SearchArgs, app: &mut App<'_>) -> Result<()> {
    let threads = list::query(&args.filters, app).await?;
    let hits_per_thread = args.hits.get();
    let mut query = SearchQuery { threads, hits_per_thread, order: order(args), ..SearchQuery::new(&args.text) };
    if args.open {
        (query.threads.limit, query.hits_per_thread) = (1, 1);
    }
    let page = app.store.search_threads(&query).await?;
    if let (true, Some(hit)) = (args.open, page.items.first()) {
        return open(hit, args, app).await;
    }
    if app.json {
        app.out.json(&page.items)?;
    } else if page.items.is_empty() {
        note(&format!("no thread holds {:?}", args.text));
    } else {
        let text = render(app, &page.items).await?;
        app.out.write_all(text.as_bytes())?;
    }
    list::more(page.next_cursor.as_ref(), app)
}

/// Shows the turn of a hit.
async fn open(hit: &SearchHit, args: &SearchArgs, app: &mut App<'_>) -> Result<()> {
    let query = TurnQuery { turn: hit.turn_number.map(TurnSelector::Number), ..TurnQuery::all(hit.thread.id) };
    let turns = match app.store.list_turns(&query).await {
        // It was undone since it was found.
        Err(StoreError::TurnNotFound { .. }) => Vec::new(),
        outcome => outcome?.items,
    };
    let number = hit.turn_number.and_then(|number| usize::try_from(number).ok()).unwrap_or(turns.len());
    // A hit in the name is of no turn; the newest is what is going on.
    let turn: &[Turn] = turns.last().map(std::slice::from_ref).unwrap_or_default();
    show::print(&hit.thread, turn, number.saturating_sub(1), args.full, app)
}

/// Who says what to sort by wants it sorted.
fn order(args: &SearchArgs) -> SearchOrder {
    let says_how = args.filters.sort.is_some() || args.filters.ascending;
    match args.order {
        Some(Order::Best) => SearchOrder::Best,
        Some(Order::Sorted) => SearchOrder::Sorted,
        None if says_how => SearchOrder::Sorted,
        None => SearchOrder::Best,
    }
}

/// Each thread with its hits below.
async fn render(app: &App<'_>, hits: &[SearchHit]) -> Result<String> {
    let threads: Vec<StoredThread> = hits.iter().map(|hit| hit.thread.clone()).collect();
    let short = list::short_length(app, &threads).await?;
    let (now, paint) = (now(), app.out.paint());
    let rows: Vec<Vec<Cell>> = hits.iter().map(row).collect();
    let width = app.out.width().map(|width| width.saturating_sub(INDENT));
    let mut lines = table::lines(&COLUMNS, &rows, width, paint).into_iter();
    let mut out = String::new();
    for of_thread in hits.chunk_by(|one, next| one.thread.id == next.thread.id) {
        let thread = &of_thread[0].thread;
        let id = &thread.id.to_string()[..short];
        let age = ago(thread.updated_at, now);
        // Two gaps of two columns.
        let room = app.out.width().map_or(usize::MAX, |width| width.saturating_sub(id.len() + columns(&age) + 4));
        let title = keep_start(&list::title(thread), room.min(100));
        out.push_str(&format!("{}  {}  {}\n", paint.id(id), paint.heading(title), paint.dim(age)));
        for line in lines.by_ref().take(of_thread.len()) {
            out.push_str(&format!("{:INDENT$}{line}\n", ""));
        }
    }
    Ok(out)
}

fn row(hit: &SearchHit) -> Vec<Cell> {
    let turn = hit.turn_number.map(|number| format!("turn {number}")).unwrap_or_default();
    vec![turn.into(), one_line(&hit.kind.replace('_', " ")).into(), snippet(hit)]
}

fn snippet(hit: &SearchHit) -> Cell {
    // Blanks at the seams stand between words; `one_line` would take them away.
    let flat = |text: &str| clean(text).replace(['\n', '\t'], " ");
    let mut marked = Marked::default();
    let mut done = 0;
    for (start, end) in &hit.highlights {
        let (Some(before), Some(found)) = (hit.snippet.get(done..*start), hit.snippet.get(*start..*end)) else { break };
        marked.push(&flat(before), false);
        marked.push(&flat(found), true);
        done = *end;
    }
    marked.push(&flat(hit.snippet.get(done..).unwrap_or_default()), false);
    Cell::Marked(marked)
}
