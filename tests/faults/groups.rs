//! A link of a member of a group breaks in each of the ways it can, in each phase of the group's life, whatever holds the leases.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cells::{self, Cell, Struck, Witness};
use super::company::{Company, Link, RATE};
use super::support::fleet::LONG;
use super::support::group::member::Api;
use super::support::group::{Kind, Said, Tally};
use super::support::proxy::{Fault, Way};
use super::support::wait_for;
use super::support::workload::Seed;

/// What the group is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The leader's first snapshot arrives, and the other one copies what is there of it.
    Copying,
    /// It has arrived, and is restored.
    Replaying,
    /// A member comes back that had died.
    Joining,
    /// One leads, the other follows.
    Live,
    /// The lead goes from one to the other.
    Handover,
    /// The leader was asked to stop.
    Leaving,
}

impl Phase {
    const ALL: &'static [Phase] = &[
        Phase::Copying,
        Phase::Replaying,
        Phase::Joining,
        Phase::Live,
        Phase::Handover,
        Phase::Leaving,
    ];

    fn is_first_sync(self) -> bool {
        matches!(self, Phase::Copying | Phase::Replaying)
    }
}

/// Whose link it is: that of the one that leads when the phase begins, or of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Leader,
    Follower,
}

impl Victim {
    const ALL: &'static [Victim] = &[Victim::Leader, Victim::Follower];
}

/// What of a first sync is on its way while the line is narrow: for a quarter of a minute.
const SNAPSHOT_VALUES: usize = 6_000;
const VALUE_BYTES: usize = 1_000;

/// The other one has copied so much before a fault may strike.
const COPIED_BYTES: u64 = 150_000;

/// After so long a fuse that is not through is not waited for: a member renews its session every second.
const PATIENCE: Duration = Duration::from_secs(4);

/// The same while a lead is held up that is handed over: nobody drains for longer than two seconds.
const HELD: Duration = Duration::from_millis(1_500);

#[derive(Debug, Clone, Copy)]
struct Attack {
    link: Link,
    fault: Fault,
    phase: Phase,
    store: Kind,
    victim: Victim,
}

/// A member's link and a phase in which anything passes on it: who follows neither calls the source nor the target, and is called by nobody before it is to lead.
fn is_used(link: Link, phase: Phase, victim: Victim) -> bool {
    match (link, phase) {
        (Link::Store, _) => true,
        (Link::Peer, Phase::Copying | Phase::Replaying | Phase::Live) => victim == Victim::Follower,
        (Link::Peer, Phase::Joining | Phase::Handover) => true,
        // It may have gone before it has told anybody.
        (Link::Peer, Phase::Leaving) => victim == Victim::Follower,
        // What these do to a first sync is in the matrix without a group.
        (_, Phase::Copying | Phase::Replaying | Phase::Joining) => false,
        (_, Phase::Live) => victim == Victim::Leader,
        (_, Phase::Handover | Phase::Leaving) => true,
    }
}

/// One life.
struct Life {
    company: Company,
    leader: usize,
    victim: usize,
    tally: Tally,
    rng: fastrand::Rng,
}

impl Attack {
    fn name(&self) -> String {
        let Attack {
            link,
            fault,
            phase,
            store,
            victim,
        } = self;
        format!("group-{link:?}-{fault:?}-{phase:?}-{store:?}-{victim:?}")
    }

    fn run(&self, seed: &Seed, attempt: u64) -> Struck {
        let mut life = self.begin(seed, attempt);
        let struck = match self.phase {
            Phase::Copying | Phase::Replaying | Phase::Live => {
                let witness = self.arm(&mut life, attempt);
                self.wait_struck(&mut life, &witness, PATIENCE)
            }
            Phase::Joining => {
                let witness = self.arm(&mut life, attempt);
                let victim = life.victim;
                life.company.group.members[victim].start();
                self.wait_struck(&mut life, &witness, PATIENCE * 3)
            }
            Phase::Handover | Phase::Leaving => self.strike_farewell(&mut life, attempt),
        };
        self.finish(life);
        struck
    }

