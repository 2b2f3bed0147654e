//! The examples of the landing pages record threads that a list and a transcript show. Each one is run as a reader would run it.

#![expect(clippy::unused_async, reason = "examples keep the form that they have on their page")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use selvedge::{LocalThreadStore, NewThread, ResponseItem, ThreadQuery, ThreadStore, TurnSettings};
use selvedge_protocol::{ItemContent, Page, StoredThread, TurnQuery};
use serde_json::json;

use crate::support::Home;

type ExampleResult<T = ()> = Result<T, Box<dyn Error>>;

const SOURCE: &str = include_str!("landing_pages.rs");

async fn readme(home: &Path) -> ExampleResult {
    let threads = selvedge::open(home);
    let thread = threads.start(NewThread::in_dir("/srv/project").model("gpt-x")).await?;

    let turn = thread.begin_turn(TurnSettings::default()).await?;
    turn.user_message("where is the bug?").await?;
    let call = turn.tool_call("call_1", "read_file", &json!({"path": "src/main.rs"})).await?;
    call.finish("fn main() {}").await?;
    turn.agent_message("found it").await?;
    turn.complete().await?;

    let next = thread.model_input().await?; // what the model sees next
    assert!(next.len() > 1);
    Ok(())
}

async fn facade(home: &Path) -> ExampleResult {
    let threads = selvedge::open(home);
    let thread = threads.start(NewThread::in_dir("/srv/project").model("gpt-x")).await?;

    let turn = thread.begin_turn(TurnSettings::default()).await?;
    turn.user_message("where is the bug?").await?;
    let call = turn.tool_call("call_1", "read_file", &json!({"path": "src/main.rs"})).await?;
    call.finish("fn main() {}").await?;
    turn.agent_message("found it").await?;
    turn.complete().await?;

    // What the model sees next. It is always current: also after a rewind, a compaction or a dropped call.
    let next = thread.model_input().await?;
    assert_eq!(next.len(), 4);
    Ok(())
}

async fn manager(home: &Path) -> ExampleResult {
    use selvedge_thread_manager::ThreadManager;

    let manager = ThreadManager::new(Arc::new(LocalThreadStore::open(home))); // On the page, the store is in memory.
    let thread = manager.start(NewThread::in_dir("/srv").model("gpt-x")).await?;
    let turn = thread.begin_turn(TurnSettings::default()).await?;
    turn.user_message("how many files are there?").await?;
    let call = turn.tool_call("call_1", "count_files", &json!({"dir": "/srv"})).await?;
    call.finish("12").await?;
    turn.agent_message("There are 12 files.").await?;
    turn.complete().await?;
    thread.shutdown().await?;

    let thread = manager.open(thread.id()).await?;
    assert_eq!(thread.model_input().await?.len(), 4);
    Ok(())
}

async fn local_store(home: &Path) -> ExampleResult {
    use selvedge_protocol::{SessionMeta, ThreadId, Timestamp};
    use selvedge_thread_store::BatchId;

    let store = LocalThreadStore::open(home); // On the page, `home.path()`.
    let now: Timestamp = std::time::SystemTime::now().into();
    let id = ThreadId::new(now);
    store.create_thread(SessionMeta::new(id, now)).await?;
    store.append_items(id, BatchId::generate(), &[ResponseItem::user_text("hello").into()]).await?;
    store.shutdown_thread(id).await?;
    assert_eq!(selvedge::ThreadReader::list_threads(&store, &ThreadQuery::default()).await?.items[0].id, id);
    Ok(())
}

async fn contract(home: &Path) -> ExampleResult {
    use selvedge_protocol::{SessionMeta, ThreadId, Timestamp};
    use selvedge_thread_store::{BatchId, ThreadReader};

    let store = LocalThreadStore::open(home); // On the page, the store is in memory.
    let now: Timestamp = "2026-11-21T09:08:56.680Z".parse()?;
    let id = ThreadId::new(now);
    store.create_thread(SessionMeta::new(id, now)).await?;
    store.append_items(id, BatchId::generate(), &[ResponseItem::user_text("hello").into()]).await?;
    assert_eq!(store.load_history(id).await?.lines.len(), 2);
    store.shutdown_thread(id).await?;
    Ok(())
}

