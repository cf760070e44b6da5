//! The steps at which a crash must lose nothing, each by its name; and, in a debug build, the way to have one there.
//!
//! Every change of something that outlives the process lies between two of them: a file, the catalog, the target, the leases. Whoever makes such a change
//! says so with [`pass`]. A test reads [`Step::ALL`], starts the program with an order ([`command`]), and finds what is left when it goes on without
//! one; a step that nothing passes, or that no test reaches, fails it.
//!
//! By `debug_assertions`, not by a feature of the crate: `cargo test` builds the program with them as it is, without a second build, and in
//! a release build a step is an empty function.

#[cfg(debug_assertions)]
use std::sync::OnceLock;
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU64, Ordering};

/// One definition of steps, their names and their list.
macro_rules! steps {
    ($( $(#[doc = $doc:literal])+ $step:ident = $name:literal, )+) => {
        /// A step.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Step {
            $( $(#[doc = $doc])+ $step, )+
        }

        impl Step {
            /// All there are, in the order in which they are passed, more or less.
            pub const ALL: &'static [Step] = &[$(Step::$step),+];

            /// As an order names it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Step::$step => $name,)+
                }
            }
        }
    };
}

steps! {
    /// The session's key on the target is ours; older sessions have not been ended.
    TargetClaimed = "target.claimed",
    /// Older sessions have been ended; the checkpoint has not been read.
    TargetCleared = "target.cleared",
    /// The catalog is about to be written.
    CatalogWriting = "catalog.writing",
    /// It has been written, and nobody has acted on it.
    CatalogWritten = "catalog.written",
    /// The catalog is about to forget something.
    CatalogRemoving = "catalog.removing",
    /// It has forgotten it.
    CatalogRemoved = "catalog.removed",
    /// The log begins anew: the catalog knows it no more, its files are there.
    LogForgotten = "log.forgotten",
    /// The files are gone too.
    LogSwept = "log.swept",
    /// The log has begun anew without a snapshot.
    LogBegun = "log.begun",
    /// The source has answered `PSYNC`.
    SourceAnswered = "source.answered",
    /// The history's new name is noted, and nothing received under it.
    HistoryRenamed = "log.history-renamed",
    /// The snapshot's file is there; the catalog does not know of it.
    SnapshotCreated = "log.snapshot.created",
    /// The catalog knows of it, and nothing is in it.
    SnapshotBegun = "log.snapshot.begun",
    /// Half of a piece is in it.
    SnapshotTorn = "log.snapshot.torn",
    /// A piece is in it.
    SnapshotPiece = "log.snapshot.piece",
    /// All of it is durable, under the name of one that is not whole.
    SnapshotPersisted = "log.snapshot.persisted",
    /// It has its final name, which is not durable.
    SnapshotRenamed = "log.snapshot.renamed",
    /// Its name is durable; the catalog does not know that it is whole.
    SnapshotNamed = "log.snapshot.named",
    /// The catalog knows.
    SnapshotWhole = "log.snapshot.whole",
    /// The target says that a full sync is under way; its checkpoint is gone.
    SyncBegun = "sync.begun",
    /// A full sync was asked for: nothing has been done on the target.
    RequestDue = "request.due",
    /// The target is emptied, as was asked, and its checkpoint gone; nobody has noted that what is empty is ours.
    FlushEmptied = "flush.emptied",
    /// That is noted too.
    FlushNoted = "flush.noted",
    /// The target has no checkpoint any more; whoever asked has not been told.
    RequestBegun = "request.begun",
    /// He has been told; the log has its old snapshot and stream.
    RequestAnswered = "request.answered",
    /// A key of the snapshot has been handed to a lane.
    SyncKey = "sync.key",
    /// Key sets are in the catalog; the mark on the target is an older one.
    SyncKeysNoted = "sync.keys-noted",
    /// The mark on the target has moved.
    SyncMarked = "sync.marked",
    /// A value written in pieces is whole, under its staged name.
    ValueStaged = "value.staged",
    /// It has its key's name.
    ValueNamed = "value.named",
    /// All keys are confirmed; the checkpoint is not written.
    SyncRestored = "sync.restored",
    /// Keys that only the target has are noted; those that are to go are still there.
    SyncStaleNoted = "sync.stale-noted",
    /// Some of what the source has no more is gone from the target, and the rest is still there.
    SyncSweeping = "sync.sweeping",
    /// All of it is gone.
    SyncSwept = "sync.swept",
    /// The checkpoint is written; the catalog still has the key sets.
    SyncRecorded = "sync.recorded",
    /// They are gone too.
    SyncDone = "sync.done",
    /// Keys whose expiry was put off have it; the catalog still lists them.
    ParkedSet = "parked.set",
    /// The catalog does not list them any more.
    ParkedForgotten = "parked.forgotten",
    /// A segment's file is there, and empty.
    SegmentCreated = "log.segment.created",
    /// Half of its header is in it.
    SegmentTorn = "log.segment.torn",
    /// Its header is in it, and the log does not know it yet.
    SegmentHeaded = "log.segment.headed",
    /// The log goes on in it; the one before has no seal.
    SegmentRolled = "log.segment.rolled",
    /// Bytes of the stream are here, and not in the log.
    StreamReceived = "source.received",
    /// Half of a block is in a segment.
    BlockTorn = "log.block.torn",
    /// A block is in the segment, and no reader has been told.
    BlockWritten = "log.block.written",
    /// Readers have been told.
    BlockAppended = "log.block.appended",
    /// Appended bytes are about to be made durable.
    PersistBegun = "log.persist.begun",
    /// They are durable; a finished segment has no seal.
    SegmentPersisted = "log.segment.persisted",
    /// Half of the seal is in it.
    SealTorn = "log.seal.torn",
    /// It is sealed.
    SegmentSealed = "log.segment.sealed",
    /// The source has been told how far the target is.
    SourceAcknowledged = "source.acknowledged",
    /// A batch is with the target, which has not answered.
    BatchSent = "batch.sent",
    /// The target has answered; nobody here has been told.
    BatchAnswered = "batch.answered",
    /// A batch that is no transaction is with the target, which has not answered.
    LooseSent = "loose.sent",
    /// It has answered; nobody here has been told, and no checkpoint says so.
    LooseAnswered = "loose.answered",
    /// The checkpoint stands, behind what was applied; nobody here has been told.
    LooseRecorded = "loose.recorded",
    /// A command was refused; its letter is nowhere.
    LetterDue = "letter.due",
    /// Half of it is in the file.
    LetterTorn = "letter.torn",
    /// It is durable; the batch has not gone on.
    LetterWritten = "letter.written",
    /// Positions have moved; the log still holds what may go.
    BatchAdvanced = "batch.advanced",
    /// The log may release what is checkpointed.
    BatchReleasable = "batch.releasable",
    /// A checkpoint is due though nothing was applied.
    CheckpointIdle = "checkpoint.idle",
    /// A released segment's file is gone.
    SegmentRemoved = "log.segment.removed",
    /// The released snapshot's file is gone; the catalog still has it.
    SnapshotRemoved = "log.snapshot.removed",
    /// Where the shards' streams are, and whose slots are whose, is written down; nobody goes by it yet.
    TickWritten = "crossing.tick-written",
    /// What all shards have passed of that is forgotten.
    TicksForgotten = "crossing.ticks-forgotten",
    /// What a shard imports is written down; nobody goes by it yet.
    WindowsWritten = "crossing.windows-written",
    /// Shards have left unheard. The group knows that this process sees to it; nothing is noted here.
    UnheardClaimed = "shards.unheard-claimed",
    /// It is noted that all shards begin anew, and not that the one that has left is seen to.
    EntangledNoted = "shards.entangled-noted",
    /// That is noted too; nobody has begun anew.
    UnheardSettled = "shards.unheard-settled",
    /// A shard has begun anew: its note is taken back, and the snapshot is not restored.
    EntangledForgotten = "sync.entangled-forgotten",
    /// The checkpoint of an input that has gone is no more on the target; its log is here.
    GarbageUncheckpointed = "gc.checkpoint-removed",
    /// The name of an input that has gone is noted, because its checkpoint stays; its log is here.
    GarbageRetired = "gc.retired",
    /// The catalog has forgotten its log, whose files are here.
    GarbageForgotten = "gc.forgotten",
    /// The files are gone too; their folder is here.
    GarbageSwept = "gc.swept",
    /// So is the folder.
    GarbageRemoved = "gc.removed",
    /// Asked to stop: nothing has been drained.
    DrainBegun = "drain.begun",
    /// What was under way is answered and recorded.
    DrainDone = "drain.done",
    /// A flight is with a node of a cluster, which has not answered.
    FlightSent = "flight.sent",
    /// The node has answered.
    FlightLanded = "flight.landed",
    /// Marks of a checkpoint are on all nodes; the checkpoint is not.
    MarksLeft = "cluster.marks-left",
    /// The checkpoint of a cluster stands.
    MarksRecorded = "cluster.recorded",
    /// The process is a member of its group, and has no lease.
    MemberBegun = "group.begun",
    /// It has a lease, and does not know it yet.
    LeaseTaken = "group.lease-taken",
    /// The session is renewed.
    SessionRenewed = "group.renewed",
    /// A follower's log has begun a copy.
    CopyBegun = "copy.begun",
    /// A piece of the leader's stream is in it.
    CopyAppended = "copy.appended",
    /// What is handed over has been drained; the lease is still ours.
    HandoverDrained = "group.drained",
    /// The lease is the heir's, who has not been told.
    HandoverPassed = "group.passed",
    /// The lease of an input that has gone is given back; the process goes on.
    LeaseGivenBack = "group.given-back",
    /// Nobody is there to hand over to: the lease is given back, and the process does not know it.
    LeaseResigned = "group.resigned",
    /// The process has left its group.
    MemberLeft = "group.left",
}

impl Step {
    /// The step of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Step> {
        Step::ALL.iter().copied().find(|step| step.name() == name)
    }
}

