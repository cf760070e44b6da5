//! What the servers of a target have executed, as they tell it themselves (MONITOR): who wrote, in which session, and under
//! which epoch.
//!
//! A connection that carries data bears the name `gunyu:{deployment}:{session}`, and what it is for. On each server the writes of a deployment's
//! sessions are blocks that never mix: once a newer session has written, an older one has ended. The epochs that are written beside a checkpoint
//! only grow, and under one epoch one member alone writes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::gate::Gate;
use crate::support::server::Server;
use crate::support::wait_until;

/// Begins all keys of checkpoints.
const CHECKPOINT: &str = "redis-gunyu-checkpoint:";

/// Watches the servers of one target. Dropping it ends that.
#[derive(Debug)]
pub struct Ledger {
    books: Vec<Arc<Mutex<Book>>>,
    lines: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

/// What one server has told.
#[derive(Debug, Default)]
pub struct Book {
    /// The names of its connections that are named, by the client's address.
    names: HashMap<String, Session>,
    /// Of each deployment: the session that writes now, and those that have written before.
    writing: BTreeMap<String, Writing>,
    /// The epochs written beside each checkpoint, as often as one changed.
    epochs: BTreeMap<String, Vec<u64>>,
    /// Which member wrote checkpoints of a deployment under an epoch.
    members: BTreeMap<(String, u64), BTreeSet<Option<usize>>>,
    /// How often a member wrote, and when last: Unix time in milliseconds, by the server's own clock.
    writes: HashMap<Option<usize>, (u64, u64)>,
    /// What must not be.
    faults: Vec<String>,
    /// The last numbered sign of the test that it has told.
    sign: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Session {
    deployment: String,
    token: String,
}

#[derive(Debug, Default)]
struct Writing {
    now: String,
    before: BTreeSet<String>,
}

impl Ledger {
    /// Watches these servers; members are told by the gates before them.
    pub fn of(servers: &[&Server], gates: &[Gate]) -> Ledger {
        let mut ledger = Ledger {
            books: Vec::new(),
            lines: Vec::new(),
            threads: Vec::new(),
        };
        let fellows = servers.iter().map(|server| server.addr());
        let fellows: BTreeSet<String> = fellows
            .chain(gates.iter().map(|gate| gate.addr().to_string()))
            .collect();
        for (server, gate) in servers.iter().zip(gates) {
            let mut line = TcpStream::connect(server.addr()).unwrap();
            line.write_all(b"*1\r\n$7\r\nMONITOR\r\n").unwrap();
            let writes: Vec<String> = server.run(&["COMMAND", "LIST", "FILTERBY", "ACLCAT", "write"]);
            let reader = Reader {
                fellows: fellows.clone(),
                writes: writes.into_iter().map(|name| name.to_lowercase()).collect(),
                who: gate.known(),
            };
            let book = Arc::new(Mutex::new(Book::default()));
            let (input, shared) = (BufReader::new(line.try_clone().unwrap()), Arc::clone(&book));
            ledger
                .threads
                .push(std::thread::spawn(move || reader.read(input, &shared)));
            ledger.lines.push(line);
            ledger.books.push(book);
        }
        ledger.catch_up(servers);
        ledger
    }

    /// Waits until everything that these servers have executed so far is written down.
    #[track_caller]
    pub fn catch_up(&self, servers: &[&Server]) {
        for (server, book) in servers.iter().zip(&self.books) {
            let sign = fastrand::u64(1..);
            wait_until(Duration::from_secs(60), "the server has told all it did", || {
                // Asked again: the first may come before the server has begun to tell.
                let () = server.run(&["ECHO", &format!("{SIGN}{sign}")]);
                lock(book).sign == sign
            });
        }
    }

    /// How many writes this member's connections have made, and when the last one was carried out, in Unix milliseconds.
    pub fn writes_of(&self, member: usize) -> (u64, Option<u64>) {
        self.sum(|who| *who == Some(member))
    }

    /// The same of all members.
    pub fn writes(&self) -> (u64, Option<u64>) {
        self.sum(Option::is_some)
    }

    fn sum(&self, wanted: impl Fn(&Option<usize>) -> bool) -> (u64, Option<u64>) {
        let (mut count, mut last) = (0, None);
        for book in &self.books {
            for (_, (number, at)) in lock(book).writes.iter().filter(|(who, _)| wanted(who)) {
                count += number;
                last = last.max(Some(*at));
            }
        }
        (count, last)
    }

    /// The epochs that were written beside each checkpoint, in their order.
    pub fn epochs(&self) -> BTreeMap<String, Vec<u64>> {
        let mut all = BTreeMap::<String, Vec<u64>>::new();
        for book in &self.books {
            for (deployment, epochs) in &lock(book).epochs {
                all.entry(deployment.clone()).or_default().extend(epochs);
            }
        }
        all
    }

