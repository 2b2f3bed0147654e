//! The store: a pool of connections, and what this process holds.

use std::fmt;
use std::sync::Arc;

use selvedge_protocol::Durability;
use selvedge_thread_store::{Result, StoreError};

use crate::host::PostgresHost;
use crate::schema::{self, SchemaState, StoreStatus};
use crate::{PostgresOptions, background};

/// A thread store in PostgreSQL.
///
/// A clone is the same store. The threads that it writes stay claimed until it gives them up. If its process ends without that, or
/// the last clone is dropped, other stores can claim them when the lease ends ([`PostgresOptions::lease`]).
#[derive(Clone)]
pub struct PostgresThreadStore {
    pub(crate) host: Arc<PostgresHost>,
}

impl PostgresThreadStore {
    /// Connects to a store. Its tables must exist, see [`migrate`](Self::migrate).
    ///
    /// It must be called in a Tokio runtime, and the store be used in the same one.
    ///
    /// # Errors
    /// - `InvalidRequest` if the options are not possible, if the tables are missing, older or newer than this program, or
    ///   if the role of the connection has no rights in the namespace.
    /// - `Unsupported` if the durability level is `synced` and the server has `synchronous_commit` or `fsync` off.
    /// - `Backend` if the server cannot be reached.
    pub async fn connect(options: &PostgresOptions) -> Result<Self> {
        options.check().map_err(|error| StoreError::invalid(error.to_string()))?;
        let host = PostgresHost::connect(options).await?;
        background::start(&host);
        Ok(Self { host })
    }

    /// Creates the tables of a store, or updates them to the version of this program. Several processes may do so at the
    /// same time. A pooler must not be between the process and the server.
    ///
    /// # Errors
    /// - `InvalidRequest` if the options are not possible, or if the tables are newer than this program.
    /// - `Backend` if the server cannot be reached, or refuses it.
    pub async fn migrate(options: &PostgresOptions) -> Result<SchemaState> {
        options.check().map_err(|error| StoreError::invalid(error.to_string()))?;
        schema::migrate(options).await
    }

    /// Returns what the server says of a store, whether or not it has tables.
    ///
    /// # Errors
    /// - `Backend` if the server cannot be reached.
    pub async fn status(options: &PostgresOptions) -> Result<StoreStatus> {
        options.check().map_err(|error| StoreError::invalid(error.to_string()))?;
        schema::status(options).await
    }

    /// Returns the SQL that creates the roles of a store, `SCHEMA_migrate`, `SCHEMA_write` and `SCHEMA_read`, and gives them
    /// their rights. A superuser runs it after each migration. Connects to nothing.
    ///
    /// # Errors
    /// - `InvalidRequest` if the options are not possible, or if the name of the schema is too long for roles.
    pub fn roles(options: &PostgresOptions) -> Result<String> {
        options.check().map_err(|error| StoreError::invalid(error.to_string()))?;
        schema::roles(options)
    }

    /// Returns whether a call failed because the role of the connection has not the rights for it.
    #[must_use]
    pub fn lacks_rights(error: &StoreError) -> bool {
        crate::error::lacks_rights(error)
    }

    /// Returns the settings of the store.
    #[must_use]
    pub fn options(&self) -> &PostgresOptions {
        self.host.options()
    }

    /// Returns the durability level of every change.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.host.options().durability
    }
}

impl fmt::Debug for PostgresThreadStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresThreadStore").field("location", &self.options().location()).finish_non_exhaustive()
    }
}
