//! Compares the measurements of two trees: ratios, and whether they are within the bounds.

use serde_json::{Value, json};

use super::measure::Measured;

/// The largest allowed ratios of after to before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    pub(super) time: f64,
    pub(super) instructions: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { time: 1.10, instructions: 1.05 }
    }
}

/// One of the two trees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Side {
    Before,
    After,
}

/// One value for each side.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pair<T> {
    pub(super) before: T,
    pub(super) after: T,
}

impl<T> Pair<T> {
    fn of(&mut self, side: Side) -> &mut T {
        match side {
            Side::Before => &mut self.before,
            Side::After => &mut self.after,
        }
    }
}

/// A workload with all of its measurements.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Workload {
    area: String,
    name: String,
    /// Nanoseconds, one value for each round.
    times: Pair<Vec<u64>>,
    instructions: Pair<Option<u64>>,
}

/// Ratios of after to before: their median and their quartiles.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ratio {
    low: f64,
    median: f64,
    high: f64,
}

/// All workloads of a comparison, in the order in which they were measured.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    workloads: Vec<Workload>,
}

impl Comparison {
    /// Adds the times of a round.
    pub(super) fn take_times(&mut self, area: &str, side: Side, measured: Vec<Measured>) {
        for (name, time) in measured {
            self.workload(area, name).times.of(side).push(time);
        }
    }

    /// Adds the instructions of a run. The smallest count is used, because the heaps of two processes differ.
    pub(super) fn take_instructions(&mut self, area: &str, side: Side, measured: Vec<Measured>) {
        for (name, instructions) in measured {
            let least = self.workload(area, name).instructions.of(side);
            *least = Some(least.map_or(instructions, |least| least.min(instructions)));
        }
    }

    fn workload(&mut self, area: &str, name: String) -> &mut Workload {
        let at = self.workloads.iter().position(|workload| workload.area == area && workload.name == name);
        let at = at.unwrap_or_else(|| {
            self.workloads.push(Workload { area: area.to_owned(), name, ..Workload::default() });
            self.workloads.len() - 1
        });
        &mut self.workloads[at]
    }

    /// Returns a line for each workload that exceeds a bound.
    pub(super) fn over(&self, bounds: Bounds) -> Vec<String> {
        self.workloads.iter().flat_map(|workload| workload.over(bounds)).collect()
    }

    /// Returns the workloads that only one side measured.
    pub(super) fn not_compared(&self) -> Vec<String> {
        let alone = self.workloads.iter().filter(|workload| workload.is_of_one_side());
        alone.map(|workload| format!("{}: {}", workload.area, workload.name)).collect()
    }

    /// Returns whether both sides measured a workload of an area.
    pub(super) fn says_something_of(&self, area: &str) -> bool {
        self.workloads.iter().any(|workload| workload.area == area && !workload.is_of_one_side())
    }

    pub(super) fn table(&self) -> String {
        let width = self.workloads.iter().map(|workload| workload.name.chars().count()).max().unwrap_or(0).max(8) + 2;
        let mut text = format!(
            "{:<width$} {:>10} {:>10}  {:<20} {:>10} {:>10}  {:>6}",
            "workload", "ms before", "after", "ratio (quartiles)", "M instr.", "after", "ratio"
        );
        let mut area = "";
        for workload in &self.workloads {
            if workload.area != area {
                area = &workload.area;
                text.push_str(&format!("\n{area}"));
            }
            text.push_str(&format!("\n  {:<width$}{}", workload.name, workload.columns(), width = width - 2));
        }
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    pub(super) fn json(&self) -> Value {
        self.workloads.iter().map(Workload::json).collect()
    }
}

impl Workload {
    fn is_of_one_side(&self) -> bool {
        self.time_ratio().is_none() && self.instruction_ratio().is_none()
    }

    fn time_ratio(&self) -> Option<Ratio> {
        Ratio::of(&self.times.before, &self.times.after)
    }

