//! `selvedge search`: threads that contain a text, each with its hits.

use std::io::Write;
use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};
use selvedge_history::TextSearch;
use selvedge_protocol::{
    ArchivedFilter, SearchHit, SearchOrder, SearchQuery, StoredThread, Turn, TurnQuery, TurnSelector,
};
use selvedge_thread_store::StoreError;

use super::show;
use crate::app::App;
use crate::clock::now;
use crate::failure::Result;
use crate::notes::{note, note_next_page};
use crate::render::sanitize::sanitize;
use crate::render::table::{self, Cell, CellStyle, Column, HighlightedText};
use crate::render::text::{display_width, keep_start, single_line};
use crate::render::thread_title::thread_title;
use crate::render::time::ago;
use crate::thread_filters::ThreadFilters;

const COLUMNS: [Column; 3] = [
    Column::new("TURN", 4, 12, CellStyle::Plain),
    Column::new("IN", 6, 18, CellStyle::Dim),
    Column::new("TEXT", 20, 240, CellStyle::Plain),
];

/// Blanks before the hits of a thread.
const INDENT: usize = 2;

/// The blanks in the heading of a thread: two gaps of two columns.
const HEADING_GAPS: usize = 4;

/// The most columns of a title.
const MAX_TITLE_WIDTH: usize = 100;

/// Arguments of `selvedge search`.
#[derive(Debug, Args)]
#[command(after_help = "\
Searches names, and what users and agents said, thought and ran. Case does not matter.

All terms must occur in the same name, message, command, … A term of 3 characters or more is found anywhere in a word, \
a shorter one only at the start of a word. term* is found only at the start of a word. \"a phrase\" is found as it is \
written, with any white space between its words; a quote inside it is doubled. Where words have no spaces between them \
(Chinese, Japanese, Thai, …), and for short Korean terms, any length is found anywhere. Accents count, and \
full-width letters equal plain ones. Of the input and output of tools and of \
changed files, only the beginning is searched: 4 KiB of a text, 16 KiB of an item.

With --json: [{thread, turn_id, turn_number, position, kind, snippet, highlights: [[start, end], …]}]. position is \
the number of the item's first line in the history of the thread, counted from 0. Highlights are byte offsets in the UTF-8 of the \
snippet. With --open and --json: the same as `show --json`, with one turn.

Examples:
  selvedge search 'connection reset'
  selvedge search '\"connection reset\" retr*' --repository owner/name
  selvedge search zebra --all --hits 10 --json
  selvedge search zebra --sort created --ascending
  selvedge search 'connection reset' --open")]
pub(crate) struct SearchArgs {
    /// Text to find
    #[arg(value_name = "TEXT", value_parser = parse_text)]
    text: String,
    /// Order of the threads [default: best, or sorted if --sort or --ascending is given]
    #[arg(long, value_name = "ORDER")]
    order: Option<SearchOrderArg>,
    /// Print the turn of the first hit, as `selvedge show` does; for a hit in a name, the newest turn
    #[arg(long)]
    open: bool,
    /// With --open: print long outputs and messages in full
    #[arg(long, requires = "open")]
    full: bool,
    /// Maximum number of hits in each thread
    #[arg(long, value_name = "N", default_value = "3")]
    hits: NonZeroUsize,
    #[command(flatten)]
    filters: ThreadFilters,
}

/// An order of the found threads on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SearchOrderArg {
    /// Best match first
    Best,
    /// By --sort and --ascending
    Sorted,
}

/// Searches the threads of the home.
pub(crate) async fn run(args: &SearchArgs, app: &mut App<'_>) -> Result<()> {
    let threads = args.filters.to_query(app).await?;
    let hits_per_thread = args.hits.get();
    let mut query = SearchQuery { threads, hits_per_thread, order: order(args), ..SearchQuery::new(&args.text) };
    // Only the first hit is opened, so the search can stop there.
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
        note(&nothing_found(args, query.threads.archived));
    } else {
        let text = render(app, &page.items).await?;
        app.out.write_all(text.as_bytes())?;
    }
    note_next_page(page.next_cursor.as_ref(), app.out)
}

