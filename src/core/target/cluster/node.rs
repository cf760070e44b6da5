//! The lane to one node of a cluster: a task that sends a flight of groups, hears its replies, and tells what became of each.
//!
//! One flight at a time, so that a group which must go out again has nothing of its slot behind it. Owns the connection. When it is lost, the task says so,
//! and then only watches for the node's return: what the node has of the flight is not known, and a new session reads it from the fences.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::group::{Fate, Group, Replies, Writer};
use super::router::Router;
use crate::core::net::Address;
use crate::core::resp::{Event, Value};
use crate::core::target::checkpoint;
use crate::core::target::lane::Lane;
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
    /// The node takes connections again.
    Back,
}

/// Sends flights until nobody listens.
pub(super) async fn run(
    settings: Settings,
    client_name: String,
    token: String,
    writer: Option<Writer>,
    mut flights: mpsc::Receiver<Flight>,
    news: mpsc::UnboundedSender<(Address, News)>,
) {
    let address = settings.endpoint.address.clone();
    let tell = |one| news.send((address.clone(), one)).is_ok();
    let lost = async {
        let mut lane = Lane::open(&settings, &client_name).await?;
        still_ours(&settings, &client_name, &token).await?;
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
    while !answers(&settings, &client_name).await {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    tell(News::Back);
}

/// A process that was stopped may wake up when another session has taken over, and ended only the connections that there were.
async fn still_ours(settings: &Settings, client_name: &str, token: &str) -> Result<(), Error> {
    let mut router = Router::open(settings, client_name, &checkpoint::key(&settings.name)).await?;
    let session = checkpoint::session_key(&settings.name);
    match router.call(&[b"HGET", &session, token.as_bytes()]).await? {
        Value::Nil => Err(Error::Superseded {
            address: settings.endpoint.address.clone(),
        }),
        _ => Ok(()),
    }
}

async fn answers(settings: &Settings, client_name: &str) -> bool {
    match Lane::open(settings, client_name).await {
        Ok(mut lane) => lane.call(&[b"PING"]).await.is_ok(),
        Err(_) => false,
    }
}

async fn fly(
    lane: &mut Lane,
    mut flight: Flight,
    writer: Option<&Writer>,
) -> Result<Vec<(Group, Fate)>, Error> {
    let mut wire: Vec<Bytes> = Vec::new();
    let mut replies: Vec<Replies> = Vec::with_capacity(flight.groups.len());
    for group in &mut flight.groups {
        let expected = group.encode(writer, &mut wire);
        replies.push(Replies::new(group, expected));
    }
    lane.send(wire).await?;
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
