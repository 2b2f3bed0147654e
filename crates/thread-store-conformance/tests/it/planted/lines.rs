//! Faults in following a thread or a store: lines, changes and damage.

use async_trait::async_trait;
use selvedge_protocol::{Cursor, Page, SortDirection, StoredThread, ThreadId, ThreadQuery};
use selvedge_thread_store::{
    ChangePage, EntryKind, LinePage, LinePosition, LineQuery, LineStart, Result, StoreError, ThreadChange,
};
use selvedge_thread_store_conformance::{StoreWrapper, Wrapped};

use super::fault::{Fault, FaultyHost, faults};

faults! {
    OmitsTheFirstChange
        caught by ["changes.without-a-cursor"]
        also ["changes.each-change-is-reported", "changes.following"]
    {
        async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
            let mut page = self.store.list_changes(after, limit).await?;
            if after.is_none() && page.changes.len() > 1 {
                page.changes.remove(0);
            }
            Ok(page)
        }
    }

    AcceptsAChangeLimitOfZero caught by ["changes.refusals"] also [] {
        async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
            self.store.list_changes(after, limit.max(1)).await
        }
    }

    OmitsDeletionsFromChanges caught by ["changes.each-change-is-reported"] also ["changes.following"] {
        async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
            let mut page = self.store.list_changes(after, limit).await?;
            page.changes.retain(|change| matches!(change, ThreadChange::Present { .. }));
            Ok(page)
        }
    }

    IgnoresTheByteLimit caught by ["lines.pages-end-by-bytes"] also [] {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            self.store.read_lines(&LineQuery { max_bytes: usize::MAX, ..query.clone() }).await
        }
    }

    CutsLinesAndNotTexts caught by ["lines.short-texts"] also [] {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            let mut page = self.store.read_lines(query).await?;
            if let Some(max) = query.max_text {
                page.entries.iter_mut().for_each(|entry| entry.bytes.truncate(max.max(10_000)));
            }
            Ok(page)
        }
    }

    AcceptsALineLimitOfZero caught by ["lines.refusals"] also [] {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            self.store.read_lines(&LineQuery { max_lines: query.max_lines.max(1), ..query.clone() }).await
        }
    }

    DoesNotReportRewinds
        caught by ["lines.after-a-rewind"]
        also ["lines.following", "lines.positions-survive-every-change"]
    {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            Ok(LinePage { rewound_to: None, ..self.store.read_lines(query).await? })
        }
    }

    DropsTheLastLineOfDescendingPages caught by ["lines.contain-the-history"] also ["lines.positions"] {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            let mut page = self.store.read_lines(query).await?;
            if query.direction == SortDirection::Descending {
                page.entries.truncate(page.entries.len().max(2) - 1);
            }
            Ok(page)
        }
    }

    NeverWakesFollowers caught by ["lines.following"] also ["lines.refusals"] {
        async fn wait_for_lines(&self, _: ThreadId, _: &LinePosition) -> Result<()> {
            std::future::pending().await
        }
    }

    StartsTurnReadsAtTheBeginning caught by ["lines.starts"] also [] {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            match &query.start {
                LineStart::Turn(_) => {
                    self.store.read_lines(&LineQuery { start: LineStart::Beginning, ..query.clone() }).await
                }
                _ => self.store.read_lines(query).await,
            }
        }
    }

    OmitsLegacyRewindLines caught by ["lines.after-a-legacy-rewind"] also ["lines.contain-the-history"] {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            let mut page = self.store.read_lines(query).await?;
            let is_rewind = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("thread_rolled_back");
            page.entries.retain(|entry| !is_rewind(&entry.bytes));
            Ok(page)
        }
    }

    ReportsExpiredCursorsAsInvalid caught by ["errors.start-over-without-a-cursor"] also ["changes.refusals"] {
        async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
            match self.store.list_changes(after, limit).await {
                Err(StoreError::CursorExpired { .. }) => Err(StoreError::invalid("the cursor is unknown")),
                outcome => outcome,
            }
        }
    }

    StartsOverAtGonePositions caught by ["errors.start-over-at-a-valid-position"] also [] {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            match self.store.read_lines(query).await {
                Err(StoreError::PositionGone { .. }) => {
                    self.store.read_lines(&LineQuery { start: LineStart::Beginning, ..query.clone() }).await
                }
                outcome => outcome,
            }
        }
    }

    OmitsDamagedThreadsFromLists caught by ["damage.costs-only-damaged-lines"] also [] {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            let mut page = self.store.list_threads(query).await?;
            let mut items = Vec::new();
            for record in page.items {
                if self.store.load_history(record.id).await.is_ok_and(|history| history.damage.is_empty()) {
                    items.push(record);
                }
            }
            page.items = items;
            Ok(page)
        }
    }

    OmitsDamagedRanges caught by ["damage.is-reported"] also [] {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            let mut page = self.store.read_lines(query).await?;
            page.entries.retain(|entry| !matches!(entry.kind, EntryKind::Damage { .. }));
            Ok(page)
        }
    }

    OmitsDamageFromExports caught by ["damage.is-kept"] also [] {
        async fn export(&self, thread_id: ThreadId, out: &mut (dyn std::io::Write + Send)) -> Result<u64> {
            let mut bytes = Vec::new();
            self.store.export(thread_id, &mut bytes).await?;
            let lines = bytes.split_inclusive(|byte| *byte == b'\n');
            let count = lines.clone().count() as u64;
            let kept: Vec<u8> = lines.filter(|line| !line.starts_with(b"#")).flatten().copied().collect();
            out.write_all(&kept).map_err(|error| StoreError::backend("cannot write", error))?;
            Ok(if count > 0 { kept.len() as u64 } else { 0 })
        }
    }
}
