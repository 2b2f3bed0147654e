//! What the model sees at the next turn.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use selvedge_protocol::ResponseItem;
use selvedge_transcript::html::title;
use selvedge_transcript::item_facts::{MessagePart, message_parts};
use selvedge_transcript::{rich_text, size_text};
use serde::Deserialize;
use serde_json::Value;

use crate::app::ViewerApp;
use crate::bounded_context::{BoundedContext, END_BYTES};
use crate::error::PageError;
use crate::layout::{page as layout, thread_bar};
use crate::page_thread::PageThread;
use crate::readable::readable;
use crate::turns::MAX_TEXT;
use crate::url::UrlQuery;

/// Items on a page.
const LIMIT: usize = 200;

#[derive(Debug, Deserialize)]
pub(crate) struct ContextParams {
    /// The number of the first item on the page, counted from 1. The newest items if it is missing.
    from: Option<usize>,
}

pub(crate) async fn page(
    State(app): State<Arc<ViewerApp>>,
    PageThread(id): PageThread,
    UrlQuery(params): UrlQuery<ContextParams>,
) -> Result<Html<String>, PageError> {
    let thread = app.store().read_thread(id).await?;
    let BoundedContext { context, is_whole } = BoundedContext::read(&app, id).await?;
    let count = context.history.len();
    let first = params.from.map_or(count.saturating_sub(LIMIT), |from| from.saturating_sub(1).min(count));
    let end = count.min(first + LIMIT);
    let body = html! {
        (thread_bar(id, "/context"))
        main #main.transcript {
            h1 { "What the model sees: " (title(&thread)) }
            @if is_whole {
                p.dim { (count) " items, in context window " (context.window.number) "." }
            } @else {
                p.warning { "The context is too large for this page. These are the " (count) " items of the newest " (size_text(END_BYTES as u64)) " of the log." }
            }
            @for warning in &context.warnings { p.warning { (warning) } }
            h2.hidden { "Items" }
            @if first > 0 { p.more { a rel="prev" href={ "/threads/" (id) "/context?from=" (first.saturating_sub(LIMIT) + 1) } { "earlier items" } } }
            @for (index, item) in context.history.iter().enumerate().take(end).skip(first) {
                (render(index, item, index < context.compacted_items))
            }
            @if end < count { p.more { a rel="next" href={ "/threads/" (id) "/context?from=" (end + 1) } { "later items" } } }
            @if let Some(state) = &context.world_state {
                h2 { "World state" }
                pre.output tabindex="0" { (shortened(&readable(&state.clone().into_value()))) }
            }
        }
    };
    Ok(layout(title(&thread), &body))
}

fn render(index: usize, item: &ResponseItem, is_kept: bool) -> Markup {
    let parts = message_parts(item);
    let bytes: usize = item.texts().iter().map(String::len).sum();
    html! {
        article.item.context id={ "item-" (index + 1) } {
            p.label {
                (index + 1) " · " (item.kind().as_str().replace('_', " "))
                @if let Some(role) = item.role() { ", " (role) }
                @if is_kept { ", kept by the compaction" }
            }
            @if bytes == 0 {
                @let value: Value = serde_json::from_str(item.json().get()).unwrap_or_default();
                pre.output tabindex="0" { (shortened(&readable(&value))) }
            } @else if bytes <= MAX_TEXT {
                @for part in &parts {
                    @match part {
                        MessagePart::Text(text) => div.text { (rich_text(text)) },
                        MessagePart::Other(kind) => p.attachment { (kind.replace('_', " ")) },
                    }
                }
            } @else {
                pre.output tabindex="0" { (shortened(&item.texts().join("\n\n"))) }
            }
        }
    }
}

fn shortened(text: &str) -> Markup {
    let end = (0..=text.len().min(MAX_TEXT)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    html! {
        (text[..end])
        @if end < text.len() { "\n… " (size_text((text.len() - end) as u64)) " more are not shown here." }
    }
}
