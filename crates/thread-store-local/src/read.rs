//! Reading threads from the logs of a home: the answers that need no index.
//!
//! Everything here takes no lock, changes nothing and never fails for the content of a file. Files may move while they are
//! read; see [`StoreCore::resolve`](crate::store_core::StoreCore::resolve).
//!
//! - One thread: [`record`], [`history`], [`context`], [`boundary`], [`lines`], [`export`], [`segments`], [`diverged`].
//! - All threads: [`find`], [`list`], [`search`], [`stats`], [`changes`].
//! - Below these: [`raw_entries`], [`backward_entries`], [`inherited_prefix`], [`damage`], [`directories`].

pub(crate) mod backward_entries;
pub(crate) mod boundary;
pub(crate) mod changes;
pub(crate) mod context;
pub(crate) mod damage;
pub(crate) mod directories;
pub(crate) mod diverged;
pub(crate) mod export;
pub(crate) mod find;
pub(crate) mod history;
pub(crate) mod inherited_prefix;
pub(crate) mod lines;
pub(crate) mod list;
pub(crate) mod raw_entries;
pub(crate) mod record;
pub(crate) mod search;
pub(crate) mod segments;
pub(crate) mod stats;
