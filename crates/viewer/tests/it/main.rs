//! The viewer over real homes: its answers, and its pages in a real browser.

#![expect(clippy::unwrap_used, reason = "a failure ends the test")]

mod answers;
mod api;
mod attacks;
mod beside;
mod browser;
mod browser_tests;
mod huge_turn;
mod named;
mod recordings;
mod style;
mod support;
mod unusual;
