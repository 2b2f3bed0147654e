//! Checks whether an index can be trusted.
//!
//! A stale index is in order: the next query brings it up to date, so that this is only a notice. A fault is what no query
//! repairs: a record that is wrong although its files did not change since they were read, or the record of a thread without
//! files.

mod compare;
mod finding;
mod repair;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use selvedge_protocol::ThreadId;
use selvedge_rollout::{CachedHome, HomeFiles, NameIndex, RolloutFile, RolloutHome};

use crate::blocking::blocking;
use crate::check::compare::IndexedRow;
pub use crate::check::finding::{CheckScope, IndexCheck, IndexFinding, IndexFindingKind, IndexRepair};
use crate::database::Database;
use crate::error::{IndexError, Result};
use crate::index::StateIndex;
use crate::names::{NamesSource, stat_name_index};
use crate::paths::home_relative;
use crate::plan::UpdatePlan;

impl StateIndex {
    /// Compares the index in the file at `path` with the files of `home`, and changes neither. A missing file is not created, and
    /// a file that cannot be used is not set aside, but is a finding.
    ///
    /// # Errors
    /// If the directories of the home cannot be read, or other processes hold the database.
    pub async fn check(home: &RolloutHome, path: &Path, scope: &CheckScope) -> Result<IndexCheck> {
        let file = path.to_owned();
        // SQLite creates a file by opening it, so that an empty one is as good as none.
        let exists = blocking(move || Ok(std::fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0))).await?;
        let mut check = IndexCheck { path: path.to_owned(), exists, threads: 0, findings: Vec::new() };
        if !exists {
            return Ok(check);
        }
        let outcome = match Database::open_read_only(path).await {
            Ok(database) => {
                let index = Self::with_database(Arc::new(CachedHome::new(home.clone())), database);
                let outcome = index.inspect(scope, &mut check).await;
                index.close().await;
                outcome
            }
            Err(error) => Err(error),
        };
        let (kind, error) = match outcome {
            Ok(()) => return Ok(check),
            Err(error @ IndexError::Setup(_)) => (IndexFindingKind::OtherVersion, error),
            Err(error @ (IndexError::Damaged(_) | IndexError::Database(_))) => (IndexFindingKind::UnusableIndex, error),
            Err(error) => return Err(error),
        };
        let reason = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        check.findings = vec![IndexFinding::new(kind, None, format!("{error}{reason}"))];
        Ok(check)
    }

    /// Compares the index with the files, from the cheapest to the most expensive comparison. A thread is *unsettled* if the next
    /// update reads or removes it. Only settled threads must have right rows.
    async fn inspect(&self, scope: &CheckScope, check: &mut IndexCheck) -> Result<()> {
        self.check_pages().await?;
        let files = self.home_files().await?;
        // Only with unchanged directories does the index know every file: otherwise a thread without a row may just be new.
        let is_complete = self.checked_at().await?.is_some() && self.are_directories_unchanged().await?;
        let rows = self.load_rows().await?;
        check.threads = rows.len() as u64;
        let plan = self.plan_update(Arc::clone(&files), None).await?;
        // In a complete index, a thread has no row only if it cannot be read.
        let readable = if is_complete { self.find_readable(&files, &plan, &rows).await? } else { HashSet::new() };

        let mut inspection = Inspection { scope, rows: &rows, findings: Vec::new(), stale: StaleCounts::default() };
        let unsettled = inspection.check_plan(&plan, &readable, is_complete);
        let settled: Vec<(ThreadId, &IndexedRow)> = rows
            .iter()
            .map(|(id, row)| (*id, row))
            .filter(|(id, _)| scope.includes(*id) && !unsettled.contains(id))
            .collect();
        self.check_names(&settled, &mut inspection).await?;
        self.check_rows(&files, settled, &mut inspection).await?;

        let Inspection { mut findings, stale, .. } = inspection;
        findings.sort_by_key(|finding| (finding.kind.as_str(), finding.thread_id));
        findings.extend(stale.notices(self.checked_at().await?.is_some()));
        check.findings.extend(findings);
        Ok(())
    }

    /// Lets SQLite check its pages.
    async fn check_pages(&self) -> Result<()> {
        let outcome: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&self.database.readers).await?;
        if outcome == "ok" { Ok(()) } else { Err(IndexError::Damaged(sqlx::Error::Protocol(outcome).into())) }
    }

    /// Returns the threads without a row whose files can all be read.
    async fn find_readable(
        &self,
        files: &Arc<HomeFiles>,
        plan: &UpdatePlan,
        rows: &HashMap<ThreadId, IndexedRow>,
    ) -> Result<HashSet<ThreadId>> {
        let threads = plan.jobs.iter().map(|job| job.thread_id).filter(|thread_id| !rows.contains_key(thread_id));
        let threads: Vec<ThreadId> = threads.collect();
        let (files, home) = (Arc::clone(files), self.home.clone());
        blocking(move || {
            let is_readable =
                |file: &RolloutFile| home_relative(&home, &file.path).is_some() && File::open(&file.path).is_ok();
            Ok(threads.into_iter().filter(|id| files.segments(*id).iter().all(is_readable)).collect())
        })
        .await
    }

    /// Compares the names of rows with the name index. If that cannot be read, nothing is compared.
    async fn check_names(&self, rows: &[(ThreadId, &IndexedRow)], inspection: &mut Inspection<'_>) -> Result<()> {
        let known = NamesSource::load(&self.database.readers).await?.map(|known| known.stamp);
        let home = self.home.clone();
        let read = blocking(move || {
            let names = NameIndex::load(&home)?;
            Ok((names, stat_name_index(&home)))
        });
        let Ok((names, stamp)) = read.await else { return Ok(()) };
        for (thread_id, row) in rows {
            let name = names.get(*thread_id).map(|entry| entry.name.as_str());
            if row.name.as_deref() == name {
                continue;
            }
            // If the name index changed since it was read, the next query takes the names from it.
            if known != Some(stamp) {
                inspection.stale.names += 1;
                continue;
            }
            let detail = format!("the index has the name {:?}, and the name index has {name:?}", row.name);
            inspection.add(IndexFindingKind::WrongName, *thread_id, detail);
        }
        Ok(())
    }

    /// Compares settled rows with the files.
    async fn check_rows(
        &self,
        files: &Arc<HomeFiles>,
        settled: Vec<(ThreadId, &IndexedRow)>,
        inspection: &mut Inspection<'_>,
    ) -> Result<()> {
        // While this reads, another process may write the log or the index, and then a row differs without being wrong. Therefore each
        // suspect is compared again with rows and files of now, and is planned again: if the next update reads it, it is only stale.
        let deep = inspection.scope.deep;
        // The first comparison only finds suspects.
        let suspects = self.find_wrong_rows(files, settled, deep).await?;
        let files = self.home_files().await?;
        let rows = if suspects.is_empty() { HashMap::new() } else { self.load_rows().await? };
        let again = suspects.iter().filter_map(|(id, _)| Some((*id, rows.get(id)?))).collect();
        for (thread_id, difference) in self.find_wrong_rows(&files, again, deep).await? {
            let plan = self.plan_update(self.home_files().await?, Some(HashSet::from([thread_id]))).await?;
            if plan.jobs.is_empty() && plan.gone.is_empty() {
                inspection.add(IndexFindingKind::WrongRow, thread_id, difference);
            } else {
                inspection.stale.changed += 1;
                inspection.stale.changed_bytes += plan.bytes();
            }
        }
        Ok(())
    }
}

