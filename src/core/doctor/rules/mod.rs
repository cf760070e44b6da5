//! What is wrong, by the facts: pure functions, one for each thing that can be.
//!
//! A rule says nothing where the fact that it needs is not known. Its name stands beside it in the table of its kind and is the `check` of what it finds.

mod both;
mod here;
mod pair;
#[cfg(test)]
mod printed;
mod rights;
mod side;
mod source;
mod target;
#[cfg(test)]
mod tests;
mod words;

use super::facts::{Node, Seen};
use super::here::Facts as HereFacts;
use super::info::Closed;
use super::{Finding, Plan, Severity, Shape, Side, Subject};
use words::{quoted, typed};

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

    fn fix_if(mut self, line: Option<String>) -> Verdict {
        self.fix.extend(line);
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

    /// How a value of its configuration is changed; of a service that gives no `CONFIG`, elsewhere.
    fn set(&self, name: &str, value: &str) -> String {
        match self.node.config.closed {
            Some(Closed::Refused) => {
                format!(
                    "in the service's parameter group, or in the server's configuration file: {name} {value}"
                )
            }
            _ => self.cli(&["CONFIG", "SET", name, value]),
        }
    }

    /// What to type so that the user may do more; nothing where that would not help.
    fn grant(&self, closed: Option<&Closed>, rule: &str) -> Option<String> {
        // Before there were users a command can only have been renamed.
        let has_acl = self
            .node
            .version()
            .is_none_or(|version| version.since((6, 0), (0, 0)));
        let is_forbidden = has_acl && closed == Some(&Closed::Forbidden);
        is_forbidden.then(|| self.cli(&["ACL", "SETUSER", self.node.user(), rule]))
    }

    /// The URL of another server, reached as this one is.
    fn url(&self, kind: &str, address: &str) -> String {
        let scheme = match self.node.endpoint.tls {
            Some(_) => "rediss",
            None => "redis",
        };
        quoted(&format!("{scheme}{kind}://{address}"))
    }

    /// Whether its words are those of before 5.0: `slave` for `replica`.
    fn says_slave(&self) -> bool {
        let version = self.node.version();
        version.is_some_and(|version| !version.since((5, 0), (0, 0)))
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
                // Of a sentinel nothing else would be true.
                let applies = |check: &str| !node.is_sentinel() || both::OF_SENTINELS.contains(&check);
                let rules = rules.filter(|(check, _)| applies(check));
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
