//! Rules about lists: pages that neither skip nor repeat threads, filters, refusals.

use std::collections::HashSet;
use std::sync::Arc;

use selvedge_protocol::{
    ArchivedFilter, Cursor, CwdFilter, GitInfo, HistoryMode, Relation, SessionMeta, SortDirection, StoredThread,
    ThreadId, ThreadMetadataPatch, ThreadQuery, ThreadSortKey, TurnBoundary,
};
use selvedge_thread_store::{ForkThread, MetadataOrigin, ThreadStore};
use serde_json::json;

use crate::fixtures::{append_with_metadata, head, id, is_invalid, record, second, turn};

const MODE: HistoryMode = HistoryMode::Paginated;
const DIRECTIONS: [SortDirection; 2] = [SortDirection::Ascending, SortDirection::Descending];

fn by_creation(direction: SortDirection, limit: usize) -> ThreadQuery {
    ThreadQuery { sort: ThreadSortKey::CreatedAt, direction, limit, ..Default::default() }
}

/// Reads all pages of a list. `between` runs before each page.
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
        assert!(
            page.next_cursor.is_none() || page.items.len() == query.limit,
            "a page that is followed by another is full"
        );
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
    // The order itself, which a comparison of pages with one large page does not check.
    let found = walk(&*store, by_creation(SortDirection::Descending, 3), async |_| {}).await;
    assert_eq!(ids(&found), (1..=7).rev().map(id).collect::<Vec<_>>());
}

