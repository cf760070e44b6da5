//! The same against gunyu itself: its own HTTP server, its guard, and its end.

use std::time::Duration;

use gunyu::core::net::http::{self, Request};
use serde_json::Value;

use crate::rig::{Following, Place, at, leader_at};
use crate::support::{Gunyu, SOON, Server};

/// A live daemon that leads, and its input's name.
fn daemon(source: &Server, target: &Server) -> (Gunyu, String) {
    let () = source.run(&["SET", "k", "v"]);
    let group = ["cluster.groupName=g", "cluster.leaseTimeout=3s"];
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &group);
    gunyu.wait_ready(SOON);
    let () = source.run(&["SET", "k", "w"]);
    gunyu.wait_applied(source, SOON);
    let folders = std::fs::read_dir(gunyu.state_dir()).unwrap();
    let name = folders
        .map(|entry| entry.unwrap())
        .find(|entry| {
            let files = std::fs::read_dir(entry.path()).into_iter().flatten();
            files
                .flatten()
                .any(|file| file.path().extension().is_some_and(|end| end == "seg"))
        })
        .expect("the pipeline's folder has its segments");
    (gunyu, name.file_name().into_string().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_is_followed_and_its_stop_ends_the_body_in_good_order() {
    let (source, target) = (Server::start(), Server::start());
    let (mut gunyu, name) = daemon(&source, &target);
    let there = Place::new(false);
    let following = Following::of(there.open().await, Some(leader_at(gunyu.http())), &name);
    following
        .hears(|heard| heard.is_linked && heard.standing.is_some())
        .await;
    let () = source.run(&["SET", "needle", "in the haystack"]);
    gunyu.wait_applied(&source, SOON);
    let received = |status: &Value| status[0]["Offset"]["Received"].as_u64().unwrap();
    let end = received(&gunyu.status());
    let start = following.log.extent().unwrap().start;
    let mut reader = following.log.reader(start).unwrap();
    let mut all = Vec::new();
    while reader.position() < at(end) {
        all.extend_from_slice(&reader.next().await.unwrap().bytes);
    }
    let text = String::from_utf8_lossy(&all);
    assert!(text.contains("in the haystack"), "{text}");
    // A body of which nobody knows the end must not keep the process.
    let path = format!("/peer/log?input={name}");
    let request = Request {
        method: "GET",
        path: &path,
        ..Request::default()
    };
    let mut opened = http::open(&leader_at(gunyu.http()).endpoint, request, SOON)
        .await
        .unwrap();
    assert_eq!(opened.status, 200);
    let ending = tokio::task::spawn_blocking(move || gunyu.term());
    while opened.body.next(SOON).await.unwrap().is_some() {}
    let ended = tokio::time::timeout(Duration::from_secs(20), ending)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused_by_the_daemon_with_a_hint() {
    let (source, target) = (Server::start(), Server::start());
    let (gunyu, name) = daemon(&source, &target);
    let id = "c".repeat(40);
    for (method, query, code) in [
        ("GET", String::new(), 404),
        ("GET", "input=other".to_owned(), 404),
        ("GET", format!("input={name}&replid={id}"), 400),
        ("GET", format!("input={name}&replid=x&offset=1"), 400),
        ("GET", format!("input={name}&snapshot=maybe"), 400),
        ("POST", format!("input={name}"), 405),
        ("HEAD", format!("input={name}"), 405),
    ] {
        let response = gunyu.request(method, &format!("/peer/log?{query}")).unwrap();
        assert_eq!(response.status, code, "{method} {query}");
        if method != "HEAD" {
            assert!(
                response.json()["hint"]
                    .as_str()
                    .is_some_and(|hint| !hint.is_empty())
            );
        }
    }
}
