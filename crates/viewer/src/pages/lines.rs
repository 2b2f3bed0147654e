//! The log of a thread: its lines with their exact bytes, and damage where it is.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Html;
use maud::{Markup, html};
use selvedge_protocol::SortDirection;
use selvedge_thread_store::{EntryKind, LineEntry, LineQuery, LineSelect, LineStart};
use serde::Deserialize;

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::layout::{bar, page as layout};
use crate::thread_params::{encoded, thread_id};

/// Lines on a page, and their bytes.
const LIMIT: usize = 100;
const MAX_BYTES: usize = 1 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LinesParams {
    /// Where the page begins: a position of an earlier page.
    at: String,
    /// The ordinal at which the page begins.
    ordinal: Option<u64>,
    /// Only damage, if it is not empty.
    damage: String,
}

pub(crate) async fn page(
    State(app): State<Arc<ViewerApp>>,
    Path(id): Path<String>,
    Query(params): Query<LinesParams>,
) -> Result<Html<String>, PageError> {
    let id = thread_id(&id)?;
    let start = match params.ordinal {
        Some(ordinal) => LineStart::Ordinal(ordinal),
        None if params.at.is_empty() => LineStart::Beginning,
        None => LineStart::At(params.at.clone().into()),
    };
    let select = if params.damage.is_empty() { LineSelect::All } else { LineSelect::DamageOnly };
    let query = LineQuery {
        thread_id: id,
        start,
        direction: SortDirection::Ascending,
        select,
        max_lines: LIMIT,
        max_bytes: MAX_BYTES,
    };
    let lines = app.store().read_lines(&query).await?;
    let body = html! {
        (bar(&html! { a href={ "/threads/" (id) } { "transcript" } }))
        main #main.transcript {
            h1 { "Log" }
            @for each in &lines.entries { (entry(each)) }
            @if lines.entries.is_empty() { p.empty { "No lines here." } }
            @if !lines.is_end {
                p.more { a rel="next" href={ "/threads/" (id) "/lines?at=" (encoded(lines.next.as_str())) "&damage=" (encoded(&params.damage)) } { "more lines" } }
            }
        }
    };
    Ok(layout("Log", &body))
}

fn entry(entry: &LineEntry) -> Markup {
    let text = String::from_utf8_lossy(&entry.bytes);
    let label = match &entry.kind {
        EntryKind::Line => entry.line().map(|line| line.kind().to_owned()).unwrap_or_default(),
        EntryKind::Blank => "blank".to_owned(),
        EntryKind::Damage { reason, .. } => format!("damaged: {reason}"),
        EntryKind::Missing { reason, .. } => format!("missing: {reason}"),
    };
    html! {
        article.item.line {
            p.label { (label) " · " (entry.bytes.len()) " bytes" @if entry.inherited { " · inherited" } }
            pre.output tabindex="0" { (text.trim_end()) }
        }
    }
}
