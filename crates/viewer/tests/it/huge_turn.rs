//! A turn of any size: every answer is bounded, and every item can be reached.

use std::path::PathBuf;

use selvedge_protocol::{ThreadId, TurnQuery};
use selvedge_thread_manager::TurnSettings;
use selvedge_thread_store::ThreadReader;

use crate::answers::meta;
use crate::browser::Browser;
use crate::support::{Answer, TestViewer, all, link};

/// How many commands the turn has, and how long the output of each is.
const COMMANDS: usize = 1_500;
const OUTPUT: usize = 4_000;

/// The number of a command with an output that is long alone, in bytes.
const LONG: usize = 1_000;
const LONG_OUTPUT: usize = 4 << 20;

/// The most bytes of an answer. A tenth of the turn.
const MAX_ANSWER: usize = 1_500_000;

/// A thread with a short turn, a huge one, and another short one.
pub(crate) struct HugeThread {
    pub(crate) id: ThreadId,
    /// The id of the huge turn. Its items are a message, the commands, and an answer.
    pub(crate) turn: String,
    pub(crate) file: PathBuf,
}

/// Writes the thread. The lines of a command that the manager has recorded are repeated with other numbers.
pub(crate) async fn huge_thread(viewer: &TestViewer, is_last: bool) -> HugeThread {
    let live = viewer.manager.start(meta()).await.unwrap();
    let (id, mut huge) = (live.id(), String::new());
    for name in ["before", "huge", "after"] {
        if name == "after" && is_last {
            break;
        }
        let turn = live.begin_turn(TurnSettings::default()).await.unwrap();
        turn.user_message(format!("the question {name}")).await.unwrap();
        if name == "huge" {
            turn.id().as_str().clone_into(&mut huge);
            turn.command("call-000000", "make part-000000", "/").await.unwrap().finish("the-output").await.unwrap();
        }
        turn.agent_message(format!("the answer {name}")).await.unwrap();
        turn.complete().await.unwrap();
    }
    live.shutdown().await.unwrap();
    let file = PathBuf::from(viewer.threads().await[0].location.clone().unwrap());
    let log = std::fs::read_to_string(&file).unwrap();
    let is_of_command = |line: &str| line.contains("call-000000");
    let mut lines: Vec<String> = Vec::new();
    let recorded: Vec<&str> = log.lines().collect();
    let command: Vec<&str> = recorded.iter().copied().filter(|line| is_of_command(line)).collect();
    for line in &recorded {
        if !is_of_command(line) {
            lines.push((*line).to_owned());
        } else if *line == command[0] {
            for number in 1..=COMMANDS {
                let output = if number == LONG { LONG_OUTPUT } else { OUTPUT };
                let output = format!("begin-{number:06} {}end-{number:06}", "words of it ".repeat(output / 12));
                for line in &command {
                    lines.push(line.replace("000000", &format!("{number:06}")).replace("the-output", &output));
                }
            }
        }
    }
    // Paginated threads number their lines.
    for (ordinal, line) in lines.iter_mut().enumerate() {
        if let Some((before, rest)) = line.split_once("\"ordinal\":") {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            *line = format!("{before}\"ordinal\":{ordinal}{}", &rest[digits..]);
        }
    }
    std::fs::write(&file, lines.join("\n") + "\n").unwrap();
    HugeThread { id, turn: huge, file }
}

/// Asks, and fails if the answer is not bounded.
async fn bounded(viewer: &TestViewer, path: &str) -> Answer {
    let answer = viewer.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    assert!(answer.body.len() < MAX_ANSWER, "{path}: {} bytes", answer.body.len());
    answer
}

/// Returns the numbers of the items of the huge turn in an answer.
fn numbers(page: &scraper::Html, turn: &str) -> Vec<usize> {
    let prefix = format!("turn-{turn}-item-");
    let ids = all(page, ".item[id]").into_iter().filter_map(|item| item.value().attr("id"));
    ids.filter_map(|id| id.strip_prefix(&prefix)?.parse().ok()).collect()
}

