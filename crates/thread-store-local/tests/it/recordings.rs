//! Recorded homes: the store reports about them what the recording programs reported.

use std::collections::BTreeMap;

use selvedge_protocol::{
    ArchivedFilter, ItemOrigin, ItemsView, ResponseItem, SearchQuery, ThreadId, ThreadQuery, ThreadSortKey,
    TurnBoundary, TurnQuery, TurnStatus,
};
use selvedge_thread_store::{BatchId, ForkThread, ThreadReader, ThreadStore};
use serde_json::Value;

use crate::home::{RECORDINGS, TestHome, all_recordings, expected};

/// The only turn that the undo of this thread left is before a compaction, of which the migration left nothing.
const EMPTIED: &str = "01a1fdfa-80e0-7c80-bec4-b37cfa6f4cac";

fn everything() -> ThreadQuery {
    ThreadQuery { archived: ArchivedFilter::All, limit: 1000, ..ThreadQuery::default() }
}

/// Converts `userMessage` to the spelling of this project.
fn snake(kind: &str) -> String {
    kind.chars().flat_map(|c| if c.is_uppercase() { vec!['_', c.to_ascii_lowercase()] } else { vec![c] }).collect()
}

#[tokio::test]
async fn each_thread_is_listed_once_newest_update_first() {
    for folder in RECORDINGS {
        let home = TestHome::recorded(folder);
        let page = home.store.list_threads(&everything()).await.unwrap();
        let mut ids: Vec<ThreadId> = page.items.iter().map(|thread| thread.id).collect();
        let places: Vec<_> = page.items.iter().map(|thread| (thread.updated_at, thread.id)).collect();
        assert!(places.is_sorted_by(|one, next| one > next), "{folder}: {places:?}");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), page.items.len(), "{folder}");
        let files = home.files().iter().filter(|path| path.to_string_lossy().contains("rollout-")).count();
        // Only the reverted thread of one story has two files.
        assert_eq!(ids.len(), if folder == "story-0.169.0" { files - 1 } else { files }, "{folder}");
    }
}

#[tokio::test]
async fn records_are_what_the_recording_program_listed() {
    for folder in ["story-0.144.6", "story-0.169.0"] {
        let home = TestHome::recorded(folder);
        let expected = expected(folder);
        for (letter, read) in expected["read"].as_object().unwrap() {
            let id: ThreadId = read["id"].as_str().unwrap().parse().unwrap();
            let thread = home.store.read_thread(id).await.unwrap();
            let name = format!("{folder} {letter}");
            assert_eq!(thread.name.as_deref(), read["name"].as_str(), "{name}");
            assert_eq!(thread.cwd.as_deref(), read["cwd"].as_str(), "{name}");
            assert_eq!(thread.model_provider.as_deref(), read["modelProvider"].as_str(), "{name}");
            assert_eq!(thread.cli_version.as_deref(), read["cliVersion"].as_str(), "{name}");
            assert_eq!(thread.source.as_ref(), Some(&read["source"]), "{name}");
            assert_eq!(thread.history_mode.as_str(), read["historyMode"].as_str().unwrap(), "{name}");
            assert_eq!(
                thread.forked_from_id.map(|id| id.to_string()).as_deref(),
                read["forkedFromId"].as_str(),
                "{name}"
            );
            let git = thread.git.as_ref().unwrap();
            assert_eq!(git.commit_hash.as_deref(), read["gitInfo"]["sha"].as_str(), "{name}");
            assert_eq!(git.branch.as_deref(), read["gitInfo"]["branch"].as_str(), "{name}");
            assert_eq!(thread.model.as_deref(), Some("mock-model"), "{name}");
            assert!(thread.token_usage.as_ref().unwrap().total_tokens.unwrap() > 0, "{name}");
            assert_eq!(thread.archived, letter == "A", "{name}");
            assert_eq!(thread.updated_at.as_seconds(), read["updatedAt"].as_i64().unwrap(), "{name}");
            let reverted = folder == "story-0.169.0" && letter == "T";
            if !reverted {
                // For a reverted thread that program reports the value of the newest segment.
                assert_eq!(thread.created_at.as_seconds(), read["createdAt"].as_i64().unwrap(), "{name}");
            }
            assert_eq!(thread.preview.as_deref(), read["preview"].as_str(), "{name}");
        }
    }
}

