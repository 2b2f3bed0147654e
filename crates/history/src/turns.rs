//! The turns of a thread, as a client shows them.
//!
//! - `projection`: folds lines into turns. It decides what each line means for the turns.
//! - `sequence`: the turns so far. It opens, closes, finds and cuts them; its state machine is drawn there.
//! - `closed`: the closed turns, with an index by id.
//! - `draft`: one turn while it is built.
//! - `pairing`: pairs what the model said and did with the events that show the same.
//! - `event_kinds`: which kinds of events and items matter for turns.
//! - `view`: removes items from a complete turn, as a query asks for.

mod closed;
mod draft;
mod event_kinds;
mod pairing;
mod projection;
mod sequence;
#[cfg(test)]
mod tests;
mod view;

pub use projection::{KeptItems, TurnProjection};
pub use view::apply_view;
