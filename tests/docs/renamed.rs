//! A service that has given PSYNC another name, as a cloud does: a real server, and before it what translates the name.
//!
//! `rename-command` of Redis and Valkey will not do: what they then take under the new name is SYNC (`replication.c`, `syncCommand`).

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use crate::support::{Gunyu, SOON, Server};

/// What stands before the server, for as long as the test.
pub struct Renamed {
    address: SocketAddr,
}

impl Renamed {
    /// The server's PSYNC has this name alone.
    pub fn before(server: &Server, name: &str) -> Renamed {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let renamed = format!("${}\r\n{name}\r\n", name.len()).into_bytes();
        let server = server.addr();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let renamed = renamed.clone();
                std::thread::spawn(move || copy(client, server, &translated(&renamed)));
                std::thread::spawn(move || copy(from, to, &<[u8]>::to_vec));
            }
        });
        Renamed { address }
    }

    /// Where it is.
    pub fn addr(&self) -> String {
        self.address.to_string()
    }
}

/// A request is small, and written at once: its name is not cut in two.
fn translated(renamed: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    move |bytes| match bytes.windows(renamed.len()).position(|window| window == renamed) {
        Some(at) => [&bytes[..at], b"$5\r\nPSYNC\r\n", &bytes[at + renamed.len()..]].concat(),
        None => {
            let request = String::from_utf8_lossy(bytes).to_uppercase();
            assert!(!request.contains("PSYNC\r\n"), "there is no such command here");
            bytes.to_vec()
        }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, translate: &dyn Fn(&[u8]) -> Vec<u8>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&translate(&buffer[..count])).is_err() {
            break;
        }
    }
    // The other side may have gone already.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[test]
fn a_server_that_takes_psync_under_another_name_for_sync_is_refused_with_what_to_do() {
    let (source, target) = (
        Server::with(&["--rename-command", "PSYNC", "other"]),
        Server::start(),
    );
    let set = ["input.psyncCommand=other"];
    let mut gunyu = Gunyu::start(&source.url(), &target.url(), &set);
    assert_eq!(gunyu.wait_end(SOON).code(), Some(2), "{}", gunyu.traces());
    assert!(
        gunyu.traces().contains("takes that command for SYNC"),
        "{}",
        gunyu.traces()
    );
}
