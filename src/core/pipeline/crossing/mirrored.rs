//! What processes that lead different shards of one cluster know of each other's streams.
//!
//! Each process has all shards: of those that it does not lead it follows the log, and mirrors how far the target is with them. So a wait for another
//! shard is the same wait, wherever that one is led. What is told besides the log and the ladder:
//!
//! | from the leader | to those that follow | because |
//! | --- | --- | --- |
//! | for which shard it waits, and since when | as its member's | a circle of waits is to be seen whoever leads its parts |
//! | its windows | as that stream's | whoever takes over goes on within them |
//!
//! | from one that follows | to the leader | because |
//! | --- | --- | --- |
//! | that the shard must begin anew | by a call | whoever leads another shard has found out that all must |

use std::time::{Duration, Instant};

use super::Crossings;
use super::windows::Windows;
use crate::core::catalog::Durability;
use crate::core::position::Position;

/// More than this is not told: a leader's frames have a limit.
const WINDOWS_BYTES_MAX: usize = 512 << 10;

/// What is told of a stream beside its log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// For which shard's stream it waits.
    pub waits_for: Option<String>,
    /// Its windows, as JSON.
    pub windows: String,
}

/// What is heard of a stream that another process leads.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// What the target has confirmed is recorded at the same moment.
    pub is_exact: bool,
    /// For which shard's stream it waits, and for how long it has.
    pub waits_for: Option<(&'a str, Duration)>,
    /// Its windows, as JSON; empty where nothing has been said of them yet.
    pub windows: &'a str,
    /// Where the snapshot stands with which the stream begins: the copy of it, or the leader's own while it restores that.
    pub snapshot: Option<Position>,
}

impl Crossings {
    pub(super) fn tell_change(&self) {
        self.0.changes.send_modify(|changes| *changes += 1);
    }

    /// Wakes when [`Crossings::told_of`] may say something else.
    #[must_use]
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// What is to be told of the stream of that name.
    #[must_use]
    pub fn told_of(&self, name: &str) -> Told {
        let inner = self.inner();
        let member = inner.members.get(name);
        let waits_for = member.and_then(|member| member.waits_for.as_ref());
        let mut windows = inner.windows.get(name).cloned().unwrap_or_default();
        // Plain values are always JSON.
        let json = |windows: &Windows| serde_json::to_string(windows).unwrap_or_default();
        let mut text = json(&windows);
        if text.len() > WINDOWS_BYTES_MAX {
            // All begin anew at such a window's end; only its bounds are told.
            windows.drop_tails();
            text = json(&windows);
        }
        Told {
            waits_for: waits_for.map(|(other, _)| other.clone()),
            windows: text,
        }
    }

    /// Takes in what the leader of that stream says.
    pub fn hear(&self, name: &str, heard: &Heard<'_>) {
        let now = Instant::now();
        let mut inner = self.inner();
        let base = heard.snapshot.and_then(|at| inner.tick_before(name, at));
        if let Some(member) = inner.members.get_mut(name) {
            (member.is_exact, member.of_leader) = (heard.is_exact, heard.snapshot);
            let waits_for = heard.waits_for;
            member.waits_for =
                waits_for.map(|(other, since)| (other.to_owned(), now.checked_sub(since).unwrap_or(now)));
            if base.is_some() {
                member.base = base;
            }
        }
        drop(inner);
        if heard.windows.is_empty() {
            return;
        }
        match serde_json::from_str::<Windows>(heard.windows) {
            Ok(told) => drop(self.change_windows(name, Durability::Process, |windows| *windows = told)),
            Err(error) => {
                tracing::warn!(name, %error, "what the leader says of imports cannot be read: all shards begin anew when this one is led here");
                self.entangle_one(name);
            }
        }
    }

    /// Whether the shard must begin anew, which its leader, another process, is to be told. Said once.
    #[must_use]
    pub fn takes_entangled(&self, name: &str) -> bool {
        self.take_entangled(name)
    }

