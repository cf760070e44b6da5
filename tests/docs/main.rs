//! README and docs, held to be true: every command in them is run, every `gunyu` line is one that gunyu takes, every link leads somewhere, and the tables of
//! formats are those of the sources.
//!
//! A fenced block of the language `sh` is run by the scene that has its heading ([`SCENES`]), on real servers, as it stands; the addresses in it stand for those of
//! the servers ([`stage`]). What cannot be run is in [`READ_ONLY`] with the reason. A block that is neither fails a test.

// What fails here fails its test; and nothing here is for others.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../tls/certs.rs"]
mod certs;
mod documents;
mod formats;
mod refusing;
mod renamed;
mod scenes;
mod stage;
mod writer;

use std::process::Command;

use clap::Parser;
use documents::{Block, blocks, commands};
use gunyu::cmd::Cli;

/// Blocks that are run under one heading of a document.
struct Scene {
    document: &'static str,
    headings: &'static [&'static str],
}

impl Scene {
    /// Its blocks, in the order of the headings; those that are only read are left out.
    fn blocks(&self) -> Vec<Block> {
        let all: Vec<Block> = blocks("sh")
            .into_iter()
            .filter(|one| one.document == self.document)
            .collect();
        let of = |heading: &&'static str| {
            let found: Vec<Block> = all
                .iter()
                .filter(|one| one.heading == *heading)
                .cloned()
                .collect();
            assert!(!found.is_empty(), "{}: no block under {heading:?}", self.document);
            found.into_iter().filter(|one| reason_to_read(one).is_none())
        };
        self.headings.iter().flat_map(of).collect()
    }
}

