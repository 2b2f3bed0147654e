//! `selvedge stats`: sums over threads.

use std::io::Write;

use indicatif::HumanBytes;
use jiff::tz::TimeZone;
use selvedge_protocol::{StatsCounts, StatsGroup, StatsQuery, ThreadStats, Timestamp, UtcOffset};

use super::list;
use crate::app::{App, note, now};
use crate::args::{Measure, StatsArgs};
use crate::exit::Result;
use crate::render::plot::{self, Bar};
use crate::render::table::{self, Cell, Column, Keep, Look};
use crate::render::text::one_line;

/// How many groups people are shown.
const SHOWN: usize = 30;

/// From when on the clocks of this place are known: what is older has the offset of this time.
const CLOCKS_FROM: Timestamp = Timestamp::from_seconds(1_577_836_800);

const fn number(title: &'static str) -> Column {
    Column { title, least: 6, most: 15, keep: Keep::End, look: Look::Plain }
}

/// Sums over the threads of the home.
pub(crate) async fn run(args: &StatsArgs, app: &mut App<'_>) -> Result<()> {
    let threads = list::query(&args.filters, app).await?;
    let query = StatsQuery { threads, by: args.by.key(), offsets: local_offsets() };
    let mut stats = app.store.thread_stats(&query).await?;
    if app.json {
        return app.out.json(&stats);
    }
    if stats.groups.is_empty() {
        note(&format!("no such threads in {}", app.home.display()));
        return Ok(());
    }
    let limit = args.filters.limit.map_or(SHOWN, Into::into);
    let left = stats.groups.split_off(stats.groups.len().min(limit));
    let text = match args.plot {
        Some(measure) => chart(&stats.groups, measure, args.ascii, app),
        None => tables(&stats, &left, args, app),
    };
    app.out.write_all(text.as_bytes())?;
    app.out.flush()?;
    if !left.is_empty() {
        let total = sum(&left);
        note(&format!(
            "and {} more with {} threads, {} turns; --limit shows more, --json all",
            left.len(),
            total.threads,
            total.turns
        ));
    }
    Ok(())
}

fn tables(stats: &ThreadStats, left: &[StatsGroup], args: &StatsArgs, app: &App<'_>) -> String {
    let columns = [
        Column { title: args.by.title(), least: 10, most: 60, keep: Keep::End, look: Look::Plain },
        number("THREADS"),
        number("TURNS"),
        number("TOKENS"),
        number("BYTES"),
    ];
    let cells = |name: String, counts: &StatsCounts| {
        [name].into_iter().chain(Measure::ALL.map(|measure| measure.text(counts))).collect::<Vec<String>>()
    };
    let mut rows: Vec<Vec<String>> = stats.groups.iter().map(|group| cells(name(group), &group.counts)).collect();
    if !left.is_empty() {
        rows.push(cells(format!("({} more)", left.len()), &sum(left)));
    }
    rows.push(cells("total".to_owned(), &stats.total));
    align_right(&mut rows, &columns);
    let rows: Vec<Vec<Cell>> = rows.into_iter().map(|row| row.into_iter().map(Cell::from).collect()).collect();
    table::render(&columns, &rows, app.out.width(), app.out.paint())
}

/// Numbers stand under each other.
fn align_right(rows: &mut [Vec<String>], columns: &[Column]) {
    for (at, column) in columns.iter().enumerate().skip(1) {
        let widest = rows.iter().map(|row| row[at].len()).max().unwrap_or(0).max(column.title.len());
        rows.iter_mut().for_each(|row| row[at] = format!("{:>widest$}", row[at]));
    }
}

fn chart(groups: &[StatsGroup], measure: Measure, ascii: bool, app: &App<'_>) -> String {
    let bars: Vec<Bar> = groups
        .iter()
        .map(|group| Bar { name: name(group), amount: measure.of(&group.counts), label: measure.text(&group.counts) })
        .collect();
    let title = app.out.paint().heading(measure.title());
    format!("{title}\n{}", plot::bars(&bars, app.out.width(), ascii))
}

fn name(group: &StatsGroup) -> String {
    group.key.as_deref().map_or_else(|| "(unknown)".to_owned(), one_line)
}

fn sum(groups: &[StatsGroup]) -> StatsCounts {
    let mut total = StatsCounts::default();
    groups.iter().for_each(|group| total += group.counts);
    total
}

impl Measure {
    const ALL: [Self; 4] = [Self::Threads, Self::Turns, Self::Tokens, Self::Bytes];

    fn of(self, counts: &StatsCounts) -> u64 {
        match self {
            Self::Threads => counts.threads,
            Self::Turns => counts.turns,
            Self::Tokens => counts.total_tokens,
            Self::Bytes => counts.bytes,
        }
    }

    fn text(self, counts: &StatsCounts) -> String {
        match self {
            Self::Bytes => HumanBytes(counts.bytes).to_string(),
            _ => self.of(counts).to_string(),
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Threads => "THREADS",
            Self::Turns => "TURNS",
            Self::Tokens => "TOKENS",
            Self::Bytes => "BYTES",
        }
    }
}

/// How far the clocks of this place were ahead of UTC, and since when.
fn local_offsets() -> Vec<UtcOffset> {
    let zone = TimeZone::system();
    let Ok(from) = jiff::Timestamp::from_millisecond(CLOCKS_FROM.as_millis()) else { return Vec::new() };
    let first = UtcOffset { since: Timestamp::from_millis(i64::MIN), seconds: zone.to_offset(from).seconds() };
    let changes = zone.following(from).map(|change| UtcOffset {
        since: Timestamp::from_millis(change.timestamp().as_millisecond()),
        seconds: change.offset().seconds(),
    });
    [first].into_iter().chain(changes.take_while(|change| change.since <= now())).collect()
}
