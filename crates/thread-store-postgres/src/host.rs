//! What a process holds of a store: connections, and the threads that it writes.

use std::sync::Arc;

use selvedge_protocol::Durability;
use selvedge_thread_store::{Result, StoreError};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::error::backend;
use crate::{PostgresOptions, schema};

/// One of the hosts of a store: a process with a pool of connections and writers of its own.
pub(crate) struct PostgresHost {
    options: PostgresOptions,
    pub(crate) pool: PgPool,
}

impl PostgresHost {
    pub(crate) async fn connect(options: &PostgresOptions) -> Result<Arc<Self>> {
        let pool = PgPoolOptions::new()
            .max_connections(options.pool_size)
            .acquire_timeout(options.connect_timeout)
            // A connection that broke shows this in the statement, which is tried again. A question before each statement would
            // cost a round trip.
            .test_before_acquire(false)
            .connect_with(options.connect.clone())
            .await
            .map_err(backend)?;
        let mut connection = pool.acquire().await.map_err(backend)?;
        schema::check(&mut connection, options).await?;
        if options.durability == Durability::Synced && !schema::is_synced(&mut connection).await.map_err(backend)? {
            let what = "the durability level `synced` on a server with `synchronous_commit` or `fsync` off: turn both on, or \
                        use the level `written`";
            return Err(StoreError::Unsupported { what: what.to_owned() });
        }
        drop(connection);
        Ok(Arc::new(Self { options: options.clone(), pool }))
    }

    pub(crate) fn options(&self) -> &PostgresOptions {
        &self.options
    }
}