    fn instruction_ratio(&self) -> Option<f64> {
        let (before, after) = (self.instructions.before?, self.instructions.after?);
        (before > 0).then(|| after as f64 / before as f64)
    }

    fn over(&self, bounds: Bounds) -> Vec<String> {
        let (area, name) = (&self.area, &self.name);
        let mut over = Vec::new();
        if let Some(Ratio { low, median, high }) = self.time_ratio().filter(|ratio| ratio.median > bounds.time) {
            let bound = bounds.time;
            let quartiles = format!("{low:.2} to {high:.2}");
            over.push(format!("{area}: {name}: {median:.3} of the time ({quartiles}), at most {bound:.2} is allowed"));
        }
        if let Some(ratio) = self.instruction_ratio().filter(|ratio| *ratio > bounds.instructions) {
            let bound = bounds.instructions;
            over.push(format!("{area}: {name}: {ratio:.3} of the instructions, at most {bound:.2} is allowed"));
        }
        over
    }

    fn columns(&self) -> String {
        let millis = |times: &[u64]| median(&floats(times)).map_or("-".into(), |time| format!("{:.2}", time / 1e6));
        let millions = |count: Option<u64>| count.map_or("-".into(), |count| format!("{:.2}", count as f64 / 1e6));
        let time_ratio = self
            .time_ratio()
            .map_or("-".into(), |ratio| format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.low, ratio.high));
        let instruction_ratio = self.instruction_ratio().map_or("-".into(), |ratio| format!("{ratio:.3}"));
        format!(
            " {:>10} {:>10}  {time_ratio:<20} {:>10} {:>10}  {instruction_ratio:>6}",
            millis(&self.times.before),
            millis(&self.times.after),
            millions(self.instructions.before),
            millions(self.instructions.after),
        )
    }

    fn json(&self) -> Value {
        let time_ratio = self.time_ratio();
        json!({
            "area": self.area,
            "workload": self.name,
            "time": {
                "before_ns": median(&floats(&self.times.before)),
                "after_ns": median(&floats(&self.times.after)),
                "ratio": time_ratio.map(|ratio| ratio.median),
                "ratio_quartiles": time_ratio.map(|ratio| [ratio.low, ratio.high]),
            },
            "instructions": {
                "before": self.instructions.before,
                "after": self.instructions.after,
                "ratio": self.instruction_ratio(),
            },
        })
    }
}

impl Ratio {
    /// Computes the ratio of each round and summarizes the ratios. The speed of a shared machine
    /// changes within seconds, so only times of the same round are compared.
    fn of(before: &[u64], after: &[u64]) -> Option<Self> {
        let rounds = before.iter().zip(after).filter(|(before, _)| **before > 0);
        let ratios: Vec<f64> = rounds.map(|(before, after)| *after as f64 / *before as f64).collect();
        let at = |share| quantile(&ratios, share);
        Some(Self { low: at(0.25)?, median: at(0.5)?, high: at(0.75)? })
    }
}

fn floats(numbers: &[u64]) -> Vec<f64> {
    numbers.iter().map(|number| *number as f64).collect()
}

fn median(numbers: &[f64]) -> Option<f64> {
    quantile(numbers, 0.5)
}

