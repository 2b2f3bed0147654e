//! `selvedge append`: appends items from standard input, and acknowledges them one by one.

use std::io::{BufRead, Write};

use anyhow::Context;
use clap::Args;
use selvedge_history::known_kinds::misspelling;
use selvedge_protocol::{HistoryMode, RolloutItem, SortDirection, ThreadId};
use selvedge_thread_manager::{LiveThread, Recorded};
use selvedge_thread_store::{LineEntry, LineQuery, LineStart};
use serde::Serialize;

use crate::app::App;
use crate::diverged;
use crate::failure::{Failure, FailureKind, Result};
use crate::resolve::ThreadArg;

/// How many lines to read at a time when searching backward for the last ordinal. It is nearly always in the first few.
const BACKWARD_PAGE: usize = 16;

/// How many bytes to read at a time when counting lines.
const COUNTING_CHUNK: usize = 4 << 20;

/// Arguments of `selvedge append`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each line of standard input is one item, {\"type\": …, \"payload\": …}, or a JSON array of items, which are recorded as one \
batch: all of them or none. Other keys, such as those of an exported line, are ignored.

After each line of input, a number is printed: the ordinal of the last line of the thread, or for a legacy thread the \
number of its lines. What is acknowledged in this way survives the end of this program, and with --durability synced a \
power loss. Items that are not kept in a log (deltas, warnings, events of the other history mode) leave the number as it \
is, and their count follows it: `17 dropped 1`. With --json, each line is acknowledged by an object. The first line that \
is not an item, or has a type that is not known or lacks a field that it needs, ends the command. If another program went on in a segment that a \
rewind had abandoned, a warning on standard error says so before the first item is recorded.

Examples:
  selvedge append 01a1fd5d-aacb < items.jsonl
  item='{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"hello\"}]}'
  echo '{\"type\":\"response_item\",\"payload\":'$item'}' | selvedge append 01a1fd5d-aacb")]
pub(crate) struct AppendArgs {
    #[command(flatten)]
    thread: ThreadArg,
    /// Also record items of types that are not known, or without a field that they need. Without it, they count as misspelt
    #[arg(long)]
    allow_unknown: bool,
}

/// Appends the items on standard input to a thread.
pub(crate) async fn run(args: &AppendArgs, app: &mut App<'_>) -> Result<()> {
    let id = args.thread.resolve(&*app.store).await?;
    // The claim is taken once for the whole input, so that no other writer gets in between two items.
    let live = app.manager.resume(id).await?.live;
    // The claim is held, so nothing more can be written elsewhere until the items are appended.
    diverged::warn(id, &diverged::find(id, app).await);
    let outcome = append_lines(&live, args.allow_unknown, app).await;
    // The thread is shut down in any case: items before a bad line are recorded and stay.
    let end = live.shutdown().await;
    outcome?;
    end?;
    Ok(())
}

/// The acknowledgement of a line of input, as JSON.
#[derive(Serialize)]
struct Acknowledgement {
    /// The ordinal of the last line of the thread, or the number of lines of a legacy thread.
    number: u64,
    /// How many lines were written.
    lines: u64,
    /// How many items were left out.
    dropped: usize,
}

async fn append_lines(live: &LiveThread, allow_unknown: bool, app: &mut App<'_>) -> Result<()> {
    let mut reached = ReachedNumber::at_start(app, live).await?;
    let mut input = std::io::stdin().lock();
    let mut bytes = Vec::new();
    // Bytes and not text: a line that is not UTF-8 is a bad line, and not a failure to read.
    for line_number in 1_u64.. {
        bytes.clear();
        let length = input.read_until(b'\n', &mut bytes).context("cannot read standard input")?;
        if length == 0 {
            break;
        }
        let items = parse_items(&bytes).map_err(|reason| bad_line(line_number, &reason))?;
        if items.is_empty() {
            continue;
        }
        if !allow_unknown && let Some(unknown) = items.iter().find_map(misspelling) {
            return Err(unknown_type(line_number, &unknown));
        }
        // One line is one batch. Collecting several lines would be faster, but a caller that waits for each number
        // would wait forever.
        // They were checked above, with a hint at the option.
        let recorded = live.append_unchecked(&items).await.map_err(|error| {
            Failure::from(error).context(format!("line {line_number} of the input was not recorded"))
        })?;
        reached.add(recorded);
        let number = reached.get(app, live).await?;
        let Recorded { lines, dropped, .. } = recorded;
        if app.json {
            app.out.json_line(&Acknowledgement { number, lines, dropped })?;
        } else if dropped > 0 {
            writeln!(app.out, "{number} dropped {dropped}")?;
        } else {
            writeln!(app.out, "{number}")?;
        }
        // A caller may wait for this number before it sends the next item, so the number must not stay in the buffer.
        app.out.flush()?;
    }
    Ok(())
}

