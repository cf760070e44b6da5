//! The section `server`: where the API listens, and who may call it.

use super::Check;
use crate::cmd::config::schema::join;
use crate::cmd::config::sections::{Auth, Server, ServerTls};
use crate::cmd::config::token::is_token;

impl Check {
    pub(super) fn server(&mut self) -> Server {
        let listen = self
            .values
            .address("server.listen")
            .expect("the table gives the key a default");
        let server = Server {
            listen_peer: self
                .values
                .address("server.listenPeer")
                .unwrap_or_else(|| listen.clone()),
            listen,
            metric_route_path: self.metrics_path(),
            check_topology_ticker: self.values.duration("server.checkRedisTypologyTicker"),
            graceful_stop_timeout: self.values.duration("server.gracefullStopTimeout"),
            doctor_at_start: self.values.flag("server.doctorAtStart"),
            auth: self.auth("server.auth"),
            allow_unauthenticated: self.values.flag("server.allowUnauthenticated"),
            allowed_hosts: self.allowed_hosts(),
            tls: self.server_tls(),
        };
        if server.auth == Auth::None && !server.allow_unauthenticated && !server.listen.is_loopback() {
            let message = format!(
                "{} can be reached from other machines, and nothing guards the API",
                server.listen
            );
            let hint = "set server.auth.token or server.auth.tokenFile, or let everyone in with server.allowUnauthenticated: true";
            self.problem("server.listen", message, hint);
        }
        server
    }

    /// Below the routes of the API no metrics can be served, and none of those may go without the token.
    fn metrics_path(&mut self) -> String {
        let path = self
            .values
            .text("server.metricRoutePath")
            .unwrap_or("/prometheus");
        let path = format!("/{}", path.trim_start_matches('/'));
        let first = path[1..].split('/').next().unwrap_or_default();
        if matches!(first, "" | "syncer" | "storage" | "debug" | "peer") {
            self.problem(
                "server.metricRoutePath",
                format!("{path} belongs to other calls of the API"),
                "write a path of its own, as /prometheus or /metrics",
            );
        }
        path
    }

    fn allowed_hosts(&mut self) -> Vec<String> {
        let path = "server.allowedHosts";
        let hosts = self.values.texts(path);
        let is_name = |host: &str| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            host == "*" || (!host.is_empty() && host.chars().all(is_part))
        };
        for host in hosts.iter().filter(|host| !is_name(host)) {
            self.problem(
                path,
                format!("{host:?} is not the name of a host"),
                "write a name alone, as gunyu.example.org, without port and scheme; or '*' for any",
            );
        }
        hosts.iter().map(|host| host.to_ascii_lowercase()).collect()
    }

    /// `token` or `tokenFile` of a section.
    pub(super) fn auth(&mut self, section: &str) -> Auth {
        let (token_path, file_path) = (join(section, "token"), join(section, "tokenFile"));
        for path in [&token_path, &file_path] {
            // Else an unset variable in `${NAME}` would leave the API open.
            if self.values.is_written(path) && self.values.text(path).is_none() {
                self.problem(path, "is empty", "write one, or take the key out");
            }
        }
        if self
            .values
            .text(&token_path)
            .is_some_and(|token| !is_token(token))
        {
            self.problem(
                &token_path,
                "has a character that a header cannot bear",
                "use letters, digits and signs of ASCII, without spaces: openssl rand -hex 32",
            );
        }
        match (self.values.secret(&token_path), self.path(&file_path)) {
            (None, None) => Auth::None,
            (Some(token), None) => Auth::Token(token),
            (None, Some(file)) => Auth::TokenFile(file),
            (Some(token), Some(file)) => {
                match self.rank(&token_path).cmp(&self.rank(&file_path)) {
                    std::cmp::Ordering::Greater => return Auth::Token(token),
                    std::cmp::Ordering::Less => return Auth::TokenFile(file),
                    std::cmp::Ordering::Equal => {}
                }
                let message = "the token is written as well";
                self.problem(&file_path, message, "write either token or tokenFile");
                Auth::TokenFile(file)
            }
        }
    }

    fn server_tls(&mut self) -> Option<ServerTls> {
        match (self.path("server.tls.cert"), self.path("server.tls.key")) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(ServerTls { cert, key }),
            (cert, _) => {
                let there = if cert.is_some() {
                    "server.tls.cert"
                } else {
                    "server.tls.key"
                };
                self.problem(there, "cert and key go together", "write both or neither");
                None
            }
        }
    }
}
