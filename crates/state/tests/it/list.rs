//! Pages of threads match their query.

use std::collections::HashSet;
use std::fs;

use selvedge_protocol::{
    ArchivedFilter, Cursor, CwdFilter, Relation, SessionMeta, SortDirection, StoredThread, ThreadCursor, ThreadFilter,
    ThreadLink, ThreadQuery, ThreadSortKey, Timestamp,
};
use selvedge_rollout::{NameIndex, now};

use crate::homes::{Home, append, everything, rows, says, write_head};

/// Returns a home whose threads differ in everything that a query can ask for.
async fn varied() -> (Home, Vec<StoredThread>) {
    let home = Home::new();
    let mut parent = None;
    let mut earlier = Vec::new();
    for number in 0..40_i64 {
        let (id, path) = home.thread_with(|meta| {
            meta.timestamp = Some(Timestamp::from_seconds(1_700_000_000 + number / 3));
            meta.cwd = Some(
                [
                    "/home/ada/project",
                    "/home/ada/project/",
                    "/home/ada/project/deep/er",
                    "/home/ada/projects",
                    "/home/ada/Project",
                    "/100%_/x",
                    "/home//ada/./project/x/..",
                    r"C:\Users\Ada\größe",
                    "/mnt/c/users/ada/GRÖßE/deep",
                    r"\\server\share\x",
                    r"\\?\UNC\Server\share\X\y",
                ][number as usize % 11]
                    .into(),
            );
            meta.source = Some(
                [serde_json::json!("cli"), serde_json::json!({"subagent": "review"})][number as usize % 2].clone(),
            );
            meta.model_provider = Some(["openai", "local"][number as usize % 2].into());
            meta.forked_from_id = parent.filter(|_| number % 5 == 1);
            meta.parent_thread_id = parent.filter(|_| number % 5 == 2);
            // Generations: forked from the thread before the last one, and a child of the last one.
            if number % 5 == 3 {
                meta.forked_from_id = earlier.get(earlier.len().wrapping_sub(2)).copied();
                meta.parent_thread_id = earlier.last().copied();
            }
            meta.git = Some(selvedge_protocol::GitInfo {
                branch: Some(["main", "topic"][number as usize % 2].into()),
                repository_url: [
                    Some("git@Host.org:owner/näme.git"),
                    Some("https://host.org/other/näme"),
                    Some("/srv/50%_off/x"),
                    None,
                ][number as usize % 4]
                    .map(Into::into),
                ..Default::default()
            });
        });
        parent = parent.or(Some(id));
        if number % 5 != 0 {
            earlier.push(id);
        }
        append(&path, &says(["Über alles", "plain words", "100% _sure_"][number as usize % 3]));
        if number % 4 == 0 {
            NameIndex::set(&home.home, id, Some(["Ärger", "name"][number as usize / 4 % 2]), selvedge_rollout::now())
                .unwrap();
        }
        if number % 7 == 0 {
            let archived = home.home.archived_dir().join(path.file_name().unwrap());
            fs::create_dir_all(home.home.archived_dir()).unwrap();
            fs::rename(path, archived).unwrap();
        }
    }
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    let all = rows(&index).await;
    assert_eq!(all.len(), 40);
    (home, all)
}

#[tokio::test]
async fn every_filter_agrees_with_that_of_the_protocol() {
    let (home, all) = varied().await;
    let index = home.index().await;
    let some = |change: fn(&mut ThreadQuery)| {
        let mut query = everything();
        change(&mut query);
        query
    };
    let mut queries = vec![
        some(|query| query.archived = ArchivedFilter::Active),
        some(|query| query.archived = ArchivedFilter::Archived),
        some(|query| query.sources = vec!["subagent".into()]),
        some(|query| query.sources = vec!["cli".into(), "exec".into()]),
        some(|query| query.model_providers = vec!["local".into()]),
        some(|query| query.models = vec!["none".into()]),
        some(|query| query.cwd = vec![CwdFilter::Exactly("/home/ada/project/".into())]),
        some(|query| query.cwd = vec![CwdFilter::Under("/home/ada/project".into())]),
        some(|query| query.cwd = vec![CwdFilter::Under("/100%_".into())]),
        some(|query| query.cwd = vec![CwdFilter::Under("/".into())]),
        some(|query| query.cwd = vec![CwdFilter::Under("/mnt/".into())]),
        some(|query| query.cwd = vec![CwdFilter::Exactly(r"\\?\c:\USERS\ada\GRÖßE".into())]),
        some(|query| query.cwd = vec![CwdFilter::Under(r"C:\Users".into())]),
        some(|query| query.cwd = vec![CwdFilter::Under(r"\\server".into())]),
        some(|query| {
            query.cwd = vec![CwdFilter::Exactly("/100%_/x/".into()), CwdFilter::Under(r"\\SERVER\share".into())];
        }),
        some(|query| query.cwd = vec![CwdFilter::Under(String::new())]),
        some(|query| query.git_branch = Some("topic".into())),
        some(|query| query.named = Some(true)),
        some(|query| query.named = Some(false)),
        some(|query| query.search_term = Some("ÄRGER".into())),
        some(|query| query.search_term = Some("über".into())),
        some(|query| query.search_term = Some("% _".into())),
        some(|query| query.search_term = Some("'".into())),
    ];
    for sort in [ThreadSortKey::CreatedAt, ThreadSortKey::UpdatedAt, ThreadSortKey::RecencyAt] {
        let middle = sort.of(&all[20]);
        queries.push(ThreadQuery { sort, since: Some(middle), ..everything() });
        queries.push(ThreadQuery { sort, until: Some(middle), direction: SortDirection::Ascending, ..everything() });
    }
    let parent = all.iter().find_map(|thread| thread.forked_from_id).unwrap();
    queries.push(ThreadQuery { relation: Some(Relation::ChildOf(parent)), ..everything() });
    for thread in [parent, all[25].id, all[32].id] {
        queries.push(ThreadQuery { relation: Some(Relation::DescendantOf(thread)), ..everything() });
    }
    for repository in
        ["https://host.org/owner/näme.git", "näme", "owner/näme", "%_off/x", "50%_off/x", "/srv/50%_off/x", "x", ""]
    {
        queries.push(ThreadQuery { git_repository: Some(repository.into()), ..everything() });
    }
    let mut found_any = 0;
    for query in &queries {
        let filter = ThreadFilter::new(query, || all.iter().map(ThreadLink::of));
        let mut expected: Vec<_> = all.iter().filter(|thread| filter.matches(thread)).cloned().collect();
        expected.sort_by(|one, other| {
            ThreadCursor::of(one, query.sort).cmp(&ThreadCursor::of(other, query.sort), query.direction)
        });
        found_any += usize::from(!expected.is_empty() && expected.len() < all.len());
        assert_eq!(index.list_threads(query).await.unwrap().items, expected, "{query:?}");
    }
    assert!(found_any >= queries.len() - 8, "nearly every query finds a thread");
}

