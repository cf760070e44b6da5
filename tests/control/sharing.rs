//! Full syncs of inputs that write to one server: none deletes what another has written.

use super::support::{Gunyu, Server};
use super::{BACKLOG, PATIENCE, full_syncs, has, held, input, plant, sync_args, wait_caught_up};

/// Two sources whose keys go to one server.
struct Shared {
    one: Server,
    other: Server,
    target: Server,
    gunyu: Gunyu,
}

impl Shared {
    fn start(as_localhost: bool) -> Shared {
        let (one, other, target) = (Server::with(BACKLOG), Server::with(BACKLOG), Server::start());
        for (server, name) in [(&one, "one"), (&other, "other")] {
            (0..50).for_each(|n| plant(server, 0, &format!("{name}:{n}")));
        }
        let second = if as_localhost {
            format!("localhost:{}", target.port())
        } else {
            target.addr()
        };
        let args = sync_args(&[one.addr(), other.addr()], &[target.addr(), second], &[]);
        let mut gunyu = Gunyu::with_args(args, &[]);
        gunyu.wait_ready(PATIENCE);
        Shared {
            one,
            other,
            target,
            gunyu,
        }
    }

    #[track_caller]
    fn wait_both(&mut self) {
        self.gunyu.wait_ready(PATIENCE);
        wait_caught_up(&mut self.gunyu, &self.one);
        wait_caught_up(&mut self.gunyu, &self.other);
    }

    #[track_caller]
    fn assert_holds_both(&self) {
        let target = held(&self.target);
        let missing = |(key, digest): &(&(u32, Vec<u8>), &String)| target.get(*key) != Some(*digest);
        let (one, other) = (held(&self.one), held(&self.other));
        let missing = [
            one.iter().filter(missing).count(),
            other.iter().filter(missing).count(),
        ];
        assert_eq!(missing, [0, 0], "{}", self.gunyu.traces());
    }
}

#[test]
fn a_flush_for_one_of_two_inputs_on_one_target_is_refused() {
    for as_localhost in [false, true] {
        let mut shared = Shared::start(as_localhost);
        plant(&shared.target, 0, "planted");
        let before = held(&shared.target);
        for source in [&shared.one, &shared.other] {
            let path = format!("/syncer/fullsync?inputs={}&flushdb=yes", source.addr());
            let (error, hint) = shared.gunyu.refused(400, "POST", &path);
            assert!(
                error.contains(&shared.one.addr()) && error.contains(&shared.other.addr()),
                "{error}"
            );
            assert!(hint.contains("inputs=all"), "{hint}");
        }
        assert_eq!(held(&shared.target), before);
        assert_eq!((full_syncs(&shared.one), full_syncs(&shared.other)), (1, 1));
        plant(&shared.one, 0, "one:live");
        plant(&shared.other, 0, "other:live");
        shared.wait_both();
        shared.assert_holds_both();
        assert!(has(&shared.target, 0, "planted"));
    }
}

#[test]
fn a_full_sync_of_one_of_two_inputs_on_one_target_keeps_the_keys_of_the_other() {
    let mut shared = Shared::start(false);
    let path = format!("/syncer/fullsync?inputs={}", shared.one.addr());
    shared.gunyu.must("POST", &path);
    shared.wait_both();
    shared.assert_holds_both();
    shared.gunyu.must("POST", "/syncer/fullsync?inputs=all");
    shared.wait_both();
    shared.assert_holds_both();
}

/// The first that comes takes an empty database for its own, and later everything in it that its source has not for stale.
#[test]
fn a_full_sync_keeps_the_keys_of_an_input_on_the_same_target_that_came_later() {
    let (one, mut other, target) = (Server::with(BACKLOG), Server::with(BACKLOG), Server::start());
    plant(&one, 0, "one");
    plant(&other, 0, "other");
    other.sigstop();
    let args = sync_args(&[one.addr(), other.addr()], &[target.addr(), target.addr()], &[]);
    let mut gunyu = Gunyu::with_args(args, &[]);
    gunyu.wait_status(PATIENCE, "the first is live", |status| {
        input(status, &one.addr())["Phase"] == "incremental"
    });
    other.sigcont();
    gunyu.wait_ready(PATIENCE);
    gunyu.must("POST", &format!("/syncer/fullsync?inputs={}", one.addr()));
    gunyu.wait_ready(PATIENCE);
    wait_caught_up(&mut gunyu, &one);
    assert!(has(&target, 0, "other"), "{}", gunyu.traces());
}
