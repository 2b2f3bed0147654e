//! Listings: pages that neither skip nor repeat, filters, errors.

use std::collections::HashSet;
use std::sync::Arc;

use selvedge_protocol::{
    ArchivedFilter, Cursor, CwdFilter, GitInfo, HistoryMode, Relation, SessionMeta, SortDirection, StoredThread,
    ThreadId, ThreadMetadataPatch, ThreadQuery, ThreadSortKey,
};
use selvedge_thread_store::{ForkThread, MetadataOrigin, ThreadStore, TurnBoundary};
use serde_json::json;

use crate::fixtures::{append_and_tell, head, id, is_invalid, record, second, turn};

const MODE: HistoryMode = HistoryMode::Paginated;
const DIRECTIONS: [SortDirection; 2] = [SortDirection::Ascending, SortDirection::Descending];

fn by_creation(direction: SortDirection, limit: usize) -> ThreadQuery {
    ThreadQuery { sort: ThreadSortKey::CreatedAt, direction, limit, ..Default::default() }
}

/// Every page of a listing, each asked for after `between` has run.
async fn walk<F: Future<Output = ()>>(
    store: &dyn ThreadStore,
    mut query: ThreadQuery,
    mut between: impl FnMut(usize) -> F,
) -> Vec<StoredThread> {
    let mut found = Vec::new();
    for number in 0.. {
        between(number).await;
        let page = store.list_threads(&query).await.unwrap();
        assert!(page.items.len() <= query.limit);
        assert!(page.next_cursor.is_none() || page.items.len() == query.limit, "a page with a next one is full");
        found.extend(page.items);
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    found
}

fn ids(threads: &[StoredThread]) -> Vec<ThreadId> {
    threads.iter().map(|thread| thread.id).collect()
}

pub(super) async fn pages_by_every_size(store: Arc<dyn ThreadStore>) {
    for n in 1..=7 {
        record(&*store, n, MODE, &[]).await;
    }
    for sort in [ThreadSortKey::CreatedAt, ThreadSortKey::UpdatedAt, ThreadSortKey::RecencyAt] {
        for direction in DIRECTIONS {
            let whole = ThreadQuery { sort, direction, ..Default::default() };
            let all = store.list_threads(&whole).await.unwrap();
            assert_eq!((all.items.len(), all.next_cursor), (7, None));
            for limit in 1..=8 {
                let found = walk(&*store, ThreadQuery { limit, ..whole.clone() }, async |_| {}).await;
                assert_eq!(found, all.items, "{sort:?} {direction:?} {limit}");
            }
        }
    }
    let found = walk(&*store, by_creation(SortDirection::Descending, 3), async |_| {}).await;
    assert_eq!(ids(&found), (1..=7).rev().map(id).collect::<Vec<_>>());
}

/// While pages are turned, other tasks add threads at every place and take others away. Every thread that was there all
/// the time is found once.
pub(super) async fn pages_while_others_write(store: Arc<dyn ThreadStore>) {
    let steady: HashSet<_> = (10..30).map(|n| id(n * 10)).collect();
    for n in 10..30 {
        record(&*store, n * 10, MODE, &[]).await;
    }
    for (run, direction) in (0..).zip(DIRECTIONS) {
        let adding = {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for n in 10..30 {
                    // Before, between and behind what is paged through.
                    let added = [n + 40 * run, n * 10 + 1 + run, 1000 + 100 * run + n];
                    for n in added {
                        record(&*store, n, MODE, &["a"]).await;
                        tokio::task::yield_now().await;
                    }
                    store.delete_thread(id(added[1])).await.unwrap();
                }
            })
        };
        let found = walk(&*store, by_creation(direction, 3), async |_| tokio::task::yield_now().await).await;
        adding.await.unwrap();
        let found = ids(&found);
        let distinct: HashSet<_> = found.iter().copied().collect();
        assert_eq!(distinct.len(), found.len(), "no thread twice");
        assert!(steady.is_subset(&distinct), "no thread skipped");
        let mut sorted = found.clone();
        sorted.sort();
        if direction == SortDirection::Descending {
            sorted.reverse();
        }
        assert_eq!(found, sorted);
    }
}

