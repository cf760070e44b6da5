//! What one node says of its cluster: `CLUSTER NODES`, read by the tests themselves.

use std::collections::BTreeMap;

/// One line of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The port it serves clients on.
    pub port: u16,
    /// `master`, `slave`, `fail`, …
    pub flags: Vec<String>,
    /// The id of the node that it replicates; `None` for a master.
    pub master: Option<String>,
    /// What it serves, in order.
    pub slots: Vec<u16>,
}

impl Seen {
    /// Nothing is wrong with it.
    pub fn is_well(&self) -> bool {
        let wrong = ["fail", "fail?", "handshake", "noaddr"];
        !self.flags.iter().any(|flag| wrong.contains(&flag.as_str()))
    }
}

/// Every node, by id.
pub fn read(text: &str) -> BTreeMap<String, Seen> {
    text.lines().filter_map(line).collect()
}

/// `id ip:port@bus,host flags master ping pong epoch link slot slot-slot [slot->-id]`
fn line(text: &str) -> Option<(String, Seen)> {
    let words: Vec<&str> = text.split(' ').collect();
    let address = words.get(1)?.split(['@', ',']).next()?;
    let seen = Seen {
        port: address.rsplit(':').next()?.parse().unwrap_or(0),
        flags: words.get(2)?.split(',').map(str::to_owned).collect(),
        master: words.get(3).filter(|id| **id != "-").map(|id| (*id).to_owned()),
        slots: words[words.len().min(8)..]
            .iter()
            .filter(|word| !word.starts_with('['))
            .flat_map(|word| {
                let (first, last) = word.split_once('-').unwrap_or((word, word));
                let number = |text: &str| text.parse::<u16>().unwrap_or(0);
                number(first)..=number(last)
            })
            .collect(),
    };
    Some((words[0].to_owned(), seen))
}
