//! Who watches a decision being made. There is one way to decide; what `explain` prints is what a witness saw of it.

use super::map::{LineMatch, MapLine};
use super::rule::{Rule, RuleMatch};

/// Sees each rule and each map line that a decision consults, in order. `()` looks away and costs nothing.
pub trait Witness {
    /// Whether every rule is to be shown, those too that an index would pass over.
    const THOROUGH: bool = true;

    /// A rule was compared.
    fn rule(&mut self, rule: &Rule, outcome: RuleMatch);

    /// A line of the rule's map was compared.
    fn map_line(&mut self, line: &MapLine, outcome: &LineMatch);
}

impl Witness for () {
    const THOROUGH: bool = false;

    fn rule(&mut self, _: &Rule, _: RuleMatch) {}

    fn map_line(&mut self, _: &MapLine, _: &LineMatch) {}
}

/// All that a decision consulted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Each rule by its source, up to the one that decided.
    pub rules: Vec<(Box<str>, RuleMatch)>,
    /// Each line of that rule's map by its source.
    pub map_lines: Vec<(Box<str>, LineMatch)>,
}

impl Witness for Trace {
    fn rule(&mut self, rule: &Rule, outcome: RuleMatch) {
        self.rules.push((rule.source.clone(), outcome));
    }

    fn map_line(&mut self, line: &MapLine, outcome: &LineMatch) {
        self.map_lines.push((line.source.clone(), outcome.clone()));
    }
}
