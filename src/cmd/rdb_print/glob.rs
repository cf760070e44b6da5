//! Redis' own patterns, as `KEYS` and `SCAN … MATCH` know them: `*`, `?`, `[a-z]`, `[^x]`, `\` before a character that stands for itself.
//!
//! On bytes. Linear in the text for each `*` of the pattern. Source of the rules: `stringmatchlen` in `util.c`.
//!
//! Two things differ on purpose. `**` takes the empty name, as `*` does: servers of some versions disagree. And bytes have no sign: to a
//! server whose `char` has one, a range from below 128 to above it means what lies outside.

/// One step of a pattern.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    /// Any number of bytes.
    Any,
    /// One byte, whichever.
    One,
    /// This byte.
    Byte(u8),
    /// One of these ranges, or none of them.
    Class { ranges: Vec<(u8, u8)>, negated: bool },
}

/// A pattern.
#[derive(Debug, Clone)]
pub(super) struct Glob(Vec<Part>);

impl Glob {
    /// Every pattern has a meaning: a class that is not closed ends with the pattern.
    pub(super) fn new(pattern: &[u8]) -> Glob {
        let (mut parts, mut rest) = (Vec::new(), pattern);
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            parts.push(match first {
                b'*' => Part::Any,
                b'?' => Part::One,
                b'[' => class(&mut rest),
                b'\\' => match rest.split_first() {
                    Some((&byte, after)) => {
                        rest = after;
                        Part::Byte(byte)
                    }
                    None => Part::Byte(b'\\'),
                },
                byte => Part::Byte(byte),
            });
        }
        Glob(parts)
    }

    /// Whether all of `text` is as the pattern says.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let (mut part, mut at) = (0, 0);
        // Where to go on when what follows the last `*` does not fit: the part after it, one byte further.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match (self.0.get(part), text.get(at)) {
                (Some(Part::Any), _) => {
                    retry = Some((part + 1, at));
                    part += 1;
                }
                (Some(one), Some(byte)) if one.takes(*byte) => {
                    part += 1;
                    at += 1;
                }
                (None, None) => return true,
                _ => match retry {
                    Some((after, from)) if from < text.len() => {
                        retry = Some((after, from + 1));
                        (part, at) = (after, from + 1);
                    }
                    _ => return false,
                },
            }
        }
    }
}

impl Part {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Part::Any => false,
            Part::One => true,
            Part::Byte(one) => *one == byte,
            Part::Class { ranges, negated } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&byte)) != *negated
            }
        }
    }
}

/// A class, after its bracket.
fn class(rest: &mut &[u8]) -> Part {
    let negated = rest.first() == Some(&b'^');
    if negated {
        *rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        match **rest {
            [] => break,
            [b']', ..] => {
                *rest = &rest[1..];
                break;
            }
            [b'\\', byte, ..] => {
                ranges.push((byte, byte));
                *rest = &rest[2..];
            }
            [from, b'-', to, ..] => {
                ranges.push((from.min(to), from.max(to)));
                *rest = &rest[3..];
            }
            [byte, ..] => {
                ranges.push((byte, byte));
                *rest = &rest[1..];
            }
        }
    }
    Part::Class { ranges, negated }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row was asked of a server: `SET text`, `KEYS pattern`.
    #[test]
    fn patterns_mean_what_they_mean_to_a_server() {
        #[rustfmt::skip]
        let rows: [(&[u8], &[u8], bool); 24] = [
            (b"*", b"", true),
            (b"*", b"anything", true),
            (b"user:*", b"user:1", true),
            (b"user:*", b"users", false),
            (b"*:1", b"a:1:1", true),
            (b"a*b*c", b"axxbyyc", true),
            (b"a*b*c", b"axxbyyd", false),
            (b"**a**", b"bab", true),
            (b"h?llo", b"hello", true),
            (b"h?llo", b"hllo", false),
            (b"h[ae]llo", b"hallo", true),
            (b"h[ae]llo", b"hillo", false),
            (b"h[^e]llo", b"hallo", true),
            (b"h[^e]llo", b"hello", false),
            (b"h[a-c]llo", b"hbllo", true),
            (b"h[c-a]llo", b"hbllo", true),
            (b"[a-", b"a", true),
            (b"[\\]]", b"]", true),
            (b"h\\*llo", b"h*llo", true),
            (b"h\\*llo", b"hello", false),
            (b"\\", b"\\", true),
            (b"\xff?", b"\xff\x00", true),
            (b"", b"", true),
            (b"", b"a", false),
        ];
        for (pattern, text, expected) in rows {
            assert_eq!(
                Glob::new(pattern).matches(text),
                expected,
                "{} {}",
                pattern.escape_ascii(),
                text.escape_ascii()
            );
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_they_must() {
        let pattern = b"*a".repeat(50);
        let text = vec![b'b'; 50_000];
        assert!(!Glob::new(&pattern).matches(&text));
    }
}
