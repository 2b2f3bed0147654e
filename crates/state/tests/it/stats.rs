//! Statistics of the index are the sums over records, turns and files.

use std::collections::HashMap;
use std::fs;

use selvedge_history::{StatsFold, ThreadActivity};
use selvedge_protocol::{
    GitInfo, SortDirection, StatsCounts, StatsKey, StatsQuery, StoredThread, ThreadFilter, ThreadId, ThreadLink,
    ThreadQuery, ThreadStats, Timestamp, UtcOffset,
};
use selvedge_rollout::ResolvedHistory;
use selvedge_state::StateIndex;
use serde_json::{Value, json};

use crate::homes::{Home, append, event, everything, recorded, rows, story, truth};

const KEYS: [StatsKey; 4] = [StatsKey::Day, StatsKey::Project, StatsKey::Model, StatsKey::Source];

/// What happened in each thread, and its bytes, by its files.
type Measures = HashMap<ThreadId, (ThreadActivity, u64)>;

fn measures(home: &Home, rows: &[StoredThread]) -> Measures {
    let files = home.home.files().unwrap();
    let of = |id| {
        let bytes = files.segments(id).iter().map(|file| fs::metadata(&file.path).unwrap().len()).sum();
        (ResolvedHistory::resolve(&files, id).unwrap().unwrap().read_activity(&files).unwrap(), bytes)
    };
    rows.iter().map(|row| (row.id, of(row.id))).collect()
}

/// Returns the expected result of a query, computed thread by thread.
fn expected(query: &StatsQuery, rows: &[StoredThread], measures: &Measures) -> ThreadStats {
    let selection = query.selection();
    let filter = ThreadFilter::new(&selection, || rows.iter().map(ThreadLink::of));
    let mut fold = StatsFold::new(query);
    for row in rows.iter().filter(|row| filter.matches(row)) {
        let (activity, bytes) = &measures[&row.id];
        fold.thread(row, activity, *bytes);
    }
    fold.finish()
}

/// Returns the offsets of a time zone that changes its offset once.
fn offsets() -> Vec<UtcOffset> {
    let at = |seconds| Timestamp::from_seconds(seconds);
    vec![
        UtcOffset { since: at(1_600_000_000), seconds: -9 * 3600 },
        UtcOffset { since: at(1_700_040_000), seconds: 14 * 3600 },
    ]
}

