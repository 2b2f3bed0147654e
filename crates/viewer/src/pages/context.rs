//! What the model sees at the next turn.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Html;
use maud::html;
use selvedge_transcript::html::title;
use selvedge_transcript::{highlighted, rich_text};

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::layout::{bar, page as layout};
use crate::thread_params::thread_id;

pub(crate) async fn page(State(app): State<Arc<ViewerApp>>, Path(id): Path<String>) -> Result<Html<String>, PageError> {
    let id = thread_id(&id)?;
    let thread = app.store().read_thread(id).await?;
    let context = app.store().load_model_context(id).await?;
    let body = html! {
        (bar(&html! { a href={ "/threads/" (id) } { "transcript" } }))
        main #main.transcript {
            h1 { "What the model sees: " (title(&thread)) }
            @for warning in &context.warnings { p.label { (warning) } }
            @for item in &context.history {
                article.item {
                    p.label { (item.kind().as_str()) @if let Some(role) = item.role() { ", " (role) } }
                    @let text = item.text();
                    @if text.is_empty() {
                        pre.output tabindex="0" { (highlighted(&pretty(item), "json")) }
                    } @else {
                        div.text { (rich_text(&text)) }
                    }
                }
            }
            @if let Some(state) = &context.world_state {
                h2 { "World state" }
                pre.output tabindex="0" { (highlighted(&pretty(state), "json")) }
            }
        }
    };
    Ok(layout(title(&thread), &body))
}

fn pretty<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
