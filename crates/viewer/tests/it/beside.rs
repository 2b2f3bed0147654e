//! What is beside a transcript: world state, context windows, relatives, comparison, activity, filters.

use selvedge_protocol::WorldState;
use selvedge_thread_manager::TurnSettings;
use serde_json::json;

use crate::answers::{a_thread, meta};
use crate::support::{TestViewer, all, link};

fn texts(page: &scraper::Html, selector: &str) -> Vec<String> {
    all(page, selector).iter().map(|element| element.text().collect::<String>().trim().to_owned()).collect()
}

#[tokio::test]
async fn the_world_state_is_shown_as_what_changed() {
    let viewer = TestViewer::empty().await;
    let live = viewer.manager.start(meta()).await.unwrap();
    let turn = live.begin_turn(TurnSettings::default()).await.unwrap();
    for (date, notes) in [("2026-11-27", "one\ntwo"), ("2026-11-28", "one\nthree"), ("2026-11-28", "one\nthree")] {
        let state = json!({"date": date, "environment": {"cwd": "/home/ada", "notes": notes}});
        turn.world_state(&WorldState::new(state).unwrap(), &[]).await.unwrap();
    }
    turn.complete().await.unwrap();
    let page = viewer.page(&format!("/threads/{}/world", live.id())).await;
    let labels = texts(&page, ".world .label");
    assert!(labels.len() == 2 && labels[0].starts_with("snapshot") && labels[1].starts_with("patch"), "{labels:?}");
    let changed = |of: &str| texts(&page, &format!(".world:last-child .diff .{of}"));
    assert_eq!(changed("removed"), ["-date: 2026-11-27", "-    two"]);
    assert_eq!(changed("added"), ["+date: 2026-11-28", "+    three"]);
}

#[tokio::test]
async fn compactions_say_what_they_kept_and_removed() {
    let viewer = TestViewer::of_sample("story-0.171.0-compactions").await;
    let mut compactions = Vec::new();
    for thread in viewer.threads().await {
        let page = viewer.page(&format!("/threads/{}/windows", thread.id)).await;
        compactions.extend(texts(&page, ".compaction > p:not(.label)"));
        assert_eq!(all(&page, "svg[role=img] polyline").len(), 1);
        assert!(texts(&page, ".ends span:first-child").iter().all(|first| first.starts_with("response 1")));
        assert_eq!(all(&page, "svg .mark").len(), all(&page, ".compaction").len(), "a mark for each compaction");
    }
    assert!(
        compactions.contains(&"Removed 9 items (3.46 KiB). Kept 5 items, summary included.".to_owned()),
        "{compactions:?}"
    );
}

#[tokio::test]
async fn a_sub_agent_is_a_link_and_stands_below_what_started_it() {
    let viewer = TestViewer::of_sample("story-0.171.0-kinds").await;
    let mut links = 0;
    for thread in viewer.threads().await {
        let page = viewer.page(&format!("/threads/{}", thread.id)).await;
        for link in all(&page, ".linked a") {
            viewer.page(link.value().attr("href").unwrap()).await;
            links += 1;
        }
        if let Some(parent) = thread.parent_thread_id {
            let tree = viewer.page(&format!("/threads/{}/relatives", thread.id)).await;
            let path = format!("/threads/{parent}");
            assert_eq!(all(&tree, "ul.tree > li > a")[0].value().attr("href"), Some(path.as_str()));
            assert_eq!(texts(&tree, "ul.tree li li a[aria-current]").len(), 1);
        }
    }
    assert!(links > 0);
}

#[tokio::test]
async fn a_sub_agent_with_the_history_of_its_parent_is_a_sub_agent_and_its_fork_a_fork() {
    let viewer = TestViewer::that_writes().await;
    let parent = a_thread(&viewer, &["the work"]).await;
    let mut agent = meta();
    (agent.parent_thread_id, agent.forked_from_id) = (Some(parent), Some(parent));
    (agent.agent_nickname, agent.agent_role) = (Some("Ash".to_owned()), Some("explorer".to_owned()));
    let mut fork = meta();
    (fork.parent_thread_id, fork.forked_from_id) = (Some(parent), agent.id);
    for head in [agent, fork] {
        let live = viewer.manager.start(head).await.unwrap();
        live.begin_turn(TurnSettings::default()).await.unwrap().complete().await.unwrap();
        live.shutdown().await.unwrap();
    }
    let tree = viewer.page(&format!("/threads/{parent}/relatives")).await;
    let relations = texts(&tree, "ul.tree li li > span");
    assert!(relations[0].starts_with("sub-agent Ash (explorer), "), "{relations:?}");
    assert!(relations[1].starts_with("fork, "), "{relations:?}");
    let list = texts(&viewer.page("/").await, ".row .about span");
    let count = |wanted: &str| list.iter().filter(|text| *text == wanted).count();
    assert_eq!((count("sub-agent Ash (explorer)"), count("fork")), (1, 1), "{list:?}");
}

