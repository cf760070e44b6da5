//! That of several processes which believe to lead an input, the one with the newest epoch alone writes to the target.
//!
//! Here is only what the claims share; they are in the files beside this one. An older process is played by its session, which is the very code that runs in it:
//! so it can be stopped between any two of its steps.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    missing_docs,
    clippy::large_enum_variant,
    reason = "a helper that fails fails its test"
)]

#[path = "../support/mod.rs"]
mod support;

mod growing;
mod lanes;
mod stream;
mod taking;

use std::time::Duration;

use bytes::BytesMut;
use gunyu::core::net::{Address, Credentials, Endpoint};
use gunyu::core::position::{Epoch, Offset, Position, ReplId};
use gunyu::core::resp;
use gunyu::core::target::batch::Batch;
use gunyu::core::target::checkpoint::{self, Checkpoint, Record};
use gunyu::core::target::cluster::known::Known;
use gunyu::core::target::session::{Claim, Session};
use gunyu::core::target::{Error, Settings, Shape};

use support::{Cluster, SOON, Server};

/// The deployment.
pub const NAME: &str = "one";

/// A user who may do everything but end other connections.
pub const MAY_NOT_KILL: &[&str] = &[
    "--user",
    "gunyu",
    "on",
    ">pw",
    "~*",
    "&*",
    "+@all",
    "-client|kill",
];

/// A target of either shape.
pub enum Target {
    One(Server),
    Cluster(Cluster),
}

impl Target {
    /// One of each.
    pub fn both() -> [Target; 2] {
        [Target::One(Server::start()), Target::Cluster(Cluster::start(3))]
    }

    pub fn nodes(&self) -> &[Server] {
        match self {
            Target::One(server) => std::slice::from_ref(server),
            Target::Cluster(cluster) => &cluster.masters,
        }
    }

    pub fn settings(&self) -> Settings {
        self.settings_of(NAME)
    }

    pub fn settings_of(&self, name: &str) -> Settings {
        Settings {
            endpoint: Endpoint {
                address: address(&self.nodes()[0]),
                credentials: Credentials::default(),
                tls: None,
            },
            shape: match self {
                Target::One(_) => Shape::One,
                Target::Cluster(_) => Shape::Cluster {
                    seeds: Vec::new(),
                    known: Known::default(),
                },
            },
            name: name.to_owned(),
            reply_limit: Duration::from_secs(5),
        }
    }

    /// Asks whichever node serves the key.
    #[track_caller]
    pub fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let mut said = Vec::new();
        for node in self.nodes() {
            match redis::cmd(command[0]).arg(&command[1..]).query(&mut node.conn()) {
                Ok(answer) => return answer,
                Err(error) => said.push(error.to_string()),
            }
        }
        panic!("{command:?}: {said:?}");
    }

    /// What stands in the session's key: token and value.
    pub fn session(&self) -> Vec<String> {
        self.ask(&["HGETALL", &text(&checkpoint::session_key(NAME))])
    }

    /// The epoch of the checkpoint, if there is one.
    pub fn recorded_epoch(&self) -> Option<String> {
        self.ask(&["HGET", &text(&checkpoint::key(NAME)), "epoch"])
    }

    pub fn has(&self, key: &str) -> bool {
        self.ask(&["EXISTS", key])
    }
}

fn address(server: &Server) -> Address {
    Address {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
    }
}

pub fn text(key: &[u8]) -> String {
    String::from_utf8(key.to_vec()).unwrap()
}

/// Takes the session `token` with this epoch.
pub async fn take(settings: &Settings, token: &str, epoch: u64) -> Result<Session, Error> {
    let claim = Claim {
        epoch: Epoch::new(epoch),
        ours: &[],
    };
    Session::take(settings, None, token.to_owned(), claim).await
}

/// A position, as a stream begins there.
pub fn beginning() -> Checkpoint {
    Checkpoint {
        position: Position {
            id: ReplId::parse(&[b'a'; 40]).unwrap(),
            offset: Offset::new(100),
        },
        db: 0,
    }
}

/// What a full sync leaves.
pub fn record(before: &Record) -> Record {
    Record {
        checkpoint: Some(beginning()),
        lineage: 1,
        ..before.clone()
    }
}

/// A batch of these commands, which begins at the offset and ends one byte further with each.
pub fn batch(from: u64, commands: &[&[&str]]) -> Batch {
    let mut batch = Batch::new(Offset::new(from), 0, 0);
    for (nth, words) in commands.iter().enumerate() {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let mut out = BytesMut::new();
        resp::encode_command(&mut out, &words);
        batch.push(out.freeze(), 1);
        batch.advance(Offset::new(from + nth as u64 + 1));
        batch.note_end(Offset::new(from + nth as u64 + 1));
    }
    batch
}

/// A key in each of the shares of three masters.
pub const KEYS: [&str; 3] = ["{b}", "{c}", "{a}"];

/// Waits for it; a test that hangs fails.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what)
        .await
        .expect("it comes about soon")
}

/// Whether it says that another has taken over, or that the connection was ended.
#[track_caller]
pub fn assert_over<T>(done: Result<T, Error>) {
    let Err(error) = done else {
        panic!("an older session has done something");
    };
    assert!(
        matches!(error, Error::Superseded { .. } | Error::Net(_)),
        "{error}"
    );
}

#[track_caller]
pub fn assert_superseded<T>(done: Result<T, Error>) {
    let Err(error) = done else {
        panic!("an older session has done something");
    };
    assert!(matches!(error, Error::Superseded { .. }), "{error}");
}
