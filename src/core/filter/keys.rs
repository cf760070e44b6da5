//! Which keys are replicated.

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::DropReason;
use super::rules::{Error, Rules};
use crate::core::command::{SLOTS, slot};

/// What gunyu itself writes, on a target and for its elections. Never replicated from a source, or two links in a row
/// would take each other's positions for their own.
const OWN: [&[u8]; 2] = [b"redis-gunyu-checkpoint", b"/redis-gunyu/"];

/// The rules about keys and slots.
#[derive(Debug)]
pub(super) struct KeyRules {
    deny: Patterns,
    /// `None`: all are allowed.
    allow: Option<Patterns>,
    /// One bit for each slot; `None`: all are allowed.
    slots: Option<Box<[u64; SLOTS as usize / 64]>>,
    plain: bool,
}

impl KeyRules {
    pub(super) fn compile(rules: &Rules) -> Result<KeyRules, Error> {
        let lists = [
            &rules.key_prefix_allow,
            &rules.key_suffix_allow,
            &rules.key_regex_allow,
        ];
        let allow = match lists.iter().all(|list| list.is_empty()) {
            true => None,
            false => Some(Patterns::compile("allow", lists)?),
        };
        let lists = [
            &rules.key_prefix_deny,
            &rules.key_suffix_deny,
            &rules.key_regex_deny,
        ];
        let deny = Patterns::compile("deny", lists)?;
        let slots = slots(&rules.slot_allow, &rules.slot_deny)?;
        let plain = allow.is_none() && slots.is_none() && lists.iter().all(|list| list.is_empty());
        Ok(KeyRules {
            deny,
            allow,
            slots,
            plain,
        })
    }

    /// Whether every key but gunyu's own is replicated.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// Why a key is not replicated; `None`: it is.
    #[inline]
    pub(super) fn refusal(&self, key: &[u8]) -> Option<DropReason> {
        if is_own(key) {
            return Some(DropReason::OwnKey);
        }
        if self.plain {
            return None;
        }
        self.refusal_by_rule(key)
    }

    fn refusal_by_rule(&self, key: &[u8]) -> Option<DropReason> {
        let refused = self.deny.matches(key) || self.allow.as_ref().is_some_and(|allow| !allow.matches(key));
        if refused {
            return Some(DropReason::Key);
        }
        let slots = self.slots.as_ref()?;
        let slot = usize::from(slot(key));
        let allowed = slots[slot / 64] >> (slot % 64) & 1 == 1;
        (!allowed).then_some(DropReason::Slot)
    }
}

/// One look at the first byte answers for nearly every key.
#[inline]
fn is_own(key: &[u8]) -> bool {
    matches!(key.first(), Some(b'r' | b'/')) && OWN.iter().any(|own| key.starts_with(own))
}

/// Prefixes, suffixes and expressions; a key matches where any does.
#[derive(Debug)]
struct Patterns {
    prefixes: Vec<Box<[u8]>>,
    /// Back to front, so that a suffix is a prefix of the reversed key.
    suffixes: Vec<Box<[u8]>>,
    expressions: Option<RegexSet>,
}

impl Patterns {
    fn compile(
        list: &'static str,
        [prefixes, suffixes, expressions]: [&Vec<String>; 3],
    ) -> Result<Patterns, Error> {
        if [prefixes, suffixes, expressions]
            .iter()
            .any(|all| all.iter().any(String::is_empty))
        {
            return Err(Error::EmptyPattern { list });
        }
        let forward = prefixes.iter().map(|text| text.bytes().collect()).collect();
        let backward = suffixes.iter().map(|text| text.bytes().rev().collect()).collect();
        Ok(Patterns {
            prefixes: without_longer(forward),
            suffixes: without_longer(backward),
            expressions: compile_expressions(list, expressions)?,
        })
    }

    fn matches(&self, key: &[u8]) -> bool {
        starts_with_any(&self.prefixes, || key.iter().copied())
            || starts_with_any(&self.suffixes, || key.iter().rev().copied())
            || self.expressions.as_ref().is_some_and(|set| set.is_match(key))
    }
}

/// Sorts, and leaves out what begins with another of the list: it adds nothing.
fn without_longer(mut texts: Vec<Box<[u8]>>) -> Vec<Box<[u8]>> {
    texts.sort_unstable();
    // In sorted order whatever begins with a text follows it directly.
    texts.dedup_by(|longer, shorter| longer.starts_with(shorter));
    texts
}

/// Whether the bytes begin with one of the texts: at most one can, the greatest that is not greater than they are.
/// For what lies between a text and bytes that begin with it, begins with it too, and such have been left out.
fn starts_with_any<I: Iterator<Item = u8>>(texts: &[Box<[u8]>], bytes: impl Fn() -> I) -> bool {
    if texts.is_empty() {
        return false;
    }
    let after = texts.partition_point(|text| text.iter().copied().le(bytes()));
    let Some(text) = after.checked_sub(1).and_then(|at| texts.get(at)) else {
        return false;
    };
    let mut bytes = bytes();
    text.iter().all(|byte| bytes.next() == Some(*byte))
}

/// Expressions are about bytes, as keys are: `.` is any byte but a newline, `\w` an ASCII one.
fn compile_expressions(list: &'static str, expressions: &[String]) -> Result<Option<RegexSet>, Error> {
    if expressions.is_empty() {
        return Ok(None);
    }
    let set = RegexSetBuilder::new(expressions).unicode(false).build();
    set.map(Some).map_err(|cause| Error::Expression { list, cause })
}

