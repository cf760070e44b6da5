//! The replication handshake as a state machine without I/O: bytes in, bytes out.
//!
//! ```text
//! AUTH -> PING -> REPLCONF listening-port -> ip-address -> version -> capa eof psync2 -> rdb-only -> INFO -> (ready) -> PSYNC
//! ```
//!
//! `AUTH` is left out without credentials, `rdb-only` where the stream is wanted too. A refused `REPLCONF` option is no failure: servers
//! before 6.0 do not know them all (`replication.c`, `syncWithMaster`, does the same), and `rdb-only` came with 6.2. `INFO` tells the source's [`History`]; servers before 4.0 have no
//! `master_replid` there, their `run_id` serves, and where `INFO` is not permitted the source decides alone.
//!
//! Leaves the socket to `Follower` and what comes after `PSYNC`'s reply to [`super::transfer`].

use bytes::BytesMut;

use super::info::SourceInfo;
use crate::core::net::Credentials;
use crate::core::position::{Offset, Position, ReplId};
use crate::core::resp;

/// Why a source refuses, told from its reply's first word.
///
/// | reply | kind | what helps |
/// | --- | --- | --- |
/// | `NOAUTH`, `WRONGPASS`, `DENIED`, `ERR invalid password`, `ERR AUTH …`, `ERR operation not permitted` | Credentials | the right password |
/// | `NOPERM` | Permission | an ACL rule |
/// | `LOADING` | Loading | time |
/// | `NOMASTERLINK`, `MASTERDOWN` | NoMaster | its own master's return |
/// | `MISCONF` | CannotSave | nothing: it refuses `PING` then, and no step that is needed |
/// | `BUSY` | Busy | the end of a script |
/// | `ERR max number of clients` | NoRoom | a higher limit |
/// | `ERR unknown command` | UnknownCommand | the command's new name, or another server |
/// | `$…`, to `PSYNC` | TakenForSync | the command's own name |
/// | anything else | Other | – |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No or wrong user or password.
    Credentials,
    /// The user may not run the command.
    Permission,
    /// The source is loading its dataset.
    Loading,
    /// The source is itself a replica and its master is away.
    NoMaster,
    /// The source cannot save to its disk, and takes no writes until it can.
    CannotSave,
    /// A script blocks the source.
    Busy,
    /// The source has no connection left.
    NoRoom,
    /// The source does not know the command.
    UnknownCommand,
    /// The source has taken `PSYNC`, under another name, for `SYNC`: Redis and Valkey tell the two apart by name (`replication.c`, `syncCommand`).
    TakenForSync,
    /// Something else.
    Other,
}

impl Refusal {
    /// Classifies an error reply, given without its leading `-`.
    #[must_use]
    pub fn of(reply: &str) -> Refusal {
        let word = reply.split_ascii_whitespace().next().unwrap_or_default();
        let rest = reply.get(word.len()..).unwrap_or_default().trim_start();
        match word {
            "NOAUTH" | "WRONGPASS" | "DENIED" => Refusal::Credentials,
            word if word.starts_with('$') => Refusal::TakenForSync,
            "NOPERM" => Refusal::Permission,
            "LOADING" => Refusal::Loading,
            "NOMASTERLINK" | "MASTERDOWN" => Refusal::NoMaster,
            "MISCONF" => Refusal::CannotSave,
            "BUSY" => Refusal::Busy,
            "ERR" if rest.starts_with("max number of clients") => Refusal::NoRoom,
            "ERR" if rest.starts_with("unknown command") => Refusal::UnknownCommand,
            "ERR"
                if rest.starts_with("invalid password")
                    || rest.starts_with("AUTH")
                    || rest.starts_with("Client sent AUTH")
                    || rest.starts_with("operation not permitted") =>
            {
                Refusal::Credentials
            }
            _ => Refusal::Other,
        }
    }

    /// Whether only a person can mend it.
    #[must_use]
    pub const fn needs_a_person(self) -> bool {
        matches!(
            self,
            Refusal::Credentials | Refusal::Permission | Refusal::UnknownCommand | Refusal::TakenForSync
        )
    }

