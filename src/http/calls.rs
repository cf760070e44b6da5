//! The calls that there are: method, path, and what is meant.
//!
//! Owns the tables: of the API's calls, each of which docs/openapi.yaml describes, and of those that only members of one group make of each other, which
//! are no part of the API and change as they like. Everything that lists calls (routing, 405 with its `Allow`, the check of the description) reads
//! them here.
//!
//! | what an address serves | the API | `/debug/health` | the peers' calls |
//! | --- | --- | --- | --- |
//! | [`Face::All`]: `server.listen`, where `server.listenPeer` is the same | yes | yes | yes |
//! | [`Face::Api`]: `server.listen` | yes | yes | no |
//! | [`Face::Peers`]: `server.listenPeer` | no | yes | yes |

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

/// What a member of the group asks another for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerCall {
    /// The log of an input, without end.
    Log,
    /// To look at the leases at once.
    Look,
    /// Whether it reaches source and target of an input.
    Fit,
    /// How far an input is there.
    Status,
    /// To hand an input over that it leads.
    Handover,
    /// To begin a full sync of an input that it leads.
    FullSync,
    /// To go on with an input that was paused, or that stands still.
    Resume,
    /// To begin anew with an input that it leads: slots went to and fro too fast.
    Entangle,
}

/// Method, path and call of the peers.
pub const PEER_CALLS: &[(&str, &str, PeerCall)] = &[
    ("GET", "/peer/log", PeerCall::Log),
    ("POST", "/peer/look", PeerCall::Look),
    ("GET", "/peer/fit", PeerCall::Fit),
    ("GET", "/peer/status", PeerCall::Status),
    ("POST", "/peer/handover", PeerCall::Handover),
    ("POST", "/peer/fullsync", PeerCall::FullSync),
    ("POST", "/peer/resume", PeerCall::Resume),
    ("POST", "/peer/entangle", PeerCall::Entangle),
];

/// What an address serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// Everything.
    All,
    /// The API alone.
    Api,
    /// The peers' calls, and whether the process is alive.
    Peers,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To this call.
    To(Call),
    /// To this one, if a peer makes it.
    ToPeer(PeerCall),
    /// The path knows other methods only: these.
    OtherMethod(String),
    /// Nowhere.
    Nowhere,
}

/// Looks up the tables. `HEAD` goes where `GET` does, unless that would remove something, or begin what has no end.
#[must_use]
pub fn route(method: &str, path: &str, metrics_path: &str, face: Face) -> Route {
    let of_peers = PEER_CALLS.iter().find(|(_, known, _)| *known == path);
    if let Some((known, _, call)) = of_peers.filter(|_| face != Face::Api) {
        return match *known == method {
            true => Route::ToPeer(*call),
            false => Route::OtherMethod((*known).to_owned()),
        };
    }
    let metrics = [("GET", metrics_path, Call::Metrics)];
    let here = || {
        CALLS
            .iter()
            .chain(&metrics)
            .filter(|(_, known, call)| *known == path && (face != Face::Peers || *call == Call::Health))
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
            assert_eq!(route(method, path, "/m", Face::All), expected, "{method} {path}");
        }
    }

    #[test]
    fn each_address_serves_what_the_table_says() {
        let other = || Route::OtherMethod("GET".into());
        let rows = [
            (
                "GET",
                "/syncer/status",
                [Route::To(Call::Status), Route::To(Call::Status), Route::Nowhere],
            ),
            (
                "GET",
                "/m",
                [Route::To(Call::Metrics), Route::To(Call::Metrics), Route::Nowhere],
            ),
            ("GET", "/debug/health", [(); 3].map(|()| Route::To(Call::Health))),
            (
                "DELETE",
                "/",
                [Route::To(Call::Stop), Route::To(Call::Stop), Route::Nowhere],
            ),
            (
                "GET",
                "/peer/log",
                [
                    Route::ToPeer(PeerCall::Log),
                    Route::Nowhere,
                    Route::ToPeer(PeerCall::Log),
                ],
            ),
            ("HEAD", "/peer/log", [other(), Route::Nowhere, other()]),
        ];
        for (method, path, expected) in rows {
            let found = [Face::All, Face::Api, Face::Peers].map(|face| route(method, path, "/m", face));
            assert_eq!(found, expected, "{method} {path}");
        }
    }

    #[test]
    fn the_description_has_every_call_of_the_api_and_none_of_the_peers() {
        let document: serde_json::Value = serde_yaml::from_str(crate::http::DESCRIPTION).unwrap();
        let mut described: Vec<(String, String)> = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| *key != "parameters")
            {
                described.push((method.to_uppercase(), path.clone()));
            }
        }
        let metrics = ("GET", "/prometheus", Call::Metrics);
        let mut served: Vec<(String, String)> = CALLS
            .iter()
            .chain([&metrics])
            .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
            .collect();
        described.sort();
        served.sort();
        assert_eq!(described, served);
    }
}