pub(super) async fn ties_are_sorted_by_id(store: Arc<dyn ThreadStore>) {
    for n in [3, 1, 4, 2, 5] {
        let meta = SessionMeta { timestamp: Some(second(0)), ..head(n, MODE) };
        store.create_thread(meta).await.unwrap();
        store.persist_thread(id(n)).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
    }
    for limit in 1..=5 {
        let found = walk(&*store, by_creation(SortDirection::Ascending, limit), async |_| {}).await;
        assert_eq!(ids(&found), [1, 2, 3, 4, 5].map(id));
        let found = walk(&*store, by_creation(SortDirection::Descending, limit), async |_| {}).await;
        assert_eq!(ids(&found), [5, 4, 3, 2, 1].map(id));
    }
}

pub(super) async fn filters(store: Arc<dyn ThreadStore>) {
    let heads = [
        SessionMeta { cwd: Some("/srv/a".into()), source: Some(json!("exec")), ..head(1, MODE) },
        SessionMeta { cwd: Some("/srv/a/b".into()), source: Some(json!({"subagent": "x"})), ..head(2, MODE) },
        SessionMeta { cwd: Some("/srv/ab".into()), model_provider: Some("other".into()), ..head(3, MODE) },
        SessionMeta { parent_thread_id: Some(id(1)), ..head(4, MODE) },
        SessionMeta {
            git: Some(GitInfo {
                branch: Some("dev".into()),
                repository_url: Some("git@Host.org:owner/name.git".into()),
                ..Default::default()
            }),
            ..head(5, MODE)
        },
        head(6, MODE),
    ];
    for meta in heads {
        let thread_id = meta.id.unwrap();
        store.create_thread(meta).await.unwrap();
        append_and_tell(&*store, thread_id, &turn(MODE, &format!("Turn of {thread_id}"))).await;
        store.shutdown_thread(thread_id).await.unwrap();
    }
    let patch = ThreadMetadataPatch { name: Some(Some("Größe".into())), ..Default::default() };
    store.update_thread_metadata(id(3), &patch, MetadataOrigin::Explicit).await.unwrap();
    let patch = ThreadMetadataPatch { model: Some(Some("model-x".into())), ..Default::default() };
    store.update_thread_metadata(id(2), &patch, MetadataOrigin::Explicit).await.unwrap();
    store.archive_thread(id(6)).await.unwrap();

    let all = || ThreadQuery { archived: ArchivedFilter::All, ..by_creation(SortDirection::Ascending, 50) };
    let preview = id(4).to_string().to_uppercase();
    let cases: [(ThreadQuery, &[u32]); 19] = [
        (all(), &[1, 2, 3, 4, 5, 6]),
        (ThreadQuery { archived: ArchivedFilter::Active, ..all() }, &[1, 2, 3, 4, 5]),
        (ThreadQuery { archived: ArchivedFilter::Archived, ..all() }, &[6]),
        (ThreadQuery { sources: vec!["exec".into(), "subagent".into()], ..all() }, &[1, 2]),
        (ThreadQuery { model_providers: vec!["other".into()], ..all() }, &[3]),
        (ThreadQuery { models: vec!["model-x".into()], ..all() }, &[2]),
        (ThreadQuery { cwd: Some(CwdFilter::Under("/srv/a".into())), ..all() }, &[1, 2]),
        (ThreadQuery { cwd: Some(CwdFilter::Exactly("/srv/a/".into())), ..all() }, &[1]),
        (ThreadQuery { git_branch: Some("dev".into()), ..all() }, &[5]),
        (ThreadQuery { git_repository: Some("https://host.org/owner/name".into()), ..all() }, &[5]),
        (ThreadQuery { git_repository: Some("owner/name".into()), ..all() }, &[5]),
        (ThreadQuery { git_repository: Some("name".into()), ..all() }, &[5]),
        (ThreadQuery { git_repository: Some("ame".into()), ..all() }, &[]),
        (ThreadQuery { named: Some(true), ..all() }, &[3]),
        (ThreadQuery { named: Some(false), ..all() }, &[1, 2, 4, 5, 6]),
        (ThreadQuery { since: Some(second(2)), until: Some(second(4)), ..all() }, &[2, 3]),
        (ThreadQuery { relation: Some(Relation::ChildOf(id(1))), ..all() }, &[4]),
        (ThreadQuery { search_term: Some("GRÖSSE".replace("SS", "ß")), ..all() }, &[3]),
        (ThreadQuery { search_term: Some(preview), ..all() }, &[4]),
    ];
    for (query, wanted) in cases {
        let wanted: Vec<_> = wanted.iter().copied().map(id).collect();
        for limit in [1, 2, 50] {
            let found = walk(&*store, ThreadQuery { limit, ..query.clone() }, async |_| {}).await;
            assert_eq!(ids(&found), wanted, "{query:?}");
        }
    }
}

