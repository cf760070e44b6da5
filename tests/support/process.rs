//! A child process that cannot outlive the test.
//!
//! Dropping it kills it by pid. Should the test itself be killed, the kernel does it (`PR_SET_PDEATHSIG`). That signal is
//! sent when the *thread* that started the child ends, so one thread, which lives as long as the process, starts all of them.

#![allow(unsafe_code)] // system calls that nothing else makes

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use super::{SOON, wait_for};

type Order = (Command, mpsc::Sender<io::Result<Child>>);

static STARTER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    std::thread::spawn(move || {
        for (mut command, answer) in inbox {
            // Nobody waits any more when the test has panicked meanwhile; the child then dies with the answer.
            if let Err(mpsc::SendError(Ok(mut child))) = answer.send(command.spawn()) {
                drop(child.kill().and_then(|()| child.wait()));
            }
        }
    });
    orders
});

/// A running (or ended) child.
#[derive(Debug)]
pub struct Process {
    child: Child,
    what: String,
}

impl Process {
    /// Starts `command`, with what it prints appended to the two files.
    pub fn start(mut command: Command, stdout: &Path, stderr: &Path) -> Process {
        let what = format!("{command:?}");
        command
            .stdin(Stdio::null())
            .stdout(append(stdout))
            .stderr(append(stderr));
        die_with_us(&mut command);
        let (answer, started) = mpsc::channel();
        STARTER
            .send((command, answer))
            .expect("the starting thread never ends");
        let child = started.recv().expect("every order is answered");
        Process {
            child: child.unwrap_or_else(|e| panic!("cannot start {what}: {e}")),
            what,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Sends a signal, unless it has ended already.
    pub fn signal(&mut self, signal: i32) {
        if self.ended().is_none() {
            // SAFETY: plain system call; the pid is ours because the child has not been waited for.
            unsafe { libc::kill(self.pid(), signal) };
        }
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} ends", self.what);
        wait_for(limit, &what, || {
            self.ended().ok_or_else(|| "still running".to_owned())
        })
    }

    /// Kills it as a crash would.
    pub fn kill9(&mut self) {
        self.signal(libc::SIGKILL);
        let status = self.wait_end(SOON);
        debug_assert!(status.signal().is_some() || status.code().is_some());
    }

    /// Resident memory, in bytes.
    pub fn rss_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// Resident memory that is no file's, in bytes.
    pub fn own_bytes(&self) -> u64 {
        self.memory("RssAnon:")
    }

    /// The most resident memory that it ever had, in bytes.
    pub fn rss_bytes_max(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }

    /// Time spent on processors so far, by all its threads.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // The name in parentheses may hold spaces: fields are counted from behind it, utime is the 12th.
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // SAFETY: plain system call.
        let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

fn append(path: &Path) -> File {
    File::options().create(true).append(true).open(path).unwrap()
}

#[cfg(target_os = "linux")]
pub(super) fn die_with_us(command: &mut Command) {
    let parent = i32::try_from(std::process::id()).unwrap();
    // SAFETY: between fork and exec only system calls that are safe there.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if libc::getppid() != parent {
                libc::_exit(1); // the test died between fork and prctl
            }
            Ok(())
        });
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn die_with_us(_: &mut Command) {}

/// What a file holds from byte `from` on, as text.
pub fn text_from(path: &Path, from: u64) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        file.seek(SeekFrom::Start(from)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last lines of a file, indented, for the message of a failure.
pub fn last_lines(path: &Path, count: usize) -> String {
    let text = text_from(path, 0);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    lines[from..].iter().map(|line| format!("    {line}\n")).collect()
}
