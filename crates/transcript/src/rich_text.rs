//! Markdown as safe HTML.
//!
//! The text comes from a model, from a user, or from whatever they have read, so nothing of it is trusted:
//!
//! - raw HTML is shown as text;
//! - links keep their target only if it is `http`, `https` or `mailto`, and send no referrer;
//! - images of other places are not loaded (that would tell the place who reads what): their description stands there as a link.

use maud::{Markup, PreEscaped, Render, html};
use pulldown_cmark::{CodeBlockKind, CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::highlight::highlighted;

/// Renders Markdown (CommonMark with tables, task lists, strikethrough) as HTML that contains no markup of the text itself.
/// Its headings begin at level 3, below the headings of turns, and skip no level: the outline of the page stays one.
#[must_use]
pub fn rich_text(markdown: &str) -> Markup {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut safe = SafeEvents::default();
    for event in Parser::new_ext(markdown, options) {
        safe.add(event);
    }
    let mut out = String::with_capacity(markdown.len() * 3 / 2);
    pulldown_cmark::html::push_html(&mut out, safe.events.into_iter());
    PreEscaped(out)
}

/// Collects events, replacing those that could carry markup of the text.
#[derive(Default)]
struct SafeEvents<'a> {
    events: Vec<Event<'a>>,
    /// The language and the text of the code block that is being read.
    code: Option<(String, String)>,
    /// For each open link and image: whether it is an element of its own.
    links: Vec<bool>,
    /// The levels in the text of the last heading, and of those above it.
    headings: Vec<HeadingLevel>,
}

impl<'a> SafeEvents<'a> {
    fn add(&mut self, event: Event<'a>) {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let language =
                    if let CodeBlockKind::Fenced(language) = kind { language.to_string() } else { String::new() };
                self.code = Some((language, String::new()));
            }
            Event::Text(text) if self.code.is_some() => {
                if let Some((_, code)) = &mut self.code {
                    code.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => {
                let (language, code) = self.code.take().unwrap_or_default();
                self.markup(&html! { pre.code tabindex="0" { code { (highlighted(&code, &language)) } } });
            }
            Event::Html(text) | Event::InlineHtml(text) => self.events.push(Event::Text(text)),
            Event::Start(Tag::Link { dest_url, .. }) => self.open_link(&dest_url),
            Event::Start(Tag::Image { dest_url, .. }) => {
                self.open_link(&dest_url);
                self.events.push(Event::Text(CowStr::Borrowed("[image] ")));
            }
            Event::End(TagEnd::Link | TagEnd::Image) => {
                if self.links.pop() == Some(true) {
                    self.events.push(Event::InlineHtml(CowStr::Borrowed("</a>")));
                }
            }
            Event::Start(Tag::Heading { level, classes: _, attrs: _, id: _ }) => {
                let level = self.below_the_page(level);
                self.events.push(Event::Start(Tag::Heading {
                    level,
                    id: None,
                    classes: Vec::new(),
                    attrs: Vec::new(),
                }));
            }
            Event::End(TagEnd::Heading(_)) => {
                let level = self.last_level();
                self.events.push(Event::End(TagEnd::Heading(level)));
            }
            other => self.events.push(other),
        }
    }

    /// Returns the level on the page of the next heading of the text.
    fn below_the_page(&mut self, level: HeadingLevel) -> HeadingLevel {
        self.headings.retain(|above| *above < level);
        self.headings.push(level);
        self.last_level()
    }

    fn last_level(&self) -> HeadingLevel {
        match self.headings.len() {
            0 | 1 => HeadingLevel::H3,
            2 => HeadingLevel::H4,
            3 => HeadingLevel::H5,
            _ => HeadingLevel::H6,
        }
    }

    fn open_link(&mut self, url: &str) {
        // A link within a link is no HTML.
        let opens = is_safe(url) && !self.links.contains(&true);
        if opens {
            let attribute = url.render().into_string();
            let tag = format!("<a href=\"{attribute}\" rel=\"noopener noreferrer nofollow\" target=\"_blank\">");
            self.events.push(Event::InlineHtml(tag.into()));
        }
        self.links.push(opens);
    }

    fn markup(&mut self, markup: &Markup) {
        self.events.push(Event::Html(markup.0.clone().into()));
    }
}

/// Returns whether a link may lead there.
fn is_safe(url: &str) -> bool {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    scheme.is_some_and(|scheme| ["http", "https", "mailto"].contains(&scheme.as_str()))
}

#[cfg(test)]
mod tests {
    use super::rich_text;

    fn rendered(markdown: &str) -> String {
        rich_text(markdown).into_string()
    }

    #[test]
    fn markdown_is_rendered() {
        let html = rendered("# Title\n\nsome *words* and `code`\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n- [x] done\n");
        for part in ["<h3>Title</h3>", "<em>words</em>", "<code>code</code>", "<table>", "checkbox"] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(rendered("```rust\nfn x() {}\n```").contains("hl-"));
        assert!(rendered("[page](https://example.org/?a=1&b=2)").contains(
            "<a href=\"https://example.org/?a=1&amp;b=2\" rel=\"noopener noreferrer nofollow\" target=\"_blank\">page</a>"
        ));
    }

    #[test]
    fn headings_skip_no_level() {
        let html = rendered("### a\n\n# b\n\n### c\n\n###### d\n\n## e\n");
        let levels: Vec<&str> = html.split("<h").skip(1).filter_map(|heading| heading.get(..3)).collect();
        assert_eq!(levels, ["3>a", "3>b", "4>c", "5>d", "4>e"]);
        assert_eq!(html.matches("</h3>").count(), 2, "{html}");
    }

    #[test]
    fn no_text_becomes_markup() {
        let attacks = [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "text <b onclick=alert(1)>bold</b>",
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt:alert(1))",
            "[x]( java\tscript:alert(1))",
            "[x](data:text/html;base64,PHNjcmlwdD4=)",
            "![x](https://example.org/pixel.png)",
            "![x](x\" onerror=\"alert(1))",
            "[x](https://example.org/\"onmouseover=\"alert(1))",
            "```\"><script>alert(1)</script>\ncode\n```",
            "```html\n<script>alert(1)</script>\n```",
            "<!-- <script>alert(1)</script>",
            "<style>*{display:none}</style>",
            "# heading {#id onclick=alert(1)}",
            "[ref]: javascript:alert(1)\n\n[ref]",
            "<a href=\"javascript:alert(1)\">x</a>",
            "<https://example.org/'onclick='alert(1)>",
        ];
        for attack in attacks {
            let html = rendered(attack);
            // Tags of this module carry nothing but what stands here.
            for tag in html.split('<').skip(1) {
                let tag = tag.split('>').next().unwrap_or_default();
                let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap_or_default();
                let known = ["p", "a", "b", "h3", "pre", "code", "span", "em", "strong", "li", "ul"];
                assert!(known.contains(&name) && name != "b", "<{tag}> of {attack:?}: {html}");
                assert!(!tag.contains(" on") || tag.contains("&quot;on") || tag.starts_with("a href=\"https"), "{tag}");
                assert!(!tag.to_ascii_lowercase().contains("javascript:"), "{attack:?}: {html}");
                assert!(
                    !tag.contains(" onclick=") && !tag.contains(" onerror=") && !tag.contains(" onmouseover="),
                    "{tag}"
                );
            }
        }
    }

    #[test]
    fn nothing_is_lost_where_markup_is_refused() {
        let html = rendered("before <script>alert('x')</script> after\n\n![a picture](https://example.org/p.png)");
        assert!(html.contains("&lt;script&gt;") && html.contains("after") && html.contains("a picture"), "{html}");
    }
}
