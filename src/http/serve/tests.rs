//! Connections, and what each address serves, on real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::LazyLock;

use super::*;

fn guard() -> Guard {
    Guard {
        listen_host: "127.0.0.1".into(),
        is_on_loopback: true,
        allowed_hosts: Vec::new(),
        metrics_path: "/prometheus".into(),
        token: None,
        peer_token: None,
        is_https: false,
    }
}

/// Serves these routes until the sender is used or dropped.
fn serve(routes: Routes) -> (SocketAddr, oneshot::Sender<()>, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    let guard = guard();
    let (stop, stopping) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let accepting = Accepting {
            router: Router::new(guard, routes),
            certificates: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(accepting.run(listener, async {
            let _ = stopping.await;
        }));
    });
    (addr, stop, thread)
}

fn ask(addr: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").unwrap();
    stream
}

fn until_end(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_handler_that_panics_ends_its_connection_and_no_other() {
    let (addr, stop, thread) = serve(Arc::new(|request| {
        Box::pin(async move {
            assert_ne!(request.uri().path(), "/panic", "on purpose");
            Response::new("well".into())
        })
    }));
    let mut other = ask(addr, "/");
    let mut first = [0; 12];
    other.read_exact(&mut first).unwrap();
    assert_eq!(until_end(ask(addr, "/panic")), "");
    // The connection that was there, and a new one.
    write!(other, "GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(until_end(other).matches("well").count(), 2);
    ask(addr, "/").read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    drop(stop);
    thread.join().unwrap();
}

#[test]
fn an_answer_under_way_is_finished_after_the_stop() {
    let (begun, begins) = std::sync::mpsc::channel();
    let go_on = Arc::new(tokio::sync::Notify::new());
    let gate = go_on.clone();
    let (addr, stop, thread) = serve(Arc::new(move |_| {
        let (begun, gate) = (begun.clone(), gate.clone());
        Box::pin(async move {
            begun.send(()).unwrap();
            gate.notified().await;
            Response::new("whole".into())
        })
    }));
    let (idle, asking) = (TcpStream::connect(addr).unwrap(), ask(addr, "/"));
    begins.recv().unwrap();
    drop(stop);
    // The end of the idle connection shows that the stop has been seen.
    idle.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(until_end(idle), "");
    go_on.notify_one();
    assert!(until_end(asking).ends_with("whole"));
    thread.join().unwrap();
    assert!(TcpStream::connect(addr).is_err(), "nobody listens any more");
}

/// The runtime of the pipelines, if there were any.
static PIPELINES: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());

/// A daemon without inputs.
fn api(root: &std::path::Path) -> Api {
    let _within = PIPELINES.enter();
    let shared = crate::core::supervisor::Shared {
        root: root.to_path_buf(),
        holder: "test".into(),
        on_disk: false,
        max_bytes: 1 << 20,
        segment_bytes: 1 << 20,
        flush: crate::core::log::FlushPolicy::Os,
        stale_checkpoint_after: Duration::from_secs(1),
        group: None,
    };
    let catalog = crate::core::catalog::Catalog::open(root).unwrap();
    let space = crate::core::log::Space::new(1 << 20);
    Api {
        handle: crate::core::supervisor::Handle::new(shared, catalog, space, None),
        config: Arc::new(crate::http::ConfigText {
            yaml: String::new(),
            json: String::new(),
        }),
        group: None,
        metrics_path: "/m".into(),
    }
}

fn listening() -> (SocketAddr, Listening) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    let certificates = None;
    (
        addr,
        Listening {
            listener,
            certificates,
        },
    )
}

/// Status and body of an answer to a request that is the last of its connection.
fn answer(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    until_end(stream)
}

/// The niceness of the thread of that name.
#[cfg(target_os = "linux")]
fn niceness(name: &str) -> i32 {
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        let Ok(stat) = std::fs::read_to_string(path.join("stat")) else {
            continue;
        };
        let (front, back) = stat.rsplit_once(')').unwrap();
        if front.ends_with(&format!("({name}")) {
            return back.split_whitespace().nth(16).unwrap().parse().unwrap();
        }
    }
    panic!("no thread {name}");
}

#[test]
fn peers_with_an_address_of_their_own_are_served_there_alone_and_at_full_priority() {
    let root = tempfile::tempdir().unwrap();
    let ((own, at), (peers, their_own)) = (listening(), listening());
    let server = Server::start(&api(root.path()), &guard(), at, Some(their_own)).unwrap();
    let rows = [
        (own, "/debug/health", "200", "ok"),
        (own, "/syncer/status", "200", "[]"),
        (own, "/peer/log?input=x", "404", "there is no /peer/log"),
        (peers, "/debug/health", "200", "ok"),
        (peers, "/syncer/status", "404", "there is no /syncer/status"),
        (peers, "/peer/log?input=x", "404", "a member of no group"),
    ];
    for (addr, path, status, text) in rows {
        let answer = answer(addr, path);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{path}: {answer}"
        );
        assert!(answer.contains(text), "{path}: {answer}");
    }
    #[cfg(target_os = "linux")]
    assert!(niceness("gunyu-http") > niceness("gunyu-peers"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listeners = runtime
        .block_on(async { timeout(Duration::from_secs(10), server.end()).await })
        .unwrap();
    assert_eq!(listeners.len(), 2);
}

#[test]
fn on_a_shared_address_both_are_served() {
    let root = tempfile::tempdir().unwrap();
    let (addr, at) = listening();
    let _server = Server::start(&api(root.path()), &guard(), at, None).unwrap();
    assert!(answer(addr, "/syncer/status").contains("200 OK"));
    assert!(answer(addr, "/peer/log?input=x").contains("a member of no group"));
}
