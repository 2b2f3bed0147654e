//! What threads said last, read beside the choice.

use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use selvedge_protocol::{SortDirection, ThreadId, Turn, TurnQuery};
use selvedge_thread_store::{Result, ThreadStore};
use tokio::sync::watch;

use crate::render::transcript::{self, Style};

/// How many turns are shown at most.
const TURNS: usize = 4;
/// How many lines of them.
const LINES: usize = 500;
/// How many threads are remembered.
const REMEMBERED: usize = 200;
/// How long somebody rests on a thread before it is read.
const REST: Duration = Duration::from_millis(40);

/// The previews that are known, and the way to ask for more.
pub(crate) struct Previews {
    known: HashMap<ThreadId, String>,
    wanted: watch::Sender<Option<ThreadId>>,
    answers: mpsc::Receiver<(ThreadId, String)>,
}

impl Previews {
    /// Reads from `store` in a task of its own, which ends with the returned value.
    pub(crate) fn of(store: Arc<dyn ThreadStore>, style: Style) -> Self {
        let (wanted, mut asked) = watch::channel(None);
        let (answer, answers) = mpsc::channel();
        tokio::spawn(async move {
            while asked.changed().await.is_ok() {
                // Only the newest wish counts, and it may be over soon.
                tokio::time::sleep(REST).await;
                let Some(id) = *asked.borrow_and_update() else { continue };
                let text = match newest(&*store, id).await {
                    Ok(turns) => text(&turns, style),
                    Err(error) => error.to_string(),
                };
                if answer.send((id, text)).is_err() {
                    break;
                }
            }
        });
        Self { known: HashMap::new(), wanted, answers }
    }

    /// What a thread said last. Nothing when that is not known yet; it is asked for then.
    pub(crate) fn get(&self, id: ThreadId) -> Option<&str> {
        let known = self.known.get(&id);
        if known.is_none() && *self.wanted.borrow() != Some(id) {
            self.wanted.send_replace(Some(id));
        }
        known.map(String::as_str)
    }

    /// Takes what was read meanwhile, and says whether there was anything.
    pub(crate) fn refresh(&mut self) -> bool {
        let mut any = false;
        for (id, text) in self.answers.try_iter() {
            if self.known.len() >= REMEMBERED {
                self.known.clear();
                self.wanted.send_replace(None);
            }
            self.known.insert(id, text);
            any = true;
        }
        any
    }
}

async fn newest(store: &dyn ThreadStore, id: ThreadId) -> Result<Vec<Turn>> {
    let query = TurnQuery { direction: SortDirection::Descending, limit: TURNS, ..TurnQuery::all(id) };
    let mut turns = store.list_turns(&query).await?.items;
    turns.reverse();
    Ok(turns)
}

fn text(turns: &[Turn], style: Style) -> String {
    if turns.is_empty() {
        return "(nothing said yet)".to_owned();
    }
    let text = transcript::newest_turns(turns, style);
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
