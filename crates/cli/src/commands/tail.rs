//! `selvedge tail`: follows a thread while other processes write it.

use std::io::Write;
use std::time::Duration;

use selvedge_protocol::{SegmentId, SortDirection, ThreadId};
use selvedge_thread_store::{EntryKind, LineEntry, LinePage, LinePosition, LineQuery, LineStart, Recovery, StoreError};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::app::{App, note};
use crate::args::TailArgs;
use crate::exit::{Code, Failure, Result};
use crate::render::style::Paint;
use crate::render::tail::Lines;
use crate::render::time::date_time;
use crate::resolve;

/// How long to wait before a store that has trouble is asked again: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// How long the end may take that somebody asked for.
const GRACE: Duration = Duration::from_secs(1);
/// How often to look whether anybody still reads the output.
#[cfg(unix)]
const LOOK: Duration = Duration::from_millis(200);
/// How many entries are read at once on the way back to where to begin.
const BACKWARD: usize = 500;

/// Follows a thread.
pub(crate) async fn run(args: &TailArgs, app: &mut App<'_>) -> Result<()> {
    let id = resolve::thread(&*app.store, &args.thread).await?;
    let tail = Tail { app, id, from_start: args.from_start, ordinal: None, lines: Lines::default(), was_read: false };
    tokio::select! {
        outcome = tail.follow(args.lines) => outcome,
        () = interrupted() => Ok(()),
        () = reader_left() => Ok(()),
    }
}

struct Tail<'a, 'b> {
    app: &'a mut App<'b>,
    id: ThreadId,
    from_start: bool,
    /// Of the last line that was printed.
    ordinal: Option<u64>,
    lines: Lines,
    /// Whether the thread was there.
    was_read: bool,
}

