//! A complete thread store over one redb file, as an example: `docs/write-a-store.md` explains it step by step.
//!
//! The files are layers; each uses only those below it:
//!
//! ```text
//! reader       writer        the two traits: queries, and changes
//!        store               a handle: a snapshot of the file, or a transaction on it
//!        tables              what is stored, and how it is found
//!      shared_file           the database, and what all handles of a process share
//! ```
//!
//! Each change is one transaction of the database. So it takes effect as a whole or not at all, and is durable when its
//! call returns.
//!
//! The example is short because it stores segments as bytes and loads each as a whole. Its memory use is therefore that
//! of the longest history. It blocks the calling task while it waits for the disk.

mod reader;
mod shared_file;
mod store;
mod tables;
mod writer;

pub use store::RedbThreadStore;