#[tokio::test]
async fn turns_are_what_the_recording_program_read() {
    for folder in ["story-0.144.6", "story-0.169.0"] {
        let home = TestHome::recorded(folder);
        for (letter, read) in expected(folder)["read"].as_object().unwrap() {
            let id: ThreadId = read["id"].as_str().unwrap().parse().unwrap();
            let turns = home.store.list_turns(&TurnQuery::all(id)).await.unwrap().items;
            let wanted: Vec<(String, String, Vec<String>)> =
                read["turns"].as_array().unwrap().iter().map(turn_of).collect();
            let found: Vec<(String, String, Vec<String>)> = turns
                .iter()
                .map(|turn| {
                    // The program does not show what no event tells.
                    let items = turn.items.iter().filter(|item| item.origin == ItemOrigin::Event);
                    let kinds = items.map(|item| item.kind().to_owned()).collect();
                    (turn.id.to_string(), status(turn.status), kinds)
                })
                .collect();
            assert_eq!(found, wanted, "{folder} {letter}");
        }
    }
}

fn turn_of(turn: &Value) -> (String, String, Vec<String>) {
    let kinds = turn["items"].as_array().unwrap().iter().map(|item| snake(item["type"].as_str().unwrap())).collect();
    (turn["id"].as_str().unwrap().to_owned(), snake(turn["status"].as_str().unwrap()), kinds)
}

fn status(status: TurnStatus) -> String {
    serde_json::to_value(status).unwrap().as_str().unwrap().to_owned()
}