#[tokio::test]
async fn the_log_names_its_thread() {
    let viewer = TestViewer::empty().await;
    let id = a_thread(&viewer, &["the harbour"]).await;
    let page = viewer.page(&format!("/threads/{id}/lines")).await;
    assert_eq!(texts(&page, "h1"), ["Log: the harbour"]);
    assert_eq!(texts(&page, "title"), ["Log: the harbour · Selvedge"]);
}

#[tokio::test]
async fn forks_are_compared_from_where_they_part() {
    let viewer = TestViewer::that_writes().await;
    let messages: Vec<String> = (1..=30).map(|number| format!("message {number}")).collect();
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    let id = a_thread(&viewer, &messages).await;
    let fork = viewer.post(&format!("/threads/{id}/fork"), "").await.header("location").replace("/threads/", "");
    let same = viewer.page(&format!("/compare?a={id}&b={fork}")).await;
    assert!(texts(&same, "main")[0].contains("first 30 turns in common"));
    assert_eq!(texts(&same, ".side .empty").len(), 2);
    let live = viewer.manager.open(fork.parse().unwrap()).await.unwrap();
    for _ in 0..25 {
        let turn = live.begin_turn(TurnSettings::default()).await.unwrap();
        turn.user_message("of the fork").await.unwrap();
        turn.complete().await.unwrap();
    }
    live.shutdown().await.unwrap();
    let page = viewer.page(&format!("/compare?a={id}&b={fork}")).await;
    assert_eq!(texts(&page, ".side:last-child .turn h2").len(), 20);
    assert_eq!(texts(&page, ".side:last-child .turn h2")[0], "Turn 31");
    let next = viewer.page(&link(&page, "a[rel=next]").unwrap()).await;
    assert_eq!(texts(&next, ".side:last-child .turn h2"), ["Turn 51", "Turn 52", "Turn 53", "Turn 54", "Turn 55"]);
    assert_eq!(link(&next, "a[rel=next]"), None);
}

#[tokio::test]
async fn filters_and_pages_of_the_list() {
    let viewer = TestViewer::empty().await;
    for number in 0..60 {
        let mut head = meta();
        head.cwd = Some(format!("/home/ada/project-{}", number % 3));
        let live = viewer.manager.start(head).await.unwrap();
        let turn = live.begin_turn(TurnSettings::default().model(format!("model-{}", number % 2))).await.unwrap();
        turn.user_message("hello").await.unwrap();
        turn.complete().await.unwrap();
        live.shutdown().await.unwrap();
    }
    let count = async |path: &str| all(&viewer.page(path).await, "a.row").len();
    assert_eq!(count("/?project=%2Fhome%2Fada%2Fproject-1").await, 20);
    assert_eq!(count("/?project=%2Fhome%2Fada&model=model-1").await, 30);
    assert_eq!(count("/?project=%2Fhome%2Fada%2Fproject-1&q=hello").await, 20);
    assert_eq!(count("/?since=2000-01-01&until=2000-12-31").await, 0);
    assert_eq!(count("/?archived=archived").await, 0);
    let first = viewer.page("/?since=2026-01-01").await;
    assert_eq!(all(&first, "a.row").len(), 50);
    assert_eq!(count(&link(&first, "a[rel=next]").unwrap()).await, 10);
    assert_eq!(all(&first, "#known-project option").len(), 3);

    let activity = viewer.page("/activity?model=model-0").await;
    assert_eq!(texts(&activity, ".totals span")[..2], ["30 threads", "30 turns"]);
    assert_eq!(texts(&activity, "table.bars .number"), ["10", "10", "10"]);
    let project = all(&activity, "table.bars th a")[0].value().attr("href").unwrap().to_owned();
    assert_eq!(count(&project).await, 10);
}

#[tokio::test]
async fn a_thread_whose_turn_is_in_progress_is_marked() {
    let viewer = TestViewer::empty().await;
    a_thread(&viewer, &["done"]).await;
    let live = viewer.manager.start(meta()).await.unwrap();
    let turn = live.begin_turn(TurnSettings::default()).await.unwrap();
    turn.user_message("working").await.unwrap();
    let page = viewer.page("/").await;
    assert_eq!(texts(&page, ".row:has(.running) .title"), ["working"]);
    turn.complete().await.unwrap();
    assert!(all(&viewer.page("/").await, ".running").is_empty());
}
