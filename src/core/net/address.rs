//! Whom we call, and as whom.

use std::fmt;

/// A server's host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Host name or IP address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A user and a password. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// ACL user; empty for the default user.
    pub user: String,
    /// Password; empty for none.
    pub password: String,
}

impl Credentials {
    /// The arguments of `AUTH`, or nothing where no password is set.
    ///
    /// A password without a user goes as the one-argument form, which servers before 6.0 know.
    #[must_use]
    pub fn auth_command(&self) -> Option<Vec<&[u8]>> {
        match (self.user.is_empty(), self.password.is_empty()) {
            (true, true) => None,
            (true, false) => Some(vec![b"AUTH", self.password.as_bytes()]),
            (false, _) => Some(vec![b"AUTH", self.user.as_bytes(), self.password.as_bytes()]),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials {{ user: {:?}, password: *** }}", self.user)
    }
}