fn slots(
    allow: &[(u16, u16)],
    deny: &[(u16, u16)],
) -> Result<Option<Box<[u64; SLOTS as usize / 64]>>, Error> {
    if allow.is_empty() && deny.is_empty() {
        return Ok(None);
    }
    let mut bits = Box::new([if allow.is_empty() { u64::MAX } else { 0 }; SLOTS as usize / 64]);
    for (ranges, allowed) in [(allow, true), (deny, false)] {
        for &(first, last) in ranges {
            if first > last || last >= SLOTS {
                return Err(Error::Slots { first, last });
            }
            for slot in usize::from(first)..=usize::from(last) {
                let bit = 1 << (slot % 64);
                let word = &mut bits[slot / 64];
                *word = if allowed { *word | bit } else { *word & !bit };
            }
        }
    }
    Ok(Some(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    fn refusals(rules: &Rules, keys: &[&str]) -> Vec<Option<DropReason>> {
        let rules = KeyRules::compile(rules).unwrap();
        keys.iter().map(|key| rules.refusal(key.as_bytes())).collect()
    }

    const NO: Option<DropReason> = Some(DropReason::Key);

    #[test]
    fn own_keys_are_never_replicated() {
        let keys = [
            "redis-gunyu-checkpoint-x",
            "redis-gunyu-checkpoint",
            "/redis-gunyu/a",
            "redis-gunyu",
            "/redis",
        ];
        let own = Some(DropReason::OwnKey);
        assert_eq!(refusals(&Rules::default(), &keys), [own, own, own, None, None]);
        let rules = Rules {
            key_prefix_allow: texts(&["redis"]),
            ..Rules::default()
        };
        assert_eq!(refusals(&rules, &keys), [own, own, own, None, NO]);
    }

    #[test]
    fn a_key_matches_by_prefix_suffix_or_expression() {
        let rules = Rules {
            key_prefix_allow: texts(&["user:", "user:1", "a"]),
            key_suffix_allow: texts(&[":end"]),
            key_regex_allow: texts(&[r"^\d+$"]),
            ..Rules::default()
        };
        let keys = ["user:7", "user", "x:end", "end", "123", "12x", "a", "b", ""];
        assert_eq!(
            refusals(&rules, &keys),
            [None, NO, None, NO, None, NO, None, NO, NO]
        );
    }

    #[test]
    fn a_blacklist_wins_over_a_whitelist() {
        let rules = Rules {
            key_prefix_allow: texts(&["a"]),
            key_prefix_deny: texts(&["ab"]),
            key_suffix_deny: texts(&["z"]),
            key_regex_deny: texts(&["q"]),
            ..Rules::default()
        };
        assert_eq!(
            refusals(&rules, &["ac", "abc", "acz", "aqc", "c"]),
            [None, NO, NO, NO, NO]
        );
    }

    #[test]
    fn slots_are_allowed_and_denied_by_ranges() {
        let rules = Rules {
            slot_allow: vec![(12_000, 12_200), (0, 0)],
            slot_deny: vec![(12_100, 12_181)],
            ..Rules::default()
        };
        // foo is in slot 12182, {foo}x too; bar in 5061.
        let keys = ["foo", "{foo}x", "bar", ""];
        assert_eq!(
            refusals(&rules, &keys),
            [None, None, Some(DropReason::Slot), None]
        );
        let rules = Rules {
            slot_deny: vec![(12_182, 12_182)],
            ..Rules::default()
        };
        assert_eq!(refusals(&rules, &["foo", "bar"]), [Some(DropReason::Slot), None]);
    }

    #[test]
    fn keys_need_not_be_text() {
        let rules = Rules {
            key_regex_deny: texts(&[r"^(?-u:\xff)."]),
            ..Rules::default()
        };
        let rules = KeyRules::compile(&rules).unwrap();
        assert_eq!(rules.refusal(b"\xff\xfe"), NO);
        assert_eq!(rules.refusal(b"\xfe\xff"), None);
    }

    #[test]
    fn rules_that_say_nothing_are_refused() {
        let empty = Rules {
            key_suffix_deny: texts(&[""]),
            ..Rules::default()
        };
        assert!(matches!(
            KeyRules::compile(&empty),
            Err(Error::EmptyPattern { list: "deny" })
        ));
        let expression = Rules {
            key_regex_allow: texts(&["("]),
            ..Rules::default()
        };
        assert!(matches!(
            KeyRules::compile(&expression),
            Err(Error::Expression { list: "allow", .. })
        ));
        for range in [(5, 4), (0, 16_384)] {
            let rules = Rules {
                slot_allow: vec![range],
                ..Rules::default()
            };
            assert!(matches!(KeyRules::compile(&rules), Err(Error::Slots { .. })));
        }
    }

    proptest! {
        #[test]
        fn the_search_finds_what_trying_each_finds(
            prefixes in prop::collection::vec("[ab]{1,4}", 0..8),
            suffixes in prop::collection::vec("[ab]{1,4}", 0..8),
            key in "[abc]{0,6}",
        ) {
            let tried = prefixes.iter().any(|p| key.starts_with(p)) || suffixes.iter().any(|s| key.ends_with(s));
            let patterns = Patterns::compile("allow", [&prefixes, &suffixes, &Vec::new()]).unwrap();
            prop_assert_eq!(patterns.matches(key.as_bytes()), tried);
        }
    }
}
