//! The files of a home, remembered from one scan to the next.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use selvedge_protocol::ThreadId;

use super::home_files::HomeFiles;
use super::layout::RolloutHome;
use super::left_out::LeftOut;
use super::scan::{HomeDirectories, HomeScan};
use crate::backoff::retry_if_moved;
use crate::error::{IoContext, Result, RolloutError};
use crate::history::ResolvedHistory;

/// How often one attempt resolves a history: with the files that the caller knows, and with the files of a new scan.
const MAX_RESOLUTIONS: usize = 2;

/// The files of a home, cached: a scan reads a directory again only if it changed since the scan before. The result is the same
/// as that of [`RolloutHome::files`].
#[derive(Debug)]
pub struct CachedHome {
    home: RolloutHome,
    scan: Mutex<HomeScan>,
}

impl CachedHome {
    /// Creates an empty cache. Scans nothing.
    #[must_use]
    pub fn new(home: RolloutHome) -> Self {
        Self { home, scan: Mutex::default() }
    }

    /// Returns the home.
    #[must_use]
    pub fn home(&self) -> &RolloutHome {
        &self.home
    }

    /// Returns what [`files`](Self::files) returns, and the stamps of the directories that held these files.
    ///
    /// There are no stamps if the files are still the `known` ones. There are none either if a directory changed so
    /// recently that its next change may leave the same stamp.
    ///
    /// # Errors
    /// As [`RolloutHome::files`].
    pub fn files_and_directories(
        &self,
        known: Option<&Arc<HomeFiles>>,
    ) -> Result<(Arc<HomeFiles>, Option<HomeDirectories>)> {
        let scan = self.rescan()?;
        let is_known = known.is_some_and(|known| Arc::ptr_eq(known, &scan.files));
        let directories = if is_known { None } else { scan.directories(&self.home) };
        Ok((Arc::clone(&scan.files), directories))
    }

    /// Scans the home and returns every rollout file. A caller waits for the scan of another thread; its own scan has less to do
    /// then.
    ///
    /// Other processes may move files during the scan: into the archive and out of it, or into compressed files.
    ///
    /// - A segment that an earlier scan found counts as gone if eight passes in a row do not find it.
    /// - A new segment is found even if it leaves the archive once during the scan. The first scan finds a segment that is moved
    ///   once in any way.
    ///
    /// # Errors
    /// As [`RolloutHome::files`].
    pub fn files(&self) -> Result<Arc<HomeFiles>> {
        Ok(Arc::clone(&self.rescan()?.files))
    }

    /// Reports that this process removed the files of a thread. The next scan need not search for them in case they were moved.
    pub fn removed(&self, thread_id: ThreadId) {
        self.lock_scan().removed.insert(thread_id);
    }

    /// Reports that the directories of the home are still those of an earlier scan, of this process or another. So that scan need
    /// not be repeated to know what it left out.
    pub fn remember_left_out(&self, directories: &HomeDirectories) {
        self.lock_scan().remembered.clone_from(&directories.left_out);
    }

    /// Reports a file that could not be read, for [`left_out`](Self::left_out). It has no effect on scans, which open no file.
    pub fn report_unreadable(&self, path: &Path, error: &io::Error) {
        self.lock_scan().unreadable_files.insert(path.to_owned(), LeftOut::unreadable(path, error));
    }

    /// Returns what was left out so far, by path: by the last scan, and files that were reported. Scans nothing.
    pub fn left_out(&self) -> Vec<LeftOut> {
        let scan = self.lock_scan();
        let scanned = if scan.is_known() { scan.files.left_out() } else { &scan.remembered };
        let mut all: Vec<LeftOut> = scanned.iter().chain(scan.unreadable_files.values()).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    fn rescan(&self) -> Result<MutexGuard<'_, HomeScan>> {
        let mut scan = self.lock_scan();
        scan.run(&self.home, SystemTime::now())?;
        Ok(scan)
    }

    fn lock_scan(&self) -> MutexGuard<'_, HomeScan> {
        self.scan.lock().unwrap_or_else(|poisoned| {
            let mut scan = poisoned.into_inner();
            // A scan panicked, so that its state may be incomplete. The next scan starts from nothing.
            *scan = HomeScan::default();
            self.scan.clear_poison();
            scan
        })
    }

    /// Resolves the history of a thread, starting from the `files` that the caller knows. Returns the files that it used, and
    /// no history if there is no such thread.
    ///
    /// Other processes may move the files. So a file that is missing is searched for again, for as long as [`retry_if_moved`]
    /// repeats its work. Work that itself runs in `retry_if_moved` calls [`try_resolve`](Self::try_resolve) instead.
    ///
    /// # Errors
    /// If the directories or the newest segment of the thread cannot be read.
    pub fn resolve(
        &self,
        files: Arc<HomeFiles>,
        thread_id: ThreadId,
    ) -> Result<(Arc<HomeFiles>, Option<ResolvedHistory>)> {
        let mut known = Some(files);
        retry_if_moved(RolloutError::is_gone, || {
            let files = known.take().map_or_else(|| self.files(), Ok)?;
            self.try_resolve(files, thread_id)
        })
    }

    /// Makes one attempt of [`resolve`](Self::resolve): resolves the history with `files`, and if a file is missing, once more with
    /// the files of a new scan.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve), and if a file was moved again during the attempt ([`RolloutError::is_gone`]).
    pub fn try_resolve(
        &self,
        mut files: Arc<HomeFiles>,
        thread_id: ThreadId,
    ) -> Result<(Arc<HomeFiles>, Option<ResolvedHistory>)> {
        let mut missing_path = self.home.root().to_path_buf();
        for _ in 0..MAX_RESOLUTIONS {
            let resolved = ResolvedHistory::resolve(&files, thread_id);
            // What is missing: a base of the history (`Some`), or the thread itself or its newest segment (`None`). `is_gone`: a
            // file was found by the scan and no longer exists, so that it was moved or removed in between.
            let (missing_base, is_gone) = match &resolved {
                Ok(Some(ResolvedHistory { missing: Some(missing), .. }))
                    if missing.is_gone || files.segment(missing.segment_id).is_none() =>
                {
                    (Some(missing.segment_id), missing.is_gone)
                }
                Ok(Some(_)) => return Ok((files, resolved?)),
                Ok(None) => (None, false),
                Err(error) => (None, error.is_gone()),
            };
            // Two scans have to agree before something counts as missing. If a file is gone, the paths may agree by chance (it was
            // moved away and back), so the history is resolved again.
            let now = self.files()?;
            let is_same = match missing_base {
                Some(segment_id) => now.segment(segment_id) == files.segment(segment_id),
                None => now.segments(thread_id) == files.segments(thread_id),
            };
            if is_same && !is_gone {
                return Ok((files, resolved?));
            }
            let file =
                missing_base.map_or_else(|| files.segments(thread_id).last(), |segment_id| files.segment(segment_id));
            missing_path = file.map_or(missing_path, |file| file.path.clone());
            files = now;
        }
        // The kind `NotFound` makes `is_gone` true: the caller may repeat the attempt.
        Err(io::Error::from(io::ErrorKind::NotFound)).context("find", &missing_path)
    }
}
