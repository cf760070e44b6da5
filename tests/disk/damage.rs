//! Files that change while nobody looks: a bit is another one, a file is gone, or is an older one again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::rig::{LONG, Rig};

/// Segments of 64 KiB, so that there are some.
const SMALL: &[&str] = &["channel.storer.logSize=64KiB"];

/// Stopped in the midst of its work, with a log that is ahead of the target.
pub(super) fn stopped() -> Rig {
    let mut rig = Rig::start(SMALL);
    rig.target.sigstop();
    let at = rig.source.offset() + 300_000;
    rig.gunyu.wait_status(LONG, "the log is ahead", |status| {
        status[0]["Offset"]["Received"].as_u64().is_some_and(|n| n > at)
    });
    rig.gunyu.kill9();
    rig.target.sigcont();
    rig
}

/// Started again: either it goes on by itself and ends exact, or it says what is wrong and what helps, and goes on after that has been
/// done. Returns the traces.
#[track_caller]
pub(super) fn goes_on(mut rig: Rig) -> String {
    rig.gunyu.restart();
    if rig.ends_or_is_ready() {
        let traces = rig.gunyu.traces();
        assert!(
            traces.contains("error: ") && traces.contains("hint: "),
            "{traces}"
        );
        assert!(
            traces.contains("catalog") && !traces.contains("panicked"),
            "{traces}"
        );
        // As the hint says.
        fs::remove_dir_all(rig.gunyu.state_dir().join("catalog")).unwrap();
        rig.gunyu.restart();
    }
    rig.gunyu.wait_ready(LONG);
    rig.finish().traces()
}

pub(super) fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_in_any_file_of_a_log_never_reaches_the_target() {
    let rig = stopped();
    let mut rng = rig.seed.rng(0xF11);
    // In the header of the first, in the seal of the second, and in the open one.
    let segments = rig.files(".seg");
    assert!(segments.len() > 3, "{segments:?}");
    let victim = rng.usize(..3);
    let (path, at) = match victim {
        0 => (&segments[0], rng.usize(..64)),
        1 => (
            &segments[1],
            fs::metadata(&segments[1]).unwrap().len() as usize - 1 - rng.usize(..16),
        ),
        _ => (segments.last().unwrap(), 64 + rng.usize(..16)),
    };
    println!("{victim}: {} at {at}", path.display());
    flip(path, at);
    goes_on(rig);
}

#[test]
fn a_flipped_bit_in_the_snapshot_is_noticed_before_a_checkpoint() {
    // Slow enough to be stopped in the midst of the replay.
    let mut rig = Rig::with_rules(&["output.replay.rateLimit.opsPerSec=200"], &[]);
    rig.gunyu.wait_status(LONG, "some keys are there", |status| {
        status[0]["FullSync"]["Keys"]
            .as_u64()
            .is_some_and(|keys| keys > 20)
    });
    super::support::wait_until(LONG, "the snapshot is whole", || !rig.files(".rdb").is_empty());
    rig.gunyu.kill9();
    let snapshot = rig.files(".rdb").pop().unwrap();
    let len = fs::metadata(&snapshot).unwrap().len() as usize;
    flip(&snapshot, len - 100);
    rig.gunyu.restart_with(rig.args(&[]));
    rig.gunyu.wait_ready(LONG);
    let traces = rig.finish().traces();
    assert!(traces.contains("the snapshot is damaged"), "{traces}");
}

/// The files of the catalog by their kinds: what differs in numbers alone is of one kind.
pub(super) fn catalog_files(rig: &Rig) -> BTreeMap<String, Vec<PathBuf>> {
    let folder = rig.gunyu.state_dir().join("catalog");
    let mut kinds = BTreeMap::<String, Vec<PathBuf>>::new();
    for path in rig.files("") {
        let Ok(name) = path.strip_prefix(&folder) else {
            continue;
        };
        let kind = name.to_string_lossy().replace(|c: char| c.is_ascii_digit(), "");
        kinds.entry(kind).or_default().push(path.clone());
    }
    kinds
}

/// Kinds of files of the catalog, each in a life of its own: two of them, or all.
fn each_kind_of_catalog_file(part: u64, strike: impl Fn(&Path, &mut fastrand::Rng)) {
    let mut rig = Some(stopped());
    let mut rng = rig.as_ref().unwrap().seed.rng(part);
    let mut kinds: Vec<String> = catalog_files(rig.as_ref().unwrap()).into_keys().collect();
    println!("{kinds:?}");
    rng.shuffle(&mut kinds);
    if std::env::var_os("GUNYU_FULL").is_none() {
        kinds.truncate(2);
    }
    for kind in kinds {
        let rig = rig.take().unwrap_or_else(stopped);
        let files = catalog_files(&rig);
        let Some(files) = files.get(&kind) else {
            println!("no {kind} this time");
            continue;
        };
        let victim = &files[rng.usize(..files.len())];
        println!("{}", victim.display());
        strike(victim, &mut rng);
        goes_on(rig);
    }
}

#[test]
fn a_flipped_bit_in_any_kind_of_file_of_the_catalog_is_told_or_does_no_harm() {
    each_kind_of_catalog_file(0xF12, |victim, rng| {
        let bytes = fs::read(victim).unwrap();
        // Where there is something: a journal is mostly room.
        let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else {
            return println!("it holds nothing");
        };
        let at = rng.usize(..=last);
        println!("at {at} of {last}");
        flip(victim, at);
    });
}

