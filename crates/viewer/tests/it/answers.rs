//! Who gets an answer, and what every answer has.

use selvedge_protocol::ThreadId;
use selvedge_thread_manager::{Prompt, TurnSettings};

use crate::support::{Answer, TestViewer, all, link};

const SAMPLE: &str = "story-0.171.0-tools";

#[tokio::test]
async fn the_token_becomes_a_cookie_and_without_it_nothing_is_answered() {
    let viewer = TestViewer::of_sample(SAMPLE).await;
    let host = viewer.host.as_str();
    for path in ["/", "/api/v1/threads", "/assets/viewer.js", "/no-such-page", "/?token=wrong", "/?token="] {
        let answer = viewer.send("GET", path, &[("Host", host)], "").await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.header("set-cookie").is_empty() && !answer.text().contains(&viewer.token), "{path}");
    }
    for cookie in
        ["selvedge=x".to_owned(), viewer.cookie().replace(&viewer.token, "x"), format!("selvedge={}", viewer.token)]
    {
        assert_eq!(viewer.send("GET", "/", &[("Host", host), ("Cookie", &cookie)], "").await.status, 403, "{cookie}");
    }

    let path = format!("/activity?token={}&model=m", viewer.token);
    let first = viewer.send("GET", &path, &[("Host", host)], "").await;
    assert_eq!((first.status, first.header("location").as_str()), (303, "/activity?model=m"));
    let cookie = first.header("set-cookie");
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(cookie, viewer.cookie());
    let cookies = format!("other=1; {cookie}; selvedge-1=x");
    assert_eq!(viewer.send("GET", "/", &[("Host", host), ("Cookie", &cookies)], "").await.status, 200);
    // A token is no reason to answer a request that changes something.
    assert_eq!(viewer.send("POST", &path, &[("Host", host)], "").await.status, 403);
}

#[tokio::test]
async fn a_viewer_on_all_interfaces_answers_addresses_and_no_names() {
    let viewer = TestViewer::on_all_interfaces().await;
    let (cookie, port) = (viewer.cookie(), viewer.host.rsplit_once(':').unwrap().1);
    for (host, accepted) in [
        (format!("127.0.0.1:{port}"), true),
        (format!("192.0.2.7:{port}"), true),
        (format!("[2001:db8::7]:{port}"), true),
        (format!("evil.example:{port}"), false),
        (format!("192.0.2.7.evil.example:{port}"), false),
        ("192.0.2.7:1".to_owned(), false),
        ("192.0.2.7".to_owned(), false),
    ] {
        let answer = viewer.send("GET", "/", &[("Host", &host), ("Cookie", &cookie)], "").await;
        assert_eq!(answer.status == 200, accepted, "{host}");
        assert_eq!(viewer.send("GET", "/", &[("Host", &host)], "").await.status, 403, "without the token: {host}");
    }
}

#[tokio::test]
async fn requests_for_another_host_and_from_another_site_are_refused() {
    let viewer = TestViewer::that_writes().await;
    let (host, cookie) = (viewer.host.clone(), viewer.cookie());
    let port = host.rsplit_once(':').unwrap().1;
    for (good, accepted) in [
        (host.clone(), true),
        (format!("localhost:{port}"), true),
        (format!("evil.example:{port}"), false),
        ("evil.example".to_owned(), false),
        ("127.0.0.1".to_owned(), false),
        ("127.0.0.1:1".to_owned(), false),
        (format!("127.0.0.1.evil.example:{port}"), false),
        (format!("localhost.evil.example:{port}"), false),
        (format!("192.168.1.1:{port}"), false),
    ] {
        let answer = viewer.send("GET", "/", &[("Host", &good), ("Cookie", &cookie)], "").await;
        assert_eq!(answer.status == 200, accepted, "{good}");
    }
    assert_ne!(viewer.send("GET", "/", &[("Cookie", &cookie)], "").await.status, 200, "no host");
    let own = format!("http://{host}");
    for (origin, accepted) in [
        (own.as_str(), true),
        ("null", false),
        ("http://evil.example", false),
        ("http://127.0.0.1:1", false),
        (&format!("https://{host}"), false),
        (&format!("{own}.evil.example"), false),
    ] {
        for method in ["GET", "POST"] {
            let headers = [("Host", host.as_str()), ("Cookie", &cookie), ("Origin", origin)];
            let path = if method == "GET" { "/" } else { "/threads/x/archive" };
            let status = viewer.send(method, path, &headers, "").await.status;
            assert_eq!(status != 403, accepted, "{method} {origin}: {status}");
        }
    }
    let silent = viewer.send("POST", "/threads/x/archive", &[("Host", &host), ("Cookie", &cookie)], "").await;
    assert_eq!(silent.status, 403, "no origin");
}

