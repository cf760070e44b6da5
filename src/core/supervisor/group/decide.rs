//! Who should lead what: pure functions on what the registry says.
//!
//! An input that nobody leads goes to the first of its candidates that asks for the lease, and they ask one after the other:
//!
//! | of two candidates | asks first |
//! | --- | --- |
//! | one has given the input up lately, because it could not reach source or target | the other |
//! | one's log reaches further | that one: the latest data wins |
//! | one leads fewer inputs, those counted that it is about to get | that one |
//! | otherwise | the one whose name comes first |
//!
//! An input changes hands for evenness alone only where its leader has two more than the member that gets it: then neither gives it back.

use std::collections::BTreeMap;

use crate::core::position::{History, Offset, Position};

/// A member of the group, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Candidate {
    pub(super) id: String,
    /// How many inputs it leads.
    pub(super) leads: usize,
    /// The inputs that it follows or leads, and where its log of each ends.
    pub(super) ends: BTreeMap<String, Option<Position>>,
    /// Inputs that it has given up lately.
    pub(super) shuns: Vec<String>,
}

impl Candidate {
    /// How far its log of the input reaches, in the history of whoever asks.
    fn reach(&self, input: &str, history: Option<&History>) -> Offset {
        let end = self.ends.get(input).copied().flatten();
        match (end, history) {
            (Some(end), Some(history)) if history.contains(&end) => end.offset,
            // Who has nothing cannot tell which history counts.
            (Some(end), None) => end.offset,
            _ => Offset::ZERO,
        }
    }
}

/// The candidates for an input that nobody leads, in the order in which they ask for it.
pub(super) fn order<'a>(input: &str, history: Option<&History>, members: &'a [Candidate]) -> Vec<&'a str> {
    let mut candidates: Vec<&Candidate> = members
        .iter()
        .filter(|one| one.ends.contains_key(input))
        .collect();
    candidates.sort_by_key(|one| {
        let shuns = one.shuns.iter().any(|shunned| shunned == input);
        let reach = std::cmp::Reverse(one.reach(input, history));
        (shuns, reach, one.leads, one.id.clone())
    });
    candidates.into_iter().map(|one| one.id.as_str()).collect()
}

/// The place of `me` in the order of each of these inputs, where each goes to the first of its candidates.
pub(super) fn places<'a>(
    vacant: impl IntoIterator<Item = (&'a str, Option<History>)>,
    members: &[Candidate],
    me: &str,
) -> BTreeMap<String, usize> {
    let mut members = members.to_vec();
    let mut places = BTreeMap::new();
    for (input, history) in vacant {
        let order = order(input, history.as_ref(), &members);
        if let Some(place) = order.iter().position(|id| *id == me) {
            places.insert(input.to_owned(), place);
        }
        let first = order.first().map(|id| (*id).to_owned());
        let first = members.iter_mut().find(|one| Some(&one.id) == first.as_ref());
        if let Some(first) = first {
            first.leads += 1;
        }
    }
    places
}

/// The member, out of those that may get inputs, to whom one of ours should go so that all have about as many.
pub(super) fn lightest<'a>(ours: usize, may_get: impl IntoIterator<Item = &'a Candidate>) -> Option<&'a str> {
    let lightest = may_get
        .into_iter()
        .min_by_key(|one| (one.leads, one.id.as_str()))?;
    (ours >= lightest.leads + 2).then_some(lightest.id.as_str())
}

/// Whether it is for this member to give something away: only the one that leads most does, of equals the first by name, or a newcomer would get too much.
pub(super) fn gives(me: &str, members: &[Candidate]) -> bool {
    let most = members
        .iter()
        .max_by_key(|one| (one.leads, std::cmp::Reverse(one.id.as_str())));
    most.is_some_and(|one| one.id == me)
}

/// The member that gets an input of one that ends: all of them are about as far, so that the lightest does.
pub(super) fn successor<'a>(input: &str, members: &'a [Candidate], but: &str) -> Option<&'a str> {
    let others = members
        .iter()
        .filter(|one| one.id != but && one.ends.contains_key(input));
    let lightest = others.min_by_key(|one| (one.ends[input].is_none(), one.leads, one.id.as_str()));
    lightest.map(|one| one.id.as_str())
}