    /// Until its phase has begun; until right before it where it begins with a process.
    fn begin(&self, seed: &Seed, attempt: u64) -> Life {
        let parts = [
            attempt,
            self.store as u64,
            self.victim as u64,
            self.link as u64,
            self.fault as u64,
            self.phase as u64,
        ];
        let part = parts.into_iter().fold(0, |all, part| all << 6 | part);
        let mut rng = seed.rng(0x60_0000_0000 + part);
        let mut company = match self.phase.is_first_sync() {
            true => self.sync_for_the_first_time(&mut rng),
            false => {
                let mut company = Company::prepare(self.store);
                company.start();
                company
            }
        };
        let tally = company.count(&Seed::of(rng.u64(..)));
        tally.wait_more(RATE / 3);
        // A busy machine may not answer once.
        let leader = company.group.wait_for(LONG, "one leads", |group| {
            let leaders = group.leaders();
            let first = leaders.values().next();
            first.map(|(leader, _)| *leader).ok_or_else(String::new)
        });
        let victim = match self.victim {
            Victim::Leader => leader,
            Victim::Follower => 1 - leader,
        };
        let watch = &company.group.watch;
        watch.note(&format!("member {leader} leads, member {victim} is the victim"));
        if self.phase == Phase::Joining {
            company.group.members[victim].kill9();
            if victim == leader {
                // Before that its own lease would let it lead.
                company.group.wait_successor(leader, LONG);
            }
        }
        Life {
            company,
            leader,
            victim,
            tally,
            rng,
        }
    }

    /// One leads and the other follows, and the first snapshot is where the phase has it.
    fn sync_for_the_first_time(&self, rng: &mut fastrand::Rng) -> Company {
        let mut company = Company::prepare_with(self.store, "32MiB");
        let mut pipe = redis::pipe();
        let mut value = vec![0; VALUE_BYTES];
        for number in 0..SNAPSHOT_VALUES {
            rng.fill(&mut value);
            pipe.set(format!("value:{number}"), &value[..]).ignore();
        }
        let () = pipe.query(&mut company.group.source.servers()[0].conn()).unwrap();
        let narrow = match self.phase {
            Phase::Copying => Link::Source,
            _ => Link::Target,
        };
        for member in 0..2 {
            company.link(member, narrow).strike(Fault::Narrow);
        }
        company.group.members[0].start();
        company.group.wait_for(LONG, "the first one leads", |group| {
            let said = group.members[0].said();
            match said.iter().any(|said| said.leads) {
                true => Ok(()),
                false => Err(format!("{said:?}")),
            }
        });
        company.group.members[1].start();
        let phase = Holds {
            apis: apis(&company),
            leader: 0,
            victim: 1,
            phase: self.phase,
        };
        wait_for(LONG, "the phase has begun", || {
            let copied = company.link(1, Link::Peer).bytes().1;
            if copied < COPIED_BYTES {
                return Err(format!(
                    "{copied} bytes are copied\n{}",
                    company.group.last_words()
                ));
            }
            phase.ask()
        });
        company
    }

    /// In the midst of what passes there, earlier with each attempt.
    fn arm(&self, life: &mut Life, attempt: u64) -> Witness {
        let (way, most) = match (self.link, life.rng.bool()) {
            // It asks once, and hears for ever.
            (Link::Peer, _) if self.phase != Phase::Joining && self.victim == Victim::Follower => {
                (Way::Down, 3_000)
            }
            // What is acknowledged takes some bytes a second.
            (Link::Source, true) if self.phase == Phase::Live => (Way::Up, 40),
            (_, true) => (Way::Up, 300),
            (_, false) => (Way::Down, 1_200),
        };
        let fuse = (self.fault, way, life.rng.u64(1..most >> (2 * attempt)));
        let holds = self.phase_of(life);
        let proxy = life.company.link(life.victim, self.link);
        Witness::arm(proxy, fuse, move || holds.ask())
    }

    fn phase_of(&self, life: &Life) -> Holds {
        Holds {
            apis: apis(&life.company),
            leader: life.leader,
            victim: life.victim,
            phase: self.phase,
        }
    }

