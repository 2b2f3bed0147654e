//! Activity as charts: turns by day, and tokens by project and model.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use selvedge_protocol::{SortDirection, StatsKey, StatsQuery, ThreadQuery, ThreadStats, Timestamp, day_text};
use selvedge_thread_store::StoreError;
use selvedge_transcript::html::{html_text, thousands};
use selvedge_transcript::size_text;

use crate::app::ViewerApp;
use crate::chart::{ChartBar, columns, rows};
use crate::error::PageError;
use crate::filters::ListFilters;
use crate::layout::{bar, page as layout};
use crate::url::UrlQuery;

/// How many days and groups a chart shows.
const MAX_DAYS: i64 = 90;
const MAX_GROUPS: usize = 12;

/// The length of a day in milliseconds.
const DAY: i64 = 86_400_000;

pub(crate) async fn page(
    State(app): State<Arc<ViewerApp>>,
    UrlQuery(filters): UrlQuery<ListFilters>,
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
    UrlQuery(filters): UrlQuery<ListFilters>,
) -> Result<Html<String>, PageError> {
    Ok(Html(html_text(charts(&app, &filters).await?)))
}

async fn charts(app: &ViewerApp, filters: &ListFilters) -> Result<Markup, PageError> {
    let threads = filters.threads()?;
    let days = stats(app, &threads, StatsKey::Day, SortDirection::Ascending).await?;
    let projects = stats(app, &threads, StatsKey::Project, SortDirection::Descending).await?;
    let total = days.total;
    let day_bars: Vec<ChartBar> = days_of(&days)
        .into_iter()
        .map(|(day, value)| {
            let label = day_text(day);
            let on_day = ListFilters { since: label.clone(), until: label.clone(), ..filters.clone() };
            ChartBar { href: Some(format!("/?{}", on_day.query())), label, value }
        })
        .collect();
    let mut groups = projects.groups;
    groups.sort_by_key(|group| Reverse(group.counts.turns));
    let project_bars: Vec<ChartBar> = groups
        .into_iter()
        .take(MAX_GROUPS)
        .map(|group| {
            let href =
                group.key.clone().map(|project| format!("/?{}", ListFilters { project, ..filters.clone() }.query()));
            ChartBar { label: group.key.unwrap_or_else(|| "no project".to_owned()), value: group.counts.turns, href }
        })
        .collect();
    Ok(html! {
        p.totals {
            span { (thousands(total.threads)) " threads" } span { (thousands(total.turns)) " turns" } span { (thousands(total.total_tokens)) " tokens" } span { (size_text(total.bytes)) }
        }
        @if !day_bars.is_empty() { (columns("turns-by-day", "Turns by day (UTC)", &day_bars)) }
        @if !project_bars.is_empty() { (rows("turns-by-project", "Turns by project", &project_bars)) }
    })
}

/// Returns the turns of each day up to the newest one, also of days without any.
fn days_of(stats: &ThreadStats) -> Vec<(i64, u64)> {
    let day =
        |key: &str| format!("{key}T00:00:00.000Z").parse().ok().map(|at: Timestamp| at.as_millis().div_euclid(DAY));
    let known: BTreeMap<i64, u64> =
        stats.groups.iter().filter_map(|group| Some((day(group.key.as_deref()?)?, group.counts.turns))).collect();
    let (Some((first, _)), Some((last, _))) = (known.first_key_value(), known.last_key_value()) else {
        return Vec::new();
    };
    let first = (*first).max(last - MAX_DAYS + 1);
    (first..=*last).map(|day| (day, known.get(&day).copied().unwrap_or(0))).collect()
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
