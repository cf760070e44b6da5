//! Whose the other end of a connection on this machine is.
//!
//! The system is asked for that one socket (`sock_diag`); where it does not know that question, its list of all sockets is read, which
//! takes long where there are many.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use socket2::{Domain, Protocol, Socket, Type};

/// `AF_NETLINK` and `NETLINK_SOCK_DIAG`.
const NETLINK: (i32, i32) = (16, 4);

/// `SOCK_DIAG_BY_FAMILY`, of the question and of the answer.
const BY_FAMILY: u16 = 20;

/// Where the answer has the inode: behind its head, four bytes, an address of 48 and four numbers.
const INODE_AT: usize = 16 + 4 + 48 + 16;

/// The inode of the socket that is bound to `local` and connected to `remote`. Nothing where it has been closed.
pub fn inode(local: SocketAddrV4, remote: SocketAddrV4) -> Option<u64> {
    match asked(local, remote) {
        Ok(inode) => inode,
        Err(_) => listed(*local.ip(), local.port()),
    }
}

/// Whether a process has that socket.
pub fn holds(pid: i32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    open.filter_map(Result::ok)
        .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to == Path::new(&wanted)))
}

fn asked(local: SocketAddrV4, remote: SocketAddrV4) -> std::io::Result<Option<u64>> {
    let mut socket = Socket::new(
        Domain::from(NETLINK.0),
        Type::DGRAM,
        Some(Protocol::from(NETLINK.1)),
    )?;
    socket.write_all(&question(local, remote))?;
    let mut answer = [0u8; 512];
    let len = socket.read(&mut answer)?;
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    if kind != BY_FAMILY || len < INODE_AT + 4 {
        // An error of that number: there is no such socket.
        let error = i32::from_ne_bytes(answer[16..20].try_into().expect("four bytes"));
        return match -error {
            libc::ENOENT => Ok(None),
            other => Err(std::io::Error::from_raw_os_error(other)),
        };
    }
    let inode = u32::from_ne_bytes(answer[INODE_AT..INODE_AT + 4].try_into().expect("four bytes"));
    // One that is closed and still there has none.
    Ok(Some(u64::from(inode)).filter(|inode| *inode != 0))
}

/// `nlmsghdr`, `inet_diag_req_v2` and in it `inet_diag_sockid`.
fn question(local: SocketAddrV4, remote: SocketAddrV4) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(72);
    bytes.extend(72u32.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(1u16.to_ne_bytes()); // a request
    bytes.extend([0; 8]); // its number; from whom
    bytes.extend([2, 6, 0, 0]); // IPv4, TCP
    bytes.extend(u32::MAX.to_ne_bytes()); // in any state
    bytes.extend(local.port().to_be_bytes());
    bytes.extend(remote.port().to_be_bytes());
    for ip in [local.ip(), remote.ip()] {
        bytes.extend(ip.octets());
        bytes.extend([0; 12]);
    }
    bytes.extend([0; 4]); // on any interface
    bytes.extend([0xFF; 8]); // no cookie
    bytes
}

/// `local_address` is the second word of a line of the list, the inode the tenth.
fn listed(ip: Ipv4Addr, port: u16) -> Option<u64> {
    let wanted = format!("{:08X}:{port:04X}", u32::from_le_bytes(ip.octets()));
    let table = std::fs::read_to_string("/proc/self/net/tcp").ok()?;
    let inode = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        (words.get(1) == Some(&wanted.as_str())).then(|| words.get(9)?.parse::<u64>().ok())?
    };
    table.lines().filter_map(inode).find(|inode| *inode != 0)
}

/// Both ways, for this process's own connection.
pub fn both(local: SocketAddrV4, remote: SocketAddrV4) -> (Option<u64>, Option<u64>) {
    (
        asked(local, remote).unwrap_or(None),
        listed(*local.ip(), local.port()),
    )
}
