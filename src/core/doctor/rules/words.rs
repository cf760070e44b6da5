//! How sizes, times and commands are written.

use crate::core::net::Endpoint;

const MIB: u64 = 1 << 20;

/// `12 B`, `3.2 MiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut number = bytes as f64 / 1024.0;
    let mut unit = 0;
    while number >= 1023.95 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    let number = format!("{number:.1}");
    format!("{} {}", number.strip_suffix(".0").unwrap_or(&number), UNITS[unit])
}

/// As a server's configuration has it: the next power of two of MiB, in bytes, as 2.8 understands nothing else.
pub(super) fn rounded_up(bytes: u64) -> String {
    let mib = bytes.div_ceil(MIB).max(1);
    let mib = mib.checked_next_power_of_two().unwrap_or(mib);
    mib.saturating_mul(MIB).to_string()
}

/// A line for a shell: `redis-cli` with the words of a command. Never a password: `redis-cli` takes that of `REDISCLI_AUTH`.
pub(super) fn typed(endpoint: &Endpoint, more: &[String], words: &[&str]) -> String {
    let (host, port) = (&endpoint.address.host, endpoint.address.port.to_string());
    let first = ["redis-cli", "-h", host, "-p", &port];
    let more = more.iter().map(String::as_str);
    let all = first.into_iter().chain(more).chain(words.iter().copied());
    all.map(quoted).collect::<Vec<_>>().join(" ")
}

/// As a shell takes it for one word.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./:@%+=,-".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// `a, b and c`.
pub(super) fn listed<T: AsRef<str>>(words: &[T]) -> String {
    match words {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::net::{Address, Credentials};

    #[test]
    fn sizes_are_short() {
        for (bytes, text, rounded) in [
            (0, "0 B", "1048576"),
            (1024, "1 KiB", "1048576"),
            (3 * MIB / 2, "1.5 MiB", "2097152"),
            (MIB, "1 MiB", "1048576"),
            (1025 * MIB, "1 GiB", "2147483648"),
        ] {
            assert_eq!(
                (size(bytes), rounded_up(bytes)),
                (text.to_owned(), rounded.to_owned())
            );
        }
    }

    #[test]
    fn what_is_typed_is_one_command_for_a_shell() {
        let endpoint = Endpoint {
            address: Address {
                host: "10.0.0.1".into(),
                port: 7,
            },
            credentials: Credentials {
                user: "u".into(),
                password: "s3cret".into(),
            },
            tls: None,
        };
        let more = ["--tls", "--cacert", "my ca.pem"].map(str::to_owned);
        let line = typed(&endpoint, &more, &["ACL", "SETUSER", "u", "+client|list", "it's"]);
        assert_eq!(
            line,
            r"redis-cli -h 10.0.0.1 -p 7 --tls --cacert 'my ca.pem' ACL SETUSER u '+client|list' 'it'\''s'"
        );
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
    }
}