/// A test for each scene, and the list of all of them.
macro_rules! scenes {
    ($($(#[$more:meta])* $name:ident: $document:literal, [$($heading:literal),+];)+) => {
        const SCENES: &[Scene] = &[$(Scene { document: $document, headings: &[$($heading),+] }),+];

        $($(#[$more])* #[test]
        fn $name() {
            let blocks = Scene { document: $document, headings: &[$($heading),+] }.blocks();
            scenes::$name(&blocks);
            let left: Vec<String> = blocks.iter().filter(|one| !stage::was_played(one)).map(Block::place).collect();
            assert!(left.is_empty(), "its scene has not run them: {left:?}");
        })+
    };
}

scenes! {
    a_cluster_is_migrated_this_afternoon: "README.md", ["Migrate a cluster this afternoon"];
    servers_that_ask_for_passwords_are_migrated: "README.md", ["With passwords and TLS", "Migrate a cluster this afternoon"];
    users_for_each_side_may_do_what_is_needed: "README.md", ["What it needs on both sides"];
    the_api_is_called: "README.md", ["HTTP"];
    the_daemon_is_started_and_looked_at: "README.md", ["Before the first start", "Use it"];
    the_daemon_speaks_tls: "README.md", ["TLS"];
    the_daemon_follows_clusters_and_sentinels: "README.md", ["Clusters and sentinels"];
    both_sides_are_compared: "README.md", ["Comparing both sides"];
    a_migration_is_a_job: "README.md", ["Commands"];
    a_dump_is_written_loaded_and_looked_into: "README.md", ["Dumps", "Loading a file", "Looking into a file"];
    the_source_is_made_ready: "docs/migrating.md", ["Before"];
    one_server_becomes_a_cluster: "docs/migrating.md", ["One server to a cluster"];
    a_cluster_becomes_one_of_another_size: "docs/migrating.md", ["A cluster to a cluster of another size"];
    redis_becomes_valkey: "docs/migrating.md", ["Redis to Valkey"];
    an_older_version_gets_what_it_can_hold: "docs/migrating.md", ["To an older version"];
    a_service_is_a_target: "docs/migrating.md", ["Cloud services"];
    psync_has_another_name: "docs/migrating.md", ["A renamed PSYNC"];
    a_backup_file_is_loaded: "docs/migrating.md", ["A backup file"];
    the_applications_cut_over: "docs/migrating.md", ["Cutover"];
    a_group_cuts_over: "docs/migrating.md", ["With a group"];
    there_is_a_way_back: "docs/migrating.md", ["The way back"];
    it_is_deployed_upgraded_and_taken_away: "docs/operations.md", ["Deploying", "Upgrading one that stands alone", "Taking it away"];
    it_is_operated_and_drilled: "docs/operations.md", ["Sizing the log", "Looking at it", "Everyday orders", "Drills"];
    the_source_fails_over: "docs/operations.md", ["A failover of the source"];
    a_group_is_upgraded: "docs/operations.md", ["A group"];
    redis_gunyu_is_taken_over: "docs/from-redis-gunyu.md", ["The configuration", "Taking over its checkpoint"];
    redisshake_is_taken_over: "docs/from-redisshake.md", ["Changing over"];
}

/// Blocks that are read and not run: document, heading, number of the block there, and why.
const READ_ONLY: &[(&str, &str, usize, &str)] = &[
    (
        "README.md",
        "gunyu",
        0,
        "make demo and make test run all of this themselves",
    ),
    (
        "README.md",
        "Migrate a cluster this afternoon",
        0,
        "it builds with optimisation for minutes; the tests run what cargo has built",
    ),
    (
        "docs/operations.md",
        "Deploying",
        0,
        "it needs systemd, root, and the installed package; tests/packages.rs tries those",
    ),
    (
        "docs/from-redis-gunyu.md",
        "Taking over its checkpoint",
        1,
        "it is addressed to redis-GunYu, which is not here",
    ),
];

fn reason_to_read(block: &Block) -> Option<&'static str> {
    let is_it = |(document, heading, nth, _): &&(&str, &str, usize, &str)| {
        (*document, *heading, *nth) == (block.document.as_str(), block.heading.as_str(), block.nth)
    };
    READ_ONLY.iter().find(is_it).map(|(.., reason)| *reason)
}

#[test]
fn every_block_is_run_by_a_scene_or_read_for_a_reason() {
    let all = blocks("sh");
    let is_run = |block: &Block| {
        let mut scenes = SCENES.iter();
        scenes.any(|one| one.document == block.document && one.headings.contains(&block.heading.as_str()))
    };
    let neither = all
        .iter()
        .filter(|block| !is_run(block) && reason_to_read(block).is_none());
    let neither: Vec<String> = neither.map(Block::place).collect();
    assert!(neither.is_empty(), "neither run nor in READ_ONLY: {neither:?}");
    for (document, heading, nth, _) in READ_ONLY {
        let is_there = |one: &Block| {
            (one.document.as_str(), one.heading.as_str(), one.nth) == (*document, *heading, *nth)
        };
        assert!(
            all.iter().any(is_there),
            "READ_ONLY names what is not there: {document}, {heading}, {nth}"
        );
    }
}

#[test]
fn shell_in_a_document_is_marked_as_such() {
    let shells = ["bash", "shell", "console", "zsh"].into_iter().flat_map(blocks);
    let plain = blocks("")
        .into_iter()
        .filter(|block| !commands(&block.text).is_empty());
    let found: Vec<String> = shells.chain(plain).map(|block| block.place()).collect();
    assert!(
        found.is_empty(),
        "their commands are not run, for they are not marked as sh: {found:?}"
    );
}

#[test]
fn a_block_of_any_other_make_would_not_be_seen_and_there_is_none() {
    let unseen = documents::names()
        .into_iter()
        .flat_map(|name| documents::unseen(&name, &documents::text(&name)));
    assert_eq!(unseen.collect::<Vec<_>>(), [""; 0]);
}

/// Where one fails in its midst, bash goes on behind it.
#[test]
fn a_chain_of_commands_is_the_end_of_its_block() {
    for block in blocks("sh") {
        let mut lines = block.text.lines().skip_while(|line| !line.ends_with("&&"));
        let behind: Vec<&str> = lines
            .by_ref()
            .skip_while(|line| line.ends_with("&&"))
            .skip(1)
            .collect();
        assert!(behind.is_empty(), "{}: {behind:?}", block.place());
    }
}

#[test]
fn every_block_is_bash() {
    for block in blocks("sh") {
        let checked = Command::new("bash")
            .args(["-n", "-c", &block.text])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{}: {said}", block.place());
    }
}

#[test]
fn every_gunyu_line_in_a_document_is_one_that_gunyu_takes() {
    let (mut refused, mut taken) = (Vec::new(), 0);
    for block in blocks("sh") {
        for words in commands(&block.text) {
            match Cli::try_parse_from(&words) {
                Ok(_) => taken += 1,
                // gunyu --version, gunyu help
                Err(error) if !error.use_stderr() => taken += 1,
                Err(error) => refused.push(format!("{}: {}\n{error}", block.place(), words.join(" "))),
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(taken > 100, "only {taken} were found");
}

#[test]
fn every_configuration_in_a_document_is_one_that_gunyu_takes() {
    for block in blocks("yaml") {
        let dir = tempfile::tempdir().unwrap();
        let (file, token) = (dir.path().join("gunyu.yaml"), dir.path().join("token"));
        std::fs::write(&token, "of-the-test").unwrap();
        let text = block.text.replace("/etc/gunyu/token", token.to_str().unwrap());
        std::fs::write(&file, &text).unwrap();
        let mut command = Command::new(support::gunyu::PROGRAM);
        command.args(["config", "--local", "--config"]).arg(&file);
        if !text.contains("addresses: [10.0.0.1:6379") {
            command.args(["--source=redis://10.0.0.1:6379", "--target=redis://10.0.1.1:6379"]);
        }
        for name in [
            "GUNYU_GROUP_TOKEN",
            "GUNYU_TOKEN",
            "GUNYU_SOURCE_PASSWORD",
            "GUNYU_TARGET_PASSWORD",
        ] {
            command.env(name, "of-the-test");
        }
        let ended = command.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{}: {said}", block.place());
    }
}

/// The column of README's table of benchmarks that has this head, in MiB.
fn memory_in_benchmarks() -> Vec<u64> {
    let readme = documents::text("README.md");
    let cells = |line: &str| {
        line.split('|')
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let mut lines = readme.lines().skip_while(|line| !line.starts_with("| figure |"));
    let head = cells(lines.next().unwrap());
    let column = head.iter().position(|cell| cell == "memory").unwrap();
    let rows = lines.take_while(|line| line.starts_with('|')).map(cells);
    rows.filter_map(|row| row[column].strip_suffix(" MiB")?.parse().ok())
        .collect()
}

#[test]
fn the_memory_that_operations_tells_is_that_of_the_benchmarks() {
    let all = memory_in_benchmarks();
    let (least, most) = (all.iter().min().unwrap(), all.iter().max().unwrap());
    let told = format!("{least} to {most} MiB in the benchmarks");
    assert!(
        documents::text("docs/operations.md").contains(&told),
        "docs/operations.md, What it needs: {told}"
    );
}

#[test]
fn every_exit_code_and_every_document_is_in_readme() {
    let readme = documents::text("README.md");
    let (_, codes) = readme.split_once("Exit codes: ").unwrap();
    let codes = codes.split_once("\n\n").unwrap().0.replace('\n', " ");
    for code in [
        "0 done",
        "1 failed",
        "2 usage",
        "3 no daemon",
        "4 source and target differ",
        "5 refused",
        "130 interrupted",
    ] {
        assert!(codes.contains(code), "{code}: {codes}");
    }
    for name in documents::names().iter().filter(|name| name.starts_with("docs/")) {
        assert!(readme.contains(&format!("]({name})")), "nobody leads to {name}");
    }
}

#[test]
fn every_route_is_called_by_an_example() {
    let blocks = blocks("sh").into_iter();
    let examples: String = blocks
        .filter(|one| one.document == "README.md" && one.heading == "HTTP")
        .map(|one| one.text)
        .collect();
    let api = documents::text("docs/openapi.yaml");
    let routes = api
        .lines()
        .filter_map(|line| line.strip_prefix("  /")?.strip_suffix(':'));
    let routes: Vec<&str> = routes.filter(|route| !route.starts_with("peer")).collect();
    assert!(routes.len() > 10, "{routes:?}");
    let missing: Vec<&&str> = routes
        .iter()
        .filter(|route| !examples.contains(&format!("$api/{route}")))
        .collect();
    assert!(missing.is_empty(), "no curl line calls {missing:?}");
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for document in documents::names() {
        for link in documents::links(&documents::text(&document)) {
            let (file, anchor) = documents::resolve(&document, &link);
            let is_there = match (std::fs::read_to_string(&file), anchor) {
                (Ok(text), Some(anchor)) => documents::anchors(&text).contains(&anchor),
                (Ok(_), None) => true,
                (Err(_), _) => file.is_dir(),
            };
            if !is_there {
                broken.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_footnote_is_there_and_referred_to() {
    for document in documents::names() {
        let text = documents::text(&document);
        let notes = text
            .lines()
            .filter_map(|line| line.strip_prefix("[^")?.split_once("]:"));
        let notes: Vec<&str> = notes.map(|(name, _)| name).collect();
        let referred = text.split("[^").skip(1).filter_map(|rest| rest.split_once(']'));
        let referred: Vec<&str> = referred
            .filter(|(_, rest)| !rest.starts_with(':'))
            .map(|(name, _)| name)
            .collect();
        for name in &notes {
            assert!(referred.contains(name), "{document}: nobody refers to [^{name}]");
        }
        for name in &referred {
            assert!(notes.contains(name), "{document}: there is no [^{name}]");
        }
    }
}