async fn log(home: &Path) -> ExampleResult {
    use selvedge_protocol::log::Entry;
    use selvedge_protocol::{SessionMeta, ThreadId};
    use selvedge_rollout::{RolloutHome, RolloutReader, RolloutRecorder, now};

    let home = RolloutHome::new(home); // On the page, `dir.path()`.
    let id = ThreadId::new(now());
    let recorder = RolloutRecorder::create(&home, SessionMeta::new(id, now()))?;
    recorder.append(&[ResponseItem::user_text("hello").into()])?;

    let lines: Vec<Entry> = RolloutReader::open(&recorder.path())?.collect::<Result<_, _>>()?;
    assert_eq!(lines.len(), 2);
    Ok(())
}

/// A page, the text of its example, and the function above that runs it, with the text that a transcript must show.
const PAGES: [(&str, &str, &str, &str); 6] = [
    ("README.md", include_str!("../../../../README.md"), "readme", "found it"),
    ("selvedge", include_str!("../../../selvedge/src/lib.rs"), "facade", "found it"),
    ("thread-manager", include_str!("../../../thread-manager/src/lib.rs"), "manager", "There are 12 files."),
    ("thread-store-local", include_str!("../../../thread-store-local/src/lib.rs"), "local_store", "hello"),
    ("thread-store", include_str!("../../../thread-store/src/lib.rs"), "contract", "hello"),
    ("rollout", include_str!("../../../rollout/src/lib.rs"), "log", "hello"),
];

async fn run_example(name: &str, home: &Path) -> ExampleResult {
    match name {
        "readme" => readme(home).await,
        "facade" => facade(home).await,
        "manager" => manager(home).await,
        "local_store" => local_store(home).await,
        "contract" => contract(home).await,
        _ => log(home).await,
    }
}

#[tokio::test]
async fn every_example_is_listed_and_shown() -> ExampleResult {
    for (page, text, name, wanted) in PAGES {
        check_text(page, text, name);
        let home = Home::missing();
        run_example(name, &home.path()).await.unwrap_or_else(|error| panic!("{page}: {error}"));

        let store = LocalThreadStore::open(home.path());
        let Page { items, .. } = selvedge::ThreadReader::list_threads(&store, &ThreadQuery::default()).await?;
        let [StoredThread { id, preview, .. }] = items.as_slice() else { panic!("{page}: {items:?}") };
        assert!(preview.is_some(), "{page}: a list shows nothing of the thread");
        let turns = selvedge::ThreadReader::list_turns(&store, &TurnQuery::all(*id)).await?.items;
        let is_said = |item: &ItemContent| matches!(item, ItemContent::UserMessage { .. });
        assert!(turns.iter().all(|turn| turn.items.iter().any(|item| is_said(&item.content))), "{page}: {turns:?}");

        let (list, shown) = (home.ok(&["list"]), home.ok(&["show", &id.to_string()]));
        assert!(list.contains(preview.as_deref().unwrap_or("?")), "{page}: {list}");
        assert!(shown.contains(wanted), "{page}: {wanted} is not in:\n{shown}");
    }
    Ok(())
}

/// Checks that the function runs what the page shows: apart from imports, hidden lines and the place of the home, the lines of
/// the example are those of the function, in their order.
fn check_text(page: &str, text: &str, name: &str) {
    let is_readme = page.ends_with(".md");
    let lines = text.lines().map(|line| if is_readme { line } else { line.trim_start_matches("//!").trim_start() });
    let wanted = if is_readme { "```rust" } else { "```" };
    // Every block begins and ends with a fence, so the blocks are every other part. Fences say which language a block has.
    let (mut fence, mut example) = (None, Vec::new());
    for line in lines {
        match (fence, line.starts_with("```")) {
            (None, true) => fence = Some(line),
            (Some(kind), true) if kind == wanted => break,
            (Some(_), true) => fence = None,
            (Some(kind), false) if kind == wanted => example.push(line),
            _ => {}
        }
    }
    let function = SOURCE.split_once(&format!("async fn {name}(")).map_or("", |(_, rest)| rest);
    let function = function.split_once("\n}\n").map_or("", |(body, _)| body);
    let mut ours = function.lines().map(str::trim);
    let is_checked = |line: &&str| {
        let line = line.trim();
        let is_place =
            ["InMemoryThreadStore::new()", "home.path()", "dir.path()"].iter().any(|place| line.contains(place));
        // What a page needs of other traits is written out here.
        let is_query = line.contains("list_threads");
        !(line.is_empty() || line.starts_with("# ") || line.starts_with("use ") || is_place || is_query)
    };
    let mut count = 0;
    for line in example.iter().filter(|line| is_checked(line)) {
        assert!(ours.any(|own| own == line.trim()), "{page} has a line that `{name}` does not have there: {line}");
        count += 1;
    }
    assert!(count > 3, "{page} has no example");
}
