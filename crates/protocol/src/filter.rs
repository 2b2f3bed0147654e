//! Which threads answer a query: the one place that says so in code. An index says the same in its own language.

use std::collections::{HashMap, HashSet};

use crate::{ArchivedFilter, CwdFilter, Relation, RepositoryFilter, StoredThread, ThreadId, ThreadQuery};

/// Where a thread comes from.
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
    /// Where this thread comes from.
    #[must_use]
    pub fn of(thread: &StoredThread) -> Self {
        Self { id: thread.id, forked_from_id: thread.forked_from_id, parent_thread_id: thread.parent_thread_id }
    }
}

/// Every thread that comes from `ancestor`, through any number of forks and sub-agents. The ancestor is none of them, even
/// where links go in a circle.
#[must_use]
pub fn descendants(ancestor: ThreadId, links: impl IntoIterator<Item = ThreadLink>) -> HashSet<ThreadId> {
    let mut children: HashMap<ThreadId, Vec<ThreadId>> = HashMap::new();
    for link in links {
        for source in [link.forked_from_id, link.parent_thread_id].into_iter().flatten() {
            children.entry(source).or_default().push(link.id);
        }
    }
    let mut found = HashSet::new();
    let mut waiting = vec![ancestor];
    while let Some(id) = waiting.pop() {
        let children = children.remove(&id).unwrap_or_default();
        waiting.extend(children.into_iter().filter(|child| *child != ancestor && found.insert(*child)));
    }
    found
}

/// A query made ready to be asked of many rows.
#[derive(Debug)]
pub struct ThreadFilter<'a> {
    query: &'a ThreadQuery,
    repository: Option<RepositoryFilter>,
    /// In lower case.
    search_term: Option<String>,
    /// For a relation that a row alone does not tell.
    kin: Option<HashSet<ThreadId>>,
}

impl<'a> ThreadFilter<'a> {
    /// The filter of `query`. `links` gives those of all threads of the store, archived ones too, and is asked only if
    /// [`ThreadQuery::needs_links`].
    #[must_use]
    pub fn new<L: IntoIterator<Item = ThreadLink>>(query: &'a ThreadQuery, links: impl FnOnce() -> L) -> Self {
        let kin = match query.relation {
            Some(Relation::DescendantOf(id)) => Some(descendants(id, links())),
            Some(Relation::ChildOf(_)) | None => None,
        };
        Self {
            query,
            repository: query.git_repository.as_deref().map(RepositoryFilter::new),
            search_term: query.search_term.as_deref().map(str::to_lowercase),
            kin,
        }
    }

    /// Whether a thread answers the query, page aside.
    #[must_use]
    pub fn matches(&self, thread: &StoredThread) -> bool {
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
            && query.cwd.as_ref().is_none_or(|filter| matches_cwd(filter, thread.cwd.as_deref()))
            && self.matches_git(thread)
            && query.named.is_none_or(|named| thread.name.is_some() == named)
            && query.since.is_none_or(|since| at >= since)
            && query.until.is_none_or(|until| at < until)
            && self.is_kin(thread)
            && self.search_term.as_ref().is_none_or(|term| {
                [&thread.name, &thread.preview].into_iter().flatten().any(|text| text.to_lowercase().contains(term))
            })
    }

    fn matches_git(&self, thread: &StoredThread) -> bool {
        let git = thread.git.as_ref();
        let branch = git.and_then(|git| git.branch.as_ref());
        let url = git.and_then(|git| git.repository_url.as_deref());
        self.query.git_branch.as_ref().is_none_or(|wanted| branch == Some(wanted))
            && self.repository.as_ref().is_none_or(|wanted| url.is_some_and(|url| wanted.matches(url)))
    }

    fn is_kin(&self, thread: &StoredThread) -> bool {
        match self.query.relation {
            None => true,
            Some(Relation::ChildOf(id)) => thread.forked_from_id == Some(id) || thread.parent_thread_id == Some(id),
            Some(Relation::DescendantOf(_)) => self.kin.as_ref().is_some_and(|kin| kin.contains(&thread.id)),
        }
    }
}

fn one_of(wanted: &[String], found: Option<&str>) -> bool {
    wanted.is_empty() || found.is_some_and(|found| wanted.iter().any(|wanted| wanted == found))
}

fn matches_cwd(filter: &CwdFilter, cwd: Option<&str>) -> bool {
    let Some(cwd) = cwd else { return false };
    match filter {
        CwdFilter::Exactly(wanted) => trim_slash(cwd) == trim_slash(wanted),
        CwdFilter::Under(wanted) => trim_slash(cwd)
            .strip_prefix(trim_slash(wanted))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

fn trim_slash(path: &str) -> &str {
    path.trim_end_matches('/')
}
