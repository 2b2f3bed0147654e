//! Serves a home: `cargo run -p selvedge-viewer --example serve_home -- ~/.codex`.

#![expect(clippy::print_stdout, reason = "it prints the URL")]

use std::sync::Arc;

use selvedge_thread_manager::ThreadManager;
use selvedge_thread_store_local::LocalThreadStore;
use selvedge_viewer::{Viewer, ViewerOptions};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let home = std::env::args().nth(1).ok_or_else(|| std::io::Error::other("name the home"))?;
    let store = LocalThreadStore::open(home);
    let manager = Arc::new(ThreadManager::new(Arc::new(store)));
    let viewer = Viewer::start(manager, ViewerOptions::default()).await?;
    println!("{}", viewer.url());
    std::future::pending::<()>().await;
    viewer.stop().await
}
