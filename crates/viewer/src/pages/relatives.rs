//! The tree of a thread: what it was forked from, what started it, its forks and its sub-agents.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use selvedge_protocol::{ArchivedFilter, Relation, StoredThread, ThreadId, ThreadQuery};
use selvedge_thread_store::StoreError;
use selvedge_transcript::html::{time, title};

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::hits::relation;
use crate::layout::{page as layout, thread_bar};
use crate::page_thread::PageThread;

/// The most threads of a tree.
const LIMIT: usize = 500;

/// How far up the tree is followed.
const MAX_ANCESTORS: usize = 100;

pub(crate) async fn page(
    State(app): State<Arc<ViewerApp>>,
    PageThread(id): PageThread,
) -> Result<Html<String>, PageError> {
    let thread = app.store().read_thread(id).await?;
    let root = root(&app, thread.clone()).await?;
    let query = ThreadQuery {
        relation: Some(Relation::DescendantOf(root.id)),
        archived: ArchivedFilter::All,
        limit: LIMIT,
        ..ThreadQuery::default()
    };
    let page = app.store().list_threads(&query).await?;
    let is_alone = page.items.is_empty();
    let mut tree = Tree { children: HashMap::new(), shown: HashSet::new(), current: id };
    for each in page.items {
        if let Some(source) = source(&each) {
            tree.children.entry(source).or_default().push(each);
        }
    }
    let body = html! {
        (thread_bar(id, "/relatives"))
        main #main.transcript {
            h1 { "Forks and sub-agents: " (title(&thread)) }
            @if is_alone { p.empty { "This thread has no forks and no sub-agents, and comes from no other thread." } }
            ul.tree { (tree.branch(&root)) }
            @if page.next_cursor.is_some() { p.dim { "Only the " (LIMIT) " threads that were updated last are shown." } }
        }
    };
    Ok(layout(title(&thread), &body))
}

/// Returns the thread from which a thread comes. A fork of a sub-agent stands below what it was forked from.
fn source(thread: &StoredThread) -> Option<ThreadId> {
    thread.forked_from_id.or(thread.parent_thread_id)
}

/// Follows a thread to the one from which all its relatives come. A source that was deleted ends the way.
async fn root(app: &ViewerApp, mut thread: StoredThread) -> Result<StoredThread, StoreError> {
    let mut seen = HashSet::from([thread.id]);
    while let Some(source) = source(&thread).filter(|source| seen.insert(*source) && seen.len() <= MAX_ANCESTORS) {
        match app.store().read_thread(source).await {
            Ok(found) => thread = found,
            Err(StoreError::NotFound { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(thread)
}

struct Tree {
    children: HashMap<ThreadId, Vec<StoredThread>>,
    /// Threads that stand in the tree already: links can form a circle.
    shown: HashSet<ThreadId>,
    current: ThreadId,
}

impl Tree {
    fn branch(&mut self, thread: &StoredThread) -> Markup {
        self.shown.insert(thread.id);
        let children = self.children.remove(&thread.id).unwrap_or_default();
        let mut below = Vec::new();
        for child in &children {
            if !self.shown.contains(&child.id) {
                below.push(self.branch(child));
            }
        }
        html! {
            li {
                a href={ "/threads/" (thread.id) } aria-current=[(thread.id == self.current).then_some("true")] { (title(thread)) }
                " " span.dim {
                    @if let Some(relation) = relation(thread) { (relation) ", " }
                    (time(thread.updated_at))
                    @if thread.archived { ", archived" }
                    @if thread.id != self.current { " · " a href={ "/compare?a=" (self.current) "&b=" (thread.id) } { "compare" } }
                }
                @if !below.is_empty() { ul { @for each in &below { (each) } } }
            }
        }
    }
}
