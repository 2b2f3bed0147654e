//! Charts as SVG within a page, each with its numbers as a table for readers who do not see it.

use maud::{Markup, html};
use selvedge_transcript::html::thousands;

/// The size of a chart in its own units. The page scales it.
const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 120.0;

/// A limit is not drawn if it is more than so many times the highest value.
const MOST_OF_LIMIT: u64 = 5;

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
    let width = (WIDTH / bars.len().max(1) as f64 - 1.0).clamp(0.5, 40.0);
    // The first bar touches the left end, and the last one the right end, where their labels are.
    let step = (WIDTH - width) / bars.len().saturating_sub(1).max(1) as f64;
    let shape = html! {
        @for (index, bar) in bars.iter().enumerate() {
            @let height = part(bar.value, most) * HEIGHT;
            rect x=(number(index as f64 * step)) y=(number(HEIGHT - height)) width=(number(width)) height=(number(height)) {
                title { (bar.label) ": " (thousands(bar.value)) }
            }
        }
    };
    figure(id, title, &shape, bars)
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

/// Renders a line through values, from left to right, with an upright line at each of `marks`, which are indexes of values. A limit
/// is a line, too, unless the values are so far below it that they would be flat.
pub(crate) fn curve(id: &str, title: &str, bars: &[ChartBar], marks: &[usize], limit: Option<u64>) -> Markup {
    let most = highest(bars.iter().map(|bar| bar.value));
    let limit = limit.filter(|limit| *limit / MOST_OF_LIMIT <= most);
    let most = most.max(limit.unwrap_or(0));
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
        @if let [only] = bars {
            // A line without a length has round ends, whatever the page makes of the scale.
            @let y = number(height(only.value));
            line.point x1="4" x2="4" y1=(y) y2=(y) {}
        }
    };
    figure(id, title, &shape, bars)
}

fn figure(id: &str, title: &str, shape: &Markup, bars: &[ChartBar]) -> Markup {
    let most = highest(bars.iter().map(|bar| bar.value));
    html! {
        figure.chart {
            figcaption #(id) { (title) "; the highest is " (thousands(most)) }
            svg role="img" aria-labelledby=(id) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" { (shape) }
            @match bars {
                [first, .., last] => p.ends { span { (first.label) } span { (last.label) } },
                [only] => p.ends { span { (only.label) } },
                [] => {},
            }
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
