//! Queries by directory, whose links are resolved before the index answers.

use std::borrow::Cow;

use selvedge_protocol::ThreadQuery;
use selvedge_state::{IndexError, StateIndex};

use crate::read::directories::with_links_resolved;

/// Returns a query that names, of the directories in the index, all that the query wants.
///
/// # Errors
/// Those of the index.
pub(super) async fn resolve_links<'a>(
    index: &StateIndex,
    query: &'a ThreadQuery,
) -> Result<Cow<'a, ThreadQuery>, IndexError> {
    if query.cwd.is_empty() {
        return Ok(Cow::Borrowed(query));
    }
    let recorded = index.directories().await?;
    let wanted = query.clone();
    let resolved = tokio::task::spawn_blocking(move || with_links_resolved(&wanted, recorded).into_owned()).await;
    // The task fails only if the runtime is shut down. Then the caller is dropped as well.
    Ok(resolved.map_or(Cow::Borrowed(query), Cow::Owned))
}
