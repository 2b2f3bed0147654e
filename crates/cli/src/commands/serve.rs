//! `selvedge serve`: the threads of a store as pages in a browser.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use selvedge_thread_manager::ThreadManager;
use selvedge_viewer::{Viewer, ViewerOptions};
use serde_json::json;
use std::io::Write;

use super::tail::interrupts;
use crate::app::App;
use crate::failure::Result;
use crate::notes::note;

/// Arguments of `selvedge serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the URL to open, with a token without which nothing is answered, and serves until it is interrupted. Pages load nothing \
from a network. The same data is JSON under /api/v1.

With --json: {\"url\"}, immediately.

Examples:
  selvedge serve --open
  selvedge serve --port 8901 --write
  selvedge serve --store postgres://user@host/threads")]
pub(crate) struct ServeArgs {
    /// Open the pages in a browser
    #[arg(long)]
    open: bool,
    /// Port [default: any free one]
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Address to listen on; any other than this machine's own lets others on the network try
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Let the pages rename, archive and fork threads
    #[arg(long)]
    write: bool,
}

/// Serves until the command is interrupted.
pub(crate) async fn run(args: &ServeArgs, app: &mut App<'_>) -> Result<()> {
    // First of all, so that an interrupt always ends the command in the usual way.
    let interrupts = interrupts();
    let manager = Arc::new(ThreadManager::new(Arc::clone(&app.store)));
    let address = SocketAddr::new(args.address, args.port);
    let options = ViewerOptions { address, write: args.write };
    let viewer = Viewer::start(manager, options).await.with_context(|| format!("cannot listen on {address}"))?;
    if app.json {
        app.out.json_line(&json!({"url": viewer.url()}))?;
    } else {
        writeln!(app.out, "{}", viewer.url())?;
    }
    app.out.flush()?;
    if !args.address.is_loopback() {
        note(
            "warning: others on the network can try to reach this address; only the token keeps them out, and it is sent unencrypted",
        );
    }
    if args.open
        && let Err(error) = open::that_detached(viewer.url())
    {
        note(&format!("note: no browser could be started ({error}); open the URL above"));
    }
    interrupts.await;
    viewer.stop().await.context("the server failed")?;
    Ok(())
}
