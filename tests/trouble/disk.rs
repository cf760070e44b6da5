//! A full disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::assert_equal;
use super::{Goes, LONG, MIB, Pair, full_syncs};

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

    /// It is larger from here on.
    fn grow(&self, size: &str) {
        let mounted = Command::new("mount")
            .args(["-o", &format!("remount,size={size}")])
            .arg(&self.0)
            .status();
        assert!(mounted.unwrap().success());
    }

    /// Fills all but so much of what is left.
    fn fill_but(&self, spare: u64) {
        let filler = self.fill();
        let file = std::fs::File::options().write(true).open(filler).unwrap();
        let filled = file.metadata().unwrap().len();
        file.set_len(filled - spare).unwrap();
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

/// gunyu goes on in the same folder on a small disk of its own; nothing where that is not permitted.
fn onto_small_disk(pair: &mut Pair) -> Option<Tmpfs> {
    pair.gunyu.kill9();
    let disk = Tmpfs::over(&pair.gunyu.state_dir(), "192m")?;
    pair.gunyu.restart();
    pair.gunyu.wait_ready(LONG);
    Some(disk)
}

#[test]
fn a_full_disk_is_told_and_recovered_from_when_there_is_room_again() {
    let mut pair = Pair::start(&[], &["channel.storer.logSize=1MiB"]);
    let Some(disk) = onto_small_disk(&mut pair) else {
        crate::support::skipped("mounting a tmpfs is not permitted here");
        return;
    };
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

/// What has arrived of it is right, and is on the target; its checkpoint, and the rest, come when there is room.
#[test]
fn a_snapshot_that_does_not_fit_is_told_and_asked_for_again_until_there_is_room() {
    let mut pair = Pair::start(&[], &["channel.storer.logSize=1MiB"]);
    // What compresses would be shorter.
    let () = pair.source.run(&["CONFIG", "SET", "rdbcompression", "no"]);
    let script = "for i = 1, 30 do redis.call('SET', 'large:' .. i, string.rep('x', 1048576)) end";
    let () = pair.source.run(&["EVAL", script, "0"]);
    pair.gunyu.wait_applied(&pair.source, LONG);
    let Some(disk) = onto_small_disk(&mut pair) else {
        crate::support::skipped("mounting a tmpfs is not permitted here");
        return;
    };
    let before = full_syncs(&pair.source);
    disk.fill_but(8 * MIB);
    pair.gunyu.must("POST", "/syncer/fullsync?inputs=all");
    pair.wait_told(Goes::Waits, "No space left", "free space on that filesystem");
    pair.counters.wait_more(6_000);
    pair.wait_told(Goes::Waits, "No space left", "free space on that filesystem");
    let asked = full_syncs(&pair.source) - before;
    println!("{asked} snapshots were asked for meanwhile");
    disk.grow("400m");
    pair.gunyu.wait_ready(LONG);
    pair.counters.wait_more(1_000);
    let expected = pair.counters.stop();
    pair.gunyu.wait_applied(&pair.source, LONG);
    expected.assert_on(&pair.target);
    let traces = pair.gunyu.traces();
    assert!(!traces.contains("panicked"), "{traces}");
    assert_eq!(pair.gunyu.term().code(), Some(0), "{traces}");
    assert_equal(&pair.source, &pair.target);
}
