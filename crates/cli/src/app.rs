//! What every verb works with: the store of the home, the thread manager over it, and the output.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvedge_protocol::{StoredThread, ThreadId};
use selvedge_thread_manager::ThreadManager;
use selvedge_thread_store::ThreadStore;

use crate::background_index;
use crate::failure::Result;
use crate::home;
use crate::output::Output;
use crate::render::sanitize::sanitize;
use crate::timing::SHUTDOWN_LIMIT;
use crate::wiring::{self, HomeAdmin, HomeOptions};

/// An open home, and where results go.
pub(crate) struct App<'a> {
    /// Path of the home.
    pub(crate) home: PathBuf,
    /// Threads of the home.
    pub(crate) store: Arc<dyn ThreadStore>,
    /// Files of the home.
    pub(crate) admin: HomeAdmin,
    /// Live threads of the home.
    pub(crate) manager: ThreadManager,
    /// Standard output.
    pub(crate) out: &'a mut Output,
    /// Whether results are printed as JSON.
    pub(crate) json: bool,
}

impl<'a> App<'a> {
    /// Opens an existing home.
    ///
    /// # Errors
    /// If `home` does not exist or cannot be read.
    pub(crate) fn open(home: &Path, options: HomeOptions, json: bool, out: &'a mut Output) -> Result<Self> {
        home::require(home)?;
        let (store, admin) = wiring::open(home, options);
        let manager = ThreadManager::new(Arc::clone(&store));
        Ok(Self { home: home.to_path_buf(), store, admin, manager, out, json })
    }

    /// Shuts down every live thread, and hands an incomplete index over to a background process.
    pub(crate) async fn close(&self) {
        self.manager.shutdown_all(SHUTDOWN_LIMIT).await;
        // `close` stops the background update of the index. So the state of the update is read before, and the new process
        // starts after.
        let is_filling = self.admin.index_progress().is_some();
        self.admin.close().await;
        if is_filling {
            background_index::spawn_indexer(&self.home, &self.admin);
        }
    }

    /// Returns how many characters of their ids distinguish these threads from all others of the home.
    pub(crate) async fn short_id_len(&self, threads: &[StoredThread]) -> Result<usize> {
        let ids: Vec<_> = threads.iter().map(|thread| thread.id).collect();
        Ok(self.store.distinct_prefix_len(&ids).await?)
    }

    /// Prints the thread as JSON, or else `line`.
    pub(crate) fn print_thread(&mut self, thread: &StoredThread, line: &str) -> Result<()> {
        if self.json {
            return self.out.json(thread);
        }
        writeln!(self.out, "{}", sanitize(line))?;
        Ok(())
    }

    /// Prints the thread as JSON, or else `line`. Reads the thread only for JSON, as that may read its whole log.
    pub(crate) async fn print_thread_by_id(&mut self, id: ThreadId, line: &str) -> Result<()> {
        if self.json {
            let thread = self.manager.thread(id).await?;
            return self.out.json(&thread);
        }
        writeln!(self.out, "{}", sanitize(line))?;
        Ok(())
    }
}
