//! Collects the words of threads while they are scanned.

use selvedge_protocol::{ThreadId, TurnItem};

use crate::limits::RUN_TEXT_BYTES;
use crate::search::builder::RunBuilder;
use crate::search::run::Run;
use selvedge_history::turn_index::TurnSink;

/// Collects the words of several threads, one after the other, into as many runs as their text takes.
#[derive(Default)]
pub(crate) struct RunCollector {
    builder: RunBuilder,
    /// The runs that are complete.
    runs: Vec<Run>,
    thread: Option<ThreadId>,
}

impl RunCollector {
    /// Begins a thread, to which the following turns belong.
    pub(crate) fn begin_thread(&mut self, id: ThreadId) {
        self.thread = Some(id);
        self.builder.begin_thread(id);
    }

    /// Returns how many bytes of text the current run has.
    pub(crate) fn text_bytes(&self) -> usize {
        self.builder.text_bytes()
    }

    /// Takes the runs. Following turns go into other runs.
    pub(crate) fn take_runs(&mut self) -> Vec<Run> {
        self.end_run();
        std::mem::take(&mut self.runs)
    }

    fn end_run(&mut self) {
        if self.builder.text_bytes() > 0 {
            self.runs.push(std::mem::take(&mut self.builder).finish());
        }
    }
}

impl TurnSink for RunCollector {
    fn take_items(&mut self, turn_index: u64, first_item: u64, items: &[TurnItem]) {
        for (item_index, item) in (first_item..).zip(items) {
            self.builder.push(turn_index, item_index, item);
        }
        if let Some(thread) = self.thread
            && self.builder.text_bytes() >= RUN_TEXT_BYTES
        {
            self.end_run();
            self.builder.begin_thread(thread);
        }
    }

    fn restart_thread(&mut self) {
        self.builder.drop_thread();
        // A long thread can have filled runs already.
        for run in &mut self.runs {
            run.threads.retain(|thread| Some(thread.id) != self.thread);
        }
    }
}
