//! Full text: in which items each word is.
//!
//! The index of words only proposes items. Every proposed item is read from the log again, and
//! [`TextSearch`](selvedge_history::TextSearch) decides whether it is a hit and what is shown of it, as in a search that reads all
//! logs. A wrong proposal therefore costs time, and never results in a wrong hit. A missing proposal would lose a hit: where the index
//! cannot be sure, it proposes.
//!
//! ```text
//! writing:   items ──▶ collector ──▶ builder ──▶ run ──▶ store         merge: several small runs ──▶ one
//!
//! searching: terms ──▶ words ──▶ candidates ──▶ rank / walk ──▶ read ──▶ hits
//!            patterns  of words   items of runs   in their order   from the logs
//! ```
//!
//! Words are written in *runs* ([`run`]), one per batch of an update. A run never changes. A thread that is read again leaves its
//! items in older runs behind, marked as superseded. Small runs are [merged](merge) into larger ones from time to time, which
//! removes what is superseded.

mod block;
mod builder;
mod candidates;
pub(crate) mod checksum;
pub(crate) mod collector;
mod cursor;
pub(crate) mod directory;
mod docs;
pub(crate) mod merge;
mod postings;
mod proposal;
mod query;
mod rank;
mod read;
pub(crate) mod run;
pub(crate) mod store;
mod trigrams;
mod vocabulary;
mod walk;
mod window;
