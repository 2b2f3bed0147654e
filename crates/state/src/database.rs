//! The database file: opens it, creates its tables, and sets it aside if it cannot be used.
//!
//! ```text
//!            exists, and this version made it
//!  open ──┬───────────────────────────────────────────────────────────▶ connect
//!         │ no                                                             ▲
//!         └─▶ take the lock file ─▶ create tables ─┬─ ok ──────────────────┤
//!                                                  └─ no index, damaged,   │
//!                                                     or another version   │
//!                                                       │                  │
//!                                                     rename it ─▶ create tables
//! ```

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use selvedge_rollout::{RolloutHome, now};
use sqlx::error::BoxDynError;
use sqlx::migrate::{MigrateError, Migration, MigrationSource, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, Sqlite, SqliteConnection, SqlitePool, Transaction};

use crate::blocking::blocking;
use crate::error::{IndexError, Result};
use crate::limits::{BEGIN_ATTEMPTS, CONNECTION_TIMEOUT, FIRST_BEGIN_PAUSE, READERS, STATEMENT_TIMEOUT};

/// How long to wait for a database that other processes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitPolicy {
    /// A caller waits for an answer, and can also get it from the logs.
    Short,
    /// No caller waits.
    Long,
}

/// The connections to one database file.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) path: PathBuf,
    pub(crate) readers: SqlitePool,
    pub(crate) writer: SqlitePool,
}

/// A file that could not be used, and was renamed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct SetAside {
    /// Where the file is now.
    pub kept: PathBuf,
    /// Why it could not be used.
    pub reason: String,
}

impl Database {
    /// Opens the file, and creates it if it is missing. A file that is not an index, or is damaged, or was made by another version,
    /// is set aside first. Nothing is lost by that: the index is built again from the logs.
    pub(crate) async fn open(home: &RolloutHome, path: &Path) -> Result<(Self, Option<SetAside>)> {
        if exists(path.to_owned()).await?
            // Any error leads to the careful way below, which finds out what is wrong.
            && let Ok(database) = Self::open_existing(path).await
        {
            return Ok((database, None));
        }
        // If several processes find no usable file at the same time, one creates it and the others wait. Whoever gets the lock
        // later finds the tables of the first.
        let _setting_up = lock_beside(home, path).await?;
        match Self::set_up(home, path).await {
            // Not if the database is busy or the disk is full: such a file may be a good index.
            Err(failure @ (IndexError::Damaged(_) | IndexError::Setup(_))) => {
                let file = path.to_owned();
                let kept = blocking(move || set_file_aside(&file)).await?;
                tracing::warn!(path = %path.display(), kept = %kept.display(), %failure, "index set aside");
                Ok((Self::set_up(home, path).await?, Some(SetAside { kept, reason: reason(&failure) })))
            }
            opened => Ok((opened?, None)),
        }
    }

    /// Opens a file that this version set up.
    async fn open_existing(path: &Path) -> Result<Self> {
        Self::connect(path).of_this_version().await
    }

    /// Opens a file only to read it. Nothing is created, set up or changed.
    pub(crate) async fn open_read_only(path: &Path) -> Result<Self> {
        let options = quiet_options(path).read_only(true).busy_timeout(STATEMENT_TIMEOUT);
        match Self::connect_with(path, options.clone()).of_this_version().await {
            // In a directory that cannot be written, SQLite cannot create the shared memory by which it marks itself as a reader.
            // Without a log there is no writer, and then the file can be read as immutable.
            Err(IndexError::Database(error)) => {
                if exists(beside(path, "-wal")).await? {
                    return Err(IndexError::Database(error));
                }
                Self::connect_with(path, options.immutable(true)).of_this_version().await
            }
            opened => opened,
        }
    }

    /// Sets aside a file that a check found unusable. Returns `None` if it is gone.
    pub(crate) async fn set_aside(home: &RolloutHome, path: &Path, reason: &str) -> Result<Option<SetAside>> {
        if !exists(path.to_owned()).await? {
            return Ok(None);
        }
        let _setting_up = lock_beside(home, path).await?;
        let file = path.to_owned();
        let kept = blocking(move || set_file_aside(&file)).await?;
        Ok(Some(SetAside { kept, reason: reason.to_owned() }))
    }

