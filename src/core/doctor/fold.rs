//! The same finding of several nodes is one, with all their addresses and all that is to be typed.

use super::{Depth, Finding, Severity, Subject};

/// Puts together what says the same of the same side, and the worst first within each side; otherwise in the order in which it came. In brief all that one rule finds,
/// whatever the numbers are: a large cluster does not fill the traces.
pub(super) fn fold(findings: Vec<Finding>, depth: Depth) -> Vec<Finding> {
    let mut folded: Vec<Finding> = Vec::new();
    for finding in findings {
        let same = folded.iter_mut().find(|other| is_same(other, &finding, depth));
        let Some(same) = same else {
            folded.push(finding);
            continue;
        };
        for fix in finding.fix {
            if !same.fix.contains(&fix) {
                same.fix.push(fix);
            }
        }
        if same.says != finding.says && !same.says.ends_with(ALIKE) {
            same.says.push_str(ALIKE);
        }
        same.nodes.extend(finding.nodes);
    }
    folded.sort_by_key(|finding| (order(finding.subject), std::cmp::Reverse(finding.severity)));
    folded
}

/// Numbers of one node stand for all.
const ALIKE: &str = "; alike on the others";

/// Of a source and a target that say the same, each is told.
fn is_same(one: &Finding, other: &Finding, depth: Depth) -> bool {
    one.check == other.check
        && one.severity == other.severity
        && one.subject == other.subject
        && (one.says == other.says || one.severity == Severity::Ok || depth == Depth::Brief)
        && !one.nodes.is_empty()
        && !other.nodes.is_empty()
}

const fn order(subject: Subject) -> u8 {
    match subject {
        Subject::Source => 0,
        Subject::Target => 1,
        Subject::Here => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(subject: Subject, severity: Severity, node: &str, says: &str) -> Finding {
        Finding {
            check: "x",
            severity,
            subject,
            nodes: vec![node.to_owned()],
            says: says.to_owned(),
            fix: vec![format!("mend {node}")],
        }
    }

    #[test]
    fn what_several_nodes_have_in_common_is_told_once_and_the_worst_first() {
        let all = vec![
            finding(Subject::Target, Severity::Ok, "a", "good"),
            finding(Subject::Target, Severity::Ok, "b", "good, too"),
            finding(Subject::Target, Severity::Warning, "a", "bad"),
            finding(Subject::Target, Severity::Warning, "b", "bad"),
            finding(Subject::Source, Severity::Warning, "c", "bad"),
            finding(Subject::Target, Severity::Warning, "c", "worse"),
        ];
        let brief = fold(all.clone(), Depth::Brief);
        assert_eq!(brief.len(), 3, "{brief:?}");
        assert_eq!(brief[1].says, "bad; alike on the others");
        let folded = fold(all, Depth::Full);
        let told: Vec<(Subject, &str, String, usize)> = folded
            .iter()
            .map(|one| (one.subject, one.says.as_str(), one.nodes.join(" "), one.fix.len()))
            .collect();
        let expected = [
            (Subject::Source, "bad", "c", 1),
            (Subject::Target, "bad", "a b", 2),
            (Subject::Target, "worse", "c", 1),
            (Subject::Target, "good; alike on the others", "a b", 2),
        ];
        let expected = expected.map(|(subject, says, nodes, fixes)| (subject, says, nodes.to_owned(), fixes));
        assert_eq!(told, expected);
    }
}