    /// What must not be: epochs that fell, sessions that mixed, two members under one epoch.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (number, book) in self.books.iter().enumerate() {
            let book = lock(book);
            faults.extend(
                book.faults
                    .iter()
                    .map(|fault| format!("server {number}: {fault}")),
            );
            let several = book.members.iter().filter(|(_, members)| members.len() > 1);
            faults.extend(several.map(|((deployment, epoch), members)| {
                format!(
                    "server {number}: {deployment}: members {members:?} have both written under epoch {epoch}"
                )
            }));
        }
        faults
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        for line in &self.lines {
            drop(line.shutdown(Shutdown::Both));
        }
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

const SIGN: &str = "sign-of-the-test-";

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who comes from a port.
pub(super) type Who = Box<dyn Fn(u16) -> Option<usize> + Send>;

struct Reader {
    /// Names of commands that write.
    writes: BTreeSet<String>,
    /// A replica tells what it has from its master as well; the master has told it already.
    fellows: BTreeSet<String>,
    who: Who,
}

impl Reader {
    fn read(&self, input: BufReader<TcpStream>, book: &Mutex<Book>) {
        for line in input.split(b'\n') {
            let Ok(line) = line else { return };
            if let Some(told) = parse(&line)
                && !self.fellows.contains(&told.client)
            {
                let port = told.client.rsplit(':').next();
                let who = port
                    .and_then(|port| port.parse().ok())
                    .and_then(|port| (self.who)(port));
                lock(book).note(&told, who, |name| self.writes.contains(name));
            }
        }
    }
}

impl Book {
    fn note(&mut self, told: &Told, who: Option<usize>, writes: impl Fn(&str) -> bool) {
        let words: Vec<&str> = told.words.iter().map(String::as_str).collect();
        let client = &told.client;
        let name = words[0].to_lowercase();
        match (name.as_str(), &words[1..]) {
            ("client", [what, name, ..]) if what.eq_ignore_ascii_case("setname") => match session(name) {
                Some(session) => drop(self.names.insert(client.to_owned(), session)),
                None => drop(self.names.remove(client)),
            },
            ("echo", [text]) => {
                if let Some(number) = text.strip_prefix(SIGN).and_then(|number| number.parse().ok()) {
                    self.sign = number;
                }
            }
            ("hset", [key, rest @ ..]) if key.starts_with(CHECKPOINT) => {
                self.wrote(told, who);
                self.checkpoint(key, rest, who);
            }
            (name, _) if writes(name) => self.wrote(told, who),
            _ => {}
        }
    }

    fn wrote(&mut self, told: &Told, who: Option<usize>) {
        let entry = self.writes.entry(who).or_default();
        *entry = (entry.0 + 1, entry.1.max(told.at_ms));
        let Some(session) = self.names.get(&told.client) else {
            return;
        };
        let writing = self.writing.entry(session.deployment.clone()).or_default();
        if writing.now == session.token {
            return;
        }
        if writing.before.contains(&session.token) {
            self.faults.push(format!(
                "{}: session {} of member {who:?} wrote after session {} had",
                session.deployment, session.token, writing.now
            ));
        }
        let last = std::mem::replace(&mut writing.now, session.token.clone());
        writing.before.insert(last);
    }

    /// `HSET redis-gunyu-checkpoint:{name} … epoch N …`, or `…:session token N`.
    fn checkpoint(&mut self, key: &str, fields: &[&str], who: Option<usize>) {
        let deployment = key[CHECKPOINT.len()..].split('}').next().unwrap_or_default();
        let deployment = deployment.trim_start_matches('{').to_owned();
        let epoch = match key.ends_with(":session") {
            true => fields.get(1),
            false => fields
                .chunks_exact(2)
                .find(|pair| pair[0] == "epoch")
                .map(|pair| &pair[1]),
        };
        let Some(epoch) = epoch.and_then(|text| text.parse::<u64>().ok()) else {
            return;
        };
        let epochs = self.epochs.entry(deployment.clone()).or_default();
        let last = epochs.last().copied();
        if last.is_some_and(|last| epoch < last) {
            self.faults.push(format!(
                "{deployment}: epoch {epoch} of member {who:?} was written after {last:?}"
            ));
        }
        if last != Some(epoch) {
            epochs.push(epoch);
        }
        self.members.entry((deployment, epoch)).or_default().insert(who);
    }
}

/// `gunyu:{deployment}:{session}` or `gunyu:{deployment}:{session}:{what for}`.
fn session(name: &str) -> Option<Session> {
    let mut parts = name.strip_prefix("gunyu:")?.split(':').map(str::to_owned);
    Some(Session {
        deployment: parts.next()?,
        token: parts.next()?,
    })
}

/// A command that a server has carried out: when, by its own clock, for whom, and the words.
struct Told {
    at_ms: u64,
    client: String,
    words: Vec<String>,
}

/// `+1700000000.123456 [0 127.0.0.1:5000] "HSET" "key" "field"`
fn parse(line: &[u8]) -> Option<Told> {
    let text = String::from_utf8_lossy(line);
    let (at, rest) = text.split_once(" [")?;
    let (seconds, micros) = at.trim_start_matches('+').split_once('.')?;
    let at_ms = seconds.parse::<u64>().ok()? * 1_000 + micros.parse::<u64>().ok()? / 1_000;
    let (place, rest) = rest.split_once("] ")?;
    let client = place.split_once(' ')?.1.to_owned();
    let words = words(rest);
    (!words.is_empty()).then_some(Told { at_ms, client, words })
}

/// The most words that are looked at: a checkpoint has fewer.
const WORDS_MAX: usize = 64;

/// Texts in quotes, in which a backslash hides what follows.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut hidden) = (Vec::new(), None::<String>, false);
    for letter in text.chars() {
        match (&mut word, letter) {
            (Some(word), letter) if hidden => {
                word.push(letter);
                hidden = false;
            }
            (Some(_), '\\') => hidden = true,
            (Some(_), '"') => words.extend(word.take()),
            (Some(word), letter) => word.push(letter),
            (None, '"') => word = Some(String::new()),
            (None, _) => {}
        }
        if words.len() == WORDS_MAX {
            break;
        }
    }
    words
}
