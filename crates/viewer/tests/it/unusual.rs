//! Threads that are not as they should be: damage, several turns with one id, a context that is too large.

use std::collections::HashSet;
use std::path::PathBuf;

use selvedge_protocol::{ThreadId, TurnQuery};
use selvedge_thread_store::ThreadReader;

use crate::answers::a_thread;
use crate::support::{TestViewer, all};

/// Returns the file of the only thread of a home.
fn log_file(viewer: &TestViewer) -> PathBuf {
    let mut folders = vec![viewer.home.path().join("sessions")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                return entry;
            }
        }
    }
    unreachable!("the home has no log")
}

/// Changes the lines of the only thread of a home.
fn edit(viewer: &TestViewer, edit: impl FnOnce(&mut Vec<String>)) {
    let path = log_file(viewer);
    let mut lines: Vec<String> = std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    edit(&mut lines);
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

async fn turn_ids(viewer: &TestViewer, id: ThreadId) -> Vec<String> {
    let turns = viewer.store.list_turns(&TurnQuery::all(id)).await.unwrap().items;
    turns.iter().map(|turn| turn.id.as_str().to_owned()).collect()
}

#[tokio::test]
async fn damage_is_marked_where_it_is_in_the_transcript() {
    let viewer = TestViewer::empty().await;
    let id = a_thread(&viewer, &["first", "second", "third"]).await;
    edit(&viewer, |lines| {
        let at = lines.iter().rposition(|line| line.contains("second")).unwrap();
        lines.insert(at + 1, "{\"damaged".to_owned());
    });
    let page = viewer.page(&format!("/threads/{id}")).await;
    let marks = all(&page, ".damaged-here");
    assert_eq!(marks.len(), 1);
    let inside = |selector: &str| all(&page, selector).len();
    assert_eq!(inside(".turn:nth-of-type(2) .item.agent-message .damaged-here"), 1, "{}", page.html());
    let log = viewer.page(all(&page, ".damaged-here a")[0].value().attr("href").unwrap()).await;
    assert!(all(&log, "article")[0].text().collect::<String>().contains("{\"damaged"));
}

#[tokio::test]
async fn damage_is_marked_behind_any_number_of_bytes() {
    let viewer = TestViewer::empty().await;
    let long = "word ".repeat(100_000);
    let mut messages = vec![long.as_str(); 6];
    messages.push("damaged here");
    let id = a_thread(&viewer, &messages).await;
    edit(&viewer, |lines| {
        let at = lines.iter().rposition(|line| line.contains("damaged here")).unwrap();
        lines.insert(at, "{\"damaged".to_owned());
    });
    let seventh = turn_ids(&viewer, id).await[6].clone();
    for path in [format!("/threads/{id}"), format!("/threads/{id}?turn={seventh}")] {
        let page = viewer.page(&path).await;
        assert_eq!(all(&page, ".turn:last-of-type .damaged-here").len(), 1, "{path}");
    }
}

#[tokio::test]
async fn damage_is_marked_beside_a_text_of_any_size_and_the_log_tells_its_size() {
    let viewer = TestViewer::empty().await;
    let long = "word ".repeat(2 << 20);
    let id = a_thread(&viewer, &["first", &long, "third"]).await;
    edit(&viewer, |lines| {
        let at = lines.iter().rposition(|line| line.contains("third")).unwrap();
        lines.insert(at, "{\"damaged".to_owned());
    });
    let page = viewer.page(&format!("/threads/{id}")).await;
    assert_eq!(all(&page, ".damaged-here").len(), 1);
    let log = viewer.page(&format!("/threads/{id}/lines")).await;
    let entries: Vec<String> = all(&log, "article").iter().map(|entry| entry.text().collect()).collect();
    let huge = entries.iter().find(|text| text.contains("· 10.00 MiB ·")).unwrap();
    assert!(huge.contains("more are not shown here") && huge.len() < 100_000, "{huge:.500}");
    // A page of JSON ends before the first of them.
    let path = format!("/api/v1/threads/{id}/lines");
    let first = viewer.get(&path).await.json();
    let rest = viewer.get(&format!("{path}?cursor={}", first["next_cursor"].as_str().unwrap())).await.json();
    let line = &rest["items"][0];
    assert!(
        line["bytes"].as_u64() > Some(10 << 20) && line["left_out"].as_u64() > Some(8 << 20),
        "{:.300}",
        line.to_string()
    );
    assert!(line["text"].as_str().unwrap().len() < 3 << 20);
}

#[tokio::test]
async fn damage_before_the_first_item_of_a_turn_is_at_its_beginning() {
    let viewer = TestViewer::empty().await;
    let id = a_thread(&viewer, &["first", "second"]).await;
    let second = turn_ids(&viewer, id).await[1].clone();
    edit(&viewer, |lines| {
        let begins = |line: &String| line.contains(&second) && line.contains("task_started");
        let at = lines.iter().position(begins).unwrap();
        lines.insert(at + 1, "no JSON".to_owned());
    });
    let page = viewer.page(&format!("/threads/{id}?turn={second}")).await;
    assert_eq!(all(&page, ".turn:first-of-type > .turn-head + .damaged-here").len(), 1, "{}", page.html());
    assert_eq!(all(&page, ".damaged-here").len(), 1);
}

#[tokio::test]
async fn turns_with_one_id_have_elements_of_their_own() {
    let viewer = TestViewer::empty().await;
    let id = a_thread(&viewer, &["first", "second", "third"]).await;
    let ids = turn_ids(&viewer, id).await;
    edit(&viewer, |lines| {
        for line in lines.iter_mut() {
            *line = line.replace(&ids[2], &ids[0]);
        }
    });
    assert_eq!(turn_ids(&viewer, id).await[2], ids[0]);
    let page = viewer.page(&format!("/threads/{id}")).await;
    let known: Vec<&str> = all(&page, "[id]").iter().map(|element| element.value().attr("id").unwrap()).collect();
    assert_eq!(known.iter().collect::<HashSet<_>>().len(), known.len(), "{known:?}");
    assert_eq!(all(&page, ".turn").len(), 3);
}

#[tokio::test]
async fn a_context_that_is_too_large_is_shown_from_its_end() {
    let viewer = TestViewer::empty().await;
    let long = "word ".repeat(60_000);
    let mut messages = vec![long.as_str(); 16];
    messages.push("the newest words");
    let id = a_thread(&viewer, &messages).await;
    let page = viewer.page(&format!("/threads/{id}/context")).await;
    assert_eq!(all(&page, ".warning").len(), 1);
    let items: Vec<String> = all(&page, ".item.context").iter().map(|item| item.text().collect()).collect();
    assert!(items.len() < 10 && items.last().unwrap().contains("the newest words"), "{}", items.len());
    let refused = viewer.get(&format!("/api/v1/threads/{id}/context")).await;
    assert_eq!(refused.status, 413);
    assert!(refused.json()["error"].as_str().unwrap().contains("more than"), "{}", refused.text());
}

#[tokio::test]
async fn the_parts_of_a_message_stand_apart_in_what_the_model_sees() {
    let viewer = TestViewer::empty().await;
    let id = a_thread(&viewer, &["first"]).await;
    edit(&viewer, |lines| {
        let at = lines.iter().position(|line| line.contains("input_text")).unwrap();
        let (start, _) = lines[at].split_once("\"content\":[").unwrap();
        let (_, end) = lines[at].rsplit_once(']').unwrap();
        let parts = r#"{"type":"input_text","text":"one"},{"type":"input_image","image_url":"data:,"},{"type":"input_text","text":"two"}"#;
        lines[at] = format!("{start}\"content\":[{parts}]{end}");
    });
    let page = viewer.page(&format!("/threads/{id}/context")).await;
    let parts = all(&page, ".item.context:has(.attachment) > :not(.label)");
    let texts: Vec<String> = parts.iter().map(|part| part.text().collect::<String>().trim().to_owned()).collect();
    assert_eq!(texts, ["one", "input image", "two"]);
}
