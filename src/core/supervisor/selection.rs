//! Which inputs an operator means by what he wrote.
//!
//! | written | means |
//! | --- | --- |
//! | `all` | every input |
//! | `10.0.0.1:6379` | the input that follows this node, or another node of its shard |
//! | `10.0.0.1` | every input that follows a node at that address |
//!
//! Several stand between commas. `localhost` and `127.0.0.1` are the same. What is meant twice counts once.

use crate::core::net::Address;

/// Everything that an input answers to.
pub(super) struct Names {
    /// The node that is followed.
    pub(super) source: Address,
    /// Other nodes of its shard.
    pub(super) shard: Vec<Address>,
}

/// The places of the inputs that are meant, ascending.
///
/// # Errors
/// The word that names none of them; an empty one where nothing is named at all.
pub(super) fn select(inputs: &[Names], wanted: &str) -> Result<Vec<usize>, String> {
    let words: Vec<&str> = wanted
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    if words.is_empty() {
        return Err(String::new());
    }
    let mut chosen = Vec::new();
    for word in words {
        let meant: Vec<usize> = (0..inputs.len())
            .filter(|place| is_meant(&inputs[*place], word))
            .collect();
        if meant.is_empty() {
            return Err(word.to_owned());
        }
        chosen.extend(meant);
    }
    chosen.sort_unstable();
    chosen.dedup();
    Ok(chosen)
}

fn is_meant(input: &Names, word: &str) -> bool {
    if word == "all" {
        return true;
    }
    let is = |node: &Address| same(&node.to_string(), word);
    let host = word.trim_start_matches('[').trim_end_matches(']');
    is(&input.source) || same(&input.source.host, host) || input.shard.iter().any(is)
}

fn same(known: &str, word: &str) -> bool {
    let plain = |text: &str| text.to_ascii_lowercase().replacen("localhost", "127.0.0.1", 1);
    plain(known) == plain(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address {
            host: host.into(),
            port,
        }
    }

    #[test]
    fn every_row_of_the_table() {
        let inputs = [
            Names {
                source: at("10.0.0.1", 6379),
                shard: vec![at("10.0.0.9", 7000)],
            },
            Names {
                source: at("10.0.0.1", 6380),
                shard: vec![],
            },
            Names {
                source: at("localhost", 6379),
                shard: vec![],
            },
            Names {
                source: at("::1", 6379),
                shard: vec![],
            },
        ];
        let rows: [(&str, Result<&[usize], &str>); 14] = [
            ("all", Ok(&[0, 1, 2, 3])),
            ("10.0.0.1:6380", Ok(&[1])),
            ("10.0.0.9:7000", Ok(&[0])),
            ("10.0.0.1", Ok(&[0, 1])),
            ("10.0.0.1:6380, 10.0.0.1:6379,10.0.0.1:6380", Ok(&[0, 1])),
            ("127.0.0.1:6379", Ok(&[2])),
            ("LOCALHOST", Ok(&[2])),
            ("[::1]:6379", Ok(&[3])),
            ("::1", Ok(&[3])),
            ("10.0.0.1:6380,all", Ok(&[0, 1, 2, 3])),
            ("10.0.0.9", Err("10.0.0.9")),
            ("10.0.0.1:1,all", Err("10.0.0.1:1")),
            ("", Err("")),
            (" , ", Err("")),
        ];
        for (wanted, expected) in rows {
            let expected = expected.map(<[usize]>::to_vec).map_err(str::to_owned);
            assert_eq!(select(&inputs, wanted), expected, "{wanted:?}");
        }
    }
}
