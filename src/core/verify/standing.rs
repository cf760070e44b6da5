//! Whether the slots of clusters stand still: who serves them, since which epoch, and which are about to move. Asked before and after a walk.
//!
//! A slot that moves takes its keys with it, one by one: from a node that has not been walked through to one that has, and nobody meets them. Each move ends with a new
//! epoch, so that one to and fro is seen as well; one that is under way is known only to the masters that take part in it.

use std::time::{Duration, Instant};

use super::Error;
use super::group::Group;
use super::side::{Node, Side};
use super::talk::Talk;
use crate::core::net::{Address, Endpoint};
use crate::core::topology::nodes;

/// As long as slots move, it is asked so often.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// What masters of clusters serve.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    masters: Vec<Master>,
}

/// What one serves.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Master {
    id: String,
    epoch: u64,
    slots: Vec<(u16, u16)>,
}

/// What a node says.
struct Said {
    master: Master,
    /// It is a replica: it does not know which slots move.
    is_replica: bool,
    is_moving: bool,
}

impl Standing {
    /// As soon as no slot moves, and whether that was at once.
    pub(super) async fn wait(group: &Group, patience: Duration) -> Result<(Standing, bool), Error> {
        let (began, mut at_once) = (Instant::now(), true);
        loop {
            match Standing::ask(group).await? {
                Ok(standing) => return Ok((standing, at_once)),
                Err(address) if began.elapsed() > patience => return Err(Error::Moving { address }),
                Err(_) => at_once = false,
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Where slots move, who says so.
    async fn ask(group: &Group) -> Result<Result<Standing, Address>, Error> {
        let mut standing = Standing::default();
        let sources = group.origins.iter().map(|origin| &origin.side);
        for side in sources.chain([&group.target]).filter(|side| side.is_cluster()) {
            for node in &side.nodes {
                let said = match ask_shard(side, node).await {
                    Ok(said) => said,
                    // Only who serves what is known then.
                    Err(Error::Refused { .. }) => continue,
                    Err(error) => return Err(error),
                };
                if said.is_moving {
                    return Ok(Err(node.endpoint.address.clone()));
                }
                standing.masters.push(said.master);
            }
        }
        Ok(Ok(standing))
    }
}

/// Asks a node, or the master of its shard where it is a replica.
async fn ask_shard(side: &Side, node: &Node) -> Result<Said, Error> {
    let said = ask_node(&node.endpoint, side).await?;
    if !said.is_replica {
        return Ok(said);
    }
    for address in &node.shard {
        // One that does not answer is none that slots are moved by.
        match ask_node(&node.endpoint.at(address.clone()), side).await {
            Ok(master) if !master.is_replica && master.master.id == said.master.id => return Ok(master),
            _ => {}
        }
    }
    Ok(said)
}

async fn ask_node(endpoint: &Endpoint, side: &Side) -> Result<Said, Error> {
    let mut talk = Talk::open(endpoint, side.reads_only()).await?;
    let answer = talk.call(&[b"CLUSTER", b"NODES"]).await?;
    let text = answer.text().map(String::from_utf8_lossy);
    let said = text.and_then(|text| said(&text, &endpoint.address));
    said.ok_or_else(|| talk.unexpected("CLUSTER NODES"))
}

/// What a node says of the master of its shard.
fn said(text: &str, asked: &Address) -> Option<Said> {
    let all = nodes::parse(text, asked)?;
    let own = all.iter().find(|node| node.is_myself)?;
    let id = own.master.as_ref().unwrap_or(&own.id);
    let master = all.iter().find(|node| node.id == *id)?;
    Some(Said {
        master: Master {
            id: id.clone(),
            epoch: master.epoch,
            slots: master.slots.clone(),
        },
        is_replica: own.master.is_some(),
        is_moving: own.moving.as_ref().is_some_and(|moving| !moving.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const OTHER: &str = "2222222222222222222222222222222222222222";

    #[test]
    fn a_node_says_what_the_master_of_its_shard_serves_and_a_master_what_moves() {
        let asked = Address {
            host: "h".into(),
            port: 1,
        };
        let line = |id: &str, flags: &str, master: &str, rest: &str| {
            format!("{id} 127.0.0.1:7001@17001 {flags} {master} 0 0 {rest}\n")
        };
        let slot = format!("7 connected 0-99 [93->-{OTHER}]");
        #[rustfmt::skip]
        let rows = [
            (line(ONE, "myself,master", "-", "7 connected 0-99"), (7, false, false)),
            (line(ONE, "myself,master", "-", &slot),              (7, false, true)),
            (line(ONE, "myself,master", "-", &slot.replace("->-", "-<-")), (7, false, true)),
            (line(OTHER, "myself,slave", ONE, "3 connected") + &line(ONE, "master", "-", "7 connected 0-99"), (7, true, false)),
        ];
        for (text, expected) in rows {
            let said = said(&text, &asked).unwrap();
            let master = said.master;
            assert_eq!(
                (master.id.as_str(), &master.slots[..]),
                (ONE, &[(0, 99)][..]),
                "{text}"
            );
            assert_eq!(
                (master.epoch, said.is_replica, said.is_moving),
                expected,
                "{text}"
            );
        }
        assert!(said("", &asked).is_none());
    }
}
