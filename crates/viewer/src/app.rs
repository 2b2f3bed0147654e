//! What all requests share.

use std::net::SocketAddr;
use std::sync::Arc;

use selvedge_thread_manager::ThreadManager;
use selvedge_thread_store::ThreadStore;
use tokio::sync::watch;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct ViewerApp {
    pub(crate) manager: Arc<ThreadManager>,
    /// The address on which the server listens.
    pub(crate) address: SocketAddr,
    /// What every request must have, as a cookie.
    pub(crate) token: String,
    /// Whether threads can be changed.
    pub(crate) write: bool,
    /// Becomes true when the viewer stops.
    pub(crate) stopped: watch::Receiver<bool>,
}

impl ViewerApp {
    pub(crate) fn store(&self) -> &dyn ThreadStore {
        &**self.manager.store()
    }
}
