//! URLs with what a person types for a thread, and pages of errors.

use selvedge_protocol::ThreadId;

use crate::answers::a_thread;
use crate::support::{Answer, TestViewer, all};

/// Returns where the links of a list lead.
fn rows(answer: &Answer) -> Vec<String> {
    let page = answer.page();
    all(&page, "ul.rows a.row").iter().map(|row| row.value().attr("href").unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_beginning_of_an_id_or_a_name_leads_to_the_same_page_of_the_thread() {
    let viewer = TestViewer::that_writes().await;
    let (one, other) = (a_thread(&viewer, &["first"]).await, a_thread(&viewer, &["second"]).await);
    viewer.manager.rename(one, "white / black?").await.unwrap();
    let id = one.to_string();
    // Ids begin with their time, and these are made in one second: only what comes later distinguishes them.
    let prefix = &id[..id.len() - 1];
    let name = "white%20%2F%20black%3F";
    for (path, target) in [
        (format!("/threads/{prefix}"), format!("/threads/{id}")),
        (format!("/threads/{}", prefix.to_uppercase()), format!("/threads/{id}")),
        (format!("/threads/{prefix}/context?from=1"), format!("/threads/{id}/context?from=1")),
        (format!("/threads/{prefix}/find?q=a/b"), format!("/threads/{id}/find?q=a/b")),
        (format!("/threads/{name}"), format!("/threads/{id}")),
        (format!("/threads/{name}/lines"), format!("/threads/{id}/lines")),
    ] {
        let answer = viewer.get(&path).await;
        assert_eq!((answer.status, answer.header("location")), (303, target.clone()), "{path}");
        assert_eq!(viewer.get(&target).await.status, 200, "{target}");
    }
    let compared = viewer.page(&format!("/compare?a={prefix}&b={other}")).await;
    assert_eq!(all(&compared, &format!(".side h2 a[href='/threads/{id}']")).len(), 1);

    // A name never hides a thread whose id begins with it.
    let ambiguous = &id[..4];
    viewer.manager.rename(one, ambiguous).await.unwrap();
    let both = |make: &dyn Fn(ThreadId) -> String| {
        let mut both = [one, other].map(make);
        both.sort();
        both
    };
    let sorted = |mut found: Vec<String>| {
        found.sort();
        found
    };
    let answer = viewer.get(&format!("/threads/{ambiguous}/windows")).await;
    assert_eq!(answer.status, 300);
    assert_eq!(sorted(rows(&answer)), both(&|id| format!("/threads/{id}/windows")));
    let answer = viewer.get(&format!("/compare?a={one}&b={ambiguous}")).await;
    assert_eq!(answer.status, 300);
    assert_eq!(sorted(rows(&answer)), both(&|id| format!("/compare?a={one}&b={id}")));

    // A search for an id, which no text contains.
    let found = viewer.get(&format!("/?q={}", &other.to_string()[..30])).await;
    assert!(rows(&found).contains(&format!("/threads/{other}")), "{}", found.text());

    // Programs and forms have whole ids.
    let answer = viewer.get(&format!("/api/v1/threads/{prefix}")).await;
    assert_eq!(answer.status, 404);
    assert!(answer.json()["error"].as_str().unwrap().contains("whole"), "{}", answer.text());
    assert_eq!(viewer.post(&format!("/threads/{prefix}/archive"), "").await.status, 404);
}

#[tokio::test]
async fn the_page_of_an_error_has_a_bar_and_says_what_to_do() {
    let viewer = TestViewer::empty().await;
    let id = a_thread(&viewer, &["first"]).await;
    for (path, status) in [
        ("/no-such-page".to_owned(), 404),
        ("/threads/no such thread".replace(' ', "%20"), 404),
        (format!("/threads/{id}?item=x"), 400),
        ("/compare".to_owned(), 400),
        ("/?since=yesterday".to_owned(), 400),
        (format!("/threads/{id}/archive"), 405),
    ] {
        let answer = viewer.get(&path).await;
        assert_eq!(answer.status, status, "{path}");
        let page = answer.page();
        assert_eq!(all(&page, "nav.bar .pages a").len(), 2, "{path}");
        assert_eq!(all(&page, "nav.bar input[type=search]").len(), 1, "{path}");
        assert_eq!(all(&page, "main#main h1").len(), 1, "{path}");
        assert_eq!(all(&page, "main p a[href^='/']").len(), 1, "{path}");
    }
    // A form that a viewer that only reads does not take.
    let refused = viewer.post(&format!("/threads/{id}/archive"), "").await;
    assert_eq!((refused.status, all(&refused.page(), "nav.bar .pages a").len()), (403, 2));
}
