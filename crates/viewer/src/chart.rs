//! Charts as SVG within a page, each with its numbers as a table for readers who do not see it.

use maud::{Markup, html};
use selvedge_transcript::html::thousands;

/// The size of a chart in its own units. The page scales it.
const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 120.0;

/// One bar of a chart.
pub(crate) struct ChartBar {
    pub(crate) label: String,
    pub(crate) value: u64,
    /// Where the label leads in the table.
    pub(crate) href: Option<String>,
}

/// Renders a chart with upright bars, from left to right. `title` says what is counted.
pub(crate) fn columns(id: &str, title: &str, bars: &[ChartBar]) -> Markup {
    let most = highest(bars.iter().map(|bar| bar.value));
    let step = WIDTH / bars.len().max(1) as f64;
    let shape = html! {
        @for (index, bar) in bars.iter().enumerate() {
            @let height = part(bar.value, most) * HEIGHT;
            rect x=(number(index as f64 * step)) y=(number(HEIGHT - height)) width=(number((step - 1.0).clamp(0.5, 40.0))) height=(number(height)) {
                title { (bar.label) ": " (thousands(bar.value)) }
            }
        }
    };
    let ends = html! {
        @if let [first, .., last] = bars { p.ends { span { (first.label) } span { (last.label) } } }
    };
    figure(id, title, HEIGHT, &shape, &ends, bars)
}

/// Renders a table with a bar beside each number.
pub(crate) fn rows(id: &str, title: &str, bars: &[ChartBar]) -> Markup {
    let most = highest(bars.iter().map(|bar| bar.value));
    html! {
        figure.chart {
            figcaption #(id) { (title) }
            table.bars aria-labelledby=(id) {
                tbody {
                    @for bar in bars {
                        tr {
                            th scope="row" { (label(bar)) }
                            td { svg aria-hidden="true" viewBox="0 0 100 10" preserveAspectRatio="none" { rect width=(number(part(bar.value, most) * 100.0)) height="10" {} } }
                            td.number { (thousands(bar.value)) }
                        }
                    }
                }
            }
        }
    }
}

/// Renders a line through values, from left to right, with an upright line at each of `marks`, which are indexes of values.
pub(crate) fn curve(id: &str, title: &str, bars: &[ChartBar], marks: &[usize], limit: Option<u64>) -> Markup {
    let most = highest(bars.iter().map(|bar| bar.value).chain(limit));
    let step = WIDTH / bars.len().saturating_sub(1).max(1) as f64;
    let height = |value: u64| HEIGHT - part(value, most) * (HEIGHT - 2.0);
    let points: Vec<String> = bars
        .iter()
        .enumerate()
        .map(|(index, bar)| format!("{},{}", number(index as f64 * step), number(height(bar.value))))
        .collect();
    let shape = html! {
        @for mark in marks {
            @let x = number(*mark as f64 * step);
            line.mark x1=(x) x2=(x) y1="0" y2=(number(HEIGHT)) { title { "compaction" } }
        }
        @if let Some(limit) = limit {
            line.limit x1="0" x2=(number(WIDTH)) y1=(number(height(limit))) y2=(number(height(limit))) { title { "context window of the model: " (thousands(limit)) } }
        }
        polyline points=(points.join(" ")) {}
        @if let [only] = bars { circle cx="4" cy=(number(height(only.value))) r="4" {} }
    };
    let ends = html! {
        @if let [first, .., last] = bars { p.ends { span { (first.label) } span { (last.label) } } }
    };
    figure(id, title, HEIGHT, &shape, &ends, bars)
}

fn figure(id: &str, title: &str, height: f64, shape: &Markup, below: &Markup, bars: &[ChartBar]) -> Markup {
    html! {
        figure.chart {
            figcaption #(id) { (title) }
            svg role="img" aria-labelledby=(id) viewBox={ "0 0 " (WIDTH) " " (number(height.max(1.0))) } { (shape) }
            (below)
            details {
                summary { "Numbers" }
                table {
                    tbody {
                        @for bar in bars {
                            tr {
                                th scope="row" { (label(bar)) }
                                td.number { (thousands(bar.value)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn highest(values: impl Iterator<Item = u64>) -> u64 {
    values.max().unwrap_or(0).max(1)
}

fn part(value: u64, most: u64) -> f64 {
    value as f64 / most as f64
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

fn label(bar: &ChartBar) -> Markup {
    html! { @match &bar.href { Some(href) => a href=(href) { (bar.label) }, None => (bar.label) } }
}