impl Tail<'_, '_> {
    async fn follow(mut self, count: usize) -> Result<()> {
        let mut pause = None;
        let start = loop {
            if self.from_start {
                break LineStart::Beginning;
            }
            match self.before_newest(count).await {
                Ok(start) => break start,
                Err(error) => pause = Some(self.wait_out(error, pause).await?),
            }
        };
        let mut query = LineQuery::from(self.id, start);
        loop {
            let read = self.app.store.read_lines(&query).await;
            let outcome = match read {
                Ok(page) => {
                    self.print(&page).await?;
                    query.start = LineStart::At(page.next.clone());
                    if !page.is_end {
                        pause = None;
                        continue;
                    }
                    self.app.store.wait_for_lines(self.id, &page.next).await
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => pause = None,
                Err(StoreError::PositionGone { .. }) => query.start = self.start_over()?,
                Err(error) => pause = Some(self.wait_out(error, pause).await?),
            }
        }
    }

    /// Returns the place before the newest entries, as many as are wanted of those that are printed.
    async fn before_newest(&self, count: usize) -> Result<LineStart, StoreError> {
        let end = LineQuery { max_lines: 1, ..LineQuery::from(self.id, LineStart::End) };
        let mut start = self.app.store.read_lines(&end).await?.next;
        let (mut left, mut seen) = (count, Lines::default());
        while left > 0 {
            let query = LineQuery {
                direction: SortDirection::Descending,
                max_lines: BACKWARD,
                ..LineQuery::from(self.id, LineStart::At(start))
            };
            let page = self.app.store.read_lines(&query).await?;
            for entry in &page.entries {
                left -= usize::from(self.is_printed(entry, &mut seen));
                if left == 0 {
                    return Ok(LineStart::At(entry.at.clone()));
                }
            }
            if page.is_end {
                return Ok(LineStart::Beginning);
            }
            start = page.next;
        }
        Ok(LineStart::At(start))
    }

    /// Whether an entry is printed by itself. `seen` knows the ones that were looked at before, from whichever side.
    fn is_printed(&self, entry: &LineEntry, seen: &mut Lines) -> bool {
        match entry.kind {
            EntryKind::Blank => false,
            EntryKind::Line if !self.app.json => {
                entry.line().is_some_and(|line| seen.show(&line, Paint::plain(), None).is_some())
            }
            _ => true,
        }
    }

    /// Says that the history was rewritten, and returns where to go on.
    ///
    /// Whoever has all of it gets all of it again. Whoever follows the end gets what stands behind the last line that was
    /// printed, where lines are numbered, and otherwise what comes: not the whole history, which was not asked for.
    fn start_over(&mut self) -> Result<LineStart> {
        let (follows, start, told) = match self.ordinal {
            _ if self.from_start => ("all", LineStart::Beginning, "it follows anew from its beginning"),
            Some(ordinal) => ("rest", LineStart::Ordinal(ordinal + 1), "what follows goes on behind the last line"),
            None => ("new", LineStart::End, "only what is written from now on follows"),
        };
        self.lines.forget();
        if self.app.json {
            self.app.out.json_line(&Told::Rewritten { follows })?;
        } else {
            writeln!(self.app.out, "-- rewritten: a repair changed the history; {told}")?;
        }
        self.app.out.flush()?;
        Ok(start)
    }

    /// Waits until the store may be asked again, and returns for how long that was. An error that does not pass ends it.
    async fn wait_out(&self, error: StoreError, before: Option<Duration>) -> Result<Duration> {
        match error.recovery() {
            Recovery::Retry | Recovery::RetryLater | Recovery::StartOver => {}
            _ if matches!(error, StoreError::NotFound { .. }) && self.was_read => {
                return Err(Failure::new(Code::NotFound, format!("thread {} was deleted", self.id)));
            }
            _ => return Err(error.into()),
        }
        if before.is_none() {
            let message = Failure::from(error).message();
            note(&format!("note: {message}; trying again until it works"));
        }
        let pause = before.map_or(PAUSES.0, |before| (before * 2).min(PAUSES.1));
        tokio::time::sleep(pause).await;
        Ok(pause)
    }

    async fn print(&mut self, page: &LinePage) -> Result<()> {
        self.was_read = true;
        if let Some(to) = &page.rewound_to {
            self.print_rewound(to).await?;
        }
        for entry in &page.entries {
            if self.app.json {
                self.print_json(entry)?;
            } else {
                self.print_for_people(entry)?;
            }
        }
        self.app.out.flush()?;
        Ok(())
    }

    async fn print_rewound(&mut self, to: &LinePosition) -> Result<()> {
        self.lines.forget();
        if self.app.json {
            return self.app.out.json_line(&Told::Rewound { to });
        }
        let since = self
            .time_before(to)
            .await
            .map_or_else(|| "the newest lines".to_owned(), |time| format!("what came after {time}"));
        writeln!(self.app.out, "-- rewound: what follows replaces {since}")?;
        Ok(())
    }

    /// When the last line before a place was written.
    async fn time_before(&self, place: &LinePosition) -> Option<String> {
        let query = LineQuery {
            direction: SortDirection::Descending,
            max_lines: 10,
            ..LineQuery::from(self.id, LineStart::At(place.clone()))
        };
        let page = self.app.store.read_lines(&query).await.ok()?;
        page.entries.iter().filter_map(LineEntry::line).find_map(|line| line.timestamp()).map(date_time)
    }

    fn print_json(&mut self, entry: &LineEntry) -> Result<()> {
        let LineEntry { at, segment, inherited, .. } = entry;
        let (segment, inherited) = (*segment, *inherited);
        let told = match &entry.kind {
            EntryKind::Blank => return Ok(()),
            EntryKind::Line => {
                let Some(line) = entry.line() else { return Ok(()) };
                self.ordinal = line.ordinal().or(self.ordinal);
                Told::Line { at, segment, inherited, line: RawValue::from_string(line.text().to_owned())? }
            }
            EntryKind::Damage { reason, is_complete } => {
                Told::Damage { at, segment, inherited, reason, complete: *is_complete }
            }
            EntryKind::Missing { reason, .. } => Told::Missing { at, segment, inherited, reason },
        };
        self.app.out.json_line(&told)
    }

    fn print_for_people(&mut self, entry: &LineEntry) -> Result<()> {
        match &entry.kind {
            EntryKind::Line => {
                let Some(line) = entry.line() else { return Ok(()) };
                self.ordinal = line.ordinal().or(self.ordinal);
                let out = &mut *self.app.out;
                if let Some(shown) = self.lines.show(&line, out.paint(), out.width()) {
                    writeln!(out, "{shown}")?;
                }
            }
            EntryKind::Damage { reason, is_complete: true } => self.remark(&format!("note: damaged: {reason}"))?,
            EntryKind::Missing { reason, .. } => self.remark(&format!("note: missing: {reason}"))?,
            EntryKind::Blank | EntryKind::Damage { .. } => {}
        }
        Ok(())
    }

    /// Says something beside the lines, at its place between them.
    fn remark(&mut self, text: &str) -> Result<()> {
        self.app.out.flush()?;
        note(text);
        Ok(())
    }
}

/// What is told to scripts.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Told<'a> {
    Line { at: &'a LinePosition, segment: SegmentId, inherited: bool, line: Box<RawValue> },
    Damage { at: &'a LinePosition, segment: SegmentId, inherited: bool, reason: &'a str, complete: bool },
    Missing { at: &'a LinePosition, segment: SegmentId, inherited: bool, reason: &'a str },
    Rewound { to: &'a LinePosition },
    Rewritten { follows: &'static str },
}

/// Returns when somebody interrupts the program. If it is stuck then, in a pipe that nobody reads for one, it ends anyway.
async fn interrupted() {
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_err() {
            // Then the signal ends the program by itself.
            return std::future::pending().await;
        }
        let _ = tell.send(());
        tokio::time::sleep(GRACE).await;
        std::process::exit(0);
    });
    let _ = told.await;
}

/// Returns when nobody can read what is printed any more: there may be nothing to print for a long time, which would tell that.
#[cfg(unix)]
async fn reader_left() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = std::io::stdout();
    loop {
        let mut looked_at = [PollFd::new(&stdout, PollFlags::empty())];
        let is_told = poll(&mut looked_at, Some(&Timespec::default())).is_ok();
        if is_told && looked_at[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(not(unix))]
async fn reader_left() {
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::output::Output;
    use crate::wiring::HomeOptions;

    #[tokio::test(start_paused = true)]
    async fn trouble_that_may_pass_is_waited_out_longer_and_longer() {
        let home = tempfile::tempdir().unwrap();
        let mut out = Output::stdout(clap::ColorChoice::Never);
        let mut app = App::open(home.path(), HomeOptions::default(), true, &mut out).unwrap();
        let id = ThreadId::new(crate::app::now());
        let lines = Lines::default();
        let mut tail = Tail { app: &mut app, id, from_start: false, ordinal: None, lines, was_read: false };
        let busy = || StoreError::backend("it is busy", io::Error::from(io::ErrorKind::TimedOut));
        let (mut pause, mut pauses) = (None, Vec::new());
        for _ in 0..7 {
            let begun = tokio::time::Instant::now();
            pause = Some(tail.wait_out(busy(), pause).await.unwrap());
            pauses.push(begun.elapsed().as_millis());
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        let begun = tokio::time::Instant::now();
        assert!(tail.wait_out(StoreError::invalid("this cannot be"), None).await.is_err());
        for was_read in [false, true] {
            tail.was_read = was_read;
            let failure = tail.wait_out(StoreError::not_found(id), None).await.unwrap_err();
            assert_eq!(failure.message().contains("was deleted"), was_read);
        }
        assert_eq!(begun.elapsed(), Duration::ZERO, "what stays as it is is not waited for");
    }
}
