//! Texts of others.
//!
//! | byte 0, modulo 6 | the rest |
//! | --- | --- |
//! | 0 | `INFO`, as the doctor reads it |
//! | 1 | the same of a source, or of a master of its cluster |
//! | 2 | `INFO` and `CLUSTER INFO` of a master, as far as slots that move are concerned |
//! | 3 | a fence or a mark |
//! | 4 | what a member of the group answers |
//! | 5 | the name of a member |

use gunyu::core::doctor::info::{Config, Info};
use gunyu::core::peer::words::words;
use gunyu::core::position::Offset;
use gunyu::core::source::info::SourceInfo;
use gunyu::core::supervisor::group::peers::answer::{self, NotDone};
use gunyu::core::target::cluster::written;
use gunyu::core::target::inherited::found;
use gunyu::core::topology::migrations::told::{Can, active_tasks};
use gunyu::core::topology::sample;
use gunyu::core::topology::sentinel::answer::is_master_by_info;

/// No number beyond what a server counts to, and never more than was said.
pub fn check(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(rest);
    match which % 6 {
        0 => doctor(&text),
        1 => source(&text),
        2 => {
            let _ = (Can::of_info(&text), active_tasks(&text));
        }
        3 => fence(rest),
        4 => member(rest),
        _ => {
            let address = answer::address(&text);
            let again = address
                .as_ref()
                .and_then(|address| answer::address(&address.to_string()));
            assert_eq!(again, address);
        }
    }
}

fn doctor(text: &str) {
    let info = Info::parse(text);
    if let Some(version) = info.version() {
        assert!(version.rdb() >= 6 && version.since((0, 0), (0, 0)));
        assert!(version.to_string().contains('.'));
    }
    let lines = text.lines().count();
    assert!(info.modules().len() + info.databases().count() <= lines && info.calls().len() <= lines);
    assert!(found::databases(text).len() <= lines);
    let mut config = Config::default();
    for name in ["client-output-buffer-limit", "maxmemory"] {
        config.values.insert(name.to_owned(), text.to_owned());
    }
    let _ = (config.replica_buffer(), config.number("maxmemory"));
}

fn is_counted(offset: Offset) -> bool {
    i64::try_from(offset.get()).is_ok()
}

fn source(text: &str) {
    let info = SourceInfo::parse(text);
    assert!(info.offset.is_none_or(is_counted) && info.kept_from.is_none_or(is_counted));
    let previous = info.history.and_then(|history| history.previous);
    assert!(previous.is_none_or(|(_, shared)| is_counted(shared)));
    assert!(info.shard.len() <= text.lines().count());
    assert!(sample::position(text).is_none_or(|at| is_counted(at.offset)));
    let _ = is_master_by_info(text);
}

/// What was read can be written, and is read then as it was written; by another lineage it is not read.
fn fence(text: &[u8]) {
    let lineage = 0xab;
    if let Some((offset, db)) = written::parse(text, lineage) {
        assert!(is_counted(offset));
        let (mark, fence) = (
            written::mark(lineage, offset, db),
            written::fence(lineage, offset),
        );
        assert_eq!(written::parse(mark.as_bytes(), lineage), Some((offset, db)));
        assert_eq!(written::parse(fence.as_bytes(), lineage), Some((offset, 0)));
        assert_eq!(written::parse(text, lineage + 1), None);
    }
}

fn member(body: &[u8]) {
    assert!(answer::read("m:1", 200, body).is_ok());
    let Err(NotDone::Refused { error, hint, .. }) = answer::read("m:1", 409, body) else {
        panic!("a refusal is no answer");
    };
    assert!(error.len() + hint.len() <= body.len());
    // A byte that is no text becomes a mark of three.
    assert!(words(body).len() <= 3 * body.len());
}
