//! Which threads a list shows, as the query of a URL.

use std::time::Duration;

use axum::http::StatusCode;
use selvedge_protocol::{ArchivedFilter, CwdFilter, DirectoryPath, ThreadQuery, Timestamp};
use serde::Deserialize;

use crate::error::PageError;
use crate::url::encoded;

/// Which threads a list shows. Empty texts count as missing, because a form sends those of empty fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ListFilters {
    /// What is searched for.
    pub(crate) q: String,
    /// A directory, with those below it, or else a repository.
    pub(crate) project: String,
    pub(crate) model: String,
    pub(crate) branch: String,
    /// The first and the last day of their updates, as `2026-11-21`, in UTC.
    pub(crate) since: String,
    pub(crate) until: String,
    /// `all` or `archived`. Else only active threads.
    pub(crate) archived: String,
}

impl ListFilters {
    /// Returns the filters with the names that they have in the URL.
    pub(crate) fn fields(&self) -> [(&'static str, &str); 7] {
        [
            ("q", &self.q),
            ("project", &self.project),
            ("model", &self.model),
            ("branch", &self.branch),
            ("since", &self.since),
            ("until", &self.until),
            ("archived", &self.archived),
        ]
    }

    /// Returns whether anything but a text is asked for.
    pub(crate) fn are_set(&self) -> bool {
        self.fields().iter().any(|(name, value)| *name != "q" && !value.is_empty())
    }

    /// Returns the query of a URL, without its question mark.
    pub(crate) fn query(&self) -> String {
        let set = self.fields().into_iter().filter(|(_, value)| !value.is_empty());
        set.map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
    }

    /// Returns the threads that are asked for.
    ///
    /// # Errors
    /// If a day is not a day.
    pub(crate) fn threads(&self) -> Result<ThreadQuery, PageError> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (directory, repository) = match some(&self.project) {
            Some(project) if is_directory(&project) => (Some(CwdFilter::Under(project)), None),
            other => (None, other),
        };
        Ok(ThreadQuery {
            archived: match self.archived.as_str() {
                "all" => ArchivedFilter::All,
                "archived" => ArchivedFilter::Archived,
                _ => ArchivedFilter::Active,
            },
            cwd: directory.into_iter().collect(),
            git_repository: repository,
            models: some(&self.model).into_iter().collect(),
            git_branch: some(&self.branch),
            since: day(&self.since)?,
            until: day(&self.until)?.map(|day| day.saturating_add(Duration::from_secs(86_400))),
            ..ThreadQuery::default()
        })
    }
}

/// Returns whether a text is an absolute path: of Unix, of a drive of Windows, or of a network share.
fn is_directory(text: &str) -> bool {
    let is_drive = text.as_bytes().get(1) == Some(&b':');
    (text.starts_with(['/', '\\']) || is_drive) && DirectoryPath::new(text).is_some()
}

fn day(text: &str) -> Result<Option<Timestamp>, PageError> {
    if text.is_empty() {
        return Ok(None);
    }
    let at = format!("{text}T00:00:00.000Z")
        .parse()
        .map_err(|_| PageError::new(StatusCode::BAD_REQUEST, format!("`{text}` is not a day such as 2026-11-21")))?;
    Ok(Some(at))
}
