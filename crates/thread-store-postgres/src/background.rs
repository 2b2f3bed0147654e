//! What a store does on its own: renewing claims, storing thread records behind the lines, and telling other processes about
//! changes.

use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use selvedge_protocol::ThreadId;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::task::JoinSet;

use crate::commit_queue::Claim;
use crate::error::{AttemptError, jitter};
use crate::host::PostgresHost;
use crate::live_threads::WriterStage;
use crate::projection::MIN_LIVE_BYTES;

/// How far the stored record of a live thread may be behind its lines. The contract allows 5 s for lists.
const RECORD_LAG: Duration = Duration::from_secs(2);

/// The channel of notifications. The payload is the schema and the namespace.
const CHANNEL: &str = "selvedge";

/// How long a process waits at least before it tells others of a change, and at most if nobody else does. A commit with a notification
/// takes a lock of the whole server, so appends do not send them.
const NOTIFY_INTERVAL: Range<Duration> = Duration::from_millis(20)..Duration::from_millis(50);

/// How long a listener waits before it looks whether its store still exists.
const LISTEN_LIMIT: Duration = Duration::from_secs(2);

/// Starts the background work of a store. It ends with the store.
pub(crate) fn start(host: &Arc<PostgresHost>) {
    tokio::spawn(renew_claims(Arc::downgrade(host)));
    tokio::spawn(store_records(Arc::downgrade(host)));
    if host.options().listen {
        tokio::spawn(notify(Arc::downgrade(host)));
        tokio::spawn(listen(Arc::downgrade(host)));
    }
}

/// Returns the payload of the notifications of a store.
fn payload(host: &PostgresHost) -> String {
    format!("{}/{}", host.options().schema, host.namespace())
}

/// Tells other processes that something changed. They look for what it is: a notification is a hint and may be lost.
///
/// Each notification wakes every process, so if all told of their own changes, the work would grow with the square of their number.
/// A process that heard a notification since its last round keeps its news for the next round: everybody was woken a moment
/// ago. The waits are random, so that one process speaks and the others hear it.
async fn notify(host: Weak<PostgresHost>) {
    loop {
        let Range { start, end } = NOTIFY_INTERVAL;
        tokio::time::sleep(start + (end - start).mul_f64(jitter())).await;
        let Some(host) = host.upgrade() else { return };
        let was_heard = host.was_notified.swap(false, Ordering::Relaxed);
        if was_heard || !host.has_news.swap(false, Ordering::Relaxed) {
            continue;
        }
        // The commit holds a lock of the whole server, so it does not wait for the disk.
        let notify = sqlx::query("SELECT pg_notify($1, $2), set_config('synchronous_commit', 'off', true)")
            .bind(CHANNEL)
            .bind(payload(&host));
        if let Err(error) = notify.execute(&host.pool).await {
            tracing::debug!(%error, "other processes could not be notified");
        }
    }
}

/// Wakes the callers that wait when another process tells of a change. Without this they notice it when they poll.
async fn listen(host: Weak<PostgresHost>) {
    let Some((options, wanted)) = host.upgrade().map(|host| (host.options().clone(), payload(&host))) else { return };
    // A connection of its own: it is the only one with a state, and no other statement waits for it.
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.connect);
    while host.strong_count() > 0 {
        let listening = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(CHANNEL).await?;
            loop {
                let received = tokio::time::timeout(LISTEN_LIMIT, listener.recv()).await;
                let Some(host) = host.upgrade() else { return Ok(()) };
                if let Ok(notification) = received
                    && notification?.payload() == wanted
                {
                    host.was_notified.store(true, Ordering::Relaxed);
                    host.signal.wake();
                }
            }
        };
        let ended: sqlx::Result<()> = listening.await;
        if let Err(error) = ended {
            // An engine without notifications, a pooler, or a connection that broke.
            tracing::debug!(%error, "no notifications");
            tokio::time::sleep(LISTEN_LIMIT).await;
        }
    }
}

async fn renew_claims(host: Weak<PostgresHost>) {
    let Some(lease) = host.upgrade().map(|host| host.options().lease) else { return };
    loop {
        // A third of the lease leaves room for two failed attempts. The random part keeps many stores from asking at once.
        tokio::time::sleep(lease.mul_f64(0.25 + jitter() / 12.0)).await;
        let Some(host) = host.upgrade() else { return };
        let limit = lease / 4;
        let began = Instant::now();
        if tokio::time::timeout(limit.max(Duration::from_millis(100)), host.renew_all()).await.is_err() {
            tracing::warn!(waited = ?began.elapsed(), "claims could not be renewed in time");
        }
    }
}

