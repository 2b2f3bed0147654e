//! The options that select threads, for every verb that works on many, and the query that they make up.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use selvedge_protocol::{
    ArchivedFilter, Cursor, CwdFilter, Relation, SortDirection, ThreadQuery, ThreadSortKey, Timestamp,
};

use crate::app::App;
use crate::directory::named_by_filter;
use crate::failure::Result;
use crate::resolve;
use crate::value_parsers::parse_time;

/// Which threads to work on, and in which order.
#[derive(Debug, Args)]
pub(crate) struct ThreadFilters {
    /// Active and archived threads
    #[arg(long, conflicts_with = "archived")]
    all: bool,
    /// Archived threads only
    #[arg(long)]
    archived: bool,
    /// Maximum number of threads [default: 50; no limit with --json]
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// Where to continue: the cursor that the previous page printed
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Sort key [default: updated]
    #[arg(long, value_name = "KEY")]
    sort: Option<SortArg>,
    /// Oldest first
    #[arg(long)]
    ascending: bool,
    /// Threads that work in this directory, in any spelling, also through symbolic links; can be repeated
    #[arg(long, value_name = "DIR", conflicts_with = "under")]
    cwd: Vec<PathBuf>,
    /// Threads that work in this directory or below it; can be repeated
    #[arg(long, value_name = "DIR")]
    under: Vec<PathBuf>,
    /// Threads from this source (cli, exec, vscode, subagent, …); can be repeated
    #[arg(long, value_name = "SOURCE")]
    source: Vec<String>,
    /// Threads with this model; can be repeated
    #[arg(long, value_name = "MODEL")]
    model: Vec<String>,
    /// Threads with this model provider; can be repeated
    #[arg(long, value_name = "PROVIDER")]
    provider: Vec<String>,
    /// Threads on this git branch
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,
    /// Threads in this git repository: its URL in any spelling, or the end of it, such as owner/name or name
    #[arg(long, value_name = "REPOSITORY", value_parser = parse_repository)]
    repository: Option<String>,
    /// Threads that have a name
    #[arg(long, conflicts_with = "unnamed")]
    named: bool,
    /// Threads that have no name
    #[arg(long)]
    unnamed: bool,
    /// At this time or later, by the sort key: a day (2026-11-21) or a time (2026-11-21T09:00), both local, a time with Z or an
    /// offset (2026-11-21T09:00:00Z), or an age such as 90m, 12h, 3d, 2w
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Timestamp>,
    /// Before this time, by the sort key. A day means its beginning, so the threads of that day are left out
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Timestamp>,
    /// Threads that were forked from this one, or started by it
    #[arg(long, value_name = "ID")]
    child_of: Option<String>,
    /// Threads that descend from this one, through any number of forks and sub-agents
    #[arg(long, value_name = "ID", conflicts_with = "child_of")]
    descendant_of: Option<String>,
}

impl ThreadFilters {
    /// Returns `--limit`, or `default` if it is not given.
    pub(crate) fn limit_or(&self, default: usize) -> usize {
        self.limit.map_or(default, Into::into)
    }

    /// Returns whether an option asks for a particular order.
    pub(crate) fn has_order(&self) -> bool {
        self.sort.is_some() || self.ascending
    }

    /// Builds the query that these options ask for.
    pub(crate) async fn to_query(&self, app: &App<'_>) -> Result<ThreadQuery> {
        // Clap lets only one option of each pair through.
        let relation = match (&self.child_of, &self.descendant_of) {
            (Some(text), _) => Some(Relation::ChildOf(resolve::thread(&*app.store, text).await?)),
            (None, Some(text)) => Some(Relation::DescendantOf(resolve::thread(&*app.store, text).await?)),
            (None, None) => None,
        };
        let mut cwd = Vec::new();
        for path in &self.cwd {
            cwd.extend(named_by_filter(path, &*app.store).await?.into_iter().map(CwdFilter::Exactly));
        }
        for path in &self.under {
            cwd.extend(named_by_filter(path, &*app.store).await?.into_iter().map(CwdFilter::Under));
        }
        // A script that names no limit wants everything. A person would scroll past most of it.
        let default_limit = if app.json { usize::MAX } else { ThreadQuery::default().limit };
        Ok(ThreadQuery {
            sort: self.sort.map(SortArg::key).unwrap_or_default(),
            direction: if self.ascending { SortDirection::Ascending } else { SortDirection::Descending },
            limit: self.limit_or(default_limit),
            cursor: self.cursor.clone().map(Cursor::from),
            archived: archived_filter(self.all, self.archived),
            sources: self.source.clone(),
            model_providers: self.provider.clone(),
            models: self.model.clone(),
            cwd,
            git_branch: self.branch.clone(),
            git_repository: self.repository.clone(),
            named: if self.named || self.unnamed { Some(self.named) } else { None },
            since: self.since,
            until: self.until,
            relation,
            search_term: None,
        })
    }
}

/// A sort key on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortArg {
    /// When the log last grew
    Updated,
    /// When the thread was created
    Created,
    /// When the newest turn began
    Recency,
}

impl SortArg {
    fn key(self) -> ThreadSortKey {
        match self {
            Self::Updated => ThreadSortKey::UpdatedAt,
            Self::Created => ThreadSortKey::CreatedAt,
            Self::Recency => ThreadSortKey::RecencyAt,
        }
    }
}

/// Returns the part of the home that `--all` and `--archived` select.
pub(crate) fn archived_filter(all: bool, archived: bool) -> ArchivedFilter {
    match (all, archived) {
        (true, _) => ArchivedFilter::All,
        (false, true) => ArchivedFilter::Archived,
        (false, false) => ArchivedFilter::Active,
    }
}

fn parse_repository(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("the repository is empty".to_owned()) } else { Ok(text.to_owned()) }
}
