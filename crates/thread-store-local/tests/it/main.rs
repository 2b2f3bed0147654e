//! Tests of the local store: the contract that every store keeps, and what is true of files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod admin;
mod bounded;
mod compress;
mod concurrent;
mod conformance;
mod copies;
mod cuts;
mod damage;
mod detached;
mod durable;
mod faults;
mod files;
mod fuzz_smoke;
mod home;
mod hostile;
mod index;
mod line_files;
mod moving;
mod recordings;
mod repairs;
mod safety;
mod stats;
