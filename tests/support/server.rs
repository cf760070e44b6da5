//! A Redis-compatible server as a child process: its own port, its own temporary folder.
//!
//! A server counts as started when its *own* log says so, so another server on the same port is never taken for it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use super::port::Port;
use super::process::{Process, last_lines, text_from};
use super::secured::Secured;
use super::{SOON, wait_for};

/// A server program and what it says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// Where it is.
    pub path: PathBuf,
    /// Its version; forks count on from the version they forked from.
    pub version: (u32, u32, u32),
    /// `redis`, `valkey`, `redict`.
    pub product: String,
}

impl Binary {
    /// The `redis-server` on the PATH.
    pub fn installed() -> Binary {
        Binary::at(Path::new("redis-server"))
    }

    /// The one at `path`, asked for its version (once a process).
    pub fn at(path: &Path) -> Binary {
        static ASKED: LazyLock<Mutex<HashMap<PathBuf, Binary>>> = LazyLock::new(Mutex::default);
        let mut asked = ASKED.lock().unwrap();
        asked
            .entry(path.to_owned())
            .or_insert_with(|| Binary::ask(path))
            .clone()
    }

    fn ask(path: &Path) -> Binary {
        let output = Command::new(path).arg("--version").output();
        let output = output
            .unwrap_or_else(|e| panic!("{} does not run: {e} (`make test` installs it)", path.display()));
        let said = String::from_utf8_lossy(&output.stdout).to_lowercase();
        let digits = said.split(" v=").nth(1).and_then(|rest| rest.split(' ').next());
        let mut numbers = digits
            .unwrap_or_else(|| panic!("no version in {said:?}"))
            .split('.')
            .map(|n| n.parse().unwrap_or(0));
        let mut number = || numbers.next().unwrap_or(0);
        Binary {
            path: path.to_owned(),
            version: (number(), number(), number()),
            product: said.split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

/// A server that belongs to one test.
#[derive(Debug)]
pub struct Server {
    /// First, so that it has ended when its port and folder are given up: fields are dropped in order.
    process: Option<Process>,
    binary: Binary,
    options: Vec<String>,
    /// It speaks TLS alone.
    secured: Option<Secured>,
    port: Port,
    dir: TempDir,
}

impl Server {
    /// An empty server of the installed version.
    pub fn start() -> Server {
        Server::with(&[])
    }

    /// The same with options as on its command line: `&["--requirepass", "secret"]`.
    pub fn with(options: &[&str]) -> Server {
        Server::of(&Binary::installed(), options)
    }

    /// A server of a given program.
    pub fn of(binary: &Binary, options: &[&str]) -> Server {
        Server::reached(binary, options, None)
    }

    /// The same; where it is secured, it speaks TLS alone.
    pub fn reached(binary: &Binary, options: &[&str], secured: Option<&Secured>) -> Server {
        for _ in 0..10 {
            let mut server = Server {
                binary: binary.clone(),
                options: options.iter().map(ToString::to_string).collect(),
                secured: secured.cloned(),
                port: Port::free(),
                dir: tempfile::tempdir().unwrap(),
                process: None,
            };
            match server.launch() {
                Ok(()) => return server,
                Err(log) if log.contains("already in use") => {}
                Err(log) => panic!("{} did not start:\n{log}", binary.path.display()),
            }
        }
        panic!("ten ports in a row were taken between looking and binding");
    }

    fn launch(&mut self) -> Result<(), String> {
        let log = self.log_path();
        let from = std::fs::metadata(&log).map_or(0, |meta| meta.len());
        let mut process = Process::start(self.command(), &log, &log);
        let ready = wait_for(SOON, "the server is ready", || {
            let ended = process.ended();
            let said = text_from(&log, from);
            match (said.contains("eady to accept connections"), ended) {
                (true, None) => Ok(true),
                (_, Some(_)) => Ok(false),
                (false, None) => Err(said),
            }
        });
        self.process = Some(process);
        ready.then_some(()).ok_or_else(|| last_lines(&log, 30))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary.path);
        command.current_dir(self.dir.path());
        match &self.secured {
            None => command.args(["--port", &self.port.number().to_string()]),
            Some(secured) => command.args(secured.options(self.port.number())),
        };
        command.args(["--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        if self.binary.version >= (3, 0, 0) {
            command.args(["--repl-diskless-sync-delay", "0"]); // else the first byte of a snapshot takes 5 s
        }
        if self.binary.version >= (7, 0, 0) {
            command.args(["--enable-debug-command", "yes"]);
        }
        command.args(&self.options);
        command
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the server was started")
    }

    /// The program it runs.
    pub fn binary(&self) -> &Binary {
        &self.binary
    }

    /// `127.0.0.1:port`.
    pub fn addr(&self) -> String {
        self.port.addr().to_string()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// `redis://127.0.0.1:port`, with the password of `--requirepass`, if any; `rediss://` without a password where it speaks TLS alone.
    pub fn url(&self) -> String {
        if self.secured.is_some() {
            return format!("rediss://{}", self.addr());
        }
        let password = self
            .options
            .iter()
            .position(|o| o == "--requirepass")
            .map(|at| &self.options[at + 1]);
        let login = password.map(|word| format!(":{word}@")).unwrap_or_default();
        format!("redis://{login}{}", self.addr())
    }

    /// By which the test itself speaks to it.
    fn way(&self) -> String {
        match &self.secured {
            None => self.url(),
            Some(secured) => secured.way(&self.addr()),
        }
    }

    /// Its folder, where `dump.rdb` appears.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has printed, over all its lives.
    pub fn log(&self) -> String {
        text_from(&self.log_path(), 0)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    /// Process id, memory and processor time.
    pub fn stats(&self) -> &Process {
        self.process.as_ref().expect("the server was started")
    }

    /// A new connection, with time limits.
    pub fn conn(&self) -> redis::Connection {
        connect(&self.way())
            .unwrap_or_else(|e| panic!("{}: {e}\n{}", self.url(), last_lines(&self.log_path(), 20)))
    }

    /// Runs one command and gives its reply.
    pub fn run<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let mut cmd = redis::cmd(command[0]);
        cmd.arg(&command[1..]);
        cmd.query(&mut self.conn())
            .unwrap_or_else(|e| panic!("{command:?} on {}: {e}", self.addr()))
    }

    /// One section of INFO, by field. Asked again where the connection breaks: a sentinel that demotes a master cuts
    /// off all its clients.
    pub fn info(&self, section: &str) -> HashMap<String, String> {
        wait_for(SOON, "INFO is answered", || {
            self.try_info(section).map_err(|error| error.to_string())
        })
    }

    /// The same, asked once.
    ///
    /// # Errors
    /// The connection broke.
    pub fn try_info(&self, section: &str) -> redis::RedisResult<HashMap<String, String>> {
        let asked = redis::cmd("INFO")
            .arg(section)
            .query::<String>(&mut connect(&self.way())?);
        Ok(fields(&asked?))
    }

    /// Databases that hold keys: number of keys, and of those with a TTL.
    pub fn keyspace(&self) -> BTreeMap<u32, (u64, u64)> {
        let databases = self.info("keyspace").into_iter().filter_map(|(name, value)| {
            let number = name.strip_prefix("db")?.parse().ok()?;
            let field = |name: &str| {
                value
                    .split(',')
                    .find_map(|f| f.strip_prefix(name)?.parse::<u64>().ok())
            };
            Some((number, (field("keys=")?, field("expires=")?)))
        });
        databases.collect()
    }

    /// Keys in all databases.
    pub fn keys(&self) -> u64 {
        self.keyspace().values().map(|(keys, _)| keys).sum()
    }

    /// The names, in upper case, of the commands it knows.
    pub fn commands(&self) -> HashSet<String> {
        let table: Vec<Vec<redis::Value>> = self.run(&["COMMAND"]);
        let names = table
            .iter()
            .map(|row| redis::from_redis_value_ref::<String>(&row[0]).unwrap());
        names.map(|name| name.to_uppercase()).collect()
    }

    /// `DEBUG DIGEST`: one hash over all databases. It says nothing about times of expiry, groups of streams and functions.
    pub fn digest(&self) -> String {
        self.run(&["DEBUG", "DIGEST"])
    }

    /// `master_repl_offset`: how many bytes of replication stream it has written (or, a replica, received).
    pub fn offset(&self) -> u64 {
        self.info("replication")["master_repl_offset"].parse().unwrap()
    }

    /// Makes it a replica of `source`.
    pub fn follow(&self, source: &Server) {
        let () = self.run(&["SLAVEOF", "127.0.0.1", &source.port().to_string()]);
    }

    /// Waits until this native replica has everything that `source` has written.
    #[track_caller]
    pub fn wait_caught_up(&self, source: &Server, limit: Duration) {
        wait_for(limit, "the replica has caught up", || {
            let here = self.info("replication");
            let up = here
                .get("master_link_status")
                .is_some_and(|status| status == "up");
            let offset = here
                .get("slave_repl_offset")
                .and_then(|text| text.parse::<u64>().ok());
            match up && offset == Some(source.offset()) {
                true => Ok(()),
                false => Err(format!("link up: {up}, offset {offset:?} of {}", source.offset())),
            }
        });
    }

    /// Saves, and gives the bytes of the `.rdb`; the file itself goes away, so that a restart begins empty.
    pub fn snapshot(&self) -> Vec<u8> {
        let () = self.run(&["SAVE"]);
        let file = self.dir.path().join("dump.rdb");
        let bytes = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        bytes
    }

    /// Kills it as a crash would. Its memory is lost.
    pub fn kill9(&mut self) {
        self.process().kill9();
    }

    /// Asks it to end (SIGTERM), and waits.
    pub fn term(&mut self) -> ExitStatus {
        self.process().signal(libc::SIGTERM);
        self.process().wait_end(SOON)
    }

    /// Freezes it: its sockets stay open and answer nothing.
    pub fn sigstop(&mut self) {
        self.process().signal(libc::SIGSTOP);
    }

    /// Lets it go on.
    pub fn sigcont(&mut self) {
        self.process().signal(libc::SIGCONT);
    }

    /// Starts it again (killing it first where it still runs), same port and folder: with the `dump.rdb` that lies
    /// there, else empty.
    pub fn restart(&mut self) {
        self.process().kill9();
        self.launch()
            .unwrap_or_else(|log| panic!("{} did not start again:\n{log}", self.addr()));
    }

    /// Starts it again from this snapshot.
    pub fn restart_from(&mut self, rdb: &[u8]) {
        self.process().kill9();
        let file = self.dir.path().join("dump.rdb");
        std::fs::write(&file, rdb).unwrap();
        self.restart();
        std::fs::remove_file(&file).unwrap();
    }
}

/// The fields of an INFO.
fn fields(text: &str) -> HashMap<String, String> {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// Connects with time limits that suit a test: a digest of a million keys takes seconds.
pub fn connect(url: &str) -> redis::RedisResult<redis::Connection> {
    let conn = redis::Client::open(url)?.get_connection_with_timeout(Duration::from_secs(5))?;
    conn.set_read_timeout(Some(Duration::from_secs(120)))?;
    conn.set_write_timeout(Some(Duration::from_secs(120)))?;
    Ok(conn)
}
