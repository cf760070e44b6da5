//! What is wrong, by the facts: pure functions, one for each thing that can be.
//!
//! A rule says nothing where the fact that it needs is not known. Its name stands beside it in the table of its kind and is the `check` of what it finds.

mod both;
mod here;
mod pair;
mod rights;
mod side;
mod source;
mod target;
#[cfg(test)]
mod tests;
mod words;

use super::facts::{Node, Seen};
use super::here::Facts as HereFacts;
use super::{Finding, Plan, Severity, Shape, Side, Subject};
use words::typed;

/// Everything that is known, but for this machine.
pub(super) struct Case<'a> {
    pub(super) plan: &'a Plan,
    pub(super) source: &'a Seen,
    pub(super) target: &'a Seen,
    /// Where the leases of a group are kept.
    pub(super) store: &'a [Node],
}

/// What a rule comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    severity: Severity,
    says: String,
    fix: Vec<String>,
}

impl Verdict {
    fn new(severity: Severity, says: impl Into<String>) -> Verdict {
        Verdict {
            severity,
            says: says.into(),
            fix: Vec::new(),
        }
    }

    fn ok(says: impl Into<String>) -> Verdict {
        Verdict::new(Severity::Ok, says)
    }

    fn warning(says: impl Into<String>) -> Verdict {
        Verdict::new(Severity::Warning, says)
    }

    fn problem(says: impl Into<String>) -> Verdict {
        Verdict::new(Severity::Problem, says)
    }

    fn fix(mut self, line: impl Into<String>) -> Verdict {
        self.fix.push(line.into());
        self
    }

    fn found(self, check: &'static str, subject: Subject, nodes: Vec<String>) -> Finding {
        Finding {
            check,
            severity: self.severity,
            subject,
            nodes,
            says: self.says,
            fix: self.fix,
        }
    }
}

/// A server that has answered, as a rule sees it.
#[derive(Clone, Copy)]
struct Server<'a> {
    case: &'a Case<'a>,
    side: &'a Side,
    subject: Subject,
    node: &'a Node,
    /// Its place among those of its side.
    number: usize,
}

impl<'a> Server<'a> {
    /// What to type for it.
    fn cli(&self, words: &[&str]) -> String {
        typed(&self.node.endpoint, &self.side.cli, words)
    }

    fn set(&self, name: &str, value: &str) -> String {
        self.cli(&["CONFIG", "SET", name, value])
    }

    fn is_source(&self) -> bool {
        self.subject == Subject::Source
    }

    /// `source` or `target`, as options and keys have it.
    fn flag(&self) -> &'static str {
        self.subject.as_str()
    }

    /// The sources that feed this target.
    fn sources(&self) -> Vec<&'a Node> {
        let (from, to) = (&self.case.plan.source.shape, &self.case.plan.target.shape);
        let one_each =
            matches!((from, to), (Shape::Servers(from), Shape::Servers(to)) if from.len() == to.len());
        let all = self.case.source.nodes.iter().enumerate();
        let feeding = all.filter(|(number, _)| !one_each || *number == self.number);
        let feeding = feeding.map(|(_, node)| node);
        feeding.filter(|node| node.trouble.is_none()).collect()
    }
}

type Rule = fn(&Server<'_>) -> Option<Verdict>;

/// All that the rules find.
pub(super) fn judge(case: &Case<'_>, here: Option<&HereFacts>) -> Vec<Finding> {
    let plan = case.plan;
    let sides = [
        (&plan.source, case.source, Subject::Source, source::RULES),
        (&plan.target, case.target, Subject::Target, target::RULES),
    ];
    let mut findings = Vec::new();
    for (side, seen, subject, own) in sides {
        findings.extend(side::judge(side, seen, subject));
        for (number, node) in seen.nodes.iter().enumerate() {
            let server = Server {
                case,
                side,
                subject,
                node,
                number,
            };
            if node.trouble.is_none() {
                let pair = if subject == Subject::Target {
                    pair::RULES
                } else {
                    &[]
                };
                let rules = both::RULES.iter().chain(own).chain(pair);
                findings.extend(rules.filter_map(|(check, rule)| {
                    let verdict = rule(&server)?;
                    Some(verdict.found(check, subject, vec![node.address().to_string()]))
                }));
            }
        }
    }
    if let Some(facts) = here {
        findings.extend(here::judge(case, facts));
    }
    findings
}