pub(super) async fn pages_while_others_write(store: Arc<dyn ThreadStore>) {
    // While one task walks over the pages, another adds threads everywhere in the order and deletes some of them again. The threads
    // that exist all the time must be found exactly once. The others may be found or not.
    let steady: HashSet<_> = (10..30).map(|n| id(n * 10)).collect();
    for n in 10..30 {
        record(&*store, n * 10, MODE, &[]).await;
    }
    for (run, direction) in (0..).zip(DIRECTIONS) {
        let adding = {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for n in 10..30 {
                    // Before, between and after the threads that exist all the time.
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
        assert_eq!(distinct.len(), found.len(), "no thread is repeated");
        assert!(steady.is_subset(&distinct), "no thread is skipped");
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

/// Records six threads that the filters can tell apart.
async fn record_filterable_threads(store: &dyn ThreadStore) {
    // Each thread differs from the others in the fields of some filters. `/srv/ab` begins like `/srv/a`, but is not inside of it.
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
        append_with_metadata(store, thread_id, &turn(MODE, &format!("Turn of {thread_id}"))).await;
        store.shutdown_thread(thread_id).await.unwrap();
    }
    let patch = ThreadMetadataPatch { name: Some(Some("Größe".into())), ..Default::default() };
    store.update_thread_metadata(id(3), &patch, MetadataOrigin::Explicit).await.unwrap();
    let patch = ThreadMetadataPatch { model: Some(Some("model-x".into())), ..Default::default() };
    store.update_thread_metadata(id(2), &patch, MetadataOrigin::Explicit).await.unwrap();
    store.archive_thread(id(6)).await.unwrap();
}

pub(super) async fn filters(store: Arc<dyn ThreadStore>) {
    record_filterable_threads(&*store).await;
    let all = || ThreadQuery { archived: ArchivedFilter::All, ..by_creation(SortDirection::Ascending, 50) };
    // A term matches names and previews and ignores case. Each turn is named after its thread, so that one preview matches.
    let preview = id(4).to_string().to_uppercase();
    let cases: [(ThreadQuery, &[u32]); 19] = [
        (all(), &[1, 2, 3, 4, 5, 6]),
        (ThreadQuery { archived: ArchivedFilter::Active, ..all() }, &[1, 2, 3, 4, 5]),
        (ThreadQuery { archived: ArchivedFilter::Archived, ..all() }, &[6]),
        (ThreadQuery { sources: vec!["exec".into(), "subagent".into()], ..all() }, &[1, 2]),
        (ThreadQuery { model_providers: vec!["other".into()], ..all() }, &[3]),
        (ThreadQuery { models: vec!["model-x".into()], ..all() }, &[2]),
        (ThreadQuery { cwd: vec![CwdFilter::Under("/srv/a".into())], ..all() }, &[1, 2]),
        (ThreadQuery { cwd: vec![CwdFilter::Exactly("/srv/a/".into())], ..all() }, &[1]),
        (ThreadQuery { git_branch: Some("dev".into()), ..all() }, &[5]),
        // The repository is `git@Host.org:owner/name.git`. Other spellings and its last parts match, but not a part of a name.
        (ThreadQuery { git_repository: Some("https://host.org/owner/name".into()), ..all() }, &[5]),
        (ThreadQuery { git_repository: Some("owner/name".into()), ..all() }, &[5]),
        (ThreadQuery { git_repository: Some("name".into()), ..all() }, &[5]),
        (ThreadQuery { git_repository: Some("ame".into()), ..all() }, &[]),
        (ThreadQuery { named: Some(true), ..all() }, &[3]),
        (ThreadQuery { named: Some(false), ..all() }, &[1, 2, 4, 5, 6]),
        // A range of time includes its beginning and excludes its end.
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

/// Directories, each in several spellings. None of them is inside of another one.
pub(super) const SPELLINGS: [&[&str]; 6] = [
    &["/srv/proj", "/srv/proj/", "/srv//proj", "/srv/./x/../proj"],
    &["/srv/PROJ"],
    &["/srv/proj2"],
    &[r"C:\Users\Kim\Größe", r"\\?\c:\users\kim\GRÖßE\", "C:/Users/Kim/Größe", "/mnt/c/Users/Kim/Größe"],
    &[r"\\server\share\p", r"\\?\UNC\Server\Share\P", r"\\server\share\.\p\"],
    &[r"\\wsl$\Ubuntu\srv\proj", r"\\wsl.localhost\ubuntu\srv\proj"],
];

/// Records a thread for each spelling, and returns the ids by directory.
pub(super) async fn record_spellings(store: &dyn ThreadStore) -> Vec<Vec<ThreadId>> {
    let mut numbers = 1..;
    let mut ids = Vec::new();
    for spellings in SPELLINGS {
        let mut group = Vec::new();
        for cwd in spellings {
            let n = numbers.next().unwrap();
            let meta = SessionMeta { cwd: Some((*cwd).into()), ..head(n, MODE) };
            store.create_thread(meta).await.unwrap();
            append_with_metadata(store, id(n), &turn(MODE, "a")).await;
            store.shutdown_thread(id(n)).await.unwrap();
            group.push(id(n));
        }
        ids.push(group);
    }
    ids
}

pub(super) async fn directories(store: Arc<dyn ThreadStore>) {
    let recorded = record_spellings(&*store).await;
    let found = async |cwd: Vec<CwdFilter>| {
        let query = ThreadQuery { cwd, ..by_creation(SortDirection::Ascending, 50) };
        ids(&store.list_threads(&query).await.unwrap().items)
    };
    for (spellings, wanted) in SPELLINGS.iter().zip(&recorded) {
        for path in *spellings {
            assert_eq!(found(vec![CwdFilter::Exactly((*path).into())]).await, *wanted, "{path}");
            assert_eq!(found(vec![CwdFilter::Under((*path).into())]).await, *wanted, "below {path}");
        }
    }
    let of = |groups: &[usize]| groups.iter().flat_map(|group| recorded[*group].clone()).collect::<Vec<_>>();
    for (above, groups) in [
        ("/srv", &[0, 1, 2][..]),
        ("/srv/pro", &[]),
        ("C:", &[3]),
        (r"c:\users", &[3]),
        (r"\\SERVER\share", &[4]),
        (r"\\wsl$\Ubuntu", &[5]),
    ] {
        assert_eq!(found(vec![CwdFilter::Under(above.into())]).await, of(groups), "below {above}");
        assert_eq!(found(vec![CwdFilter::Exactly(above.into())]).await, [], "{above}");
    }
    let several = vec![CwdFilter::Exactly("/srv/proj2/".into()), CwdFilter::Under(r"\\server".into())];
    assert_eq!(found(several).await, of(&[2, 4]), "one of several directories is enough");
}

pub(super) async fn descendants(store: Arc<dyn ThreadStore>) {
    // The relations of the threads. An arrow points from a parent to its child:
    //
    //      1 -> 2 (archived) -> 3 -> 4 (a fork)
    //      5 -> 6 -> 7 -> 5        a cycle
    //      90 (does not exist) -> 8 -> 9
    let parents = [(2, Some(1)), (3, Some(2)), (5, Some(7)), (6, Some(5)), (7, Some(6)), (8, Some(90)), (9, Some(8))];
    record(&*store, 1, MODE, &["a"]).await;
    for (n, parent) in parents {
        let meta = SessionMeta { parent_thread_id: parent.map(id), ..head(n, MODE) };
        store.create_thread(meta).await.unwrap();
        append_with_metadata(&*store, id(n), &turn(MODE, "a")).await;
        store.shutdown_thread(id(n)).await.unwrap();
    }
    let fork = ForkThread { source: id(3), at: TurnBoundary::Latest, meta: head(4, MODE) };
    store.fork_thread(fork).await.unwrap();
    store.archive_thread(id(2)).await.unwrap();
    // The ancestor, its active descendants, and all of them.
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
    assert_eq!(ids(&page.items), [id(2)], "the thread of a cursor may be deleted");
}

/// A name, a function that sets the filter of a query, and a predicate that decides the same for one record.
///
/// The predicates are written without the code of the stores. They are the model that lists are compared with.
type FilterCase = (&'static str, fn(&mut ThreadQuery), fn(&StoredThread) -> bool);

const FILTERS: &[FilterCase] = &[
    ("none", |_| {}, |record| !record.archived),
    ("archived", |query| query.archived = ArchivedFilter::Archived, |record| record.archived),
    ("all", |query| query.archived = ArchivedFilter::All, |_| true),
    ("named", |query| query.named = Some(true), |record| !record.archived && record.name.is_some()),
    ("nameless", |query| query.named = Some(false), |record| !record.archived && record.name.is_none()),
    (
        "source",
        |query| query.sources = vec!["exec".into()],
        |record| !record.archived && record.source == Some(json!("exec")),
    ),
    (
        "provider",
        |query| query.model_providers = vec!["one".into(), "two".into()],
        |record| {
            !record.archived
                && record.model_provider.as_deref().is_some_and(|provider| ["one", "two"].contains(&provider))
        },
    ),
    (
        "model",
        |query| query.models = vec!["m1".into()],
        |record| !record.archived && record.model.as_deref() == Some("m1"),
    ),
    (
        "cwd",
        |query| query.cwd = vec![CwdFilter::Under("/srv/a".into())],
        |record| {
            !record.archived && record.cwd.as_deref().is_some_and(|cwd| cwd == "/srv/a" || cwd.starts_with("/srv/a/"))
        },
    ),
    (
        "term",
        |query| query.search_term = Some("NAME".into()),
        |record| !record.archived && record.name.as_deref().is_some_and(|name| name.contains("name")),
    ),
    (
        "child",
        |query| query.relation = Some(Relation::ChildOf(id(1))),
        |record| !record.archived && record.parent_thread_id == Some(id(1)),
    ),
    (
        "several",
        |query| {
            query.archived = ArchivedFilter::All;
            query.named = Some(true);
            query.sources = vec!["cli".into()];
            query.models = vec!["m1".into(), "m2".into()];
        },
        |record| {
            let has_model = record.model.as_deref().is_some_and(|model| ["m1", "m2"].contains(&model));
            record.name.is_some() && record.source == Some(json!("cli")) && has_model
        },
    ),
];

/// Records twenty threads. Remainders of the number determine the fields, so that the fields combine in many ways. Up to three
/// threads have the same time.
async fn many_kinds(store: &dyn ThreadStore) -> Vec<StoredThread> {
    let mut records = Vec::new();
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
        records.push(store.read_thread(id(n)).await.unwrap());
    }
    records
}

pub(super) async fn equals_a_filter_and_sort(store: Arc<dyn ThreadStore>) {
    // Compares each list with the model: filter all records by the predicate, and sort them by time and id.
    let records = many_kinds(&*store).await;
    for (name, narrow, matches) in FILTERS {
        for sort in [ThreadSortKey::CreatedAt, ThreadSortKey::UpdatedAt, ThreadSortKey::RecencyAt] {
            let time = |record: &StoredThread| match sort {
                ThreadSortKey::CreatedAt => record.created_at,
                ThreadSortKey::UpdatedAt => record.updated_at,
                ThreadSortKey::RecencyAt => record.recency_at,
            };
            let mut wanted: Vec<&StoredThread> = records.iter().filter(|record| matches(record)).collect();
            wanted.sort_by_key(|record| (time(record), record.id));
            for direction in DIRECTIONS {
                let mut query = ThreadQuery { sort, direction, ..ThreadQuery::default() };
                narrow(&mut query);
                let wanted_ids: Vec<_> = wanted.iter().map(|record| record.id).collect();
                for limit in [1, 3, wanted.len().max(1), 50] {
                    let found = walk(&*store, ThreadQuery { limit, ..query.clone() }, async |_| {}).await;
                    assert_eq!(ids(&found), wanted_ids, "{name}, {sort:?}, {direction:?}, pages of {limit}");
                }
                // A range of time excludes its end, so that the last record is outside.
                if let [first, .., last] = wanted[..] {
                    let (since, until) = (time(first).min(time(last)), time(first).max(time(last)));
                    let is_between = |record: &&&StoredThread| (since..until).contains(&time(record));
                    let between: Vec<_> = wanted.iter().filter(is_between).map(|record| record.id).collect();
                    let query = ThreadQuery { since: Some(since), until: Some(until), limit: 2, ..query };
                    let found = walk(&*store, query, async |_| {}).await;
                    assert_eq!(ids(&found), between, "{name}, {sort:?}, {direction:?}, a range of time");
                }
                wanted.reverse();
            }
        }
    }
}
