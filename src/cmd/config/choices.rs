//! The keys that take one of several names, as enums.
//!
//! The table of keys takes its names from here, so the two cannot differ.

/// Declares an enum whose variants have names in the file.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$about])* $variant,)+ }

        impl $name {
            /// The names in the file.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The name in the file.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// The variant of this name.
            #[must_use]
            pub fn named(name: &str) -> Option<$name> {
                match name { $($text => Some($name::$variant),)+ _ => None }
            }
        }
    };
}

choice! {
    /// Which node of a shard is followed.
    SyncFrom {
        /// A replica where there is one, else the master.
        PreferSlave = "prefer_slave",
        /// The master.
        Master = "master",
        /// A replica; without a healthy one the master, with a warning.
        Slave = "slave",
    }
}

choice! {
    /// Which shards of a cluster are followed.
    Mode {
        /// All of them, those that are added later included.
        Dynamic = "dynamic",
        /// Those whose addresses are listed.
        Static = "static",
    }
}

choice! {
    /// How often a command of the stream may be applied.
    Delivery {
        /// Data and checkpoint in one transaction.
        ExactlyOnce = "exactly_once",
        /// Without transactions; after a crash the last commands may be applied again.
        AtLeastOnce = "at_least_once",
    }
}

choice! {
    /// What follows when the target refuses a command for good.
    OnError {
        /// The pipeline stops, with a hint.
        Stop = "stop",
        /// The pipeline goes on, up to the error budget.
        DeadLetter = "dead_letter",
    }
}

choice! {
    /// What a full sync does with a key that the target has already.
    KeyExists {
        /// The source's value replaces the target's.
        Replace = "replace",
        /// The target's value stays.
        Ignore = "ignore",
        /// As a refusal by the target.
        Error = "error",
    }
}

choice! {
    /// What a repeated full sync does with keys on the target that the source no longer has.
    StaleKeys {
        /// Deletes them only in databases that were empty when this deployment first synced and that no other uses.
        Auto = "auto",
        /// Deletes them.
        Delete = "delete",
        /// Keeps them.
        Keep = "keep",
    }
}

choice! {
    /// The option of `FUNCTION RESTORE`.
    FunctionExists {
        /// `REPLACE`
        Replace = "replace",
        /// `FLUSH`
        Flush = "flush",
        /// `APPEND`
        Append = "append",
    }
}

choice! {
    /// What becomes of a module's auxiliary data, which no command can restore.
    ModuleAux {
        /// The full sync fails.
        Fail = "fail",
        /// It is left out.
        Skip = "skip",
    }
}

choice! {
    /// What databases from 1 up do on a cluster target.
    DbOnCluster {
        /// They are an error.
        Error = "error",
        /// They are left out.
        Drop = "drop",
        /// They are merged into database 0.
        Merge = "merge",
    }
}

choice! {
    /// What becomes of a command over several slots on a cluster target.
    CrossSlot {
        /// Split or rewritten where that is possible; the rest is treated as refused.
        Split = "split",
        /// Treated as refused by the target.
        Error = "error",
    }
}

choice! {
    /// Where the log is kept.
    Storage {
        /// On disk.
        Storer = "storer",
        /// In memory.
        Memory = "memory",
    }
}

choice! {
    /// What happens when the log is full and nothing can be released.
    OnFull {
        /// The source link is closed, and continued when there is room.
        Disconnect = "disconnect",
        /// The source link is no longer read.
        Block = "block",
    }
}

choice! {
    /// How grave a trace is. `Panic` and `Fatal` are names of redis-GunYu's; gunyu writes nothing above `Error`.
    Level {
        /// Every step.
        Trace = "trace",
        /// What helps to find a bug.
        Debug = "debug",
        /// A state changed.
        Info = "info",
        /// Odd, and handled.
        Warn = "warn",
        /// Someone must act.
        Error = "error",
        /// Above `Error`.
        Panic = "panic",
        /// Above `Panic`.
        Fatal = "fatal",
    }
}

choice! {
    /// How a trace is written.
    Format {
        /// One line for people.
        Text = "text",
        /// One JSON object for programs.
        Json = "json",
    }
}
