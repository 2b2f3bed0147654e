//! Tests of the local store: the contract of every store, and the properties of the files of this store.

#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

mod admin;
mod boundaries;
mod compress;
mod concurrent;
mod conformance;
mod context_from_end;
mod copies;
mod damage;
mod detached;
#[cfg(target_os = "linux")]
mod devices;
mod directories;
mod durable;
mod erased;
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
mod search;
mod stats;
