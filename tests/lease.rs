//! The lease.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;
#[test]
fn etcd_runs() {
    use support::etcd::{Etcd, Program};
    for program in Program::all() {
        let mut etcd = Etcd::of(&program);
        etcd.ctl(&["put", "a", "b"]);
        etcd.restart();
        assert_eq!(etcd.ctl(&["get", "a"]), "a\nb\n");
        etcd.restart_empty();
        assert_eq!(etcd.ctl(&["get", "a"]), "");
        let mut three = Etcd::cluster(&program, 3, None);
        three[0].kill9();
        support::wait_for(support::SOON, "the others go on", || {
            // What is proposed while they elect gets lost.
            let put = three[1].try_ctl(&["--command-timeout=1s", "put", "a", "b"]);
            put.status
                .success()
                .then_some(())
                .ok_or_else(|| format!("{put:?}"))
        });
        assert_eq!(three[2].ctl(&["get", "a"]), "a\nb\n");
    }
}
