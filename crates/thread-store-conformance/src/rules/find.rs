//! Rules about lookups: by name and id prefix, distinct prefixes, statistics, heads and exports.

use std::sync::Arc;

use selvedge_protocol::{HistoryMode, StatsKey, StatsQuery, ThreadId, ThreadMetadataPatch};
use selvedge_thread_store::{MetadataOrigin, ThreadLookup, ThreadStore};

use super::list::record_spellings;
use crate::fixtures::{MODES, head, id, is_missing, record};

const MODE: HistoryMode = HistoryMode::Paginated;

async fn rename(store: &dyn ThreadStore, thread_id: ThreadId, name: &str) {
    let patch = ThreadMetadataPatch { name: Some(Some(name.to_owned())), ..Default::default() };
    store.update_thread_metadata(thread_id, &patch, MetadataOrigin::Explicit).await.unwrap();
}

async fn found(store: &dyn ThreadStore, lookup: ThreadLookup) -> Vec<ThreadId> {
    store.find_threads(&lookup).await.unwrap()
}

pub(super) async fn by_name(store: Arc<dyn ThreadStore>) {
    for n in [3, 1, 2] {
        record(&*store, n, MODE, &["a"]).await;
    }
    rename(&*store, id(3), "one name").await;
    rename(&*store, id(1), "one name").await;
    rename(&*store, id(2), "one name and more").await;
    store.archive_thread(id(3)).await.unwrap();
    assert_eq!(
        found(&*store, ThreadLookup::Name("one name".into())).await,
        [id(1), id(3)],
        "archived ones included, in order"
    );
    assert_eq!(found(&*store, ThreadLookup::Name("One name".into())).await, [], "a name is matched exactly");
    store.delete_thread(id(1)).await.unwrap();
    assert_eq!(found(&*store, ThreadLookup::Name("one name".into())).await, [id(3)]);
}

pub(super) async fn by_id_prefix(store: Arc<dyn ThreadStore>) {
    for n in [0x2b, 0x1a, 0x1b] {
        record(&*store, n, MODE, &["a"]).await;
    }
    store.archive_thread(id(0x1b)).await.unwrap();
    let all = [id(0x1a), id(0x1b), id(0x2b)];
    assert_eq!(found(&*store, ThreadLookup::IdPrefix(String::new())).await, all);
    let text = id(0x1a).to_string();
    assert_eq!(found(&*store, ThreadLookup::IdPrefix(text[..35].to_owned())).await, [id(0x1a), id(0x1b)]);
    assert_eq!(found(&*store, ThreadLookup::IdPrefix(text.to_ascii_uppercase())).await, [id(0x1a)], "case is ignored");
    assert_eq!(found(&*store, ThreadLookup::IdPrefix("02".into())).await, []);
}

pub(super) async fn lazy_threads_are_not_found(store: Arc<dyn ThreadStore>) {
    // Only its writer knows a lazy thread.
    store.create_thread(head(1, MODE)).await.unwrap();
    assert_eq!(found(&*store, ThreadLookup::IdPrefix(String::new())).await, []);
    assert!(is_missing(store.read_session_meta(id(1)).await, false));
}

pub(super) async fn distinct_prefix_len(store: Arc<dyn ThreadStore>) {
    assert_eq!(store.distinct_prefix_len(&[]).await.unwrap(), 8);
    record(&*store, 1, MODE, &["a"]).await;
    assert_eq!(store.distinct_prefix_len(&[id(1)]).await.unwrap(), 8, "no other thread exists");
    record(&*store, 2, MODE, &["a"]).await;
    assert_eq!(store.distinct_prefix_len(&[id(1)]).await.unwrap(), 36, "the other id differs in the last digit");
    store.archive_thread(id(2)).await.unwrap();
    assert_eq!(store.distinct_prefix_len(&[id(1), id(2)]).await.unwrap(), 36, "archived threads count");
    store.delete_thread(id(2)).await.unwrap();
    assert_eq!(store.distinct_prefix_len(&[id(1)]).await.unwrap(), 8);
    let unknown = "01a1fd5e-0000-7000-8000-000000000001".parse().unwrap();
    assert_eq!(store.distinct_prefix_len(&[unknown]).await.unwrap(), 8, "the id of a thread that does not exist");
}

pub(super) async fn session_meta(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        let meta = store.read_session_meta(id(n)).await.unwrap().unwrap();
        assert_eq!(meta, head(n, mode));
    }
    assert!(is_missing(store.read_session_meta(id(9)).await, false));
}

pub(super) async fn stats(store: Arc<dyn ThreadStore>) {
    record(&*store, 1, MODE, &["a", "b"]).await;
    record(&*store, 2, MODE, &["c"]).await;
    record(&*store, 3, MODE, &["d"]).await;
    store.archive_thread(id(3)).await.unwrap();
    let query = StatsQuery { by: StatsKey::Source, ..StatsQuery::default() };
    let stats = store.thread_stats(&query).await.unwrap();
    assert_eq!((stats.total.threads, stats.total.turns), (2, 3), "the default query excludes archived threads");
    assert_eq!(stats.groups.iter().map(|group| group.key.as_deref()).collect::<Vec<_>>(), [Some("cli")]);
    let mut bytes = 0;
    for n in [1, 2] {
        bytes += store.export(id(n), &mut std::io::sink()).await.unwrap();
    }
    assert_eq!(stats.total.bytes, bytes);
}

pub(super) async fn stats_by_project(store: Arc<dyn ThreadStore>) {
    let recorded = record_spellings(&*store).await;
    let query = StatsQuery { by: StatsKey::Project, ..StatsQuery::default() };
    let stats = store.thread_stats(&query).await.unwrap();
    let mut groups: Vec<_> = stats.groups.into_iter().map(|group| (group.key.unwrap(), group.counts.threads)).collect();
    groups.sort();
    // The name of a group is the shortest form of a spelling, of several the least in byte order.
    let names = [
        "/mnt/c/Users/Kim/Größe",
        "/srv/PROJ",
        "/srv/proj",
        "/srv/proj2",
        r"\\Server\Share\P",
        r"\\wsl.localhost\Ubuntu\srv\proj",
    ];
    let threads = [3, 1, 0, 2, 4, 5].map(|group| recorded[group].len() as u64);
    let wanted: Vec<_> = names.map(str::to_owned).into_iter().zip(threads).collect();
    assert_eq!(groups, wanted);
}

pub(super) async fn export(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a", "b"]).await;
        let mut bytes = Vec::new();
        let count = store.export(id(n), &mut bytes).await.unwrap();
        let history = store.load_history(id(n)).await.unwrap();
        let lines: String = history.lines.iter().map(|line| format!("{}\n", line.text())).collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), lines);
        assert_eq!(count, lines.len() as u64);
    }
    assert!(is_missing(store.export(id(9), &mut std::io::sink()).await, false));
}
