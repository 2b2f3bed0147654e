//! A real PostgreSQL server for tests, and a proxy that loses what it carries.
//!
//! The [glossary](../../../docs/glossary.md) defines the terms.
//!
//! - [`TestDatabase::fresh`] and [`TestSchema::fresh`] lie on one server that all test processes of a user share. The first
//!   process starts it. A watcher ends it and deletes its files when no process has used it for some seconds, however
//!   those processes ended.
//! - [`PostgresServer::start`] starts a server for one test, with settings of its own. The test may [kill](PostgresServer::kill)
//!   it and [start it again](PostgresServer::restart).
//! - [`FaultyProxy`] stands between a client and a server. It cuts connections, and delays, truncates and loses replies.
//!
//! ```text
//! test ──────────────────────────── unix socket ── PostgreSQL (fsync on, in a temporary folder)
//!   └── 127.0.0.1 ── FaultyProxy ── unix socket ──┘
//! ```
//!
//! # Where the server comes from
//!
//! 1. `SELVEDGE_TEST_POSTGRES_URL` names an existing server whose user may create databases. `psql` has to be installed.
//! 2. Else the programs `initdb` and `postgres` are searched for in `PATH` and in the folders of the distributions.
//! 3. Else root installs the package `postgresql` of Debian.
//!
//! Without any of them a constructor returns `None`, and prints in one line that the test is skipped and why. A server
//! that is found and does not start is an error. PostgreSQL refuses to run as root, so the server of root runs as the user
//! `postgres`, else as `nobody`.
//!
//! ```
//! use selvedge_postgres_server::TestDatabase;
//!
//! let Some(database) = TestDatabase::fresh() else { return };
//! assert_eq!(database.execute("SHOW fsync"), "on");
//! println!("connect to {}", database.url());
//! ```
//!
//! Each function here blocks its thread, some for seconds. For a test that is acceptable.
#![cfg(unix)]

mod account;
mod cluster;
mod fresh;
mod programs;
mod proxy;
mod psql;
mod rendezvous;
mod server;
mod server_url;
mod shared;
mod skip;
mod wire;

pub use fresh::{TestDatabase, TestSchema};
pub use proxy::{FaultyProxy, ProxyCounts, ProxyFault};
pub use psql::execute_sql;
pub use server::PostgresServer;
pub use skip::skip_reason;
