//! Decides which threads match a query.
//!
//! This is the definition for all stores. An index expresses the same conditions in its own query language
//! and must return the same threads.

use std::collections::{HashMap, HashSet};

use super::directory::DirectoryFilter;
use super::repository::RepositoryFilter;
use super::thread_query::{ArchivedFilter, Relation, ThreadQuery};
use crate::{StoredThread, ThreadId};

/// The threads from which a thread comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadLink {
    /// The thread.
    pub id: ThreadId,
    /// The thread that it was forked from.
    pub forked_from_id: Option<ThreadId>,
    /// The thread that started it as a sub-agent.
    pub parent_thread_id: Option<ThreadId>,
}

impl ThreadLink {
    /// Returns the link of a thread record.
    #[must_use]
    pub fn of(thread: &StoredThread) -> Self {
        Self { id: thread.id, forked_from_id: thread.forked_from_id, parent_thread_id: thread.parent_thread_id }
    }
}

/// Returns every thread that comes from `ancestor`, through any number of forks and sub-agents. The ancestor itself is
/// not among them, even if the links form a circle.
#[must_use]
pub fn descendants(ancestor: ThreadId, links: impl IntoIterator<Item = ThreadLink>) -> HashSet<ThreadId> {
    let mut children: HashMap<ThreadId, Vec<ThreadId>> = HashMap::new();
    for link in links {
        for source in [link.forked_from_id, link.parent_thread_id].into_iter().flatten() {
            children.entry(source).or_default().push(link.id);
        }
    }
    // `waiting` holds threads whose children are still to be found. Links can form a circle, because heads can be
    // damaged or written by hand. The search still ends: `found` admits each thread once.
    let mut found = HashSet::new();
    let mut waiting = vec![ancestor];
    while let Some(id) = waiting.pop() {
        let children = children.remove(&id).unwrap_or_default();
        waiting.extend(children.into_iter().filter(|child| *child != ancestor && found.insert(*child)));
    }
    found
}

/// A query that is prepared to be matched against many thread records.
///
/// Everything that does not depend on the thread is computed once: the lower-case search term, the normalized
/// repository, the directories, and the set of descendants.
#[derive(Debug)]
pub struct ThreadFilter<'a> {
    query: &'a ThreadQuery,
    repository: Option<RepositoryFilter>,
    /// `None` if any directory is allowed.
    directories: Option<DirectoryFilter>,
    /// The search term in lower case.
    search_term: Option<String>,
    /// The threads of [`Relation::DescendantOf`], which a thread record alone does not determine.
    descendants: Option<HashSet<ThreadId>>,
}

impl<'a> ThreadFilter<'a> {
    /// Creates the filter of `query`.
    ///
    /// `links` returns the links of all threads of the store, archived ones too. It is called only if
    /// [`ThreadQuery::needs_links`], because a store has to read every record for it.
    #[must_use]
    pub fn new<L: IntoIterator<Item = ThreadLink>>(query: &'a ThreadQuery, links: impl FnOnce() -> L) -> Self {
        // The set is computed once for all threads: following the links from each thread would take a search for each.
        let descendants = match query.relation {
            Some(Relation::DescendantOf(id)) => Some(descendants(id, links())),
            Some(Relation::ChildOf(_)) | None => None,
        };
        Self {
            query,
            repository: query.git_repository.as_deref().map(RepositoryFilter::new),
            directories: Some(&query.cwd).filter(|cwd| !cwd.is_empty()).map(|cwd| DirectoryFilter::new(cwd)),
            search_term: query.search_term.as_deref().map(str::to_lowercase),
            descendants,
        }
    }

    /// Returns whether a thread meets all conditions of the query. Its cursor and limit are not considered.
    #[must_use]
    pub fn matches(&self, thread: &StoredThread) -> bool {
        // `since` and `until` refer to the time by which the listing is sorted, so that a range of a listing is
        // contiguous.
        let query = self.query;
        let at = query.sort.of(thread);
        let archived = match query.archived {
            ArchivedFilter::Active => !thread.archived,
            ArchivedFilter::Archived => thread.archived,
            ArchivedFilter::All => true,
        };
        archived
            && one_of(&query.sources, thread.source_name())
            && one_of(&query.model_providers, thread.model_provider.as_deref())
            && one_of(&query.models, thread.model.as_deref())
            && self.directories.as_ref().is_none_or(|wanted| thread.cwd.as_ref().is_some_and(|cwd| wanted.matches(cwd)))
            && self.matches_git(thread)
            && query.named.is_none_or(|named| thread.name.is_some() == named)
            && query.since.is_none_or(|since| at >= since)
            && query.until.is_none_or(|until| at < until)
            && self.matches_relation(thread)
            && self.search_term.as_ref().is_none_or(|term| {
                [&thread.name, &thread.preview].into_iter().flatten().any(|text| text.to_lowercase().contains(term))
            })
    }

    /// Returns whether branch and repository match. A thread of which they are unknown does not match a condition.
    fn matches_git(&self, thread: &StoredThread) -> bool {
        let git = thread.git.as_ref();
        let branch = git.and_then(|git| git.branch.as_ref());
        let url = git.and_then(|git| git.repository_url.as_ref());
        self.query.git_branch.as_ref().is_none_or(|wanted| branch == Some(wanted))
            && self.repository.as_ref().is_none_or(|wanted| url.is_some_and(|url| wanted.matches(url.as_str())))
    }

    fn matches_relation(&self, thread: &StoredThread) -> bool {
        match self.query.relation {
            None => true,
            Some(Relation::ChildOf(id)) => thread.forked_from_id == Some(id) || thread.parent_thread_id == Some(id),
            Some(Relation::DescendantOf(_)) => self.descendants.as_ref().is_some_and(|ids| ids.contains(&thread.id)),
        }
    }
}

/// Returns whether `found` is one of the wanted texts. Every thread matches an empty list, also one of which nothing is
/// known.
fn one_of(wanted: &[String], found: Option<&str>) -> bool {
    wanted.is_empty() || found.is_some_and(|found| wanted.iter().any(|wanted| wanted == found))
}
