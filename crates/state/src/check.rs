//! Whether an index can be trusted.
//!
//! An index that is merely behind is in order: the next question takes in what changed, and that is a notice. A fault is what
//! no question puts right by itself, and a row of a thread that has no file.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvedge_protocol::{StoredThread, ThreadId};
use selvedge_rollout::doctor::Severity;
use selvedge_rollout::{CachedHome, HomeFiles, NameIndex, ResolvedHistory, RolloutFile, RolloutHome};
use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::StateIndex;
use crate::database::{Database, SetAside, WaitPolicy};
use crate::error::{IndexError, Result};
use crate::list::stored_thread;
use crate::names::{NamesSource, stamp_of_names};
use crate::plan::Plan;
use crate::row::{ScannedThread, scan};
use crate::search::gather::RunCollector;
use crate::search::sum::words_checksum;
use crate::update::{UpdateReport, blocking, relative};
use crate::write::{self, signed};

/// What to look at.
#[derive(Clone, Debug, Default)]
pub struct CheckScope {
    /// These threads; all when missing.
    pub threads: Option<HashSet<ThreadId>>,
    /// Whether each row is compared with what its whole log says. That reads every log.
    pub deep: bool,
}

/// The kinds of what is found. Their names, as [`as_str`](Self::as_str) gives them, stay what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IndexFindingKind {
    /// The file is no index, or cannot be read as one.
    UnusableIndex,
    /// A row of a thread that has no file.
    RowWithoutFile,
    /// The index holds itself for complete, and has no row of a thread.
    MissingRow,
    /// A row says something else than the files do, which look as they did when they were read.
    WrongRow,
    /// A row has another name than the index of names, which looks as it did when it was read.
    WrongName,
    /// The index was made by another version of the program.
    OtherVersion,
    /// The index was never filled to the end.
    Unfilled,
    /// Threads that have no row yet.
    NotTakenIn,
    /// Threads whose files changed.
    Changed,
    /// Names that changed.
    StaleNames,
}

impl IndexFindingKind {
    /// The kind's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnusableIndex => "unusable_index",
            Self::RowWithoutFile => "row_without_file",
            Self::MissingRow => "missing_row",
            Self::WrongRow => "wrong_row",
            Self::WrongName => "wrong_name",
            Self::OtherVersion => "other_version",
            Self::Unfilled => "unfilled",
            Self::NotTakenIn => "not_taken_in",
            Self::Changed => "changed",
            Self::StaleNames => "stale_names",
        }
    }

    /// How much it matters: a notice is what the next questions take in by themselves.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::UnusableIndex | Self::RowWithoutFile | Self::MissingRow | Self::WrongRow | Self::WrongName => {
                Severity::Fault
            }
            Self::OtherVersion | Self::Unfilled | Self::NotTakenIn | Self::Changed | Self::StaleNames => {
                Severity::Notice
            }
        }
    }
}

impl fmt::Display for IndexFindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that an index has wrong, or does not know yet. [`StateIndex::repair`] mends every kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IndexFinding {
    /// What.
    pub kind: IndexFindingKind,
    /// How much it matters.
    pub severity: Severity,
    /// Of which thread, where it is one's.
    pub thread_id: Option<ThreadId>,
    /// What exactly.
    pub detail: String,
}

impl IndexFinding {
    fn new(kind: IndexFindingKind, thread_id: Option<ThreadId>, detail: impl Into<String>) -> Self {
        Self { kind, severity: kind.severity(), thread_id, detail: detail.into() }
    }
}

/// What an index looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IndexCheck {
    /// The database file.
    pub path: PathBuf,
    /// Whether there is one. An empty file is none.
    pub is_there: bool,
    /// Threads that are in the index.
    pub threads: u64,
    /// What is wrong with it or out of date.
    pub findings: Vec<IndexFinding>,
}

