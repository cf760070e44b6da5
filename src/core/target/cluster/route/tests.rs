//! The table at the room's head.

use super::*;
use crate::core::command;
use crate::core::command::tests::framed;
use crate::core::position::Offset;
use crate::core::resp::Framer;

/// The slot's name in the table.
fn named(of: u16) -> &'static str {
    let names = ["a", "b", "c"];
    names
        .into_iter()
        .find(|name| slot(name.as_bytes()) == of)
        .unwrap_or("?")
}

fn words(bytes: &Bytes) -> String {
    let mut framer = Framer::default();
    framer.push(Offset::ZERO, bytes.clone()).unwrap();
    let frame = framer.next().unwrap().unwrap();
    let args: Vec<_> = frame.args().map(String::from_utf8_lossy).collect();
    assert_eq!(frame.bytes(), &bytes[..]);
    args.join(" ")
}

/// A route in the words of the table.
fn said(route: &Route) -> String {
    match route {
        Route::Slot(slot) => named(*slot).into(),
        Route::Split(parts) => {
            let parts = parts
                .iter()
                .map(|(slot, bytes)| format!("{}: {}", named(*slot), words(bytes)));
            parts.collect::<Vec<_>>().join(", ")
        }
        Route::Planned(plan) => plan.summary(named),
        Route::EveryMaster(_) => "every master".into(),
        Route::AnyMaster => "any master".into(),
        Route::Refused(why) => format!("refused: {why}"),
    }
}

fn routed(text: &str, how: CrossSlot) -> Route {
    framed(text, |frame| route(command::of(frame), frame, how))
}

#[test]
fn routes_are_those_of_the_table() {
    let rows: Vec<Vec<&str>> = include_str!("../route.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "))
        .map(|line| line.trim_end_matches(" |").split(" | ").collect())
        .collect();
    assert_eq!(rows[0], ["command", "split", "error"]);
    for row in &rows[2..] {
        let [text, split, error] = row[..] else {
            panic!("{row:?} has no three cells")
        };
        assert_eq!(said(&routed(text, CrossSlot::Split)), split, "{text}");
        assert_eq!(said(&routed(text, CrossSlot::Refuse)), error, "{text}");
    }
    assert!(rows.len() > 60, "only {} rows", rows.len());
}

/// A command that the table of commands has and that writes with several keys is never sent whole to one of their slots.
#[test]
fn no_known_write_with_keys_in_several_slots_goes_to_one_of_them() {
    let mut several = 0;
    for known in command::all().filter(|known| known.writes || known.kind == Kind::Eval) {
        let name = known.name;
        for text in [
            format!("{name} a b c"),
            format!("{name} a b c 1 2 3"),
            format!("{name} 2 a b c"),
            format!("{name} s 2 a b"),
            format!("{name} a 2 b c"),
            format!("{name} a x store b"),
            format!("{name} a 1 2 3 m store b"),
        ] {
            framed(&text, |frame| {
                let slots = known.keys(frame).map(|key| slot(key.bytes));
                let mut slots: Vec<u16> = slots.collect();
                slots.dedup();
                if slots.len() > 1 {
                    several += 1;
                    let route = route(known, frame, CrossSlot::Split);
                    assert!(
                        !matches!(route, Route::Slot(_) | Route::AnyMaster),
                        "{text}: {route:?}"
                    );
                }
            });
        }
    }
    assert!(several > 50, "only {several} commands had keys in several slots");
}

#[test]
fn a_route_never_shows_the_data_of_a_command() {
    for text in [
        "MSET a SECRET b SECRET",
        "SMOVE a b SECRET",
        "FUNCTION LOAD SECRET",
    ] {
        let shown = format!("{:?}", routed(text, CrossSlot::Split));
        assert!(!shown.contains("SECRET"), "{shown}");
    }
}

#[test]
fn a_split_of_many_keys_is_done_in_one_pass() {
    let many: Vec<String> = (0..20_000).map(|n| format!("k{n}")).collect();
    let Route::Split(parts) = routed(&format!("DEL {}", many.join(" ")), CrossSlot::Split) else {
        panic!("DEL can be split");
    };
    let mut found = 0;
    for (of, bytes) in &parts {
        for key in words(bytes).split(' ').skip(1) {
            assert_eq!(slot(key.as_bytes()), *of);
            found += 1;
        }
    }
    assert_eq!(found, many.len());
}
