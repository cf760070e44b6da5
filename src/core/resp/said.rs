//! The words of an error reply, fit to be shown.

/// Before the arguments that a server repeats (`server.c`, `rejectCommandFormat` of an unknown command, since 5.0).
const REPEATED: &str = ", with args beginning with:";

/// An error reply as text, without the arguments of the refused command. A server that does not know a command repeats its first 128 bytes or so: of
/// `AUTH`, where that was renamed, the password; of any other, keys and values, which are nobody's business in a trace.
#[must_use]
pub fn said(error: &[u8]) -> String {
    let text = String::from_utf8_lossy(error);
    let told = text.find(REPEATED).map_or(&*text, |at| &text[..at]);
    harmless(told)
}

/// A text of somebody else's without what would command a terminal: control characters, and those that turn the direction of writing, as they are written in a
/// program. Ends of lines and tabs stay.
#[must_use]
pub fn harmless(text: &str) -> String {
    let commands = |letter: char| {
        let turns =
            matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || letter.is_control() && !matches!(letter, '\n' | '\t')
    };
    if !text.contains(commands) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match commands(letter) {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    shown
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
            ("ERR \u{1b}]0;title\u{7}", "ERR \\u{1b}]0;title\\u{7}"),
        ];
        for (error, expected) in rows {
            assert_eq!(said(error.as_bytes()), expected);
        }
    }

    #[test]
    fn no_server_commands_the_terminal() {
        for (text, expected) in [
            (
                "plain, schl\u{fc}ssel \u{1f511}\n\thint",
                "plain, schl\u{fc}ssel \u{1f511}\n\thint",
            ),
            ("\u{1b}[2J\r", "\\u{1b}[2J\\r"),
            ("\u{9b}2J\u{7f}\0", "\\u{9b}2J\\u{7f}\\u{0}"),
            ("a\u{202e}b", "a\\u{202e}b"),
        ] {
            assert_eq!(harmless(text), expected);
        }
    }
}
