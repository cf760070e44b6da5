//! How calls end, against servers on loopback that answer as they are told.

use std::net::TcpListener;

use super::*;

fn args(server: &str) -> ServerArgs {
    ServerArgs {
        server: Some(server.to_owned()),
        token: None,
        ca_cert: None,
        config: None,
    }
}

/// A server that reads one request, answers with these bytes and closes; and the daemon to call there.
fn answering(bytes: &'static [u8]) -> (Daemon, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let daemon = Daemon::find(&args(&format!("http://{}", listener.local_addr().unwrap()))).unwrap();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            head.push(byte[0]);
        }
        stream.write_all(bytes).unwrap();
        String::from_utf8(head).unwrap()
    });
    (daemon, served)
}

fn get_of(bytes: &'static [u8]) -> Result<Value, Failure> {
    let (daemon, served) = answering(bytes);
    let result = daemon.get("/x");
    served.join().unwrap();
    result
}

#[test]
fn each_method_is_sent_as_it_is_called() {
    type Call = fn(&Daemon, &str) -> Result<Value, Failure>;
    for (method, call) in [
        ("GET", Daemon::get as Call),
        ("POST", Daemon::post),
        ("DELETE", Daemon::delete),
    ] {
        let (daemon, served) = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"ok\":true}");
        assert_eq!(call(&daemon, "/a/b?c=d").unwrap()["ok"], true);
        let head = served.join().unwrap();
        assert!(
            head.starts_with(&format!("{method} /a/b?c=d HTTP/1.1\r\n")),
            "{head}"
        );
    }
}

#[test]
fn a_refusal_is_told_with_the_daemons_error_and_hint() {
    let failure =
        get_of(b"HTTP/1.1 409 Conflict\r\nContent-Length: 30\r\n\r\n{\"error\":\"busy\",\"hint\":\"wait\"}")
            .unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert_eq!(
        (failure.message.as_str(), failure.hint.as_deref()),
        ("busy", Some("wait"))
    );
    let failure = get_of(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert!(failure.hint.unwrap().contains("GUNYU_TOKEN"));
}

#[test]
fn a_redirect_is_not_followed() {
    let failure = get_of(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
        .unwrap_err();
    assert_eq!(failure.exit, Exit::Refused, "{failure}");
    assert!(failure.message.contains("302"), "{failure}");
}

#[test]
fn a_connection_that_ends_before_the_answer_is_a_failure_of_its_own() {
    for bytes in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ok\":",
    ] {
        let failure = get_of(bytes).unwrap_err();
        assert_eq!(failure.exit, Exit::Failed, "{failure}");
        assert!(
            failure.message.contains("went away before it answered"),
            "{failure}"
        );
    }
}

#[test]
fn an_answer_that_is_not_json_is_a_strangers() {
    let failure = get_of(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap_err();
    assert_eq!(failure.exit, Exit::Failed);
    assert!(failure.message.contains("no gunyu"), "{failure}");
}

#[test]
fn a_daemon_that_does_not_answer_in_time_counts_as_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let daemon = Daemon::find(&args(&format!("http://{}", listener.local_addr().unwrap()))).unwrap();
    let failure = daemon.call("GET", "/", Duration::from_millis(100)).unwrap_err();
    assert_eq!(failure.exit, Exit::Unreachable, "{failure}");
    assert!(failure.hint.unwrap().contains("gunyu sync"));
}

#[test]
fn a_download_is_whole_or_a_failure() {
    let download = |bytes| {
        let (daemon, served) = answering(bytes);
        let mut out = Vec::new();
        let result = daemon.download("/x", &mut out);
        served.join().unwrap();
        (result, out)
    };
    let (result, out) = download(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\0\xff\r\n");
    assert_eq!((result.unwrap(), &out[..]), (4, &b"\0\xff\r\n"[..]));
    let (result, out) =
        download(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
    assert_eq!((result.unwrap(), &out[..]), (3, &b"abc"[..]));
    for cut in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let (result, out) = download(cut);
        let failure = result.unwrap_err();
        assert_eq!((failure.exit, &out[..]), (Exit::Failed, &b"abc"[..]), "{failure}");
        assert!(failure.message.contains("3 bytes"), "{failure}");
    }
    let (result, out) = download(b"HTTP/1.1 404 Not Found\r\nContent-Length: 16\r\n\r\n{\"error\":\"none\"}");
    assert_eq!(result.unwrap_err().exit, Exit::Refused);
    assert_eq!(out, b"");
}

#[test]
fn what_is_no_address_is_refused_before_anything_is_sent() {
    for url in ["ftp://host", "http://", "https://a b:1", "http://[::1"] {
        let failure = Daemon::find(&args(url)).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{url}: {failure}");
    }
}

#[test]
fn addresses_of_this_machine_are_known() {
    for (url, near) in [
        ("http://127.0.0.1:1", true),
        ("https://[::1]:1", true),
        ("http://localhost", true),
        ("http://10.0.0.1:1", false),
        ("http://localhost.example:1", false),
    ] {
        assert_eq!(is_loopback(url).unwrap(), near, "{url}");
    }
}

#[test]
fn a_ca_file_without_a_certificate_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "nothing").unwrap();
    for path in [file.path().to_owned(), PathBuf::from("/no/such/file")] {
        let args = ServerArgs {
            ca_cert: Some(path.clone()),
            ..args("https://127.0.0.1:1")
        };
        let failure = Daemon::find(&args).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains(path.to_str().unwrap()), "{failure}");
    }
}
