//! The group's store in an etcd: a key for each thing, changed by transactions.
//!
//! All keys begin with `/redis-gunyu/{group}/`, with the group's name in place of `{group}`. The session is a lease of etcd's, and its token the lease's id.
//!
//! | key | value | etcd's lease |
//! | --- | --- | --- |
//! | `registry/{member}` | the record as JSON | the member's session |
//! | `leases/{input}` | `{"holder": …, "session": …, "epoch": …}` | the holder's session |
//! | `epochs/{input}` | the last epoch, decimal | none |
//! | `notes/{key}` | the text | none |
//!
//! A key with a lease goes when the lease ends, so what is there is live. Which session a key belongs to is what etcd says; `session` in the value is for people, in
//! etcdctl's notation. A change is decided on what was read, and made in a transaction that compares the revisions of all that was read: where it fails,
//! it is read and decided anew, so that a question whose answer was lost meets its own traces.
//!
//! etcd is spoken to over its JSON gateway, which needs no generated code ([`gateway`]).

pub mod answer;
mod gateway;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Damaged, Error, Record, View};
use crate::core::net::{Credentials, Endpoint};
use crate::core::position::Epoch;
use answer::{Kv, encoded, number, read_record};
use gateway::Gateway;

/// A change that others have overtaken so often is given up for now.
const TRIES: usize = 5;

/// As of gRPC: a lease is not there (any more).
const NOT_FOUND: i64 = 5;

/// Which etcd.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its members; one that does not answer is followed by the next.
    pub endpoints: Vec<Endpoint>,
    /// As whom, where it has users.
    pub user: Option<Credentials>,
}

/// Our session in an etcd.
#[derive(Debug)]
pub(super) struct Etcd {
    gateway: Gateway,
    /// What all keys begin with.
    prefix: String,
    timeout: Duration,
    /// Our id and the lease's, from the first attempt to begin until it is known that the session is gone.
    session: Option<(String, i64)>,
    /// The record could not be written when the session was last renewed.
    is_untold: bool,
}

/// What is known of an input, read at one moment.
struct Seen {
    lease: Option<Kv>,
    counter: Option<Kv>,
    /// The registration of whom the question is about.
    member: Option<Kv>,
}

impl Seen {
    /// The epoch after all that were given, and after `above`.
    fn next(&self, above: Epoch) -> Epoch {
        let given = [&self.lease, &self.counter].map(|kv| kv.as_ref().map_or(Epoch::NONE, Kv::epoch));
        given[0].max(given[1]).max(above).next()
    }

    fn epoch(&self) -> Epoch {
        self.lease.as_ref().map_or(Epoch::NONE, Kv::epoch)
    }

    fn is_held_by(&self, session: i64) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.session == session)
    }
}

impl Etcd {
    pub(super) fn new(group: &str, timeout: Duration, limit: Duration, settings: Settings) -> Etcd {
        Etcd {
            gateway: Gateway::new(settings, limit),
            prefix: format!("/redis-gunyu/{}/", super::escaped(group)),
            timeout,
            session: None,
            is_untold: false,
        }
    }

    pub(super) async fn begin(&mut self, record: &Record) -> Result<Instant, Error> {
        let sent = Instant::now();
        let session = match &self.session {
            Some((id, session)) if *id == record.id => *session,
            _ => fastrand::i64(1..),
        };
        self.session = Some((record.id.clone(), session));
        // Where it was granted already and the answer lost, it goes on; where it has ended since, nothing of it is left.
        if !self.keep_alive(session).await? {
            self.grant(session).await?;
        }
        let key = self.key("registry", &record.id);
        for _ in 0..TRIES {
            let known = self.gateway.range(&key).await?;
            if let Some(known) = known.as_ref().filter(|known| known.session != session) {
                return Err(Error::NameTaken {
                    id: record.id.clone(),
                    by: Box::new(read_record(known)?),
                });
            }
            let unchanged = [unchanged(&key, known.as_ref())];
            if self
                .commit(&unchanged, &[put(&key, &written(record), session)])
                .await?
            {
                return Ok(sent + self.timeout);
            }
        }
        Err(Error::Contended {
            input: record.id.clone(),
        })
    }

    async fn grant(&mut self, session: i64) -> Result<(), Error> {
        // etcd counts in seconds; ours must never last longer than its.
        let seconds = self.timeout.as_millis().div_ceil(1000);
        let body = json!({"ID": session.to_string(), "TTL": seconds.to_string()});
        match self.gateway.call("/v3/lease/grant", &body).await {
            // By a question whose answer was lost.
            Err(Error::Etcd { message, .. }) if message.contains("lease already exists") => Ok(()),
            other => other.map(drop),
        }
    }

