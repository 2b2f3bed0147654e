//! Follows a thread: finds where to begin, prints page after page, waits for more, and recovers from errors that may
//! pass.

use std::io::Write;
use std::time::Duration;

use selvedge_protocol::{SortDirection, ThreadId};
use selvedge_thread_store::{EntryKind, LineEntry, LinePage, LinePosition, LineQuery, LineStart, Recovery, StoreError};
use serde_json::value::RawValue;

use super::record::TailRecord;
use crate::app::App;
use crate::failure::{Failure, FailureKind, Result};
use crate::notes::note;
use crate::render::log_line::LineSummarizer;
use crate::render::paint::Paint;
use crate::render::time::date_time;
use crate::timing::{FIRST_RETRY_PAUSE, LONGEST_RETRY_PAUSE};

/// How many entries to read at a time when searching backward for the start. Larger than the number that users usually want, so
/// one page is nearly always enough.
const BACKWARD_PAGE: usize = 500;

/// How many lines to read when searching for one with a time.
const TIME_SEARCH_LINES: usize = 10;

/// Follows one thread.
pub(crate) struct Follower<'a, 'b> {
    app: &'a mut App<'b>,
    id: ThreadId,
    from_start: bool,
    /// Ordinal of the last printed line that has one.
    last_ordinal: Option<u64>,
    summarizer: LineSummarizer,
    /// Whether a page of the thread was read. If the thread is not found after that, it was deleted.
    was_read: bool,
}

/// Where to continue after a repair rewrote the history.
struct NewStart {
    start: LineStart,
    /// The name of this case in JSON.
    follows: &'static str,
    /// The same for people.
    text: &'static str,
}

impl<'a, 'b> Follower<'a, 'b> {
    pub(crate) fn new(app: &'a mut App<'b>, id: ThreadId, from_start: bool) -> Self {
        Self { app, id, from_start, last_ordinal: None, summarizer: LineSummarizer::default(), was_read: false }
    }

    /// Prints the newest `count` lines, and every line that is added. Returns only with an error.
    pub(crate) async fn follow(mut self, count: usize) -> Result<()> {
        //  find the start ──▸ read a page ──▸ print it ──▸ end of the history? ── no ──▸ read a page
        //                          ▴                              │ yes
        //                          └────────── more lines ◂── wait for lines
        //
        // Each step begins at the position after the last printed page, so no line is missed or repeated.
        // The position stays valid while the thread is archived, compressed or continued in another segment. If a rewind
        // has undone it, the page reports that. After an error that may pass, the step is repeated after a pause. If the
        // position is gone, the loop finds a new start. Other errors end the loop.
        let mut pause = None;
        let start = loop {
            if self.from_start {
                break LineStart::Beginning;
            }
            match self.start_before_newest(count).await {
                Ok(start) => break start,
                Err(error) => pause = Some(self.pause_after(error, pause).await?),
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
                Err(error) => pause = Some(self.pause_after(error, pause).await?),
            }
        }
    }

    /// Searches backward for the position before the newest `count` entries that are printed.
    async fn start_before_newest(&self, count: usize) -> Result<LineStart, StoreError> {
        // The search starts at a fixed end. Lines that are added meanwhile come after it, and are read on the way
        // forward.
        let end = LineQuery { max_lines: 1, ..LineQuery::from(self.id, LineStart::End) };
        let mut start = self.app.store.read_lines(&end).await?.next;
        let (mut remaining, mut summarizer) = (count, LineSummarizer::default());
        while remaining > 0 {
            let query = LineQuery {
                direction: SortDirection::Descending,
                max_lines: BACKWARD_PAGE,
                ..LineQuery::from(self.id, LineStart::At(start))
            };
            let page = self.app.store.read_lines(&query).await?;
            for entry in &page.entries {
                remaining -= usize::from(self.is_printed(entry, &mut summarizer));
                if remaining == 0 {
                    return Ok(LineStart::At(entry.at.clone()));
                }
            }
            // The history has fewer lines than were asked for.
            if page.is_end {
                return Ok(LineStart::Beginning);
            }
            start = page.next;
        }
        Ok(LineStart::At(start))
    }

    /// Returns whether an entry gets a line of its own. The summarizer has to see the entries one after another, to
    /// recognize duplicates. A duplicate is next to its original, so the direction does not matter.
    fn is_printed(&self, entry: &LineEntry, summarizer: &mut LineSummarizer) -> bool {
        match entry.kind {
            EntryKind::Blank => false,
            EntryKind::Line if !self.app.json => {
                entry.line().is_some_and(|line| summarizer.summarize(&line, Paint::plain(), None).is_some())
            }
            _ => true,
        }
    }

    /// Reports that the history was rewritten, and returns where to continue.
    fn start_over(&mut self) -> Result<LineStart> {
        // A reader that has the whole history needs the whole new one. A reader that follows the end did not ask for
        // the rest, and gets what comes after the last printed line. Without ordinals that line cannot be found again.
        let NewStart { start, follows, text } = match self.last_ordinal {
            _ if self.from_start => {
                NewStart { start: LineStart::Beginning, follows: "all", text: "it is printed again from its beginning" }
            }
            Some(ordinal) => NewStart {
                start: LineStart::Ordinal(ordinal + 1),
                follows: "rest",
                text: "the output continues after the last line",
            },
            None => NewStart {
                start: LineStart::End,
                follows: "new",
                text: "the output continues with lines that are written from now on",
            },
        };
        self.summarizer.forget();
        if self.app.json {
            self.app.out.json_line(&TailRecord::Rewritten { follows })?;
        } else {
            writeln!(self.app.out, "-- rewritten: a repair changed the history; {text}")?;
        }
        self.app.out.flush()?;
        Ok(start)
    }

