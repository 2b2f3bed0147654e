//! Activity as charts: turns by day, and tokens by project and model.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Html;
use maud::{Markup, html};
use selvedge_protocol::{SortDirection, StatsKey, StatsQuery, ThreadQuery, ThreadStats};
use selvedge_thread_store::StoreError;
use selvedge_transcript::html::html_text;

use crate::app::ViewerApp;
use crate::chart::{Bar, columns, rows};
use crate::error::PageError;
use crate::filters::ThreadFilters;
use crate::layout::{bar, page as layout};
use crate::turn_view::bytes;

/// How many days and groups a chart shows.
const MAX_DAYS: usize = 90;
const MAX_GROUPS: usize = 12;

pub(crate) async fn page(
    State(app): State<Arc<ViewerApp>>,
    Query(filters): Query<ThreadFilters>,
) -> Result<Html<String>, PageError> {
    let charts = charts(&app, &filters).await?;
    let body = html! {
        (bar(&html! { div.pages { a href={ "/?" (filters.query()) } { "Threads" } } }))
        main #main.threads { h1 { "Activity" } (charts) }
    };
    Ok(layout("Activity", &body))
}

/// The charts alone, for the home page.
pub(crate) async fn part(
    State(app): State<Arc<ViewerApp>>,
    Query(filters): Query<ThreadFilters>,
) -> Result<Html<String>, PageError> {
    Ok(Html(html_text(charts(&app, &filters).await?)))
}

async fn charts(app: &ViewerApp, filters: &ThreadFilters) -> Result<Markup, PageError> {
    let threads = filters.threads()?;
    let days = stats(app, &threads, StatsKey::Day, SortDirection::Ascending).await?;
    let projects = stats(app, &threads, StatsKey::Project, SortDirection::Descending).await?;
    let total = days.total;
    let skipped = days.groups.len().saturating_sub(MAX_DAYS);
    let day_bars: Vec<Bar> = days
        .groups
        .into_iter()
        .skip(skipped)
        .map(|group| {
            let label = group.key.unwrap_or_default();
            let href = format!("/?{}", ThreadFilters { since: label.clone(), until: label.clone(), ..filters.clone() }.query());
            Bar { label, value: group.counts.turns, href: Some(href) }
        })
        .collect();
    let project_bars: Vec<Bar> = projects
        .groups
        .into_iter()
        .take(MAX_GROUPS)
        .map(|group| {
            let href = group.key.clone().map(|project| format!("/?{}", ThreadFilters { project, ..filters.clone() }.query()));
            Bar { label: group.key.unwrap_or_else(|| "no project".to_owned()), value: group.counts.turns, href }
        })
        .collect();
    Ok(html! {
        p.totals {
            span { (total.threads) " threads" } span { (total.turns) " turns" } span { (total.total_tokens) " tokens" } span { (bytes(total.bytes)) }
        }
        @if !day_bars.is_empty() { (columns("turns-by-day", "Turns by day (UTC)", &day_bars)) }
        @if !project_bars.is_empty() { (rows("turns-by-project", "Turns by project", &project_bars)) }
    })
}

async fn stats(
    app: &ViewerApp,
    threads: &ThreadQuery,
    by: StatsKey,
    direction: SortDirection,
) -> Result<ThreadStats, StoreError> {
    let threads = ThreadQuery { direction, ..threads.clone() };
    app.store().thread_stats(&StatsQuery { threads, by, offsets: Vec::new() }).await
}
