//! `selvedge append`: items from standard input, acknowledged one by one.

use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::Context;
use selvedge_protocol::{HistoryMode, RolloutItem, RolloutLine, ThreadId};
use selvedge_thread_manager::LiveThread;
use selvedge_thread_store::Appended;

use crate::app::App;
use crate::args::AppendArgs;
use crate::exit::{Code, Failure, Result};
use crate::resolve;

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
        let history = app.store.load_history(live.id()).await?;
        let number = history.lines.iter().rev().find_map(RolloutLine::ordinal).unwrap_or(0);
        self.number = Some(number);
        Ok(number)
    }
}

/// How many lines the thread's file has, broken ones too; a store without files has whole lines only.
async fn line_count(app: &App<'_>, id: ThreadId) -> Result<u64> {
    match app.store.read_thread(id).await?.path {
        Some(path) => newlines(&path),
        None => Ok(u64::try_from(app.store.load_history(id).await?.lines.len()).unwrap_or(u64::MAX)),
    }
}

fn newlines(path: &Path) -> Result<u64> {
    let cannot = || format!("cannot count the lines of {}", path.display());
    let mut file = std::io::BufReader::with_capacity(1 << 16, std::fs::File::open(path).with_context(cannot)?);
    let mut count = 0;
    loop {
        let block = file.fill_buf().with_context(cannot)?;
        if block.is_empty() {
            return Ok(count);
        }
        count += block.iter().filter(|byte| **byte == b'\n').map(|_| 1).sum::<u64>();
        let length = block.len();
        file.consume(length);
    }
}
