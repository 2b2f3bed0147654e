//! What every verb works with: the home's store, the manager over it, and the output.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use selvedge_protocol::{ContextWindowMeta, SessionMeta, StoredThread, ThreadId, Timestamp, WindowId};
use selvedge_thread_manager::ThreadManager;
use selvedge_thread_store::ThreadStore;
use serde_json::Value;

use crate::commands;
use crate::exit::Result;
use crate::home;
use crate::output::Output;
use crate::render::text::clean;
use crate::wiring::{self, HomeAdmin, HomeOptions};

/// How long the end of the program waits for live threads.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// An open home.
pub(crate) struct App<'a> {
    /// Where it is.
    pub(crate) home: PathBuf,
    /// Its threads.
    pub(crate) store: Arc<dyn ThreadStore>,
    /// Its files.
    pub(crate) admin: HomeAdmin,
    /// The life of its threads.
    pub(crate) manager: ThreadManager,
    /// Where results go.
    pub(crate) out: &'a mut Output,
    /// Whether they are for scripts.
    pub(crate) json: bool,
}

impl<'a> App<'a> {
    /// Opens the home at `home`, which exists.
    pub(crate) fn open(home: &Path, options: HomeOptions, json: bool, out: &'a mut Output) -> Result<Self> {
        home::require(home)?;
        let (store, admin) = wiring::open(home, options);
        let manager = ThreadManager::new(Arc::clone(&store));
        Ok(Self { home: home.to_path_buf(), store, admin, manager, out, json })
    }

    /// Shuts down every thread that is still live. An index that is not filled yet is left to a process of its own.
    pub(crate) async fn close(&self) {
        self.manager.shutdown_all(SHUTDOWN).await;
        let is_filling = self.admin.index_progress().is_some();
        self.admin.close().await;
        if is_filling {
            commands::index::spawn_indexer(self);
        }
    }

    /// Writes a thread for scripts, or `line` for people.
    pub(crate) fn answer(&mut self, thread: &StoredThread, line: &str) -> Result<()> {
        if self.json {
            return self.out.json(thread);
        }
        writeln!(self.out, "{}", clean(line))?;
        Ok(())
    }

    /// Writes for scripts a thread that has to be read for that, or `line` for people.
    pub(crate) async fn answer_about(&mut self, id: ThreadId, line: &str) -> Result<()> {
        if self.json {
            let thread = self.manager.thread(id).await?;
            return self.out.json(&thread);
        }
        writeln!(self.out, "{}", clean(line))?;
        Ok(())
    }
}

/// Says something beside the result, on standard error.
pub(crate) fn note(text: &str) {
    // A result that was given is not undone by a remark that nobody can read.
    let _ = writeln!(std::io::stderr().lock(), "{}", clean(text));
}

/// The clock of this program.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// The head of a new thread that this program makes.
pub(crate) fn head(id: ThreadId, at: Timestamp) -> SessionMeta {
    let mut meta = SessionMeta::new(id, at);
    meta.originator = Some("selvedge".to_owned());
    meta.cli_version = Some(env!("CARGO_PKG_VERSION").to_owned());
    meta.source = Some(Value::from("cli"));
    meta.cwd = Some(current_dir());
    meta.context_window = Some(ContextWindowMeta { window_id: Some(WindowId::new(at)), ..Default::default() });
    meta
}

fn current_dir() -> String {
    std::env::current_dir().map_or_else(|_| "/".to_owned(), |path| path.to_string_lossy().into_owned())
}