fn bad_line(line_number: u64, reason: &str) -> Failure {
    Failure::new(FailureKind::Other, format!("line {line_number} of the input is not an item: {reason}"))
        .hint("every line is {\"type\": …, \"payload\": …}; all lines before this one were recorded")
}

fn unknown_type(line_number: u64, unknown: &str) -> Failure {
    Failure::new(
        FailureKind::Other,
        format!("line {line_number} of the input is {unknown}, which no reader would show"),
    )
    .hint("if it is right, add --allow-unknown; all lines before this one were recorded")
}

/// Parses the item on a line, or the array of items. The result is empty for a blank line.
fn parse_items(bytes: &[u8]) -> Result<Vec<RolloutItem>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    // Editors on Windows begin a file with a byte order mark.
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let items = if text.starts_with('[') {
        serde_json::from_str(text)
    } else {
        serde_json::from_str(text).map(|item| vec![item])
    };
    items.map_err(|error| error.to_string())
}

/// The number that acknowledges an item: the ordinal of the last line, or the number of lines of a legacy thread.
///
/// An append to a paginated thread returns the ordinal whenever it writes a line, so the number at the start is looked
/// up only if the first items are not kept. A legacy thread has no ordinals: its lines are counted once, and
/// then added up.
struct ReachedNumber {
    number: Option<u64>,
    mode: HistoryMode,
}

impl ReachedNumber {
    async fn at_start(app: &App<'_>, live: &LiveThread) -> Result<Self> {
        let number = match live.mode() {
            HistoryMode::Paginated => None,
            HistoryMode::Legacy => Some(line_count(app, live.id()).await?),
        };
        Ok(Self { number, mode: live.mode() })
    }

    fn add(&mut self, recorded: Recorded) {
        match self.mode {
            HistoryMode::Paginated => self.number = recorded.last_ordinal.or(self.number),
            HistoryMode::Legacy => self.number = self.number.map(|number| number + recorded.lines),
        }
    }

    async fn get(&mut self, app: &App<'_>, live: &LiveThread) -> Result<u64> {
        if let Some(number) = self.number {
            return Ok(number);
        }
        let number = last_ordinal(app, live.id()).await?;
        self.number = Some(number);
        Ok(number)
    }
}

/// Counts the lines of a legacy thread, damaged ones too. Its history is one segment, so counting newlines is
/// enough.
async fn line_count(app: &App<'_>, id: ThreadId) -> Result<u64> {
    let segments = app.store.list_segments(id).await?;
    let Some(segment) = segments.iter().rev().find(|segment| segment.is_current) else { return Ok(0) };
    let (mut offset, mut count) = (0, 0);
    loop {
        let bytes = app.store.read_segment(id, segment.id, offset, COUNTING_CHUNK).await?;
        if bytes.is_empty() {
            return Ok(count);
        }
        offset += bytes.len() as u64;
        count += newlines(&bytes);
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').map(|_| 1).sum()
}

/// Searches backward for the last line with an ordinal. Returns 0 if there is none.
async fn last_ordinal(app: &App<'_>, id: ThreadId) -> Result<u64> {
    let mut query = LineQuery {
        direction: SortDirection::Descending,
        max_lines: BACKWARD_PAGE,
        ..LineQuery::from(id, LineStart::End)
    };
    loop {
        let page = app.store.read_lines(&query).await?;
        if let Some(ordinal) = page.entries.iter().filter_map(LineEntry::line).find_map(|line| line.ordinal()) {
            return Ok(ordinal);
        }
        if page.is_end {
            return Ok(0);
        }
        query.start = LineStart::At(page.next);
    }
}
