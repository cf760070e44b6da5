//! The metrics, built anew at every scrape from `core::progress`, so that nothing on the way of the data ever looks one up.
//!
//! The names beginning with `redisGunYu_` are those of redis-GunYu, so that its dashboards keep working; those beginning
//! with `gunyu_` are ours.
//!
//! In a group, how far the target is behind is there for inputs that this process leads; of those that it follows there is how far
//! its log is behind the leader's.

use prometheus::core::Collector;
use prometheus::{Encoder, GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

use super::model::{FOLLOWER, LEADER};
use crate::core::progress::{Counters, Phase, State, Status};
use crate::core::supervisor::{Handle, Input};

/// One input at the moment of the scrape.
struct Sample {
    /// Its label.
    name: String,
    input: Input,
    is_led: bool,
    status: Status,
}

impl Sample {
    fn of(input: Input) -> Sample {
        Sample {
            name: input.source.to_string(),
            is_led: input.is_led(),
            status: input.progress.status(),
            input,
        }
    }

    /// 0, 1, 2: nothing comes, a snapshot, the stream. A pipeline is not a follower's before it has ended, nor the other way round.
    fn sync(&self) -> i64 {
        let snapshot = self.status.full_sync.as_ref();
        match (self.is_led, self.status.phase) {
            (_, Phase::Connecting | Phase::Backoff)
            | (true, Phase::Following)
            | (false, Phase::FullSync | Phase::Incremental) => 0,
            (true, Phase::FullSync) => 1,
            (false, Phase::Following) if snapshot.is_some_and(|one| !one.is_received()) => 1,
            (true, Phase::Incremental) | (false, Phase::Following) => 2,
        }
    }
}

/// The text of a scrape, of a member of that group or of a process that stands alone.
#[must_use]
pub fn render(handle: &Handle, group: Option<&str>) -> String {
    let registry = Registry::new();
    let page = Page { registry: &registry };
    let process = prometheus::process_collector::ProcessCollector::for_self();
    page.register(Box::new(process));
    page.build_info();
    page.tasks(handle);
    page.storage(handle);
    let samples: Vec<Sample> = handle.inputs().into_iter().map(Sample::of).collect();
    page.inputs(&samples);
    page.leaders(&samples, group.unwrap_or_default());
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&registry.gather(), &mut text) {
        tracing::warn!(%error, "a metric could not be written");
    }
    String::from_utf8(text).unwrap_or_default()
}

/// A page being filled. Names are literals and each is registered once, so nothing here can fail at run time.
struct Page<'a> {
    registry: &'a Registry,
}

type Value = fn(&Sample) -> u64;

/// Counters: name, help, value.
const COUNTERS: &[(&str, &str, Value)] = &[
    (
        "redisGunYu_output_received_cmd",
        "Commands read from the stream.",
        |i| count(i, |c| &c.commands_received),
    ),
    (
        "redisGunYu_output_send_cmd",
        "Commands sent to the target.",
        |i| count(i, |c| &c.commands_sent),
    ),
    (
        "redisGunYu_output_filter_cmd",
        "Commands dropped by a filter.",
        |i| count(i, |c| &c.commands_filtered),
    ),
    (
        "redisGunYu_output_send_size",
        "Bytes of commands sent to the target.",
        |i| count(i, |c| &c.bytes_sent),
    ),
    (
        "redisGunYu_output_fail_cmd",
        "Commands the target refused.",
        |i| count(i, |c| &c.commands_refused),
    ),
    (
        "redisGunYu_output_success_cmd",
        "Commands the target confirmed.",
        |i| count(i, |c| &c.commands_applied),
    ),
    (
        "redisGunYu_output_rdb_key_send",
        "Keys sent in full syncs.",
        |i| count(i, |c| &c.snapshot_keys_sent),
    ),
    (
        "redisGunYu_output_rdb_key_filter",
        "Keys left out of full syncs by a filter.",
        |i| count(i, |c| &c.snapshot_keys_filtered),
    ),
    (
        "redisGunYu_aof_write",
        "Bytes of stream written to the log.",
        |i| count(i, |c| &c.log_bytes_written),
    ),
    (
        "redisGunYu_rdb_write",
        "Bytes of snapshot written to the log.",
        |i| count(i, |c| &c.snapshot_bytes_written),
    ),
    (
        "redisGunYu_syncer_role_change",
        "How often this process became leader or follower.",
        |i| i.input.role_changes(),
    ),
    (
        "redisGunYu_replica_leader_send",
        "Bytes of log, snapshot and stream, that followers have been sent.",
        |i| count(i, |c| &c.log_bytes_served),
    ),
    (
        "redisGunYu_replica_follower_recv",
        "Bytes of log, snapshot and stream, that have been copied from a leader.",
        |i| count(i, |c| &c.log_bytes_copied),
    ),
    (
        "gunyu_dead_letters_total",
        "Commands written to the dead-letter file.",
        |i| count(i, |c| &c.dead_letters),
    ),
    (
        "gunyu_commands_replayed_total",
        "Commands that a cluster target had already when they came again.",
        |i| count(i, |c| &c.commands_replayed),
    ),
    (
        "gunyu_transactions_split_total",
        "Transactions of the source over several slots, which a cluster target got in parts.",
        |i| count(i, |c| &c.transactions_split),
    ),
];

