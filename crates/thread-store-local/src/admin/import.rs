//! Taking in rollout files that are not at a place where a home has its rollouts.

use std::path::PathBuf;

use selvedge_thread_store::Result;

use super::HomeAdmin;
use crate::write::import_file::ImportedFile;

impl HomeAdmin {
    /// Takes in a rollout file that no query reads: a copy that a synchronizing program made of a conflict, or a file in another
    /// place. If no thread of the home has its id, it becomes that thread, byte for byte. Otherwise it becomes a new thread, forked
    /// from the one that has the id. The file itself stays where it is, and no file of the home changes.
    ///
    /// # Errors
    /// `Invalid` if it is no rollout, or holds no line that is not in the home already; `Conflict` if the thread is being created;
    /// `Backend` if the system refuses.
    pub async fn import_file(&self, source: PathBuf) -> Result<ImportedFile> {
        self.store
            .blocking(move |core| {
                let imported = core.import_file(&source)?;
                core.notify_written(imported.thread_id);
                Ok(imported)
            })
            .await
    }
}
