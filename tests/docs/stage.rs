//! Where blocks are run: a folder, a bash, and the addresses of the documents standing for real ones.
//!
//! What a person does besides typing is done by what stands before the real programs on the PATH:
//!
//! - `gunyu sync` goes into the background, as into a terminal of its own; what ran at the same address before is ended first, as by Ctrl-C. Where neither file
//!   nor flags say so, it listens at a free port and keeps its log in the folder.
//! - `gunyu status --watch` is interrupted after a moment.
//! - Warnings of `gunyu doctor` (1) are read, and it goes on; problems (2) end it.
//! - `make build` is not built again: that there is such a target is all that is looked at.
//! - `sleep` is short.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;

use crate::documents::{Block, root};
use crate::support::gunyu::PROGRAM;
use crate::support::port::Port;
use crate::support::process::{Process, last_lines};

/// The longest that a scene may take: every wait in it has its end here.
const LIMIT: Duration = Duration::from_secs(150);

/// The places of the blocks that have been run to their end.
static PLAYED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Whether a block has been run to its end.
pub fn was_played(block: &Block) -> bool {
    PLAYED.lock().unwrap().contains(&block.place())
}

/// Where scripts are played.
pub struct Stage {
    dir: TempDir,
    port: Port,
    /// What stands in the documents, and what it stands for here; the longest first.
    names: Vec<(String, String)>,
}

impl Stage {
    /// The names of the documents, each with what it stands for.
    pub fn new(names: &[(&str, String)]) -> Stage {
        let (dir, port) = (tempfile::tempdir().unwrap(), Port::free());
        let mut all: Vec<(String, String)> = names
            .iter()
            .map(|(name, real)| ((*name).to_owned(), real.clone()))
            .collect();
        all.push(("127.0.0.1:18001".to_owned(), port.addr().to_string()));
        all.push(("/etc/gunyu/".to_owned(), format!("{}/", dir.path().display())));
        all.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let stage = Stage {
            dir,
            port,
            names: all,
        };
        stage.file("exported", "");
        stage.program("gunyu", GUNYU);
        stage.program("sleep", SLEEP);
        stage.program("make", MAKE);
        stage
    }

    /// The folder in which everything happens.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file there; names of the documents in it stand for the real ones.
    pub fn file(&self, name: &str, text: &str) {
        fs::write(self.dir().join(name), self.real(text)).unwrap();
    }

    fn program(&self, name: &str, text: &str) {
        let bin = self.dir().join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join(name), text).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn real(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // By way of words that are in no document, so that what stands for one name is not taken for another.
        for (number, (name, _)) in self.names.iter().enumerate() {
            text = text.replace(name, &format!("\u{1}{number}\u{2}"));
        }
        for (number, (_, real)) in self.names.iter().enumerate() {
            text = text.replace(&format!("\u{1}{number}\u{2}"), real);
        }
        text
    }

    /// Runs blocks in one bash, one after the other; what they export is there in the next one. Any command that fails fails the test, with its place in the document.
    #[track_caller]
    pub fn play(&self, before: &str, blocks: &[Block]) {
        let mut script = format!("set -euo pipefail\n. ./exported\n{before}\n");
        for block in blocks {
            // A chain that breaks off does not end bash by itself.
            let text = &block.text;
            script.push_str(&format!("echo '== {}' >&2\n{text}\ntest $? = 0\n", block.place()));
        }
        script.push_str("export -p > exported\n");
        self.file("script.sh", &script);
        let mut command = Command::new("timeout");
        command
            .arg(LIMIT.as_secs().to_string())
            .args(["bash", "-x", "script.sh"]);
        let path = format!(
            "{}:{}",
            self.dir().join("bin").display(),
            std::env::var("PATH").unwrap()
        );
        command
            .current_dir(self.dir())
            .env("PATH", path)
            .env("REAL_GUNYU", PROGRAM)
            .env("REPOSITORY", root())
            .env("STAGE", self.dir())
            .env("STAGE_LISTEN", self.port.addr().to_string())
            .env("STAGE_OWNER", std::process::id().to_string())
            .env("GUNYU_SERVER", format!("http://{}", self.port.addr()));
        let (out, err) = (self.dir().join("out"), self.dir().join("err"));
        let mut process = Process::start(command, &out, &err);
        let ended = process.wait_end(LIMIT + Duration::from_secs(10));
        assert!(
            ended.success(),
            "{ended}\n{}\n  stdout:\n{}\n  daemons:\n{}",
            last_lines(&err, 40),
            last_lines(&out, 30),
            last_lines(&self.dir().join("daemons"), 40)
        );
        PLAYED.lock().unwrap().extend(blocks.iter().map(Block::place));
    }

    /// What the script printed.
    pub fn printed(&self) -> String {
        fs::read_to_string(self.dir().join("out")).unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let started = fs::read_to_string(self.dir().join("pids")).unwrap_or_default();
        for pid in started.lines() {
            // Each is gunyu as it was started here, or gone.
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if command.starts_with(PROGRAM) {
                let _ = Command::new("kill").args(["-9", pid]).output();
            }
        }
    }
}

const GUNYU: &str = r#"#!/usr/bin/env bash
set -euo pipefail
if [[ ${1-} == status && " $* " == *" --watch "* ]]; then
  timeout --preserve-status --signal INT 2 "$REAL_GUNYU" "$@" && exit
  exec test $? = 130
fi
if [[ ${1-} == doctor ]]; then
  "$REAL_GUNYU" "$@" && exit
  exec test $? = 1
fi
[[ ${1-} == sync ]] || exec "$REAL_GUNYU" "$@"
config='' previous=''
for word in "$@"; do
  [[ $previous == --config ]] && config=$word
  previous=$word
done
in_file() { [[ $config ]] && grep -q "$1" "$config"; }
more=() listen=$STAGE_LISTEN
if in_file 'listen:'; then listen=$(grep -o 'listen: [0-9.:]*' "$config" | cut -d' ' -f2); else more+=("--set=server.listen=$listen"); fi
if ! in_file 'dirPath' && [[ " $* " != *channel.storer.dirPath* ]]; then more+=("--set=channel.storer.dirPath=$STAGE/state"); fi
running=$STAGE/running-${listen//[^0-9]/-}
if [[ -f $running ]] && kill -TERM "$(cat "$running")" 2>/dev/null; then
  while kill -0 "$(cat "$running")" 2>/dev/null && [[ $(cut -d' ' -f3 "/proc/$(cat "$running")/stat") != Z ]]; do command sleep 0.05; done
fi
"$REAL_GUNYU" "$@" "${more[@]}" >> "$STAGE/daemons" 2>&1 &
pid=$!
echo $pid > "$running"
echo $pid >> "$STAGE/pids"
# Should the test be killed, nobody else ends it.
(while kill -0 $pid && { kill -0 "$STAGE_OWNER" || ! kill -9 $pid; }; do command sleep 1; done) > /dev/null 2>&1 < /dev/null &
until curl -fs "http://$listen/debug/health" > /dev/null; do
  kill -0 $pid 2>/dev/null || { wait $pid && exit; exit $?; }
  command sleep 0.05
done
"#;

const SLEEP: &str = r#"#!/usr/bin/env bash
exec "$(PATH=${PATH#*:} command -v sleep)" "$(awk -v t="${1%s}" 'BEGIN { print (t > 0.2 ? 0.2 : t) }')"
"#;

const MAKE: &str = r#"#!/usr/bin/env bash
[[ $* == build ]] && exec grep -q '^build:' "$REPOSITORY/Makefile"
echo "make $*: not to be run by a test" >&2
exit 1
"#;