/// Shows the turn of a hit.
async fn open(hit: &SearchHit, args: &SearchArgs, app: &mut App<'_>) -> Result<()> {
    let query = TurnQuery { turn: hit.turn_number.map(TurnSelector::Number), ..TurnQuery::all(hit.thread.id) };
    let turns = match app.store.list_turns(&query).await {
        // A rewind has undone the turn since the search.
        Err(StoreError::TurnNotFound { .. }) => Vec::new(),
        outcome => outcome?.items,
    };
    let number = hit.turn_number.and_then(|number| usize::try_from(number).ok()).unwrap_or(turns.len());
    // A hit in the name belongs to no turn, so the query returned all turns. The newest one is shown.
    let turn: &[Turn] = turns.last().map(std::slice::from_ref).unwrap_or_default();
    show::print(&hit.thread, turn, number.saturating_sub(1), args.full, app)
}

/// Returns what is said if there is no hit, and where else hits may be. `term*` is no advice: a term finds all that it finds, and more.
fn nothing_found(args: &SearchArgs, archived: ArchivedFilter) -> String {
    let text = &args.text;
    let has_terms = text.split_whitespace().nth(1).is_some() && !text.contains('"');
    let terms = if has_terms { "; all terms must be in the same message" } else { "" };
    let more = if archived == ArchivedFilter::Active { "; --all searches archived threads, too" } else { "" };
    format!("no thread contains {text:?}{terms}{more}")
}

fn order(args: &SearchArgs) -> SearchOrder {
    match args.order {
        Some(SearchOrderArg::Best) => SearchOrder::Best,
        Some(SearchOrderArg::Sorted) => SearchOrder::Sorted,
        None if args.filters.has_order() => SearchOrder::Sorted,
        None => SearchOrder::Best,
    }
}

/// Renders each thread as a heading with its hits below.
async fn render(app: &App<'_>, hits: &[SearchHit]) -> Result<String> {
    let threads: Vec<StoredThread> = hits.iter().map(|hit| hit.thread.clone()).collect();
    let id_len = app.short_id_len(&threads).await?;
    let (now, paint) = (now(), app.out.paint());
    let rows: Vec<Vec<Cell>> = hits.iter().map(row).collect();
    let width = app.out.width().map(|width| width.saturating_sub(INDENT));
    // One table for all hits, so that its columns line up across threads. Then each line is printed below the heading of its thread.
    let mut lines = table::lines(&COLUMNS, &rows, width, paint).into_iter();
    let mut out = String::new();
    for hits_of_thread in hits.chunk_by(|one, next| one.thread.id == next.thread.id) {
        let thread = &hits_of_thread[0].thread;
        let id = &thread.id.to_string()[..id_len];
        let age = ago(thread.updated_at, now);
        let taken = id.len() + display_width(&age) + HEADING_GAPS;
        let room = app.out.width().map_or(usize::MAX, |width| width.saturating_sub(taken));
        let title = keep_start(&thread_title(thread), room.min(MAX_TITLE_WIDTH));
        out.push_str(&format!("{}  {}  {}\n", paint.id(id), paint.heading(title), paint.dim(age)));
        for line in lines.by_ref().take(hits_of_thread.len()) {
            out.push_str(&format!("{:INDENT$}{line}\n", ""));
        }
    }
    Ok(out)
}

fn row(hit: &SearchHit) -> Vec<Cell> {
    let turn = hit.turn_number.map(|number| format!("turn {number}")).unwrap_or_default();
    vec![turn.into(), single_line(&hit.kind.replace('_', " ")).into(), snippet(hit)]
}

fn snippet(hit: &SearchHit) -> Cell {
    // Not `single_line`: that would trim each part, and join a highlight with the words around it.
    let flatten = |text: &str| sanitize(text).replace(['\n', '\t'], " ");
    let mut snippet = HighlightedText::default();
    let mut done = 0;
    for (start, end) in &hit.highlights {
        let (Some(before), Some(found)) = (hit.snippet.get(done..*start), hit.snippet.get(*start..*end)) else { break };
        snippet.push(&flatten(before), false);
        snippet.push(&flatten(found), true);
        done = *end;
    }
    snippet.push(&flatten(hit.snippet.get(done..).unwrap_or_default()), false);
    Cell::Highlighted(snippet)
}

fn parse_text(text: &str) -> Result<String, String> {
    TextSearch::new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}
