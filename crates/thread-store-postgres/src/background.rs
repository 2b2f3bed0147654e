//! What a store does on its own: renewing claims, and storing thread records behind the lines.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use selvedge_thread_store::Result;

use crate::host::PostgresHost;
use crate::live::WriterStage;
use crate::schema;

/// How far the stored record of a live thread may be behind its lines. The contract allows 5 s for lists.
const RECORD_LAG: Duration = Duration::from_secs(2);

/// Starts the background work of a store. It ends with the store.
pub(crate) fn start(host: &Arc<PostgresHost>) {
    tokio::spawn(renew_claims(Arc::downgrade(host)));
    tokio::spawn(store_records(Arc::downgrade(host)));
}

async fn renew_claims(host: Weak<PostgresHost>) {
    let Some(lease) = host.upgrade().map(|host| host.options().lease) else { return };
    loop {
        // A third of the lease leaves room for two failed attempts. The random part keeps many stores from asking at once.
        let jitter = schema::pause(0).as_secs_f64() / 0.02;
        tokio::time::sleep(lease.mul_f64(0.25 + jitter / 12.0)).await;
        let Some(host) = host.upgrade() else { return };
        let limit = lease / 4;
        let began = Instant::now();
        match tokio::time::timeout(limit.max(Duration::from_millis(100)), host.renew_all()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "claims could not be renewed"),
            Err(_) => tracing::warn!(waited = ?began.elapsed(), "claims could not be renewed in time"),
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
            // Without the lock: appends go on meanwhile.
            drop(state);
            if let Err(error) = host.store_record(writer.thread_id).await {
                tracing::debug!(thread_id = %writer.thread_id, %error, "a thread record could not be stored");
                if let WriterStage::Claimed(claimed) = &mut writer.lock().await.stage {
                    claimed.is_ahead = true;
                }
            }
        }
    }
}

impl PostgresHost {
    /// Renews all claims of this process.
    async fn renew_all(&self) -> Result<()> {
        let claims: Vec<_> =
            self.live.all().iter().filter_map(|writer| Some((writer.thread_id, writer.claim()?))).collect();
        if claims.is_empty() {
            return Ok(());
        }
        let held = self
            .reading(async || {
                let mut connection = self.pool.acquire().await?;
                self.renew(&mut connection, &claims).await
            })
            .await?;
        for (thread_id, claim) in claims {
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