/// What a repair did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IndexRepair {
    /// The file that could not be used and was replaced, if there was one.
    pub set_aside: Option<SetAside>,
    /// What was read into the index.
    pub report: UpdateReport,
}

impl StateIndex {
    /// Compares the index in the file at `path` with the files of `home`, and changes neither. A file that is missing is
    /// not made, and one that cannot be used is not set aside: that is a finding.
    ///
    /// # Errors
    /// When the directories of the home cannot be read, or others hold the database.
    pub async fn check(home: &RolloutHome, path: &Path, scope: &CheckScope) -> Result<IndexCheck> {
        let file = path.to_owned();
        let is_there = blocking(move || Ok(std::fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0))).await?;
        let mut check = IndexCheck { path: path.to_owned(), is_there, threads: 0, findings: Vec::new() };
        if !is_there {
            return Ok(check);
        }
        let outcome = match Database::open_to_look(path).await {
            Ok(database) => {
                let index = Self {
                    home: home.clone(),
                    remembered: Arc::new(CachedHome::new(home.clone())),
                    database: Arc::new(database),
                    set_aside: None,
                    directories: Arc::default(),
                    seen: Arc::default(),
                };
                let outcome = index.look_through(scope, &mut check).await;
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

    /// Mends what a check found: rows in question are read again, what is not taken in is, and a file that cannot be used is
    /// set aside and made anew.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`update`](Self::update).
    pub async fn repair(home: &RolloutHome, check: &IndexCheck) -> Result<IndexRepair> {
        let is_unusable = check.findings.iter().find(|finding| finding.kind == IndexFindingKind::UnusableIndex);
        let set_aside = match is_unusable {
            Some(finding) => Database::set_aside(&check.path, &finding.detail).await?,
            None => None,
        };
        let index = Self::open(home, &check.path).await?;
        index.forget(&check.findings).await?;
        let report = index.update(|_| {}).await;
        index.close().await;
        Ok(IndexRepair { set_aside: set_aside.or(index.set_aside), report: report? })
    }

    /// Forgets what is wrong and looks as if it were right, so that it is read again.
    async fn forget(&self, findings: &[IndexFinding]) -> Result<()> {
        // Rows of threads that are gone the sync takes out by itself.
        let in_question = findings.iter().filter(|finding| finding.kind != IndexFindingKind::RowWithoutFile);
        let threads: Vec<ThreadId> = in_question.filter_map(|finding| finding.thread_id).collect();
        if threads.is_empty() {
            return Ok(());
        }
        let mut transaction = self.database.begin(WaitPolicy::Long).await?;
        write::remove(&mut transaction, &threads).await?;
        // Until they are read again, the index is one that is not filled, and the logs answer.
        for table in ["checks", "names_source"] {
            sqlx::query(&format!("DELETE FROM {table}")).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn look_through(&self, scope: &CheckScope, check: &mut IndexCheck) -> Result<()> {
        let is_whole: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&self.database.readers).await?;
        if is_whole != "ok" {
            return Err(IndexError::Damaged(sqlx::Error::Protocol(is_whole)));
        }
        let files = self.home_files().await?;
        let is_complete = self.checked_at().await?.is_some() && self.has_same_files().await?;
        let rows = self.known_rows().await?;
        check.threads = rows.len() as u64;
        let wanted = |thread_id: ThreadId| scope.threads.as_ref().is_none_or(|threads| threads.contains(&thread_id));
        let plan = self.plan(Arc::clone(&files), None).await?;
        let mut unsettled = HashSet::new();
        for job in plan.gone.iter().filter(|job| wanted(job.thread_id)) {
            unsettled.insert(job.thread_id);
            let path = rows.get(&job.thread_id).map(|row| row.path.as_str()).unwrap_or_default();
            let detail = format!("the index has a row of it, and there is no file of it; {path} was its newest");
            check.findings.push(IndexFinding::new(IndexFindingKind::RowWithoutFile, Some(job.thread_id), detail));
        }
        let readable = if is_complete { self.readable(&files, &plan, &rows).await? } else { HashSet::new() };
        let (mut changed, mut bytes, mut not_taken_in) = (0_u64, 0, 0_u64);
        for job in plan.jobs.iter().filter(|job| wanted(job.thread_id)) {
            unsettled.insert(job.thread_id);
            if rows.contains_key(&job.thread_id) {
                changed += 1;
                bytes += job.bytes;
            } else if readable.contains(&job.thread_id) {
                let detail = "the index holds itself for complete, and has no row of it";
                check.findings.push(IndexFinding::new(IndexFindingKind::MissingRow, Some(job.thread_id), detail));
            } else {
                not_taken_in += 1;
            }
        }
        let is_settled = |thread_id: &ThreadId| wanted(*thread_id) && !unsettled.contains(thread_id);
        let settled: Vec<(ThreadId, &KnownRow)> =
            rows.iter().filter(|(id, _)| is_settled(id)).map(|(id, row)| (*id, row)).collect();
        let stale_names = self.check_names(&settled, check).await?;
        let suspects = self.differing(&files, settled, scope.deep).await?;
        // Somebody may have written these threads meanwhile, or taken them in.
        let files = self.home_files().await?;
        let known = if suspects.is_empty() { HashMap::new() } else { self.known_rows().await? };
        let again = suspects.iter().filter_map(|(id, _)| Some((*id, known.get(id)?))).collect();
        for (thread_id, differs) in self.differing(&files, again, scope.deep).await? {
            let now = self.plan(self.home_files().await?, Some(HashSet::from([thread_id]))).await?;
            if now.jobs.is_empty() && now.gone.is_empty() {
                check.findings.push(IndexFinding::new(IndexFindingKind::WrongRow, Some(thread_id), differs));
            } else {
                changed += 1;
                bytes += now.bytes();
            }
        }
        check.findings.sort_by_key(|finding| (finding.kind.as_str(), finding.thread_id));
        let mut notice = |kind, count: u64, detail: String| {
            if count > 0 {
                check.findings.push(IndexFinding::new(kind, None, detail));
            }
        };
        if self.checked_at().await?.is_none() {
            notice(
                IndexFindingKind::Unfilled,
                1,
                "it was never filled to the end; until then the logs answer".to_owned(),
            );
        }
        notice(IndexFindingKind::NotTakenIn, not_taken_in, format!("{not_taken_in} threads have no row yet"));
        notice(IndexFindingKind::Changed, changed, format!("{changed} threads changed, {bytes} bytes are to be read"));
        notice(IndexFindingKind::StaleNames, stale_names, format!("{stale_names} names changed"));
        Ok(())
    }

    async fn known_rows(&self) -> Result<HashMap<ThreadId, KnownRow>> {
        let rows =
            sqlx::query("SELECT id, name, archived, path FROM threads").fetch_all(&self.database.readers).await?;
        let known = |row: &SqliteRow| -> Result<_> {
            let known = KnownRow { name: row.try_get(1)?, archived: row.try_get(2)?, path: row.try_get(3)? };
            Ok((ThreadId::from_uuid(row.try_get(0)?), known))
        };
        rows.iter().map(known).collect()
    }

    /// The threads without a row for which there is no reason not to have one.
    async fn readable(
        &self,
        files: &Arc<HomeFiles>,
        plan: &Plan,
        rows: &HashMap<ThreadId, KnownRow>,
    ) -> Result<HashSet<ThreadId>> {
        let threads = plan.jobs.iter().map(|job| job.thread_id).filter(|thread_id| !rows.contains_key(thread_id));
        let threads: Vec<ThreadId> = threads.collect();
        let (files, home) = (Arc::clone(files), self.home.clone());
        blocking(move || {
            let is_readable =
                |file: &RolloutFile| relative(&home, &file.path).is_some() && File::open(&file.path).is_ok();
            Ok(threads.into_iter().filter(|id| files.segments(*id).iter().all(is_readable)).collect())
        })
        .await
    }

    /// Compares names with the index of names, and says how many of them changed there. One that cannot be read says nothing.
    async fn check_names(&self, rows: &[(ThreadId, &KnownRow)], check: &mut IndexCheck) -> Result<u64> {
        let known = NamesSource::known(&self.database.readers).await?.map(|known| known.stamp);
        let home = self.home.clone();
        let read = blocking(move || {
            let names = NameIndex::load(&home)?;
            Ok((names, stamp_of_names(&home)))
        });
        let Ok((names, stamp)) = read.await else { return Ok(0) };
        let mut stale = 0;
        for (thread_id, row) in rows {
            let name = names.get(*thread_id).map(|entry| entry.name.as_str());
            if row.name.as_deref() == name {
                continue;
            }
            if known != Some(stamp) {
                stale += 1;
                continue;
            }
            let detail = format!("the index has the name {:?}, and the index of names {name:?}", row.name);
            check.findings.push(IndexFinding::new(IndexFindingKind::WrongName, Some(*thread_id), detail));
        }
        Ok(stale)
    }

    /// Which of these rows have something wrong of where their thread is, and what that is.
    async fn differing_outside(
        &self,
        files: &Arc<HomeFiles>,
        rows: &[(ThreadId, &KnownRow)],
    ) -> Result<HashMap<ThreadId, String>> {
        let rows: Vec<(ThreadId, KnownRow)> = rows.iter().map(|(id, row)| (*id, (*row).clone())).collect();
        let (files, home) = (Arc::clone(files), self.home.clone());
        blocking(move || {
            let differs = |(id, row): &(ThreadId, KnownRow)| Some((*id, differs_outside(&home, &files, *id, row)?));
            Ok(rows.iter().filter_map(differs).collect())
        })
        .await
    }

    /// Which of these rows say something else than the files do, and what that is.
    async fn differing(
        &self,
        files: &Arc<HomeFiles>,
        rows: Vec<(ThreadId, &KnownRow)>,
        deep: bool,
    ) -> Result<Vec<(ThreadId, String)>> {
        let sums = if deep && !rows.is_empty() { self.words_sums().await? } else { HashMap::new() };
        let mut outside = self.differing_outside(files, &rows).await?;
        let mut found = Vec::new();
        for (thread_id, _) in rows {
            let mut differs = outside.remove(&thread_id);
            if differs.is_none() && deep {
                let sum = sums.get(&thread_id).copied().unwrap_or_default();
                differs = self.differs_inside(files, thread_id, sum).await?;
            }
            found.extend(differs.map(|differs| (thread_id, differs)));
        }
        Ok(found)
    }

    /// What a row, or the turns and words beside it, have wrong of what the log says.
    async fn differs_inside(&self, files: &Arc<HomeFiles>, thread_id: ThreadId, words: u64) -> Result<Option<String>> {
        let files = Arc::clone(files);
        let scanned = blocking(move || {
            let Some(resolved) = ResolvedHistory::resolve(&files, thread_id)? else { return Ok(None) };
            let mut texts = RunCollector::default();
            texts.begin_thread(thread_id);
            let scanned = scan(&resolved, &mut texts)?;
            Ok(Some((scanned, words_checksum(texts.take_runs()))))
        });
        let Ok(Some((scanned, told))) = scanned.await else { return Ok(None) };
        let sql = "SELECT record, name, archived, path, created_at, updated_at, recency_at, source, model_provider, \
            model, cwd, git_branch FROM threads WHERE id = ?";
        let row = sqlx::query(sql).bind(thread_id.as_uuid()).fetch_optional(&self.database.readers).await?;
        let Some(row) = row else { return Ok(None) };
        if !is_row_of(&row, &scanned)? {
            return Ok(Some("the row says something else than its log".to_owned()));
        }
        let sql = "SELECT turn_id, first_line, end_line, start_part, start_byte, end_part, end_byte, next_item, paginated, \
            is_self_contained, items FROM turns WHERE thread_id = ? ORDER BY place";
        let turns = sqlx::query(sql).bind(thread_id.as_uuid()).fetch_all(&self.database.readers).await?;
        if !are_turns_of(&turns, &scanned)? {
            let (known, told) = (turns.len(), scanned.told.turns.len());
            let differs = format!("the index has {known} turns, and the log tells {told} or has them elsewhere");
            return Ok(Some(differs));
        }
        Ok((told != Some(words)).then(|| "the words of the index are not those of its log".to_owned()))
    }
}

/// What a row says that does not come from its log.
#[derive(Clone, Debug)]
struct KnownRow {
    name: Option<String>,
    archived: bool,
    path: String,
}

/// What a row has wrong of where its thread is.
fn differs_outside(home: &RolloutHome, files: &HomeFiles, thread_id: ThreadId, row: &KnownRow) -> Option<String> {
    let newest = files.segments(thread_id).last()?;
    let path = relative(home, &newest.path)?;
    let says = |path: &str, archived: bool| path == row.path && archived == row.archived;
    let is_right = says(&path, newest.archived) || {
        // A segment that does not say what it goes on from is none to read.
        let resolved = ResolvedHistory::resolve(files, thread_id).ok().flatten();
        let newest = resolved.as_ref().map(ResolvedHistory::newest);
        newest.is_some_and(|file| relative(home, &file.path).is_some_and(|path| says(&path, file.archived)))
    };
    (!is_right).then(|| {
        let archived = if row.archived { "archived" } else { "not archived" };
        format!("the row says {} ({archived}), and its newest file is {path}", row.path)
    })
}

/// Whether a row with its columns is what was read.
fn is_row_of(row: &SqliteRow, scanned: &ScannedThread) -> Result<bool> {
    let stored = stored_thread(row, None)?;
    let thread = &scanned.thread;
    let told = StoredThread { name: stored.name.clone(), archived: stored.archived, location: None, ..thread.clone() };
    // As it would be read again: what JSON does not tell apart is no difference.
    let told: StoredThread = serde_json::to_string(&told)
        .and_then(|text| serde_json::from_str(&text))
        .map_err(|error| sqlx::Error::Decode(error.into()))?;
    let mut is_right = stored == told;
    for (column, time) in [(4, thread.created_at), (5, thread.updated_at), (6, thread.recency_at)] {
        is_right &= row.try_get::<i64, _>(column)? == time.as_millis();
    }
    let cwd = thread.cwd.as_ref().map(|cwd| cwd.trim_end_matches('/'));
    let branch = thread.git.as_ref().and_then(|git| git.branch.as_deref());
    let texts = [thread.source_name(), thread.model_provider.as_deref(), thread.model.as_deref(), cwd, branch];
    for (column, text) in (7..).zip(texts) {
        is_right &= row.try_get::<Option<&str>, _>(column)? == text;
    }
    Ok(is_right)
}

/// Whether the rows of turns are what was read.
fn are_turns_of(rows: &[SqliteRow], scanned: &ScannedThread) -> Result<bool> {
    if rows.len() != scanned.told.turns.len() {
        return Ok(false);
    }
    for (row, turn) in rows.iter().zip(&scanned.told.turns) {
        let numbers = [
            turn.lines.start,
            turn.lines.end,
            turn.start.part as u64,
            turn.start.byte,
            turn.end.part as u64,
            turn.end.byte,
            turn.next_item,
            u64::from(turn.paginated),
            u64::from(turn.is_self_contained),
        ];
        let mut is_right = row.try_get::<&str, _>(0)? == turn.id.as_str();
        for (column, number) in (1..).zip(numbers) {
            is_right &= row.try_get::<i64, _>(column)? == signed(number);
        }
        if !is_right || row.try_get::<&[u8], _>(10)? != turn.pack_items() {
            return Ok(false);
        }
    }
    Ok(true)
}
