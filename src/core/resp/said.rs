//! The words of an error reply, fit to be shown.

use std::borrow::Cow;

/// Before the arguments that a server repeats (`server.c`, `rejectCommandFormat` of an unknown command, since 5.0).
const REPEATED: &str = ", with args beginning with:";

/// An error reply as text, without the arguments of the refused command. A server that does not know a command repeats its first 128 bytes or so: of
/// `AUTH`, where that was renamed, the password; of any other, keys and values, which are nobody's business in a trace.
#[must_use]
pub fn said(error: &[u8]) -> String {
    let text = String::from_utf8_lossy(error);
    match text.find(REPEATED) {
        Some(at) => text[..at].to_owned(),
        None => Cow::into_owned(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_that_a_server_repeats_are_left_out() {
        let rows = [
            (
                "ERR unknown command 'AUTH', with args beginning with: 'u' 's3cret' ",
                "ERR unknown command 'AUTH'",
            ),
            (
                "ERR unknown command `X`, with args beginning with: `a, with args beginning with:`, ",
                "ERR unknown command `X`",
            ),
            ("WRONGTYPE Operation", "WRONGTYPE Operation"),
        ];
        for (error, expected) in rows {
            assert_eq!(said(error.as_bytes()), expected);
        }
    }
}
