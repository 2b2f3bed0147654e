//! The history of a thread, through all segments that it is built on.

mod activity;
mod backward_reader;
mod diverged;
mod head;
mod part;
mod reader;
mod resolve;

pub use backward_reader::{BackwardEntry, BackwardReader};
pub use diverged::DivergedSegment;
pub use head::read_head;
pub use part::HistoryPart;
pub use reader::{HistoryEntry, HistoryReader};
pub use resolve::{MissingBase, ResolvedHistory};
