//! The result of a run.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Which rules of the contract a store keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Each rule that was checked, in the order of the table.
    pub rules: Vec<CheckedRule>,
}

/// A rule that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckedRule {
    /// The id of the rule.
    pub id: &'static str,
    /// The statement of the rule: what a store must do.
    pub text: &'static str,
    /// How long the check took.
    pub milliseconds: u64,
    /// The result of the check.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The result of the check of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The store keeps the rule.
    Passed,
    /// The store breaks the rule.
    Failed {
        /// What the check saw: the message of its panic.
        seen: String,
    },
    /// The rule does not apply to the store.
    NotApplicable {
        /// Why it does not apply.
        why: String,
    },
}

/// The number of rules by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rules that the store keeps.
    pub passed: usize,
    /// Rules that the store breaks.
    pub failed: usize,
    /// Rules that do not apply to the store.
    pub not_applicable: usize,
}

impl Report {
    /// Returns whether the store breaks no rule.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.counts().failed == 0
    }

    /// Returns the rules that the store breaks.
    pub fn failed(&self) -> impl Iterator<Item = &CheckedRule> {
        self.rules.iter().filter(|rule| matches!(rule.verdict, Verdict::Failed { .. }))
    }

    /// Counts the verdicts.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for rule in &self.rules {
            match rule.verdict {
                Verdict::Passed => counts.passed += 1,
                Verdict::Failed { .. } => counts.failed += 1,
                Verdict::NotApplicable { .. } => counts.not_applicable += 1,
            }
        }
        counts
    }

    /// Returns the report as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and numbers can always be written as JSON.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl CheckedRule {
    pub(crate) fn new(rule: &'static crate::Rule, verdict: Verdict, took: Duration) -> Self {
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Self { id: rule.id, text: rule.text, milliseconds, verdict }
    }
}

/// Formats the report as text: one line for each rule, more lines for a broken rule, and the counts at the end.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rule in &self.rules {
            writeln!(f, "{rule}")?;
        }
        let Counts { passed, failed, not_applicable } = self.counts();
        write!(f, "{} rules: {passed} passed, {failed} failed, {not_applicable} not applicable", self.rules.len())
    }
}

impl fmt::Display for CheckedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, text, milliseconds, verdict } = self;
        match verdict {
            Verdict::Passed => write!(f, "passed  {id} ({milliseconds} ms)"),
            Verdict::Failed { seen } => {
                write!(f, "FAILED  {id}\n        {text}\n        seen: {}", seen.replace('\n', "\n        "))
            }
            Verdict::NotApplicable { why } => write!(f, "n/a     {id}: {why}"),
        }
    }
}
