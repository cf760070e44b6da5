//! The files that come with gunyu, and the defaults they tell.

use super::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

pub(super) fn shipped(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

#[test]
fn every_file_that_comes_with_gunyu_loads_without_a_note() {
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    // The rules for Prometheus are another program's configuration.
    let is_ours = |path: &PathBuf| !path.file_name().unwrap().to_string_lossy().starts_with("alerts");
    names.retain(|path| path.extension().is_some_and(|e| e == "yaml") && is_ours(path));
    assert!(names.len() >= 2);
    for path in names {
        let file = File::read(&path).unwrap();
        let config = Written::file(&file.text).config();
        assert_eq!(config.notes, [""; 0], "{}", path.display());
    }
}

/// Set `GUNYU_BLESS=1` to write the file anew after a change of the table.
#[test]
fn the_full_file_is_what_the_table_of_keys_says() {
    if std::env::var_os("GUNYU_BLESS").is_some() {
        std::fs::write(folder().join("gunyu.yaml"), full_file()).unwrap();
    }
    let same = shipped("gunyu.yaml") == full_file();
    assert!(
        same,
        "config/gunyu.yaml is out of date: run this test with GUNYU_BLESS=1"
    );
}

#[test]
fn the_full_file_lists_every_key_and_mentions_those_that_do_nothing() {
    let text = shipped("gunyu.yaml");
    let written: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    let written = leaves(&written);
    for key in known_keys() {
        match key.is_live {
            true => assert!(written.contains(&key.path), "{} is not in gunyu.yaml", key.path),
            false => assert!(
                text.contains(&format!("# {}: ", key.path)),
                "{} is not mentioned",
                key.path
            ),
        }
    }
}

#[test]
fn the_full_file_says_the_defaults() {
    let full = Written::file(&shipped("gunyu.yaml")).config();
    assert_eq!(full, Written::file(&shipped("minimal.yaml")).config());
}

#[test]
fn the_defaults_are_those_of_the_specification() {
    let config = defaults();
    assert_eq!(config.input.redis.kind, RedisKind::Standalone);
    assert_eq!(config.input.sync_from, SyncFrom::PreferSlave);
    assert_eq!(config.input.psync_command, "PSYNC");
    let replay = &config.output.replay;
    assert!(replay.resume && replay.restore);
    assert_eq!(replay.delivery, Delivery::ExactlyOnce);
    assert_eq!((replay.on_error, replay.error_budget), (OnError::Stop, 1000));
    assert_eq!(
        (replay.key_exists, replay.stale_keys),
        (KeyExists::Replace, StaleKeys::Auto)
    );
    assert_eq!(
        (replay.batch_commands_max, replay.batch_bytes_max),
        (1000, 256 << 10)
    );
    assert_eq!((replay.connections, replay.big_value_bytes), (4, 16 << 20));
    assert_eq!(replay.rate_limit, RateLimit::default());
    assert_eq!(
        (replay.db_on_cluster, replay.cross_slot),
        (DbOnCluster::Error, CrossSlot::Split)
    );
    assert_eq!(replay.databases, Databases::Same);
    assert_eq!(config.output.filter, Filter::default());
    let channel = &config.channel;
    assert_eq!(
        (channel.kind, channel.on_full),
        (Storage::Storer, OnFull::Disconnect)
    );
    assert_eq!(
        (channel.max_bytes, channel.segment_bytes),
        (Some(50 << 30), 100 << 20)
    );
    assert_eq!(channel.flush, Flush::Duration(Duration::from_secs(1)));
    assert_eq!(channel.dir, Path::new("/var/lib/gunyu"));
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:18001");
    assert_eq!(config.server.listen_peer, config.server.listen);
    assert_eq!(config.server.graceful_stop_timeout, Duration::from_secs(5));
    assert_eq!(config.cluster, None);
    assert_eq!((config.log.level, config.log.format), (Level::Info, Format::Text));
    assert!(config.log.stdout && config.log.file.is_none());
    assert_eq!(config.notes, [""; 0]);
}

#[test]
fn the_folder_follows_xdg_state_home_where_that_is_absolute() {
    let dir = |state| {
        Written::file(ADDRESSES)
            .variable("XDG_STATE_HOME", state)
            .config()
            .channel
            .dir
    };
    assert_eq!(dir("/srv/u/.local/state"), Path::new("/srv/u/.local/state/gunyu"));
    assert_eq!(dir("relative"), Path::new("/var/lib/gunyu"));
    assert_eq!(dir(""), Path::new("/var/lib/gunyu"));
}
