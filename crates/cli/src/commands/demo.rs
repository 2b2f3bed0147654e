//! `selvedge demo`: a tour on recorded threads, in a temporary folder.

mod killed_writer;
mod recordings;
mod tour;

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::Args;

use self::recordings::FILES;
use self::tour::Tour;
use crate::app::App;
use crate::failure::Result;
use crate::home;
use crate::output::Output;
use crate::wiring::HomeOptions;

/// Arguments of `selvedge demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Touches nothing but a temporary folder. Ends with exit code 1 if anything is not as promised.")]
pub(crate) struct DemoArgs {
    /// Keep the temporary home, to try more commands on it
    #[arg(long)]
    keep: bool,
}

/// Takes the tour.
pub(crate) async fn run(args: &DemoArgs, out: &mut Output) -> Result<()> {
    let folder =
        tempfile::Builder::new().prefix("selvedge-demo-").tempdir().context("cannot create a temporary folder")?;
    let home = folder.path().to_path_buf();
    write_home(&home)?;
    let mut tour = Tour::new(App::open_home(&home, HomeOptions::default(), false, out)?, home);
    let outcome = tour.take(args.keep).await;
    tour.close().await;
    // The folder is removed when it is dropped, unless it is kept. After a failure it is kept, too, so that the user can
    // inspect it.
    if args.keep {
        let _ = folder.keep();
    }
    outcome
}

/// Writes the recordings as one home.
fn write_home(home: &Path) -> Result<()> {
    for (path, bytes) in FILES {
        let path = home.join(path);
        let cannot_write = || format!("cannot write {}", path.display());
        home::create(path.parent().unwrap_or(home))?;
        // Several recordings have a name index. Its lines are independent, so the files can be appended to each
        // other.
        let mut options = fs::File::options();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path).with_context(cannot_write)?.write_all(bytes).with_context(cannot_write)?;
    }
    Ok(())
}
