//! Where the turns of a thread are in its segments.
//!
//! A store that keeps a row for each turn reads a page of turns from the lines of this page alone. [`TurnIndexer`] makes the rows
//! from the lines of the thread, and [`TurnReading`] makes a turn from the lines that its row names. If lines were appended since,
//! the turns from the [`TurnResumePoint`] on are projected again:
//!
//! ```text
//! ├──────── turns of rows ────────┬── last turn ──┬── appended lines ──▶
//!                                 resume point
//!                                 └── projected again ───────────────▶
//! ```
//!
//! An indexer can also [pause](TurnIndexer::pause) and go on with appended lines, so that an open turn is not projected again.

mod indexer;
mod reading;
mod rows;

pub use indexer::{KeptSizes, TurnIndexer, TurnRows, TurnSink};
pub use reading::TurnReading;
pub use rows::{BytePosition, ItemBytes, ItemNumber, ItemRow, TurnResumePoint, TurnRow};
