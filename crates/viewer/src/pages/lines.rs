//! The log of a thread: its lines with their exact bytes, and damage where it is.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse};
use maud::{Markup, html};
use selvedge_protocol::{SortDirection, ThreadId};
use selvedge_thread_store::{EntryKind, LineEntry, LinePosition, LineQuery, LineSelect, LineStart};
use selvedge_transcript::html::{time, title};
use selvedge_transcript::{highlighted, size_text};
use serde::Deserialize;

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::layout::{page as layout, thread_bar};
use crate::page_thread::PageThread;
use crate::url::{UrlQuery, encoded};

/// Lines on a page, and their bytes.
const LIMIT: usize = 100;
const MAX_BYTES: usize = 1 << 20;

/// How much of a line is shown, in bytes.
const MAX_LINE: usize = 16 << 10;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LinesParams {
    /// Where the page begins: a position of an earlier page.
    at: String,
    /// Where the page ends, instead.
    before: String,
    /// The ordinal at which the page begins.
    ordinal: Option<u64>,
    /// How many intact lines of the history are before the page.
    position: Option<u64>,
    /// Only damage, if it is not empty.
    damage: String,
}

impl LinesParams {
    async fn query(&self, app: &ViewerApp, id: ThreadId) -> Result<LineQuery, PageError> {
        let (direction, start) = if !self.before.is_empty() {
            (SortDirection::Descending, LineStart::At(self.before.clone().into()))
        } else if let Some(ordinal) = self.ordinal {
            (SortDirection::Ascending, LineStart::Ordinal(ordinal))
        } else if let Some(position) = self.position {
            (SortDirection::Ascending, LineStart::At(nth_line(app, id, position).await?))
        } else if self.at.is_empty() {
            (SortDirection::Ascending, LineStart::Beginning)
        } else {
            (SortDirection::Ascending, LineStart::At(self.at.clone().into()))
        };
        let select = if self.damage.is_empty() { LineSelect::All } else { LineSelect::DamageOnly };
        Ok(LineQuery {
            thread_id: id,
            start,
            direction,
            select,
            max_lines: LIMIT,
            max_bytes: MAX_BYTES,
            max_text: Some(MAX_LINE),
        })
    }
}

/// Returns where the intact line begins before which there are `skip` others.
async fn nth_line(app: &ViewerApp, id: ThreadId, mut skip: u64) -> Result<LinePosition, PageError> {
    let mut query = LineQuery { max_bytes: 256 << 10, max_text: Some(0), ..LineQuery::from(id, LineStart::Beginning) };
    loop {
        let page = app.store().read_lines(&query).await?;
        for entry in page.entries.iter().filter(|entry| entry.kind == EntryKind::Line) {
            if skip == 0 {
                return Ok(entry.at.clone());
            }
            skip -= 1;
        }
        if page.is_end {
            return Err(PageError::new(StatusCode::NOT_FOUND, "the thread has no such line"));
        }
        query.start = LineStart::At(page.next);
    }
}

pub(crate) async fn page(
    State(app): State<Arc<ViewerApp>>,
    PageThread(id): PageThread,
    UrlQuery(params): UrlQuery<LinesParams>,
) -> Result<Html<String>, PageError> {
    let query = params.query(&app, id).await?;
    let mut page = app.store().read_lines(&query).await?;
    let is_backward = query.direction == SortDirection::Descending;
    if is_backward {
        page.entries.reverse();
    }
    // A page ends where the next one begins, in both directions.
    let earlier = match (is_backward, page.entries.first()) {
        (true, _) => (!page.is_end).then(|| page.next.clone()),
        (false, Some(first)) if query.start != LineStart::Beginning => Some(first.at.clone()),
        (false, _) => None,
    };
    let later = if is_backward {
        Some(LinePosition::from(params.before.clone()))
    } else {
        (!page.is_end).then(|| page.next.clone())
    };
    let is_damage = !params.damage.is_empty();
    let heading = format!("Log: {}", title(&app.store().read_thread(id).await?));
    let link = |name: &str, at: &LinePosition| {
        let damage = if is_damage { "&damage=1" } else { "" };
        format!("/threads/{id}/lines?{name}={}{damage}", encoded(at.as_str()))
    };
    let body = html! {
        (thread_bar(id, "/lines"))
        main #main.transcript {
            h1 { (heading) }
            p.switch {
                @if is_damage { a href={ "/threads/" (id) "/lines" } { "Show all lines" } }
                @else { a href={ "/threads/" (id) "/lines?damage=1" } { "Show only damage" } }
            }
            @if let Some(at) = &earlier { p.more { a rel="prev" href=(link("before", at)) { "earlier lines" } } }
            @for each in &page.entries { (entry(id, each)) }
            @if page.entries.is_empty() {
                p.empty { @if is_damage { "There is no damage in this log." } @else { "There are no lines here." } }
            }
            @if let Some(at) = &later { p.more { a rel="next" href=(link("at", at)) { "later lines" } } }
        }
    };
    Ok(layout(&heading, &body))
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawParams {
    at: String,
}

/// The exact bytes of an entry.
pub(crate) async fn raw(
    State(app): State<Arc<ViewerApp>>,
    PageThread(id): PageThread,
    UrlQuery(params): UrlQuery<RawParams>,
) -> Result<impl IntoResponse, PageError> {
    let query = LineQuery { max_lines: 1, ..LineQuery::from(id, LineStart::At(LinePosition::from(params.at))) };
    let entry = app.store().read_lines(&query).await?.entries.into_iter().next();
    let entry = entry.ok_or_else(|| PageError::new(StatusCode::NOT_FOUND, "the thread has no such line"))?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], entry.bytes))
}

fn entry(id: ThreadId, entry: &LineEntry) -> Markup {
    let text = String::from_utf8_lossy(&entry.bytes);
    let text = text.trim_end();
    let end = (0..=text.len().min(MAX_LINE)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    let line = entry.line();
    let is_damaged = matches!(entry.kind, EntryKind::Damage { .. } | EntryKind::Missing { .. });
    html! {
        article.item.line.damage[is_damaged] {
            p.label {
                @match &entry.kind {
                    EntryKind::Line => (line.as_ref().map_or("line", |line| line.kind())),
                    EntryKind::Blank => "blank",
                    EntryKind::Damage { reason, .. } => { "damaged: " (reason) },
                    EntryKind::Missing { reason, .. } => { "missing: " (reason) },
                }
                @if let Some(ordinal) = line.as_ref().and_then(|line| line.ordinal()) { " · ordinal " (ordinal) }
                @if let Some(at) = line.as_ref().and_then(|line| line.timestamp()) { " · " (time(at)) }
                " · " (size_text(entry.stored_len()))
                @if entry.inherited { " · inherited" }
                " · " a href={ "/threads/" (id) "/raw?at=" (encoded(entry.at.as_str())) } { "exact bytes" }
            }
            @if !text.is_empty() { pre.output tabindex="0" { (highlighted(&text[..end], if is_damaged { "" } else { "json" })) } }
            @if end < text.len() || entry.left_out > 0 {
                p.cut { (size_text((text.len() - end) as u64 + entry.left_out)) " more are not shown here." }
            }
        }
    }
}
