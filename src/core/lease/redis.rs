//! The group's store in a Redis: one hash, and one script that changes it in single steps.
//!
//! The key is `/redis-gunyu/{group}`, with the group's name in place of `{group}`. Numbers are decimal, times in milliseconds since 1970 by the server's clock.
//!
//! | field | value | live |
//! | --- | --- | --- |
//! | `registry/{member}` | `{until} {session} {record}`: when the session ends, its token, the record as JSON | until then |
//! | `leases/{input}` | `{epoch} {session} {holder}`: the holder's session and name | while the holder is a live member by that session |
//! | `epochs/{input}` | `{epoch}` | always |
//! | `notes/{key}` | the text | always |
//!
//! One key, so that it wholly is on one node while its slot is moved, and no key with a TTL, which a server that is short of memory would evict first. Fields of
//! the dead are removed when somebody begins or ends. The token is random; who knows it is the session. Where the server's clock is set forward, sessions end early: their
//! holders do not know, and it is the target's fence that keeps two of them apart.
//!
//! Needs a Redis 2.8 or newer, or what speaks like one. What a Redis acknowledges it may forget: see [`super`].

pub mod fields;
mod link;

use std::time::{Duration, Instant};

use super::{Error, Record, View};
use crate::core::position::Epoch;
use crate::core::resp::Value;
use crate::core::target::Shape;
use crate::core::topology::Place;
use link::Link;

const SCRIPT: &[u8] = include_bytes!("redis/lease.lua");

/// Which Redis.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it is: fixed, or as sentinels have it; of a cluster, any node.
    pub place: Place,
    /// What it is.
    pub shape: Shape,
}

/// Our session in a Redis.
#[derive(Debug)]
pub(super) struct Redis {
    link: Link,
    key: Vec<u8>,
    timeout: Duration,
    /// Our id and our token, from the first attempt to begin until it is known that the session is gone.
    session: Option<(String, String)>,
    /// The server is so old that its scripts must be told the time.
    is_without_clock: bool,
}

/// The script's answer.
enum Said {
    Done(Vec<Value>),
    No,
    Lost,
    Taken(String),
}

impl Redis {
    pub(super) fn new(group: &str, timeout: Duration, limit: Duration, settings: Settings) -> Redis {
        let key = format!("/redis-gunyu/{}", super::escaped(group)).into_bytes();
        Redis {
            link: Link::new(settings, limit, key.clone()),
            key,
            timeout,
            session: None,
            is_without_clock: false,
        }
    }

    pub(super) async fn begin(&mut self, record: &Record) -> Result<Instant, Error> {
        if self.session.as_ref().is_none_or(|(id, _)| *id != record.id) {
            let token = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
            self.session = Some((record.id.clone(), token));
        }
        self.register("begin", record).await
    }

    pub(super) async fn renew(&mut self, record: &Record) -> Result<Instant, Error> {
        self.register("renew", record).await
    }

    async fn register(&mut self, how: &str, record: &Record) -> Result<Instant, Error> {
        let sent = Instant::now();
        let timeout = self.timeout.as_millis().to_string();
        let text = serde_json::to_string(record).expect("texts and numbers can be written as JSON");
        match self.as_member(how, &[&timeout, &text]).await? {
            Said::Taken(by) => Err(Error::NameTaken {
                by: Box::new(self.read_record(&record.id, &by)?),
                id: record.id.clone(),
            }),
            _ => Ok(sent + self.timeout),
        }
    }

    pub(super) async fn end(&mut self) -> Result<(), Error> {
        if self.session.is_some() {
            self.as_member("end", &[]).await?;
            self.session = None;
        }
        Ok(())
    }

    pub(super) async fn campaign(&mut self, input: &str) -> Result<Option<Epoch>, Error> {
        let said = self.as_member("campaign", &[input]).await?;
        self.epoch(input, &said)
    }

    pub(super) async fn transfer(
        &mut self,
        input: &str,
        epoch: Epoch,
        to: &str,
    ) -> Result<Option<Epoch>, Error> {
        if self.session.is_none() {
            return Ok(None);
        }
        let said = self
            .as_member("transfer", &[input, &epoch.to_string(), to])
            .await?;
        self.epoch(input, &said)
    }

    pub(super) async fn resign(&mut self, input: &str, epoch: Epoch) -> Result<(), Error> {
        if self.session.is_some() {
            self.as_member("resign", &[input, &epoch.to_string()]).await?;
        }
        Ok(())
    }

