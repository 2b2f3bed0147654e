//! Finds the store that a verb works on: a home, or a database.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, FailureKind, Result};
use crate::global_options::GlobalOptions;
use crate::home;
use crate::wiring::ThreadDatabase;

/// Where a store is.
#[derive(Debug)]
pub(crate) enum StoreLocation {
    /// In the directory of a home.
    Home(PathBuf),
    /// In a database.
    Database(ThreadDatabase),
}

/// Returns the store of `--store` or `--home`, else of `SELVEDGE_STORE`, else the home that [`home::locate`] finds.
///
/// No message contains a URL, because it may have a password.
pub(crate) fn locate(global: &GlobalOptions) -> Result<StoreLocation> {
    let GlobalOptions { store, home, .. } = global;
    match (store, home) {
        (Some(_), Some(_)) => Err(Failure::new(FailureKind::Usage, "--store and --home both name the store")
            .hint("leave one of them out; --store takes directories, too")),
        (Some(store), None) => parse(store.as_os_str(), global),
        (None, Some(home)) if url_in(home.as_os_str()).is_some() => {
            Err(Failure::new(FailureKind::Usage, "a home is a directory, and not a URL")
                .hint("use --store for a database"))
        }
        (None, Some(home)) => home::locate(Some(home)).map(StoreLocation::Home),
        (None, None) => match home::variable("SELVEDGE_STORE") {
            Some(store) => parse(&store, global),
            None => home::locate(None).map(StoreLocation::Home),
        },
    }
}

/// Parses the name of a store: a URL, or else a directory.
pub(crate) fn parse(store: &OsStr, global: &GlobalOptions) -> Result<StoreLocation> {
    let location = parse_second(store, global)?;
    if matches!(location, StoreLocation::Database(_)) && global.index.is_some() {
        return Err(Failure::new(FailureKind::Usage, "--index belongs to a home, and the store is a database")
            .hint("leave it out: a database has its own indexes"));
    }
    Ok(location)
}

/// Parses the name of a store beside the one of the global options, to which `--index` does not belong.
pub(crate) fn parse_second(store: &OsStr, global: &GlobalOptions) -> Result<StoreLocation> {
    let Some(url) = url_in(store) else { return home::locate(Some(Path::new(store))).map(StoreLocation::Home) };
    let mut database = ThreadDatabase::parse(url)?;
    if let Some(durability) = global.durability()? {
        database.set_durability(durability);
    }
    Ok(StoreLocation::Database(database))
}

/// Returns the text if it is a URL. A directory whose name looks like one can be written as `./name`.
fn url_in(store: &OsStr) -> Option<&str> {
    let text = store.to_str()?;
    let (scheme, _) = text.split_once("://")?;
    let is_scheme =
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    (is_scheme && !scheme.starts_with('.')).then_some(text)
}
