//! No text of a thread becomes markup.

use selvedge_protocol::{ItemContent, ItemStatus, ThreadId};
use selvedge_thread_manager::{Prompt, TurnSettings};
use serde_json::json;

use crate::answers::meta;
use crate::support::{TestViewer, all};

/// What a page that an agent has read, or the output of a command, could contain to run a script or to send something away.
pub(crate) const ATTACKS: [&str; 36] = [
    "<script>window.pwned=1</script>",
    "<img src=x onerror=\"window.pwned=1\">",
    "<svg onload=window.pwned=1>",
    "<svg><script>window.pwned=1</script></svg>",
    "<iframe srcdoc=\"<script>parent.pwned=1</script>\"></iframe>",
    "<iframe src=\"javascript:parent.pwned=1\"></iframe>",
    "\"><script>window.pwned=1</script>",
    "'><script>window.pwned=1</script>",
    "\" autofocus onfocus=\"window.pwned=1",
    "' autofocus onfocus='window.pwned=1",
    "</title><script>window.pwned=1</script>",
    "</style><script>window.pwned=1</script>",
    "</textarea><script>window.pwned=1</script>",
    "</pre></details></article><script>window.pwned=1</script>",
    "<!--><script>window.pwned=1</script>-->",
    "<![CDATA[<script>window.pwned=1</script>]]>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.pwned=1>",
    "<noscript><p title=\"</noscript><img src=x onerror=window.pwned=1>\">",
    "<template><script>window.pwned=1</script></template>",
    "<base href=\"http://evil.invalid/\">",
    "<meta http-equiv=refresh content=\"0;url=http://evil.invalid/\">",
    "<link rel=stylesheet href=http://evil.invalid/x.css>",
    "<style>@import 'http://evil.invalid/x.css';</style>",
    "<form action=http://evil.invalid/><input name=q><button>Search</button></form>",
    "<object data=\"javascript:window.pwned=1\"></object><embed src=http://evil.invalid/>",
    "<a href=\"javascript:window.pwned=1\" id=turns class=current>x</a>",
    "<details open ontoggle=window.pwned=1>",
    "<body onload=window.pwned=1><video><source onerror=window.pwned=1></video>",
    "[x](javascript:window.pwned=1) [y](JAVASCRIPT&colon;window.pwned=1)",
    "[x](data:text/html;base64,PHNjcmlwdD53aW5kb3cucHduZWQ9MTwvc2NyaXB0Pg==)",
    "![x](http://evil.invalid/pixel.png) ![y](//evil.invalid/pixel.png)",
    "![x](x\" onerror=\"window.pwned=1) [x]: javascript:window.pwned=1",
    "<http://evil.invalid/\"onmouseover=\"window.pwned=1>",
    "```html\"><script>window.pwned=1</script>\n<script>window.pwned=1</script>\n```",
    "# <img src=x onerror=window.pwned=1> {#turns onclick=window.pwned=1}",
    "\u{1b}]8;;javascript:window.pwned=1\u{7}link\u{1b}]8;;\u{7}\r<script>window.pwned=1</script>\0",
];

/// A thread whose every text is an attack: messages, names of files, commands, arguments, answers, images, plans, unknown kinds. Its
/// title, directory, model and branch are attacks as well.
pub(crate) async fn attacked(viewer: &TestViewer, attack: &str) -> ThreadId {
    let mut head = meta();
    head.cwd = Some(format!("/home/{attack}"));
    head.originator = Some(attack.to_owned());
    let live = viewer.manager.start(head).await.unwrap();
    let turn = live.begin_turn(TurnSettings::default().model(attack)).await.unwrap();
    let prompt = Prompt::from(attack)
        .image(format!("http://evil.invalid/{attack}"))
        .image(format!("data:image/png;base64,{attack}"))
        .image(format!("data:image/svg+xml,{attack}"));
    turn.user_message(prompt).await.unwrap();
    turn.agent_message(attack).await.unwrap();
    turn.reasoning(&[attack], None).await.unwrap();
    turn.command("c1", attack, attack).await.unwrap().finish(attack).await.unwrap();
    let call = turn.tool_call("c2", attack, &json!({attack: attack})).await.unwrap();
    call.finish(attack).await.unwrap();
    turn.tool_call("c3", "tool", &json!([attack])).await.unwrap().fail(attack).await.unwrap();
    turn.web_search("w", attack).await.unwrap();
    turn.generated_image("i", attack, attack).await.unwrap();
    turn.plan(attack).await.unwrap();
    let changes = json!({
        attack: {"type": "update", "unified_diff": format!("@@ {attack}\n-{attack}\n+{attack}\n"), "move_path": attack},
        "/p": {"type": attack, "content": attack},
    });
    turn.shown_item(ItemContent::FileChange { status: ItemStatus::Completed, changes }).await.unwrap();
    turn.fail(attack).await.unwrap();
    live.shutdown().await.unwrap();
    viewer.manager.rename(live.id(), attack).await.unwrap();
    live.id()
}

/// The elements that pages consist of, with their attributes. What is not here comes from a text.
const ELEMENTS: &str = "a article body br button blockquote caption circle code datalist dd del details dialog div dl dt em \
    figcaption figure form h1 h2 h3 h4 h5 h6 head header hr html img input kbd label li line link main mark meta nav ol option p \
    polyline pre rect script section select span strong summary svg table tbody td text th thead time title tr ul sup";
