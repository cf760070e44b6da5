//! A store of either kind, and members of a group in it.

// As in tests/support: what fails here fails the test.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use gunyu::core::lease::{Backend, Error, Record, Settings, Store, etcd, redis};
use gunyu::core::net::{Address, Credentials, Endpoint, Tls};
use gunyu::core::position::Epoch;
use gunyu::core::target::Shape;
use gunyu::core::topology::Place;

use crate::support::etcd::{Etcd, Program};
use crate::support::{SOON, Server};

/// Sessions that are not to end during a test.
pub const LONG: Duration = Duration::from_secs(60);

/// Sessions whose end a test waits for; long enough to be renewed every second on a machine that is busy.
pub const SHORT: Duration = Duration::from_secs(6);

/// What a question may take where a server is there that answers, on a machine that is busy.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The server of one test.
pub enum Rig {
    Etcd(Etcd),
    Redis(Server),
}

impl Rig {
    pub fn port(&self) -> u16 {
        match self {
            Rig::Etcd(etcd) => etcd.port(),
            Rig::Redis(server) => server.port(),
        }
    }

    /// The store by another port: a proxy's.
    pub fn backend_at(&self, port: u16) -> Backend {
        match self {
            Rig::Etcd(_) => of_etcd(&[port]),
            Rig::Redis(_) => of_redis(&at(port)),
        }
    }

    pub fn backend(&self) -> Backend {
        self.backend_at(self.port())
    }

    /// A store that has not begun.
    pub fn store(&self) -> Store {
        store(self.backend(), LONG)
    }

    /// A member.
    pub async fn member(&self, id: &str) -> Member {
        self.member_for(id, LONG).await
    }

    /// A member with sessions of this length.
    pub async fn member_for(&self, id: &str, timeout: Duration) -> Member {
        Member::begin(store(self.backend(), timeout), id).await
    }

    pub fn sigstop(&mut self) {
        match self {
            Rig::Etcd(etcd) => etcd.sigstop(),
            Rig::Redis(server) => server.sigstop(),
        }
    }

    pub fn sigcont(&mut self) {
        match self {
            Rig::Etcd(etcd) => etcd.sigcont(),
            Rig::Redis(server) => server.sigcont(),
        }
    }

    pub fn kill9(&mut self) {
        match self {
            Rig::Etcd(etcd) => etcd.kill9(),
            Rig::Redis(server) => server.kill9(),
        }
    }
}

pub fn store(backend: Backend, lease_timeout: Duration) -> Store {
    store_of("g", backend, lease_timeout, LIMIT)
}

pub fn store_of(group: &str, backend: Backend, lease_timeout: Duration, request_limit: Duration) -> Store {
    Store::new(Settings {
        group: group.to_owned(),
        lease_timeout,
        request_limit,
        seal: None,
        backend,
    })
}

pub fn of_etcd(ports: &[u16]) -> Backend {
    Backend::Etcd(etcd::Settings {
        endpoints: ports.iter().map(|port| at(*port)).collect(),
        user: None,
    })
}

pub fn of_redis(endpoint: &Endpoint) -> Backend {
    Backend::Redis(redis::Settings {
        place: Place::fixed(endpoint.clone()),
        shape: Shape::One,
    })
}

pub fn at(port: u16) -> Endpoint {
    Endpoint {
        address: Address {
            host: "127.0.0.1".to_owned(),
            port,
        },
        credentials: Credentials::default(),
        tls: None,
    }
}

pub fn login(user: &str, password: &str) -> Credentials {
    Credentials {
        user: user.to_owned(),
        password: password.to_owned(),
    }
}

pub fn over_tls(endpoint: Endpoint, given: &gunyu::core::net::tls::Given) -> Endpoint {
    let tls = Tls::load(given).unwrap();
    Endpoint {
        tls: Some(Arc::new(tls)),
        ..endpoint
    }
}

/// A process of the group, as far as the store is concerned.
pub struct Member {
    pub store: Store,
    pub record: Record,
    /// Until when its session is valid.
    pub until: Instant,
}

impl Member {
    pub async fn begin(mut store: Store, id: &str) -> Member {
        let record = record(id);
        let until = store.begin(&record).await.unwrap();
        Member { store, record, until }
    }

    pub async fn renew(&mut self) -> Result<(), Error> {
        self.until = self.store.renew(&self.record).await?;
        Ok(())
    }
}

pub fn record(id: &str) -> Record {
    Record {
        config: String::new(),
        is_leaving: false,
        id: id.to_owned(),
        version: "1.2.3".to_owned(),
        machine: "m".to_owned(),
        api: format!("http://{id}"),
        started_ms: 7,
        positions: [("in".to_owned(), "h:9".to_owned())].into(),
        beat: 0,
        proof: String::new(),
    }
}

pub fn epoch(number: u64) -> Epoch {
    Epoch::new(number)
}

/// Asks again as long as the error is one that passes.
pub async fn persist<T>(mut ask: impl AsyncFnMut() -> Result<T, Error>) -> T {
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) if error.needs_a_person() || start.elapsed() > SOON => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Runs the claim over every store at once, each with a server of its own, in a thread that is named after it.
pub fn everywhere(claim: impl AsyncFn(Rig) + Sync) {
    let claim = &claim;
    std::thread::scope(|scope| {
        let mut running = Vec::new();
        let mut start = |label: &str, rig: Box<dyn FnOnce() -> Rig + Send>| {
            let thread = std::thread::Builder::new().name(label.to_owned());
            running.push(
                thread
                    .spawn_scoped(scope, move || block_on(claim(rig())))
                    .unwrap(),
            );
        };
        for program in Program::all() {
            let label = program.label.clone();
            start(&label, Box::new(move || Rig::Etcd(Etcd::of(&program))));
        }
        start("Redis", Box::new(|| Rig::Redis(Server::start())));
        let ended: Vec<_> = running.into_iter().map(|one| one.join()).collect();
        let holds = ended.iter().all(Result::is_ok);
        assert!(
            holds,
            "the claim does not hold over the store that the panicking thread is named after"
        );
    });
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}
