//! Every page of every recording.

use std::collections::HashSet;

use selvedge_protocol::{ItemsView, ThreadId, TurnQuery};
use selvedge_thread_store::{LineQuery, LineStart, ThreadReader};

use crate::answers::a_thread;
use crate::support::{TestViewer, all, link, sample_names};

#[tokio::test]
async fn every_page_of_every_recording_is_valid() {
    for sample in sample_names() {
        let viewer = TestViewer::of_sample(&sample).await;
        for path in
            ["/", "/?archived=all", "/?q=a", "/activity", "/?project=%2Fhome&model=x&since=2026-01-01&until=2026-12-31"]
        {
            viewer.page(path).await;
        }
        let threads = viewer.threads().await;
        // A recording has some threads that differ in one thing only, and many pages of each.
        for thread in threads.iter().take(3) {
            for page in ["", "/context", "/windows", "/world", "/relatives", "/lines", "/lines?damage=1", "/find?q=the"]
            {
                let path = format!("/threads/{}{page}", thread.id);
                let found = viewer.page(&path).await;
                assert_eq!(all(&found, "main#main h1").len(), 1, "{sample}{path}");
                no_id_twice(&found, &format!("{sample}{path}"));
            }
        }
        if let [one, .., other] = threads.as_slice() {
            viewer.page(&format!("/compare?a={}&b={}", one.id, other.id)).await;
        }
    }
}

fn no_id_twice(page: &scraper::Html, what: &str) {
    let mut ids = HashSet::new();
    for element in all(page, "[id]") {
        assert!(ids.insert(element.value().attr("id").unwrap().to_owned()), "{what}: {:?}", element.value());
    }
}

#[tokio::test]
async fn following_the_links_shows_every_turn_once_and_with_its_number() {
    // No recording has more turns than a page.
    let long = TestViewer::empty().await;
    let messages: Vec<String> = (0..47).map(|number| format!("message {number}")).collect();
    a_thread(&long, &messages.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut viewers = vec![("long".to_owned(), long)];
    for sample in sample_names() {
        let viewer = TestViewer::of_sample(&sample).await;
        viewers.push((sample, viewer));
    }
    for (sample, viewer) in viewers {
        for thread in viewer.threads().await {
            let turns = viewer.store.list_turns(&TurnQuery::all(thread.id)).await.unwrap().items;
            let expected: Vec<(u64, String)> =
                turns.iter().zip(1..).map(|(turn, number)| (turn.lines.start, format!("Turn {number}"))).collect();
            assert_eq!(backward(&viewer, thread.id).await, expected, "{sample} {}", thread.id);
            if let Some(turn) = turns.get(turns.len() / 2) {
                let path = format!("/threads/{}?turn={}", thread.id, turn.id.as_str());
                assert_eq!(both_ways(&viewer, &path).await, expected, "{sample}{path}");
            }
        }
    }
}

fn shown(page: &scraper::Html) -> Vec<(u64, String)> {
    let title = scraper::Selector::parse("h2").unwrap();
    all(page, ".turn")
        .iter()
        .map(|turn| {
            let start = turn.value().attr("data-start").unwrap().parse().unwrap();
            (start, turn.select(&title).next().unwrap().text().collect())
        })
        .collect()
}

async fn backward(viewer: &TestViewer, id: ThreadId) -> Vec<(u64, String)> {
    both_ways(viewer, &format!("/threads/{id}")).await
}

/// Returns the turns of a page, and those that are loaded when a reader comes to its beginning and to its end.
async fn both_ways(viewer: &TestViewer, path: &str) -> Vec<(u64, String)> {
    let page = viewer.page(path).await;
    let mut turns = shown(&page);
    let mut older = link(&page, "a[data-more=older]");
    while let Some(path) = older {
        let part = viewer.get(&path).await.part();
        turns.splice(0..0, shown(&part));
        assert_eq!(link(&part, "a[data-more=newer]"), None);
        older = link(&part, "a[data-more=older]");
    }
    let mut newer = link(&page, "a[data-more=newer]");
    while let Some(path) = newer {
        let part = viewer.get(&path).await.part();
        turns.extend(shown(&part));
        assert_eq!(link(&part, "a[data-more=older]"), None);
        newer = link(&part, "a[data-more=newer]");
    }
    turns
}

#[tokio::test]
async fn an_item_leads_to_its_line_and_to_its_text() {
    let mut checked = 0;
    for sample in sample_names() {
        let viewer = TestViewer::of_sample(&sample).await;
        for thread in viewer.threads().await {
            let lines: Vec<Vec<u8>> = viewer
                .store
                .read_lines(&LineQuery { max_bytes: usize::MAX, ..LineQuery::from(thread.id, LineStart::Beginning) })
                .await
                .unwrap()
                .entries
                .into_iter()
                .filter(|entry| entry.line().is_some())
                .map(|entry| entry.bytes)
                .collect();
            let oldest = TurnQuery { limit: 1, items_view: ItemsView::Full, ..TurnQuery::all(thread.id) };
            for turn in viewer.store.list_turns(&oldest).await.unwrap().items {
                let Some((position, item)) = turn.item_positions.iter().zip(&turn.items).next_back() else { continue };
                let place = format!("turn={}&start={}&item={}", turn.id.as_str(), turn.lines.start, turn.items.len());
                let page = viewer.page(&format!("/threads/{}/lines?position={position}", thread.id)).await;
                let raw = all(&page, "article .label a")[0].value().attr("href").unwrap().to_owned();
                let line = &lines[usize::try_from(*position).unwrap()];
                assert_eq!(&viewer.get(&raw).await.body, line, "{sample} {} {place}", thread.id);
                let at = viewer
                    .get(&format!("/threads/{}/at?turn={}&position={position}", thread.id, turn.id.as_str()))
                    .await;
                assert!(at.status == 303 && at.header("location").contains("#turn"), "{sample} {place}");
                let text = viewer.get(&format!("/threads/{}/text?{place}", thread.id)).await;
                assert_eq!(text.status, 200, "{sample} {place} {}", item.kind());
                checked += 1;
            }
        }
    }
    assert!(checked > 60, "{checked}");
}

#[tokio::test]
async fn the_log_is_read_forward_and_backward_with_all_of_its_bytes() {
    let viewer = TestViewer::of_sample("story-0.171.0-tools").await;
    for thread in viewer.threads().await {
        let mut exported = Vec::new();
        viewer.store.export(thread.id, &mut exported).await.unwrap();
        let mut path = format!("/threads/{}/lines", thread.id);
        let (mut bytes, mut last) = (Vec::new(), None);
        loop {
            let page = viewer.page(&path).await;
            for raw in all(&page, "article .label a") {
                bytes.extend(viewer.get(raw.value().attr("href").unwrap()).await.body);
            }
            match link(&page, "a[rel=next]") {
                Some(next) => path = next,
                None => break,
            }
            last = Some(path.clone());
        }
        assert_eq!(bytes, exported, "{}", thread.id);
        if let Some(last) = last {
            let page = viewer.page(&last).await;
            let earlier = viewer.page(&link(&page, "a[rel=prev]").unwrap()).await;
            assert_eq!(link(&earlier, "a[rel=next]").unwrap(), last);
        }
    }
}
