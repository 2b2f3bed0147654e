//! `selvedge stats`: adds up threads, turns, tokens and bytes by group, as a table or as a chart.

use std::io::Write;

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use selvedge_protocol::{StatsCounts, StatsGroup, StatsKey, StatsQuery, ThreadStats, Timestamp, UtcOffset};
use selvedge_transcript::size_text;

use crate::app::App;
use crate::clock::now;
use crate::failure::Result;
use crate::notes::note;
use crate::render::counted::counted;
use crate::render::plot::{self, Bar};
use crate::render::table::{self, Cell, CellStyle, Column};
use crate::render::text::single_line;
use crate::thread_filters::ThreadFilters;

/// How many groups a table or a chart shows by default.
const DEFAULT_LIMIT: usize = 30;

/// The start of 2020. Earlier times get the offset from UTC that was in force then.
const OFFSETS_SINCE: Timestamp = Timestamp::from_seconds(1_577_836_800);

const fn number_column(title: &'static str) -> Column {
    // A number of which digits are missing is another number.
    Column::new(title, 20, 20, CellStyle::Plain).keep_end()
}

/// Arguments of `selvedge stats`.
#[derive(Debug, Args)]
#[command(
    mut_arg("limit", |limit| limit.help("Maximum number of rows; the others are added up [default: 30; no limit with --json]")),
    mut_arg("cursor", |cursor| cursor.hide(true).value_parser(reject_cursor)),
    mut_arg("sort", |sort| sort.hide(true)),
    mut_arg("since", |since| since.help("Only what happened at this time or later: a day (2026-11-21) or a time (2026-11-21T09:00), both local, a time with Z or an \
         offset (2026-11-21T09:00:00Z), or an age such as 90m, 12h, 3d, 2w")),
    mut_arg("until", |until| until.help("Only what happened before this time")),
    mut_arg("ascending", |ascending| ascending.help("Oldest day first, or the group with the fewest threads")),
    after_help = "\
A day counts what happened on it, in the local time zone: with TZ=UTC, in UTC. A thread counts on each day on which it was \
created or went on. A project is a git repository, or the directory of a thread that works in no repository, in all its \
spellings. A model counts the turns that it was used for.

Turns and tokens are what was spent. A turn that was undone still counts, because it was paid. What a fork or a sub-agent \
inherited counts in the thread that did it. Tokens can therefore differ from those that `list` and `show` give for a thread, \
which are what its program says. Bytes are those of the threads' own files, as stored on disk, and count where the thread began.

With --json: {by, groups: [{key, threads, turns, bytes, input_tokens, cached_input_tokens, output_tokens, \
reasoning_output_tokens, total_tokens}], total: {threads, …}}. key is null for what has no known group. The newest day comes \
first, or the group with the most threads. The total counts a thread once that is in several groups.

Examples:
  selvedge stats --since 30d
  selvedge stats --by project --plot=tokens
  selvedge stats --by model --all --json | jq '.groups[] | [.key, .total_tokens]'"
)]
pub(crate) struct StatsArgs {
    /// What to group by
    #[arg(long, value_name = "WHAT", default_value = "day")]
    by: StatsBy,
    /// Draw a bar chart of one sum, instead of a table of all sums
    #[arg(long, value_name = "SUM", num_args = 0..=1, require_equals = true, default_missing_value = "threads")]
    plot: Option<Measure>,
    /// Draw with ASCII characters
    #[arg(long)]
    ascii: bool,
    #[command(flatten)]
    filters: ThreadFilters,
}

/// What the sums are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatsBy {
    /// Day on which it happened
    Day,
    /// Git repository, or else directory
    Project,
    /// Model
    Model,
    /// Source
    Source,
}

impl StatsBy {
    const fn key(self) -> StatsKey {
        match self {
            Self::Day => StatsKey::Day,
            Self::Project => StatsKey::Project,
            Self::Model => StatsKey::Model,
            Self::Source => StatsKey::Source,
        }
    }

    /// Returns the header of the column with the groups.
    const fn title(self) -> &'static str {
        match self {
            Self::Day => "DAY",
            Self::Project => "PROJECT",
            Self::Model => "MODEL",
            Self::Source => "SOURCE",
        }
    }
}

/// A sum over threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measure {
    /// Number of threads
    Threads,
    /// Turns that began
    Turns,
    /// Tokens that were spent, input and output
    Tokens,
    /// Bytes of their files
    Bytes,
}