/// Through forks and sub-agents, archived threads and ones that are gone, and round in circles.
pub(super) async fn descendants(store: Arc<dyn ThreadStore>) {
    let parents = [(2, Some(1)), (3, Some(2)), (5, Some(7)), (6, Some(5)), (7, Some(6)), (8, Some(90)), (9, Some(8))];
    record(&*store, 1, MODE, &["a"]).await;
    for (n, parent) in parents {
        let meta = SessionMeta { parent_thread_id: parent.map(id), ..head(n, MODE) };
        store.create_thread(meta).await.unwrap();
        append_and_tell(&*store, id(n), &turn(MODE, "a")).await;
        store.shutdown_thread(id(n)).await.unwrap();
    }
    let fork = ForkThread { source: id(3), at: TurnBoundary::Latest, meta: head(4, MODE) };
    store.fork_thread(fork).await.unwrap();
    store.archive_thread(id(2)).await.unwrap();
    for (ancestor, wanted, with_archived) in [
        (1, &[3, 4][..], &[2, 3, 4][..]),
        (2, &[3, 4], &[3, 4]),
        (4, &[], &[]),
        (5, &[6, 7], &[6, 7]),
        (6, &[5, 7], &[5, 7]),
        (90, &[8, 9], &[8, 9]),
        (91, &[], &[]),
    ] {
        for (archived, wanted) in [(ArchivedFilter::Active, wanted), (ArchivedFilter::All, with_archived)] {
            for (direction, limit) in DIRECTIONS.into_iter().zip([1, 50]) {
                let relation = Some(Relation::DescendantOf(id(ancestor)));
                let query = ThreadQuery { relation, archived, ..by_creation(direction, limit) };
                let mut found = ids(&walk(&*store, query, async |_| {}).await);
                if direction == SortDirection::Descending {
                    found.reverse();
                }
                assert_eq!(found, wanted.iter().copied().map(id).collect::<Vec<_>>(), "{ancestor} {archived:?}");
            }
        }
    }
}

pub(super) async fn refusals(store: Arc<dyn ThreadStore>) {
    for n in 1..=3 {
        record(&*store, n, MODE, &[]).await;
    }
    let query = by_creation(SortDirection::Ascending, 1);
    assert!(is_invalid(store.list_threads(&ThreadQuery { limit: 0, ..query.clone() }).await));
    let cursor = store.list_threads(&query).await.unwrap().next_cursor;
    assert!(cursor.is_some());
    let others = [
        ThreadQuery { cursor: cursor.clone(), direction: SortDirection::Descending, ..query.clone() },
        ThreadQuery { cursor: cursor.clone(), sort: ThreadSortKey::UpdatedAt, ..query.clone() },
    ];
    for other in others {
        assert!(is_invalid(store.list_threads(&other).await));
    }
    for text in ["", "t1", "p1.3", "t1.ca.x.y", "\u{0}", "t1.ca.1.00000000-0000-0000-0000-000000000000.z"] {
        let cursor = Some(Cursor::from(text.to_owned()));
        assert!(is_invalid(store.list_threads(&ThreadQuery { cursor, ..query.clone() }).await), "{text:?}");
    }
    store.delete_thread(id(1)).await.unwrap();
    let page = store.list_threads(&ThreadQuery { cursor, ..query }).await.unwrap();
    assert_eq!(ids(&page.items), [id(2)], "the thread of a cursor may be gone");
}