/// The members to whom an input may be handed over, the best first.
pub(super) fn heirs<'a>(
    input: &str,
    history: Option<&History>,
    members: &'a [Candidate],
    but: &str,
) -> Vec<&'a str> {
    let mut heirs = order(input, history, members);
    heirs.retain(|id| *id != but);
    heirs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::position::ReplId;

    fn at(offset: u64) -> Position {
        Position {
            id: ReplId::parse(&[b'a'; 40]).unwrap(),
            offset: Offset::new(offset),
        }
    }

    fn member(id: &str, leads: usize, end: Option<u64>) -> Candidate {
        Candidate {
            id: id.to_owned(),
            leads,
            ends: BTreeMap::from([("x".to_owned(), end.map(at)), ("y".to_owned(), None)]),
            shuns: Vec::new(),
        }
    }

    fn shunning(mut one: Candidate) -> Candidate {
        one.shuns.push("x".to_owned());
        one
    }

    #[test]
    fn every_row_of_the_table() {
        for (members, expected) in [
            (vec![member("a", 0, None), member("b", 0, Some(5))], ["b", "a"]),
            (vec![member("a", 0, Some(5)), member("b", 0, Some(9))], ["b", "a"]),
            (vec![member("a", 2, Some(5)), member("b", 1, Some(5))], ["b", "a"]),
            (vec![member("a", 1, Some(5)), member("b", 1, Some(5))], ["a", "b"]),
            (
                vec![shunning(member("a", 0, Some(9))), member("b", 7, None)],
                ["b", "a"],
            ),
        ] {
            assert_eq!(
                order("x", Some(&History::new(at(0).id)), &members),
                expected,
                "{members:?}"
            );
        }
    }

    #[test]
    fn a_log_of_another_history_counts_for_nothing_and_who_has_none_believes_all() {
        let members = [member("a", 0, Some(5)), member("b", 1, None)];
        let other = History::new(ReplId::parse(&[b'b'; 40]).unwrap());
        assert_eq!(
            order(
                "x",
                Some(&other),
                &[member("a", 1, Some(5)), member("b", 0, None)]
            ),
            ["b", "a"]
        );
        assert_eq!(order("x", None, &members), ["a", "b"]);
    }

    #[test]
    fn who_does_not_know_the_input_is_no_candidate() {
        assert!(order("z", None, &[member("a", 0, None)]).is_empty());
    }

    #[test]
    fn inputs_that_nobody_leads_are_spread_evenly() {
        let all = |id: &str| Candidate {
            ends: ["1", "2", "3"].map(|input| (input.to_owned(), None)).into(),
            ..member(id, 0, None)
        };
        let members = [all("a"), all("b"), all("c")];
        let vacant = || ["1", "2", "3"].map(|input| (input, None));
        let firsts: Vec<Vec<String>> = ["a", "b", "c"]
            .map(|me| {
                let places = places(vacant(), &members, me);
                places
                    .into_iter()
                    .filter(|(_, place)| *place == 0)
                    .map(|(input, _)| input)
                    .collect()
            })
            .into();
        assert_eq!(firsts, [["1"], ["2"], ["3"]]);
    }

    #[test]
    fn an_input_goes_to_the_lightest_only_where_that_makes_it_more_even() {
        let members = [member("b", 1, None), member("c", 0, None)];
        for (ours, expected) in [(0, None), (1, None), (2, Some("c")), (3, Some("c"))] {
            assert_eq!(lightest(ours, &members), expected, "{ours}");
        }
        assert_eq!(lightest(9, []), None);
    }

    #[test]
    fn only_the_one_that_leads_most_gives() {
        let members = [member("a", 2, None), member("b", 2, None), member("c", 1, None)];
        let give: Vec<&str> = ["a", "b", "c"]
            .into_iter()
            .filter(|me| gives(me, &members))
            .collect();
        assert_eq!(give, ["a"]);
    }

    #[test]
    fn what_a_member_leaves_goes_to_the_lightest_that_has_something_of_it() {
        let members = [
            member("a", 0, Some(9)),
            member("b", 1, Some(9)),
            member("c", 0, None),
        ];
        assert_eq!(successor("x", &members, "a"), Some("b"));
        assert_eq!(successor("x", &members, "b"), Some("a"));
        assert_eq!(successor("x", &members[2..], "b"), Some("c"));
    }

    #[test]
    fn the_heirs_are_the_others_the_best_first() {
        let members = [
            member("a", 0, Some(9)),
            member("b", 0, Some(5)),
            member("c", 0, Some(7)),
        ];
        assert_eq!(heirs("x", None, &members, "a"), ["c", "b"]);
        assert!(heirs("x", None, &members[..1], "a").is_empty());
    }
}