const ATTRIBUTES: &str = "action alt aria-current aria-hidden aria-label aria-labelledby aria-live autocomplete charset checked class content cx \
    cy data-instant data-keys data-live data-more data-first data-number data-part data-start data-text data-thread datetime defer disabled height hidden \
    href id lang list loading method name open placeholder points preserveAspectRatio r rel role scope selected src start tabindex target text-anchor \
    type value viewBox width x x1 x2 y y1 y2";

/// Fails if an element or an attribute of a page comes from a text.
fn check(page: &scraper::Html, what: &str) {
    let elements: Vec<&str> = ELEMENTS.split_whitespace().collect();
    let attributes: Vec<&str> = ATTRIBUTES.split_whitespace().collect();
    for element in all(page, "*") {
        let element = element.value();
        assert!(elements.contains(&element.name()), "{what}: {element:?}");
        for (name, value) in element.attrs() {
            assert!(attributes.contains(&name), "{what}: {name} of {element:?}");
            let is_good = match name {
                "href" => {
                    let is_own = value.starts_with(['/', '#']) && !value.starts_with("//");
                    let is_safe_link =
                        ["http://", "https://", "mailto:"].iter().any(|scheme| value.starts_with(scheme))
                            && element.attr("rel") == Some("noopener noreferrer nofollow");
                    is_own || is_safe_link || element.name() == "link" && value == "data:,"
                }
                "src" => value == "/assets/viewer.js" || value.starts_with("data:image/png;base64,"),
                "action" => value.starts_with('/') && !value.starts_with("//"),
                // A text cannot take the place of an element that the script looks for.
                "id" if value == "turns" => element.name() == "div",
                "id" if value == "found" => element.name() == "div",
                _ => true,
            };
            assert!(is_good, "{what}: {name}={value:?}");
        }
    }
    assert_eq!(all(page, "script").len(), 1, "{what}");
    assert_eq!(all(page, "script")[0].text().collect::<String>(), "", "{what}");
    assert!(all(page, "meta[http-equiv], link[rel=stylesheet]:not([href='/assets/viewer.css'])").is_empty(), "{what}");
}

#[tokio::test]
async fn no_text_of_a_thread_becomes_an_element_or_an_attribute() {
    let viewer = TestViewer::that_writes().await;
    let peaceful = crate::answers::a_thread(&viewer, &["hello"]).await;
    for attack in ATTACKS {
        let id = attacked(&viewer, attack).await;
        for page in ["", "/context", "/relatives", "/lines", "/find?q=pwned"] {
            let answer = viewer.get(&format!("/threads/{id}{page}")).await;
            assert_eq!(answer.status, 200, "{page}: {attack}");
            // Its errors are checked too: an attribute that is written badly shows there first.
            check(&answer.page(), &format!("{page}: {attack}"));
        }
        let page = viewer.page(&format!("/threads/{id}")).await;
        let shown: String = all(&page, "h1")[0].text().collect();
        let words = |text: &str| text.chars().filter(|letter| letter.is_alphanumeric()).collect::<String>();
        assert_eq!(words(&shown), words(attack), "nothing of a title is lost");
        let item = all(&page, ".command-execution a.raw")[0].value().attr("data-text").unwrap().to_owned();
        let text = viewer.get(&item).await;
        assert!(text.header("content-type").starts_with("text/plain"), "{attack}");
        check(&viewer.page(&item.replace("/text?", "/item?")).await, attack);
        check(&viewer.page(&format!("/compare?a={peaceful}&b={id}")).await, attack);
        let raw = all(&viewer.page(&format!("/threads/{id}/lines")).await, "article .label a")[0]
            .value()
            .attr("href")
            .unwrap()
            .to_owned();
        assert!(viewer.get(&raw).await.header("content-type").starts_with("text/plain"));
    }
    for path in ["/", "/?archived=all", "/?q=pwned", "/?q=evil", "/activity", "/?q=%22hello%22"] {
        check(&viewer.page(path).await, path);
    }
    let choices = viewer.get("/threads/0").await;
    assert_eq!(choices.status, 300);
    check(&choices.page(), "the threads whose ids begin with 0");
    // What a reader types or a link contains is no more trusted than a thread.
    for attack in ATTACKS {
        let text: String = attack.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for path in [
            format!("/?q={text}"),
            format!("/?project={text}&model={text}&branch={text}&archived={text}"),
            format!("/activity?project={text}"),
            format!("/threads/{peaceful}/find?q={text}"),
        ] {
            check(&viewer.page(&path).await, &path);
        }
        // Some threads have such a text as their name.
        let named = viewer.get(&format!("/threads/{text}")).await;
        assert!(named.status == 404 || named.header("location").starts_with("/threads/01"), "{attack}: {named:?}");
        for path in [format!("/threads/{text}x"), format!("/threads/{peaceful}?turn={text}"), format!("/?since={text}")]
        {
            let answer = viewer.get(&path).await;
            assert!(answer.status == 404 || answer.status == 400, "{path}: {}", answer.status);
            check(&answer.page(), &path);
        }
    }
}
