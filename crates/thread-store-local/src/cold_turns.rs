//! Whose turn it is to change a thread that is not live here.
//!
//! The work of a call is done on a thread that may block, and is not stopped when the call is dropped. Who takes the turn with it
//! keeps the next call on the same thread waiting until the work is done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_protocol::ThreadId;
use tokio::sync::OwnedMutexGuard;

/// How many threads are remembered before those are forgotten that nobody changes.
const MOST_IDLE: usize = 64;

/// The turns of the threads that are being changed.
#[derive(Debug, Default)]
pub(crate) struct ColdTurns(Mutex<HashMap<ThreadId, Arc<tokio::sync::Mutex<()>>>>);

impl ColdTurns {
    /// Waits for the turn to change a thread, in the order of first polls.
    pub(crate) async fn wait(&self, thread_id: ThreadId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if turns.len() >= MOST_IDLE {
                // Whoever waits for a turn or has it holds it, too.
                turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            }
            Arc::clone(turns.entry(thread_id).or_default())
        };
        turn.lock_owned().await
    }
}
