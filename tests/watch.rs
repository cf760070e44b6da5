//! `gunyu status --watch` on a real terminal: a pseudo-terminal of the test's own, whose screen the test keeps.
//!
//! The screen is a model of the few commands that the view uses. It fails on any other, and where a line would wrap or
//! the window would scroll.

#![allow(unsafe_code)] // system calls that nothing else makes
#![allow(clippy::unwrap_used, clippy::panic)] // a helper that fails fails its test

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use support::gunyu::PROGRAM;
use support::port::Port;
use support::{Gunyu, SOON, Server, wait_for, wait_until};

/// What a terminal shows, and what happened to it.
#[derive(Debug)]
struct Screen {
    width: usize,
    rows: Vec<Vec<char>>,
    at: (usize, usize),
    /// Escape sequences not yet whole, or bytes of a character.
    rest: Vec<u8>,
    is_alternate: bool,
    has_cursor: bool,
    /// How often it was drawn to the end.
    drawn: usize,
    colours: usize,
    faults: Vec<String>,
}

impl Screen {
    fn new(width: usize, height: usize) -> Screen {
        Screen {
            width,
            rows: vec![Vec::new(); height],
            at: (0, 0),
            rest: Vec::new(),
            is_alternate: false,
            has_cursor: true,
            drawn: 0,
            colours: 0,
            faults: Vec::new(),
        }
    }

    fn resize(&mut self, width: usize, height: usize) {
        self.width = width;
        self.rows = vec![Vec::new(); height];
        self.at.0 = self.at.0.min(height - 1);
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.rest);
        let valid = match std::str::from_utf8(&bytes) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let text = std::str::from_utf8(&bytes[..valid]).unwrap();
        let mut left = text;
        while let Some(c) = left.chars().next() {
            if c != '\x1b' {
                self.put(c);
                left = &left[c.len_utf8()..];
                continue;
            }
            let Some(end) = left[1..].find(|c: char| c.is_ascii_alphabetic()) else {
                break;
            };
            self.command(&left[1..end + 2]);
            left = &left[end + 2..];
        }
        self.rest = left.as_bytes().to_vec();
        self.rest.extend_from_slice(&bytes[valid..]);
    }

    fn put(&mut self, c: char) {
        let (row, column) = self.at;
        match c {
            '\r' => self.at.1 = 0,
            '\n' if row + 1 < self.rows.len() => self.at.0 += 1,
            '\n' if self.is_alternate => self.faults.push("the window scrolls".to_owned()),
            '\n' => {}
            c if c.is_control() => {}
            _ if column >= self.width => self.faults.push(format!("row {row} is too wide at {c:?}")),
            c => {
                let line = &mut self.rows[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                self.at.1 += 1;
            }
        }
    }

    fn command(&mut self, command: &str) {
        let (row, column) = self.at;
        match command {
            "[H" => self.at = (0, 0),
            "[K" => self.rows[row].truncate(column),
            "[J" => {
                self.rows[row].truncate(column);
                self.rows[row + 1..].iter_mut().for_each(Vec::clear);
                self.drawn += 1;
            }
            "[2J" => self.rows.iter_mut().for_each(Vec::clear),
            "[?1049h" => self.is_alternate = true,
            "[?1049l" => self.is_alternate = false,
            "[?25h" => self.has_cursor = true,
            "[?25l" => self.has_cursor = false,
            colour if colour.ends_with('m') => self.colours += 1,
            other => self.faults.push(format!("an unknown command {other:?}")),
        }
    }

    fn lines(&self) -> Vec<String> {
        let lines = self.rows.iter().map(|row| row.iter().collect::<String>());
        let mut lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
        lines.truncate(
            lines
                .iter()
                .rposition(|line| !line.is_empty())
                .map_or(0, |last| last + 1),
        );
        lines
    }

    fn text(&self) -> String {
        self.lines().join("\n")
    }
}