#[tokio::test]
async fn pages_have_each_thread_once_in_both_directions() {
    let (home, all) = varied().await;
    let index = home.index().await;
    for sort in [ThreadSortKey::CreatedAt, ThreadSortKey::UpdatedAt, ThreadSortKey::RecencyAt] {
        for direction in [SortDirection::Ascending, SortDirection::Descending] {
            for limit in [1, 7, 40, 41] {
                let mut query = ThreadQuery { sort, direction, limit, ..everything() };
                let mut found = Vec::new();
                loop {
                    let page = index.list_threads(&query).await.unwrap();
                    assert!(page.items.len() <= limit);
                    found.extend(page.items);
                    query.cursor = page.next_cursor;
                    if query.cursor.is_none() {
                        break;
                    }
                }
                let mut expected = all.clone();
                expected
                    .sort_by(|one, other| ThreadCursor::of(one, sort).cmp(&ThreadCursor::of(other, sort), direction));
                assert_eq!(found, expected);
            }
        }
    }
}

#[tokio::test]
async fn new_and_deleted_threads_move_no_other_thread_past_a_page() {
    let (home, all) = varied().await;
    let index = home.index().await;
    let mut query = ThreadQuery { sort: ThreadSortKey::CreatedAt, limit: 10, ..everything() };
    let mut found = Vec::new();
    loop {
        let page = index.list_threads(&query).await.unwrap();
        found.extend(page.items.iter().map(|thread| thread.id));
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            break;
        }
        // A thread of an earlier page is deleted, and a newer one is created.
        fs::remove_file(page.items[0].location.as_ref().unwrap()).unwrap();
        home.thread();
        index.update(|_| {}).await.unwrap();
    }
    assert_eq!(found.len(), 40);
    assert_eq!(found.iter().collect::<HashSet<_>>(), all.iter().map(|thread| &thread.id).collect());
}

#[tokio::test]
async fn an_impossible_page_is_refused() {
    let home = Home::new();
    let index = home.index().await;
    assert!(index.list_threads(&ThreadQuery { limit: 0, ..everything() }).await.is_err());
    let cursor = Some(Cursor::at_position(3));
    assert!(index.list_threads(&ThreadQuery { cursor, ..everything() }).await.is_err());
}

#[tokio::test]
async fn descendants_in_a_circle_and_in_a_long_chain() {
    let home = Home::new();
    let mut threads = Vec::new();
    for number in 0..300_usize {
        let before = threads.last().map(|(id, _)| *id);
        threads.push(home.thread_with(|meta| match number % 2 {
            0 => meta.forked_from_id = before,
            _ => meta.parent_thread_id = before,
        }));
    }
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    let descendants = async |id| {
        let query = ThreadQuery { relation: Some(Relation::DescendantOf(id)), ..everything() };
        index.list_threads(&query).await.unwrap().items.len()
    };
    let ((first, path), late) = (&threads[0], threads[290].0);
    assert_eq!(descendants(*first).await, 299);
    assert_eq!(descendants(late).await, 9);

    // Now the first descends from the last.
    let meta = SessionMeta { parent_thread_id: Some(threads[299].0), ..SessionMeta::new(*first, now()) };
    write_head(path, &meta);
    index.update(|_| {}).await.unwrap();
    assert_eq!(descendants(*first).await, 299);
    assert_eq!(descendants(late).await, 299);
}

#[tokio::test]
async fn each_directory_is_returned_once() {
    let (home, _) = varied().await;
    let found = home.index().await.directories().await.unwrap();
    let expected = [
        "/100%_/x",
        "/home/ada/Project",
        "/home/ada/project",
        "/home/ada/project/deep/er",
        "/home/ada/projects",
        r"C:\Users\Ada\größe",
        "/mnt/c/users/ada/GRÖßE/deep",
        r"\\server\share\x",
        r"\\Server\share\X\y",
    ];
    assert_eq!(found.iter().map(String::as_str).collect::<HashSet<_>>(), HashSet::from(expected));
    assert_eq!(found.len(), expected.len());
}
