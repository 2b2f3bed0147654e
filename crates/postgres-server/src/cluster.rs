//! The files of one server, how the server is started on them, and what ends it when nobody uses it any more.
//!
//! ```text
//! selvedge-pg-XXXXXX/      belongs to the user of the server; nobody else may enter
//!   data/                  what initdb creates
//!   .s.PGSQL.5432          the socket
//!   log                    what the server prints
//!   holders/PID            one empty file for each process that uses the server
//! ```
//!
//! A watcher, which is a small shell script, looks at the holders once per second. When all of them have ended, it renames
//! `holders`, looks once more, ends the server and deletes the folder. A process that comes too late cannot create its
//! file, because `holders` is gone, and so never gets a server that is about to end.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::account::ServerAccount;
use crate::programs::ServerPrograms;

/// How long a server may take to accept connections, recovery after a crash included.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a server may take to end before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How often a state is looked at that somebody else changes.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The longest folder of a socket: the system limits the path to 103 bytes (macOS) or 107 (Linux).
const MAX_FOLDER_LEN: usize = 103 - "/.s.PGSQL.5432".len();

/// Settings of each server. A process is killed more often than a disk loses power, but what a store promises depends on them.
const SETTINGS: [(&str, &str); 8] = [
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("listen_addresses", ""),
    ("max_connections", "300"),
    // A hash-partitioned schema has hundreds of relations, and its deletion locks all of them.
    ("max_locks_per_transaction", "512"),
    ("log_checkpoints", "off"),
    ("timezone", "UTC"),
];

/// Ends a server that no process uses.
const WATCHER: &str = include_str!("watcher.sh");

/// The files of one server.
#[derive(Debug)]
pub(crate) struct Cluster {
    programs: ServerPrograms,
    account: Option<ServerAccount>,
    folder: PathBuf,
}