/// Prints sums over the threads of the home.
pub(crate) async fn run(args: &StatsArgs, app: &mut App<'_>) -> Result<()> {
    let threads = args.filters.to_query(app).await?;
    let query = StatsQuery { threads, by: args.by.key(), offsets: local_offsets() };
    let mut stats = app.store.thread_stats(&query).await?;
    if app.json {
        return app.out.json(&stats);
    }
    if stats.groups.is_empty() {
        note(&format!("no such threads in {}", app.location));
        return Ok(());
    }
    // The limit applies to groups, and only here. The store adds up all threads, so the total is complete.
    let limit = args.filters.limit_or(DEFAULT_LIMIT);
    let others = stats.groups.split_off(stats.groups.len().min(limit));
    let text = match args.plot {
        Some(measure) => chart(&stats.groups, measure, args.ascii, app),
        None => table(&stats, &others, args, app),
    };
    app.out.write_all(text.as_bytes())?;
    app.out.flush()?;
    if !others.is_empty() {
        let total = sum(&others);
        note(&format!(
            "and {} more with {}, {}; --limit shows more, --json all",
            others.len(),
            counted(total.threads, "thread"),
            counted(total.turns, "turn")
        ));
    }
    Ok(())
}

fn table(stats: &ThreadStats, others: &[StatsGroup], args: &StatsArgs, app: &App<'_>) -> String {
    let columns = [
        Column::new(args.by.title(), 10, 60, CellStyle::Plain).keep_end(),
        number_column("THREADS"),
        number_column("TURNS"),
        number_column("TOKENS"),
        number_column("BYTES"),
    ];
    let cells = |name: String, counts: &StatsCounts| {
        [name].into_iter().chain(Measure::ALL.map(|measure| measure.to_text(counts))).collect::<Vec<String>>()
    };
    let mut rows: Vec<Vec<String>> = stats.groups.iter().map(|group| cells(name(group), &group.counts)).collect();
    if !others.is_empty() {
        rows.push(cells(format!("({} more)", others.len()), &sum(others)));
    }
    rows.push(cells("total".to_owned(), &stats.total));
    align_right(&mut rows, &columns);
    let rows: Vec<Vec<Cell>> = rows.into_iter().map(|row| row.into_iter().map(Cell::from).collect()).collect();
    table::render(&columns, &rows, app.out.width(), app.out.paint())
}

/// Pads all columns but the first, so that the digits of numbers line up.
fn align_right(rows: &mut [Vec<String>], columns: &[Column]) {
    for (index, column) in columns.iter().enumerate().skip(1) {
        let widest = rows.iter().map(|row| row[index].len()).max().unwrap_or(0).max(column.title.len());
        rows.iter_mut().for_each(|row| row[index] = format!("{:>widest$}", row[index]));
    }
}

fn chart(groups: &[StatsGroup], measure: Measure, ascii: bool, app: &App<'_>) -> String {
    let bars: Vec<Bar> = groups
        .iter()
        .map(|group| Bar {
            name: name(group),
            amount: measure.amount(&group.counts),
            label: measure.to_text(&group.counts),
        })
        .collect();
    let title = app.out.paint().heading(measure.title());
    format!("{title}\n{}", plot::bars(&bars, app.out.width(), ascii))
}

fn name(group: &StatsGroup) -> String {
    group.key.as_deref().map_or_else(|| "(unknown)".to_owned(), single_line)
}

fn sum(groups: &[StatsGroup]) -> StatsCounts {
    let mut total = StatsCounts::default();
    groups.iter().for_each(|group| total += group.counts);
    total
}

impl Measure {
    const ALL: [Self; 4] = [Self::Threads, Self::Turns, Self::Tokens, Self::Bytes];

    fn amount(self, counts: &StatsCounts) -> u64 {
        match self {
            Self::Threads => counts.threads,
            Self::Turns => counts.turns,
            Self::Tokens => counts.total_tokens,
            Self::Bytes => counts.bytes,
        }
    }

    fn to_text(self, counts: &StatsCounts) -> String {
        match self {
            Self::Bytes => size_text(counts.bytes),
            _ => self.amount(counts).to_string(),
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

/// Returns the offsets of local time from UTC, each with the time from which it is in force.
///
/// The store groups threads by local day, and knows no time zones. Every change of the offset, such as daylight saving
/// time, is one entry.
fn local_offsets() -> Vec<UtcOffset> {
    let zone = TimeZone::system();
    let Ok(from) = jiff::Timestamp::from_millisecond(OFFSETS_SINCE.as_millis()) else { return Vec::new() };
    let first = UtcOffset { since: Timestamp::from_millis(i64::MIN), seconds: zone.to_offset(from).seconds() };
    let changes = zone.following(from).map(|change| UtcOffset {
        since: Timestamp::from_millis(change.timestamp().as_millisecond()),
        seconds: change.offset().seconds(),
    });
    // The rules of a time zone have no end, so only changes up to the present are returned.
    [first].into_iter().chain(changes.take_while(|change| change.since <= now())).collect()
}

fn reject_cursor(_: &str) -> Result<String, String> {
    Err("all sums are on one page".to_owned())
}

#[cfg(test)]
mod tests {
    use super::number_column;

    #[test]
    fn no_number_is_cut() {
        assert_eq!(number_column("TOKENS").min_width, u64::MAX.to_string().len());
    }
}
