//! Where an index is.

#[cfg(feature = "index")]
use std::path::PathBuf;

/// Where a store keeps its index, if it keeps one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexLocation {
    /// In the home, as `selvedge-index.sqlite`. The default.
    #[cfg(feature = "index")]
    #[default]
    InHome,
    /// In this file: for a home that cannot be written to.
    #[cfg(feature = "index")]
    At(PathBuf),
    /// No index: every answer comes from the logs. Without the feature `index`, this is the default and the only variant.
    #[cfg_attr(not(feature = "index"), default)]
    Disabled,
}
