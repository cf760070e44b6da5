//! Where the members of a group live: on one machine, or on machines of their own.
//!
//! *Machines* are network namespaces inside a namespace that one test has for itself: the test is run once more, as a
//! process within it, and all that it starts and builds there goes with it. Each member has two cables: one to
//! everything else, one to the other members alone, which can be pulled.
//!
//! Where the system permits no namespaces (some containers do not), all live on loopback, and the test is told so: what then cannot
//! be shown is said aloud by [`World::missing`].

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use super::turn::Turn;
use crate::support::process::die_with_us;

/// Set for the process that runs within the namespace.
const WITHIN: &str = "GUNYU_TEST_MACHINES";

/// What makes a namespace: as whoever one is, else as root.
const WAYS: [&[&str]; 2] = [
    &["--user", "--map-root-user", "--net", "--mount"],
    &["--net", "--mount"],
];

/// The way that works here.
static WAY: LazyLock<Option<&'static [&'static str]>> = LazyLock::new(|| {
    // All that is needed later, once.
    let trial = "ip link set lo up && mount --make-rprivate / && mount -t tmpfs none /run && ip netns add trial && \
                 ip link add trial type bridge && ip link add one type veth peer name other netns trial && \
                 ip link set one master trial && nsenter --net=/run/netns/trial true";
    let works = |way: &&&[&str]| {
        let mut command = Command::new("unshare");
        command.args(**way).args(["sh", "-c", trial]);
        let output = command.stdin(Stdio::null()).output();
        output.is_ok_and(|output| output.status.success())
    };
    WAYS.iter().find(works).copied()
});

/// One machine, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct World {
    machines: usize,
}

impl World {
    /// One machine: loopback.
    pub const fn of_one() -> World {
        World { machines: 0 }
    }

    /// Runs the test `body` where each of so many members has a machine of its own, if that can be had, else where all have one.
    ///
    /// `test` is the test itself, which is run again within.
    pub fn with_machines<F: Fn()>(machines: usize, _test: F, body: impl FnOnce(World)) {
        if std::env::var_os(WITHIN).is_some() {
            return body(World::build(machines));
        }
        match *WAY {
            Some(way) => {
                let _turn = Turn::take();
                run_within(way, std::any::type_name::<F>());
            }
            None => {
                eprintln!(
                    "NO NAMESPACES HERE (unshare --net is refused): all members live on one machine, and links between \
                     them cannot be cut. Run this where they are permitted, e.g. `docker run --privileged`."
                );
                body(World::of_one());
            }
        }
    }

    fn build(machines: usize) -> World {
        must(Path::new("mount"), &["--make-rprivate", "/"]);
        must(Path::new("mount"), &["-t", "tmpfs", "none", "/run"]);
        ip("link set lo up");
        for (bridge, address) in [("hall", "10.77.0.1/24"), ("peers", "10.77.1.1/24")] {
            ip(&format!("link add {bridge} type bridge"));
            ip(&format!("addr add {address} dev {bridge}"));
            ip(&format!("link set {bridge} up"));
        }
        for machine in 0..machines {
            ip(&format!("netns add m{machine}"));
            ip(&format!("-n m{machine} link set lo up"));
            for (number, bridge) in ["hall", "peers"].into_iter().enumerate() {
                let (outer, inner) = (format!("{bridge}{machine}"), format!("eth{number}"));
                ip(&format!(
                    "link add {outer} type veth peer name {inner} netns m{machine}"
                ));
                ip(&format!("link set {outer} master {bridge}"));
                ip(&format!("link set {outer} up"));
                let last = machine + FIRST;
                ip(&format!(
                    "-n m{machine} addr add 10.77.{number}.{last}/24 dev {inner}"
                ));
                ip(&format!("-n m{machine} link set {inner} up"));
            }
        }
        World { machines }
    }

    /// Whether each member has a machine of its own.
    pub fn has_machines(&self) -> bool {
        self.machines > 0
    }

    /// Says aloud that this is not shown here, if it is not.
    pub fn missing(&self, what: &str) -> bool {
        if !self.has_machines() {
            eprintln!("NOT SHOWN HERE, for want of network namespaces: {what}");
        }
        !self.has_machines()
    }

    /// Where members find servers.
    pub fn host(&self) -> Ipv4Addr {
        match self.has_machines() {
            true => Ipv4Addr::new(10, 77, 0, 1),
            false => Ipv4Addr::LOCALHOST,
        }
    }

    /// Where a member's API is, and where the other members find it.
    pub fn hosts_of(&self, member: usize) -> (Ipv4Addr, Ipv4Addr) {
        let last = u8::try_from(member + FIRST).unwrap();
        match self.has_machines() {
            true => (Ipv4Addr::new(10, 77, 0, last), Ipv4Addr::new(10, 77, 1, last)),
            false => (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST),
        }
    }

    /// Whose machine has this address.
    pub fn member_at(&self, ip: Ipv4Addr) -> Option<usize> {
        let [10, 77, 0, last] = ip.octets() else {
            return None;
        };
        let member = usize::from(last).checked_sub(FIRST)?;
        (member < self.machines).then_some(member)
    }

    /// The command that runs a program on this member's machine, its process id the program's.
    pub fn command(&self, member: usize, program: &str) -> Command {
        if !self.has_machines() {
            return Command::new(program);
        }
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/m{member}"));
        // A name of its own, as a machine has.
        command.args(["unshare", "--uts", "sh", "-c"]);
        command.arg(format!("hostname m{member}; exec \"$@\""));
        command.args(["sh", program]);
        command
    }

    /// Pulls the cable between this member and all others, or plugs it in again.
    pub fn plug_peers(&self, member: usize, plugged: bool) {
        assert!(self.has_machines(), "there is no cable to pull");
        ip(&format!(
            "link set peers{member} {}",
            if plugged { "up" } else { "down" }
        ));
    }
}

/// The last byte of the first machine's addresses.
const FIRST: usize = 11;

fn ip(words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    must(Path::new("ip"), &words);
}

fn must(program: &Path, args: &[&str]) {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {args:?}: {said}", program.display());
}

/// Runs one test of this program within a new namespace, and fails where it fails.
fn run_within(way: &[&str], path: &str) {
    // `crate::module::test`; the crate is not part of a test's name.
    let name = path.split_once("::").map_or(path, |(_, name)| name);
    let mut command = Command::new("unshare");
    command.args(way).args(["sh", "-c", "exec \"$@\" 2>&1", "sh"]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--include-ignored"]);
    command
        .env(WITHIN, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    die_with_us(&mut command);
    let mut child = command.spawn().unwrap();
    let mut ran = false;
    for line in BufReader::new(child.stdout.take().expect("it is piped")).split(b'\n') {
        let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
        ran |= line.contains("1 passed");
        println!("  {line}");
    }
    let status = child.wait().unwrap();
    assert!(
        status.success() && ran,
        "{name}, run on machines of its own: {status}, see above"
    );
}