/// Gauges: name, help, value.
const GAUGES: &[(&str, &str, Value)] = &[
    (
        "redisGunYu_input_offset",
        "Offset received from the source, in bytes.",
        |i| i.status.ladder.received.get(),
    ),
    (
        "redisGunYu_output_send_offset",
        "Offset applied on the target, in bytes.",
        |i| i.status.ladder.applied.get(),
    ),
    (
        "redisGunYu_output_ack_offset",
        "Offset recorded on the target, in bytes.",
        |i| i.status.ladder.checkpointed.get(),
    ),
    (
        "redisGunYu_output_full_sync",
        "Percent of the current or last full sync.",
        |i| {
            let full_sync = i.status.full_sync.as_ref();
            full_sync.map_or(0, |full_sync| full_sync.percent() as u64)
        },
    ),
    (
        "gunyu_log_bytes",
        "Bytes that the input's log takes on disk or in memory.",
        |i| i.input.log_bytes(),
    ),
    (
        "gunyu_lease_epoch",
        "The number of the lease under which the input is led, here or elsewhere; 0 where nobody does, or where there is no group.",
        |i| i.input.epoch().get(),
    ),
];

/// Gauges of inputs that are led here.
const GAUGES_OF_LEADERS: &[(&str, &str, Value)] = &[
    (
        "redisGunYu_output_sync_delay",
        "How long the oldest command not yet applied has waited, in nanoseconds.",
        |i| u64::try_from(i.status.lag.as_nanos()).unwrap_or(u64::MAX),
    ),
    (
        "gunyu_replication_lag_bytes",
        "Bytes of stream that the target is behind the source.",
        |i| i.status.lag_bytes,
    ),
];

/// Gauges of inputs that are followed here, or that nobody leads.
const GAUGES_OF_FOLLOWERS: &[(&str, &str, Value)] = &[
    (
        "redisGunYu_replica_follower_recv_offset",
        "Offset copied from the leader, in bytes.",
        |i| i.status.ladder.received.get(),
    ),
    (
        "gunyu_follower_lag_bytes",
        "Bytes of stream that the log here is behind the leader's.",
        |i| i.status.lag_bytes,
    ),
];

fn count(sample: &Sample, counter: impl Fn(&Counters) -> &std::sync::atomic::AtomicU64) -> u64 {
    Counters::read(counter(&sample.input.progress.counters))
}

