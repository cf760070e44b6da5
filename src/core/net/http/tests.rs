//! The client against servers that behave, and against some that do not.

use std::convert::Infallible;

use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::core::net::{self, Credentials};

const SOON: Duration = Duration::from_secs(10);

fn at(listener: &TcpListener) -> Endpoint {
    Endpoint {
        address: Address {
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port(),
        },
        credentials: Credentials::default(),
        tls: None,
    }
}

fn get(path: &str) -> Request<'_> {
    Request {
        method: "GET",
        path,
        ..Request::default()
    }
}

/// A real server that tells what it was asked; its endpoint.
async fn echo() -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = at(&listener);
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let service = service_fn(|request: hyper::Request<Incoming>| async move {
                let header = |name| {
                    request
                        .headers()
                        .get(name)
                        .map(|v| v.to_str().unwrap().to_owned())
                };
                let head = format!(
                    "{} {} {:?} {:?} {:?} ",
                    request.method(),
                    request.uri(),
                    header(HOST).is_some(),
                    header(AUTHORIZATION),
                    header(CONTENT_TYPE)
                );
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let answer = Full::new(Bytes::from([head.as_bytes(), &body].concat()));
                Ok::<_, Infallible>(hyper::Response::builder().status(418).body(answer).unwrap())
            });
            tokio::spawn(server::Builder::new().serve_connection(TokioIo::new(tcp), service));
        }
    });
    endpoint
}

/// A server that says these bytes to the first who asks, and gives back the connection.
async fn says(bytes: &'static [u8]) -> (Endpoint, tokio::task::JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = at(&listener);
    let said = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut asked = BytesMut::new();
        while !asked.ends_with(b"\r\n\r\n") {
            assert_ne!(tcp.read_buf(&mut asked).await.unwrap(), 0);
        }
        tcp.write_all(bytes).await.unwrap();
        tcp
    });
    (endpoint, said)
}

#[tokio::test]
async fn a_question_arrives_as_it_was_put_and_its_answer_whole() {
    let endpoint = echo().await;
    let request = Request {
        method: "POST",
        path: "/a?b=c",
        authorization: Some("Bearer x"),
        content_type: Some("application/json"),
        body: Bytes::from_static(b"{}"),
    };
    let answer = ask(&endpoint, request, SOON, 1000).await.unwrap();
    assert_eq!(answer.status, 418);
    let said = r#"POST /a?b=c true Some("Bearer x") Some("application/json") {}"#;
    assert_eq!(answer.body, said);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_an_error() {
    let endpoint = echo().await;
    let error = ask(&endpoint, get("/0123456789"), SOON, 9).await.unwrap_err();
    assert!(matches!(error, Error::TooLong { bytes_max: 9, .. }), "{error}");
}

#[tokio::test]
async fn a_silent_server_is_an_error_in_time_wherever_it_falls_silent() {
    let limit = Duration::from_millis(50);
    for bytes in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
    ] {
        let (endpoint, tcp) = says(bytes).await;
        let error = ask(&endpoint, get("/"), limit, 9).await.unwrap_err();
        assert!(matches!(error, Error::Silent { .. }), "{error}");
        assert!(
            !error.needs_a_person() && error.to_string().contains("50ms"),
            "{error}"
        );
        drop(tcp);
    }
}

#[tokio::test]
async fn what_breaks_off_is_never_taken_for_the_end() {
    for (bytes, is_mute) in [
        (&b""[..], true),
        (b"HTTP/1.1 200 OK\r\n", true),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", false),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
            false,
        ),
    ] {
        let (endpoint, tcp) = says(bytes).await;
        let asked = ask(&endpoint, get("/"), SOON, 9);
        let close = async { drop(tcp.await.unwrap()) };
        let error = tokio::join!(asked, close).0.unwrap_err();
        match (&error, is_mute) {
            (Error::Net(net::Error::Mute { .. }), true) => {
                assert!(error.hint().unwrap().contains("tls.enable: true"), "{error}");
            }
            (Error::Net(net::Error::Lost { .. }), false) => {}
            _ => panic!("{error:?}"),
        }
        assert!(!error.needs_a_person(), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_http_says_so() {
    let (endpoint, _tcp) = says(b"-ERR unknown command 'GET'\r\n").await;
    let error = ask(&endpoint, get("/"), SOON, 9).await.unwrap_err();
    assert!(
        error.needs_a_person() && error.hint().unwrap().contains("tls.enable"),
        "{error}"
    );
    assert!(matches!(error, Error::NotHttp { .. }), "{error}");
}

#[tokio::test]
async fn what_no_header_can_hold_is_an_error_that_does_not_tell_it() {
    let endpoint = echo().await;
    let request = Request {
        authorization: Some("Bearer s3cret\n"),
        ..get("/")
    };
    let error = ask(&endpoint, request, SOON, 9).await.unwrap_err();
    assert!(matches!(error, Error::Unsendable { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
}

#[tokio::test]
async fn a_body_comes_piece_by_piece_and_ends_when_its_reader_leaves() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = at(&listener);
    let (feed, pieces) = mpsc::channel::<Bytes>(1);
    let served = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let pieces = std::sync::Mutex::new(Some(pieces));
        let service = service_fn(|_| {
            let pieces = pieces.lock().unwrap().take().expect("one question");
            let frames = futures_util::stream::unfold(pieces, |mut pieces| async move {
                let piece = pieces.recv().await?;
                Some((Ok::<_, Infallible>(Frame::data(piece)), pieces))
            });
            let answer = hyper::Response::new(StreamBody::new(frames));
            async move { Ok::<_, Infallible>(answer) }
        });
        drop(
            server::Builder::new()
                .serve_connection(TokioIo::new(tcp), service)
                .await,
        );
    });
    let mut opened = open(&endpoint, get("/"), SOON).await.unwrap();
    assert_eq!(opened.status, 200);
    for piece in ["one", "two"] {
        // A wait that ends early loses nothing.
        let early = opened.body.next(Duration::from_millis(5)).await.unwrap_err();
        assert!(matches!(early, Error::Silent { .. }), "{early}");
        feed.send(Bytes::from(piece)).await.unwrap();
        assert_eq!(opened.body.next(SOON).await.unwrap().unwrap(), piece);
    }
    drop(opened);
    // The server hears of it: nobody takes its pieces any more.
    tokio::time::timeout(SOON, feed.closed()).await.unwrap();
    served.await.unwrap();
}

#[tokio::test]
async fn a_body_that_is_finished_says_so() {
    let (endpoint, _tcp) =
        says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n").await;
    let mut opened = open(&endpoint, get("/"), SOON).await.unwrap();
    assert_eq!(opened.body.next(SOON).await.unwrap().unwrap(), "ab");
    assert_eq!(opened.body.next(SOON).await.unwrap(), None);
    assert_eq!(opened.body.next(SOON).await.unwrap(), None);
}