    /// Waits for the fuse; where nothing comes to burn it, it is struck without.
    fn wait_struck(&self, life: &mut Life, witness: &Witness, patience: Duration) -> Struck {
        let phase = format!("{:?}", self.phase);
        let since = Instant::now();
        loop {
            // The strike follows what the witness has seen at once.
            if let Some(struck) = witness.struck(&phase) {
                return struck;
            }
            if since.elapsed() > patience {
                break;
            }
            life.tally.wait_more(1);
        }
        self.strike_by_hand(life)
    }

    fn strike_by_hand(&self, life: &Life) -> Struck {
        let proxy = life.company.link(life.victim, self.link);
        proxy.heal();
        let lasts = !matches!(
            self.fault,
            Fault::Cut | Fault::Reset | Fault::Late | Fault::HalfOpen | Fault::Orphaned
        );
        let struck = match self.phase_of(life).ask() {
            Ok(()) if lasts || proxy.open() > 0 => Struck::ByHand(format!("{:?}", self.phase)),
            Ok(()) => Struck::Missed("there is no connection to strike".to_owned()),
            Err(how) => Struck::Missed(how),
        };
        proxy.strike(self.fault);
        struck
    }

    /// What the leader has under way holds it up until then; whoever calls only when that is done is struck then.
    fn strike_farewell(&self, life: &mut Life, attempt: u64) -> Struck {
        let leader = life.leader;
        let holds = Holds {
            victim: 1 - leader,
            ..self.phase_of(life)
        };
        life.company.link(leader, Link::Target).stall();
        // On a machine so busy that its lease has run out, it leads no more.
        let comes_to_it = |life: &Life, what: &str, is_so: &dyn Fn(&Life) -> bool| {
            wait_for(LONG, what, || match (is_so(life), holds.ask()) {
                (true, _) => Ok(true),
                (false, Err(_)) => Ok(false),
                (false, Ok(())) => Err(life.company.group.last_words()),
            })
        };
        let mut leads = comes_to_it(life, "a batch is on its way", &|life| {
            life.company.link(leader, Link::Target).is_holding()
        });
        let told = |life: &Life| {
            let traces = life.company.group.members[leader].traces();
            traces.matches("handing over").count()
        };
        let before = told(life);
        let call = self.bid_farewell(life);
        leads = leads && comes_to_it(life, "it hands over", &|life| told(life) > before);
        let struck = match (self.link, self.victim) {
            _ if !leads => {
                life.company.link(leader, Link::Target).resume();
                Struck::Missed("it leads no more".to_owned())
            }
            (Link::Target, Victim::Leader) => {
                let struck = match self.phase_of(life).ask() {
                    Ok(()) => Struck::ByHand(format!("{:?}", self.phase)),
                    Err(how) => Struck::Missed(how),
                };
                let target = life.company.link(leader, Link::Target);
                target.strike(self.fault);
                if self.fault != Fault::Stall {
                    target.resume();
                }
                struck
            }
            (Link::Source | Link::Target, Victim::Follower) | (Link::Peer, Victim::Leader) => {
                let witness = self.arm(life, attempt);
                life.company.link(leader, Link::Target).resume();
                self.wait_struck(life, &witness, PATIENCE)
            }
            _ => {
                let witness = self.arm(life, attempt);
                let struck = self.wait_struck(life, &witness, HELD);
                life.company.link(leader, Link::Target).resume();
                struck
            }
        };
        if let Some(call) = call {
            // It is refused where what breaks prevents it.
            drop(call.join());
        }
        struck
    }

    fn bid_farewell(&self, life: &mut Life) -> Option<JoinHandle<()>> {
        let member = &mut life.company.group.members[life.leader];
        if self.phase == Phase::Leaving {
            member.signal(libc::SIGTERM);
            return None;
        }
        let api = member.api();
        Some(std::thread::spawn(move || {
            drop(api.send("POST", "/syncer/handover?inputs=all", LONG));
        }))
    }

