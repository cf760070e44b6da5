//! The section `output`, and the older keys of redis-GunYu that stand for newer ones there.

use std::collections::BTreeMap;

use super::super::choices::*;
use super::super::sections::*;
use super::Check;

impl Check {
    pub(super) fn output(&mut self) -> Output {
        Output {
            redis: self.redis("output.redis", "--target"),
            replay: self.replay(),
            filter: self.filter(),
        }
    }

    fn replay(&mut self) -> Replay {
        self.two_way_sync();
        let delivery = self.delivery();
        let databases = self.databases();
        let of = |key: &str| format!("output.replay.{key}");
        let values = &self.values;
        Replay {
            resume: values.flag(&of("resumeFromBreakPoint")),
            delivery,
            on_error: values.choice(&of("onError"), OnError::named),
            error_budget: values.integer(&of("errorBudget")).map_or(0, i64::unsigned_abs),
            key_exists: values.choice(&of("keyExists"), KeyExists::named),
            stale_keys: values.choice(&of("staleKeys"), StaleKeys::named),
            function_exists: values.choice(&of("functionExists"), FunctionExists::named),
            module_aux: values.choice(&of("moduleAuxPolicy"), ModuleAux::named),
            replace_hash_tag: values.flag(&of("replaceHashTag")),
            databases,
            db_on_cluster: values.choice(&of("dbOnCluster"), DbOnCluster::named),
            cross_slot: values.choice(&of("crossSlot"), CrossSlot::named),
            batch_commands_max: values.count(&of("batchCmdCount")),
            batch_bytes_max: values.size(&of("batchBufferSize")),
            checkpoint_interval: values.duration(&of("updateCheckpointTicker")),
            connections: values.count(&of("connections")),
            restore: values.flag(&of("replayRdbEnableRestore")),
            proto_bulk_bytes_max: values.size(&of("maxProtoBulkLen")),
            big_value_bytes: values.size(&of("bigValueBytes")),
            rate_limit: RateLimit {
                ops_per_sec: values.integer(&of("rateLimit.opsPerSec")).map(i64::unsigned_abs),
                bytes_per_sec: values.bytes(&of("rateLimit.bytesPerSec")),
            },
        }
    }

    fn two_way_sync(&mut self) {
        let hint = "take the key out to replicate one way";
        if self.values.flag("output.replay.bisyncEnabled") {
            self.problem(
                "output.replay.bisyncEnabled",
                "gunyu does not do two-way sync",
                hint,
            );
        }
        match self.values.text("output.replay.mode") {
            Some("parallel") => {
                let message = "parallel belongs to redis-GunYu's two-way sync, which gunyu does not do";
                self.problem("output.replay.mode", message, hint);
            }
            Some("pipeline") => {
                self.note(
                    "output.replay.mode",
                    "has no effect: gunyu always sends without waiting for each reply",
                );
            }
            _ => {}
        }
    }

    /// `delivery`, and the older `replayTransaction` that may stand for it.
    ///
    /// | replayTransaction | delivery | result |
    /// | --- | --- | --- |
    /// | not written | any | delivery |
    /// | agrees | any | delivery |
    /// | disagrees, in a stronger layer | any | what replayTransaction stands for |
    /// | disagrees, in a weaker layer | written | delivery |
    /// | disagrees, in the same layer | written | an error |
    fn delivery(&mut self) -> Delivery {
        let (old, new) = ("output.replay.replayTransaction", "output.replay.delivery");
        let delivery = self.values.choice(new, Delivery::named);
        let Some(transaction) = self.values.flag_if_set(old) else {
            return delivery;
        };
        let meant = if transaction {
            Delivery::ExactlyOnce
        } else {
            Delivery::AtLeastOnce
        };
        if meant == delivery || self.rank(old) < self.rank(new) {
            return delivery;
        }
        if self.rank(old) == self.rank(new) {
            let message = format!("{transaction} contradicts delivery: {}", delivery.as_str());
            self.problem(old, message, "take replayTransaction out");
            return delivery;
        }
        self.note(old, &format!("{transaction} became delivery: {}", meant.as_str()));
        meant
    }

    /// `targetDb` wins over `targetDbMap`, unless the map was written in a stronger layer.
    fn databases(&mut self) -> Databases {
        let (one, map) = ("output.replay.targetDb", "output.replay.targetDbMap");
        let target = self.values.integer(one).and_then(|db| u32::try_from(db).ok());
        let mapped: BTreeMap<u32, u32> = self.values.database_map(map).clone();
        match target {
            Some(_) if !mapped.is_empty() && self.rank(map) > self.rank(one) => Databases::Mapped(mapped),
            Some(target) => {
                if !mapped.is_empty() {
                    self.note(map, "has no effect: targetDb wins over it");
                }
                Databases::All(target)
            }
            None if mapped.is_empty() => Databases::Same,
            None => Databases::Mapped(mapped),
        }
    }

    fn filter(&mut self) -> Filter {
        let values = &self.values;
        let lists = |name: &str| Lists {
            whitelist: values.texts(&format!("output.filter.keyFilter.{name}KeyWhitelist")),
            blacklist: values.texts(&format!("output.filter.keyFilter.{name}KeyBlacklist")),
        };
        let commands = values.texts("output.filter.commandBlacklist");
        Filter {
            db_whitelist: values.databases("output.filter.dbWhitelist"),
            db_blacklist: values.databases("output.filter.dbBlacklist"),
            command_blacklist: commands.iter().map(|name| name.to_ascii_uppercase()).collect(),
            prefix: lists("prefix"),
            suffix: lists("suffix"),
            regex: lists("regex"),
            slots: Lists {
                whitelist: values.slots("output.filter.slotFilter.keySlotWhitelist"),
                blacklist: values.slots("output.filter.slotFilter.keySlotBlacklist"),
            },
        }
    }
}