impl Cluster {
    /// Creates the files of a server in a temporary folder, and starts their watcher.
    ///
    /// The watcher waits for `grace` after the last holder has ended. This process is a holder.
    pub(crate) fn create(programs: &ServerPrograms, grace: Duration) -> io::Result<Self> {
        let cluster = Self::begin(programs, grace)?;
        let mut initdb = cluster.command("initdb");
        // The files of a cluster without data need no fsync.
        initdb
            .args(["--no-sync", "--no-locale", "-E", "UTF8", "-U", "postgres", "-A", "trust", "-D"])
            .arg(cluster.data());
        let output = initdb.output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!("initdb: {}", String::from_utf8_lossy(&output.stderr))));
        }
        Ok(cluster)
    }

    /// Creates the files of a streaming replica of a server, which is stopped. Their watcher has no grace.
    pub(crate) fn replica_of(primary: &Self) -> io::Result<Self> {
        let cluster = Self::begin(&primary.programs, Duration::ZERO)?;
        let copied = Command::new("cp").arg("-a").arg(primary.data()).arg(cluster.data()).status()?;
        if !copied.success() {
            return Err(io::Error::other(format!("cp: {copied}")));
        }
        // The file makes the server follow the primary instead of accepting changes.
        let signal = cluster.data().join("standby.signal");
        fs::write(&signal, "")?;
        if let Some(account) = cluster.account {
            account.give(&signal)?;
        }
        Ok(cluster)
    }

    /// Creates a folder without data, and starts its watcher.
    fn begin(programs: &ServerPrograms, grace: Duration) -> io::Result<Self> {
        let account = ServerAccount::find()?;
        let cluster = Self { programs: programs.clone(), account, folder: create_folder(account)? };
        fs::create_dir(cluster.folder.join("holders"))?;
        hold(&cluster.folder)?;
        // From here on the files are deleted even if this process is killed.
        cluster.start_watcher(grace)?;
        Ok(cluster)
    }

    /// Returns the folder of the socket.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the server, and waits until it accepts connections.
    pub(crate) fn start(&self, settings: &[(&str, &str)]) -> io::Result<Child> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log"))?;
            let mut command = self.command("postgres");
            command.arg("-D").arg(self.data()).arg("-k").arg(&self.folder);
            command.args(
                SETTINGS.iter().chain(settings).flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]),
            );
            // In a group of its own, the Ctrl-C that ends the tests does not reach it.
            command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            let mut child = command.spawn()?;
            while Instant::now() < deadline {
                if let Some(status) = child.try_wait()? {
                    // Children of a killed server can take a moment to notice it. As long as one is alive, no server starts.
                    let is_occupied = self.log_tail().contains("is still in use");
                    if is_occupied {
                        std::thread::sleep(Duration::from_millis(100));
                        break;
                    }
                    return Err(io::Error::other(format!("the server ended with {status}: {}", self.log_tail())));
                }
                if is_ready(&self.folder, child.id()) {
                    return Ok(child);
                }
                std::thread::sleep(POLL_INTERVAL);
            }
            if Instant::now() >= deadline {
                // It may have ended already.
                let _ = child.kill();
                child.wait()?;
                return Err(io::Error::other(format!("the server does not get ready: {}", self.log_tail())));
            }
        }
    }

    /// Ends the server with a signal, and waits for its end.
    pub(crate) fn stop(&self, child: &mut Child, signal: &str) -> io::Result<()> {
        signal_all(signal, &[child.id()])?;
        let deadline = Instant::now() + STOP_LIMIT;
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return self.kill(child);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Ends the server and its processes with SIGKILL.
    pub(crate) fn kill(&self, child: &mut Child) -> io::Result<()> {
        // Each connection has a process of its own, which would complete its statement.
        let mut processes = vec![child.id()];
        processes.extend(children_of(child.id()));
        signal_all("KILL", &processes)?;
        child.wait()?;
        Ok(())
    }

    /// Deletes the files. The watcher notices that and ends.
    pub(crate) fn delete(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.folder)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn command(&self, name: &str) -> Command {
        let mut command = self.programs.command(name);
        if let Some(account) = self.account {
            account.apply(&mut command);
        }
        command.current_dir(&self.folder).env_remove("PGOPTIONS").env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    fn start_watcher(&self, grace: Duration) -> io::Result<()> {
        let mut watcher = Command::new("/bin/sh");
        watcher.args(["-c", WATCHER, "selvedge-pg-watcher"]).arg(&self.folder).arg(grace.as_secs().to_string());
        watcher.current_dir("/").process_group(0);
        watcher.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(drop)
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// Registers this process as a holder of a cluster. Fails if the watcher has begun to end it.
pub(crate) fn hold(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("holders").join(std::process::id().to_string()), "")
}

/// Returns whether the server on these files accepts connections.
pub(crate) fn is_running(folder: &Path) -> bool {
    let pid = fs::read_to_string(folder.join("data/postmaster.pid"))
        .ok()
        .and_then(|text| text.lines().next()?.trim().parse().ok());
    // The file also survives a server that was killed. Then nobody accepts connections at the socket.
    pid.is_some_and(|pid| is_ready(folder, pid))
        && std::os::unix::net::UnixStream::connect(folder.join(".s.PGSQL.5432")).is_ok()
}

/// Returns whether the server process accepts connections. It notes that itself, for `pg_ctl`.
fn is_ready(folder: &Path, pid: u32) -> bool {
    let text = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    lines.first() == Some(&pid.to_string().as_str()) && lines.get(7) == Some(&"ready")
}

/// Creates a temporary folder that belongs to the user of the server.
fn create_folder(account: Option<ServerAccount>) -> io::Result<PathBuf> {
    let mut parents = vec![std::env::temp_dir()];
    parents.extend([PathBuf::from("/tmp"), PathBuf::from("/var/tmp")]);
    let mut failure = None;
    for parent in parents {
        match create_folder_in(&parent, account) {
            Ok(folder) => return Ok(folder),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| io::Error::other("there is no temporary folder")))
}

fn create_folder_in(parent: &Path, account: Option<ServerAccount>) -> io::Result<PathBuf> {
    let folder = tempfile::Builder::new().prefix("selvedge-pg-").tempdir_in(parent)?;
    if folder.path().as_os_str().len() > MAX_FOLDER_LEN {
        return Err(io::Error::other(format!("{} is too long for a socket", folder.path().display())));
    }
    let mut enter = Command::new("/bin/sh");
    enter.args(["-c", "cd \"$0\""]).arg(folder.path()).stderr(Stdio::null());
    if let Some(account) = account {
        account.give(folder.path())?;
        account.apply(&mut enter);
    }
    if !enter.status()?.success() {
        return Err(io::Error::other(format!("the user of the server cannot enter {}", folder.path().display())));
    }
    Ok(folder.keep())
}

/// Sends a signal to processes. A process that has ended already is no failure.
fn signal_all(signal: &str, processes: &[u32]) -> io::Result<()> {
    let mut kill = Command::new("/bin/sh");
    kill.args(["-c", "kill -s \"$0\" \"$@\"", signal]).args(processes.iter().map(u32::to_string));
    kill.stderr(Stdio::null()).status().map(drop)
}

/// Returns the processes that a process has started and that have not ended.
fn children_of(pid: u32) -> Vec<u32> {
    let numbers = |text: &str| text.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<u32>>();
    if let Ok(text) = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
        return numbers(&text);
    }
    let Ok(output) = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter_map(|line| <[u32; 2]>::try_from(numbers(line)).ok())
        .filter(|[_, parent]| *parent == pid)
        .map(|[child, _]| child)
        .collect()
}