    /// It lasts, at times for longer than a lease; then all is well, and exact.
    fn finish(&self, life: Life) {
        let Life {
            mut company,
            leader,
            tally,
            mut rng,
            ..
        } = life;
        company.group.watch.note("it has struck");
        tally.wait_more(if rng.bool() { RATE } else { RATE * 9 / 2 });
        for member in 0..2 {
            for link in Link::ALL {
                company.link(member, *link).heal();
            }
        }
        company.group.watch.note("it is healed");
        if self.phase == Phase::Leaving {
            let status = company.group.members[leader].wait_end(LONG);
            assert_eq!(status.code(), Some(0), "{}", company.group.last_words());
        }
        // What breaks before the first snapshot is everywhere may cost another one.
        let most = if self.phase.is_first_sync() { 4 } else { 1 };
        company.finish(tally, most);
    }
}

fn apis(company: &Company) -> Vec<Api> {
    let members = company.group.members.iter();
    members.map(|member| member.api()).collect()
}

/// Asks the members whether a phase goes on.
struct Holds {
    apis: Vec<Api>,
    /// Who led when it began.
    leader: usize,
    victim: usize,
    phase: Phase,
}

impl Holds {
    /// What speaks against it, if anything does.
    fn ask(&self) -> Result<(), String> {
        let status = |member: usize| {
            // A busy machine answers late.
            let mut asked = (0..5).map(|_| self.apis[member].status());
            asked.find_map(Result::ok).unwrap_or_default()
        };
        let (led, other) = (status(self.leader), status(1 - self.leader));
        let holds = match self.phase {
            Phase::Copying => is_syncing(&led) && !has_arrived(&led),
            Phase::Replaying => is_syncing(&led) && has_arrived(&led),
            // Nothing has come yet of what it follows.
            Phase::Joining => {
                let own = status(self.victim);
                !all(&own)
                    .iter()
                    .any(|said| said.leads || (said.phase == "following" && said.received > 0))
            }
            Phase::Live => is_leading(&led),
            // A process that takes its leave goes on doing so after the other one leads.
            Phase::Leaving if self.victim == self.leader => true,
            Phase::Handover | Phase::Leaving => !is_leading(&other),
        };
        match holds {
            true => Ok(()),
            false => Err(format!(
                "not {:?}: {}, the other one {}",
                self.phase,
                brief(&led),
                brief(&other)
            )),
        }
    }
}

fn all(status: &Value) -> Vec<Said> {
    match status {
        Value::Null => Vec::new(),
        status => Said::all(status),
    }
}

fn brief(status: &Value) -> String {
    let (phase, role, sync) = (&status[0]["Phase"], &status[0]["Role"], &status[0]["FullSync"]);
    format!(
        "{phase} {role} {} of {}",
        sync["ReceivedBytes"], sync["TotalBytes"]
    )
}

fn is_leading(status: &Value) -> bool {
    let said = all(status);
    said.iter().any(|said| said.leads && said.phase == "incremental")
}

fn is_syncing(status: &Value) -> bool {
    let said = all(status);
    said.iter().any(|said| said.leads && said.phase == "full_sync")
}

/// Whether the snapshot is whole here.
fn has_arrived(status: &Value) -> bool {
    let sync = &status[0]["FullSync"];
    let total = sync["TotalBytes"].as_u64().unwrap_or(0);
    total > 0 && sync["ReceivedBytes"].as_u64() >= Some(total)
}

#[test]
fn however_a_members_link_breaks_in_whatever_phase_counters_are_exact() {
    let mut cells = Vec::new();
    for link in Link::ALL {
        for phase in Phase::ALL {
            for victim in Victim::ALL {
                for store in [Kind::Etcd, Kind::Redis] {
                    for fault in Fault::ALL.iter().filter(|_| is_used(*link, *phase, *victim)) {
                        let attack = Attack {
                            link: *link,
                            fault: *fault,
                            phase: *phase,
                            store,
                            victim: *victim,
                        };
                        cells.push(Cell::striking(attack.name(), move |seed, attempt| {
                            attack.run(seed, attempt)
                        }));
                    }
                }
            }
        }
    }
    cells::run("links of groups", cells);
}
