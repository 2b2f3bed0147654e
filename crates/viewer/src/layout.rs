//! What every page has around its content.

use axum::response::Html;
use maud::{DOCTYPE, Markup, html};

/// Renders a page.
pub(crate) fn page(title: &str, body: &Markup) -> Html<String> {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Selvedge" }
                link rel="stylesheet" href="/assets/viewer.css";
                link rel="icon" href="data:,";
                script src="/assets/viewer.js" defer {}
            }
            body { (body) }
        }
    };
    Html(markup.into_string())
}

/// Renders the bar at the top of a page.
pub(crate) fn bar(content: &Markup) -> Markup {
    html! {
        a.skip href="#main" { "Skip to the content" }
        nav.bar aria-label="Selvedge" { a.home href="/" { "Selvedge" } (content) }
    }
}
