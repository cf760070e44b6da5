//! How a value gets to the target: a decision on plain values.
//!
//! | `RESTORE` takes it | only `RESTORE` can write it | fits an argument | length | how |
//! | --- | --- | --- | --- | --- |
//! | yes, and it is enabled | – | yes | up to `bigValueBytes` | restored |
//! | yes, and it is enabled | no | – | more | written in pieces |
//! | yes, and it is enabled | no | no | – | written in pieces |
//! | yes | yes | yes | – | restored |
//! | yes | yes | no | – | refused: too long |
//! | no, or it is not enabled | no | – | up to [`ONE_GO_BYTES`] | written in one go |
//! | no, or it is not enabled | no | – | more | written in pieces |
//! | no | yes | – | – | refused: the format |
//!
//! A string that `SET` can write, and that is no longer than `bigValueBytes`, is set: that costs the target less than `RESTORE`, whatever is enabled.
//!
//! Before that: a string that is longer than the target lets any string be is refused, and so is a stream where the target has none. Only
//! `RESTORE` can write modules' values, whatever is enabled. A value of which some is written already is written in pieces to its end.

/// Values that are no longer are written with commands in one transaction; longer ones in pieces, under a name of ours.
pub(super) const ONE_GO_BYTES: u64 = 1 << 20;

/// What is known of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    /// `SET` writes all there is to it.
    pub sets: bool,
    /// `RESTORE` is enabled, and the target's can replace.
    pub restore: bool,
    /// The version for the footer with which the target takes it; none where it does not.
    pub footer: Option<u16>,
    /// It is a module's.
    pub is_module: bool,
    /// It is a stream, and the target has none.
    pub is_foreign_stream: bool,
    /// It is a string of so many bytes.
    pub text_bytes: Option<u64>,
    /// Its length in the RDB; at least that where it has not arrived whole.
    pub bytes: u64,
    /// A part of it is written.
    pub resumed: bool,
    /// The longest argument of `RESTORE`.
    pub restore_bytes_max: u64,
    /// The longest argument that the target takes at all, and the longest string.
    pub bulk_bytes_max: u64,
    /// Longer values are written in pieces.
    pub big_value_bytes: u64,
}

/// How it gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// By `SET`.
    Set,
    /// By `RESTORE`, with this footer.
    Restore(u16),
    /// With commands, in one go.
    OneGo,
    /// With commands, in pieces.
    Pieces,
    /// Not at all.
    Refuse(Why),
}

/// Why a value cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It is longer than an argument, or a string, may be.
    TooLong(u64),
    /// The target does not know the format, and no command can write it.
    Format,
    /// The target has no such type.
    Type,
}

/// The decision: the table at the module's head.
pub(super) fn decide(case: Case) -> How {
    if let Some(bytes) = case.text_bytes.filter(|bytes| *bytes > case.bulk_bytes_max) {
        return How::Refuse(Why::TooLong(bytes));
    }
    if case.is_foreign_stream {
        return How::Refuse(Why::Type);
    }
    if case.sets && case.bytes <= case.big_value_bytes && !case.resumed {
        return How::Set;
    }
    let fits = case.bytes <= case.restore_bytes_max;
    match case.footer {
        Some(footer) if case.is_module && fits => return How::Restore(footer),
        Some(_) if case.is_module => return How::Refuse(Why::TooLong(case.bytes)),
        None if case.is_module => return How::Refuse(Why::Format),
        Some(footer) if case.restore && fits && case.bytes <= case.big_value_bytes && !case.resumed => {
            return How::Restore(footer);
        }
        _ => {}
    }
    match case.bytes <= ONE_GO_BYTES && !case.resumed {
        true => How::OneGo,
        false => How::Pieces,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        const MIB: u64 = 1 << 20;
        let usual = Case {
            sets: false,
            restore: true,
            footer: Some(10),
            is_module: false,
            is_foreign_stream: false,
            text_bytes: None,
            bytes: 100,
            resumed: false,
            restore_bytes_max: 512 * MIB,
            bulk_bytes_max: 512 * MIB,
            big_value_bytes: 16 * MIB,
        };
        let large = Case {
            bytes: 100 * MIB,
            ..usual
        };
        let huge = Case {
            bytes: 600 * MIB,
            ..usual
        };
        let module = |case| Case {
            is_module: true,
            ..case
        };
        let without = |case| Case { footer: None, ..case };
        let disabled = |case| Case {
            restore: false,
            ..case
        };
        let tight = Case {
            restore_bytes_max: 50,
            ..usual
        };
        let text = Case {
            text_bytes: Some(600 * MIB),
            ..usual
        };
        let foreign = Case {
            is_foreign_stream: true,
            ..without(usual)
        };
        let resumed = Case {
            resumed: true,
            ..usual
        };
        let sets = |case| Case { sets: true, ..case };
        #[rustfmt::skip]
        let rows = [
            (sets(usual),               How::Set),
            (sets(without(disabled(usual))), How::Set),
            (sets(large),               How::Pieces),
            (sets(resumed),             How::Pieces),
            (sets(text),                How::Refuse(Why::TooLong(600 * MIB))),
            (usual,                     How::Restore(10)),
            (large,                     How::Pieces),
            (huge,                      How::Pieces),
            (tight,                     How::OneGo),
            (module(usual),             How::Restore(10)),
            (module(large),             How::Restore(10)),
            (module(disabled(usual)),   How::Restore(10)),
            (module(huge),              How::Refuse(Why::TooLong(600 * MIB))),
            (without(usual),            How::OneGo),
            (without(large),            How::Pieces),
            (disabled(usual),           How::OneGo),
            (disabled(large),           How::Pieces),
            (without(module(usual)),    How::Refuse(Why::Format)),
            (text,                      How::Refuse(Why::TooLong(600 * MIB))),
            (foreign,                   How::Refuse(Why::Type)),
            (resumed,                   How::Pieces),
        ];
        for (case, how) in rows {
            assert_eq!(decide(case), how, "{case:?}");
        }
    }
}