#[test]
fn any_kind_of_file_of_the_catalog_that_is_gone_is_told_or_does_no_harm() {
    each_kind_of_catalog_file(0xF13, |victim, _| fs::remove_file(victim).unwrap());
}

#[test]
fn files_that_are_gone_are_asked_for_again() {
    for (what, victims) in [
        ("the newest segment", 1),
        ("a segment in the middle", 2),
        ("all segments", 3),
        ("the catalog", 4),
    ] {
        println!("{what}");
        let rig = stopped();
        let segments = rig.files(".seg");
        let remove = |path: &PathBuf| fs::remove_file(path).unwrap();
        match victims {
            1 => remove(segments.last().unwrap()),
            2 => remove(&segments[segments.len() / 2]),
            3 => segments.iter().for_each(remove),
            _ => fs::remove_dir_all(rig.gunyu.state_dir().join("catalog")).unwrap(),
        }
        goes_on(rig);
    }
}

/// Files come back from a copy that was made earlier, when the source was another server's.
#[test]
fn files_from_an_older_copy_never_bring_back_what_they_say() {
    for what in ["/state/", "/state/catalog/", ".seg"] {
        println!("{what}");
        let mut rig = stopped();
        let copy = tempfile::tempdir().unwrap();
        let state = rig.gunyu.state_dir();
        copy_folder(&state, copy.path());
        // The same source, emptied and begun again: its offsets are the same ones, its bytes are not.
        rig.begin_again();
        rig.gunyu.restart();
        rig.gunyu.wait_ready(LONG);
        rig.counters.wait_more(2_000);
        rig.gunyu.wait_applied(&rig.source, LONG);
        rig.target.sigstop();
        rig.counters.wait_more(2_000);
        rig.gunyu.kill9();
        rig.target.sigcont();
        let mut files = Vec::new();
        super::rig::collect(copy.path(), &mut files);
        for old in files {
            let place = state.join(old.strip_prefix(copy.path()).unwrap());
            if what == "/state/" || place.to_string_lossy().contains(what) {
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                fs::copy(&old, &place).unwrap();
            }
        }
        goes_on(rig);
    }
}

/// What was written stays as it is, for whoever can make something of it.
#[test]
fn letters_behind_a_damaged_one_stand_on_lines_of_their_own() {
    let mut rig = Rig::start(&["output.replay.onError=dead_letter"]);
    let mut rng = rig.seed.rng(0xDEAD);
    let () = rig.target.run(&["SET", "clash", "a string"]);
    let refuse = |rig: &mut Rig, element: &str| {
        let () = rig.source.run(&["RPUSH", "clash", element]);
        rig.gunyu.wait_status(LONG, "the letter is told", |status| {
            status[0]["DeadLetters"].as_u64() >= Some(1)
        });
        rig.gunyu.wait_applied(&rig.source, LONG);
    };
    refuse(&mut rig, "before");
    type Damage = fn(&mut Vec<u8>, &mut fastrand::Rng);
    let damages: [(&str, Damage); 4] = [
        ("a flipped bit", |text, rng| {
            let at = rng.usize(..text.len());
            text[at] ^= 1 << rng.u8(..8);
        }),
        ("a line without its end", |text, rng| {
            text.truncate(text.len() - 1 - rng.usize(..20));
        }),
        ("no line at all", |text, rng| {
            *text = std::iter::repeat_with(|| rng.u8(..)).take(5_000).collect();
            text.push(0);
        }),
        ("nothing", |text, _| text.clear()),
    ];
    for (what, damage) in damages {
        rig.gunyu.kill9();
        let file = rig.files(".jsonl").pop().expect("there is a letter");
        let mut text = fs::read(&file).unwrap();
        damage(&mut text, &mut rng);
        fs::write(&file, &text).unwrap();
        rig.gunyu.restart();
        rig.gunyu.wait_ready(LONG);
        for number in 0..2 {
            refuse(&mut rig, &format!("behind {what}, {number}"));
        }
        let all = fs::read(&file).unwrap();
        assert!(all.starts_with(&text), "{what}: what was there is another");
        let new = String::from_utf8(all[text.len()..].to_vec()).unwrap();
        let is_torn = text.last().is_some_and(|last| *last != b'\n');
        let lines = new.strip_prefix('\n').filter(|_| is_torn).unwrap_or(&new);
        assert_eq!(new.starts_with('\n'), is_torn, "{what}: {new:?}");
        let elements = lines.lines().map(|line| {
            let letter: serde_json::Value = serde_json::from_str(line).unwrap();
            letter["command"][2].as_str().unwrap().to_owned()
        });
        let expected = [0, 1].map(|number| format!("behind {what}, {number}"));
        assert_eq!(elements.collect::<Vec<_>>(), expected, "{what}");
        assert!(new.ends_with('\n'), "{what}: {new:?}");
    }
    let () = rig.source.run(&["DEL", "clash"]);
    rig.finish();
}

pub(super) fn copy_folder(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
    assert!(done.unwrap().success());
}
