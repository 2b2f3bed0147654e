//! Activity as charts: turns by day, and tokens by project and model.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

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
use crate::layout::{page as layout, site_bar};
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
        (site_bar("/activity", &filters.query()))
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
    let shown = ShownDays::of(&days, today());
    let (day_title, later) = (shown.title(), shown.later);
    let day_bars: Vec<ChartBar> = shown
        .turns
        .into_iter()
        .map(|(day, value)| {
            let label = day_text(day);
            let on_day = ListFilters { since: label.clone(), until: label.clone(), ..filters.clone() };
            ChartBar { href: Some(format!("/?{}", on_day.query())), label, value }
        })
        .collect();
    let mut groups = projects.groups;
    groups.sort_by_key(|group| Reverse(group.counts.turns));
    let project_title = match groups.len() {
        ..=MAX_GROUPS => "Turns by project".to_owned(),
        all => format!("Turns by project: the {MAX_GROUPS} with the most, of {all}"),
    };
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
        @if !day_bars.is_empty() { (columns("turns-by-day", &day_title, &day_bars)) }
        @if later > 0 { p.dim { "Turns on days after today, which come from a wrong clock: " (thousands(later)) "." } }
        @if !project_bars.is_empty() { (rows("turns-by-project", &project_title, &project_bars)) }
    })
}

/// The days of a chart.
struct ShownDays {
    /// The turns of consecutive days, also of days without any.
    turns: Vec<(i64, u64)>,
    /// Whether there are turns on earlier days.
    has_earlier: bool,
    /// How many turns are on days after today.
    later: u64,
}

impl ShownDays {
    /// Returns the days up to the newest one with turns. Days after today, which come from wrong clocks, would push away all others: they
    /// are only counted, unless there are no others.
    fn of(stats: &ThreadStats, today: i64) -> Self {
        let day =
            |key: &str| format!("{key}T00:00:00.000Z").parse().ok().map(|at: Timestamp| at.as_millis().div_euclid(DAY));
        let mut known: BTreeMap<i64, u64> =
            stats.groups.iter().filter_map(|group| Some((day(group.key.as_deref()?)?, group.counts.turns))).collect();
        let mut later = known.split_off(&(today + 1));
        if known.is_empty() {
            std::mem::swap(&mut known, &mut later);
        }
        let (Some((oldest, _)), Some((last, _))) = (known.first_key_value(), known.last_key_value()) else {
            return Self { turns: Vec::new(), has_earlier: false, later: 0 };
        };
        let first = (*oldest).max(last - MAX_DAYS + 1);
        let turns = (first..=*last).map(|day| (day, known.get(&day).copied().unwrap_or(0))).collect();
        Self { turns, has_earlier: *oldest < first, later: later.values().sum() }
    }

    fn title(&self) -> String {
        let days = if self.has_earlier { format!(", the newest {MAX_DAYS} days") } else { String::new() };
        format!("Turns by day (UTC){days}")
    }
}

/// Returns the current day in UTC, in days since 1970.
fn today() -> i64 {
    Timestamp::from(SystemTime::now()).as_millis().div_euclid(DAY)
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

#[cfg(test)]
mod tests {
    use selvedge_protocol::{StatsCounts, StatsGroup, StatsKey, ThreadStats, Timestamp};

    use super::{DAY, MAX_DAYS, ShownDays};

    fn stats(days: &[(&str, u64)]) -> ThreadStats {
        let group = |(day, turns): &(&str, u64)| StatsGroup {
            key: Some((*day).to_owned()),
            counts: StatsCounts { turns: *turns, ..StatsCounts::default() },
        };
        ThreadStats { by: StatsKey::Day, groups: days.iter().map(group).collect(), total: StatsCounts::default() }
    }

    #[test]
    fn a_wrong_clock_does_not_push_away_other_days() {
        let at: Timestamp = "2026-11-29T12:00:00.000Z".parse().unwrap();
        let today = at.as_millis().div_euclid(DAY);
        let shown = ShownDays::of(&stats(&[("2026-11-27", 3), ("2026-11-29", 4), ("2030-10-19", 5)]), today);
        assert_eq!(shown.turns, [(today - 2, 3), (today - 1, 0), (today, 4)]);
        assert_eq!((shown.later, shown.title().as_str()), (5, "Turns by day (UTC)"));
        let shown = ShownDays::of(&stats(&[("2030-10-19", 5)]), today);
        assert_eq!((shown.turns.len(), shown.later), (1, 0));
        let shown = ShownDays::of(&stats(&[("2020-01-01", 3), ("2026-11-29", 4)]), today);
        assert_eq!(shown.turns.len() as i64, MAX_DAYS);
        assert!(shown.title().ends_with(", the newest 90 days"));
    }
}