/// Returns the quantile of some numbers, interpolated between two neighbours. `None` without numbers.
fn quantile(numbers: &[f64], share: f64) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * (sorted.len().checked_sub(1)? as f64);
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A comparison of one workload: its times by round, and its instructions.
    fn comparison(times: &[(u64, u64)], instructions: Option<(u64, u64)>) -> Comparison {
        let mut comparison = Comparison::default();
        let measured = |number| vec![("store".to_owned(), number)];
        for (before, after) in times {
            comparison.take_times("append", Side::Before, measured(*before));
            comparison.take_times("append", Side::After, measured(*after));
        }
        if let Some((before, after)) = instructions {
            comparison.take_instructions("append", Side::Before, measured(before));
            comparison.take_instructions("append", Side::After, measured(after));
        }
        comparison
    }

    #[test]
    fn medians_and_quartiles() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.25), Some(2.0));
        assert_eq!(quantile(&[7.0], 0.75), Some(7.0));
    }

    #[test]
    fn a_ratio_compares_times_of_the_same_round() {
        // Everything takes ten times as long from the second round on. The ratio of the medians would be 10.
        let ratio = Ratio::of(&[100, 100, 1000], &[100, 1000, 1000]).unwrap();
        assert_eq!(ratio.median, 1.0);
        let ratio = Ratio::of(&[100, 1000, 1000, 1000], &[120, 1200, 1100, 1300]).unwrap();
        assert_eq!(ratio, Ratio { low: 1.175, median: 1.2, high: 1.225 });
        assert_eq!(Ratio::of(&[], &[100]), None);
        assert_eq!(Ratio::of(&[0], &[100]), None);
    }

    #[test]
    fn a_workload_over_a_bound_is_reported() {
        let bounds = Bounds::default();
        assert_eq!(comparison(&[(100, 110)], Some((1000, 1050))).over(bounds), Vec::<String>::new());
        assert_eq!(
            comparison(&[(100, 111)], Some((1000, 1051))).over(bounds),
            [
                "append: store: 1.110 of the time (1.11 to 1.11), at most 1.10 is allowed",
                "append: store: 1.051 of the instructions, at most 1.05 is allowed"
            ]
        );
        let lax = Bounds { time: 1.2, instructions: 1.1 };
        assert_eq!(comparison(&[(100, 111)], Some((1000, 1051))).over(lax), Vec::<String>::new());
        assert_eq!(comparison(&[(100, 50)], Some((1000, 10))).over(bounds), Vec::<String>::new());
    }

    #[test]
    fn one_slow_round_does_not_exceed_a_bound() {
        let times = [(100, 100), (100, 900), (100, 101)];
        assert_eq!(comparison(&times, None).over(Bounds::default()), Vec::<String>::new());
    }

    #[test]
    fn instructions_alone_can_exceed_a_bound() {
        let over = comparison(&[], Some((1000, 2000))).over(Bounds::default());
        assert_eq!(over, ["append: store: 2.000 of the instructions, at most 1.05 is allowed"]);
    }

    #[test]
    fn the_smallest_count_of_instructions_is_used() {
        let mut comparison = comparison(&[], Some((1000, 2000)));
        comparison.take_instructions("append", Side::After, vec![("store".to_owned(), 1010)]);
        comparison.take_instructions("append", Side::After, vec![("store".to_owned(), 3000)]);
        assert_eq!(comparison.json()[0]["instructions"]["after"], 1010);
    }

    #[test]
    fn a_workload_of_only_one_side_is_not_compared() {
        let mut comparison = comparison(&[(100, 100)], None);
        comparison.take_times("append", Side::After, vec![("store, 7 items".to_owned(), 5)]);
        comparison.take_times("fork", Side::Before, vec![("fork".to_owned(), 5)]);
        assert_eq!(comparison.not_compared(), ["append: store, 7 items", "fork: fork"]);
        assert!(comparison.says_something_of("append") && !comparison.says_something_of("fork"));
        assert_eq!(comparison.over(Bounds { time: 0.1, ..Bounds::default() }).len(), 1);
    }

    #[test]
    fn the_outcome_is_printed_as_a_table_and_as_json() {
        let comparison = comparison(&[(2_000_000, 2_100_000)], Some((1_000_000, 990_000)));
        let table = comparison.table();
        let line = table.lines().last().unwrap();
        let columns: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            columns,
            ["store", "2.00", "2.10", "1.05", "(1.05", "to", "1.05)", "1.00", "0.99", "0.990"],
            "{table}"
        );
        let json = comparison.json();
        assert_eq!(json[0]["time"]["before_ns"], 2_000_000.0);
        assert_eq!(json[0]["instructions"]["ratio"], 0.99);
    }
}
