//! What readers do, in a real browser.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use selvedge_protocol::ThreadId;
use selvedge_thread_manager::{ThreadManager, TurnSettings};
use selvedge_thread_store_local::LocalThreadStore;
use serde_json::json;

use crate::answers::{a_thread, meta};
use crate::attacks::{ATTACKS, attacked};
use crate::browser::Browser;
use crate::support::TestViewer;

/// The longest time from an append of another process to the words on the page, in milliseconds. The target is 300; a busy machine of
/// tests gets more.
const LIVE_MILLIS: i64 = 3_000;

/// The variable with the home that another process writes in.
const WRITER_HOME: &str = "SELVEDGE_TEST_WRITER_HOME";

macro_rules! browser_or_skip {
    () => {
        match Browser::start() {
            Some(browser) => browser,
            None => return,
        }
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_searches_filters_and_opens_with_the_keyboard() {
    let mut browser = browser_or_skip!();
    let viewer = TestViewer::empty().await;
    a_thread(&viewer, &["the loom is broken"]).await;
    let wanted = a_thread(&viewer, &["first words", "a weaving <b>shuttle</b>", "last words"]).await;
    browser.open(viewer.viewer.url());
    // The token is not in the address any more.
    browser.shows("location.search", "");
    browser.shows("document.querySelectorAll('a.row').length", 2);

    browser.press("/");
    browser.shows("document.activeElement.name", "q");
    browser.write("shuttle");
    browser.wait("document.querySelectorAll('#found mark').length > 0");
    browser.shows("location.search", "?q=shuttle");
    browser.shows("document.querySelector('#found mark').textContent", "shuttle");
    browser.shows("document.querySelectorAll('a.row').length", 1);
    browser.press("Escape");
    browser.press("j");
    browser.press("j");
    browser.wait("document.activeElement.className.includes('hit')");
    browser.press("o");
    browser.wait("document.querySelector('main.transcript')");
    browser.wait("location.hash.startsWith('#turn-')");
    browser.wait("document.querySelector(':target').textContent.includes('<b>shuttle</b>')");
    let path = format!("/threads/{wanted}");
    browser.shows("location.pathname", path);

    browser.press("u");
    browser.wait("document.querySelector('main.threads')");
    browser.open(&format!("http://{}/?project=%2Fhome%2Fnobody", viewer.host));
    browser.shows("document.querySelectorAll('a.row').length", 0);
    browser.click("details.filters a");
    browser.wait("document.querySelectorAll('a.row').length === 2");
    browser.click("details.activity summary");
    browser.wait("document.querySelectorAll('figure.chart svg rect').length > 1");
    browser.check(&viewer.host);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_long_thread_opens_at_its_end_and_loads_both_ways() {
    let mut browser = browser_or_skip!();
    let viewer = TestViewer::empty().await;
    let messages: Vec<String> =
        (1..=75).map(|number| format!("message {number}\n\n{}", "words\n\n".repeat(10))).collect();
    let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
    let id = a_thread(&viewer, &messages).await;
    browser.open(viewer.viewer.url());
    browser.open(&format!("http://{}/threads/{id}", viewer.host));
    browser.wait("window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 5");
    browser.shows("[...document.querySelectorAll('.turn h2')].at(-1).textContent", "Turn 75");
    assert!(browser.value("document.querySelectorAll('.turn').length").as_u64().unwrap() < 75);
    // What the reader looks at stays where it is while older turns come.
    browser.value("window.first = document.querySelector('.turn'); window.first.scrollIntoView({ behavior: 'instant' }); window.top_ = window.first.getBoundingClientRect().top");
    browser.wait("document.querySelector('.turn') !== window.first");
    assert!(browser.value("Math.abs(window.first.getBoundingClientRect().top - window.top_)").as_f64().unwrap() < 2.0);
    browser.wait("(scrollTo(0), document.querySelectorAll('.turn').length === 75)");
    let numbers =
        browser.text("[...document.querySelectorAll('.turn h2')].map((title) => title.textContent.slice(5)).join()");
    let expected: Vec<String> = (1..=75).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected.join(","));

    // A link to a turn in the middle, and from there to both ends.
    let turn = browser.text("document.querySelectorAll('.turn')[29].id.replace('turn-', '')");
    browser.open(&format!("http://{}/threads/{id}?turn={turn}#turn-{turn}-item-2", viewer.host));
    browser.wait("document.querySelector(':target')");
    browser.wait(
        "(scrollTo(document.documentElement.scrollHeight), document.querySelector('a[data-more=newer]') === null)",
    );
    browser.wait("(scrollTo(0), document.querySelectorAll('.turn').length === 75)");
    let numbers =
        browser.text("[...document.querySelectorAll('.turn h2')].map((title) => title.textContent.slice(5)).join()");
    assert_eq!(numbers, expected.join(","));
    // The newest turn is here, so the page follows the thread.
    browser.wait("document.querySelector('main').dataset.live");
    browser.check(&viewer.host);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_move_through_a_thread_and_tell_of_themselves() {
    let mut browser = browser_or_skip!();
    let viewer = TestViewer::empty().await;
    let long = format!("a question\n\n{}", "words\n\n".repeat(60));
    let id = a_thread(&viewer, &[&long, "second", "third"]).await;
    browser.open(viewer.viewer.url());
    browser.open(&format!("http://{}/threads/{id}", viewer.host));
    browser.press("g");
    browser.wait("window.scrollY === 0");
    browser.press("j");
    browser.press("j");
    browser.shows("document.querySelector('.current .text').textContent.trim()", "second");
    browser.wait("document.querySelector('.current').getBoundingClientRect().top < window.innerHeight");
    browser.press("k");
    browser.wait("document.querySelector('.current .text').textContent.startsWith('a question')");
    browser.press("G");
    browser.wait("window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 5");
    browser.press("?");
    browser.shows("document.querySelector('dialog').open", true);
    browser.press("j");
    browser.press("Escape");
    browser.shows("document.querySelector('dialog').open", false);
    // The first stop of the focus leads over the bar.
    browser.open(&format!("http://{}/threads/{id}", viewer.host));
    // The page before had a focus.
    browser.wait("document.activeElement === document.body");
    browser.press("Tab");
    browser.shows("document.activeElement.className", "skip");
    browser.check(&viewer.host);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_link_to_a_folded_item_opens_it() {
    let mut browser = browser_or_skip!();
    let viewer = TestViewer::empty().await;
    let live = viewer.manager.start(meta()).await.unwrap();
    let turn = live.begin_turn(TurnSettings::default()).await.unwrap();
    turn.user_message("run").await.unwrap();
    turn.command("c", "make all", "/").await.unwrap().finish("it works").await.unwrap();
    let id = turn.id().as_str().to_owned();
    turn.complete().await.unwrap();
    browser.open(viewer.viewer.url());
    browser.open(&format!("http://{}/threads/{}?turn={id}#turn-{id}-item-2", viewer.host, live.id()));
    browser.wait("document.querySelector(':target details').open");
    browser.wait("document.querySelector(':target').innerText.includes('it works')");
    let origin = format!("http://{}", viewer.host);
    let grant = json!({"origin": origin, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]});
    browser.call("Browser.grantPermissions", grant);
    browser.click(":target button.copy");
    browser.wait("document.querySelector(':target button.copy').textContent === 'copied'");
    browser.shows("navigator.clipboard.readText()", "$ bash -lc 'make all'\nit works");
    browser.check(&viewer.host);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thread_grows_on_the_page_while_another_process_writes_it() {
    let mut browser = browser_or_skip!();
    let viewer = TestViewer::empty().await;
    let id = a_thread(&viewer, &["before"]).await;
    let mut writer = Writer::start(&viewer, id);
    browser.open(viewer.viewer.url());
    browser.open(&format!("http://{}/threads/{id}", viewer.host));
    browser.value(
        "window.times = {}; new MutationObserver(() => { const now = Date.now(); \
         for (const found of document.body.textContent.matchAll(/live-\\d+/g)) window.times[found[0]] ??= now; }) \
         .observe(document.body, { childList: true, subtree: true, characterData: true })",
    );
    browser.wait("document.querySelector('main').dataset.live");
    let mut latencies = Vec::new();
    for number in 0..12 {
        let at = writer.append(&format!("live-{number}"));
        browser.wait(&format!("window.times['live-{number}']"));
        latencies.push(browser.value(&format!("window.times['live-{number}']")).as_i64().unwrap() - at);
        std::thread::sleep(std::time::Duration::from_millis(60));
    }
    latencies.sort_unstable();
    report(&format!(
        "a live line is on the page after {} ms, in the middle {} ms, at most {} ms (target: 300 ms)",
        latencies[0],
        latencies[latencies.len() / 2],
        latencies[latencies.len() - 1]
    ));
    assert!(latencies[latencies.len() - 1] <= LIVE_MILLIS, "{latencies:?}");
    // Each message stands there once.
    let count = browser.value("document.querySelectorAll('.turn').length");
    assert_eq!(count, 13);

    // A page that nobody sees does not follow the thread. When it is seen again, it has what was missed.
    let hide = |hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }}); \
             document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    browser.value(&hide(true));
    writer.append("unseen");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(browser.value("document.body.textContent.includes('unseen')"), false);
    browser.value(&hide(false));
    browser.wait("document.body.textContent.includes('unseen')");
    browser.shows("document.querySelectorAll('.turn').length", 14);
    browser.check(&viewer.host);
    writer.end();

    // A page whose thread is gone says so.
    viewer.manager.delete(id).await.unwrap();
    browser.wait("document.getElementById('status').textContent.includes('does not follow the thread any longer')");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_missed_comes_when_the_page_is_connected_again() {
    let mut browser = browser_or_skip!();
    let viewer = TestViewer::empty().await;
    let id = a_thread(&viewer, &["before"]).await;
    browser.open(viewer.viewer.url());
    browser.open(&format!("http://{}/threads/{id}", viewer.host));
    browser.wait("document.querySelector('main').dataset.live");
    browser.call(
        "Network.emulateNetworkConditions",
        json!({"offline": true, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}),
    );
    let live = viewer.manager.open(id).await.unwrap();
    for number in 0..25 {
        let turn = live.begin_turn(TurnSettings::default()).await.unwrap();
        turn.user_message(format!("missed {number}")).await.unwrap();
        turn.complete().await.unwrap();
    }
    browser.call(
        "Network.emulateNetworkConditions",
        json!({"offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}),
    );
    browser.wait("document.querySelectorAll('.turn').length === 26");
    // Turns that are undone while the page is open are no longer shown without a word.
    live.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_are_renamed_archived_forked_and_compared_with_the_mouse() {
    let mut browser = browser_or_skip!();
    let viewer = TestViewer::that_writes().await;
    let id = a_thread(&viewer, &["one", "two"]).await;
    browser.open(viewer.viewer.url());
    browser.open(&format!("http://{}/threads/{id}", viewer.host));
    browser.value("document.querySelector('input[name=name]').focus()");
    browser.write("a new name");
    browser.press("Enter");
    browser.wait("document.querySelector('h1').textContent === 'a new name' && document.readyState === 'complete'");
    for verb in ["archive", "unarchive"] {
        browser.click(&format!("form[action$='/{verb}'] button"));
        browser.wait(&format!(
            "document.querySelector('form[action$=\"/{verb}\"]') === null && document.readyState === 'complete'"
        ));
    }
    browser.click("form[action$='/fork'] button");
    browser.wait("document.querySelector('.origin a[href^=\"/compare\"]') && document.readyState === 'complete'");
    let fork: ThreadId = browser.text("document.querySelector('main').dataset.thread").parse().unwrap();
    for (thread, message) in [(id, "three of the first"), (fork, "three of the fork")] {
        let live = viewer.manager.open(thread).await.unwrap();
        let turn = live.begin_turn(TurnSettings::default()).await.unwrap();
        turn.user_message(message).await.unwrap();
        turn.complete().await.unwrap();
        live.shutdown().await.unwrap();
    }
    browser.wait("document.body.textContent.includes('three of the fork')");
    browser.click(".origin a[href^='/compare']");
    browser.wait("document.querySelectorAll('.side').length === 2");
    browser.wait("document.querySelector('main').textContent.includes('first 2 turns in common')");
    let sides = browser.text("[...document.querySelectorAll('.side')].map((side) => [...side.querySelectorAll('.turn')].map((turn) => turn.querySelector('h2').textContent + ': ' + turn.querySelector('.user-message .text').textContent.trim()).join()).join(' | ')");
    assert_eq!(sides, "Turn 3: three of the first | Turn 3: three of the fork");
    browser.check(&viewer.host);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_attack_runs_in_the_browser() {
    let mut browser = browser_or_skip!();
    let viewer = TestViewer::that_writes().await;
    browser.open(viewer.viewer.url());
    let mut pages = vec!["/".to_owned(), "/?q=pwned".to_owned(), "/activity".to_owned()];
    for attack in ATTACKS {
        let id = attacked(&viewer, attack).await;
        pages.extend(["", "/context", "/find?q=pwned"].map(|page| format!("/threads/{id}{page}")));
    }
    let text: Vec<String> =
        ATTACKS.iter().map(|attack| attack.bytes().map(|byte| format!("%{byte:02X}")).collect()).collect();
    pages.extend(text.iter().map(|attack| format!("/?q={attack}")));
    for page in pages {
        browser.open(&format!("http://{}{page}", viewer.host));
        // Whatever is folded is opened, and whatever reacts to a focus gets it.
        browser.value(
            "document.querySelectorAll('details').forEach((each) => { each.open = true }); \
             document.querySelectorAll('main *').forEach((each) => each.focus?.())",
        );
        assert_eq!(browser.value("typeof window.pwned"), "undefined", "{page}");
    }
    // Parts that a script adds are no less safe.
    browser.open(&format!("http://{}/", viewer.host));
    browser.press("/");
    for attack in ATTACKS.iter().take(8) {
        browser.value("document.activeElement.value = ''");
        browser.write(attack);
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert_eq!(browser.value("typeof window.pwned"), "undefined", "{attack}");
    }
    browser.check(&viewer.host);

    // This test can fail: with a policy that forbids nothing, markup of the text would run.
    browser.value("document.title = 'x'; const image = document.createElement('img'); image.src = 'http://evil.invalid/x.png'; document.body.append(image)");
    browser.wait("true");
    std::thread::sleep(std::time::Duration::from_millis(200));
    browser.value("1");
    assert!(!browser.errors.is_empty(), "the policy refuses an image of another host");
}

/// Another process that appends turns to a thread.
struct Writer {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Writer {
    fn start(viewer: &TestViewer, id: ThreadId) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "browser_tests::another_process_writes", "--ignored", "--nocapture"])
            .env(WRITER_HOME, viewer.home.path())
            .env("SELVEDGE_TEST_WRITER_THREAD", id.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    /// Appends a turn with a message. Returns the time at which the append was acknowledged, in milliseconds since 1970.
    fn append(&mut self, message: &str) -> i64 {
        writeln!(self.child.stdin.as_mut().unwrap(), "{message}").unwrap();
        loop {
            let mut line = String::new();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "the writer has ended");
            // The test harness prints lines of its own.
            if let Some(at) = line.split("appended at ").nth(1) {
                return at.trim().parse().unwrap();
            }
        }
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

#[tokio::test]
#[ignore = "a part of another test, which runs it as a process of its own"]
async fn another_process_writes() {
    let Some(home) = std::env::var_os(WRITER_HOME) else { return };
    let id: ThreadId = std::env::var("SELVEDGE_TEST_WRITER_THREAD").unwrap().parse().unwrap();
    let manager = ThreadManager::new(std::sync::Arc::new(LocalThreadStore::open(home)));
    let live = manager.open(id).await.unwrap();
    for message in std::io::stdin().lines() {
        let turn = live.begin_turn(TurnSettings::default()).await.unwrap();
        turn.user_message(message.unwrap()).await.unwrap();
        report(&format!("appended at {}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()));
        turn.complete().await.unwrap();
    }
    live.shutdown().await.unwrap();
}

#[expect(clippy::print_stdout, reason = "a measurement, and what one process tells another")]
fn report(line: &str) {
    println!("{line}");
}

/// Pictures of all pages. `cargo xtask pictures FOLDER` runs this.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "makes pictures for people to look at"]
async fn pictures() {
    let Some(folder) = std::env::var_os("SELVEDGE_SCREENSHOTS").map(std::path::PathBuf::from) else { return };
    let mut browser = browser_or_skip!();
    std::fs::create_dir_all(&folder).unwrap();
    let sample = std::env::var("SELVEDGE_SAMPLE").unwrap_or_else(|_| "story-0.171.0-tools".to_owned());
    let viewer = TestViewer::of_sample(&sample).await;
    let threads = viewer.threads().await;
    let id = threads[0].id;
    browser.open(viewer.viewer.url());
    let mut pages = vec![
        ("home", "/".to_owned()),
        ("filters", "/?archived=all&project=%2F".to_owned()),
        ("search", "/?q=the".to_owned()),
        ("activity", "/activity?archived=all".to_owned()),
        ("error", "/threads/none".to_owned()),
    ];
    for (name, page) in [
        ("thread", ""),
        ("context", "/context"),
        ("windows", "/windows"),
        ("world", "/world"),
        ("relatives", "/relatives"),
        ("lines", "/lines"),
        ("find", "/find?q=the"),
    ] {
        pages.push((name, format!("/threads/{id}{page}")));
    }
    if let [one, other, ..] = threads.as_slice() {
        pages.push(("compare", format!("/compare?a={}&b={}", one.id, other.id)));
    }
    for (theme, width) in [("light", 1100), ("dark", 1100), ("light", 390), ("dark", 390)] {
        browser.theme(theme);
        browser.size(width, 800);
        for (name, path) in &pages {
            browser.open(&format!("http://{}{path}", viewer.host));
            browser.value(
                "document.querySelectorAll('main details').forEach((each, index) => { each.open = index % 3 === 0 })",
            );
            std::thread::sleep(std::time::Duration::from_millis(150));
            browser.screenshot(&folder.join(format!("{name}-{theme}-{width}.png")));
        }
    }
}

/// The pictures of a page of the viewer in the README. `cargo xtask pictures` runs this.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "makes pictures for the README"]
async fn pictures_of_the_readme() {
    let Some(folder) = std::env::var_os("SELVEDGE_README_PICTURES").map(std::path::PathBuf::from) else { return };
    let mut browser = Browser::start().unwrap();
    let viewer = TestViewer::of_sample("story-0.171.0-tools").await;
    let id = viewer.threads().await[0].id;
    browser.open(viewer.viewer.url());
    browser.size(1040, 660);
    browser.call("Emulation.setScrollbarsHidden", json!({"hidden": true}));
    for (theme, name) in [("light", "viewer.png"), ("dark", "viewer-dark.png")] {
        browser.theme(theme);
        browser.open(&format!("http://{}/threads/{id}", viewer.host));
        // What a reader opens: the command that failed, and the change of a file.
        browser.value("document.querySelectorAll('details.step').forEach((each, index) => { each.open = index > 1 })");
        browser.value("document.querySelectorAll('.turn')[3].scrollIntoView({ behavior: 'instant' })");
        browser.wait("Math.abs(document.querySelectorAll('.turn')[3].getBoundingClientRect().top) < 100");
        browser.screenshot(&folder.join(name));
    }
    browser.check(&viewer.host);
}