    /// The sentence that tells them how.
    #[must_use]
    pub fn hint(self) -> Option<String> {
        let text = match self {
            Refusal::Credentials => {
                "set input.redis.password (and input.redis.userName for an ACL user), or GUNYU_SOURCE_PASSWORD"
            }
            Refusal::Permission => {
                "on the source: ACL SETUSER <user> +ping +info +replconf +psync (replication needs these commands)"
            }
            Refusal::UnknownCommand => {
                "if a service has given PSYNC another name, set input.psyncCommand; one that blocks it cannot be followed, nor can a server of your own \
                 whose rename-command has given it another name: give it PSYNC back"
            }
            Refusal::TakenForSync => {
                "the source takes that command for SYNC, as Redis and Valkey do with whatever is not called PSYNC (rename-command): give it its name back, \
                 and take input.psyncCommand out"
            }
            Refusal::Loading => "wait: the source is loading its dataset",
            Refusal::Busy => "a script blocks the source: SCRIPT KILL there, or wait until it has ended",
            Refusal::NoRoom => {
                "the source has no connection left: CONFIG SET maxclients <more> there, or close some"
            }
            Refusal::NoMaster => "bring the source's own master back, or follow that master directly",
            Refusal::CannotSave => {
                "the source cannot save to its disk: free it, and see in the source's log why BGSAVE fails"
            }
            Refusal::Other => return None,
        };
        Some(text.to_owned())
    }
}

/// What the source answered to `PSYNC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The stream goes on from where we asked, under this id where it has changed.
    Continue(Option<ReplId>),
    /// A snapshot comes, which brings us to this position.
    FullResync(Position),
}

/// How the handshake goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    NeedMore,
    /// Send these.
    Send(BytesMut),
    /// All steps before `PSYNC` are done.
    Ready(SourceInfo),
    /// The source has answered `PSYNC`.
    Answered(Answer),
}

/// A step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The source refused, in these words.
    Refused {
        /// The step.
        step: &'static str,
        /// The reply.
        reply: String,
    },
    /// The reply makes no sense.
    Nonsense(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Auth,
    Ping,
    ListeningPort,
    IpAddress,
    Version,
    Capa,
    RdbOnly,
    Info,
    Psync,
}

impl Step {
    const fn name(self) -> &'static str {
        match self {
            Step::Auth => "AUTH",
            Step::Ping => "PING",
            Step::ListeningPort => "REPLCONF listening-port",
            Step::IpAddress => "REPLCONF ip-address",
            Step::Version => "REPLCONF version",
            Step::Capa => "REPLCONF capa",
            Step::RdbOnly => "REPLCONF rdb-only",
            Step::Info => "INFO",
            Step::Psync => "PSYNC",
        }
    }
}

/// The port that we announce. Sentinels find replicas by what the master lists, would watch whatever answers at our address, and in a failover would
/// make it a replica of the new master, or even the master. Port 0 is to them an address without a server: never called, always down, never promoted.
const ANNOUNCED_PORT: &[u8] = b"0";

/// What we tell the source about ourselves.
#[derive(Debug, Clone, Default)]
pub struct Announcement {
    /// Who we log in as.
    pub credentials: Credentials,
    /// Our address, where known.
    pub ip: Option<String>,
    /// The version we claim.
    pub version: Option<String>,
    /// We leave after the snapshot.
    pub rdb_only: bool,
}

/// Replies longer than this are nonsense: `INFO` stays far below.
const REPLY_MAX_BYTES: usize = 1 << 20;

/// The state machine: [`Handshake::start`], then [`Handshake::advance`] with what has arrived.
#[derive(Debug)]
pub struct Handshake {
    announcement: Announcement,
    step: Step,
}

impl Handshake {
    /// A handshake and the first bytes to send.
    #[must_use]
    pub fn start(announcement: Announcement) -> (Handshake, BytesMut) {
        let step = if announcement.credentials.auth_command().is_some() {
            Step::Auth
        } else {
            Step::Ping
        };
        let handshake = Handshake { announcement, step };
        let request = handshake.request();
        (handshake, request)
    }

    /// The bytes that ask the source to continue after `from`, or for a snapshot.
    #[must_use]
    pub fn psync(&mut self, command: &str, from: Option<Position>) -> BytesMut {
        self.step = Step::Psync;
        let (id, number) = match from {
            Some(position) => (
                position.id.to_string(),
                position.offset.psync_argument().to_string(),
            ),
            None => ("?".to_owned(), "-1".to_owned()),
        };
        encode(&[command.as_bytes(), id.as_bytes(), number.as_bytes()])
    }