    /// Returns the database if this version created its tables. The checksum covers the whole SQL text of the schema.
    async fn of_this_version(self) -> Result<Self> {
        let database = self;
        let made_with: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations").fetch_all(&database.readers).await?;
        let schema = schema();
        if made_with != [(schema.version, schema.checksum.to_vec())] {
            database.close().await;
            return Err(IndexError::Setup(MigrateError::VersionMismatch(schema.version).into()));
        }
        Ok(database)
    }

    async fn set_up(home: &RolloutHome, path: &Path) -> Result<Self> {
        // SQLite creates the files beside the database with the mode and, as root, the owner of the database.
        let (home, file) = (home.clone(), path.to_owned());
        blocking(move || open_or_create(&home, &file)).await?;
        let mut connection = SqliteConnection::connect_with(&options(path).create_if_missing(true)).await?;
        // The connection is closed after an error, too, because the file may be set aside next.
        let made = make_tables(&mut connection).await;
        let closed = connection.close().await;
        made?;
        closed?;
        Ok(Self::connect(path))
    }

    /// Creates the pools of connections. A connection is opened when it is first needed.
    fn connect(path: &Path) -> Self {
        let writer = pool(1).connect_lazy_with(options(path));
        Self { writer, ..Self::connect_with(path, options(path).pragma("query_only", "1")) }
    }

    /// Creates the pools with the same options for all, so that the writer can write no more than the readers.
    fn connect_with(path: &Path, options: SqliteConnectOptions) -> Self {
        Self {
            path: path.to_owned(),
            readers: pool(READERS).connect_lazy_with(options.clone()),
            writer: pool(1).connect_lazy_with(options),
        }
    }

    /// Moves everything in the write-ahead log into the database file, and empties the log. Until then the file holds what a transaction
    /// has overwritten. Does nothing while other processes read an older state; the next call does it then.
    pub(crate) async fn empty_log(&self) -> Result<()> {
        let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&self.writer).await?;
        if row.try_get::<i64, _>(0)? != 0 {
            tracing::info!("the log of the index is in use, and was not emptied");
        }
        Ok(())
    }

    /// Rewrites the file without its free pages. An index that an earlier version of this program wrote may have words in them.
    pub(crate) async fn drop_free_pages(&self) -> Result<()> {
        sqlx::query("VACUUM").execute(&self.writer).await?;
        self.empty_log().await
    }

    /// Removes the index files beside this one that were set aside. A file that this program did not make stays.
    pub(crate) async fn remove_set_aside(&self) -> Result<()> {
        let path = self.path.clone();
        blocking(move || {
            remove_files_set_aside(&path);
            Ok(())
        })
        .await
    }

    /// Closes the connections. The file is complete without that; the last connection that is closed removes the log.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Begins a write transaction, and retries while other processes hold the database, if the policy allows that.
    ///
    /// The transaction takes the write lock when it begins, so that no later statement finds the database busy. A transaction that
    /// begins with a read could not wait for the lock: its snapshot would be stale by then, and SQLite would refuse to write.
    pub(crate) async fn begin(&self, wait: WaitPolicy) -> Result<Transaction<'static, Sqlite>> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(IndexError::from) {
                Err(IndexError::Busy(error)) if wait == WaitPolicy::Long && tries < BEGIN_ATTEMPTS => {
                    tracing::debug!(%error, tries, "another process holds the index; the transaction begins again");
                    tokio::time::sleep(FIRST_BEGIN_PAUSE * (1 << (tries - 1))).await;
                }
                outcome => return outcome,
            }
        }
    }
}

fn pool(max: u32) -> SqlitePoolOptions {
    // A connection to a file does not break by itself, so that it need not be tested before it is used.
    SqlitePoolOptions::new().max_connections(max).acquire_timeout(CONNECTION_TIMEOUT).test_before_acquire(false)
}

fn options(path: &Path) -> SqliteConnectOptions {
    // The write-ahead log lets readers continue while one process writes. With `NORMAL`, a power loss can undo the last
    // transactions, but never damages the file. That is enough for an index: the next update reads the logs again.
    quiet_options(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(STATEMENT_TIMEOUT)
        // What is deleted is overwritten: the words of a deleted thread must not stay in pages that are free.
        .pragma("secure_delete", "1")
        // 8 MiB, which hold the upper levels of all tables.
        .pragma("cache_size", "-8192")
        .statement_cache_capacity(64)
}

/// Returns options whose statements are traced at level TRACE. At DEBUG, which is the default of the driver, they would bury the events
/// that a person looks for.
fn quiet_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).log_statements(log::LevelFilter::Trace)
}

