//! Threads in PostgreSQL, shared by many machines: the contract of [`ThreadReader`](selvedge_thread_store::ThreadReader)
//! and [`ThreadStore`](selvedge_thread_store::ThreadStore).
//!
//! `docs/scale.md` describes the tables, the SQL, and what each engine with the protocol of PostgreSQL has to support.

mod background;
mod behind;
mod boundaries;
mod change_feed;
mod changes;
mod commit;
mod commit_queue;
mod error;
mod feed;
mod history;
mod host;
mod line_blocks;
mod list_columns;
mod lists;
mod live;
mod live_threads;
mod lookup;
mod options;
mod projection;
mod reader;
mod rows;
mod schema;
mod search;
mod stats;
mod store;
mod stored_lines;
mod tables;
mod turn_table;
mod turns;
mod whole_reads;
mod writer;

pub use options::{PostgresOptions, PostgresUrlError};
pub use schema::{ReplicaState, SchemaState, ServerExtras, StoreStatus};
pub use store::PostgresThreadStore;
