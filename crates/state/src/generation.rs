//! Generations of the index: from the time when it was filled until it is cleared.
//!
//! ```text
//!             update reaches the end           every further update
//!  unfilled ───────────────────────▶ filled ──────────────────────────┐
//!     ▲                                │ ▲    moves `checked_at` on    │
//!     └──────────── clear ─────────────┘ └────────────────────────────┘
//! ```
//!
//! An index that is not filled answers no query, because threads are missing from it. An answer that was computed while the
//! generation changed may have missed threads, too, so that callers compare the generation before and after.

use std::time::{SystemTime, UNIX_EPOCH};

use selvedge_protocol::Timestamp;
use sqlx::Row;

use crate::database::WaitPolicy;
use crate::error::Result;
use crate::index::StateIndex;

/// Identifies one generation of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexGeneration(i64);

impl StateIndex {
    /// Returns when every file was last compared with the index, by this process or another one. All changes before that time
    /// are in the index. `None` if the index is not filled.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn checked_at(&self) -> Result<Option<Timestamp>> {
        let row = sqlx::query("SELECT checked_at FROM checks").fetch_optional(&self.database.readers).await?;
        row.map(|row| Ok(Timestamp::from_millis(row.try_get(0)?))).transpose()
    }

    /// Returns the current generation of the index. `None` if it is not filled. An answer that was computed between two
    /// different generations may be incomplete.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn generation(&self) -> Result<Option<IndexGeneration>> {
        let row = sqlx::query_scalar("SELECT filled_at FROM checks").fetch_optional(&self.database.readers).await?;
        Ok(row.map(IndexGeneration))
    }

    /// Returns how often the index was cleared.
    pub(crate) async fn clearings(&self) -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT count FROM clearings").fetch_one(&self.database.readers).await?)
    }

    /// Records that every file was compared, not before the time `at`. Does nothing if the index was cleared since there had been
    /// `clearings` clearings: what an update has written before a clearing is gone, so that the index is not filled.
    pub(crate) async fn set_filled(&self, at: Timestamp, clearings: i64) -> Result<()> {
        // Updates of several processes end in any order: the time only moves forward, and the generation stays.
        let sql = "INSERT INTO checks (only, checked_at, filled_at) \
            SELECT 1, ?, ? FROM clearings WHERE count = ? \
            ON CONFLICT (only) DO UPDATE SET checked_at = max(checked_at, excluded.checked_at)";
        let mut transaction = self.database.begin(WaitPolicy::Long).await?;
        sqlx::query(sql).bind(at.as_millis()).bind(clock_ns()).bind(clearings).execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Empties the index, so that the next [`update`](Self::update) reads every thread. Until that ends, the index is not filled,
    /// for other processes either.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub async fn clear(&self) -> Result<()> {
        let mut transaction = self.database.begin(WaitPolicy::Long).await?;
        // An update that runs now sees the count change, and does not mark the emptied index as filled.
        sqlx::query("UPDATE clearings SET count = count + 1").execute(&mut *transaction).await?;
        for table in [
            "checks",
            "directories",
            "names_source",
            "names",
            "bases",
            "segments",
            "turns",
            "activities",
            "search_threads",
            "search_blocks",
            "search_runs",
            "threads",
        ] {
            sqlx::query(&format!("DELETE FROM {table}")).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        // The file is nearly empty, so that this is cheap.
        if let Err(error) = self.database.drop_free_pages().await {
            // Other processes use the index. What was deleted is overwritten in any case.
            tracing::info!(%error, "free pages of the index stay");
        }
        self.database.remove_set_aside().await
    }
}

/// Returns the time in nanoseconds since 1970, which is precise enough to distinguish generations.
fn clock_ns() -> i64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}
