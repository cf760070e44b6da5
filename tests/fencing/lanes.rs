//! What an older session can still do on the connections that it has, and on those that it makes anew: nothing.

use gunyu::core::position::{Epoch, Offset};
use gunyu::core::resp::Value;
use gunyu::core::target::checkpoint::{Cursor, Record};
use gunyu::core::target::restore::{Dialect, Key, Restorer};
use gunyu::core::target::session::{Flush, Member, Session};
use gunyu::core::target::{Error, Settings};

use super::{KEYS, MAY_NOT_KILL, NAME, Target, assert_over, assert_superseded, record, soon, take};
use crate::support::Server;

const DIALECT: Dialect = Dialect {
    absolute_ttl: true,
    set_absolute_ttl: true,
    replace: true,
};

async fn restorer(session: &Session, settings: &Settings) -> Result<Restorer, Error> {
    let (name, guard) = (session.client_name(settings), session.guard());
    Restorer::open(settings, &name, Some(guard), 2, DIALECT).await
}

/// Restores a key and waits for what becomes of it. `payload` is what `DUMP` gave.
async fn restore(restorer: &mut Restorer, name: &str, payload: &[u8]) -> Result<(), Error> {
    let key = Key {
        db: 0,
        name: name.as_bytes(),
        expire_at_ms: None,
        idle_secs: None,
        freq: None,
        payload_len: payload.len(),
        replace: false,
    };
    let write = |out: &mut bytes::BytesMut| out.extend_from_slice(payload);
    restorer.restore(Cursor::default(), &key, write).await?;
    restorer.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_of_an_older_session_restores_nothing_more() {
    for target in Target::both() {
        let settings = target.settings();
        let () = target.ask(&["SET", "template", "value"]);
        let payload: Vec<u8> = target.ask(&["DUMP", "template"]);
        let old = take(&settings, "old", 5).await.unwrap();
        let mut open = Vec::new();
        for key in KEYS {
            let mut lanes = restorer(&old, &settings).await.unwrap();
            let name = format!("{key}before");
            soon(restore(&mut lanes, &name, &payload)).await.unwrap();
            assert!(target.has(&name));
            open.push(lanes);
        }
        let _new = take(&settings, "new", 6).await.unwrap();
        for (mut lanes, key) in open.into_iter().zip(KEYS) {
            let name = format!("{key}after");
            assert_over(soon(restore(&mut lanes, &name, &payload)).await);
            assert!(!target.has(&name), "{name}");
        }
        assert_superseded(restorer(&old, &settings).await);
    }
}

/// Everything that a session does beside the stream.
async fn act(session: &mut Session) -> Vec<Result<(), Error>> {
    let mut done = Vec::new();
    for key in KEYS {
        let name = format!("{key}here");
        let unlink = [&b"UNLINK"[..], name.as_bytes()];
        done.push(soon(session.lane.call(&unlink)).await.map(drop));
    }
    for node in session.lane.masters() {
        let code = b"#!lua name=l\nredis.register_function('f', function() return 1 end)";
        let load = [&b"FUNCTION"[..], b"LOAD", b"REPLACE", code];
        done.push(soon(session.lane.call_at(&node, &load)).await.map(drop));
    }
    done.push(soon(session.leave_marks(Offset::new(7), 0)).await.map(drop));
    let member = Member {
        name: NAME.to_owned(),
        token: session.token.clone(),
        otherwise: Record::default(),
        emptied: Record::default(),
    };
    let flush = Flush {
        command: "FLUSHDB",
        databases: &[0],
        members: &[member],
    };
    done.push(soon(session.flush(flush)).await);
    done.push(soon(session.write_record(Record::default())).await);
    done.push(soon(session.remove_keys()).await);
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_session_of_a_cluster_sweeps_marks_and_flushes_nothing_however_often_it_connects() {
    let [_, target] = Target::both();
    let settings = target.settings();
    let mut old = take(&settings, "old", 5).await.unwrap();
    old.write_record(record(&old.record.clone())).await.unwrap();
    for key in KEYS {
        let () = target.ask(&["SET", &format!("{key}here"), "value"]);
    }
    let mut new = take(&settings, "new", 6).await.unwrap();
    new.write_record(record(&new.record.clone())).await.unwrap();
    let before: Vec<String> = target.nodes().iter().map(Server::digest).collect();
    // The connections that it had are gone; from the second round on it makes new ones.
    for round in 0..3 {
        for (nth, done) in act(&mut old).await.into_iter().enumerate() {
            assert!(done.is_err(), "round {round}: {nth} was done");
            if let Err(Error::Refused { reply, .. }) = done {
                panic!("round {round}: {nth} got through: {reply}");
            }
        }
    }
    let after: Vec<String> = target.nodes().iter().map(Server::digest).collect();
    assert_eq!(before, after);
    for node in target.nodes() {
        let functions: Vec<redis::Value> = node.run(&["FUNCTION", "LIST"]);
        assert!(functions.is_empty());
    }
    new.write_record(new.record.clone()).await.unwrap();
}

/// Where connections cannot be ended, `WATCH` is what is left, and is enough on one node.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_queued_when_a_newer_session_is_taken_fails() {
    let target = Target::One(Server::with(MAY_NOT_KILL));
    let mut settings = target.settings();
    settings.endpoint.credentials.user = "gunyu".to_owned();
    settings.endpoint.credentials.password = "pw".to_owned();
    let mut old = take(&settings, "old", 5).await.unwrap();
    old.lane.call(&[b"MULTI"]).await.unwrap();
    old.lane.call(&[b"SET", b"key", b"late"]).await.unwrap();
    let mut new = take(&settings, "new", 6).await.unwrap();
    assert_eq!(old.lane.call(&[b"EXEC"]).await.unwrap(), Value::Nil);
    assert!(!target.has("key"));
    let _newest = take(&settings, "newest", 7).await.unwrap();
    for _ in 0..2 {
        assert_superseded(new.write_record(record(&new.record.clone())).await);
    }
    assert_eq!(target.session(), ["newest", "7"]);
    assert_eq!(target.recorded_epoch(), None);
}

/// One input's flush takes the checkpoints of all that feed the target along, but not of one that another process has taken over.
#[tokio::test(flavor = "multi_thread")]
async fn a_flush_does_nothing_where_another_process_has_taken_over_a_member() {
    for target in Target::both() {
        let mut ours = take(&target.settings(), "ours", 5).await.unwrap();
        let member_settings = target.settings_of("two");
        let mut member = take(&member_settings, "member", 3).await.unwrap();
        member.write_record(record(&member.record.clone())).await.unwrap();
        let () = target.ask(&["SET", "key", "value"]);
        let members = [(NAME, "ours"), ("two", "member")].map(|(name, token)| Member {
            name: name.to_owned(),
            token: token.to_owned(),
            otherwise: Record::default(),
            emptied: Record::default(),
        });
        let flush = || Flush {
            command: "FLUSHDB",
            databases: &[0],
            members: &members,
        };
        let mut newer = take(&member_settings, "newer", 4).await.unwrap();
        assert!(soon(ours.flush(flush())).await.is_err());
        assert!(target.has("key"));
        newer.write_record(newer.record.clone()).await.unwrap();
        let mut again = take(&target.settings(), "ours again", 6).await.unwrap();
        let members = [(NAME, "ours again"), ("two", "newer")].map(|(name, token)| Member {
            name: name.to_owned(),
            token: token.to_owned(),
            otherwise: Record {
                epoch: Epoch::new(4),
                ..Record::default()
            },
            emptied: Record::default(),
        });
        let flush = Flush {
            command: "FLUSHDB",
            databases: &[0],
            members: &members,
        };
        soon(again.flush(flush)).await.unwrap();
        assert!(!target.has("key"));
        assert_superseded(newer.write_record(newer.record.clone()).await);
    }
}