#[tokio::test]
async fn every_answer_has_the_headers_that_protect_it() {
    let viewer = TestViewer::of_sample(SAMPLE).await;
    let id = viewer.threads().await[0].id;
    let mut answers: Vec<(String, Answer)> = Vec::new();
    for path in [
        "/",
        "/?q=a",
        "/assets/viewer.css",
        "/assets/viewer.js",
        "/no",
        "/threads/x",
        "/api/v1/threads",
        "/api/v1/no",
        "/api/v1/threads/x",
        "/?archived=all&since=never",
    ] {
        answers.push((path.to_owned(), viewer.get(path).await));
    }
    answers.push(("thread".to_owned(), viewer.get(&format!("/threads/{id}")).await));
    answers.push(("refused".to_owned(), viewer.send("GET", "/", &[("Host", &viewer.host)], "").await));
    answers.push((
        "first".to_owned(),
        viewer.send("GET", &format!("/?token={}", viewer.token), &[("Host", &viewer.host)], "").await,
    ));
    answers.push(("post".to_owned(), viewer.post(&format!("/threads/{id}/archive"), "").await));
    for (name, answer) in answers {
        let policy = answer.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{name}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{name}: {policy}");
        for (header, value) in [
            ("referrer-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(header), value, "{name}: {header}");
        }
        assert!(!answer.header("content-type").is_empty() || answer.body.is_empty(), "{name}");
        assert!(answer.header("access-control-allow-origin").is_empty(), "{name}");
    }
}

#[tokio::test]
async fn nothing_is_changed_unless_the_viewer_may_write() {
    let viewer = TestViewer::of_sample(SAMPLE).await;
    let before = viewer.threads().await;
    let id = before[0].id;
    for action in ["rename", "archive", "unarchive", "fork"] {
        let answer = viewer.post(&format!("/threads/{id}/{action}"), "name=other").await;
        assert_eq!(answer.status, 403, "{action}");
        assert!(answer.text().contains("--write"), "{action}");
        assert_eq!(viewer.get(&format!("/threads/{id}/{action}")).await.status, 405, "{action}");
    }
    assert_eq!(viewer.threads().await, before);
    assert!(all(&viewer.page(&format!("/threads/{id}")).await, "main form[method=post]").is_empty());
}

#[tokio::test]
async fn a_viewer_that_may_write_renames_archives_and_forks() {
    let viewer = TestViewer::that_writes().await;
    let id = a_thread(&viewer, &["hello"]).await;
    let rename = viewer.post(&format!("/threads/{id}/rename"), "name=a+%3Cb%3E+c").await;
    assert_eq!((rename.status, rename.header("location")), (303, format!("/threads/{id}")));
    assert_eq!(viewer.threads().await[0].name.as_deref(), Some("a <b> c"));
    assert_eq!(viewer.post(&format!("/threads/{id}/archive"), "").await.status, 303);
    assert!(viewer.threads().await[0].archived);
    assert_eq!(viewer.post(&format!("/threads/{id}/unarchive"), "").await.status, 303);
    assert!(!viewer.threads().await[0].archived);
    let fork = viewer.post(&format!("/threads/{id}/fork"), "").await.header("location");
    let page = viewer.page(&fork).await;
    assert_eq!(link(&page, ".origin a[href^='/threads/']"), Some(format!("/threads/{id}")));
    assert_eq!(viewer.threads().await.len(), 2);
    let tree = viewer.page(&format!("/threads/{id}/relatives")).await;
    assert_eq!(all(&tree, "ul.tree li li").len(), 1);
}

#[tokio::test]
async fn what_does_not_exist_is_a_clear_404() {
    let viewer = TestViewer::of_sample(SAMPLE).await;
    let id = viewer.threads().await[0].id;
    let unknown = "01a222c1-13f7-7632-82f1-000000000000";
    let mut paths =
        vec!["/no-such-page".to_owned(), "/api/v1/no-such-path".to_owned(), format!("/compare?a={id}&b={unknown}")];
    for page in [
        "",
        "/turns?cursor=p1.0&direction=newer",
        "/live",
        "/find?q=a",
        "/context",
        "/windows",
        "/world",
        "/relatives",
        "/lines",
    ] {
        paths.push(format!("/threads/{unknown}{page}"));
        paths.push(format!("/threads/not-an-id{page}"));
    }
    for page in ["", "/turns", "/lines", "/context"] {
        paths.push(format!("/api/v1/threads/{unknown}{page}"));
    }
    paths.push(format!("/threads/{id}?turn=no-such-turn"));
    paths.push(format!("/threads/{id}/lines?position=1000000"));
    for page in ["item", "text", "at"] {
        paths.push(format!("/threads/{id}/{page}?turn=no-such-turn&item=1"));
    }
    paths.push(format!("/threads/{id}/items?turn=no-such-turn&start=1&direction=newer&cursor=p1.0"));
    paths.push(format!("/api/v1/threads/{id}/turns/no-such-turn"));
    for path in paths {
        let answer = viewer.get(&path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        if path.starts_with("/api") {
            assert!(answer.json()["error"].is_string(), "{path}");
        } else {
            assert_eq!(all(&answer.page(), "main.plain h1").len(), 1, "{path}");
        }
    }
    for path in [
        "/api/v1/threads?limit=x",
        "/api/v1/threads?limit=0",
        "/api/v1/search?q=",
        "/api/v1/threads?since=x",
        "/api/v1/stats?by=x",
        &format!("/api/v1/threads/{id}/turns?cursor=x"),
    ] {
        let answer = viewer.get(path).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn a_huge_item_is_cut_with_links_to_the_rest() {
    let viewer = TestViewer::empty().await;
    let output = "0123456789".repeat(1_000_000);
    let live = viewer.manager.start(crate::answers::meta()).await.unwrap();
    let turn = live.begin_turn(TurnSettings::default()).await.unwrap();
    turn.user_message("run it").await.unwrap();
    let call = turn.command("call", "make", "/").await.unwrap();
    call.finish(output.as_str()).await.unwrap();
    turn.complete().await.unwrap();
    let id = live.id();
    let answer = viewer.get(&format!("/threads/{id}")).await;
    assert!(answer.body.len() < 200_000, "{}", answer.body.len());
    let page = answer.page();
    // A page of its own and the clipboard have more of it, and the log has everything.
    let more = viewer.get(&link(&page, ".cut a[href*='/item?']").unwrap()).await;
    assert!(more.body.len() > 1_000_000 && more.body.len() < 1_500_000, "{}", more.body.len());
    let text = all(&page, ".command-execution a.raw")[0].value().attr("data-text").unwrap();
    let text = viewer.get(text).await.text();
    assert!(text.starts_with("$ bash") && text.ends_with("0123456789") && text.len() > 4_000_000, "{}", text.len());
    let line = viewer.page(&link(&page, ".cut a[href*='/lines?']").unwrap()).await;
    let mut is_there = false;
    for raw in all(&line, "article .label a[href*='/raw?']") {
        is_there |= viewer.get(raw.value().attr("href").unwrap()).await.text().contains(&output);
    }
    assert!(is_there);
    for path in ["context", "lines", "windows", "world"] {
        let answer = viewer.get(&format!("/threads/{id}/{path}")).await;
        assert!(answer.status == 200 && answer.body.len() < 400_000, "{path}: {}", answer.body.len());
    }
}

#[tokio::test]
async fn a_huge_image_is_cut_with_links_to_the_rest() {
    let viewer = TestViewer::empty().await;
    let live = viewer.manager.start(crate::answers::meta()).await.unwrap();
    let turn = live.begin_turn(TurnSettings::default()).await.unwrap();
    let image = format!("data:image/png;base64,{}", "A".repeat(3 << 20));
    turn.user_message(Prompt::from("look").image(image)).await.unwrap();
    turn.complete().await.unwrap();
    let answer = viewer.get(&format!("/threads/{}", live.id())).await;
    assert!(answer.body.len() < 200_000, "{}", answer.body.len());
    assert_eq!(all(&answer.page(), ".cut a[href*='/item?']").len(), 1);
}

#[tokio::test]
async fn turns_with_one_id_are_all_shown_and_each_has_its_own_number() {
    let viewer = TestViewer::empty().await;
    let id = a_thread(&viewer, &["one"]).await;
    let mut lines = String::new();
    for (number, turn) in ["a", "same", "b", "same", "c"].iter().enumerate() {
        for payload in [
            format!(r#"{{"type":"task_started","turn_id":"{turn}"}}"#),
            format!(
                r#"{{"type":"item_completed","turn_id":"{turn}","item":{{"type":"UserMessage","id":"m{number}","content":[{{"type":"text","text":"message {number}"}}]}}}}"#
            ),
            format!(r#"{{"type":"task_complete","turn_id":"{turn}"}}"#),
        ] {
            lines.push_str(&format!(
                r#"{{"timestamp":"2026-11-21T09:08:56.705Z","type":"event_msg","payload":{payload}}}"#
            ));
            lines.push('\n');
        }
    }
    let file = viewer.threads().await[0].location.clone().unwrap();
    let mut log = std::fs::read_to_string(&file).unwrap();
    log.truncate(log.find('\n').unwrap() + 1);
    std::fs::write(&file, log + &lines).unwrap();
    let page = viewer.page(&format!("/threads/{id}?turn=same")).await;
    let titles: Vec<String> = all(&page, ".turn h2").iter().map(|title| title.text().collect()).collect();
    assert_eq!(titles, ["Turn 2", "Turn 3", "Turn 4", "Turn 5"]);
    let older = viewer.get(&link(&page, "a[data-more=older]").unwrap()).await.part();
    let titles: Vec<String> = all(&older, ".turn h2").iter().map(|title| title.text().collect()).collect();
    assert_eq!(titles, ["Turn 1"]);
    // The second turn with the id has its own items.
    let fourth = all(&page, ".turn")[2].select(&scraper::Selector::parse("a.raw").unwrap()).next().unwrap();
    assert_eq!(viewer.get(fourth.value().attr("data-text").unwrap()).await.text(), "message 3");
}

/// Returns the head of a new thread.
pub(crate) fn meta() -> selvedge_protocol::SessionMeta {
    let now = std::time::SystemTime::now().into();
    let mut meta = selvedge_protocol::SessionMeta::new(ThreadId::new(now), now);
    meta.cwd = Some("/home/ada/loom".to_owned());
    meta
}

/// Writes a thread with a turn for each message, which the agent answers with the same words.
pub(crate) async fn a_thread(viewer: &TestViewer, messages: &[&str]) -> ThreadId {
    let live = viewer.manager.start(meta()).await.unwrap();
    for message in messages {
        let turn = live.begin_turn(TurnSettings::default()).await.unwrap();
        turn.user_message(*message).await.unwrap();
        turn.agent_message(*message).await.unwrap();
        turn.complete().await.unwrap();
    }
    live.shutdown().await.unwrap();
    live.id()
}