/// Returns the one migration: the whole schema. It needs no second one, because an index of another schema is built again.
fn schema() -> Migration {
    let sql = include_str!("../migrations/0001_index.sql");
    Migration::new(1, "index".into(), MigrationType::Simple, sql.into(), false)
}

#[derive(Debug)]
struct Schema;

impl MigrationSource<'static> for Schema {
    fn resolve(self) -> Pin<Box<dyn Future<Output = Result<Vec<Migration>, BoxDynError>> + Send>> {
        Box::pin(async { Ok(vec![schema()]) })
    }
}

async fn make_tables(connection: &mut SqliteConnection) -> Result<()> {
    let migrator = Migrator::new(Schema).await.map_err(|error| IndexError::Setup(error.into()))?;
    migrator.run_direct(connection).await.map_err(|error| match error {
        MigrateError::Execute(error) => error.into(),
        MigrateError::ExecuteMigration(error, version) => match IndexError::from(error) {
            // The file has tables with these names, and no record that this program created them: it belongs to another program.
            IndexError::Database(error) => {
                IndexError::Setup(format!("while executing migration {version}: {error}").into())
            }
            error => error,
        },
        error => IndexError::Setup(error.into()),
    })
}

/// Opens a file to append to it or to lock it, and creates it if it is missing. A file that is created belongs to the owner of the
/// home, and no other user can access it.
pub(crate) fn open_or_create(home: &RolloutHome, path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            home.give_to_owner(&file).map_err(|error| failed("set the owner of", path, error))?;
            Ok(file)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            options.create(true).open(path).map_err(|error| failed("open", path, error))
        }
        Err(error) => Err(failed("create", path, error)),
    }
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> IndexError {
    IndexError::Io { action, path: path.to_owned(), source }
}

/// Takes the lock for setting up a database. Dropping the file releases it.
async fn lock_beside(home: &RolloutHome, path: &Path) -> Result<File> {
    let (home, path) = (home.clone(), beside(path, ".lock"));
    blocking(move || {
        let file = open_or_create(&home, &path)?;
        file.lock().map_err(|error| failed("lock", &path, error))?;
        Ok(file)
    })
    .await
}

async fn exists(path: PathBuf) -> Result<bool> {
    blocking(move || Ok(path.exists())).await
}

/// Returns the path with a suffix.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn reason(failure: &IndexError) -> String {
    use std::error::Error;
    failure.source().map_or_else(|| failure.to_string(), |source| format!("{failure}: {source}"))
}

/// A part of the schema, as it is in every database file that this program made.
const OWN_TABLE: &[u8] = b"CREATE TABLE search_blocks";

/// What the name of a file that was set aside has behind the name of the index.
const SET_ASIDE: &str = ".set-aside-";

fn remove_files_set_aside(path: &Path) {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return };
    let prefix = format!("{name}{SET_ASIDE}");
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let file = entry.path();
        let is_set_aside = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(&prefix) && !name.ends_with("-wal") && !name.ends_with("-shm"));
        if is_set_aside && contains(&file, OWN_TABLE).unwrap_or(false) {
            for end in ["", "-wal", "-shm"] {
                // What cannot be removed stays; it is not in use.
                let _ = std::fs::remove_file(beside(&file, end));
            }
        }
    }
}

/// Returns whether a file contains some bytes.
fn contains(file: &Path, wanted: &[u8]) -> std::io::Result<bool> {
    let mut file = File::open(file)?;
    let mut block = vec![0; 1 << 16];
    // The end of the block before is kept, because the bytes can begin there.
    let mut kept = 0;
    loop {
        let len = file.read(&mut block[kept..])?;
        if memchr::memmem::find(&block[..kept + len], wanted).is_some() {
            return Ok(true);
        }
        if len == 0 {
            return Ok(false);
        }
        let end = kept + len;
        let start = end.saturating_sub(wanted.len());
        block.copy_within(start..end, 0);
        kept = end - start;
    }
}

/// Renames a database file, and the files that SQLite keeps beside it, to names with the current time.
fn set_file_aside(path: &Path) -> Result<PathBuf> {
    let time = now().to_string().replace(':', "-");
    let kept = beside(path, &format!("{SET_ASIDE}{time}"));
    // The log goes first. If it stayed behind, SQLite would take it for the log of the next database at this path.
    for end in ["-wal", "-shm", ""] {
        let from = beside(path, end);
        match std::fs::rename(&from, beside(&kept, end)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(IndexError::Io { action: "set aside", path: from, source: error });
            }
            _ => {}
        }
    }
    Ok(kept)
}
