//! A server for one test, which may kill it.

use std::process::Child;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::programs::ServerPrograms;
use crate::psql;
use crate::server_url;
use crate::skip;

/// A server for one test. It ends when the value is dropped, or when this process ends.
#[derive(Debug)]
pub struct PostgresServer {
    cluster: Cluster,
    settings: Vec<(String, String)>,
    /// `None` while the server is stopped.
    child: Option<Child>,
}

impl PostgresServer {
    /// Starts a server with these settings of `postgresql.conf` besides `fsync=on`, such as `("synchronous_commit", "off")`.
    ///
    /// It listens on a unix socket only. `None` if the test is to be skipped, because the programs are missing.
    ///
    /// # Panics
    /// If the programs are there and the server does not start.
    pub fn start(settings: &[(&str, &str)]) -> Option<Self> {
        let programs = ServerPrograms::find().map_err(|reason| skip::announce(&reason)).ok()?;
        let cluster = Cluster::create(&programs, Duration::ZERO).unwrap_or_else(|error| panic!("no cluster: {error}"));
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut server = Self { cluster, settings, child: None };
        server.restart();
        Some(server)
    }

    /// Starts a replica that follows this server by streaming replication. It answers reads and refuses changes. This server is
    /// restarted.
    ///
    /// # Panics
    /// If the replica does not start.
    #[must_use]
    pub fn start_replica(&mut self) -> Self {
        self.stop();
        let cluster = Cluster::replica_of(&self.cluster).unwrap_or_else(|error| panic!("no replica: {error}"));
        self.restart();
        let primary = format!("host={} user=postgres", self.cluster.folder().display());
        let settings = [self.settings.clone(), vec![("primary_conninfo".to_owned(), primary)]].concat();
        let mut replica = Self { cluster, settings, child: None };
        replica.restart();
        replica
    }

    /// Returns the URL of the database `postgres`, for the superuser `postgres`.
    pub fn url(&self) -> String {
        server_url::of_socket(self.cluster.folder(), "postgres")
    }

    /// Returns the process id of the server. `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Runs a statement in the database `postgres`, and returns its rows, one in a line.
    ///
    /// # Panics
    /// If the statement fails.
    #[track_caller]
    pub fn execute(&self, statement: &str) -> String {
        psql::execute_sql(&self.url(), &[statement]).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Ends the server and the processes of its connections with SIGKILL. Nothing if it is stopped.
    ///
    /// # Panics
    /// If a signal cannot be sent.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            self.cluster.kill(&mut child).unwrap_or_else(|error| panic!("cannot kill the server: {error}"));
        }
    }

    /// Ends the server as its administrator does: open transactions are undone, and clients get SQLSTATE 57P01. Nothing if
    /// it is stopped.
    ///
    /// # Panics
    /// If a signal cannot be sent.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            self.cluster.stop(&mut child, "INT").unwrap_or_else(|error| panic!("cannot stop the server: {error}"));
        }
    }

    /// Starts the server on the same data, and waits until it accepts connections. Stops it before if it runs.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.stop();
        let settings: Vec<_> = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.child =
            Some(self.cluster.start(&settings).unwrap_or_else(|error| panic!("the server does not start: {error}")));
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // What fails here is done by the watcher.
            let _ = self.cluster.stop(&mut child, "QUIT");
        }
        let _ = self.cluster.delete();
    }
}
