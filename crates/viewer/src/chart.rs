//! Charts as SVG within a page, each with its numbers as a table for readers who do not see it.

use maud::{Markup, html};

/// The size of a chart in its own units. The page scales it.
const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 120.0;

/// The height of a row of a chart of rows.
const ROW: f64 = 22.0;

/// Where the bars of a chart of rows begin and end.
const BARS: std::ops::Range<f64> = 300.0..720.0;

/// The most characters of a label in a chart of rows.
const LABEL: usize = 42;

/// One bar of a chart.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: u64,
    /// Where the label leads in the table.
    pub(crate) href: Option<String>,
}

/// Renders a chart with upright bars, from left to right. `title` says what is counted.
pub(crate) fn columns(id: &str, title: &str, bars: &[Bar]) -> Markup {
    let most = highest(bars.iter().map(|bar| bar.value));
    let step = WIDTH / bars.len().max(1) as f64;
    let shape = html! {
        @for (index, bar) in bars.iter().enumerate() {
            @let height = part(bar.value, most) * HEIGHT;
            rect x=(number(index as f64 * step)) y=(number(HEIGHT - height)) width=(number((step - 1.0).clamp(0.5, 40.0))) height=(number(height)) {
                title { (bar.label) ": " (bar.value) }
            }
        }
    };
    let ends = html! {
        @if let [first, .., last] = bars { p.ends { span { (first.label) } span { (last.label) } } }
    };
    figure(id, title, HEIGHT, &shape, &ends, bars)
}

/// Renders a chart with bars below each other, each beside its label.
pub(crate) fn rows(id: &str, title: &str, bars: &[Bar]) -> Markup {
    let most = highest(bars.iter().map(|bar| bar.value));
    let shape = html! {
        @for (index, bar) in bars.iter().enumerate() {
            @let top = index as f64 * ROW;
            @let length = part(bar.value, most) * (BARS.end - BARS.start);
            text x=(number(BARS.start - 8.0)) y=(number(top + 15.0)) text-anchor="end" { (end_of(&bar.label)) }
            rect x=(number(BARS.start)) y=(number(top + 4.0)) width=(number(length)) height=(number(ROW - 8.0)) { title { (bar.label) ": " (bar.value) } }
            text x=(number(BARS.start + length + 6.0)) y=(number(top + 15.0)) { (bar.value) }
        }
    };
    figure(id, title, bars.len() as f64 * ROW, &shape, &html! {}, bars)
}

/// Renders a line through values, from left to right, with an upright line at each of `marks`, which are indexes of values.
pub(crate) fn curve(id: &str, title: &str, bars: &[Bar], marks: &[usize], limit: Option<u64>) -> Markup {
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
            line.limit x1="0" x2=(number(WIDTH)) y1=(number(height(limit))) y2=(number(height(limit))) { title { "context window of the model: " (limit) } }
        }
        polyline points=(points.join(" ")) {}
        @if let [only] = bars { circle cx="4" cy=(number(height(only.value))) r="4" {} }
    };
    let ends = html! {
        @if let [first, .., last] = bars { p.ends { span { (first.label) } span { (last.label) } } }
    };
    figure(id, title, HEIGHT, &shape, &ends, bars)
}

fn figure(id: &str, title: &str, height: f64, shape: &Markup, below: &Markup, bars: &[Bar]) -> Markup {
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
                                th scope="row" { @match &bar.href { Some(href) => a href=(href) { (bar.label) }, None => (bar.label) } }
                                td { (bar.value) }
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
    format!("{:.1}", value)
}

/// Returns the end of a long label: of a path, the end distinguishes it.
fn end_of(label: &str) -> String {
    let length = label.chars().count();
    if length <= LABEL { label.to_owned() } else { format!("…{}", label.chars().skip(length - LABEL).collect::<String>()) }
}