/// What was ordered. Given at start at most, before anything is passed; it ends with the process.
#[cfg(debug_assertions)]
static ORDER: OnceLock<Order> = OnceLock::new();

#[cfg(debug_assertions)]
#[derive(Debug)]
struct Order {
    step: Step,
    /// At this passing of it, counted from 1.
    nth: u64,
    passed: AtomicU64,
}

/// Whether the first passing of each step is told.
#[cfg(debug_assertions)]
static WATCHED: OnceLock<Vec<AtomicU64>> = OnceLock::new();

/// Has the process tell, in its traces, of the first passing of each step.
#[cfg(debug_assertions)]
pub fn watch() {
    // It is watched already.
    let _ = WATCHED.set(Step::ALL.iter().map(|_| AtomicU64::new(0)).collect());
}

#[cfg(debug_assertions)]
fn tell_first(step: Step) {
    let passed = WATCHED.get().and_then(|all| all.get(step as usize));
    if passed.is_some_and(|passed| passed.fetch_add(1, Ordering::Relaxed) == 0) {
        tracing::info!(step = step.name(), "passed");
    }
}

/// Has the process die at the `nth` passing of the step, counted from 1. The first order counts.
#[cfg(debug_assertions)]
pub fn command(step: Step, nth: u64) {
    let passed = AtomicU64::new(0);
    // Another order stands already: that is the one.
    let _ = ORDER.set(Order { step, nth, passed });
}