#[tokio::test]
async fn every_item_of_a_huge_turn_is_reached_with_bounded_answers() {
    let viewer = TestViewer::empty().await;
    let HugeThread { id, turn, file } = huge_thread(&viewer, false).await;
    assert!(std::fs::metadata(file).unwrap().len() > 15 << 20);
    let items = COMMANDS + 2;
    let everything: Vec<usize> = (1..=items).collect();

    // From the end of the thread to its beginning.
    let mut found: Vec<usize> = Vec::new();
    let mut titles: Vec<String> = Vec::new();
    let mut next = Some(format!("/threads/{id}"));
    let mut turns = None;
    while let Some(path) = next {
        let answer = bounded(&viewer, &path).await;
        let page = if path.contains("/items") || path.contains("/turns") { answer.part() } else { answer.page() };
        titles.splice(0..0, all(&page, ".turn h2").iter().map(|title| title.text().collect::<String>()));
        found.splice(0..0, numbers(&page, &turn));
        turns = link(&page, "a[data-more=older][href*='/turns?']").or(turns);
        next = link(&page, "a[data-more=older][href*='/items?']").or_else(|| turns.take());
    }
    assert_eq!(titles, ["Turn 1", "Turn 2", "Turn 3"]);
    assert_eq!(found, everything);

    // From the beginning of the turn to its end.
    let mut found: Vec<usize> = Vec::new();
    let mut next = Some(format!("/threads/{id}?turn={turn}"));
    while let Some(path) = next {
        let answer = bounded(&viewer, &path).await;
        let page = if path.contains("/items") { answer.part() } else { answer.page() };
        found.extend(numbers(&page, &turn));
        next = link(&page, "a[data-more=newer][href*='/items?']");
    }
    assert_eq!(found, everything);

    // By links to items, and by the line of an item, as from a hit of a search.
    for number in [1, 2, 777, items - 1, items] {
        let page = bounded(&viewer, &format!("/threads/{id}?turn={turn}&item={number}")).await.page();
        assert!(numbers(&page, &turn).contains(&number), "{number}");
    }
    let hit = viewer.page(&format!("/threads/{id}/find?q=answer+huge")).await;
    let hit = viewer.get(&link(&hit, "a.hit").unwrap()).await;
    let target = hit.header("location");
    assert!(target.contains(&format!("&item={items}#turn-{turn}-item-{items}")), "{target}");
    assert!(numbers(&bounded(&viewer, target.split('#').next().unwrap()).await.page(), &turn).contains(&items));
}

#[tokio::test]
async fn an_item_of_any_size_is_shown_by_its_beginning_and_its_end() {
    let viewer = TestViewer::empty().await;
    let HugeThread { id, turn, .. } = huge_thread(&viewer, true).await;
    let number = LONG + 1;
    let page = bounded(&viewer, &format!("/threads/{id}?turn={turn}&item={number}")).await.page();
    let item = format!("#turn-{turn}-item-{number}");
    let text: String = all(&page, &item)[0].text().collect();
    assert!(text.contains("begin-001000") && text.contains("end-001000") && text.contains("bytes are not shown here"));
    assert!(text.contains("3.97 MiB of this item are not shown here"), "{}", &text[text.len() - 300..]);
    let more = bounded(&viewer, &link(&page, &format!("{item} .cut a[href*='/item?']")).unwrap()).await;
    assert!(more.body.len() > 500_000 && more.text().contains("end-001000"));
    assert!(bounded(&viewer, &format!("/threads/{id}/context")).await.text().contains("end-001500"));
    // The whole is in the log.
    let line = link(&page, &format!("{item} .cut a[href*='/lines?']")).unwrap();
    let log = bounded(&viewer, &line).await.page();
    let sizes = |page: &scraper::Html| -> Vec<String> {
        all(page, "article .label").iter().map(|label| label.text().collect()).collect()
    };
    let mut known = sizes(&log);
    known.extend(sizes(&bounded(&viewer, &link(&log, "a[rel=next]").unwrap()).await.page()));
    assert!(known.iter().any(|size| size.contains("4.00 MiB")), "{known:?}");
}

