//! What happens where no server can be had: the test is skipped, and says so.

use std::sync::OnceLock;

use crate::programs::{self, ServerPrograms};

/// The variable that names an existing server.
const URL_VARIABLE: &str = "SELVEDGE_TEST_POSTGRES_URL";

/// Returns why tests on PostgreSQL are skipped here. `None` if they can run.
pub fn skip_reason() -> Option<String> {
    let outcome = match existing_server() {
        Some(_) if programs::psql().is_none() => {
            Err(format!("{URL_VARIABLE} is set, and there is no `psql` on the PATH"))
        }
        Some(_) => Ok(()),
        None => ServerPrograms::find().map(drop),
    };
    outcome.err()
}

/// Returns the URL of the existing server that the tests shall use. An empty variable counts as unset.
pub(crate) fn existing_server() -> Option<String> {
    std::env::var(URL_VARIABLE).ok().filter(|url| !url.is_empty())
}

/// Prints once in this process that its tests are skipped.
#[expect(clippy::print_stderr, reason = "a test that is skipped silently would count as passed")]
pub(crate) fn announce(reason: &str) {
    static ANNOUNCED: OnceLock<()> = OnceLock::new();
    ANNOUNCED.get_or_init(|| eprintln!("SKIPPED: tests on PostgreSQL did not run: {reason}"));
}