/// The process is at this step. Does not return where a crash was ordered for it.
#[cfg(debug_assertions)]
pub fn pass(step: Step) {
    if is_due(step) {
        die(step);
    }
}

/// The process is at this step.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn pass(_: Step) {}

/// Counts a passing, and says whether a crash is ordered for it: for who has something to leave half done before it calls [`die`].
#[cfg(debug_assertions)]
#[must_use]
pub fn is_due(step: Step) -> bool {
    tell_first(step);
    let Some(order) = ORDER.get().filter(|order| order.step == step) else {
        return false;
    };
    order.passed.fetch_add(1, Ordering::SeqCst) + 1 == order.nth
}

/// No crash is ever ordered.
#[cfg(not(debug_assertions))]
#[must_use]
#[inline(always)]
pub fn is_due(_: Step) -> bool {
    false
}

/// Ends the process as a crash does: nothing is unwound, flushed or answered.
pub fn die(step: Step) -> ! {
    tracing::warn!(step = step.name(), "dying as ordered");
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_step_has_a_name_of_its_own_and_is_found_by_it() {
        let names: HashSet<&str> = Step::ALL.iter().map(|step| step.name()).collect();
        assert_eq!(names.len(), Step::ALL.len());
        assert!(
            Step::ALL
                .iter()
                .all(|step| Step::named(step.name()) == Some(*step))
        );
        assert_eq!(Step::named("log.segment"), None);
    }
}