async fn check(name: &str, home: &Home, index: &StateIndex) {
    let all = rows(index).await;
    let measures = measures(home, &all);
    let archived = everything().archived;
    for by in KEYS {
        for direction in [SortDirection::Ascending, SortDirection::Descending] {
            for offsets in [Vec::new(), offsets()] {
                for threads in [
                    ThreadQuery { direction, ..everything() },
                    ThreadQuery { direction, limit: 1, ..ThreadQuery::default() },
                    ThreadQuery { direction, archived, sources: vec!["cli".to_owned()], ..ThreadQuery::default() },
                    ThreadQuery { direction, since: Some(Timestamp::from_seconds(1_700_100_000)), ..everything() },
                    ThreadQuery { direction, until: Some(Timestamp::from_seconds(1_700_100_000)), ..everything() },
                ] {
                    let query = StatsQuery { threads, by, offsets: offsets.clone() };
                    let stats = index.stats(&query).await.unwrap();
                    assert_eq!(stats, expected(&query, &all, &measures), "{name}: {query:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn statistics_of_every_recorded_home_are_right() {
    let (mut turns, mut tokens) = (0, 0);
    for (name, home) in recorded() {
        let index = home.index().await;
        index.update(|_| {}).await.unwrap();
        check(&name, &home, &index).await;
        let query = StatsQuery { threads: everything(), ..StatsQuery::default() };
        let total = index.stats(&query).await.unwrap().total;
        turns += total.turns;
        tokens += total.total_tokens;
    }
    assert!(turns > 100 && tokens > 0, "{turns} turns, {tokens} tokens");
}

/// Returns a generator of pseudo-random numbers with a fixed seed.
fn numbers() -> impl FnMut(usize) -> usize {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    }
}

fn counted(usage: &Value) -> String {
    event(&json!({"type": "token_count", "info": {"total_token_usage": usage}}))
}

#[tokio::test]
async fn statistics_of_unusual_threads_are_right() {
    let home = Home::new();
    let mut next = numbers();
    let usages = [
        json!({"input_tokens": 10, "cached_input_tokens": 4, "output_tokens": 5, "total_tokens": 15}),
        json!({"input_tokens": u64::MAX, "output_tokens": i64::MAX, "total_tokens": 1u64 << 49}),
        json!({"input_tokens": -3, "output_tokens": "many", "total_tokens": 1.5, "reasoning_output_tokens": null}),
        json!({"total_tokens": 7}),
    ];
    for _ in 0..60 {
        let (cwd, url, source) = (next(9), next(5), next(4));
        let seconds = [1_700_000_000 + next(200_000) as i64, -1 - next(200_000) as i64][usize::from(next(10) == 0)];
        let (_, path) = home.thread_with(|meta| {
            meta.timestamp = Some(Timestamp::from_seconds(seconds));
            meta.cwd = [
                Some("/srv"),
                Some("/srv//"),
                Some("/"),
                Some(""),
                None,
                Some(r"c:\p"),
                Some("C:/p/x/.."),
                Some(r"\\?\C:\P"),
                Some("/mnt/c/p"),
            ][cwd]
                .map(str::to_owned);
            meta.source =
                [Some(json!("cli")), Some(json!({"subagent": "review"})), Some(json!(7)), None][source].clone();
            let url = ["git@Host.org:a/b.git", "https://host.org/a/b", "/srv/a", "/", ""][url].into();
            meta.git = Some(GitInfo { repository_url: Some(url), ..GitInfo::default() });
        });
        if next(2) == 0 {
            append(&path, &event(&json!({"type": "thread_settings_applied", "thread_settings": {"model": "m"}})));
        }
        for _ in 0..next(20) {
            append(&path, &story(next(200)));
        }
        if next(3) > 0 {
            append(&path, &counted(&usages[next(usages.len())]));
        }
        if next(6) == 0 {
            fs::create_dir_all(home.home.archived_dir()).unwrap();
            fs::rename(&path, home.home.archived_dir().join(path.file_name().unwrap())).unwrap();
        }
    }
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    check("odd", &home, &index).await;
    let query = StatsQuery { threads: everything(), by: StatsKey::Project, offsets: Vec::new() };
    let stats = index.stats(&query).await.unwrap();
    let keys: Vec<_> = stats.groups.iter().map(|group| group.key.as_deref()).collect();
    assert!(
        keys.contains(&Some("host.org/a/b")) && keys.contains(&Some("/srv/a")) && keys.contains(&Some("/")),
        "{keys:?}"
    );
    assert!(
        keys.contains(&Some("/mnt/c/p")) && !keys.iter().flatten().any(|key| key.starts_with("C:")),
        "a directory is one group under the least of its names: {keys:?}"
    );
    assert_eq!(stats.total.threads, 60);
    let StatsCounts { input_tokens, turns, .. } = stats.total;
    assert!(input_tokens == u64::MAX && turns > 60, "sums end at the largest number: {:?}", stats.total);

    // A log that grew counts with its current content.
    let grown = rows(&index).await.remove(0);
    append(&truth(&home.home, grown.id).1, &(counted(&usages[3]) + &story(0)));
    index.update(|_| {}).await.unwrap();
    check("grown", &home, &index).await;
}

#[test]
fn days_begin_at_midnight_in_utc_or_in_local_time() {
    let mut query = StatsQuery::default();
    let mut thread = StoredThread::new(ThreadId::new(Timestamp::default()), Timestamp::from_seconds(1_700_006_399));
    assert_eq!(query.group_of(&thread).as_deref(), Some("2023-11-14"));
    thread.created_at = Timestamp::from_seconds(1_700_006_400);
    assert_eq!(query.group_of(&thread).as_deref(), Some("2023-11-15"));
    query.offsets = offsets();
    assert_eq!(query.group_of(&thread).as_deref(), Some("2023-11-14"));
    thread.created_at = Timestamp::from_seconds(1_700_040_000);
    assert_eq!(query.group_of(&thread).as_deref(), Some("2023-11-15"));
    thread.created_at = Timestamp::from_seconds(-1);
    assert_eq!(query.group_of(&thread).as_deref(), Some("1969-12-31"));
}
