//! A database or a schema that no other test uses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::programs::ServerPrograms;
use crate::psql;
use crate::server_url;
use crate::shared;
use crate::skip;

/// An empty database of its own, on the shared server. It is deleted when the value is dropped.
///
/// Creating one takes about a tenth of a second; a [`TestSchema`] costs nothing.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    server: String,
}

impl TestDatabase {
    /// Creates a database. `None` if the test is to be skipped, because no server can be had.
    ///
    /// # Panics
    /// If there is a server and it refuses.
    pub fn fresh() -> Option<Self> {
        let server = server()?;
        let name = unique_name();
        psql::execute_sql(&server, &[&format!("CREATE DATABASE {name}")]).unwrap_or_else(|error| panic!("{error}"));
        Some(Self { name, server })
    }

    /// Returns the name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the URL of the database, for a user who may do everything in it.
    pub fn url(&self) -> String {
        server_url::with_database(&self.server, &self.name)
    }

    /// Runs a statement, and returns its rows, one in a line.
    ///
    /// # Panics
    /// If the statement fails.
    #[track_caller]
    pub fn execute(&self, statement: &str) -> String {
        psql::execute_sql(&self.url(), &[statement]).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // The test does not wait for that. What is left on a shared server of our own ends with the server.
        let _ = psql::start(&self.server, &[&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)]);
    }
}

/// The name of a schema that does not exist yet, in a database that other tests use too. The schema is deleted when the
/// value is dropped.
#[derive(Debug)]
pub struct TestSchema {
    name: String,
    server: String,
}

impl TestSchema {
    /// Chooses a name. `None` if the test is to be skipped, because no server can be had.
    ///
    /// # Panics
    /// If the shared server does not start.
    pub fn fresh() -> Option<Self> {
        Some(Self { name: unique_name(), server: server()? })
    }

    /// Returns the name of the schema.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the URL of the database that the schema is to lie in.
    pub fn url(&self) -> String {
        self.server.clone()
    }

    /// Runs a statement in the database, and returns its rows, one in a line. The schema is not in the search path.
    ///
    /// # Panics
    /// If the statement fails.
    #[track_caller]
    pub fn execute(&self, statement: &str) -> String {
        psql::execute_sql(&self.server, &[statement]).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for TestSchema {
    fn drop(&mut self) {
        let quiet = "SET client_min_messages TO warning";
        let _ = psql::start(&self.server, &[quiet, &format!("DROP SCHEMA IF EXISTS {} CASCADE", self.name)]);
    }
}

/// Returns the URL of the server that tests share.
fn server() -> Option<String> {
    if let Some(reason) = skip::skip_reason() {
        skip::announce(&reason);
        return None;
    }
    if let Some(url) = skip::existing_server() {
        return Some(url);
    }
    let programs = ServerPrograms::find().ok()?;
    let folder = shared::socket_folder(&programs).unwrap_or_else(|error| panic!("no shared server: {error}"));
    Some(server_url::of_socket(&folder, "postgres"))
}

/// Returns a name that no other process chooses, on a server that other machines may use too.
fn unique_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("selvedge_test_{now:x}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
