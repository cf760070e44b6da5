//! Who runs a pipeline: the leases of a group of gunyu processes, in [`etcd`] or in a Redis ([`redis`]).
//!
//! Each process has one *session* in the store, which it renews, and which ends where it is not renewed for `lease_timeout`. With a session it is a *member*. A
//! member may hold leases, each for one input; they are bound to its session and vacant when that is gone.
//!
//! | below the group | holds | goes with |
//! | --- | --- | --- |
//! | `registry/{member}` | the member's [`Record`] | its session |
//! | `leases/{input}` | who holds the lease of the input, and its epoch | the holder's session |
//! | `epochs/{input}` | the last epoch that was given for the input | nothing: it is never deleted |
//! | `notes/{key}` | a text of the group's | nothing |
//!
//! Promises, as long as the store keeps what it has acknowledged: that no two members hold one lease at a time by the store's clock; that each tenure of a
//! lease has an epoch of its own, greater than all before it; that a change is made whole or not at all, and only by the holder with the epoch
//! that he names; that what is asked once more, since its answer was lost, does no harm. Where the store forgets (a Redis that was restarted
//! empty, or failed over to a replica that had not heard everything), epochs may repeat: whoever writes to the target finds that out there, and
//! [`raises`](Store::raise) the epoch.
//!
//! Where the group has a token, a record is only believed with the proof that its writer knows it ([`Seal`]): a member without one is none, and who holds a lease
//! without one is a [stranger](View::strangers). To write to the store alone makes nobody a member, whom the others would send the token.
//!
//! By our own clock a session is valid until `lease_timeout` after the moment just before its last renewal was sent, which is never later than
//! by the store's clock. Leaves to others when to renew, who campaigns, and to keep a writer off the target whose lease has ended.

mod error;
pub mod etcd;
pub mod record;
pub mod redis;
mod seal;

use std::time::{Duration, Instant};

use super::position::Epoch;
pub use error::Error;
pub use record::{Damaged, Lease, Record, View};
pub use seal::Seal;

/// The highest epoch that can be counted on from: the store's scripts calculate with floating point.
const EPOCH_MAX: Epoch = Epoch::new(1 << 52);

/// Which group, and where it meets.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The group's name.
    pub group: String,
    /// How long a session lasts that is not renewed.
    pub lease_timeout: Duration,
    /// How long one question to the store may take.
    pub request_limit: Duration,
    /// What shows who knows the group's token, where it has one.
    pub seal: Option<Seal>,
    /// The store.
    pub backend: Backend,
}

/// What the store is.
#[derive(Debug, Clone)]
pub enum Backend {
    /// An etcd, 3.4 or newer.
    Etcd(etcd::Settings),
    /// A Redis, on its own, watched by sentinels, or a cluster.
    Redis(redis::Settings),
}

/// Our session in the store, and what can be done with it.
///
/// Every call takes at most a few times [`Settings::request_limit`], and fails at the first question that is not answered within that. A call that failed may be made
/// again, at once or later. A call that is dropped leaves what it was about undecided, as a lost answer does.
#[derive(Debug)]
pub struct Store {
    kind: Kind,
    /// So often the session was renewed, over all sessions.
    beat: u64,
    seal: Option<Seal>,
}

#[derive(Debug)]
enum Kind {
    Etcd(etcd::Etcd),
    Redis(redis::Redis),
}

/// The same of either kind.
macro_rules! of {
    ($self:ident, $store:ident => $what:expr) => {
        match &mut $self.kind {
            Kind::Etcd($store) => $what,
            Kind::Redis($store) => $what,
        }
    };
}

impl Store {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Store {
        let Settings {
            group,
            lease_timeout,
            request_limit,
            seal,
            backend,
        } = settings;
        let kind = match backend {
            Backend::Etcd(own) => Kind::Etcd(etcd::Etcd::new(&group, lease_timeout, request_limit, own)),
            Backend::Redis(own) => Kind::Redis(redis::Redis::new(&group, lease_timeout, request_limit, own)),
        };
        Store { kind, beat: 0, seal }
    }

    /// Becomes a member by the name in the record; gives until when the session is valid. Where we are one already, as [`Store::renew`].
    ///
    /// # Errors
    /// [`Error::NameTaken`] where another session goes by the name and has not ended. It may be that of our own former life: whoever waits for
    /// `lease_timeout` and tries again finds it ended, or its record's `beat` grown. Else as of every call: the store cannot be reached, or refuses.
    pub async fn begin(&mut self, record: &Record) -> Result<Instant, Error> {
        let record = self.beating(record);
        of!(self, store => store.begin(&record).await)
    }

