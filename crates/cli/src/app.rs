//! What every verb works with: the store, the thread manager over it, and the output.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvedge_protocol::{StoredThread, ThreadId};
use selvedge_thread_manager::ThreadManager;
use selvedge_thread_store::ThreadStore;

use crate::background_index;
use crate::failure::{Failure, FailureKind, Result};
use crate::home;
use crate::notes::note;
use crate::output::Output;
use crate::render::sanitize::sanitize;
use crate::timing::SHUTDOWN_LIMIT;
use crate::wiring::{self, HomeAdmin, HomeOptions, LeftOut, ThreadDatabase};

/// How many left-out entries are named one by one.
const MAX_NAMED: usize = 3;

/// The home of a store that has one.
pub(crate) struct OpenHome {
    /// Its path.
    pub(crate) path: PathBuf,
    /// Its files.
    pub(crate) admin: HomeAdmin,
}

/// An open store, and where results go.
pub(crate) struct App<'a> {
    /// Where the store is, for people: a path, or a description of a database without secrets.
    pub(crate) location: String,
    /// Threads of the store.
    pub(crate) store: Arc<dyn ThreadStore>,
    /// The home. `None` if the store is a database.
    pub(crate) home: Option<OpenHome>,
    /// Live threads of the store.
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
    pub(crate) fn open_home(home: &Path, options: HomeOptions, json: bool, out: &'a mut Output) -> Result<Self> {
        home::require(home)?;
        let (store, admin) = wiring::open(home, options);
        let manager = ThreadManager::new(Arc::clone(&store));
        let location = home.display().to_string();
        let home = Some(OpenHome { path: home.to_path_buf(), admin });
        Ok(Self { location, store, home, manager, out, json })
    }

    /// Connects to a database.
    ///
    /// # Errors
    /// If the server cannot be reached, or the database has no tables of this version.
    pub(crate) async fn connect(database: &ThreadDatabase, json: bool, out: &'a mut Output) -> Result<Self> {
        let store = database.open().await?;
        let manager = ThreadManager::new(Arc::clone(&store));
        Ok(Self { location: database.location(), store, home: None, manager, out, json })
    }

    /// Returns the home, for work on its files.
    ///
    /// # Errors
    /// A usage failure if the store is a database.
    pub(crate) fn require_home(&self) -> Result<&OpenHome> {
        self.home.as_ref().ok_or_else(|| needs_home(&self.location))
    }

    /// Returns the access to the files of the home.
    ///
    /// # Errors
    /// A usage failure if the store is a database.
    pub(crate) fn admin(&self) -> Result<&HomeAdmin> {
        Ok(&self.require_home()?.admin)
    }

    /// Tells the user in one line what the verb left out.
    pub(crate) fn note_left_out(&mut self) {
        let Some(home) = &self.home else { return };
        let left_out = home.admin.left_out();
        if let Some(text) = describe_left_out(&left_out) {
            // The result comes first. If it cannot be written, the caller finds that out itself.
            let _ = self.out.flush();
            note(&text);
        }
    }

    /// Shuts down every live thread, and hands an incomplete index over to a background process.
    pub(crate) async fn close(&self) {
        self.manager.shutdown_all(SHUTDOWN_LIMIT).await;
        let Some(OpenHome { path, admin }) = &self.home else { return };
        // `close` stops the background update of the index. So the state of the update is read before, and the new process
        // starts after.
        let is_filling = admin.index_progress().is_some();
        admin.close().await;
        if is_filling {
            background_index::spawn_indexer(path, admin);
        }
    }

    /// Returns how many characters of their ids distinguish these threads from all others of the store.
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

/// Returns the failure of a verb about files on a store without files.
pub(crate) fn needs_home(location: &str) -> Failure {
    Failure::new(FailureKind::Usage, format!("this works on the files of a home, and the store is {location}")).hint(
        "name a home with --store DIR or --home DIR; `selvedge store status` describes a database, and `selvedge copy` \
             brings the threads of a home into it",
    )
}

/// Describes in one line what was left out. `None` if nothing was.
fn describe_left_out(left_out: &[LeftOut]) -> Option<String> {
    let named: Vec<String> = left_out
        .iter()
        .take(MAX_NAMED)
        .map(|LeftOut { path, reason, .. }| format!("{} ({reason})", path.display()))
        .collect();
    let more = match left_out.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(", and {more} more, which `selvedge doctor` names"),
    };
    (!named.is_empty()).then(|| format!("warning: left out: {}{more}", named.join(", ")))
}
