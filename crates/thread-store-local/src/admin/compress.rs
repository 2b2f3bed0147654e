//! Compressing the files of threads that have no writer.

use std::collections::HashSet;
use std::path::PathBuf;

use selvedge_protocol::{ArchivedFilter, ThreadId, ThreadQuery, Timestamp};
use selvedge_rollout::HomeFiles;
use selvedge_thread_store::{
    MaintenanceProgress, MaintenanceReport, MaintenanceRequest, Result, StoreError, ThreadReader,
};

use super::HomeAdmin;
use crate::store_core::StoreCore;
use crate::write::compress::CompressionReport;

/// The threads to compress.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompressionScope {
    /// These threads.
    Threads(Vec<ThreadId>),
    /// The threads that were last updated before this time.
    UpdatedBefore {
        /// The time.
        time: Timestamp,
        /// Whether archived threads count.
        archived: ArchivedFilter,
    },
}

/// A thread with its uncompressed files.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UncompressedThread {
    /// The thread.
    pub thread_id: ThreadId,
    /// Its uncompressed files, oldest first.
    pub files: Vec<UncompressedFile>,
}

/// A rollout file that is not compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UncompressedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

impl UncompressedThread {
    /// Returns the bytes of all its uncompressed files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

impl HomeAdmin {
    /// Returns what [`compress`](Self::compress) would compress: each thread of the scope once, in the order of the scope, with
    /// its uncompressed files. For [`CompressionScope::UpdatedBefore`], threads without such files are left out.
    ///
    /// # Errors
    /// `NotFound` if a thread of [`CompressionScope::Threads`] does not exist; `Backend` if the home cannot be read.
    pub async fn plan_compression(&self, scope: &CompressionScope) -> Result<Vec<UncompressedThread>> {
        let (are_named, thread_ids) = match scope {
            CompressionScope::Threads(thread_ids) => (true, thread_ids.clone()),
            CompressionScope::UpdatedBefore { time, archived } => (false, self.updated_before(*time, *archived).await?),
        };
        self.store.blocking(move |core| core.uncompressed(thread_ids, are_named)).await
    }

    async fn updated_before(&self, time: Timestamp, archived: ArchivedFilter) -> Result<Vec<ThreadId>> {
        let query = ThreadQuery { archived, until: Some(time), limit: usize::MAX, ..ThreadQuery::default() };
        Ok(self.store.list_threads(&query).await?.items.into_iter().map(|thread| thread.id).collect())
    }

    /// Compresses all uncompressed files of a thread, and returns how many there were. All operations on the thread work as before. The next
    /// writer first decompresses the file that it appends to.
    ///
    /// The content of a file does not matter: decompression restores its bytes, damage included.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if the thread has a writer, in this store or another; `Backend` if the system refuses, or if a
    /// compressed file of the same name has other content. Then each file is either compressed or unchanged, and repeating the
    /// call compresses the rest.
    pub async fn compress(&self, thread_id: ThreadId) -> Result<CompressionReport> {
        let work = move |core: &StoreCore| {
            let _maintenance = core.lock_maintenance(|_| {})?;
            core.compress(thread_id)
        };
        self.store.writing(thread_id, work).await
    }
}

impl HomeAdmin {
    /// Maintenance as the contract defines it: compresses all threads that were last updated before a time.
    pub(crate) async fn maintain(
        &self,
        request: &MaintenanceRequest,
        progress: &mut (dyn FnMut(MaintenanceProgress) + Send),
    ) -> Result<MaintenanceReport> {
        let (time, archived) = (request.updated_before, ArchivedFilter::All);
        let plan = self.plan_compression(&CompressionScope::UpdatedBefore { time, archived }).await?;
        let bytes = plan.iter().map(UncompressedThread::bytes).sum();
        let mut done = MaintenanceProgress { threads: plan.len() as u64, bytes, ..MaintenanceProgress::default() };
        let mut report = MaintenanceReport::default();
        let _maintenance = if plan.is_empty() { None } else { Some(self.begin_maintenance(|_| {}).await?) };
        // Thread by thread, each under its own writer lock, so that no thread waits for the others. One that is being written is
        // reported and does not end the run.
        for thread in &plan {
            progress(done);
            match self.compress(thread.thread_id).await {
                Ok(compressed) => {
                    report.threads += u64::from(compressed.files > 0);
                    report.bytes_before += compressed.bytes_before;
                    report.bytes_after += compressed.bytes_after;
                }
                // It was deleted after the plan was made.
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => report.left.push((thread.thread_id, error)),
            }
            done.threads_done += 1;
            done.bytes_done += thread.bytes();
        }
        progress(done);
        Ok(report)
    }
}

impl StoreCore {
    /// Returns threads with their uncompressed files. Threads that a caller named are all returned, others only if they have any.
    fn uncompressed(&self, thread_ids: Vec<ThreadId>, are_named: bool) -> Result<Vec<UncompressedThread>> {
        let files = self.files()?;
        let (mut plan, mut seen) = (Vec::new(), HashSet::new());
        for thread_id in thread_ids.into_iter().filter(|thread_id| seen.insert(*thread_id)) {
            if are_named && files.segments(thread_id).is_empty() {
                return Err(StoreError::not_found(thread_id));
            }
            let thread = uncompressed(thread_id, &files);
            if are_named || !thread.files.is_empty() {
                plan.push(thread);
            }
        }
        Ok(plan)
    }
}

/// Returns the uncompressed files of a thread. One that another process is moving counts with no bytes; sizes are only shown.
fn uncompressed(thread_id: ThreadId, files: &HomeFiles) -> UncompressedThread {
    let plain = files.segments(thread_id).iter().filter(|file| !file.name.compressed);
    let files = plain.map(|file| UncompressedFile {
        path: file.path.clone(),
        bytes: std::fs::metadata(&file.path).map_or(0, |metadata| metadata.len()),
    });
    UncompressedThread { thread_id, files: files.collect() }
}