    /// Renews the session, and tells the others the record. Gives until when it is valid now.
    ///
    /// # Errors
    /// [`Error::SessionLost`] where it has ended, and all our leases with it: begin anew. Any other: the session goes on until the moment told last.
    pub async fn renew(&mut self, record: &Record) -> Result<Instant, Error> {
        let record = self.beating(record);
        of!(self, store => store.renew(&record).await)
    }

    fn beating(&mut self, record: &Record) -> Record {
        self.beat += 1;
        Record {
            beat: self.beat,
            proof: self
                .seal
                .as_ref()
                .map_or_else(String::new, |seal| seal.proof(record)),
            ..record.clone()
        }
    }

    /// Ends the session: we are no member any more, and our leases are vacant at once.
    ///
    /// # Errors
    /// The store cannot be reached: they are vacant when the session ends by itself.
    pub async fn end(&mut self) -> Result<(), Error> {
        of!(self, store => store.end().await)
    }

    /// Looks at all of the group, with one question.
    ///
    /// # Errors
    /// The store cannot be reached, refuses, or holds what is none of ours.
    pub async fn view(&mut self) -> Result<View, Error> {
        let mut view = of!(self, store => store.view().await)?;
        if let Some(seal) = &self.seal {
            view.sort_out(seal);
        }
        Ok(view)
    }

    /// Takes the lease of the input, where it is vacant, with a new epoch. Where it is ours already, gives its epoch; `None` where somebody else has it.
    ///
    /// # Errors
    /// [`Error::SessionLost`] where we are no member.
    pub async fn campaign(&mut self, input: &str) -> Result<Option<Epoch>, Error> {
        of!(self, store => store.campaign(input).await)
    }

    /// Gives the lease that we hold with this epoch to another member, with a new epoch, which is returned. `None` where it is not ours (any more), or where there
    /// is no such member.
    ///
    /// Where he has it already with the epoch next to ours, that is returned: the answer to the same question was lost.
    ///
    /// # Errors
    /// As of every call.
    pub async fn transfer(&mut self, input: &str, epoch: Epoch, to: &str) -> Result<Option<Epoch>, Error> {
        of!(self, store => store.transfer(input, epoch, to).await)
    }

    /// Gives up the lease that we hold with this epoch. Nothing happens where it is not ours (any more).
    ///
    /// # Errors
    /// As of every call.
    pub async fn resign(&mut self, input: &str, epoch: Epoch) -> Result<(), Error> {
        of!(self, store => store.resign(input, epoch).await)
    }

    /// Changes the epoch of the lease that we hold with `epoch` to a new one, greater than `above` and than all that were given. `None` where it is not
    /// ours (any more).
    ///
    /// Where ours is above that already, it stays and is returned: the answer to the same question was lost.
    ///
    /// # Errors
    /// As of every call; [`Error::EpochTooHigh`] where nothing can be above.
    pub async fn raise(&mut self, input: &str, epoch: Epoch, above: Epoch) -> Result<Option<Epoch>, Error> {
        if above > EPOCH_MAX {
            return Err(Error::EpochTooHigh {
                input: input.to_owned(),
                epoch: above,
            });
        }
        of!(self, store => store.raise(input, epoch, above).await)
    }

    /// Writes a note, over the one that may be there. Needs no session.
    ///
    /// # Errors
    /// As of every call.
    pub async fn put_note(&mut self, key: &str, text: &str) -> Result<(), Error> {
        of!(self, store => store.put_note(key, text).await)
    }

    /// Writes a note where there is none by that key; false where there is one. That may be ours, where an answer was lost: who must know puts into the text
    /// who he is.
    ///
    /// # Errors
    /// As of every call.
    pub async fn create_note(&mut self, key: &str, text: &str) -> Result<bool, Error> {
        of!(self, store => store.create_note(key, text).await)
    }

    /// Removes a note.
    ///
    /// # Errors
    /// As of every call.
    pub async fn remove_note(&mut self, key: &str) -> Result<(), Error> {
        of!(self, store => store.remove_note(key).await)
    }
}

/// A group's name as a part of a path. Two groups never share a part.
fn escaped(group: &str) -> String {
    group.replace('%', "%25").replace('/', "%2F")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_groups_path_begins_with_that_of_another() {
        assert_eq!(escaped("a/leases%"), "a%2Fleases%25");
    }
}
