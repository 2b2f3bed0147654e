//! Starting and stopping the server.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use selvedge_thread_manager::ThreadManager;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::app::ViewerApp;
use crate::routes::router;

/// How a viewer is started.
#[derive(Clone, Debug)]
pub struct ViewerOptions {
    /// The address to listen on. Port 0 is any free port.
    pub address: SocketAddr,
    /// Whether threads can be renamed, archived and forked.
    pub write: bool,
}

impl Default for ViewerOptions {
    /// Any free port of the loopback interface, and nothing can be changed.
    fn default() -> Self {
        Self { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), write: false }
    }
}

/// A running viewer.
#[derive(Debug)]
pub struct Viewer {
    url: String,
    stop: watch::Sender<bool>,
    server: JoinHandle<io::Result<()>>,
}

impl Viewer {
    /// Starts a viewer over the store of a manager.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn start(manager: Arc<ThreadManager>, options: ViewerOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(options.address).await?;
        let address = listener.local_addr()?;
        // 122 random bits of a UUID, once for each of two: more than any attacker can try.
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let url = format!("http://{address}/?token={token}");
        let (stop, stopped) = watch::channel(false);
        let app = ViewerApp { manager, address, token, write: options.write, stopped: stopped.clone() };
        let router = router(Arc::new(app));
        let server = tokio::spawn(async move {
            let mut stopped = stopped;
            let until = async move {
                // An error means that the viewer was dropped.
                _ = stopped.wait_for(|stopped| *stopped).await;
            };
            axum::serve(listener, router).with_graceful_shutdown(until).await
        });
        Ok(Self { url, stop, server })
    }

    /// Returns the URL to open, with the token of this viewer.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server, and waits until the requests that have begun are answered. Live pages are ended.
    ///
    /// # Errors
    /// If the server had failed.
    pub async fn stop(self) -> io::Result<()> {
        self.stop.send_replace(true);
        self.server.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}
