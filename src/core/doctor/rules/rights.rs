//! What a user may do, against what gunyu needs.

use std::collections::BTreeSet;

use super::words::{listed, typed};
use super::{Server, Verdict};
use crate::core::doctor::answer::May;
use crate::core::doctor::facts::Node;
use crate::core::doctor::needs::{self, Need, When};
use crate::core::doctor::{Depth, Severity, Shape, Side};

/// How to find out what could not be asked.
const BY_HAND: &str = "run gunyu doctor as a user who may ACL DRYRUN, or compare with the table in README.md";

/// Which of the permissions are lacking.
#[derive(Default)]
struct Lacking<'a> {
    /// Nothing works without these.
    needed: Vec<&'a str>,
    /// Something does not work without these.
    wanted: Vec<&'a str>,
    /// What that is.
    what_for: BTreeSet<&'a str>,
    /// The server has no such commands, and one of its version has.
    no_such: Vec<&'a str>,
    /// Allowed, but not on every key.
    not_there: Vec<(&'a str, When)>,
    /// It could not be found out.
    untold: Vec<(&'a str, When)>,
}

/// The permissions of README's table, and those for what is replicated.
pub(super) fn permission(server: &Server<'_>) -> Option<Verdict> {
    let plan = server.case.plan;
    if plan.depth == Depth::Brief {
        return None;
    }
    let needs: Vec<Need> = match server.is_source() {
        true => needs::SOURCE.to_vec(),
        false => {
            let replicated = needs::REPLICATED
                .iter()
                .map(|need| softened(*need, &plan.source.shape));
            needs::TARGET.iter().copied().chain(replicated).collect()
        }
    };
    Some(judged(server.node, server.side, &needs))
}

/// The same of a sentinel.
pub(super) fn of_sentinel(node: &Node, side: &Side) -> Verdict {
    judged(node, side, needs::SENTINELS)
}

/// Sentinels publish on every server that they watch: a call of `PUBLISH` there need not be a client's.
fn softened(need: Need, source: &Shape) -> Need {
    let is_theirs = need.command == "publish" && matches!(source, Shape::Named { .. });
    match is_theirs {
        true => Need {
            when: When::Sometimes("pass on what clients publish (unless only sentinels do)"),
            ..need
        },
        false => need,
    }
}

fn judged(node: &Node, side: &Side, needs: &[Need]) -> Verdict {
    let Some(rights) = &node.rights else {
        let says = format!("what user {} may do could not be found out", node.user());
        return Verdict::new(Severity::Unknown, says).fix(BY_HAND);
    };
    let applies = |need: &&Need| need.applies(&side.shape) && need.is_known(node.version());
    let mut lacking = Lacking::default();
    let mut count = 0;
    for need in needs.iter().filter(applies) {
        // What is replicated was asked about only where it is used.
        if !rights.may.contains_key(need.command)
            && needs::REPLICATED.iter().any(|one| one.command == need.command)
        {
            continue;
        }
        count += 1;
        lacking.add(need, rights.may(need.command));
    }
    let user = node.user();
    let line = |rules: &[String]| {
        let words: Vec<&str> = ["ACL", "SETUSER", user]
            .into_iter()
            .chain(rules.iter().map(String::as_str))
            .collect();
        typed(&node.endpoint, &side.cli, &words)
    };
    lacking.verdict(user, count, &line)
}

impl<'a> Lacking<'a> {
    fn add(&mut self, need: &Need, may: May)
    where
        Need: 'a,
    {
        let command = need.command;
        match (may, need.when) {
            (May::Yes, _) => {}
            (May::Untold, when) => self.untold.push((command, when)),
            // The other rule says what a source without it means.
            (May::NoSuch, _) if command == "psync" => {}
            (May::NoSuch, _) => self.no_such.push(command),
            (May::NotThere, when) => self.not_there.push((command, when)),
            (May::No, When::Sometimes(what)) => {
                self.wanted.push(command);
                self.what_for.insert(what);
            }
            (May::No, _) => self.needed.push(command),
        }
    }

    fn verdict(&self, user: &str, count: usize, line: &dyn Fn(&[String]) -> String) -> Verdict {
        let mut says = Vec::new();
        if !self.needed.is_empty() {
            says.push(format!("user {user} may not {}", listed(&self.needed)));
        }
        if !self.wanted.is_empty() {
            let what: Vec<&str> = self.what_for.iter().copied().collect();
            says.push(format!(
                "user {user} may not {}, so that gunyu cannot {}",
                listed(&self.wanted),
                what.join(", or ")
            ));
        }
        if !self.not_there.is_empty() {
            says.push(format!("user {user} may not use every key and channel"));
        }
        if !self.no_such.is_empty() {
            says.push(format!("the server does not know {}", listed(&self.no_such)));
        }
        if says.is_empty() {
            return self.all_well(user, count);
        }
        let is_lacking = |(_, when): &(&str, When)| !matches!(when, When::Sometimes(_));
        let is_problem =
            !self.needed.is_empty() || self.not_there.iter().any(is_lacking) || !self.no_such.is_empty();
        let new = if is_problem {
            Verdict::problem
        } else {
            Verdict::warning
        };
        let verdict = new(says.join("; "));
        let verdict = match self.rules() {
            rules if rules.is_empty() => verdict,
            rules => verdict.fix(line(&rules)),
        };
        match self.no_such.is_empty() {
            true => verdict,
            false => verdict.fix(
                "take its rename-command lines for these out of the server's configuration, and restart it",
            ),
        }
    }

    fn all_well(&self, user: &str, count: usize) -> Verdict {
        let untold: Vec<&str> = self.untold.iter().map(|(command, _)| *command).collect();
        if untold.is_empty() {
            return Verdict::ok(format!(
                "user {user} may run each of the {count} commands that were asked about"
            ));
        }
        let says = format!(
            "user {user} may run what could be asked about; not known of {}",
            listed(&untold)
        );
        // What is only wanted sometimes was left out on purpose.
        if self
            .untold
            .iter()
            .all(|(_, when)| matches!(when, When::Sometimes(_)))
        {
            return Verdict::ok(says);
        }
        Verdict::new(Severity::Unknown, says).fix(BY_HAND)
    }

    /// What the user is to be given.
    fn rules(&self) -> Vec<String> {
        let commands = self.needed.iter().chain(&self.wanted);
        let mut rules: Vec<String> = commands.map(|command| format!("+{command}")).collect();
        let wider = self.not_there.iter().map(|(command, _)| match *command {
            "publish" | "spublish" => "&*".to_owned(),
            "subscribe" => format!("&{}", needs::SENTINELS_CHANNEL),
            _ => "~*".to_owned(),
        });
        let wider: BTreeSet<String> = wider.collect();
        rules.extend(wider.into_iter().rev());
        rules
    }
}
