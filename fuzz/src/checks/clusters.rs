//! What servers tell of clusters: the input as the answer to `CLUSTER NODES`, to `CLUSTER SLOTS`, to `CLUSTER GETSLOTMIGRATIONS`, as a task of Redis, as a command of the stream, and as a
//! redirect.

use bytes::Bytes;

use gunyu::core::command::SLOTS;
use gunyu::core::command::marker::{Marker, marker, task};
use gunyu::core::net::Address;
use gunyu::core::position::Offset;
use gunyu::core::resp::{Framer, parse_value};
use gunyu::core::target::cluster::map::{SlotMap, nodes_in};
use gunyu::core::target::cluster::redirect::Redirect;
use gunyu::core::topology::{jobs, nodes};

/// No slot that there is not, and no more of them than there are.
pub fn check(input: &[u8]) {
    let asked = Address {
        host: "seed".to_owned(),
        port: 7000,
    };
    let text = String::from_utf8_lossy(input);
    for node in nodes::parse(&text, &asked).unwrap_or_default() {
        assert!(node.slot_count() <= u64::from(SLOTS));
        are_slots(&node.slots);
        assert!(node.moving.unwrap_or_default().iter().all(|slot| *slot < SLOTS));
    }
    if let Ok(Some((answer, _))) = parse_value(input) {
        let nodes = nodes_in(&answer, &asked);
        if let Some(mut map) = SlotMap::parse(&answer, &asked) {
            assert!(map.masters().all(|master| nodes.contains(master)));
            let of_all: usize = map.masters().map(|master| map.slots_of(master).count()).sum();
            assert_eq!(of_all, map.served());
            map.moved(SLOTS - 1, &asked);
            assert_eq!(map.owner(SLOTS - 1), Some(&asked));
        }
        for export in jobs::jobs(&answer).unwrap_or_default().exports {
            are_slots(&export.slots);
        }
    }
    if let Some(Redirect::Moved(slot, _)) = Redirect::of(&text, &asked) {
        assert!(slot < SLOTS);
    }
    are_slots_of(task(input));
    let mut framer = Framer::default();
    if framer.push(Offset::ZERO, Bytes::copy_from_slice(input)).is_ok() {
        while let Ok(Some(frame)) = framer.next() {
            are_slots_of(marker(&frame));
        }
    }
}

fn are_slots_of(marker: Option<Marker>) {
    if let Some(Marker::Opens { slots, .. } | Marker::Leave(slots)) = marker {
        are_slots(&slots);
    }
}

fn are_slots(ranges: &[(u16, u16)]) {
    assert!(ranges.iter().all(|(first, last)| first <= last && *last < SLOTS));
    let count = ranges.iter().map(|(first, last)| usize::from(last - first) + 1);
    assert!(count.sum::<usize>() <= usize::from(SLOTS));
}