    /// Whether the lease was there.
    async fn keep_alive(&mut self, session: i64) -> Result<bool, Error> {
        let body = json!({"ID": session.to_string()});
        let answer = self.gateway.call("/v3/lease/keepalive", &body).await?;
        Ok(number(&answer["result"]["TTL"]).is_some_and(|ttl| ttl > 0))
    }

    pub(super) async fn renew(&mut self, record: &Record) -> Result<Instant, Error> {
        let (id, session) = self.session.clone().ok_or(Error::SessionLost)?;
        let sent = Instant::now();
        if !self.keep_alive(session).await? {
            return Err(self.lost());
        }
        let told = self.tell(&id, session, record).await;
        match told {
            Ok(true) => self.is_untold = false,
            Ok(false) => return Err(self.lost()),
            // The session is renewed all the same. An etcd that is full takes no records, and keeps leases.
            Err(error) => {
                if !std::mem::replace(&mut self.is_untold, true) {
                    tracing::warn!(
                        hint = error.hint(),
                        "the session is renewed, but not its record: {error}"
                    );
                }
            }
        }
        Ok(sent + self.timeout)
    }

    /// Writes the record; false where the name is another's.
    async fn tell(&mut self, id: &str, session: i64, record: &Record) -> Result<bool, Error> {
        let key = self.key("registry", id);
        let puts = [put(&key, &written(record), session)];
        let ours = json!({"key": encoded(&key), "target": "LEASE", "lease": session.to_string()});
        if self.commit(&[ours], &puts).await? {
            return Ok(true);
        }
        // Somebody removed it, and nobody has come by that name.
        self.commit(&[unchanged(&key, None)], &puts).await
    }

    /// The session is gone, so far as we are concerned.
    fn lost(&mut self) -> Error {
        self.session = None;
        Error::SessionLost
    }

    pub(super) async fn end(&mut self) -> Result<(), Error> {
        let Some((_, session)) = self.session else {
            return Ok(());
        };
        let body = json!({"ID": session.to_string()});
        match self.gateway.call("/v3/lease/revoke", &body).await {
            Ok(_) | Err(Error::Etcd { code: NOT_FOUND, .. }) => {}
            Err(error) => return Err(error),
        }
        self.session = None;
        Ok(())
    }

    pub(super) async fn view(&mut self) -> Result<View, Error> {
        Ok(answer::view(
            &self.gateway.range_below(&self.prefix).await?,
            &self.prefix,
        )?)
    }

    pub(super) async fn campaign(&mut self, input: &str) -> Result<Option<Epoch>, Error> {
        let (id, session) = self.session.clone().ok_or(Error::SessionLost)?;
        for _ in 0..TRIES {
            let seen = self.look(input, &id).await?;
            if seen
                .member
                .as_ref()
                .is_none_or(|member| member.session != session)
            {
                return Err(self.lost());
            }
            match &seen.lease {
                Some(lease) if lease.session == session => return Ok(Some(lease.epoch())),
                Some(_) => return Ok(None),
                None => {}
            }
            let granted = self.give(input, &seen, Epoch::NONE, (&id, session)).await?;
            if granted.is_some() {
                return Ok(granted);
            }
        }
        Err(contended(input))
    }

    pub(super) async fn transfer(
        &mut self,
        input: &str,
        epoch: Epoch,
        to: &str,
    ) -> Result<Option<Epoch>, Error> {
        let Some((_, session)) = self.session else {
            return Ok(None);
        };
        for _ in 0..TRIES {
            let seen = self.look(input, to).await?;
            let Some(heir) = seen.member.as_ref().map(|member| member.session) else {
                return Ok(None);
            };
            // It was done already, and the answer lost.
            if seen.is_held_by(heir) && seen.epoch() == epoch.next() {
                return Ok(Some(seen.epoch()));
            }
            if !seen.is_held_by(session) || seen.epoch() != epoch {
                return Ok(None);
            }
            let given = self.give(input, &seen, epoch, (to, heir)).await?;
            if given.is_some() {
                return Ok(given);
            }
        }
        Err(contended(input))
    }

    pub(super) async fn resign(&mut self, input: &str, epoch: Epoch) -> Result<(), Error> {
        let Some((id, session)) = self.session.clone() else {
            return Ok(());
        };
        let seen = self.look(input, &id).await?;
        if !seen.is_held_by(session) || seen.epoch() != epoch {
            return Ok(());
        }
        let key = self.key("leases", input);
        let remove = json!({"request_delete_range": {"key": encoded(&key)}});
        // Where it has changed since, it is not ours any more.
        self.commit(&[unchanged(&key, seen.lease.as_ref())], &[remove])
            .await?;
        Ok(())
    }

