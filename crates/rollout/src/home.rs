//! The home directory: its layout, the names and the set of its rollout files, and the scan that finds them.

mod cached_home;
mod file_name;
mod home_files;
mod layout;
mod left_out;
mod scan;

pub use cached_home::CachedHome;
pub use file_name::RolloutFileName;
pub use home_files::{HomeFiles, RolloutFile};
pub use layout::RolloutHome;
pub(crate) use layout::{NAME_INDEX, SESSION_LEVELS};
pub(crate) use left_out::is_date_directory;
pub use left_out::{LeftOut, LeftOutKind};
pub use scan::HomeDirectories;
