//! Transcripts whose texts try to become markup, or to swallow what comes after them.

use pulldown_cmark::{Event, Parser, Tag};
use scraper::Html;
use selvedge_protocol::{
    ItemContent, ItemId, ItemStatus, ItemsView, OtherTurnItem, StoredThread, ThreadId, Timestamp, Turn, TurnId,
    TurnItem, TurnStatus,
};
use selvedge_transcript::{TranscriptParts, html_document, markdown_document};
use serde_json::json;

const ATTACKS: [&str; 16] = [
    "<script>window.pwned=1</script>",
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "\"><svg onload=window.pwned=1>",
    "' onmouseover='window.pwned=1",
    "</style><script>window.pwned=1</script>",
    "</title><script>window.pwned=1</script>",
    "</main></body></html><script>window.pwned=1</script>",
    "<!-- open comment",
    "<![CDATA[<script>window.pwned=1</script>",
    "[x](javascript:window.pwned=1)",
    "![x](https://example.org/pixel.png)",
    "```\nopen fence",
    "~~~~\nopen fence",
    "<textarea><iframe srcdoc='<script>parent.pwned=1</script>'>",
    "# Turn 99\n## Turn 98\nTurn 97\n---",
];

fn at() -> Timestamp {
    "2026-11-21T09:08:56.680Z".parse().unwrap()
}

/// Returns a turn in which every text is the attack.
fn turn(attack: &str) -> Turn {
    let text = || attack.to_owned();
    let contents = vec![
        ItemContent::UserMessage {
            text: text(),
            images: vec![json!(attack)],
            attachments: vec![json!({"x": attack})],
            client_id: None,
        },
        ItemContent::AgentMessage { text: text(), phase: None, memory_citation: None },
        ItemContent::Reasoning { summary: vec![text()], content: Vec::new() },
        ItemContent::CommandExecution {
            command: text(),
            cwd: Some(text()),
            command_actions: Vec::new(),
            status: ItemStatus::Failed,
            output: Some(text().repeat(40)),
            exit_code: Some(1),
            duration_ms: Some(1),
        },
        ItemContent::FileChange {
            status: ItemStatus::Completed,
            changes: json!({attack: {"type": attack, "unified_diff": attack, "move_path": attack}}),
        },
        ItemContent::ToolCall {
            server: Some(text()),
            tool: text(),
            arguments: json!({attack: attack}),
            status: ItemStatus::Failed,
            result: Some(json!(attack)),
            error: Some(json!({"message": attack})),
            duration_ms: None,
        },
        ItemContent::WebSearch { query: text(), action: None, results: Some(json!([attack])) },
        ItemContent::ImageGeneration { status: text(), revised_prompt: Some(text()), saved_path: Some(text()) },
        ItemContent::Plan { text: text() },
        ItemContent::Transcript { role: text(), text: text() },
        ItemContent::InterAgentMessage { author: text(), recipient: text(), text: text() },
        ItemContent::Other(OtherTurnItem::new(text(), json!({attack: attack}).as_object().unwrap().clone())),
    ];
    Turn {
        id: TurnId::from(text()),
        status: TurnStatus::Failed,
        started_at: Some(at()),
        completed_at: None,
        duration_ms: Some(5),
        error: Some(json!({"message": attack})),
        items_view: ItemsView::Full,
        items: contents.into_iter().map(|content| TurnItem::new(ItemId::from(text()), content)).collect(),
        lines: 0..1,
        item_positions: Vec::new(),
    }
}

fn thread(attack: &str) -> StoredThread {
    let mut thread = StoredThread::new(ThreadId::new(at()), at());
    (thread.name, thread.cwd, thread.model) =
        (Some(attack.to_owned()), Some(attack.to_owned()), Some(attack.to_owned()));
    thread
}

/// The elements and attributes that documents have. Everything else comes from a text.
const ELEMENTS: [&str; 35] = [
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "dl",
    "dt",
    "dd",
    "code",
    "pre",
    "time",
    "section",
    "header",
    "a",
    "span",
    "article",
    "p",
    "div",
    "details",
    "summary",
    "em",
    "strong",
    "hr",
    "ul",
    "li",
    "ol",
    "blockquote",
];
const ATTRIBUTES: [&str; 16] = [
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "class",
    "id",
    "href",
    "rel",
    "target",
    "data-start",
    "data-number",
    "datetime",
    "tabindex",
    "aria-label",
    "aria-labelledby",
];

#[test]
fn no_text_becomes_markup() {
    for attack in ATTACKS {
        let html =
            Html::parse_document(&html_document(&thread(attack), &[turn(attack)], 1, TranscriptParts::default()));
        assert_eq!(html.errors, Vec::<String>::new(), "{attack}");
        for element in html.tree.nodes().filter_map(|node| node.value().as_element()) {
            assert!(ELEMENTS.contains(&element.name()), "<{}> of {attack}", element.name());
            for (name, value) in element.attrs() {
                assert!(ATTRIBUTES.contains(&name), "{name}={value} of {attack}");
                let is_link = name != "href" || value.starts_with('#') || value.starts_with("https://");
                assert!(is_link, "href={value} of {attack}");
            }
        }
        let shown: String = html.root_element().text().collect();
        let word =
            attack.split(|character: char| !character.is_alphanumeric()).find(|word| word.len() > 3).unwrap_or("x");
        assert!(shown.contains(word), "{attack} is shown");
    }
}

#[test]
fn no_text_swallows_the_next_turn_of_a_markdown_document() {
    for attack in ATTACKS {
        let text = markdown_document(&thread(attack), &[turn(attack), turn(attack)], 1, TranscriptParts::default());
        let (mut depth, mut headings) = (0, 0);
        for event in Parser::new(&text) {
            match event {
                Event::Start(tag) => {
                    headings += usize::from(depth == 0 && matches!(tag, Tag::Heading { .. }));
                    depth += 1;
                }
                Event::End(_) => depth -= 1,
                _ => {}
            }
        }
        assert_eq!(headings, 3, "the title and two turns, with {attack}:\n{text}");
    }
}
