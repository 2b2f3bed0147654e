//! The database file: opened, set up, set aside.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use selvedge_rollout::now;
use sqlx::error::BoxDynError;
use sqlx::migrate::{MigrateError, Migration, MigrationSource, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Sqlite, SqliteConnection, SqlitePool, Transaction};

use crate::error::{IndexError, Result};
use crate::update::blocking;

/// How long a statement waits for others before it gives up.
const BUSY_TIME: Duration = Duration::from_millis(250);

/// How long to wait for a database that others hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitPolicy {
    /// Somebody waits for an answer, and can have it from the logs.
    Short,
    /// Nobody waits.
    Long,
}

/// How often a transaction is begun that nobody waits for.
const TRIES: u32 = 12;

/// How many connections read at once. One more writes.
const READERS: u32 = 3;

/// The connections to one database file.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) path: PathBuf,
    pub(crate) readers: SqlitePool,
    pub(crate) writer: SqlitePool,
}

/// What became of a file that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SetAside {
    /// Where it is kept.
    pub kept: PathBuf,
    /// Why it could not be used.
    pub reason: String,
}

impl Database {
    /// Opens the file, making it if it is missing. One that is no index, or one of another version, or damaged, is set
    /// aside first.
    pub(crate) async fn open(path: &Path) -> Result<(Self, Option<SetAside>)> {
        if exists(path.to_owned()).await?
            && let Ok(database) = Self::open_as_it_is(path).await
        {
            return Ok((database, None));
        }
        // Of processes that find no usable file at the same time, one makes it and the others wait.
        let _setting_up = lock_beside(path).await?;
        match Self::set_up(path).await {
            Err(failure @ (IndexError::Damaged(_) | IndexError::Setup(_))) => {
                let file = path.to_owned();
                let kept = blocking(move || set_file_aside(&file)).await?;
                tracing::warn!(path = %path.display(), kept = %kept.display(), %failure, "index set aside");
                Ok((Self::set_up(path).await?, Some(SetAside { kept, reason: reason(&failure) })))
            }
            opened => Ok((opened?, None)),
        }
    }

    /// Opens a file that was set up by this version.
    async fn open_as_it_is(path: &Path) -> Result<Self> {
        Self::connect(path).of_this_version().await
    }

    /// Opens a file only to look at it: nothing is made, set up or changed.
    pub(crate) async fn open_to_look(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIME);
        match Self::connect_with(path, options.clone()).of_this_version().await {
            // Where nothing can be written, SQLite cannot even say that it reads. Without a log nobody writes there.
            Err(IndexError::Database(error)) => {
                if exists(beside(path, "-wal")).await? {
                    return Err(IndexError::Database(error));
                }
                Self::connect_with(path, options.immutable(true)).of_this_version().await
            }
            opened => opened,
        }
    }

    /// Sets a file aside that was found to be unusable when it was looked at, unless it is gone.
    pub(crate) async fn set_aside(path: &Path, reason: &str) -> Result<Option<SetAside>> {
        if !exists(path.to_owned()).await? {
            return Ok(None);
        }
        let _setting_up = lock_beside(path).await?;
        let file = path.to_owned();
        let kept = blocking(move || set_file_aside(&file)).await?;
        Ok(Some(SetAside { kept, reason: reason.to_owned() }))
    }

    /// The database, if this version made it.
    async fn of_this_version(self) -> Result<Self> {
        let database = self;
        let made_with: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations").fetch_all(&database.readers).await?;
        let schema = schema();
        if made_with != [(schema.version, schema.checksum.to_vec())] {
            database.close().await;
            return Err(IndexError::Setup(MigrateError::VersionMismatch(schema.version)));
        }
        Ok(database)
    }

    async fn set_up(path: &Path) -> Result<Self> {
        // SQLite gives its other files the mode of this one.
        let file = path.to_owned();
        let make =
            move || private().append(true).create(true).open(&file).map_err(|error| failed("make", &file, error));
        blocking(make).await?;
        let mut connection = SqliteConnection::connect_with(&options(path).create_if_missing(true)).await?;
        let made = make_tables(&mut connection).await;
        let closed = connection.close().await;
        made?;
        closed?;
        Ok(Self::connect(path))
    }

    /// The connections, none of which is made before it is needed.
    fn connect(path: &Path) -> Self {
        let writer = pool(1).connect_lazy_with(options(path));
        Self { writer, ..Self::connect_with(path, options(path).pragma("query_only", "1")) }
    }

    /// The same with readers only: what writes reads.
    fn connect_with(path: &Path, options: SqliteConnectOptions) -> Self {
        Self {
            path: path.to_owned(),
            readers: pool(READERS).connect_lazy_with(options.clone()),
            writer: pool(1).connect_lazy_with(options),
        }
    }

    /// Closes the connections. The file is whole without: this only lets the log of the database go.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Begins a write transaction: when others hold the database, again. It has the write lock from its beginning on, so
    /// that nothing in it finds the database busy; one that began with a read could not wait for the lock.
    pub(crate) async fn begin(&self, patience: WaitPolicy) -> Result<Transaction<'static, Sqlite>> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(IndexError::from) {
                Err(IndexError::Busy(error)) if patience == WaitPolicy::Long && tries < TRIES => {
                    tracing::debug!(%error, tries, "index busy, trying again");
                    tokio::time::sleep(Duration::from_millis(5 << tries)).await;
                }
                outcome => return outcome,
            }
        }
    }
}

fn pool(max: u32) -> SqlitePoolOptions {
    // A connection to a file does not go away by itself, so that none is tried before it is used.
    SqlitePoolOptions::new().max_connections(max).acquire_timeout(BUSY_TIME * 4).test_before_acquire(false)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIME)
        .pragma("cache_size", "-8192")
        .statement_cache_capacity(64)
}

/// The one migration: the whole schema.
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
    let migrator = Migrator::new(Schema).await.map_err(IndexError::Setup)?;
    migrator.run_direct(connection).await.map_err(|error| match error {
        MigrateError::Execute(error) => error.into(),
        MigrateError::ExecuteMigration(error, version) => match IndexError::from(error) {
            // Tables of our names that we did not make: somebody else's file.
            IndexError::Database(error) => IndexError::Setup(MigrateError::ExecuteMigration(error, version)),
            error => error,
        },
        error => IndexError::Setup(error),
    })
}

/// Options to open files that, if they are made, are for this user only.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

pub(crate) fn failed(action: &'static str, path: &Path, source: std::io::Error) -> IndexError {
    IndexError::Io { action, path: path.to_owned(), source }
}

/// Holds the lock for setting up until the file is dropped.
async fn lock_beside(path: &Path) -> Result<File> {
    let path = beside(path, ".lock");
    blocking(move || {
        let file = private().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| failed("open", &path, error))?;
        file.lock().map_err(|error| failed("lock", &path, error))?;
        Ok(file)
    })
    .await
}

async fn exists(path: PathBuf) -> Result<bool> {
    blocking(move || Ok(path.exists())).await
}

/// The path with something behind its name.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn reason(failure: &IndexError) -> String {
    use std::error::Error;
    failure.source().map_or_else(|| failure.to_string(), |source| format!("{failure}: {source}"))
}

/// Renames a database file, and what SQLite keeps beside it, to names with the time in them.
fn set_file_aside(path: &Path) -> Result<PathBuf> {
    let time = now().to_string().replace(':', "-");
    let kept = beside(path, &format!(".set-aside-{time}"));
    // The log of the database goes with it: left behind, it would be taken for that of the next one.
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
