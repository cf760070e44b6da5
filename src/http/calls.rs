//! The calls that there are: method, path, and what is meant.
//!
//! Owns the table. Everything that lists calls (routing, 405 with its `Allow`, the check of docs/openapi.yaml) reads it here.

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Stop gracefully, then exit.
    Stop,
    /// Let every pipeline begin anew from its checkpoint.
    Restart,
    /// Stop replaying.
    Pause,
    /// Go on replaying.
    Resume,
    /// Show how far everything is.
    Status,
    /// Show the effective configuration.
    Config,
    /// Force a full sync.
    FullSync,
    /// Hand leadership over.
    Handover,
    /// Remove what is stale.
    CollectGarbage,
    /// Give the newest whole snapshot.
    Snapshot,
    /// Is the process alive?
    Health,
    /// Is every input live?
    Ready,
    /// The metrics.
    Metrics,
    /// The description of this API.
    Description,
}

impl Call {
    /// Whether it changes something. Such a call is carried out to its end even where the caller goes away.
    #[must_use]
    pub const fn changes(self) -> bool {
        matches!(
            self,
            Call::Stop
                | Call::Restart
                | Call::Pause
                | Call::Resume
                | Call::FullSync
                | Call::Handover
                | Call::CollectGarbage
        )
    }
}

/// Method, path and call. The metrics have a path of their own, which the configuration decides.
pub const CALLS: &[(&str, &str, Call)] = &[
    ("DELETE", "/", Call::Stop),
    ("POST", "/syncer/restart", Call::Restart),
    ("POST", "/syncer/pause", Call::Pause),
    ("POST", "/syncer/resume", Call::Resume),
    ("GET", "/syncer/status", Call::Status),
    ("GET", "/syncer/config", Call::Config),
    ("POST", "/syncer/fullsync", Call::FullSync),
    ("POST", "/syncer/handover", Call::Handover),
    ("GET", "/storage/gc", Call::CollectGarbage),
    ("POST", "/storage/gc", Call::CollectGarbage),
    ("GET", "/storage/rdb", Call::Snapshot),
    ("GET", "/debug/health", Call::Health),
    ("GET", "/debug/ready", Call::Ready),
    ("GET", "/openapi.yaml", Call::Description),
];

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To this call.
    To(Call),
    /// The path knows other methods only: these.
    OtherMethod(String),
    /// Nowhere.
    Nowhere,
}

/// Looks up the table. `HEAD` goes where `GET` does, unless that would remove something.
#[must_use]
pub fn route(method: &str, path: &str, metrics_path: &str) -> Route {
    let metrics = [("GET", metrics_path, Call::Metrics)];
    let here = || {
        CALLS
            .iter()
            .chain(&metrics)
            .filter(|(_, known, _)| *known == path)
    };
    let takes = |known: &str, call: Call| {
        known == method || (method == "HEAD" && known == "GET" && call != Call::CollectGarbage)
    };
    if let Some((_, _, call)) = here().find(|(known, _, call)| takes(known, *call)) {
        return Route::To(*call);
    }
    let allowed: Vec<&str> = here().map(|(method, ..)| *method).collect();
    match allowed.is_empty() {
        true => Route::Nowhere,
        false => Route::OtherMethod(allowed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_to_its_call_or_learns_which_methods_there_are() {
        let rows = [
            ("GET", "/syncer/status", Route::To(Call::Status)),
            ("HEAD", "/syncer/status", Route::To(Call::Status)),
            ("POST", "/storage/gc", Route::To(Call::CollectGarbage)),
            ("HEAD", "/storage/gc", Route::OtherMethod("GET, POST".into())),
            ("GET", "/m", Route::To(Call::Metrics)),
            ("GET", "/", Route::OtherMethod("DELETE".into())),
            ("GET", "/syncer/status/", Route::Nowhere),
            ("GET", "/syncer", Route::Nowhere),
        ];
        for (method, path, expected) in rows {
            assert_eq!(route(method, path, "/m"), expected, "{method} {path}");
        }
    }
}
