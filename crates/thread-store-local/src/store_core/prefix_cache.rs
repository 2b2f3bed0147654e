//! Cache of the ends of inherited prefixes that were expensive to find.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use selvedge_rollout::{FileStamp, HistoryPart};
use selvedge_thread_store::implement::SegmentPrefix;

use crate::limits::MAX_CACHED_PREFIXES;

/// Ends of inherited prefixes. The key contains the stamp of the segment's file, so a lookup never returns an entry of a file that
/// has changed since.
#[derive(Debug, Default)]
pub(crate) struct PrefixCache(Mutex<HashMap<(HistoryPart, FileStamp), SegmentPrefix>>);

impl PrefixCache {
    pub(crate) fn get(&self, key: &(HistoryPart, FileStamp)) -> Option<SegmentPrefix> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub(crate) fn put(&self, key: (HistoryPart, FileStamp), prefix: SegmentPrefix) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Emptied as a whole. A least-recently-used order would cost something at every hit, and to find an entry again costs
        // one reading.
        if known.len() >= MAX_CACHED_PREFIXES {
            known.clear();
        }
        known.insert(key, prefix);
    }
}
