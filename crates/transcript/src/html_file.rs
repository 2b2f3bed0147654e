//! A thread as one HTML file.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use selvedge_protocol::{StoredThread, Turn};

use crate::html::{TurnAnchors, facts, html_text, title, turn_at};
use crate::parts::TranscriptParts;

/// The style sheet of all pages with transcripts: light and dark, as the system of the reader prefers.
pub const STYLE: &str = include_str!("../assets/transcript.css");

/// What the file may load and run: the style that it contains and the images that it contains, and no script at all.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// Renders a thread as one HTML file, which needs no network and has no script. `first` is the number of the first turn, and 1 if
/// the transcript is whole.
#[must_use]
pub fn html_document(thread: &StoredThread, turns: &[Turn], first: u64, parts: TranscriptParts) -> String {
    let mut anchors = TurnAnchors::default();
    let markup: Markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="generator" content={ "selvedge " (env!("CARGO_PKG_VERSION")) };
                title { (title(thread)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main.transcript {
                    h1 { (title(thread)) }
                    (facts(thread))
                    @for (number, each) in (first..).zip(turns) { (turn_at(&anchors.next(each), Some(number), each, parts)) }
                    @if turns.is_empty() { p.empty { "This thread has no turns." } }
                }
            }
        }
    };
    html_text(markup)
}

#[cfg(test)]
mod tests {
    use selvedge_protocol::{ItemsView, StoredThread, ThreadId, Timestamp, Turn, TurnId, TurnStatus};

    use super::html_document;
    use crate::parts::TranscriptParts;

    #[test]
    fn turns_with_one_id_have_elements_with_different_ids() {
        let turn = |id: &str, start: u64| Turn {
            id: TurnId::from(id.to_owned()),
            status: TurnStatus::Completed,
            started_at: None,
            completed_at: None,
            duration_ms: None,
            error: None,
            items_view: ItemsView::Full,
            items: Vec::new(),
            lines: start..start,
            item_positions: Vec::new(),
        };
        let thread = StoredThread::new(ThreadId::new(Timestamp::default()), Timestamp::default());
        let html = html_document(
            &thread,
            &[turn("a", 1), turn("b", 3), turn("a", 7), turn("a", 7)],
            5,
            TranscriptParts::default(),
        );
        for id in ["turn-a", "turn-b", "turn-a-start-7", "turn-a-start-7-2"] {
            assert_eq!(html.matches(&format!(" id=\"{id}\"")).count(), 1, "{id}");
        }
    }
}
