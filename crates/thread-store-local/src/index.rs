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
//! Layers, each in its file: [`handle`] opens and closes the index and remembers failures, [`background`] updates it
//! without a caller, [`freshness`] decides whether it may answer, [`directories`] resolves the links of a
//! query by directory, and [`search`] has the special case of rankings.
//! [`runtime`] has the timers that the database needs.

mod background;
mod directories;
mod freshness;
mod handle;
mod runtime;
mod search;

pub(crate) use self::directories::resolve_links;
pub(crate) use self::freshness::FreshIndex;
pub(crate) use self::handle::HomeIndex;
pub use self::handle::IndexLocation;
pub(crate) use self::runtime::with_timers;
