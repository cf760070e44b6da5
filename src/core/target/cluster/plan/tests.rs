//! Plans without a server: their steps, their standing, and what becomes of strange answers.

use super::*;

impl Plan {
    /// In the words of the table of routes.
    pub(in super::super) fn summary(&self, named: impl Fn(u16) -> &'static str) -> String {
        match &self.0 {
            Kind::Staged { home, words, foreign } => {
                let mut words: Vec<String> = words.iter().map(|word| readable(word)).collect();
                for place in foreign.iter().flat_map(|one| &one.places) {
                    words[*place] = format!("[{}]", words[*place]);
                }
                format!("staged in {}: {}", named(*home), words.join(" "))
            }
            Kind::Popped { pop, push, .. } => {
                let name = |end: &End| end.choose("LEFT", "RIGHT");
                format!("popped {}, pushed {}", name(pop), name(push))
            }
            other => other.name().into(),
        }
    }
}

fn readable(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

fn lines(steps: Result<Vec<Step>, Undone>) -> Vec<String> {
    let line = |step: &Step, command: &Words| {
        let words: Vec<String> = command.iter().map(|word| readable(word)).collect();
        format!("{}: {}", step.slot, words.join(" "))
    };
    let steps = steps.unwrap();
    let lines = steps
        .iter()
        .flat_map(|step| step.commands.iter().map(move |command| line(step, command)));
    lines.collect()
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.into())
}

const A: u16 = 15495;
const B: u16 = 3300;

#[test]
fn a_key_is_restored_where_it_goes_and_only_then_deleted_where_it_was() {
    let plan = Plan::moved(b"a".into(), b"b".into());
    let absolute = plan.steps(Expiry::Absolute, &[bulk("P"), Value::Int(4_000_000_000_000)]);
    let expected = [
        format!("{B}: RESTORE b 4000000000000 P REPLACE ABSTTL"),
        format!("{A}: DEL a"),
    ];
    assert_eq!(lines(absolute), expected);
    let relative = plan.steps(Expiry::Relative, &[bulk("P"), Value::Int(70)]);
    assert_eq!(lines(relative)[0], format!("{B}: RESTORE b 70 P REPLACE"));
}

#[test]
fn a_failed_step_is_never_taken_for_one_that_is_done() {
    let moved = Plan::moved(b"a".into(), b"b".into());
    let steps = moved.steps(Expiry::Absolute, &[bulk("P"), Value::Int(-1)]);
    let steps: Vec<_> = steps
        .unwrap()
        .into_iter()
        .map(|step| (step.slot, step.fenced, step.commands.len()))
        .collect();
    assert_eq!(steps, [(B, false, 1), (B, true, 0), (A, true, 1)]);
}

#[test]
fn a_key_without_a_time_gets_none_and_one_that_is_about_to_expire_does_not_live_for_ever() {
    let plan = Plan::copied(b"a".into(), b"b".into());
    for (answered, given) in [(-1, "0"), (0, "1"), (1, "1")] {
        let steps = plan.steps(Expiry::Relative, &[bulk("P"), Value::Int(answered)]);
        assert_eq!(lines(steps), [format!("{B}: RESTORE b {given} P REPLACE")]);
    }
}

#[test]
fn what_is_missing_or_strange_is_never_passed_over() {
    let wrong_type = Value::Error(b"WRONGTYPE x".into());
    let refused = Err(Undone::Refused("WRONGTYPE x".into()));
    let none = Value::Simple(b"none".into());
    let copied = Plan::copied(b"a".into(), b"b".into());
    let popped = Plan::popped(b"a".into(), b"b".into(), End::Left, End::Left);
    let staged = Plan::staged(A, words(&[b"SUNIONSTORE", b"a", b"b"]), vec![(b"b".into(), 2)]);
    for (plan, replies, expected) in [
        (&copied, vec![Value::Nil, Value::Int(-2)], Err(Undone::Missing)),
        (&copied, vec![bulk("P"), Value::Int(-2)], Err(Undone::Missing)),
        (&copied, vec![bulk("P"), wrong_type.clone()], refused.clone()),
        (&copied, vec![bulk("P"), bulk("P")], Err(Undone::Malformed)),
        (&copied, vec![bulk("P")], Err(Undone::Malformed)),
        (&popped, vec![Value::Nil, none.clone()], Err(Undone::Missing)),
        (&popped, vec![wrong_type.clone(), none], refused.clone()),
        (
            &popped,
            vec![bulk("e"), Value::Simple(b"set".into())],
            Err(Undone::NoList),
        ),
        (&popped, vec![bulk("e"), wrong_type.clone()], refused.clone()),
        (&popped, vec![], Err(Undone::Malformed)),
        (&staged, vec![wrong_type.clone()], refused.clone()),
        (&staged, vec![Value::Int(1)], Err(Undone::Malformed)),
        (&staged, vec![], Err(Undone::Malformed)),
    ] {
        assert_eq!(plan.steps(Expiry::Absolute, &replies), expected, "{plan:?}");
    }
}

#[test]
fn copies_of_foreign_keys_live_in_one_transaction_and_a_missing_one_is_empty() {
    let command = words(&[b"SUNIONSTORE", b"a", b"b", b"c", b"b"]);
    let foreign = vec![(b"b".to_vec(), 2), (b"c".to_vec(), 3), (b"b".to_vec(), 4)];
    let plan = Plan::staged(A, command, foreign);
    assert_eq!(plan.reads(Expiry::Absolute).len(), 2);
    let name = |number| readable(&temporary(A, number));
    assert_eq!(slot(name(0).as_bytes()), A);
    let steps = plan.steps(Expiry::Absolute, &[bulk("P"), Value::Nil]);
    let expected = [
        format!("{A}: RESTORE {} 0 P REPLACE", name(0)),
        format!("{A}: SUNIONSTORE a {} {} {}", name(0), name(1), name(0)),
        format!("{A}: DEL {}", name(0)),
    ];
    assert_eq!(lines(steps), expected);
    let all_missing = plan.steps(Expiry::Absolute, &[Value::Nil, Value::Nil]);
    assert_eq!(lines(all_missing).len(), 1);
}

#[test]
fn fences_tell_what_is_left_of_a_plan() {
    let moved = Plan::moved(b"a".into(), b"b".into());
    let popped = Plan::popped(b"a".into(), b"b".into(), End::Left, End::Left);
    let staged = Plan::staged(B, words(&[b"PFMERGE", b"b", b"a"]), vec![(b"a".into(), 2)]);
    for (covered, two_steps, one_step) in [
        (&[][..], Standing::Open, Standing::Open),
        (&[B], Standing::Open, Standing::Done),
        (&[A], Standing::Overtaken, Standing::Overtaken),
        (&[A, B], Standing::Done, Standing::Done),
    ] {
        let covered = |slot| covered.contains(&slot);
        assert_eq!(moved.standing(covered), two_steps);
        assert_eq!(popped.standing(covered), two_steps);
        assert_eq!(staged.standing(covered), one_step);
    }
}
