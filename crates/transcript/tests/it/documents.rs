//! Documents of every recording.

use std::io::Write;
use std::process::{Command, Stdio};

use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use scraper::{Html, Selector};
use selvedge_protocol::ItemContent;
use selvedge_transcript::{TranscriptParts, html_document, markdown_document};

use crate::recordings;

fn count(html: &Html, selector: &str) -> usize {
    html.select(&Selector::parse(selector).unwrap()).count()
}

/// Returns the texts of the headings of level 2 that stand at the top of a Markdown document.
fn headings(markdown: &str) -> Vec<String> {
    let (mut found, mut depth, mut is_heading) = (Vec::new(), 0, false);
    for event in Parser::new(markdown) {
        match event {
            Event::Start(Tag::Heading { level: pulldown_cmark::HeadingLevel::H2, .. }) if depth == 0 => {
                (depth, is_heading) = (depth + 1, true);
                found.push(String::new());
            }
            Event::Start(_) => depth += 1,
            Event::End(end) => {
                depth -= 1;
                is_heading &= !matches!(end, TagEnd::Heading(_));
            }
            Event::Text(text) if is_heading => found.last_mut().unwrap().push_str(&text),
            _ => {}
        }
    }
    found
}

#[tokio::test]
async fn html_of_every_recording_is_valid_and_has_every_turn_and_item() {
    for recorded in recordings::all().await {
        let text = html_document(&recorded.thread, &recorded.turns, 1, TranscriptParts::default());
        let html = Html::parse_document(&text);
        assert_eq!(html.errors, Vec::<String>::new(), "{}", recorded.thread.id);
        assert_eq!(count(&html, "section.turn"), recorded.turns.len(), "{}", recorded.thread.id);
        let items: usize = recorded.turns.iter().map(|turn| turn.items.len() + usize::from(turn.error.is_some())).sum();
        assert_eq!(count(&html, "article.item"), items, "{}", recorded.thread.id);
        assert_eq!(count(&html, "script, link, iframe, object, form"), 0, "{}", recorded.thread.id);
    }
}

/// Runs HTML Tidy over a document, if it is installed. Returns what it complains about.
fn complaints(html: &str) -> Option<String> {
    let mut command = Command::new("tidy");
    command.args(["-q", "-e", "--drop-empty-elements", "no"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.stdout(Stdio::null()).spawn().ok()?;
    // It writes nothing before it has read everything.
    child.stdin.take().unwrap().write_all(html.as_bytes()).unwrap();
    let complaints = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    // The attribute is newer than most releases of the program.
    let is_known = |line: &&str| line.contains("<img> proprietary attribute \"loading\"");
    Some(complaints.lines().filter(|line| !is_known(line)).map(|line| format!("{line}\n")).collect())
}

#[expect(clippy::print_stderr, reason = "a test that is skipped silently would count as passed")]
fn announce() {
    eprintln!("SKIPPED: HTML Tidy did not check the documents: the program `tidy` is not on the PATH");
}

#[tokio::test]
async fn html_of_every_recording_passes_html_tidy() {
    if complaints("<p>no document").is_none() {
        return announce();
    }
    assert!(!complaints("<p>no document").unwrap().is_empty(), "HTML Tidy complains about nothing");
    for recorded in recordings::all().await {
        let html = html_document(&recorded.thread, &recorded.turns, 1, TranscriptParts::default());
        assert_eq!(complaints(&html).unwrap(), "", "{}", recorded.thread.id);
    }
}

#[tokio::test]
async fn markdown_of_every_recording_has_every_turn_as_a_heading() {
    for recorded in recordings::all().await {
        let text = markdown_document(&recorded.thread, &recorded.turns, 3, TranscriptParts::default());
        let expected: Vec<String> = (3..3 + recorded.turns.len()).map(|number| format!("Turn {number}")).collect();
        assert_eq!(headings(&text), expected, "{}\n{text}", recorded.thread.id);
    }
}

#[tokio::test]
async fn what_was_said_is_in_both_documents() {
    for recorded in recordings::all().await {
        let markdown = markdown_document(&recorded.thread, &recorded.turns, 1, TranscriptParts::default());
        let html =
            Html::parse_document(&html_document(&recorded.thread, &recorded.turns, 1, TranscriptParts::default()));
        let shown: String = html.root_element().text().collect();
        for item in recorded.turns.iter().flat_map(|turn| &turn.items) {
            let (ItemContent::UserMessage { text, .. } | ItemContent::AgentMessage { text, .. }) = &item.content else {
                continue;
            };
            // Markup of Markdown is not in the text of the page, so words are compared.
            for word in text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()) {
                assert!(markdown.contains(word) && shown.contains(word), "{word} of {text} in {}", recorded.thread.id);
            }
        }
    }
}

#[tokio::test]
async fn parts_that_are_not_wanted_are_left_out() {
    let parts = TranscriptParts { tools: false, reasoning: false, images: false };
    for recorded in recordings::all().await {
        let text = html_document(&recorded.thread, &recorded.turns, 1, parts);
        let html = Html::parse_document(&text);
        assert_eq!(count(&html, ".command-execution, .tool-call, .file-change, .web-search, .reasoning, img"), 0);
        assert_eq!(count(&html, "section.turn"), recorded.turns.len());
        let markdown = markdown_document(&recorded.thread, &recorded.turns, 1, parts);
        assert!(!markdown.contains("**Thinking**") && !markdown.contains("**Command"), "{markdown}");
    }
}
