//! Indexers of turns that are open, kept between two updates.
//!
//! A turn can be open for hours, and each update projects the turns from the resume point on, which is where the open turn begins. So
//! the work of all updates together would grow with the square of its length. A process that updates often keeps the projection
//! instead, and continues it with the lines that were appended:
//!
//! ```text
//!   ├── open turn: projected before ─────────┬── appended lines ──▶
//!   resume point                             end of the prefix that was projected
//! ```
//!
//! This is only a shortcut. If nothing is kept, or not this prefix of this log, the turn is projected again.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use selvedge_history::turn_index::{TurnIndexer, TurnResumePoint};
use selvedge_protocol::ThreadId;

use crate::indexed_prefix::IndexedPrefix;
use crate::limits::KEPT_INDEXERS;

/// The indexers of open turns, those that were used last at the end.
#[derive(Debug, Default)]
pub(crate) struct OpenTurnCache(Mutex<VecDeque<OpenTurnScan>>);

/// A scan of a log that can go on.
#[derive(Debug)]
pub(crate) struct OpenTurnScan {
    pub(crate) thread_id: ThreadId,
    pub(crate) path: PathBuf,
    /// Where the open turn begins.
    pub(crate) resume_point: TurnResumePoint,
    /// How far the file was read.
    pub(crate) prefix: IndexedPrefix,
    pub(crate) indexer: TurnIndexer,
}

impl OpenTurnCache {
    /// Takes the scan of a thread out, if it is one of this file that goes on from this resume point, and is not ahead of the index.
    pub(crate) fn take(
        &self,
        thread_id: ThreadId,
        path: &Path,
        resume_point: &TurnResumePoint,
        prefix: &IndexedPrefix,
    ) -> Option<OpenTurnScan> {
        let mut scans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = scans.iter().position(|scan| scan.thread_id == thread_id)?;
        // Another process may have indexed more since, and the file may be another one.
        let is_continued = |scan: &OpenTurnScan| {
            scan.path == path
                && scan.resume_point == *resume_point
                && (scan.prefix == *prefix || (scan.prefix.end < prefix.end && scan.prefix.matches_file(path)))
        };
        scans.remove(at).filter(is_continued)
    }

    /// Keeps a scan, and drops the one that was used longest ago if there are too many.
    pub(crate) fn put(&self, scan: OpenTurnScan) {
        let mut scans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        scans.retain(|kept| kept.thread_id != scan.thread_id);
        if scans.len() == KEPT_INDEXERS {
            scans.pop_front();
        }
        scans.push_back(scan);
    }
}