    pub(super) async fn raise(
        &mut self,
        input: &str,
        epoch: Epoch,
        above: Epoch,
    ) -> Result<Option<Epoch>, Error> {
        if self.session.is_none() {
            return Ok(None);
        }
        let args = [input, &epoch.to_string(), &above.to_string()];
        let said = self.as_member("raise", &args).await?;
        self.epoch(input, &said)
    }

    pub(super) async fn put_note(&mut self, key: &str, text: &str) -> Result<(), Error> {
        self.run("put_note", &[key, text]).await.map(drop)
    }

    pub(super) async fn create_note(&mut self, key: &str, text: &str) -> Result<bool, Error> {
        let said = self.run("create_note", &[key, text]).await?;
        Ok(matches!(said, Said::Done(_)))
    }

    pub(super) async fn remove_note(&mut self, key: &str) -> Result<(), Error> {
        self.run("remove_note", &[key]).await.map(drop)
    }

    pub(super) async fn view(&mut self) -> Result<View, Error> {
        let Said::Done(values) = self.run("view", &[]).await? else {
            return Err(odd());
        };
        let [now, fields] = &values[..] else {
            return Err(odd());
        };
        let now = text(now)
            .and_then(|text| text.parse::<u64>().ok())
            .ok_or_else(odd)?;
        let fields = fields.array().ok_or_else(odd)?;
        let texts = fields
            .chunks_exact(2)
            .filter_map(|pair| Some((text(&pair[0])?, text(&pair[1])?)));
        fields::view(now, texts).map_err(|damaged| self.damaged(&damaged.key, &damaged.reason))
    }

    /// Runs what only a member may ask.
    async fn as_member(&mut self, op: &str, args: &[&str]) -> Result<Said, Error> {
        if self.session.is_none() {
            return Err(Error::SessionLost);
        }
        let said = self.run(op, args).await?;
        if let Said::Lost = said {
            self.session = None;
            return Err(Error::SessionLost);
        }
        Ok(said)
    }

    async fn run(&mut self, op: &str, args: &[&str]) -> Result<Said, Error> {
        loop {
            let now = self.now().await?;
            let (id, token) = self.session.clone().unwrap_or_default();
            let mut command: Vec<&[u8]> = vec![b"EVAL", SCRIPT, b"1", &self.key];
            let own = [op, &now, &id, &token].map(str::as_bytes);
            command.extend(own.into_iter().chain(args.iter().map(|arg| arg.as_bytes())));
            let answer = self.link.call(&command).await?;
            let words = answer.array().ok_or_else(odd)?;
            let (word, rest) = words.split_first().ok_or_else(odd)?;
            return match text(word).as_deref() {
                Some("clock") if !self.is_without_clock => {
                    self.is_without_clock = true;
                    continue;
                }
                Some("done") => Ok(Said::Done(rest.to_vec())),
                Some("no") => Ok(Said::No),
                Some("lost") => Ok(Said::Lost),
                Some("taken") => Ok(Said::Taken(rest.first().and_then(text).ok_or_else(odd)?)),
                _ => Err(odd()),
            };
        }
    }

    /// What the script is told of the time. That it is a little older when it arrives shortens a session of ours, and lengthens nobody's.
    async fn now(&mut self) -> Result<String, Error> {
        if !self.is_without_clock {
            return Ok(String::new());
        }
        let time = self.link.call(&[b"TIME"]).await?;
        let part = |at: usize| text(time.array()?.get(at)?)?.parse::<u64>().ok();
        let ms = part(0).zip(part(1)).map(|(s, us)| s * 1000 + us / 1000);
        Ok(ms.ok_or_else(odd)?.to_string())
    }

    fn epoch(&self, input: &str, said: &Said) -> Result<Option<Epoch>, Error> {
        let Said::Done(values) = said else { return Ok(None) };
        let epoch = values.first().and_then(text).and_then(|text| Epoch::parse(&text));
        let damaged = || self.damaged(&format!("leases/{input}"), "no epoch");
        epoch.map(Some).ok_or_else(damaged)
    }

    fn read_record(&self, id: &str, record: &str) -> Result<Record, Error> {
        let damaged = |error: serde_json::Error| self.damaged(&format!("registry/{id}"), &error.to_string());
        serde_json::from_str(record).map_err(damaged)
    }

    fn damaged(&self, field: &str, reason: &str) -> Error {
        Error::Damaged {
            key: format!("{} {field}", String::from_utf8_lossy(&self.key)),
            reason: reason.to_owned(),
        }
    }
}

fn odd() -> Error {
    Error::Odd("its answer to gunyu's script makes no sense".to_owned())
}

fn text(value: &Value) -> Option<String> {
    Some(String::from_utf8_lossy(value.text()?).into_owned())
}
