//! The index says of every recorded home what its logs say.

use selvedge_protocol::{ArchivedFilter, SortDirection, ThreadQuery, ThreadSortKey};
use selvedge_rollout::RolloutHome;
use selvedge_state::StateIndex;
use selvedge_thread_store::ThreadStore;

use crate::home::{TestHome, all_recordings};

#[tokio::test]
async fn the_index_lists_what_the_logs_list() {
    for folder in all_recordings() {
        let home = TestHome::recorded(&folder);
        let rollouts = RolloutHome::new(home.path());
        let index = StateIndex::open(&rollouts, &StateIndex::path_in(&rollouts)).await.unwrap();
        index.sync(|_| {}).await.unwrap();
        for sort in [ThreadSortKey::CreatedAt, ThreadSortKey::UpdatedAt, ThreadSortKey::RecencyAt] {
            for direction in [SortDirection::Ascending, SortDirection::Descending] {
                let archived = ArchivedFilter::All;
                let query = ThreadQuery { sort, direction, archived, limit: 1000, ..ThreadQuery::default() };
                let from_logs = home.store.list_threads(&query).await.unwrap();
                assert!(!from_logs.items.is_empty(), "{folder}");
                assert_eq!(index.list_threads(&query).await.unwrap(), from_logs, "{folder}");
            }
        }
    }
}
