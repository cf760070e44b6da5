//! A full disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{LONG, Pair, full_syncs};

/// A small filesystem in memory over a folder; needs the right to mount.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn over(dir: &Path, size: &str) -> Option<Tmpfs> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs"])
            .arg(dir)
            .output();
        let done = mounted.is_ok_and(|output| output.status.success());
        done.then(|| Tmpfs(dir.to_owned()))
    }

    /// Fills what is left.
    fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let mut file = std::fs::File::create(&filler).unwrap();
        let block = vec![0; 64 << 10];
        // Ends with an error: that is the point.
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        filler
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).output());
    }
}

#[test]
fn a_full_disk_is_told_and_recovered_from_when_there_is_room_again() {
    let mut pair = Pair::start(&[], &["channel.storer.logSize=1MiB"]);
    pair.gunyu.kill9();
    let Some(disk) = Tmpfs::over(&pair.gunyu.state_dir(), "192m") else {
        println!("skipped: mounting a tmpfs is not permitted here");
        return;
    };
    pair.gunyu.restart();
    pair.gunyu.wait_ready(LONG);
    pair.counters.wait_more(1_000);
    let filler = disk.fill();
    pair.wait_trouble("No space left", "space");
    pair.counters.wait_more(2_000);
    std::fs::remove_file(filler).unwrap();
    pair.counters.wait_more(1_000);
    let expected = pair.counters.stop();
    pair.gunyu.wait_applied(&pair.source, LONG);
    expected.assert_on(&pair.target);
    assert_eq!(full_syncs(&pair.source), 1, "{}", pair.gunyu.traces());
    pair.gunyu.kill9();
}
