//! What a Codex that knows a thread would not notice of a change of its files.
//!
//! Codex keeps a record of each thread that it has listed or started ([`CodexRecord`]). The record says which file is the current
//! segment, whether the thread is archived, and how it is called. Codex updates it when Codex itself makes a change. It does not
//! search the home for changes that another program made, except for some changes of legacy threads. `docs/interop.md` says
//! how each of these facts was found.

mod config;
mod remains;

use std::path::{Path, PathBuf};

use selvedge_protocol::{HistoryMode, ThreadId};
use selvedge_rollout::{ReferenceLock, RolloutFileName};
use selvedge_state::CodexRecord;
use selvedge_thread_store::{Result, StoreError};

use self::config::CodexConfig;
use super::HomeAdmin;
use crate::error::{retry_if_moved, store_error};
use crate::index::with_timers;
use crate::store_core::StoreCore;

/// A change of a thread that Codex can make, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodexChange {
    /// Undo turns.
    Rewind,
    /// Move the thread into the archive.
    Archive,
    /// Move the thread out of the archive.
    Unarchive,
    /// Set the name, or remove it.
    Rename(Option<String>),
    /// Delete the thread.
    Delete,
}

/// A change that Codex would not notice if the files were changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnnoticedChange {
    /// What Codex has recorded about the thread.
    pub record: CodexRecord,
    /// What would be wrong in Codex afterwards: a sentence without its full stop, which begins with "Codex".
    pub consequence: String,
    /// Why Codex cannot make this change itself. `None` if it can.
    pub obstacle: Option<String>,
}

/// Keeps other processes of Selvedge from building on threads while Codex deletes them.
#[derive(Debug)]
pub struct DeletionGuard {
    _references: ReferenceLock,
}

impl HomeAdmin {
    /// Returns what Codex would not notice if this store made the change. `None` if Codex does not know the thread, or notices the
    /// change.
    ///
    /// # Errors
    /// `NotFound`; `Backend` if the files of the thread or the database of Codex cannot be read.
    pub async fn unnoticed_by_codex(
        &self,
        thread_id: ThreadId,
        change: &CodexChange,
    ) -> Result<Option<UnnoticedChange>> {
        let state = self.store.reading(move |core| ThreadFiles::read(core, thread_id)).await?;
        let record = self.codex_record(thread_id).await?;
        Ok(record.and_then(|record| state.judge(record, change)))
    }

    /// Returns what Codex has recorded about a thread. `None` if Codex does not know the thread.
    ///
    /// # Errors
    /// `Backend` if the database of Codex cannot be read.
    pub async fn codex_record(&self, thread_id: ThreadId) -> Result<Option<CodexRecord>> {
        let home = self.home().to_owned();
        let directory = self.store.blocking(move |_| Ok(CodexConfig::read(&home).database_directory(&home))).await?;
        let record = with_timers(CodexRecord::find(&directory, thread_id)).await;
        record.map_err(|error| StoreError::backend(error.to_string(), error.source))
    }

    /// Returns the names of the tool servers in the configuration of Codex. Codex starts them when it resumes a thread.
    ///
    /// # Errors
    /// None at the moment: a configuration that cannot be read names none.
    pub async fn codex_tool_servers(&self) -> Result<Vec<String>> {
        let home = self.home().to_owned();
        self.store.blocking(move |_| Ok(CodexConfig::read(&home).tool_servers)).await
    }

    /// Prepares that Codex deletes threads: checks that no other threads are built on them, and lets no process of Selvedge change
    /// that while the guard lives.
    ///
    /// # Errors
    /// `HasDependents`; `Backend` if the files cannot be read, or if other processes hold the reference lock for too long.
    pub async fn guard_deletion(&self, threads: Vec<ThreadId>) -> Result<DeletionGuard> {
        self.store
            .blocking(move |core| {
                let references = ReferenceLock::exclusive(&core.home).map_err(store_error)?;
                for thread_id in &threads {
                    let files = core.files()?;
                    let mut dependents = retry_if_moved(|| core.dependents(&files, *thread_id))?;
                    dependents.retain(|dependent| !threads.contains(dependent));
                    if !dependents.is_empty() {
                        return Err(StoreError::HasDependents { thread_id: *thread_id, dependents });
                    }
                }
                // Without an archive, Codex removes the files, but then fails and keeps its own rows.
                core.home.create_dir(&core.home.archived_dir()).map_err(store_error)?;
                Ok(DeletionGuard { _references: references })
            })
            .await
    }

