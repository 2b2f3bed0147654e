//! State of the git repository in which a thread works.

use crate::RepositoryUrl;
use crate::open_object::open_object;

open_object! {
    /// State of the git repository in which a thread works, at the time when the thread recorded it.
    pub struct GitInfo {
        /// The hash of the commit that is checked out.
        commit_hash: String,
        /// The branch that is checked out.
        branch: String,
        /// The URL from which the repository was cloned, without credentials.
        /// [`repository_name`](crate::repository_name) normalizes it.
        repository_url: RepositoryUrl,
    }
}

impl GitInfo {
    /// Returns whether nothing is known of the repository.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commit_hash.is_none() && self.branch.is_none() && self.repository_url.is_none() && self.extra.is_empty()
    }
}
