//! The meaning of threads, by the public door: hand-made stories, and recordings of the programs that made the format.

mod facts;
mod policy;
mod recordings;
mod replay;
mod rollback;
mod story;
mod trackers;
mod turns;
