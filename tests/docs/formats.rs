//! The tables in docs/formats.md are those of the sources, row by row; docs/architecture.md names every room.

use crate::documents::{root, text};

/// The sources whose heads have tables of formats.
const OWNERS: [&str; 11] = [
    "src/core/log/block.rs",
    "src/core/log/recovery.rs",
    "src/core/catalog.rs",
    "src/core/pipeline/dead_letter.rs",
    "src/core/target/checkpoint.rs",
    "src/core/target/cluster/written.rs",
    "src/core/target/inherited/found.rs",
    "src/core/lease/etcd.rs",
    "src/core/lease/redis.rs",
    "src/core/peer/wire/mod.rs",
    "src/http/peer.rs",
];

/// A row without the links of rustdoc.
fn plain(row: &str) -> String {
    row.replace("[`", "`").replace("`]", "`")
}

#[test]
fn the_formats_told_are_those_of_the_sources() {
    let told = text("docs/formats.md");
    let told: Vec<&str> = told.lines().collect();
    for owner in OWNERS {
        let source = std::fs::read_to_string(root().join(owner)).unwrap();
        let head = source.lines().take_while(|line| line.starts_with("//!"));
        let rows: Vec<String> = head
            .filter_map(|line| line.strip_prefix("//! "))
            .filter(|line| line.starts_with('|'))
            .map(plain)
            .collect();
        assert!(!rows.is_empty(), "{owner} has no table");
        for row in rows {
            assert!(
                told.contains(&row.as_str()),
                "docs/formats.md lacks a row of {owner}:\n{row}"
            );
        }
    }
}

#[test]
fn the_architecture_names_every_room_in_its_order() {
    let map = std::fs::read_to_string(root().join("src/core/mod.rs")).unwrap();
    let rooms = map
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let told = text("docs/architecture.md");
    let rows = told
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let told: Vec<&str> = rows.map(|(room, _)| room).collect();
    assert_eq!(told, rooms.collect::<Vec<_>>());
}
