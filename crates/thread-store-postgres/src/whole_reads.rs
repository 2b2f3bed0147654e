//! Whole histories and exact records, for every question that the tables do not answer.

use std::sync::Arc;

use selvedge_protocol::ThreadId;
use selvedge_thread_store::Result;
use selvedge_thread_store::implement::WholeHistory;
use sqlx::postgres::PgConnection;

use crate::error::AttemptError;
use crate::history::{LoadedChain, LoadedSegments};
use crate::host::{PostgresHost, end};
use crate::tables::{RowLock, ThreadRow};

impl PostgresHost {
    /// Loads the chain of a thread. The segments can be asked for more.
    pub(crate) async fn chain_of(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
    ) -> Result<(LoadedChain, LoadedSegments), AttemptError> {
        let thread = self.thread(connection, thread_id, RowLock::None).await?;
        let mut loaded = LoadedSegments::default();
        let chain = loaded.chain(self, connection, &thread).await?;
        Ok((chain, loaded))
    }

    /// Loads the whole history of a thread.
    pub(crate) async fn whole_history(&self, thread_id: ThreadId) -> Result<WholeHistory> {
        self.reading(async || {
            let mut snapshot = self.snapshot().await?;
            let (chain, _) = self.chain_of(&mut snapshot, thread_id).await?;
            end(snapshot).await;
            Ok(chain.history())
        })
        .await
    }

    /// Makes the records of threads exact, except for threads that other processes write.
    pub(crate) async fn make_exact(
        self: &Arc<Self>,
        connection: &mut PgConnection,
        threads: &mut [ThreadRow],
    ) -> Result<(), AttemptError> {
        // The writer of a live thread stores its record by itself. A writer that died did not, so the lines are folded here.
        let is_inexact = |thread: &ThreadRow| thread.is_behind() || (thread.is_unsettled && !thread.is_live);
        for thread in threads.iter_mut().filter(|thread| is_inexact(thread)) {
            self.fold_later(thread.is_behind().then_some(thread.id));
            self.exact_record(connection, thread).await?;
        }
        Ok(())
    }
}