/// Returns what is compared of a model input: everything except what a program adds itself.
fn comparable(item: &Value) -> Value {
    const IGNORED: [&str; 5] = ["id", "metadata", "internal_chat_message_metadata_passthrough", "phase", "status"];
    let fields = item.as_object().unwrap().iter();
    fields
        .filter(|(key, value)| !IGNORED.contains(&key.as_str()) && !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[tokio::test]
async fn contexts_are_what_the_model_was_sent_after_a_resume() {
    for folder in ["story-0.144.6", "story-0.169.0", "story-0.171.0-kinds", "story-0.171.0-migrated"] {
        let home = TestHome::recorded(folder);
        let expected = expected(folder);
        for (letter, input) in expected["model_input_after_resume"].as_object().unwrap() {
            let id: ThreadId = expected["threads"][letter].as_str().unwrap().parse().unwrap();
            let context = home.store.load_model_context(id).await.unwrap();
            let ours: Vec<Value> = context.history.iter().map(|item| comparable(&value_of(item))).collect();
            let mut theirs: Vec<Value> = input.as_array().unwrap().iter().map(comparable).collect();
            if theirs[0]["content"][0]["text"] == "You are a careful assistant." {
                theirs.remove(0);
            }
            assert!(theirs.len() > ours.len(), "{folder} {letter}");
            assert_eq!(ours.is_empty(), id.to_string() == EMPTIED, "{folder} {letter}");
            assert_eq!(theirs[..ours.len()], ours, "{folder} {letter}");
        }
    }
}

fn value_of(item: &ResponseItem) -> Value {
    serde_json::from_str(item.json().get()).unwrap()
}

#[tokio::test]
async fn every_thread_of_every_era_can_be_read() {
    for folder in RECORDINGS {
        let home = TestHome::recorded(folder);
        for thread in home.store.list_threads(&everything()).await.unwrap().items {
            let history = home.store.load_history(thread.id).await.unwrap();
            assert!(!history.lines.is_empty() && history.damage.is_empty(), "{folder}");
            let turns = home.store.list_turns(&TurnQuery::all(thread.id)).await.unwrap().items;
            assert!(!turns.is_empty(), "{folder}: {}", thread.id);
            let context = home.store.load_model_context(thread.id).await.unwrap();
            assert_eq!(context.history.is_empty(), thread.id.to_string() == EMPTIED, "{folder}");
        }
    }
}

#[tokio::test]
async fn an_export_returns_the_bytes_of_the_files() {
    for folder in RECORDINGS {
        let home = TestHome::recorded(folder);
        for thread in home.store.list_threads(&everything()).await.unwrap().items {
            let mut exported = Vec::new();
            let len = home.store.export(thread.id, &mut exported).await.unwrap();
            assert_eq!(len, exported.len() as u64);
            let own = std::fs::read(thread.location.as_ref().unwrap()).unwrap();
            assert!(exported.ends_with(&own));
            let history = home.store.load_history(thread.id).await.unwrap();
            let texts: Vec<String> = history.lines.iter().map(|line| format!("{}\n", line.text())).collect();
            assert_eq!(String::from_utf8(exported).unwrap(), texts.concat(), "{folder}: {}", thread.id);
            if history.inherited == 0 && folder != "story-0.169.0" {
                assert_eq!(own, texts.concat().as_bytes());
            }
        }
    }
}

#[tokio::test]
async fn a_reverted_thread_continues_at_its_boundary() {
    let home = TestHome::recorded("story-0.169.0");
    let id: ThreadId = "01a1fd5d-aacb-7641-837d-630af077ebd5".parse().unwrap();
    let history = home.store.load_history(id).await.unwrap();
    let ordinals: Vec<u64> = history.lines.iter().map(|line| line.ordinal().unwrap()).collect();
    assert_eq!(ordinals, (0..ordinals.len() as u64).collect::<Vec<_>>());
    assert!(!history.lines.iter().any(|line| line.text().contains("question that will be undone")));
}

#[tokio::test]
async fn every_recorded_thread_can_be_resumed_and_forked() {
    for folder in RECORDINGS {
        let home = TestHome::recorded(folder);
        for (n, thread) in home.store.list_threads(&everything()).await.unwrap().items.into_iter().enumerate() {
            let before = home.store.load_model_context(thread.id).await.unwrap();
            let item = ResponseItem::user_text("one more");
            home.store.resume_thread(thread.id).await.unwrap();
            home.store.append_items(thread.id, BatchId::generate(), &[item.clone().into()]).await.unwrap();
            home.store.shutdown_thread(thread.id).await.unwrap();
            let after = home.store.load_model_context(thread.id).await.unwrap();
            assert_eq!(after.history[..before.history.len()], before.history[..], "{folder}");
            assert_eq!(after.history.last(), Some(&item), "{folder}");

            let fork_id = selvedge_thread_store_conformance::fixtures::id(u32::try_from(n).unwrap());
            let meta = selvedge_protocol::SessionMeta::new(
                fork_id,
                selvedge_thread_store_conformance::fixtures::second(90_000),
            );
            let request = ForkThread { source: thread.id, at: TurnBoundary::Latest, meta };
            let fork = home.store.fork_thread(request).await.unwrap();
            let fork = home.store.read_thread(fork).await.unwrap();
            assert_eq!(fork.forked_from_id, Some(thread.id));
            assert_eq!(fork.cwd.is_some(), thread.cwd.is_some());
            // The sub-agent had no message of its own before.
            assert_eq!(fork.preview, thread.preview.or(Some("one more".to_owned())), "{folder}");
            let forked = home.store.load_model_context(fork_id).await.unwrap();
            assert_eq!(forked.history, after.history, "{folder}: {}", thread.id);
            assert_eq!(forked.world_state, after.world_state, "{folder}");
        }
    }
}

#[tokio::test]
async fn lists_by_every_key_and_pages_of_every_size_agree() {
    let home = TestHome::recorded("story-0.144.6");
    for sort in [ThreadSortKey::CreatedAt, ThreadSortKey::UpdatedAt, ThreadSortKey::RecencyAt] {
        let all = home.store.list_threads(&ThreadQuery { sort, ..everything() }).await.unwrap().items;
        for limit in 1..=7 {
            let mut query = ThreadQuery { sort, limit, ..everything() };
            let mut paged = Vec::new();
            loop {
                let page = home.store.list_threads(&query).await.unwrap();
                paged.extend(page.items);
                query.cursor = page.next_cursor;
                if query.cursor.is_none() {
                    break;
                }
            }
            assert_eq!(paged, all, "{sort:?} by {limit}");
        }
    }
}

#[tokio::test]
async fn a_search_returns_the_turn_of_each_hit() {
    let home = TestHome::recorded("story-0.169.0");
    let hits = home.store.search_threads(&SearchQuery::new("WALRUS")).await.unwrap().items;
    let kinds: BTreeMap<&str, usize> = hits.iter().fold(BTreeMap::new(), |mut kinds, hit| {
        *kinds.entry(hit.kind.as_str()).or_default() += 1;
        kinds
    });
    assert_eq!(kinds.keys().copied().collect::<Vec<_>>(), ["agent_message", "user_message"]);
    for hit in &hits {
        assert_eq!(hit.thread.id.to_string(), "01a1fd5d-aacb-7641-837d-630af077ebd5");
        assert_eq!(hit.turn_id.as_ref().unwrap().as_str(), "01a1fd5d-ad7d-7e72-a9b3-3ea96245f137");
        let (start, end) = hit.highlights[0];
        assert_eq!(hit.snippet[start..end].to_lowercase(), "walrus");
    }
}

#[tokio::test]
async fn a_page_of_turns_can_be_read_without_items() {
    let home = TestHome::recorded("story-0.169.0");
    let id: ThreadId = "01a1fd5d-ba9e-7a91-89fe-30bc9e36e105".parse().unwrap();
    let query = TurnQuery { items_view: ItemsView::None, ..TurnQuery::all(id) };
    assert!(home.store.list_turns(&query).await.unwrap().items.iter().all(|turn| turn.items.is_empty()));
}

#[tokio::test]
async fn a_context_read_from_the_end_equals_that_of_a_full_replay() {
    for folder in all_recordings() {
        let home = TestHome::recorded(&folder);
        for thread in home.store.list_threads(&everything()).await.unwrap().items {
            let history = home.store.load_history(thread.id).await.unwrap();
            let context = home.store.load_model_context(thread.id).await.unwrap();
            assert_eq!(context, selvedge_history::replay_lines(&history.lines), "{folder}: {}", thread.id);
        }
    }
}

/// Lines before the newest compaction and the turn before it are not read: overwriting them changes nothing.
#[tokio::test]
async fn a_context_reads_no_further_than_the_newest_compaction() {
    let home = TestHome::recorded("story-0.169.0");
    let id: ThreadId = "01a1fd5d-aacb-7641-837d-630af077ebd5".parse().unwrap();
    let context = home.store.load_model_context(id).await.unwrap();
    let sessions = home.path().join("sessions/2026/11/21");
    let base = sessions.join("rollout-2026-11-21T09-08-56-01a1fd5d-aacb-7641-837d-630af077ebd5.jsonl");
    let mut bytes = std::fs::read(&base).unwrap();
    let first = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    bytes[first + 1..].fill(b'x');
    std::fs::write(&base, bytes).unwrap();
    assert_eq!(home.store.load_model_context(id).await.unwrap(), context);
    assert!(!home.store.load_history(id).await.unwrap().damage.is_empty());
}
