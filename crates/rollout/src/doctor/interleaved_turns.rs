//! Recognizes that two programs wrote one file at the same time.
//!
//! A program finishes or aborts a turn before it begins the next one. After a crash, a turn has no end, and the next one begins.
//! In neither case does a turn go on when a later one has begun. If it does, another program wrote the later one:
//!
//! ```text
//! start A   a   start B   a   b   end A   b   end B
//!                         ▲ A goes on
//! ```
//!
//! Only lines that name their turn tell. That a turn was aborted does not count, because a program may note it after it has
//! begun the next turn.

use std::borrow::Cow;
use std::collections::HashSet;

use selvedge_protocol::RolloutLine;
use serde::Deserialize;

/// How many turns without an end are remembered.
const MAX_SUSPENDED: usize = 1_000;

/// Takes the lines of a file in their order.
#[derive(Debug, Default)]
pub(super) struct InterleavedTurns {
    /// The turn that began last, if it has not ended.
    running: Option<String>,
    /// Earlier turns that had not ended when a later one began.
    suspended: HashSet<String>,
    /// Whether it was reported that a turn went on. Once is enough for a file.
    is_reported: bool,
}

/// The fields of a payload that tell to which turn a line belongs.
#[derive(Deserialize)]
struct TurnFields<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    turn_id: Option<Cow<'a, str>>,
}

impl InterleavedTurns {
    /// Takes a line. Returns a description at the first one with which a turn goes on after a later one began.
    pub(super) fn take(&mut self, line: &RolloutLine) -> Option<String> {
        if self.is_reported || !matches!(line.kind(), "event_msg" | "turn_context") {
            return None;
        }
        let fields: TurnFields<'_> = serde_json::from_str(line.payload()).ok()?;
        let turn_id = fields.turn_id?;
        match &*fields.kind {
            "task_started" | "turn_started" => {
                let before = self.running.replace(turn_id.clone().into_owned()).filter(|before| *before != turn_id);
                if self.suspended.len() < MAX_SUSPENDED {
                    self.suspended.extend(before);
                }
                // The same turn can begin again, after a crash.
                self.suspended.remove(&*turn_id);
                None
            }
            "turn_aborted" => {
                self.end(&turn_id);
                None
            }
            kind => {
                let goes_on = self.suspended.contains(&*turn_id);
                if matches!(kind, "task_complete" | "turn_complete") {
                    self.end(&turn_id);
                }
                let later = self.running.as_ref().filter(|_| goes_on)?;
                self.is_reported = true;
                Some(format!(
                    "turn {turn_id} goes on after turn {later} has begun: two programs wrote the thread at the same time; \
                     nothing is lost, but their turns are mixed"
                ))
            }
        }
    }

    fn end(&mut self, turn_id: &str) {
        self.suspended.remove(turn_id);
        if self.running.as_deref() == Some(turn_id) {
            self.running = None;
        }
    }
}
