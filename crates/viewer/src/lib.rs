//! A local web application over any store of threads: find, read and follow them.
//!
//! The [glossary](../../../docs/glossary.md) defines the terms.
//!
//! [`Viewer::start`] opens a port and returns the URL to open. Pages are rendered here, with a little JavaScript that comes from the
//! program itself; nothing is loaded from a network. The same data is JSON under `/api/v1`.
//!
//! # Safety
//!
//! The pages show what agents have read and written, and a browser that shows them also visits other sites. So:
//!
//! - the server listens on the loopback interface, unless it is told otherwise;
//! - each start makes a token. It is in the URL that is printed, becomes a cookie at the first visit, and every request needs it;
//! - requests with a foreign `Host` (DNS rebinding) or `Origin` are refused;
//! - no text of a thread becomes markup or script, and the content security policy allows scripts, styles and connections of this
//!   server only;
//! - nothing is changed, unless [`ViewerOptions::write`] allows it.
//!
//! A request reads a page of a thread and never the whole of it, so memory does not grow with the size of a thread.

mod actions;
mod api;
mod app;
mod assets;
mod bounded_context;
mod chart;
mod error;
mod filters;
mod guard;
mod hits;
mod layout;
mod line_scan;
mod live;
mod page_thread;
mod pages;
mod readable;
mod routes;
mod server;
mod turn_damage;
mod turn_view;
mod turns;
mod url;

pub use server::{Viewer, ViewerOptions};