async fn store_records(host: Weak<PostgresHost>) {
    loop {
        tokio::time::sleep(RECORD_LAG).await;
        let Some(host) = host.upgrade() else { return };
        host.commit.release_idle();
        for writer in host.live.all() {
            // A writer that is busy is looked at again in the next round. A flush would wait for it.
            let Some(mut state) = writer.try_lock() else { continue };
            let WriterStage::Claimed(claimed) = &mut state.stage else { continue };
            if !claimed.is_ahead {
                continue;
            }
            claimed.is_ahead = false;
            let is_long = claimed.end.saturating_sub(claimed.looked_at) >= MIN_LIVE_BYTES;
            if is_long {
                claimed.looked_at = claimed.end;
            }
            // Without the lock: appends go on meanwhile.
            drop(state);
            if let Err(error) = host.store_record(writer.thread_id).await {
                tracing::debug!(thread_id = %writer.thread_id, %error, "a thread record could not be stored");
                if let WriterStage::Claimed(claimed) = &mut writer.lock().await.stage {
                    claimed.is_ahead = true;
                }
            } else if is_long {
                // Not here: the records of the others would wait for it.
                host.project_later(writer.thread_id);
            }
        }
    }
}

impl PostgresHost {
    /// Stores the records and the projections of threads that are behind their lines, in the background. Until then each reader
    /// reads the lines by itself.
    pub(crate) fn fold_later(self: &Arc<Self>, threads: impl IntoIterator<Item = ThreadId>) {
        threads.into_iter().for_each(|thread_id| self.catch_up_later(thread_id, true));
    }

    /// Stores the projections of a thread in the background. Its record has been stored just now.
    fn project_later(self: &Arc<Self>, thread_id: ThreadId) {
        self.catch_up_later(thread_id, false);
    }

    fn catch_up_later(self: &Arc<Self>, thread_id: ThreadId, needs_record: bool) {
        match self.behind.waiting().entry(thread_id) {
            Entry::Occupied(mut waiting) => {
                *waiting.get_mut() |= needs_record;
                return;
            }
            Entry::Vacant(waiting) => drop(waiting.insert(needs_record)),
        }
        let (host, behind) = (Arc::downgrade(self), Arc::clone(&self.behind));
        tokio::spawn(async move {
            let Ok(_turn) = behind.turn.acquire().await else { return };
            // Before the lines are read: what comes afterwards is noted again.
            let needs_record = behind.waiting().remove(&thread_id).unwrap_or(true);
            let Some(host) = host.upgrade() else { return };
            if needs_record && let Err(error) = host.store_record(thread_id).await {
                // It was deleted, or this user may only read.
                tracing::debug!(%thread_id, %error, "a thread record could not be stored");
                return;
            }
            if let Err(error) = host.project(thread_id).await {
                // The same, or another process has written them meanwhile. A reader that needs them says so again.
                tracing::debug!(%thread_id, ?error, "the projections of a thread could not be stored");
            }
        });
    }

    /// Renews all claims of this process: in one statement, or in one each if that fails, since the rows of some threads may lie on
    /// a server that is down.
    async fn renew_all(self: &Arc<Self>) {
        let claims: Vec<_> =
            self.live.all().iter().filter_map(|writer| Some((writer.thread_id, writer.claim()?))).collect();
        if claims.is_empty() || self.renew_together(&claims).await.is_ok() {
            return;
        }
        let mut alone = JoinSet::new();
        for claim in claims {
            let host = Arc::clone(self);
            alone.spawn(async move {
                if let Err(error) = host.reading(|| host.renew_together(std::slice::from_ref(&claim))).await {
                    tracing::warn!(thread_id = %claim.0, %error, "a claim could not be renewed");
                }
            });
        }
        alone.join_all().await;
    }

    /// Renews claims in one statement, without another attempt.
    async fn renew_together(&self, claims: &[(ThreadId, Claim)]) -> Result<(), AttemptError> {
        let mut connection = self.pool.acquire().await?;
        let held = self.renew(&mut connection, claims).await?;
        drop(connection);
        for (thread_id, claim) in claims.iter().copied() {
            // The writer may have got another claim meanwhile, or be in the middle of a call, which finds out by itself.
            if !held.contains(&thread_id)
                && let Some(writer) = self.live.find(thread_id)
                && let Some(mut state) = writer.try_lock()
                && writer.claim() == Some(claim)
            {
                writer.lose(&mut state, "its claim has expired or was released".to_owned());
            }
        }
        Ok(())
    }
}
