//! Rules about lookups: by name and id prefix, distinct prefixes, statistics, heads and exports.

use std::sync::Arc;

use selvedge_protocol::{
    EventMsg, HistoryMode, Relation, RolloutItem, RolloutLine, SessionMeta, SortDirection, StatsGroup, StatsKey,
    StatsQuery, ThreadId, ThreadMetadataPatch, ThreadQuery, Timestamp, TokenCountEvent, TokenUsage, TokenUsageInfo,
    TurnBoundary, TurnContext, UtcOffset,
};
use selvedge_thread_store::{
    BatchId, ForkThread, MetadataOrigin, RevertThread, SegmentInfo, SegmentPart, ThreadLookup, ThreadStore,
};

use super::list::record_spellings;
use crate::fixtures::{MODES, append_with_metadata, complete, head, id, is_missing, record, started, turn, turn_id};

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

/// Returns a count of tokens: the total of the thread, and the response before it. Of both, nine of ten are input.
fn count(total: Option<u64>, last: Option<u64>) -> RolloutItem {
    let usage = |tokens: u64| TokenUsage {
        input_tokens: Some(tokens / 10 * 9),
        cached_input_tokens: Some(0),
        output_tokens: Some(tokens / 10),
        reasoning_output_tokens: Some(0),
        total_tokens: Some(tokens),
        ..TokenUsage::default()
    };
    let info = TokenUsageInfo {
        total_token_usage: total.map(usage),
        last_token_usage: last.map(usage),
        ..TokenUsageInfo::default()
    };
    EventMsg::from(TokenCountEvent { info: Some(info), ..TokenCountEvent::default() }).into()
}

/// Appends a turn to a cold thread that cost `tokens`, after which its counter is at `total`.
async fn spend(store: &dyn ThreadStore, thread_id: ThreadId, name: &str, tokens: u64, total: u64) {
    let mode = store.read_thread(thread_id).await.unwrap().history_mode;
    let mut items = turn(mode, name);
    items.insert(items.len() - 1, count(Some(total), Some(tokens)));
    store.resume_thread(thread_id).await.unwrap();
    append_with_metadata(store, thread_id, &items).await;
    store.shutdown_thread(thread_id).await.unwrap();
}

/// Returns the threads, turns and tokens of the store.
async fn spent(store: &dyn ThreadStore) -> (u64, u64, u64) {
    let total = store.thread_stats(&StatsQuery::default()).await.unwrap().total;
    (total.threads, total.turns, total.total_tokens)
}

pub(super) async fn stats_of_tokens(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &[]).await;
        store.resume_thread(id(n)).await.unwrap();
        let counts = [
            count(Some(1000), Some(1000)),
            // The same once more, and with the size of the context instead of a response.
            count(Some(1000), Some(1000)),
            count(Some(1000), Some(0)),
            count(Some(3000), Some(2000)),
            // Begins again.
            count(Some(300), Some(300)),
            // No response is given.
            count(Some(700), None),
            // No total is given.
            count(None, Some(50)),
        ];
        append_with_metadata(&*store, id(n), &counts).await;
        store.shutdown_thread(id(n)).await.unwrap();
        assert_eq!(spent(&*store).await, (n.into(), 0, 3750 * u64::from(n)), "{mode:?}");
        let shown = store.read_thread(id(n)).await.unwrap().token_usage.and_then(|usage| usage.total_tokens);
        assert_eq!(shown, Some(700), "a record shows what its program says");
    }
}

pub(super) async fn stats_after_a_rewind(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let before = spent(&*store).await;
        let thread_id = record(&*store, n, mode, &[]).await;
        spend(&*store, thread_id, "a", 1000, 1000).await;
        spend(&*store, thread_id, "b", 500, 1500).await;
        let counted = (before.0 + 1, before.1 + 2, before.2 + 1500);
        assert_eq!(spent(&*store).await, counted, "{mode:?}");
        let to = TurnBoundary::After(turn_id("a"));
        store.revert_thread(RevertThread { thread_id, to, batch: BatchId::generate() }).await.unwrap();
        assert_eq!(spent(&*store).await, counted, "{mode:?}: a rewind gives nothing back");
        // The counter goes on where the kept history ends (a program that was started again), or where it was (one that was not).
        spend(&*store, thread_id, "c", 200, if n == 1 { 1200 } else { 1700 }).await;
        assert_eq!(spent(&*store).await, (counted.0, counted.1 + 1, counted.2 + 200), "{mode:?}");
    }
}

