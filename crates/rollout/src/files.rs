//! Operations on files, built from the single effects of [`FileSystem`](crate::FileSystem). Each one takes effect as a whole or
//! not at all.

pub(crate) mod compare;
mod compress;
pub(crate) mod decoder;
mod decompress;
mod directories;
mod durability;
mod import;
pub(crate) mod line_end;
mod moves;
mod owner;
pub(crate) mod placement;
pub(crate) mod side_files;
mod sweep;
