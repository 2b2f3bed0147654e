//! Checks the store on a real PostgreSQL server.
//!
//! Without a server the tests are skipped, and a line says why.

mod appends;
mod claims;
mod compare;
mod distributed;
mod dropped;
mod faults;
mod lists;
mod long_threads;
mod many_threads;
mod operations;
mod paused;
mod place;
mod pooler;
mod projections;
mod replica;
mod roles;
mod tail;

mod rules {
    selvedge_thread_store_conformance::conformance_tests!(crate::place::new_place);
}