#[tokio::test]
async fn the_json_of_a_huge_turn_is_bounded() {
    let viewer = TestViewer::empty().await;
    let HugeThread { id, turn, .. } = huge_thread(&viewer, false).await;
    let api = format!("/api/v1/threads/{id}");
    let turns = bounded(&viewer, &format!("{api}/turns")).await.json();
    assert_eq!(turns["items"].as_array().unwrap().len(), 1);
    let turns =
        bounded(&viewer, &format!("{api}/turns?cursor={}", turns["next_cursor"].as_str().unwrap())).await.json();
    assert_eq!((&turns["items"][0]["items_view"], turns["items"].as_array().unwrap().len()), (&"none".into(), 1));
    assert_eq!(turns["items"][0]["status"], "completed");
    let alone = bounded(&viewer, &format!("{api}/turns/{turn}")).await.json();
    assert_eq!(alone["items"], turns["items"]);
    let (mut cursor, mut ids) = (String::new(), Vec::new());
    loop {
        let page = bounded(&viewer, &format!("{api}/items?turn={turn}{cursor}")).await.json();
        ids.extend(page["items"].as_array().unwrap().iter().map(|entry| entry["item"]["id"].clone()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(ids.len(), COMMANDS + 2);
    assert_eq!(ids[777], "call-000777");
    let whole = viewer.store.list_turns(&TurnQuery::all(id)).await.unwrap().items;
    let whole: Vec<_> = whole[1].items.iter().map(|item| serde_json::to_value(&item.id).unwrap()).collect();
    assert_eq!(ids, whole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_scrolls_through_a_huge_turn_and_it_grows() {
    let Some(mut browser) = Browser::start() else { return };
    let viewer = TestViewer::empty().await;
    let HugeThread { id, turn, .. } = huge_thread(&viewer, true).await;
    let items = COMMANDS + 2;
    let shown = format!(
        "[...document.querySelectorAll('[id^=\"turn-{turn}-item-\"]')].map((item) => Number(item.id.split('-').at(-1)))"
    );
    browser.open(viewer.viewer.url());
    browser.open(&format!("http://{}/threads/{id}", viewer.host));
    browser.wait(&format!("({shown}).at(-1) === {items}"));
    assert!(browser.value(&format!("({shown}).length < 300")) == true);
    // What the reader looks at stays where it is while older items come.
    browser.value("window.first = document.querySelector('.turn .item'); window.first.scrollIntoView({ behavior: 'instant' }); window.top_ = window.first.getBoundingClientRect().top");
    browser.wait("document.querySelector('.turn .item') !== window.first");
    assert!(browser.value("Math.abs(window.first.getBoundingClientRect().top - window.top_)").as_f64().unwrap() < 2.0);

    // Links to an item show it, also when older items come.
    for (place, width) in [("item=907".to_owned(), 1100), (format!("item=907#turn-{turn}-item-907"), 390)] {
        browser.size(width, 800);
        browser.open(&format!("http://{}/", viewer.host));
        browser.open(&format!("http://{}/threads/{id}?turn={turn}&{place}", viewer.host));
        browser.wait(&format!("({shown})[0] < 850"));
        browser.shows("document.querySelector(':target').id", format!("turn-{turn}-item-907"));
        let below_bar = "document.querySelector(':target').getBoundingClientRect().top - \
                         document.querySelector('nav.bar').getBoundingClientRect().bottom";
        let below = browser.value(below_bar).as_f64().unwrap();
        assert!((0.0..200.0).contains(&below), "{place}: {below}");
    }
    browser.size(1100, 800);

    // A link to an item, also one that only a script sees; and from there in both directions, without a gap.
    browser.open(&format!("http://{}/threads/{id}#turn-{turn}-item-800", viewer.host));
    browser.wait("document.querySelector(':target .command')?.textContent.includes('part-000799')");
    let is_run = format!("({shown}).every((number, index, all) => index === 0 || number === all[index - 1] + 1)");
    browser.wait(&format!("(scrollTo(0), ({shown})[0] < 650)"));
    browser.wait(&format!("(scrollTo(document.documentElement.scrollHeight), ({shown}).at(-1) > 1000)"));
    assert_eq!(browser.value(&is_run), true);

    // The message before the items that are here, by the key.
    browser.value("document.querySelector('.current')?.classList.remove('current'); window.scrollTo(0, 0)");
    browser.open(&format!("http://{}/threads/{id}?turn={turn}&item=1200", viewer.host));
    browser.press("k");
    browser.wait("document.querySelector('.current .text')?.textContent.trim() === 'the question huge'");

    // It grows: the page has the last items and every new one.
    browser.open(&format!("http://{}/threads/{id}", viewer.host));
    browser.wait("document.querySelector('main').dataset.live");
    let live = viewer.manager.open(id).await.unwrap();
    let next = live.begin_turn(TurnSettings::default()).await.unwrap();
    next.user_message("the next question").await.unwrap();
    browser.wait("document.body.textContent.includes('the next question')");
    for number in 0..700 {
        next.agent_message(format!("growing-{number}.")).await.unwrap();
    }
    browser.wait("document.body.textContent.includes('growing-699.')");
    let texts = browser.text("[...document.querySelectorAll('.turn:last-child .agent-message .text')].map((text) => text.textContent.trim()).join(' ')");
    let expected: Vec<String> = (0..700).map(|number| format!("growing-{number}.")).collect();
    assert_eq!(texts, expected.join(" "));
    // A page that is opened now has its end only, and goes on with it.
    browser.open(&format!("http://{}/threads/{id}", viewer.host));
    browser.wait("document.querySelector('main').dataset.live");
    let call = next.command("call-last", "make last", "/").await.unwrap();
    browser.wait("document.body.textContent.includes('make last')");
    call.finish("it is done").await.unwrap();
    next.agent_message("growing-700.").await.unwrap();
    browser
        .wait("document.body.textContent.includes('growing-700.') && document.body.textContent.includes('it is done')");
    next.complete().await.unwrap();
    browser.wait("document.querySelector('.turn:last-child .state').textContent === 'completed'");
    let numbers = browser.text(
        "[...document.querySelectorAll('.turn:last-child .item')].map((item) => item.id.split('-').at(-1)).join()",
    );
    let first: usize = numbers.split(',').next().unwrap().parse().unwrap();
    let expected: Vec<String> = (first..=703).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected.join(","));
    live.shutdown().await.unwrap();
    browser.check(&viewer.host);
}

/// Pictures of a page of a huge turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "makes pictures for people to look at"]
async fn pictures_of_a_huge_turn() {
    let Some(folder) = std::env::var_os("SELVEDGE_SCREENSHOTS").map(PathBuf::from) else { return };
    let Some(mut browser) = Browser::start() else { return };
    std::fs::create_dir_all(&folder).unwrap();
    let viewer = TestViewer::empty().await;
    let HugeThread { id, turn, .. } = huge_thread(&viewer, false).await;
    browser.open(viewer.viewer.url());
    for (theme, width) in [("light", 1100), ("dark", 1100), ("light", 390), ("dark", 390)] {
        browser.theme(theme);
        browser.size(width, 800);
        for (name, place) in [("long-item", format!("item={}", LONG + 1)), ("beginning", "item=1".to_owned())] {
            browser.open(&format!("http://{}/threads/{id}?turn={turn}&{place}", viewer.host));
            browser.value(&format!(
                "const item = document.getElementById('turn-{turn}-{}'); item?.querySelectorAll('details').forEach((each) => {{ each.open = true }}); \
                 item?.querySelector('.cut')?.scrollIntoView({{ block: 'end', behavior: 'instant' }})",
                place.replace('=', "-")
            ));
            std::thread::sleep(std::time::Duration::from_millis(200));
            browser.screenshot(&folder.join(format!("huge-{name}-{theme}-{width}.png")));
        }
    }
}
