//! Gathering the words of threads while they are read.

use selvedge_history::ProjectedTurn;
use selvedge_protocol::ThreadId;

use crate::search::run::{Run, RunBuilder};
use crate::told::TurnSink;

/// A run ends when so many bytes of text were taken: what bounds memory, and makes runs that need not be merged.
const RUN_TEXT: usize = 10 << 20;

/// The words of several threads, one after the other.
#[derive(Default)]
pub(crate) struct RunCollector {
    builder: RunBuilder,
    runs: Vec<Run>,
    thread: Option<ThreadId>,
}

impl RunCollector {
    /// What follows is of this thread.
    pub(crate) fn begin_thread(&mut self, id: ThreadId) {
        self.thread = Some(id);
        self.builder.begin_thread(id);
    }

    /// How many bytes of text were taken since the last run.
    pub(crate) fn text(&self) -> usize {
        self.builder.text()
    }

    /// The runs; what follows goes into other ones.
    pub(crate) fn take_runs(&mut self) -> Vec<Run> {
        self.end_run();
        std::mem::take(&mut self.runs)
    }

    fn end_run(&mut self) {
        if self.builder.text() > 0 {
            self.runs.push(std::mem::take(&mut self.builder).finish());
        }
    }
}

impl TurnSink for RunCollector {
    fn take(&mut self, place: u64, told: &ProjectedTurn) {
        for (number, item) in (0..).zip(&told.turn.items) {
            self.builder.item(place, number, item);
        }
        if let Some(thread) = self.thread
            && self.builder.text() >= RUN_TEXT
        {
            self.end_run();
            self.builder.begin_thread(thread);
        }
    }

    fn restart_thread(&mut self) {
        self.builder.drop_thread();
        for run in &mut self.runs {
            run.threads.retain(|thread| Some(thread.id) != self.thread);
        }
    }
}
