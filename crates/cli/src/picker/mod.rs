//! The picker: lets the user choose a thread on the terminal.
//!
//! `state` holds the list and the selection, `frame` renders them as lines, `screen` draws the lines, `preview` reads
//! what the threads contain, `keys` and `signals` deliver input, and `event_loop` connects all of them. The picker
//! opens the terminal by its name, so that standard output is free for the answer.

mod event_loop;
mod frame;
mod keys;
mod preview;
pub(crate) mod screen;
mod signals;
mod state;

pub(crate) use self::event_loop::{PickerInput, pick};
