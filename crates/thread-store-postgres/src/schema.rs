//! The tables of a store: creating them, updating them, and checking their version.

use selvedge_thread_store::{Result, StoreError};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Connection, Executor};

use crate::PostgresOptions;
use crate::error::backend;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// How the tables of a store relate to this version of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// There are no tables.
    Missing,
    /// The tables are older and have to be migrated.
    Older {
        /// The version of the tables.
        version: i64,
        /// The version that this program needs.
        needed: i64,
    },
    /// The tables are those of this version of the program.
    Current {
        /// The version of the tables.
        version: i64,
    },
    /// The tables are newer than this program.
    Newer {
        /// The version of the tables.
        version: i64,
        /// The newest version that this program knows.
        needed: i64,
    },
}

/// What a server says of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStatus {
    /// Where the store is, as a text for people.
    pub location: String,
    /// The version of the server, as it calls itself.
    pub server: String,
    /// The tables.
    pub schema: SchemaState,
    /// How many threads the namespace has. 0 without tables.
    pub threads: u64,
    /// Whether the server waits for the disk before it acknowledges a commit: `synchronous_commit` and `fsync` are on.
    pub is_synced: bool,
}

/// Creates the tables of a store, or updates them to the version of this program. Several processes may do so at the same
/// time.
///
/// # Errors
/// If the tables are newer than this program, or the server fails or refuses it.
pub(crate) async fn migrate(options: &PostgresOptions) -> Result<SchemaState> {
    let mut connection = options.connect.connect().await.map_err(backend)?;
    let schema = &options.schema;
    // The role may not be allowed to create schemas if there is one already. Two processes may create it at the same time, and the
    // slower one gets an error although it asks whether the schema exists.
    if !schema_exists(&mut connection, schema).await?
        && let Err(error) = connection.execute(&*format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await
        && !schema_exists(&mut connection, schema).await?
    {
        return Err(backend(error));
    }
    connection.execute(&*format!("SET search_path TO {schema}")).await.map_err(backend)?;
    // The migrator holds an advisory lock, so that several processes follow each other.
    // `run` would do the same, and its future is not `Send` for the compiler.
    MIGRATIONS.run_direct(&mut connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => newer(version),
        error => StoreError::backend("cannot migrate the tables of the store", error),
    })?;
    let state = state(&mut connection, schema).await?;
    let _ = connection.close().await;
    Ok(state)
}

/// Returns what the server says of a store.
pub(crate) async fn status(options: &PostgresOptions) -> Result<StoreStatus> {
    let connecting = options.connect.connect();
    let connected = tokio::time::timeout(options.connect_timeout, connecting).await;
    let mut connection = connected.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(backend)?;
    let server: String = sqlx::query_scalar("SHOW server_version").fetch_one(&mut connection).await.map_err(backend)?;
    let schema = state(&mut connection, &options.schema).await?;
    let threads: i64 = match schema {
        SchemaState::Current { .. } => {
            let count = format!("SELECT count(*) FROM {}.threads WHERE namespace = $1", options.schema);
            let count = sqlx::query_scalar(&count).bind(&options.namespace);
            count.fetch_one(&mut connection).await.map_err(backend)?
        }
        _ => 0,
    };
    let is_synced = is_synced(&mut connection).await.map_err(backend)?;
    let _ = connection.close().await;
    Ok(StoreStatus {
        location: options.location(),
        server,
        schema,
        threads: u64::try_from(threads).unwrap_or_default(),
        is_synced,
    })
}

/// Fails if the tables are not those of this version of the program.
pub(crate) async fn check(connection: &mut PgConnection, options: &PostgresOptions) -> Result<()> {
    match state(connection, &options.schema).await? {
        SchemaState::Current { .. } => Ok(()),
        SchemaState::Missing => Err(StoreError::invalid(format!(
            "there is no store: {} has no tables; create them with `selvedge store init`",
            options.location()
        ))),
        SchemaState::Older { version, needed } => Err(StoreError::invalid(format!(
            "the tables of the store have version {version}, and this program needs version {needed}; update them with \
             `selvedge store migrate`"
        ))),
        SchemaState::Newer { version, .. } => Err(newer(version)),
    }
}

fn newer(version: i64) -> StoreError {
    StoreError::invalid(format!(
        "the tables of the store have version {version}, which is newer than this program; use a newer program"
    ))
}

/// Returns whether the server waits for the disk before it acknowledges a commit.
pub(crate) async fn is_synced(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // An engine that does not know a setting has no such weaker level.
    let query = "SELECT coalesce(current_setting('synchronous_commit', true), 'on') <> 'off'
        AND coalesce(current_setting('fsync', true), 'on') <> 'off'";
    sqlx::query_scalar(query).fetch_one(connection).await
}

async fn schema_exists(connection: &mut PgConnection, schema: &str) -> Result<bool> {
    // Not from `information_schema`, which shows a role only what it owns.
    let query = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1)";
    sqlx::query_scalar(query).bind(schema).fetch_one(connection).await.map_err(backend)
}

async fn state(connection: &mut PgConnection, schema: &str) -> Result<SchemaState> {
    let needed = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    let table = "SELECT to_regclass($1) IS NOT NULL";
    let table = sqlx::query_scalar(table).bind(format!("{schema}._sqlx_migrations"));
    let exists: bool = table.fetch_one(&mut *connection).await.map_err(backend)?;
    if !exists {
        return Ok(SchemaState::Missing);
    }
    let version = format!("SELECT max(version) FROM {schema}._sqlx_migrations WHERE success");
    let version: Option<i64> = sqlx::query_scalar(&version).fetch_one(connection).await.map_err(backend)?;
    Ok(match version {
        None => SchemaState::Missing,
        Some(version) if version < needed => SchemaState::Older { version, needed },
        Some(version) if version > needed => SchemaState::Newer { version, needed },
        Some(version) => SchemaState::Current { version },
    })
}
