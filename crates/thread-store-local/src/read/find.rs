//! Finds threads by a name or the beginning of an id.

use selvedge_protocol::ThreadId;
use selvedge_thread_store::{Result, ThreadLookup};

use crate::store_core::StoreCore;

impl StoreCore {
    pub(crate) fn find_threads(&self, lookup: &ThreadLookup) -> Result<Vec<ThreadId>> {
        let files = self.files()?;
        let mut found: Vec<ThreadId> = match lookup {
            ThreadLookup::Name(name) => {
                let names = self.names();
                // The name of a deleted thread may still be there: a deletion removes the files first.
                let named = names.iter().filter(|(id, entry)| entry.name == *name && !files.segments(*id).is_empty());
                named.map(|(id, _)| id).collect()
            }
            ThreadLookup::IdPrefix(prefix) => {
                let prefix = prefix.to_ascii_lowercase();
                files.threads().map(|(id, _)| id).filter(|id| id.to_string().starts_with(&prefix)).collect()
            }
        };
        found.sort_unstable();
        Ok(found)
    }
}
