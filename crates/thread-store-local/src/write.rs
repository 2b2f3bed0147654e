//! Changing the threads of a home: one file per kind of change.
//!
//! Each change takes effect in one step, which replaces the old state by the new one: a rename, a new name for a finished
//! file, or one `write`. Before that step, the files that the new state refers to are durable. After it, only leftovers are
//! removed. So a crash leaves the old state or the new one, and repeating the call completes the change. The exception is a
//! deletion: each removed file leaves an older state of the thread. Each file describes its step, and what a crash between
//! two steps leaves.
//!
//! - [`claim`]: locks and recorders, which the others begin with.
//! - [`append`], [`metadata`]: lines at the end of a log.
//! - [`fork`], [`revert`]: segments that refer to others, with [`new_segment`].
//! - [`archive`], [`compress`], [`delete`], [`detach`], [`import`], [`import_file`]: whole files.
//!
//! All effects on files go through the home's `FileSystem`.

pub(crate) mod append;
pub(crate) mod archive;
pub(crate) mod claim;
pub(crate) mod compress;
pub(crate) mod delete;
pub(crate) mod detach;
pub(crate) mod fork;
pub(crate) mod import;
pub(crate) mod import_file;
pub(crate) mod metadata;
pub(crate) mod new_segment;
pub(crate) mod revert;
