//! Finding threads by what people type.

use selvedge_protocol::ThreadId;
use selvedge_thread_store::Result;

use crate::store::Inner;

impl Inner {
    pub(crate) fn find_by_name(&self, name: &str) -> Result<Vec<ThreadId>> {
        let files = self.files()?;
        let names = self.names();
        let named = names.iter().filter(|(id, entry)| entry.name == name && !files.segments(*id).is_empty());
        Ok(sorted(named.map(|(id, _)| id)))
    }

    pub(crate) fn find_by_prefix(&self, prefix: &str) -> Result<Vec<ThreadId>> {
        let prefix = prefix.to_ascii_lowercase();
        let files = self.files()?;
        Ok(sorted(files.threads().map(|(id, _)| id).filter(|id| id.to_string().starts_with(&prefix))))
    }
}

fn sorted(ids: impl Iterator<Item = ThreadId>) -> Vec<ThreadId> {
    let mut ids: Vec<ThreadId> = ids.collect();
    ids.sort_unstable();
    ids
}