    /// Takes one reply from the front of `input` if it is whole, and says what is next.
    ///
    /// # Errors
    /// The source refused a step that is needed, or said nonsense.
    pub fn advance(&mut self, input: &mut BytesMut) -> Result<Progress, Failure> {
        // While a source works on its answer it sends bare newlines to show that it lives.
        while input.first().is_some_and(|b| *b == b'\n' || *b == b'\r') {
            let _ = input.split_to(1);
        }
        let Some(reply) = self.take_reply(input)? else {
            return Ok(Progress::NeedMore);
        };
        if let Some(error) = reply.strip_prefix('-') {
            self.judge_refusal(error)?;
        }
        if self.step == Step::Psync {
            return parse_answer(&reply).map(Progress::Answered);
        }
        if self.step == Step::Info {
            return Ok(Progress::Ready(SourceInfo::parse(&reply)));
        }
        self.step = self.following();
        Ok(Progress::Send(self.request()))
    }

    /// One whole reply as text, or nothing yet. A bulk reply (`INFO`) comes without its header.
    fn take_reply(&self, input: &mut BytesMut) -> Result<Option<String>, Failure> {
        if input.len() > REPLY_MAX_BYTES {
            return Err(Failure::Nonsense(format!(
                "the reply to {} has no end",
                self.step.name()
            )));
        }
        let Some(end) = memchr::memchr(b'\n', input) else {
            return Ok(None);
        };
        let line = String::from_utf8_lossy(&input[..end]).trim_end().to_owned();
        let Some(length) = line.strip_prefix('$').filter(|_| self.step == Step::Info) else {
            let _ = input.split_to(end + 1);
            return Ok(Some(line));
        };
        let length: usize = length
            .parse()
            .map_err(|_| Failure::Nonsense(format!("INFO answered {line:?}")))?;
        if length > REPLY_MAX_BYTES {
            return Err(Failure::Nonsense(format!("INFO announced {length} bytes")));
        }
        let whole = end + 1 + length + 2;
        if input.len() < whole {
            return Ok(None);
        }
        let reply = input.split_to(whole);
        Ok(Some(
            String::from_utf8_lossy(&reply[end + 1..end + 1 + length]).into_owned(),
        ))
    }

    /// Options and `INFO` may be refused; the rest may not.
    fn judge_refusal(&self, reply: &str) -> Result<(), Failure> {
        let refusal = Refusal::of(reply);
        let optional = matches!(
            self.step,
            Step::ListeningPort | Step::IpAddress | Step::Version | Step::Capa | Step::RdbOnly | Step::Info
        );
        if optional && !matches!(refusal, Refusal::Credentials | Refusal::Loading | Refusal::Busy) {
            return Ok(());
        }
        // A replica whose master is away answers PING with MASTERDOWN; PSYNC will tell. A source that cannot save refuses PING as it does a write, and can
        // be followed all the same.
        if self.step == Step::Ping && matches!(refusal, Refusal::NoMaster | Refusal::CannotSave) {
            return Ok(());
        }
        Err(Failure::Refused {
            step: self.step.name(),
            reply: resp::said(reply.as_bytes()),
        })
    }

    fn following(&self) -> Step {
        match self.step {
            Step::Auth => Step::Ping,
            Step::Ping => Step::ListeningPort,
            Step::ListeningPort if self.announcement.ip.is_some() => Step::IpAddress,
            Step::ListeningPort | Step::IpAddress if self.announcement.version.is_some() => Step::Version,
            Step::ListeningPort | Step::IpAddress | Step::Version => Step::Capa,
            Step::Capa if self.announcement.rdb_only => Step::RdbOnly,
            Step::Capa | Step::RdbOnly | Step::Info | Step::Psync => Step::Info,
        }
    }