/// What a check has found so far.
struct Inspection<'a> {
    scope: &'a CheckScope,
    rows: &'a HashMap<ThreadId, IndexedRow>,
    findings: Vec<IndexFinding>,
    stale: StaleCounts,
}

impl Inspection<'_> {
    fn add(&mut self, kind: IndexFindingKind, thread_id: ThreadId, detail: impl Into<String>) {
        self.findings.push(IndexFinding::new(kind, Some(thread_id), detail));
    }

    /// Judges what the next update would do. Returns the threads that it would read or remove.
    fn check_plan(&mut self, plan: &UpdatePlan, readable: &HashSet<ThreadId>, is_complete: bool) -> HashSet<ThreadId> {
        let mut unsettled = HashSet::new();
        for job in plan.gone.iter().filter(|job| self.scope.includes(job.thread_id)) {
            unsettled.insert(job.thread_id);
            // The next query sees that a directory changed, and removes the row.
            if !is_complete {
                self.stale.deleted += 1;
                continue;
            }
            let path = self.rows.get(&job.thread_id).map(|row| row.path.as_str()).unwrap_or_default();
            let detail =
                format!("the index has a row of the thread, which has no file any more; the newest was {path}");
            self.add(IndexFindingKind::RowWithoutFile, job.thread_id, detail);
        }
        for job in plan.jobs.iter().filter(|job| self.scope.includes(job.thread_id)) {
            unsettled.insert(job.thread_id);
            if self.rows.contains_key(&job.thread_id) {
                self.stale.changed += 1;
                self.stale.changed_bytes += job.bytes;
            } else if readable.contains(&job.thread_id) {
                let detail = "the index counts as complete, and has no row of the thread";
                self.add(IndexFindingKind::MissingRow, job.thread_id, detail);
            } else {
                self.stale.not_indexed += 1;
            }
        }
        unsettled
    }
}

/// How much the index is behind. Each number above 0 is one notice.
#[derive(Default)]
struct StaleCounts {
    not_indexed: u64,
    deleted: u64,
    changed: u64,
    changed_bytes: u64,
    names: u64,
}

impl StaleCounts {
    fn notices(&self, is_filled: bool) -> Vec<IndexFinding> {
        let Self { not_indexed, deleted, changed, changed_bytes, names } = self;
        let mut notices = Vec::new();
        let mut add = |kind, count: u64, detail: String| {
            if count > 0 {
                notices.push(IndexFinding::new(kind, None, detail));
            }
        };
        let unfilled = "the index was never filled to the end; until then the logs answer queries";
        add(IndexFindingKind::Unfilled, u64::from(!is_filled), unfilled.to_owned());
        add(IndexFindingKind::NotIndexed, *not_indexed, format!("{not_indexed} threads have no row yet"));
        add(IndexFindingKind::Deleted, *deleted, format!("{deleted} threads were deleted"));
        let detail = format!("{changed} threads changed, {changed_bytes} bytes are to be read");
        add(IndexFindingKind::Changed, *changed, detail);
        add(IndexFindingKind::StaleNames, *names, format!("{names} names changed"));
        notices
    }
}
