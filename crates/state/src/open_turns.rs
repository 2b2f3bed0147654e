//! Indexers of turns that are open, which pause between two updates.
//!
//! A turn can be open for hours, and each update projects the turns from the resume point on, which is where the open turn begins. So
//! the work of all updates together would grow with the square of its length. A process that updates often keeps the indexer
//! instead, and goes on with the lines that were appended:
//!
//! ```text
//!   ├── open turn: projected before ─────────┬── appended lines ──▶
//!   resume point                             end of the prefix that was projected
//! ```
//!
//! This is only a shortcut. Without such an indexer, or if that is one of other lines, the turn is projected again.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use selvedge_history::turn_index::{TurnIndexer, TurnResumePoint};
use selvedge_protocol::ThreadId;

use crate::indexed_prefix::IndexedPrefix;
use crate::limits::PAUSED_INDEXERS;

/// The indexers of open turns, those that were used last at the end.
#[derive(Debug, Default)]
pub(crate) struct OpenTurnCache(Mutex<VecDeque<OpenTurnScan>>);

/// A scan of a log that can go on.
#[derive(Debug)]
pub(crate) struct OpenTurnScan {
    pub(crate) path: PathBuf,
    pub(crate) lines: ScannedLines,
    pub(crate) indexer: TurnIndexer,
}

/// The lines of a thread from which rows were made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ScannedLines {
    pub(crate) thread_id: ThreadId,
    /// A number of the scan of the whole history to which the rows go back. After another one, the lines may be others.
    pub(crate) scan_id: i64,
    /// Where the open turn begins.
    pub(crate) resume_point: TurnResumePoint,
    /// How far the newest file was read.
    pub(crate) prefix: IndexedPrefix,
}

impl OpenTurnCache {
    /// Takes the scan of a thread out, if it is one of this file, and of what the index knows of it.
    pub(crate) fn take(&self, path: &Path, known: &ScannedLines) -> Option<OpenTurnScan> {
        let scan = self.remove(known.thread_id)?;
        let is_continued = |OpenTurnScan { path: scanned, lines, .. }: &OpenTurnScan| {
            let prefix = &lines.prefix;
            // Another process may have indexed more since.
            let is_earlier = || prefix.end < known.prefix.end && prefix.matches_file(path);
            scanned == path
                && ScannedLines { prefix: known.prefix, ..*lines } == *known
                && (*prefix == known.prefix || is_earlier())
        };
        Some(scan).filter(is_continued)
    }

    fn remove(&self, thread_id: ThreadId) -> Option<OpenTurnScan> {
        let mut scans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = scans.iter().position(|scan| scan.lines.thread_id == thread_id)?;
        scans.remove(at)
    }

    /// Adds a scan, and drops the one that was used longest ago if there are too many.
    pub(crate) fn put(&self, scan: OpenTurnScan) {
        let mut scans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        scans.retain(|other| other.lines.thread_id != scan.lines.thread_id);
        if scans.len() == PAUSED_INDEXERS {
            scans.pop_front();
        }
        scans.push_back(scan);
    }
}