    fn request(&self) -> BytesMut {
        let told = &self.announcement;
        match self.step {
            Step::Auth => encode(&told.credentials.auth_command().unwrap_or_default()),
            Step::Ping => encode(&[b"PING"]),
            Step::ListeningPort => encode(&[b"REPLCONF", b"listening-port", ANNOUNCED_PORT]),
            Step::IpAddress => encode(&[
                b"REPLCONF",
                b"ip-address",
                told.ip.as_deref().unwrap_or_default().as_bytes(),
            ]),
            Step::Version => encode(&[
                b"REPLCONF",
                b"version",
                told.version.as_deref().unwrap_or_default().as_bytes(),
            ]),
            Step::Capa => encode(&[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"]),
            Step::RdbOnly => encode(&[b"REPLCONF", b"rdb-only", b"1"]),
            Step::Info | Step::Psync => encode(&[b"INFO"]),
        }
    }
}

fn encode(args: &[&[u8]]) -> BytesMut {
    let mut out = BytesMut::new();
    resp::encode_command(&mut out, args);
    out
}

/// `+CONTINUE`, `+CONTINUE <id>` (from 4.0 on) or `+FULLRESYNC <id> <offset>`.
fn parse_answer(line: &str) -> Result<Answer, Failure> {
    let nonsense = || Failure::Nonsense(format!("PSYNC answered {line:?}"));
    let mut words = line.split_ascii_whitespace();
    let verb = words.next().unwrap_or_default();
    let id = words
        .next()
        .map(|w| ReplId::parse(w.as_bytes()).map_err(|_| nonsense()))
        .transpose()?;
    match (verb, id) {
        ("+CONTINUE", id) => Ok(Answer::Continue(id)),
        ("+FULLRESYNC", Some(id)) => {
            let offset = words.next().and_then(Offset::parse).ok_or_else(nonsense)?;
            Ok(Answer::FullResync(Position { id, offset }))
        }
        (sync, None) if sync.starts_with('$') => Err(Failure::Refused {
            step: Step::Psync.name(),
            reply: line.to_owned(),
        }),
        _ => Err(nonsense()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn feed(handshake: &mut Handshake, text: &str) -> Result<Progress, Failure> {
        handshake.advance(&mut BytesMut::from(text))
    }

    fn sent(progress: Result<Progress, Failure>) -> String {
        match progress {
            Ok(Progress::Send(bytes)) => String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n", " "),
            other => panic!("expected something to send, got {other:?}"),
        }
    }

    fn ready() -> Handshake {
        let (mut handshake, _) = Handshake::start(Announcement::default());
        while handshake.step != Step::Info {
            feed(&mut handshake, "+OK\r\n").unwrap();
        }
        handshake
    }

    #[test]
    fn the_steps_come_in_order_with_all_there_is_to_announce() {
        let credentials = Credentials {
            user: "u".into(),
            password: "p".into(),
        };
        let (mut handshake, first) = Handshake::start(Announcement {
            credentials,
            ip: Some("127.0.0.1".into()),
            version: Some("9.0.0".into()),
            rdb_only: true,
        });
        assert_eq!(&first[..], b"*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\np\r\n");
        assert!(sent(feed(&mut handshake, "+OK\r\n")).contains("PING"));
        assert!(sent(feed(&mut handshake, "+PONG\r\n")).contains("listening-port $1 0"));
        assert!(sent(feed(&mut handshake, "+OK\r\n")).contains("ip-address $9 127.0.0.1"));
        assert!(sent(feed(&mut handshake, "+OK\r\n")).contains("version $5 9.0.0"));
        assert!(
            sent(feed(
                &mut handshake,
                "-ERR Unrecognized REPLCONF option: version\r\n"
            ))
            .contains("capa")
        );
        assert!(sent(feed(&mut handshake, "+OK\r\n")).contains("rdb-only $1 1"));
        let unknown = "-ERR Unrecognized REPLCONF option: rdb-only\r\n";
        assert!(sent(feed(&mut handshake, unknown)).contains("INFO"));
    }

    #[test]
    fn info_tells_the_history_whatever_the_cut() {
        let text = format!(
            "run_id:{}\r\nredis_version:7.0.15\r\nmaster_replid:{ID}\r\nmaster_replid2:{}\r\nmaster_repl_offset:77\r\nsecond_repl_offset:51\r\n",
            "e".repeat(40),
            "f".repeat(40)
        );
        let reply = format!("${}\r\n{text}\r\n", text.len());
        for cut in 1..reply.len() {
            let mut handshake = ready();
            let mut input = BytesMut::from(&reply[..cut]);
            assert_eq!(handshake.advance(&mut input), Ok(Progress::NeedMore));
            input.extend_from_slice(&reply.as_bytes()[cut..]);
            let Ok(Progress::Ready(info)) = handshake.advance(&mut input) else {
                panic!("not ready")
            };
            let history = info.history.unwrap();
            assert_eq!(history.id.as_str(), ID);
            assert_eq!(history.previous.unwrap().1, Offset::new(50));
            assert_eq!(
                (info.offset, info.version.as_deref()),
                (Some(Offset::new(77)), Some("7.0.15"))
            );
            assert!(input.is_empty());
        }
    }

    #[test]
    fn the_answer_may_follow_any_number_of_newlines() {
        let mut handshake = ready();
        let position = Position {
            id: ReplId::parse(ID.as_bytes()).unwrap(),
            offset: Offset::new(99),
        };
        let asked = handshake.psync("PSYNC", Some(position));
        assert!(String::from_utf8_lossy(&asked).ends_with("$3\r\n100\r\n"));
        assert_eq!(feed(&mut handshake, "\n\n\n"), Ok(Progress::NeedMore));
        let answer = feed(&mut handshake, &format!("\n+FULLRESYNC {ID} 12\r\n"));
        let at = Position {
            id: position.id,
            offset: Offset::new(12),
        };
        assert_eq!(answer, Ok(Progress::Answered(Answer::FullResync(at))));
        assert_eq!(
            feed(&mut handshake, "+CONTINUE\r\n"),
            Ok(Progress::Answered(Answer::Continue(None)))
        );
        assert_eq!(
            feed(&mut handshake, &format!("+CONTINUE {ID}\r\n")),
            Ok(Progress::Answered(Answer::Continue(Some(position.id))))
        );
        for nonsense in [
            "+WHAT\r\n".to_owned(),
            format!("+FULLRESYNC {ID}\r\n"),
            format!("+FULLRESYNC {ID} -1\r\n"),
            format!("+FULLRESYNC {ID} 9223372036854775808\r\n"),
            format!("+FULLRESYNC {ID} 18446744073709551615\r\n"),
        ] {
            let answer = feed(&mut handshake, &nonsense);
            assert!(matches!(answer, Err(Failure::Nonsense(_))), "{nonsense}");
        }
    }

    #[test]
    fn refusals_are_told_apart_by_their_first_word() {
        let table = [
            ("NOAUTH Authentication required.", Refusal::Credentials),
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                Refusal::Credentials,
            ),
            ("ERR invalid password", Refusal::Credentials),
            ("ERR operation not permitted", Refusal::Credentials),
            (
                "ERR AUTH <password> called without any password configured",
                Refusal::Credentials,
            ),
            (
                "NOPERM this user has no permissions to run the 'psync' command",
                Refusal::Permission,
            ),
            ("LOADING Redis is loading the dataset in memory", Refusal::Loading),
            (
                "NOMASTERLINK Can't SYNC while not connected with my master",
                Refusal::NoMaster,
            ),
            ("MASTERDOWN Link with MASTER is down", Refusal::NoMaster),
            (
                "MISCONF Redis is configured to save RDB snapshots",
                Refusal::CannotSave,
            ),
            ("BUSY Redis is busy running a script.", Refusal::Busy),
            ("ERR max number of clients reached", Refusal::NoRoom),
            (
                "$EOF:0f0b45fe6276240d66e28414b311bfdb842c03b9",
                Refusal::TakenForSync,
            ),
            ("$175", Refusal::TakenForSync),
            ("DENIED Redis is running in protected mode", Refusal::Credentials),
            (
                "ERR unknown command `PSYNC`, with args beginning with:",
                Refusal::UnknownCommand,
            ),
            ("ERR anything", Refusal::Other),
        ];
        for (reply, kind) in table {
            assert_eq!(Refusal::of(reply), kind, "{reply}");
        }
    }

    #[test]
    fn a_wrong_password_stops_the_handshake_and_a_missing_info_permission_does_not() {
        let (mut handshake, _) = Handshake::start(Announcement::default());
        let refused = feed(&mut handshake, "-NOAUTH Authentication required.\r\n");
        assert!(matches!(refused, Err(Failure::Refused { step: "PING", .. })));
        // What passes by itself is no missing permission: without its INFO the source's history would not be known.
        let busy = feed(&mut ready(), "-BUSY Redis is busy running a script.\r\n");
        assert!(matches!(busy, Err(Failure::Refused { step: "INFO", .. })));
        let (mut handshake, _) = Handshake::start(Announcement::default());
        let cannot_save = feed(
            &mut handshake,
            "-MISCONF Redis is configured to save RDB snapshots\r\n",
        );
        assert!(sent(cannot_save).contains("listening-port"));
        let denied = feed(&mut ready(), "-NOPERM no info for you\r\n");
        assert_eq!(denied, Ok(Progress::Ready(SourceInfo::default())));
    }
}