/// The program on a terminal.
struct Watched {
    child: Child,
    terminal: File,
    screen: Arc<Mutex<Screen>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

fn winsize(width: u16, height: u16) -> libc::winsize {
    libc::winsize {
        ws_row: height,
        ws_col: width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// Our end of a new terminal, and the program's: no child that another test starts at this moment holds either.
fn open_terminal(width: u16, height: u16) -> (File, OwnedFd) {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    let (size, mut name) = (winsize(width, height), [0; 64]);
    // SAFETY: the name fits and ends with a zero, the size is read; both descriptors are ours alone afterwards.
    unsafe {
        let ours = libc::posix_openpt(flags);
        assert!(ours >= 0, "{}", std::io::Error::last_os_error());
        let made = [
            libc::grantpt(ours),
            libc::unlockpt(ours),
            libc::ptsname_r(ours, name.as_mut_ptr(), name.len()),
            libc::ioctl(ours, libc::TIOCSWINSZ, &raw const size),
        ];
        assert_eq!(made, [0; 4], "{}", std::io::Error::last_os_error());
        let theirs = libc::open(name.as_ptr(), flags);
        assert!(theirs >= 0, "{}", std::io::Error::last_os_error());
        (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs))
    }
}

impl Watched {
    fn start(args: &[&str], env: &[(&str, &str)], width: u16, height: u16) -> Watched {
        let (terminal, theirs) = open_terminal(width, height);
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            .envs(env.iter().copied());
        command.stdin(Stdio::from(theirs.try_clone().unwrap()));
        command.stdout(Stdio::from(theirs.try_clone().unwrap()));
        command.stderr(Stdio::from(theirs));
        // SAFETY: between fork and exec only system calls that are safe there.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        drop(command); // holds the program's end open
        let screen = Arc::new(Mutex::new(Screen::new(usize::from(width), usize::from(height))));
        let (mut from, shown) = (terminal.try_clone().unwrap(), screen.clone());
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // An error is the end too: the program's end is closed.
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                shown.lock().unwrap().feed(&bytes[..count]);
            }
        });
        Watched {
            child,
            terminal,
            screen,
            reader: Some(reader),
        }
    }

    /// Waits until the screen shows what is wanted, after at least one more redraw.
    #[track_caller]
    fn wait(&self, what: &str, holds: impl Fn(&[String]) -> bool) -> Vec<String> {
        let drawn = self.screen.lock().unwrap().drawn;
        wait_for(SOON, what, || {
            let screen = self.screen.lock().unwrap();
            match screen.drawn > drawn && holds(&screen.lines()) {
                true => Ok(screen.lines()),
                false => Err(screen.text()),
            }
        })
    }

    fn resize(&self, width: u16, height: u16) {
        self.screen
            .lock()
            .unwrap()
            .resize(usize::from(width), usize::from(height));
        let size = winsize(width, height);
        // SAFETY: TIOCSWINSZ reads the size.
        let result = unsafe { libc::ioctl(self.terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(result, 0);
    }

    /// Ctrl-C, as a person types it.
    fn interrupt(&mut self) -> ExitStatus {
        self.terminal.write_all(b"\x03").unwrap();
        self.wait_end()
    }

    fn wait_end(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_until(SOON, "the view ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        self.reader.take().unwrap().join().unwrap();
        ended.unwrap()
    }

    #[track_caller]
    fn assert_drawn_well(&self) {
        let screen = self.screen.lock().unwrap();
        assert!(
            screen.faults.is_empty(),
            "{:#?}\n{}",
            screen.faults,
            screen.text()
        );
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

fn watch(gunyu: &Gunyu, width: u16, height: u16) -> Watched {
    let server = format!("--server=http://{}", gunyu.http());
    Watched::start(&["status", "--watch", &server], &[], width, height)
}

#[test]
fn one_input_is_redrawn_in_place_and_the_terminal_is_given_back_at_ctrl_c() {
    let (source, target) = (Server::start(), Server::start());
    let gunyu = Gunyu::between(&source, &target);
    let mut watched = watch(&gunyu, 80, 24);
    let lines = watched.wait("it is live", |lines| {
        lines
            .first()
            .is_some_and(|line| line.starts_with("1 input: live · lag "))
    });
    assert!(
        lines[1].starts_with("INPUT") && lines[2].contains(&source.addr()),
        "{lines:#?}"
    );
    watched.wait("it is drawn again", |lines| lines.len() == 3);
    {
        let screen = watched.screen.lock().unwrap();
        assert!(screen.is_alternate && !screen.has_cursor && screen.colours > 0);
    }
    assert_eq!(watched.interrupt().code(), Some(130));
    watched.assert_drawn_well();
    let screen = watched.screen.lock().unwrap();
    assert!(!screen.is_alternate && screen.has_cursor, "{screen:#?}");
    assert!(!screen.text().contains("error"), "{}", screen.text());
}

#[test]
fn a_daemon_that_goes_away_is_waited_for() {
    let (source, target) = (Server::start(), Server::start());
    let mut gunyu = Gunyu::between(&source, &target);
    let mut watched = watch(&gunyu, 80, 24);
    watched.wait("it is live", |lines| {
        lines.first().is_some_and(|line| line.contains("live"))
    });
    gunyu.kill9();
    let at = format!("no daemon answers at http://{}", gunyu.http());
    let lines = watched.wait("it says that nobody answers", |lines| {
        lines.join(" ").contains(&at)
    });
    let words: Vec<String> = lines.iter().map(|line| line.trim().to_owned()).collect();
    assert!(words.join(" ").contains(", since "), "{lines:#?}");
    assert!(!lines.join(" ").contains("INPUT"), "{lines:#?}");
    gunyu.restart();
    watched.wait("it is live again", |lines| {
        lines.first().is_some_and(|line| line.contains("live"))
    });
    watched.assert_drawn_well();
    assert_eq!(watched.interrupt().code(), Some(130));
}

#[test]
fn a_daemon_that_has_never_answered_is_a_failure() {
    let nobody = Port::free();
    let server = format!("--server=http://{}", nobody.addr());
    let mut watched = Watched::start(&["status", "--watch", &server], &[], 80, 24);
    assert_eq!(watched.wait_end().code(), Some(3));
    let screen = watched.screen.lock().unwrap();
    assert!(
        screen.text().contains("no daemon answers") && !screen.is_alternate,
        "{}",
        screen.text()
    );
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let (source, target) = (Server::start(), Server::start());
    let gunyu = Gunyu::between(&source, &target);
    let server = format!("--server=http://{}", gunyu.http());
    let mut watched = Watched::start(&["status", &server], &[("NO_COLOR", "1")], 80, 24);
    assert_eq!(watched.wait_end().code(), Some(0));
    let screen = watched.screen.lock().unwrap();
    assert!(screen.text().contains("1 input: live"), "{}", screen.text());
    assert_eq!((screen.colours, screen.is_alternate), (0, false));
}

#[test]
fn many_inputs_fit_the_window_and_those_in_trouble_stand_first() {
    const PAIRS: usize = 10;
    let start = || (0..PAIRS).map(|_| Server::start()).collect::<Vec<Server>>();
    let (sources, mut targets) = (start(), start());
    let list = |servers: &[Server]| format!("{:?}", servers.iter().map(Server::addr).collect::<Vec<_>>());
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gunyu.yaml");
    let text = format!(
        "input: {{redis: {{addresses: {}}}}}\noutput: {{redis: {{addresses: {}}}}}\n",
        list(&sources),
        list(&targets)
    );
    std::fs::write(&config, text).unwrap();
    let mut gunyu = Gunyu::with_args(vec!["sync".into(), format!("--config={}", config.display())], &[]);
    gunyu.wait_ready(SOON);
    let mut watched = watch(&gunyu, 80, 24);
    watched.wait("all are live", |lines| {
        lines.len() == PAIRS + 2 && lines[0].starts_with("10 inputs: 10 live · worst lag ")
    });
    targets[7].kill9();
    let lines = watched.wait("the one in trouble stands first", |lines| {
        lines.len() > 3 && lines[0].contains("9 live, 1 ") && lines[3].contains("error: ")
    });
    assert!(lines[2].contains(&targets[7].addr()), "{lines:#?}");
    watched.assert_drawn_well();
    watched.resize(60, 8);
    let is_summed_up = |lines: &[String]| {
        let last = lines.last().map_or("", String::as_str);
        last.starts_with("… and ") && last.contains(", all live, lag at most ")
    };
    watched.wait("the rest is summed up", is_summed_up);
    // What was drawn for the window as it was before does not count.
    watched.screen.lock().unwrap().faults.clear();
    let lines = watched.wait("it is drawn again", is_summed_up);
    assert!(lines.len() <= 8, "{lines:#?}");
    watched.assert_drawn_well();
    assert_eq!(watched.interrupt().code(), Some(130));
}
