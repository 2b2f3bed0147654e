//! Repairs what a check found.

use selvedge_protocol::ThreadId;
use selvedge_rollout::RolloutHome;

use crate::check::finding::{IndexCheck, IndexFinding, IndexFindingKind, IndexRepair};
use crate::database::{Database, WaitPolicy};
use crate::error::Result;
use crate::index::StateIndex;
use crate::write;

impl StateIndex {
    /// Repairs what a check found. Threads with wrong rows are read again, stale ones are updated, and a file that
    /// cannot be used is set aside and replaced by a new index.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`update`](Self::update).
    pub async fn repair(home: &RolloutHome, check: &IndexCheck) -> Result<IndexRepair> {
        let is_unusable = check.findings.iter().find(|finding| finding.kind == IndexFindingKind::UnusableIndex);
        let set_aside = match is_unusable {
            Some(finding) => Database::set_aside(home, &check.path, &finding.detail).await?,
            None => None,
        };
        // `open` creates a new index if the old one was set aside above. If another version made the index, `open` sets it aside.
        let index = Self::open(home, &check.path).await?;
        index.remove_wrong(&check.findings).await?;
        let report = index.update(|_| {}).await;
        index.close().await;
        Ok(IndexRepair { set_aside: set_aside.or_else(|| index.set_aside().cloned()), report: report? })
    }

    /// Removes the threads with wrong rows, so that the next update reads them. Otherwise it would skip them, because their
    /// files did not change.
    async fn remove_wrong(&self, findings: &[IndexFinding]) -> Result<()> {
        // Rows without a file are removed by the update itself.
        let wrong = findings.iter().filter(|finding| finding.kind != IndexFindingKind::RowWithoutFile);
        let threads: Vec<ThreadId> = wrong.filter_map(|finding| finding.thread_id).collect();
        if threads.is_empty() {
            return Ok(());
        }
        let mut transaction = self.database.begin(WaitPolicy::Long).await?;
        write::delete_threads(&mut transaction, &threads).await?;
        // Until the update ends, the index is not filled, and the logs answer queries. Without the row
        // in `names_source`, the name index is read again, too.
        for table in ["checks", "names_source"] {
            sqlx::query(&format!("DELETE FROM {table}")).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }
}
