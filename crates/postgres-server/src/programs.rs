//! Finds the programs of PostgreSQL, or installs them.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::account::current_uid;
use crate::rendezvous::rendezvous_folder;

/// Folders of distributions: a parent, the beginning of the name of an entry, and the path in it.
const FOLDERS: [(&str, &str, &str); 10] = [
    ("/usr/lib/postgresql", "", "bin"),         // Debian, Ubuntu, SUSE
    ("/usr", "pgsql-", "bin"),                  // packages of the PostgreSQL project for Red Hat
    ("/usr/lib64", "pgsql", "bin"),             // Gentoo, older Red Hat
    ("/usr/lib", "postgresql", "bin"),          // SUSE
    ("/usr/libexec", "postgresql", ""),         // Alpine
    ("/usr/local", "pgsql", "bin"),             // built from source
    ("/opt/homebrew/opt", "postgresql", "bin"), // Homebrew
    ("/usr/local/opt", "postgresql", "bin"),    // Homebrew on Intel
    ("/opt/local/lib", "postgresql", "bin"),    // MacPorts
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// Where the package of Debian reads settings for the cluster that it creates when it is installed.
const DEBIAN_CLUSTER_SETTINGS: &str = "/etc/postgresql-common/createcluster.d";

/// The folder with `initdb` and `postgres`.
#[derive(Clone, Debug)]
pub(crate) struct ServerPrograms {
    folder: PathBuf,
}

impl ServerPrograms {
    /// Returns the programs of this machine, found once per process. The error says why there are none.
    pub(crate) fn find() -> Result<Self, String> {
        static FOUND: OnceLock<Result<ServerPrograms, String>> = OnceLock::new();
        FOUND.get_or_init(|| search().map_or_else(install, Ok)).clone()
    }

    /// Returns a command that runs one of the programs.
    pub(crate) fn command(&self, name: &str) -> Command {
        Command::new(self.folder.join(name))
    }

    /// Returns the folder of the programs.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Returns the client `psql`. It can be installed without the server.
pub(crate) fn psql() -> Option<PathBuf> {
    let on_path = path_folders().map(|folder| folder.join("psql"));
    on_path.chain(distribution_folders().map(|folder| folder.join("psql"))).find(|path| path.is_file())
}

fn search() -> Option<ServerPrograms> {
    // A program on the PATH can be a link to the folder that has all of them.
    let on_path =
        path_folders().filter_map(|folder| Some(folder.join("initdb").canonicalize().ok()?.parent()?.to_owned()));
    let is_complete = |folder: &PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
    on_path.chain(distribution_folders()).find(is_complete).map(|folder| ServerPrograms { folder })
}

fn path_folders() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

/// Returns the folders of the distributions that exist, the newest version of each first.
fn distribution_folders() -> impl Iterator<Item = PathBuf> {
    FOLDERS.into_iter().flat_map(|(parent, prefix, below)| {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let mut folders: Vec<_> = entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path())
            .collect();
        folders.sort_by_key(|folder| std::cmp::Reverse(version(folder)));
        folders.into_iter().map(move |folder| folder.join(below))
    })
}

/// Returns the number in the name of a folder: 15 for `postgresql@15` and `15`.
fn version(folder: &Path) -> u32 {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let digits: String =
        name.chars().skip_while(|char| !char.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// Installs the package of Debian. Processes that come here at the same time wait for the first one.
fn install() -> Result<ServerPrograms, String> {
    let missing = "no programs of PostgreSQL on the PATH or in the folders of the distributions";
    let is_root = current_uid().is_ok_and(|uid| uid == 0);
    if !is_root || !Path::new("/usr/bin/apt-get").exists() {
        return Err(format!("{missing}, and only root on Debian can install them here"));
    }
    let folder = rendezvous_folder().map_err(|error| error.to_string())?;
    let lock = fs::File::create(folder.join("install.lock")).and_then(|file| file.lock().map(|()| file));
    let _lock = lock.map_err(|error| format!("{missing}, and install.lock cannot be locked: {error}"))?;
    if let Some(found) = search() {
        return Ok(found);
    }
    // A failure is remembered, as otherwise each test process would wait for the network.
    let failure = folder.join("install.failed");
    let is_recent = fs::metadata(&failure)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|at| at.elapsed().is_ok_and(|age| age.as_secs() < 600));
    if !is_recent {
        let outcome = install_debian_package();
        match (outcome, search()) {
            (Ok(()), Some(found)) => return Ok(found),
            (outcome, _) => {
                let reason =
                    outcome.err().map_or_else(|| "its programs are not found".to_owned(), |error| error.to_string());
                fs::write(&failure, reason).map_err(|error| error.to_string())?;
            }
        }
    }
    let reason = fs::read_to_string(&failure).unwrap_or_default();
    Err(format!("{missing}, and `apt-get install postgresql` failed: {}", reason.trim()))
}

fn install_debian_package() -> io::Result<()> {
    // By default the package creates a cluster and starts its server. Nobody asked for that one.
    let settings = Path::new(DEBIAN_CLUSTER_SETTINGS).join("selvedge-tests.conf");
    fs::create_dir_all(DEBIAN_CLUSTER_SETTINGS)?;
    fs::File::create(&settings)?.write_all(b"create_main_cluster = false\n")?;
    let outcome = apt_get(&["install", "-y", "--no-install-recommends", "postgresql"])
        // The lists of packages may be missing or old.
        .or_else(|_| {
            apt_get(&["update"]).and_then(|()| apt_get(&["install", "-y", "--no-install-recommends", "postgresql"]))
        });
    fs::remove_file(settings)?;
    outcome
}

fn apt_get(args: &[&str]) -> io::Result<()> {
    let options = ["-q", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1", "-o", "DPkg::Lock::Timeout=60"];
    let output = Command::new("/usr/bin/apt-get")
        .args(options)
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(text.lines().find(|line| line.starts_with("E:")).unwrap_or("no reason given").to_owned()))
}