    pub(super) async fn raise(
        &mut self,
        input: &str,
        epoch: Epoch,
        above: Epoch,
    ) -> Result<Option<Epoch>, Error> {
        let Some((id, session)) = self.session.clone() else {
            return Ok(None);
        };
        for _ in 0..TRIES {
            let seen = self.look(input, &id).await?;
            if !seen.is_held_by(session) {
                return Ok(None);
            }
            // It was done already, and the answer lost.
            if seen.epoch() > above {
                return Ok(Some(seen.epoch()));
            }
            if seen.epoch() != epoch {
                return Ok(None);
            }
            let raised = self.give(input, &seen, above, (&id, session)).await?;
            if raised.is_some() {
                return Ok(raised);
            }
        }
        Err(contended(input))
    }

    pub(super) async fn put_note(&mut self, key: &str, text: &str) -> Result<(), Error> {
        let key = self.key("notes", key);
        self.commit(&[], &[put(&key, text, 0)]).await.map(drop)
    }

    pub(super) async fn create_note(&mut self, key: &str, text: &str) -> Result<bool, Error> {
        let key = self.key("notes", key);
        self.commit(&[unchanged(&key, None)], &[put(&key, text, 0)]).await
    }

    pub(super) async fn remove_note(&mut self, key: &str) -> Result<(), Error> {
        let key = self.key("notes", key);
        let remove = json!({"request_delete_range": {"key": encoded(&key)}});
        self.commit(&[], &[remove]).await.map(drop)
    }

    fn key(&self, kind: &str, name: &str) -> String {
        format!("{}{kind}/{name}", self.prefix)
    }

    async fn look(&mut self, input: &str, member: &str) -> Result<Seen, Error> {
        let keys = [
            self.key("leases", input),
            self.key("epochs", input),
            self.key("registry", member),
        ];
        let [lease, counter, member] = self.gateway.ranges(&keys).await?;
        for (key, kv) in keys.iter().zip([&lease, &counter]) {
            if kv.as_ref().is_some_and(|kv| kv.epoch() == Epoch::NONE) {
                return Err(Damaged::new(key, "no epoch").into());
            }
        }
        Ok(Seen {
            lease,
            counter,
            member,
        })
    }

    /// Gives the lease to a member with a new epoch, unless something has changed since it was looked at.
    async fn give(
        &mut self,
        input: &str,
        seen: &Seen,
        above: Epoch,
        (to, session): (&str, i64),
    ) -> Result<Option<Epoch>, Error> {
        let epoch = seen.next(above);
        let (lease, counter, member) = (
            self.key("leases", input),
            self.key("epochs", input),
            self.key("registry", to),
        );
        let is_member = json!({"key": encoded(&member), "target": "LEASE", "lease": session.to_string()});
        let compare = [
            unchanged(&lease, seen.lease.as_ref()),
            unchanged(&counter, seen.counter.as_ref()),
            is_member,
        ];
        let value = json!({"holder": to, "session": format!("{session:x}"), "epoch": epoch.get()});
        let puts = [
            put(&lease, &value.to_string(), session),
            put(&counter, &epoch.to_string(), 0),
        ];
        Ok(self.commit(&compare, &puts).await?.then_some(epoch))
    }

    /// Whether all comparisons held, so that all was done.
    async fn commit(&mut self, compare: &[Value], success: &[Value]) -> Result<bool, Error> {
        let body = json!({"compare": compare, "success": success});
        let answer = match self.gateway.call("/v3/kv/txn", &body).await {
            Err(Error::Etcd { code: NOT_FOUND, .. }) => return Ok(false), // a session ended meanwhile
            other => other?,
        };
        Ok(answer["succeeded"] == json!(true))
    }
}

fn contended(input: &str) -> Error {
    Error::Contended {
        input: input.to_owned(),
    }
}

fn written(record: &Record) -> String {
    serde_json::to_string(record).expect("texts and numbers can be written as JSON")
}

fn put(key: &str, value: &str, session: i64) -> Value {
    let put = json!({"key": encoded(key), "value": encoded(value), "lease": session.to_string()});
    json!({"request_put": put})
}

/// The comparison that holds as long as nobody has written the key.
fn unchanged(key: &str, seen: Option<&Kv>) -> Value {
    let revision = seen.map_or(0, |kv| kv.revision);
    json!({"key": encoded(key), "target": "MOD", "mod_revision": revision.to_string()})
}
