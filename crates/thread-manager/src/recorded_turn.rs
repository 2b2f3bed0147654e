//! A turn that is being recorded: its id, its times, and how a call appends its batch.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_history::TurnFormat;
use selvedge_protocol::{
    EventMsg, ItemContent, ItemId, RolloutItem, TaskStartedEvent, ThreadId, Timestamp, TurnAbortedEvent, TurnContext,
    TurnId, TurnItem,
};
use selvedge_thread_store::implement::UuidSequence;
use selvedge_thread_store::{Result, StoreError};

use crate::clock::now;
use crate::live::LiveThread;
use crate::live_state::LiveState;
use crate::recorded::Recorded;
use crate::turn_settings::TurnSettings;

/// A turn that is being recorded, shared by its recorder and its tool calls.
#[derive(Debug)]
pub(crate) struct RecordedTurn {
    pub(crate) thread: Arc<LiveThread>,
    pub(crate) id: TurnId,
    pub(crate) format: TurnFormat,
    pub(crate) started_at: Timestamp,
    pub(crate) model_context_window: Option<u64>,
    /// The settings of the turn. They are in the first batch that a call of the recorder appends, and follow what the model is
    /// told about its surroundings, as in logs of other programs.
    settings: TurnContext,
    /// The ids of the items that get one here.
    item_ids: UuidSequence,
    progress: Mutex<TurnProgress>,
}

#[derive(Debug, Default)]
pub(crate) struct TurnProgress {
    pub(crate) last_agent_message: Option<String>,
    pub(crate) is_ended: bool,
}

impl RecordedTurn {
    /// Begins a turn.
    pub(crate) async fn begin(thread: Arc<LiveThread>, settings: TurnSettings) -> Result<Self> {
        let started_at = now();
        let id = settings.wanted_id().cloned().unwrap_or_else(|| TurnId::from(ThreadId::new(started_at).to_string()));
        let (context, model_context_window) = settings.into_parts(&id);
        let started = TaskStartedEvent {
            turn_id: Some(id.clone()),
            started_at: Some(started_at.as_seconds()),
            model_context_window,
            ..Default::default()
        };
        thread.append(&[EventMsg::from(started).into()]).await?;
        let format = TurnFormat::new(thread.id(), thread.mode());
        let (settings, item_ids, progress) = (context, UuidSequence::new(), Mutex::default());
        Ok(Self { thread, id, format, started_at, model_context_window, settings, item_ids, progress })
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, TurnProgress> {
        // Each change is a single assignment, so a panic elsewhere leaves nothing half-done.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.progress().is_ended { Err(StoreError::invalid("the turn has ended")) } else { Ok(()) }
    }

    /// Appends the batch of a call. `call` hashes what identifies the call: if the call before was dropped, and is the same, its
    /// batch is appended again, and not a second one.
    pub(crate) async fn record(
        &self,
        call: impl Fn(&mut DefaultHasher) + Sync,
        build: impl FnOnce(&Self, &LiveState, &mut Vec<RolloutItem>),
    ) -> Result<Recorded> {
        self.check_open()?;
        let key = || {
            let mut hasher = DefaultHasher::new();
            self.id.as_str().hash(&mut hasher);
            call(&mut hasher);
            hasher.finish()
        };
        self.thread
            .append_call(&key, |state| {
                let mut batch = Vec::with_capacity(3);
                if !state.turns.has_settings_of(&self.id) {
                    batch.push(self.settings.clone().into());
                }
                build(self, state, &mut batch);
                batch
            })
            .await
    }

    /// Returns a new id with this prefix.
    pub(crate) fn new_id(&self, prefix: &str) -> String {
        let mut id = String::with_capacity(prefix.len() + 36);
        id.push_str(prefix);
        id.push_str(self.item_ids.next().hyphenated().encode_lower(&mut [0; 36]));
        id
    }

    /// Returns an item that is complete now.
    pub(crate) fn item(&self, id: ItemId, content: ItemContent) -> TurnItem {
        let at = Some(now());
        TurnItem { started_at: at, completed_at: at, ..TurnItem::new(id, content) }
    }

    /// Adds the events that show an item to a batch.
    pub(crate) fn show(&self, item: &TurnItem, batch: &mut Vec<RolloutItem>) {
        batch.extend(self.format.events(&self.id, item).into_iter().map(RolloutItem::from));
    }

    pub(crate) fn aborted(&self) -> RolloutItem {
        let at = now();
        let aborted = TurnAbortedEvent {
            turn_id: Some(self.id.clone()),
            reason: Some("interrupted".to_owned()),
            started_at: Some(self.started_at.as_seconds()),
            completed_at: Some(at.as_seconds()),
            duration_ms: Some(self.millis_until(at)),
            ..Default::default()
        };
        EventMsg::from(aborted).into()
    }

    pub(crate) fn millis_until(&self, at: Timestamp) -> i64 {
        i64::try_from(at.saturating_since(self.started_at).as_millis()).unwrap_or(i64::MAX)
    }
}