/// A filter, and which rows it is for by a plain reading of it.
type Filter = (&'static str, fn(&mut ThreadQuery), fn(&StoredThread) -> bool);

const FILTERS: &[Filter] = &[
    ("none", |_| {}, |row| !row.archived),
    ("archived", |query| query.archived = ArchivedFilter::Archived, |row| row.archived),
    ("all", |query| query.archived = ArchivedFilter::All, |_| true),
    ("named", |query| query.named = Some(true), |row| !row.archived && row.name.is_some()),
    ("nameless", |query| query.named = Some(false), |row| !row.archived && row.name.is_none()),
    ("source", |query| query.sources = vec!["exec".into()], |row| !row.archived && row.source == Some(json!("exec"))),
    (
        "provider",
        |query| query.model_providers = vec!["one".into(), "two".into()],
        |row| !row.archived && row.model_provider.as_deref().is_some_and(|provider| ["one", "two"].contains(&provider)),
    ),
    ("model", |query| query.models = vec!["m1".into()], |row| !row.archived && row.model.as_deref() == Some("m1")),
    (
        "cwd",
        |query| query.cwd = Some(CwdFilter::Under("/srv/a".into())),
        |row| !row.archived && row.cwd.as_deref().is_some_and(|cwd| cwd == "/srv/a" || cwd.starts_with("/srv/a/")),
    ),
    (
        "term",
        |query| query.search_term = Some("NAME".into()),
        |row| !row.archived && row.name.as_deref().is_some_and(|name| name.contains("name")),
    ),
    (
        "child",
        |query| query.relation = Some(Relation::ChildOf(id(1))),
        |row| !row.archived && row.parent_thread_id == Some(id(1)),
    ),
    (
        "several",
        |query| {
            query.archived = ArchivedFilter::All;
            query.named = Some(true);
            query.sources = vec!["cli".into()];
            query.models = vec!["m1".into(), "m2".into()];
        },
        |row| {
            let is_meant = row.model.as_deref().is_some_and(|model| ["m1", "m2"].contains(&model));
            row.name.is_some() && row.source == Some(json!("cli")) && is_meant
        },
    ),
];

/// Twenty threads, no two alike, some of the same time.
async fn many_kinds(store: &dyn ThreadStore) -> Vec<StoredThread> {
    let mut rows = Vec::new();
    for n in 1..=20_u32 {
        let meta = SessionMeta {
            timestamp: Some(second(i64::from(n / 3))),
            source: Some(json!(if n % 3 == 0 { "exec" } else { "cli" })),
            model_provider: Some(["one", "two", "three"][n as usize % 3].into()),
            cwd: Some(["/srv/a", "/srv/ab", "/srv/a/b"][n as usize / 2 % 3].into()),
            parent_thread_id: (n > 1 && n % 4 == 0).then(|| id(1)),
            ..head(n, MODE)
        };
        store.create_thread(meta).await.unwrap();
        store.persist_thread(id(n)).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
        let patch = ThreadMetadataPatch {
            name: (n % 2 == 0).then(|| Some(format!("name {n}"))),
            model: (n % 5 != 0).then(|| Some(format!("m{}", n % 4))),
            ..Default::default()
        };
        store.update_thread_metadata(id(n), &patch, MetadataOrigin::Explicit).await.unwrap();
        if n % 7 == 0 {
            store.archive_thread(id(n)).await.unwrap();
        }
        rows.push(store.read_thread(id(n)).await.unwrap());
    }
    rows
}

/// What a list gives is what a plain filter and sort of all rows gives, by every sort key, direction, filter, page size and time.
pub(super) async fn against_a_model(store: Arc<dyn ThreadStore>) {
    let rows = many_kinds(&*store).await;
    for (name, narrow, is_meant) in FILTERS {
        for sort in [ThreadSortKey::CreatedAt, ThreadSortKey::UpdatedAt, ThreadSortKey::RecencyAt] {
            let time = |row: &StoredThread| match sort {
                ThreadSortKey::CreatedAt => row.created_at,
                ThreadSortKey::UpdatedAt => row.updated_at,
                ThreadSortKey::RecencyAt => row.recency_at,
            };
            let mut wanted: Vec<&StoredThread> = rows.iter().filter(|row| is_meant(row)).collect();
            wanted.sort_by_key(|row| (time(row), row.id));
            for direction in DIRECTIONS {
                let mut query = ThreadQuery { sort, direction, ..ThreadQuery::default() };
                narrow(&mut query);
                let wanted_ids: Vec<_> = wanted.iter().map(|row| row.id).collect();
                for limit in [1, 3, wanted.len().max(1), 50] {
                    let found = walk(&*store, ThreadQuery { limit, ..query.clone() }, async |_| {}).await;
                    assert_eq!(ids(&found), wanted_ids, "{name}, {sort:?}, {direction:?}, pages of {limit}");
                }
                if let [first, .., last] = wanted[..] {
                    let (since, until) = (time(first).min(time(last)), time(first).max(time(last)));
                    let is_between = |row: &&&StoredThread| (since..until).contains(&time(row));
                    let between: Vec<_> = wanted.iter().filter(is_between).map(|row| row.id).collect();
                    let query = ThreadQuery { since: Some(since), until: Some(until), limit: 2, ..query };
                    let found = walk(&*store, query, async |_| {}).await;
                    assert_eq!(ids(&found), between, "{name}, {sort:?}, {direction:?}, a stretch of time");
                }
                wanted.reverse();
            }
        }
    }
}
