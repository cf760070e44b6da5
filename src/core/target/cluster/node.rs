//! The lane to one node of a cluster: a task that sends a flight of groups, hears its replies, and tells what became of each.
//!
//! One flight at a time, so that a group which must go out again has nothing of its slot behind it. Owns the connection. When it is lost, the task says so,
//! and then only watches for the node's return: what the node has of the flight is not known, and a new session reads it from the fences.

use std::time::Duration;

use tokio::sync::mpsc;

use super::fences;
use super::group::{Fate, Group, Replies, Writer};
use super::redirect::Redirect;
use crate::core::crash::{self, Step};
use crate::core::net::Address;
use crate::core::resp::Event;
use crate::core::target::guard::Guard;
use crate::core::target::lane::{Lane, Wire};
use crate::core::target::refusal::Kind;
use crate::core::target::{Error, Settings};

/// Between two looks whether a lost node is back.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Groups that go out together.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) groups: Vec<Group>,
}

/// What a node's lane has to tell.
#[derive(Debug)]
pub(super) enum News {
    /// A flight has been answered: each of its groups, and what became of it.
    Landed(Vec<(Group, Fate)>),
    /// The connection is lost; of what was under way nobody knows what is applied.
    Lost(Error),
    /// The node serves slots again, or says who does.
    Back,
}

/// Sends flights until nobody listens. `slot` is one that the node serves.
pub(super) async fn run(
    settings: Settings,
    slot: u16,
    client_name: String,
    guard: Guard,
    writer: Option<Writer>,
    mut flights: mpsc::Receiver<Flight>,
    news: mpsc::UnboundedSender<(Address, News)>,
) {
    let address = settings.endpoint.address.clone();
    let tell = |one| news.send((address.clone(), one)).is_ok();
    let lost = async {
        let mut lane = Lane::open(&settings, &client_name).await?;
        // A process that was stopped may wake up when another session has taken over, and has ended only the connections that there were.
        guard.ask_home(&settings, &client_name).await?;
        loop {
            tokio::select! {
                // A reply nobody waits for, or the connection's end.
                stray = lane.replies(false, |_| ()) => {
                    stray?;
                    return Err(Error::Unexpected { address: address.clone(), command: "nothing".into() });
                }
                flight = flights.recv() => match flight {
                    Some(flight) => {
                        let landed = fly(&mut lane, flight, writer.as_ref()).await?;
                        if !tell(News::Landed(landed)) {
                            return Ok(());
                        }
                    }
                    None => return Ok(()),
                },
            }
        }
    };
    let ended: Result<(), Error> = lost.await;
    let Err(error) = ended else { return };
    if !tell(News::Lost(error)) {
        return;
    }
    // Ends when it is back, or with the session, whose end aborts it.
    while !serves(&settings, &client_name, slot).await {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    tell(News::Back);
}

/// Whether the node serves the slot, or says that another does. One that is up may refuse everything for seconds yet: a session that began now would end at
/// once, and with it what goes on to the other nodes.
async fn serves(settings: &Settings, client_name: &str, slot: u16) -> bool {
    let asked = async {
        let mut lane = Lane::open(settings, client_name).await?;
        let question = [b"HGET", &fences::key(slot)[..], settings.name.as_bytes()];
        lane.call(&question).await
    };
    match asked.await {
        Ok(_) => true,
        Err(Error::Refused { reply, .. }) => is_decided(&reply, &settings.endpoint.address),
        Err(_) => false,
    }
}

/// Whether a refusal is more than *not now*.
fn is_decided(reply: &str, asked: &Address) -> bool {
    match Redirect::of(reply, asked) {
        Some(Redirect::Moved(..) | Redirect::Ask(_)) => true,
        Some(Redirect::Later) => false,
        None => Kind::of(reply) != Kind::Transient,
    }
}

async fn fly(lane: &mut Lane, flight: Flight, writer: Option<&Writer>) -> Result<Vec<(Group, Fate)>, Error> {
    let mut wire = Wire::default();
    let mut replies: Vec<Replies> = Vec::with_capacity(flight.groups.len());
    for group in &flight.groups {
        let expected = group.encode(writer, &mut wire);
        replies.push(Replies::new(group, expected));
    }
    lane.send_wire(wire).await?;
    crash::pass(Step::FlightSent);
    let (mut at, mut stray) = (0, false);
    while at < replies.len() {
        lane.replies(true, |event| stray |= !hear(&mut replies, &mut at, &event))
            .await?;
        if stray {
            let address = lane.address().clone();
            return Err(Error::Unexpected {
                address,
                command: "a batch".into(),
            });
        }
    }
    crash::pass(Step::FlightLanded);
    let asked = lane.address();
    let fates = replies.into_iter().map(|one| one.fate(asked));
    Ok(flight.groups.into_iter().zip(fates).collect())
}

/// Gives replies to the groups they belong to, in order; false where there are more than were owed.
fn hear(replies: &mut [Replies], at: &mut usize, event: &Event<'_>) -> bool {
    let mut left = match event {
        Event::Ok(count) => *count,
        Event::ElementError { .. } => 0,
        _ => 1,
    };
    loop {
        while replies.get(*at).is_some_and(|one| one.owed() == 0) {
            *at += 1;
        }
        let Some(one) = replies.get_mut(*at) else {
            return left == 0;
        };
        let taken = match event {
            Event::Ok(_) => one.hear(&Event::Ok(left)),
            other => one.hear(other),
        };
        left -= taken;
        if left == 0 {
            while replies.get(*at).is_some_and(|one| one.owed() == 0) {
                *at += 1;
            }
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_refuses_for_now_is_not_back_and_one_that_names_another_is() {
        let asked = Address {
            host: "h".into(),
            port: 1,
        };
        for (reply, back) in [
            ("CLUSTERDOWN The cluster is down", false),
            ("LOADING Redis is loading the dataset in memory", false),
            ("MASTERDOWN Link with MASTER is down", false),
            ("TRYAGAIN Multiple keys request during rehashing of slot", false),
            ("MOVED 1 h:2", true),
            ("ASK 1 h:2", true),
            ("NOPERM this user has no permissions", true),
        ] {
            assert_eq!(is_decided(reply, &asked), back, "{reply}");
        }
    }
}
