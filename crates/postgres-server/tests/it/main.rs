//! Tests of the test server and of the proxy.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod availability;
mod fresh;
mod proxy;
mod server;