impl Page<'_> {
    fn register(&self, collector: Box<dyn Collector>) {
        self.registry
            .register(collector)
            .expect("every metric has a name of its own");
    }

    fn counter(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let metric =
            IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are literals");
        self.register(Box::new(metric.clone()));
        metric
    }

    fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let metric = IntGaugeVec::new(Opts::new(name, help), labels).expect("names and labels are literals");
        self.register(Box::new(metric.clone()));
        metric
    }

    fn build_info(&self) {
        let info = self.gauge(
            "gunyu_build_info",
            "Always 1; the version is a label.",
            &["version"],
        );
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    }

    /// The pipelines have a runtime of their own, so that nobody who asks the API holds them up.
    fn tasks(&self, handle: &Handle) {
        let help = "Tasks that have not ended, of the pipelines and of the API.";
        let metric = self.gauge("gunyu_tasks", help, &["runtime"]);
        let api =
            tokio::runtime::Handle::try_current().map_or(0, |runtime| runtime.metrics().num_alive_tasks());
        for (name, tasks) in [("pipelines", handle.tasks()), ("api", api)] {
            metric.with_label_values(&[name]).set(signed(tasks as u64));
        }
    }

    fn storage(&self, handle: &Handle) {
        let (used, max) = handle.storage_bytes();
        self.gauge("redisGunYu_storage_size", "Bytes that all logs take.", &[])
            .with_label_values::<&str>(&[])
            .set(signed(used));
        let help = "Share of channel.storer.maxSize that all logs take, 0 to 1.";
        let ratio =
            GaugeVec::new(Opts::new("redisGunYu_storage_ratio", help), &[]).expect("the name is a literal");
        ratio
            .with_label_values::<&str>(&[])
            .set(used as f64 / max.max(1) as f64);
        self.register(Box::new(ratio));
    }

    fn inputs(&self, inputs: &[Sample]) {
        for (name, help, value) in COUNTERS {
            let metric = self.counter(name, help, &["input"]);
            inputs
                .iter()
                .for_each(|i| metric.with_label_values(&[&i.name]).inc_by(value(i)));
        }
        let (led, followed): (Vec<&Sample>, Vec<&Sample>) = inputs.iter().partition(|input| input.is_led);
        self.gauges(GAUGES, &inputs.iter().collect::<Vec<_>>());
        self.gauges(GAUGES_OF_LEADERS, &led);
        self.gauges(GAUGES_OF_FOLLOWERS, &followed);
        self.lag_seconds(inputs);
        self.positions(inputs);
        self.states(inputs);
        self.syncs(inputs);
        self.senders(inputs);
        self.latency(inputs);
    }

    fn gauges(&self, gauges: &[(&str, &str, Value)], inputs: &[&Sample]) {
        for (name, help, value) in gauges {
            let metric = self.gauge(name, help, &["input"]);
            for input in inputs {
                metric.with_label_values(&[&input.name]).set(signed(value(input)));
            }
        }
    }

    fn lag_seconds(&self, inputs: &[Sample]) {
        let of_target = "How long the oldest command not yet applied has waited, in seconds.";
        let of_log = "For how long the log here has been behind the leader's, in seconds.";
        for (name, help, is_led) in [
            ("gunyu_replication_lag_seconds", of_target, true),
            ("gunyu_follower_lag_seconds", of_log, false),
        ] {
            let metric =
                GaugeVec::new(Opts::new(name, help), &["input"]).expect("names and labels are literals");
            for input in inputs.iter().filter(|input| input.is_led == is_led) {
                metric
                    .with_label_values(&[&input.name])
                    .set(input.status.lag.as_secs_f64());
            }
            self.register(Box::new(metric));
        }
    }

    fn leaders(&self, inputs: &[Sample], group: &str) {
        let help =
            "1 where this process leads the input, else 0. The label group is empty where there is none.";
        let metric = self.gauge("gunyu_leader", help, &["input", "group"]);
        for input in inputs {
            metric
                .with_label_values(&[input.name.as_str(), group])
                .set(i64::from(input.is_led));
        }
    }

    fn positions(&self, inputs: &[Sample]) {
        let metric = self.gauge(
            "gunyu_position",
            "Positions in bytes of the source's history.",
            &["input", "kind"],
        );
        for input in inputs {
            let status = &input.status;
            let ladder = status.ladder;
            let rungs = [
                ("source", status.source_offset.max(ladder.received)),
                ("received", ladder.received),
                ("appended", ladder.appended),
                ("applied", ladder.applied),
                ("checkpointed", ladder.checkpointed),
                ("released", ladder.released),
            ];
            for (kind, offset) in rungs {
                metric
                    .with_label_values(&[input.name.as_str(), kind])
                    .set(signed(offset.get()));
            }
        }
    }

    /// State and phase as redis-GunYu's dashboards expect them.
    fn states(&self, inputs: &[Sample]) {
        let state = self.gauge(
            "redisGunYu_input_sync_state",
            "1 for the state the input is in.",
            &["input", "state"],
        );
        let help = "0 neither, 1 full sync, 2 live stream; of a follower: 1 copying the leader's snapshot, 2 its stream.";
        let sync = self.gauge("redisGunYu_input_input_sync", help, &["input", "role"]);
        for input in inputs {
            let (name, status) = (&input.name, &input.status);
            for known in [State::ReadyRun, State::Run, State::Pause, State::Stop] {
                let value = i64::from(known == status.state);
                state
                    .with_label_values(&[name.as_str(), known.as_str()])
                    .set(value);
            }
            let role = if input.is_led { LEADER } else { FOLLOWER };
            sync.with_label_values(&[name.as_str(), role]).set(input.sync());
        }
    }

    fn syncs(&self, inputs: &[Sample]) {
        let help = "Synchronisations with the source, full or continued.";
        let kinds = self.counter("redisGunYu_input_sync_type", help, &["input", "sync_type"]);
        let full = self.counter(
            "gunyu_full_sync_total",
            "Full syncs begun, by reason.",
            &["input", "reason"],
        );
        let reconnects = self.counter(
            "gunyu_reconnects_total",
            "Connections opened again.",
            &["input", "side"],
        );
        for input in inputs {
            let (name, counters) = (&input.name, &input.input.progress.counters);
            let mut fulls = 0;
            for (reason, n) in counters.full_syncs() {
                full.with_label_values(&[name.as_str(), reason.as_str()])
                    .inc_by(n);
                fulls += n;
            }
            kinds.with_label_values(&[name.as_str(), "full"]).inc_by(fulls);
            kinds
                .with_label_values(&[name.as_str(), "incr"])
                .inc_by(Counters::read(&counters.continues));
            let sides = [
                ("source", &counters.source_reconnects),
                ("target", &counters.target_reconnects),
            ];
            for (side, counter) in sides {
                reconnects
                    .with_label_values(&[name.as_str(), side])
                    .inc_by(Counters::read(counter));
            }
        }
    }

    fn senders(&self, inputs: &[Sample]) {
        let labels = &["input", "transaction", "result"];
        let metric = self.counter("redisGunYu_output_sender", "Batches sent, by outcome.", labels);
        for input in inputs {
            let name = &input.name;
            let transaction = if input.input.transaction { "yes" } else { "no" };
            let counters = &input.input.progress.counters;
            for (result, counter) in [
                ("ok", &counters.batches_applied),
                ("error", &counters.batches_failed),
            ] {
                let value = Counters::read(counter);
                metric
                    .with_label_values(&[name.as_str(), transaction, result])
                    .inc_by(value);
            }
        }
    }

    /// Each input keeps a histogram of its own without labels; here they become one family.
    fn latency(&self, inputs: &[Sample]) {
        if !inputs.is_empty() {
            self.register(Box::new(Latencies(
                inputs.iter().map(|one| one.input.clone()).collect(),
            )));
        }
    }
}

struct Latencies(Vec<Input>);

impl Collector for Latencies {
    fn desc(&self) -> Vec<&prometheus::core::Desc> {
        self.0
            .first()
            .map(|input| input.progress.apply_latency.desc())
            .unwrap_or_default()
    }

    fn collect(&self) -> Vec<prometheus::proto::MetricFamily> {
        let mut family: Option<prometheus::proto::MetricFamily> = None;
        for input in &self.0 {
            for mut one in input.progress.apply_latency.collect() {
                let mut metrics = one.take_metric();
                for metric in &mut metrics {
                    let mut label = prometheus::proto::LabelPair::default();
                    label.set_name("input".to_owned());
                    label.set_value(input.source.to_string());
                    metric.set_label(vec![label]);
                }
                match &mut family {
                    Some(family) => family.mut_metric().extend(metrics),
                    None => {
                        one.set_metric(metrics);
                        family = Some(one);
                    }
                }
            }
        }
        family.into_iter().collect()
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
