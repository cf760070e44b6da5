//! What a test says that does not run here, in one way for all: whoever reads `all passed` is to see what has not been tried.

// Also in test binaries that have nothing else of this folder.
#![allow(unreachable_pub, clippy::unwrap_used)]

use std::io::Write;

/// One line that names the test and the reason. `scripts/test.sh` names a file (`GUNYU_TEST_SKIPPED`) from which it tells all of them at its end.
pub fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("skipped: {test}: {why}\n");
    // Not by a macro: what passes is not shown.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(file) = std::env::var_os("GUNYU_TEST_SKIPPED") {
        let file = std::fs::File::options().create(true).append(true).open(file);
        file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap();
    }
}
