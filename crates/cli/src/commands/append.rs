//! `selvedge append`: items from standard input, acknowledged one by one.

use std::io::{BufRead, Write};

use anyhow::Context;
use selvedge_protocol::{HistoryMode, RolloutItem, SortDirection, ThreadId};
use selvedge_thread_manager::LiveThread;
use selvedge_thread_store::{Appended, LineEntry, LineQuery, LineStart};

use crate::app::App;
use crate::args::AppendArgs;
use crate::exit::{Code, Failure, Result};
use crate::resolve;

/// How many lines are read at once to find the last one that has an ordinal.
const NEWEST_LINES: usize = 16;

/// How many bytes are read at once to count lines.
const BYTES_AT_ONCE: usize = 4 << 20;

/// Appends what stands on standard input to a thread.
pub(crate) async fn run(args: &AppendArgs, app: &mut App<'_>) -> Result<()> {
    let id = resolve::thread(&*app.store, &args.thread).await?;
    let live = app.manager.resume(id).await?.live;
    let outcome = lines(&live, app).await;
    // Whatever came of the input, what was recorded before it is there.
    let end = live.shutdown().await;
    outcome?;
    end?;
    Ok(())
}

async fn lines(live: &LiveThread, app: &mut App<'_>) -> Result<()> {
    let mut reached = Reached::at_start(app, live).await?;
    let mut input = std::io::stdin().lock();
    let mut bytes = Vec::new();
    for number in 1_u64.. {
        bytes.clear();
        let length = input.read_until(b'\n', &mut bytes).context("cannot read standard input")?;
        if length == 0 {
            break;
        }
        let item = item(&bytes).map_err(|reason| bad_line(number, &reason))?;
        let Some(item) = item else { continue };
        let appended = live
            .append(std::slice::from_ref(&item))
            .await
            .map_err(|error| Failure::from(error).context(format!("line {number} of the input was not recorded")))?;
        reached.add(appended);
        let number = reached.number(app, live).await?;
        // A line is acknowledged when whoever waits for it can read so.
        writeln!(app.out, "{number}")?;
        app.out.flush()?;
    }
    Ok(())
}

fn bad_line(number: u64, reason: &str) -> Failure {
    Failure::new(Code::Failure, format!("line {number} of the input is no item: {reason}"))
        .hint("every line is {\"type\": …, \"payload\": …}; all lines before this one were recorded")
}

/// The item on a line; none on a blank line.
fn item(bytes: &[u8]) -> Result<Option<RolloutItem>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text).map(Some).map_err(|error| error.to_string())
}

/// What the thread has come to, in the number that a script can compare.
struct Reached {
    /// Not known before the first append to a paginated thread, which tells it: finding it out may mean reading all.
    number: Option<u64>,
    mode: HistoryMode,
}

impl Reached {
    async fn at_start(app: &App<'_>, live: &LiveThread) -> Result<Self> {
        let number = match live.mode() {
            HistoryMode::Paginated => None,
            HistoryMode::Legacy => Some(line_count(app, live.id()).await?),
        };
        Ok(Self { number, mode: live.mode() })
    }

    fn add(&mut self, appended: Appended) {
        match self.mode {
            HistoryMode::Paginated => self.number = appended.last_ordinal.or(self.number),
            HistoryMode::Legacy => self.number = self.number.map(|number| number + appended.lines),
        }
    }

    async fn number(&mut self, app: &App<'_>, live: &LiveThread) -> Result<u64> {
        if let Some(number) = self.number {
            return Ok(number);
        }
        let number = last_ordinal(app, live.id()).await?;
        self.number = Some(number);
        Ok(number)
    }
}

/// How many lines a legacy thread has, broken ones too. Its bytes are enough for that: all of it is one segment.
async fn line_count(app: &App<'_>, id: ThreadId) -> Result<u64> {
    let segments = app.store.list_segments(id).await?;
    let Some(segment) = segments.iter().rev().find(|segment| segment.is_current) else { return Ok(0) };
    let (mut at, mut count) = (0, 0);
    loop {
        let bytes = app.store.read_segment(id, segment.id, at, BYTES_AT_ONCE).await?;
        if bytes.is_empty() {
            return Ok(count);
        }
        at += bytes.len() as u64;
        count += newlines(&bytes);
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').map(|_| 1).sum()
}

/// The ordinal of the last line that has one, looked for from the end.
async fn last_ordinal(app: &App<'_>, id: ThreadId) -> Result<u64> {
    let mut query = LineQuery {
        direction: SortDirection::Descending,
        max_lines: NEWEST_LINES,
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