    /// Returns the files of Codex that still contain the id of a thread. A database keeps the bytes of deleted rows until it needs
    /// their space, together with the id of the thread that they belonged to.
    ///
    /// # Errors
    /// `Backend` if a file cannot be read.
    pub async fn codex_remains(&self, thread_id: ThreadId) -> Result<Vec<PathBuf>> {
        let home = self.home().to_owned();
        self.store
            .blocking(move |_| remains::find(&CodexConfig::read(&home).database_directory(&home), thread_id))
            .await
    }
}

/// What matters of the files of a thread.
struct ThreadFiles {
    thread_id: ThreadId,
    mode: HistoryMode,
    archived: bool,
    /// The name of the file of the newest segment, uncompressed.
    newest: RolloutFileName,
    /// The name that Codex finds in the name index.
    indexed_name: Option<String>,
}

impl ThreadFiles {
    fn read(core: &StoreCore, thread_id: ThreadId) -> Result<Self> {
        let resolved = core.resolve_now(thread_id)?;
        let newest = resolved.newest();
        Ok(Self {
            thread_id,
            mode: core.newest_head(thread_id)?.map(|head| head.mode()).unwrap_or_default(),
            archived: newest.archived,
            newest: newest.name.plain(),
            indexed_name: core.names().get(thread_id).map(|entry| entry.name.clone()),
        })
    }

    /// Decides whether Codex notices a change of the files.
    fn judge(&self, record: CodexRecord, change: &CodexChange) -> Option<UnnoticedChange> {
        let is_paginated = self.mode == HistoryMode::Paginated;
        let consequence = match change {
            // A legacy rewind is a line of the file, which Codex reads to its end.
            CodexChange::Rewind => is_paginated.then(|| {
                "Codex goes on with the undone turns, and what it adds to them shows in no other program".to_owned()
            }),
            // Codex looks for the file of a legacy thread in the archive, too.
            CodexChange::Archive => (is_paginated && !record.archived)
                .then(|| "Codex can neither read the archived thread nor take it out of the archive".to_owned()),
            // If the record does not say that the thread is archived, it is right again when the files are back.
            CodexChange::Unarchive => record.archived.then(|| {
                "Codex still regards the thread as archived, and can neither resume it nor take it out of the archive"
                    .to_owned()
            }),
            CodexChange::Rename(name) => self.judge_name(&record, name.as_deref()),
            CodexChange::Delete => Some(
                "Codex keeps the first message, the name and, of a paginated thread, every turn and item in its databases"
                    .to_owned(),
            ),
        };
        consequence.map(|consequence| {
            let obstacle = self.obstacle(&record, change);
            UnnoticedChange { record, consequence, obstacle }
        })
    }

    fn judge_name(&self, record: &CodexRecord, name: Option<&str>) -> Option<String> {
        // The name in the record counts. Without one, Codex takes the newest name of a legacy thread from the name index, where it
        // does not understand that an empty name removes the earlier one.
        let shown = match self.mode {
            HistoryMode::Legacy => record.name.as_deref().or(self.indexed_name.as_deref()),
            HistoryMode::Paginated => record.name.as_deref(),
        };
        let is_noticed = self.mode == HistoryMode::Legacy && record.name.is_none() && name.is_some();
        if shown == name || is_noticed {
            return None;
        }
        Some(match shown {
            Some(shown) => format!("Codex goes on showing the name {shown:?}"),
            None => "Codex goes on showing no name".to_owned(),
        })
    }

    /// Returns why Codex cannot make the change.
    fn obstacle(&self, record: &CodexRecord, change: &CodexChange) -> Option<String> {
        match change {
            CodexChange::Rewind if !self.is_current(&record.rollout_path) => Some(format!(
                "Codex is in another segment of thread {}, {}, than the newest one, {}",
                self.thread_id,
                record.rollout_path.display(),
                self.newest
            )),
            CodexChange::Rewind if self.archived => {
                Some("Codex does not rewind an archived thread; unarchive it first".to_owned())
            }
            CodexChange::Rename(None) => Some("Codex cannot remove a name, only replace it by another one".to_owned()),
            CodexChange::Rename(_) if self.archived => {
                Some("Codex does not rename an archived thread; unarchive it first".to_owned())
            }
            _ => None,
        }
    }

    /// Returns whether a path is that of the newest segment, in whatever directory.
    fn is_current(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str()).and_then(RolloutFileName::parse);
        name.is_some_and(|name| name.plain() == self.newest)
    }
}
