//! What every page has around its content.

use axum::response::Html;
use maud::{DOCTYPE, Markup, html};
use selvedge_protocol::ThreadId;
use selvedge_transcript::html::html_text;

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
            body {
                a.skip href="#main" { "Skip to the content" }
                (body)
                dialog #keys aria-labelledby="keys-title" { (keys()) }
                p #status.status role="status" {}
            }
        }
    };
    Html(html_text(markup))
}

/// Renders the bar at the top of a page.
pub(crate) fn bar(content: &Markup) -> Markup {
    html! {
        nav.bar aria-label="Selvedge" {
            a.home href="/" { "Selvedge" }
            (content)
            button.keys type="button" data-keys hidden aria-label="Keyboard shortcuts" { "?" }
        }
    }
}

/// The pages that are about no thread.
const SITE_PAGES: [(&str, &str); 2] = [("/", "Threads"), ("/activity", "Activity")];

/// Renders the bar of a page that is about no thread. `current` is its path, and `query` the filters that its links keep.
pub(crate) fn site_bar(current: &str, query: &str) -> Markup {
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    bar(&html! {
        div.pages {
            @for (path, name) in SITE_PAGES { a href={ (path) (query) } aria-current=[(path == current).then_some("page")] { (name) } }
        }
        form.find role="search" action="/" method="get" {
            input type="search" name="q" placeholder="Search threads" aria-label="Search threads" autocomplete="off";
        }
    })
}

/// The pages of a thread, with the end of their paths.
const THREAD_PAGES: [(&str, &str); 6] = [
    ("", "Transcript"),
    ("/context", "Model context"),
    ("/windows", "Context windows"),
    ("/world", "World state"),
    ("/relatives", "Forks and sub-agents"),
    ("/lines", "Log"),
];

/// Renders the bar of a page of a thread. `current` is the end of its path.
pub(crate) fn thread_bar(id: ThreadId, current: &str) -> Markup {
    bar(&html! {
        div.pages {
            @for (path, name) in THREAD_PAGES {
                a href={ "/threads/" (id) (path) } aria-current=[(path == current).then_some("page")] { (name) }
            }
        }
        form.find role="search" action={ "/threads/" (id) "/find" } method="get" {
            input type="search" name="q" placeholder="Find in thread" aria-label="Find in this thread" autocomplete="off";
        }
    })
}

/// The keys of `viewer.js`.
fn keys() -> Markup {
    let keys = [
        ("/", "search"),
        ("j", "next thread, hit or message of the user"),
        ("k", "previous thread, hit or message of the user"),
        ("o, Enter", "open"),
        ("g", "go to the beginning"),
        ("G", "go to the end"),
        ("u", "go to all threads"),
        ("?", "show these keys"),
        ("Esc", "close"),
    ];
    html! {
        h2 #keys-title { "Keyboard shortcuts" }
        dl { @for (key, action) in keys { dt { kbd { (key) } } dd { (action) } } }
        form method="dialog" { button { "Close" } }
    }
}