    /// The leader knows that the shard must begin anew; or it has not been told, and must be later.
    pub fn has_told_entangled(&self, name: &str, is_told: bool) {
        let mut inner = self.inner();
        match is_told {
            true => inner.forget_entangled(name),
            false => {
                if let Some(member) = inner.members.get_mut(name) {
                    member.is_entangled = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::joined;
    use super::*;

    #[tokio::test]
    async fn a_circle_of_waits_is_seen_though_another_process_leads_a_part_of_it() {
        let crossings = Crossings::default();
        let _joined = joined(&crossings, &["here", "there"]).await;
        let long_ago = super::super::CIRCLE * 2;
        crossings.set_waits_for(
            "here",
            Some("there".to_owned()),
            Instant::now().checked_sub(long_ago).unwrap(),
        );
        let heard = Heard {
            is_exact: true,
            waits_for: Some(("here", long_ago)),
            windows: "",
            snapshot: None,
        };
        crossings.break_circle("here");
        assert!(
            !crossings.take_entangled("here"),
            "there waits for nothing, as far as is known"
        );
        crossings.hear("there", &heard);
        crossings.break_circle("here");
        assert!(crossings.take_entangled("here"));
        assert!(crossings.takes_entangled("there"), "its leader is to be told");
        crossings.has_told_entangled("there", false);
        assert!(
            crossings.takes_entangled("there"),
            "it was not, and must be again"
        );
    }

    #[tokio::test]
    async fn nobody_waits_for_what_a_snapshot_that_its_leader_alone_has_left_behind() {
        let crossings = Crossings::default();
        let _joined = joined(&crossings, &["there"]).await;
        let at = |offset| Position {
            id: crate::core::position::ReplId::parse(&[b'a'; 40]).unwrap(),
            offset: crate::core::position::Offset::new(offset),
        };
        let log = crossings.inner().members["there"].log.clone();
        let history = crate::core::position::History::new(at(0).id);
        log.start_at(history, at(50).offset).await.unwrap();
        let has_reached = |snapshot, goal| {
            let heard = Heard {
                is_exact: false,
                waits_for: None,
                windows: "",
                snapshot,
            };
            crossings.hear("there", &heard);
            let inner = crossings.inner();
            let member = &inner.members["there"];
            member.is_at(member.recorded(), at(goal), at(90))
        };
        for (snapshot, goal, expected) in [
            (None, 10, false),
            (Some(at(50)), 10, true),
            (Some(at(50)), 50, true),
            (Some(at(50)), 51, false),
            (None, 10, false),
        ] {
            assert_eq!(has_reached(snapshot, goal), expected, "{snapshot:?} {goal}");
        }
    }

    #[tokio::test]
    async fn windows_are_told_and_heard_as_they_were() {
        let (one, other) = (Crossings::default(), Crossings::default());
        let _joined = (joined(&one, &["a"]).await, joined(&other, &["a"]).await);
        let changes = one.changes();
        assert_eq!(one.told_of("a").windows, "[]");
        let at = Position {
            id: crate::core::position::ReplId::parse(&[b'a'; 40]).unwrap(),
            offset: crate::core::position::Offset::new(7),
        };
        one.change_windows("a", Durability::Process, |windows| {
            windows.open("import".to_owned(), vec![(1, 2)], false, at);
        });
        assert!(changes.has_changed().unwrap());
        let told = one.told_of("a");
        other.hear(
            "a",
            &Heard {
                is_exact: false,
                waits_for: None,
                windows: &told.windows,
                snapshot: None,
            },
        );
        assert_eq!(other.told_of("a"), told);
        assert_ne!(told.windows, "[]");
        one.change_windows("a", Durability::Process, |windows| *windows = Windows::default());
        let told = one.told_of("a");
        let heard = Heard {
            is_exact: false,
            waits_for: None,
            windows: &told.windows,
            snapshot: None,
        };
        other.hear("a", &heard);
        assert_eq!(other.told_of("a"), told, "what is closed is closed everywhere");
    }
}
