//! What would go wrong between a source and a target, told before it does.
//!
//! ```text
//! Plan --look--> facts of every node of both sides, and of this machine --rules--> findings --fold--> the same of several nodes in one
//! ```
//!
//! [`look`] and [`here`] ask, [`rules`] judge: pure functions from facts to a [`Finding`], one small rule for each thing that can be wrong. Promises that no
//! answer changes anything on either side, that a server which cannot be asked is a finding like any other while everything else is still examined, and
//! that every fix is something to type. Leaves to the commands how it is shown.
//!
//! | | full | in brief |
//! | --- | --- | --- |
//! | asked | what [`needs`] lists, `CONFIG GET`, `ACL DRYRUN`, `CLUSTER INFO`; where `ACL` is refused each permission is tried ([`rights`]) | what gunyu may ask in any case: `INFO`, `CLUSTER NODES` of a source, `CLUSTER SLOTS` of a target |
//! | this machine | folder, disk, ports, limits | nothing: the daemon has just taken all of it |
//! | a refusal | is told, and may stand in the server's ACL log | does not happen where README's permissions are granted |
//!
//! What may not be asked is [`Severity::Unknown`], which is no fault.

pub mod answer;
mod ask;
pub mod certificate;
mod facts;
mod fold;
mod here;
pub mod info;
mod look;
pub mod needs;
mod rights;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

pub use here::Place as Here;

use super::filter::Filter;
use super::net::Endpoint;
use super::topology;

/// How bad a finding is. The later the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// All is well.
    Ok,
    /// It may not be asked: perhaps all is well.
    Unknown,
    /// It works now, and may not always.
    Warning,
    /// It will not work.
    Problem,
}

impl Severity {
    /// All of them, the best first.
    pub const ALL: [Severity; 4] = [
        Severity::Ok,
        Severity::Unknown,
        Severity::Warning,
        Severity::Problem,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Unknown => "unknown",
            Severity::Warning => "warning",
            Severity::Problem => "problem",
        }
    }
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The source.
    Source,
    /// The target.
    Target,
    /// This machine, and what gunyu uses of it.
    Here,
}

impl Subject {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Subject::Source => "source",
            Subject::Target => "target",
            Subject::Here => "here",
        }
    }
}

/// What one rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name, for programs: it stays.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// The servers, where it is about some: `host:port`.
    pub nodes: Vec<String>,
    /// What was found, in a sentence.
    pub says: String,
    /// What to type, a line each.
    pub fix: Vec<String>,
}

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What costs nothing, needs no permission beyond those that gunyu needs, and leaves no trace.
    Brief,
    /// Everything.
    Full,
}

/// What is to be examined.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The source.
    pub source: Side,
    /// The target.
    pub target: Side,
    /// `PSYNC`, or what the source calls it.
    pub psync_command: String,
    /// What is replicated, and into which databases.
    pub filter: Arc<Filter>,
    /// So long the link to the source may be down without a full sync.
    pub outage: Duration,
    /// A source that is silent for so long is taken for dead.
    pub silence: Duration,
    /// Connections to each target node in a full sync.
    pub connections: u64,
    /// What the target refuses is left out and written down, and the stream goes on.
    pub has_dead_letters: bool,
    /// What modules keep beside the keys is left out where the target lacks the module.
    pub skips_module_aux: bool,
    /// A key that the filter lets through and that nobody has: permissions are tried on it, too.
    pub probe: Option<String>,
    /// This machine.
    pub here: Here,
    /// Where the leases of a group are kept, where they have a place of their own.
    pub store: Vec<Endpoint>,
    /// Whether the leases of a group are kept in the source.
    pub leases_in_source: bool,
    /// What is to be said of the configuration itself.
    pub notes: Vec<String>,
    /// How much is asked.
    pub depth: Depth,
}

/// One side.
#[derive(Debug, Clone)]
pub struct Side {
    /// Which servers it is made of.
    pub shape: Shape,
    /// What `redis-cli` needs to reach them, beside host and port: a fix is typed with it.
    pub cli: Vec<String>,
}

/// Which servers a side is made of.
#[derive(Debug, Clone)]
pub enum Shape {
    /// These, which know nothing of each other.
    Servers(Vec<Endpoint>),
    /// The master that sentinels name.
    Named {
        /// The sentinels.
        sentinels: Vec<Endpoint>,
        /// Where the master is.
        place: topology::Place,
    },
    /// The masters of a cluster.
    Cluster {
        /// Nodes to begin with.
        seeds: Vec<Endpoint>,
        /// Its replicas too: they may be followed.
        with_replicas: bool,
    },
}

impl Shape {
    const fn is_cluster(&self) -> bool {
        matches!(self, Shape::Cluster { .. })
    }
}

/// Each step has an end, also where a server answers each question at the last moment.
const STEP_LIMIT: Duration = Duration::from_secs(60);

/// Examines both sides, and this machine. What is wrong stands in what comes back, whatever it is.
pub async fn examine(plan: &Plan) -> Vec<Finding> {
    let (mut source, mut target) = tokio::join!(
        look::within(STEP_LIMIT, plan, &plan.source, Subject::Source),
        look::within(STEP_LIMIT, plan, &plan.target, Subject::Target)
    );
    let (mut here, mut store) = (None, Vec::new());
    if plan.depth == Depth::Full {
        // Those who have not answered by then stay unknown.
        let learning = Box::pin(rights::learn(plan, &mut source, &mut target));
        let _ = timeout(STEP_LIMIT, learning).await;
        store = look::store(&plan.store).await;
        let place = plan.here.clone();
        // A disk may be slow, or hang.
        let looking = tokio::task::spawn_blocking(move || here::look(&place));
        here = timeout(STEP_LIMIT, looking).await.ok().and_then(Result::ok);
    }
    let case = rules::Case {
        plan,
        source: &source,
        target: &target,
        store: &store,
    };
    let mut findings = rules::judge(&case, here.as_ref());
    if plan.depth == Depth::Full && here.is_none() {
        findings.push(unseen());
    }
    fold::fold(findings, plan.depth)
}

/// This machine did not answer.
fn unseen() -> Finding {
    Finding {
        check: "folder",
        severity: Severity::Unknown,
        subject: Subject::Here,
        nodes: Vec::new(),
        says: format!(
            "the folder of the logs and its disk did not answer within {} s",
            STEP_LIMIT.as_secs()
        ),
        fix: vec!["see whether the disk hangs (dmesg, df)".to_owned()],
    }
}

/// The worst of these.
#[must_use]
pub fn worst(findings: &[Finding]) -> Severity {
    let all = findings.iter().map(|finding| finding.severity);
    all.max().unwrap_or(Severity::Ok)
}