pub(super) async fn stats_of_forks(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let before = spent(&*store).await;
        let source = record(&*store, n, mode, &[]).await;
        spend(&*store, source, "a", 1000, 1000).await;
        spend(&*store, source, "b", 500, 1500).await;
        let request = ForkThread { source, at: TurnBoundary::After(turn_id("a")), meta: head(n + 10, mode) };
        let fork = store.fork_thread(request).await.unwrap();
        let counted = (before.0 + 2, before.1 + 2, before.2 + 1500);
        assert_eq!(spent(&*store).await, counted, "{mode:?}: a fork costs nothing");
        spend(&*store, fork, "c", 300, 1300).await;
        let counted = (counted.0, counted.1 + 1, counted.2 + 300);
        assert_eq!(spent(&*store).await, counted, "{mode:?}");
        let model = StatsQuery {
            threads: ThreadQuery { relation: Some(Relation::ChildOf(source)), ..ThreadQuery::default() },
            ..StatsQuery::default()
        };
        let of_fork = store.thread_stats(&model).await.unwrap().total;
        assert_eq!((of_fork.threads, of_fork.turns, of_fork.total_tokens), (1, 1, 300), "{mode:?}");
        store.detach_thread(fork).await.unwrap();
        assert_eq!(spent(&*store).await, counted, "{mode:?}: a detach copies what was counted");
        store.delete_thread(source).await.unwrap();
        assert_eq!(spent(&*store).await, (before.0 + 1, before.1 + 1, before.2 + 300), "{mode:?}: without its source");
    }
}

/// Imports a thread that goes on for three days and changes its model.
async fn import_days(store: &dyn ThreadStore) {
    let at = |day: u32, time: &str| format!("2026-09-{day:02}T{time}Z").parse::<Timestamp>().unwrap();
    let mut bytes = Vec::new();
    let mut total = 0;
    let meta = SessionMeta { timestamp: Some(at(5, "12:00:00.000")), ..head(1, MODE) };
    let mut lines = vec![(at(5, "12:00:00.000"), RolloutItem::from(meta))];
    for (name, model, begun, counted) in [
        ("a", "first", at(5, "12:00:01.000"), at(5, "12:00:02.000")),
        // Over midnight.
        ("b", "first", at(5, "23:59:00.000"), at(6, "00:10:00.000")),
        ("c", "second", at(9, "23:00:00.000"), at(9, "23:01:00.000")),
    ] {
        total += 100;
        let context = TurnContext { model: Some(model.to_owned()), ..TurnContext::default() };
        lines.extend([
            (begun, started(name)),
            (begun, context.into()),
            (counted, count(Some(total), Some(100))),
            (counted, complete(name)),
        ]);
    }
    for (ordinal, (at, item)) in (0..).zip(lines) {
        RolloutLine::encode(&mut bytes, at, Some(ordinal), &item);
    }
    let info = SegmentInfo {
        thread_id: id(1),
        id: id(1).into(),
        created: at(5, "12:00:00.000"),
        bytes: bytes.len() as u64,
        base: None,
        file_name: None,
        is_current: true,
    };
    let part = SegmentPart { info: &info, at: 0, bytes: &bytes, is_last: true };
    store.import_segment(part).await.unwrap();
}

/// Returns the groups of the statistics, the oldest day or the smallest group first: key, threads, turns and tokens.
async fn groups(store: &dyn ThreadStore, query: &StatsQuery) -> Vec<(String, u64, u64, u64)> {
    let threads = ThreadQuery { direction: SortDirection::Ascending, ..query.threads.clone() };
    let stats = store.thread_stats(&StatsQuery { threads, ..query.clone() }).await.unwrap();
    let groups = stats.groups.into_iter();
    let group = |group: StatsGroup| {
        let counts = group.counts;
        (group.key.unwrap_or_default(), counts.threads, counts.turns, counts.total_tokens)
    };
    groups.map(group).collect()
}

pub(super) async fn stats_by_day(store: Arc<dyn ThreadStore>) {
    import_days(&*store).await;
    let day = |day: &str, turns, tokens| (day.to_owned(), 1, turns, tokens);
    let in_utc = [day("2026-09-05", 2, 100), day("2026-09-06", 0, 100), day("2026-09-09", 1, 100)];
    let query = StatsQuery::default();
    assert_eq!(groups(&*store, &query).await, in_utc);
    // Two hours to the east, the second turn begins on the next day, and so does the third.
    let offsets = vec![UtcOffset { since: Timestamp::from_seconds(0), seconds: 7200 }];
    let eastern = [day("2026-09-05", 1, 100), day("2026-09-06", 1, 100), day("2026-09-10", 1, 100)];
    assert_eq!(groups(&*store, &StatsQuery { offsets, ..query.clone() }).await, eastern);
    let total = store.thread_stats(&query).await.unwrap().total;
    assert_eq!((total.threads, total.turns, total.total_tokens), (1, 3, 300), "a thread of several days is one thread");
    let times = ThreadQuery {
        since: Some("2026-09-06T00:00:00Z".parse().unwrap()),
        until: Some("2026-09-09T23:00:00Z".parse().unwrap()),
        ..ThreadQuery::default()
    };
    assert_eq!(groups(&*store, &StatsQuery { threads: times, ..query }).await, [day("2026-09-06", 0, 100)]);
}

pub(super) async fn stats_by_model(store: Arc<dyn ThreadStore>) {
    import_days(&*store).await;
    let query = StatsQuery { by: StatsKey::Model, ..StatsQuery::default() };
    assert_eq!(groups(&*store, &query).await, [("second".to_owned(), 1, 1, 100), ("first".to_owned(), 1, 2, 200)]);
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