    /// Waits before the next try, and returns for how long. Each pause is twice as long as the one before.
    ///
    /// # Errors
    /// The error itself if it does not pass, and `NotFound` if the thread was deleted.
    async fn pause_after(&self, error: StoreError, previous: Option<Duration>) -> Result<Duration> {
        // `tail` only reads, so an error from which only a new writer can recover ends the command.
        match error.recovery() {
            Recovery::Retry | Recovery::RetryLater | Recovery::StartOver => {}
            _ if matches!(error, StoreError::NotFound { .. }) && self.was_read => {
                return Err(Failure::new(FailureKind::NotFound, format!("thread {} was deleted", self.id)));
            }
            _ => return Err(error.into()),
        }
        // One note for a series of errors, not one for each.
        if previous.is_none() {
            let message = Failure::from(error).message();
            note(&format!("note: {message}; trying again until it works"));
        }
        let pause = previous.map_or(FIRST_RETRY_PAUSE, |previous| (previous * 2).min(LONGEST_RETRY_PAUSE));
        tokio::time::sleep(pause).await;
        Ok(pause)
    }

    async fn print(&mut self, page: &LinePage) -> Result<()> {
        self.was_read = true;
        // The rewind comes first: the entries of the page replace what it undid.
        if let Some(to) = &page.rewound_to {
            self.print_rewound(to).await?;
        }
        for entry in &page.entries {
            if self.app.json {
                self.print_json(entry)?;
            } else {
                self.print_summary(entry)?;
            }
        }
        self.app.out.flush()?;
        Ok(())
    }

    async fn print_rewound(&mut self, to: &LinePosition) -> Result<()> {
        self.summarizer.forget();
        if self.app.json {
            return self.app.out.json_line(&TailRecord::Rewound { to });
        }
        let replaced = self
            .time_before(to)
            .await
            .map_or_else(|| "the newest lines".to_owned(), |time| format!("what came after {time}"));
        writeln!(self.app.out, "-- rewound: what follows replaces {replaced}")?;
        Ok(())
    }

    /// Returns when the last line before a position was written.
    async fn time_before(&self, position: &LinePosition) -> Option<String> {
        let query = LineQuery {
            direction: SortDirection::Descending,
            max_lines: TIME_SEARCH_LINES,
            ..LineQuery::from(self.id, LineStart::At(position.clone()))
        };
        let page = self.app.store.read_lines(&query).await.ok()?;
        page.entries.iter().filter_map(LineEntry::line).find_map(|line| line.timestamp()).map(date_time)
    }

    fn print_json(&mut self, entry: &LineEntry) -> Result<()> {
        let LineEntry { at, segment, inherited, .. } = entry;
        let (segment, inherited) = (*segment, *inherited);
        let record = match &entry.kind {
            EntryKind::Blank => return Ok(()),
            EntryKind::Line => {
                let Some(line) = entry.line() else { return Ok(()) };
                self.last_ordinal = line.ordinal().or(self.last_ordinal);
                TailRecord::Line { at, segment, inherited, line: RawValue::from_string(line.text().to_owned())? }
            }
            EntryKind::Damage { reason, is_complete } => {
                TailRecord::Damage { at, segment, inherited, reason, complete: *is_complete }
            }
            EntryKind::Missing { reason, .. } => TailRecord::Missing { at, segment, inherited, reason },
        };
        self.app.out.json_line(&record)
    }

    fn print_summary(&mut self, entry: &LineEntry) -> Result<()> {
        match &entry.kind {
            EntryKind::Line => {
                let Some(line) = entry.line() else { return Ok(()) };
                self.last_ordinal = line.ordinal().or(self.last_ordinal);
                let out = &mut *self.app.out;
                if let Some(summary) = self.summarizer.summarize(&line, out.paint(), out.width()) {
                    writeln!(out, "{summary}")?;
                }
            }
            // Incomplete damage continues in the next entry, which reports it.
            EntryKind::Damage { reason, is_complete: true } => {
                self.note_between_lines(&format!("note: damaged: {reason}"))?;
            }
            EntryKind::Missing { reason, .. } => self.note_between_lines(&format!("note: missing: {reason}"))?,
            EntryKind::Blank | EntryKind::Damage { .. } => {}
        }
        Ok(())
    }

    /// Writes a note to standard error after the lines that come before it.
    fn note_between_lines(&mut self, text: &str) -> Result<()> {
        self.app.out.flush()?;
        note(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::output::Output;
    use crate::wiring::HomeOptions;

    #[tokio::test(start_paused = true)]
    async fn pauses_after_errors_that_may_pass_double_up_to_a_limit() {
        let home = tempfile::tempdir().unwrap();
        let mut out = Output::stdout(clap::ColorChoice::Never);
        let mut app = App::open_home(home.path(), HomeOptions::default(), true, &mut out).unwrap();
        let id = ThreadId::new(crate::clock::now());
        let mut follower = Follower::new(&mut app, id, false);
        let busy = || StoreError::backend("it is busy", io::Error::from(io::ErrorKind::TimedOut));
        let (mut pause, mut pauses) = (None, Vec::new());
        for _ in 0..7 {
            let begun = tokio::time::Instant::now();
            pause = Some(follower.pause_after(busy(), pause).await.unwrap());
            pauses.push(begun.elapsed().as_millis());
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        let begun = tokio::time::Instant::now();
        assert!(follower.pause_after(StoreError::invalid("this cannot be"), None).await.is_err());
        for was_read in [false, true] {
            follower.was_read = was_read;
            let failure = follower.pause_after(StoreError::not_found(id), None).await.unwrap_err();
            assert_eq!(failure.message().contains("was deleted"), was_read);
        }
        assert_eq!(begun.elapsed(), Duration::ZERO, "an error that does not pass causes no pause");
    }
}
