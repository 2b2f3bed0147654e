//! Statistics are the same from the index and from the logs.

use selvedge_protocol::{ArchivedFilter, Relation, StatsKey, StatsQuery, ThreadQuery, Timestamp, UtcOffset};
use selvedge_thread_store::ThreadReader;

use crate::home::{TestHome, all_recordings};

#[tokio::test]
async fn statistics_of_the_index_equal_those_of_the_logs() {
    for folder in all_recordings() {
        let home = TestHome::recorded(&folder);
        let logs = TestHome::recorded(&folder).without_index();
        let all = ThreadQuery { archived: ArchivedFilter::All, ..ThreadQuery::default() };
        let parent = logs.store.list_threads(&all).await.unwrap().items.iter().find_map(|thread| thread.forked_from_id);
        let offsets = vec![UtcOffset { since: Timestamp::default(), seconds: 50_000 }];
        for by in [StatsKey::Day, StatsKey::Project, StatsKey::Model, StatsKey::Source] {
            let relation = parent.filter(|_| by == StatsKey::Model).map(Relation::DescendantOf);
            let threads = ThreadQuery { relation, limit: 1, ..all.clone() };
            let query = StatsQuery { threads, by, offsets: offsets.clone() };
            let from_logs = logs.store.thread_stats(&query).await.unwrap();
            assert!(!from_logs.groups.is_empty() && from_logs.total.turns > 0, "{folder}");
            assert_eq!(home.store.thread_stats(&query).await.unwrap(), from_logs, "{folder}: {query:?}");
        }
    }
}
