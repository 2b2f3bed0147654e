//! Full text: which words stand in which items.
//!
//! The index of words only proposes. Every item that it names is read from the log again, and what is a hit, and what is shown of
//! it, is said by [`TextSearch`](selvedge_history::TextSearch), as in a search that reads the logs from end to end.
//!
//! Words are written in *runs* ([`run`]), one for each piece of work, that are not changed any more. A thread that is read
//! again leaves its items in older runs behind, marked as superseded. Small runs are [merged](merge) into larger ones from time to
//! time, and what was superseded is gone then.

mod candidates;
pub(crate) mod gather;
mod merge;
mod query;
mod read;
pub(crate) mod run;
pub(crate) mod store;
pub(crate) mod sum;
pub(crate) mod words;
