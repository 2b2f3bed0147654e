//! The index of a store's home, and when the index answers and when the logs do.
//!
//! ```text
//!   query ──▶ opened? ──▶ refresh: rescan for changes ──▶ query the database ──▶ same generation? ──▶ answer
//!               │ no            │ too much to read            │ error                │ no
//!               ▼               ▼                             ▼                      ▼
//!            the logs answer; a task updates the index in the background, or opens it again after a pause
//! ```
//!
//! The logs are the truth, and the index is disposable. So no failure of the index is an error for the caller; it only makes
//! the answer slower. There is one exception: the next page of a ranking exists only in the index that ranked the page before.
//!
//! Layers, each in its file: `location.rs` says where the index is, `handle.rs` opens and closes it and remembers failures,
//! `background.rs` updates it without a caller, `freshness.rs` decides whether it may answer, `directories.rs` resolves the
//! links of a query by directory, `answers.rs` has the queries, and `search.rs` the special case of rankings. `runtime.rs` has
//! the timers that the database needs.
//!
//! Without the feature `index`, `absent.rs` takes their place.

#[cfg(not(feature = "index"))]
mod absent;
#[cfg(feature = "index")]
mod answers;
#[cfg(feature = "index")]
mod background;
#[cfg(feature = "index")]
mod directories;
#[cfg(feature = "index")]
mod freshness;
#[cfg(feature = "index")]
mod handle;
#[cfg(feature = "index")]
mod limits;
mod location;
#[cfg(feature = "index")]
mod runtime;
#[cfg(feature = "index")]
mod search;

#[cfg(not(feature = "index"))]
pub(crate) use self::absent::NoIndex as HomeIndex;
#[cfg(feature = "index")]
pub(crate) use self::handle::HomeIndex;
pub use self::location::IndexLocation;
#[cfg(feature = "index")]
pub(crate) use self::runtime::with_timers;
