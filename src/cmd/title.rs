//! The command line as other processes see it.
//!
//! `ps` and `/proc/PID/cmdline` show every user of the machine what a process was started with. [`hide`] overwrites the
//! secrets there with `*`, as redis-cli and psql do. Between the start of the process and that moment they can be seen,
//! so the environment or a file is the better place for a password.
//!
//! The arguments are the kernel's: nothing that Rust knows of lies there, and no reference to it exists (the standard library copies arguments when
//! they are asked for). They are written to as a file, `/proc/self/mem`, at an address that the kernel tells, so that it is the kernel that sees
//! to it that the address is this process' own and may be written to: an address that is not is an error, and nothing happens.

use std::ffi::OsString;

use super::redact::Found;

/// Overwrites these parts of the process' own arguments. Where the system offers no way, nothing happens.
///
/// To be called before there is a second thread; `std::env::args` gives the masked arguments from then on.
pub fn hide(args: &[OsString], secrets: &[Found]) {
    if !secrets.is_empty() {
        system::hide(args, secrets);
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::ffi::OsString;
    use std::fs::OpenOptions;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::FileExt;

    use super::Found;

    pub(super) fn hide(args: &[OsString], secrets: &[Found]) {
        let Ok(seen) = std::fs::read("/proc/self/cmdline") else {
            return;
        };
        // Only what is known byte for byte is written to.
        if seen != as_seen(args) {
            return;
        }
        let Some(start) = area(seen.len()) else {
            return;
        };
        // Nobody's who may not trace this process, as where the program has capabilities by its file.
        let Ok(memory) = OpenOptions::new().write(true).open("/proc/self/mem") else {
            return;
        };
        // The kernel says that `seen.len()` bytes from `start` on are this process' arguments, and has just read our arguments from there; every
        // offset is below that length and inside one argument, never its final NUL. No other thread runs yet.
        for offset in offsets(args, secrets) {
            let _ = memory.write_all_at(b"*", (start + offset) as u64);
        }
    }

    fn as_seen(args: &[OsString]) -> Vec<u8> {
        let bytes = args.iter().flat_map(|arg| [arg.as_bytes(), b"\0"]);
        bytes.flatten().copied().collect()
    }

    /// Where each byte to be hidden stands in the area.
    fn offsets(args: &[OsString], secrets: &[Found]) -> Vec<usize> {
        let start_of = |argument: usize| args[..argument].iter().map(|arg| arg.len() + 1).sum::<usize>();
        let inside = |found: &&Found| {
            let arg = args.get(found.argument);
            arg.is_some_and(|arg| found.bytes.end <= arg.len())
        };
        let ranges = secrets.iter().filter(inside);
        ranges
            .flat_map(|found| found.bytes.clone().map(|byte| start_of(found.argument) + byte))
            .collect()
    }

    /// Where the arguments begin, if they are `length` bytes long: fields 48 and 49 of `/proc/self/stat`.
    fn area(length: usize) -> Option<usize> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field, a name in parentheses, may hold anything: fields are counted from behind it.
        let mut fields = stat.rsplit_once(") ")?.1.split_ascii_whitespace().skip(48 - 3);
        let start: usize = fields.next()?.parse().ok()?;
        let end: usize = fields.next()?.parse().ok()?;
        (start > 0 && end.checked_sub(start)? == length).then_some(start)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn bytes_are_counted_over_the_arguments_before() {
            let args = ["ab", "", "cdef"].map(OsString::from);
            let found = |argument, bytes| Found { argument, bytes };
            assert_eq!(as_seen(&args), b"ab\0\0cdef\0");
            assert_eq!(offsets(&args, &[found(0, 1..2), found(2, 1..3)]), [1, 5, 6]);
            let beyond = [found(2, 3..5), found(3, 0..1)];
            assert_eq!(offsets(&args, &beyond), [0_usize; 0]);
        }

        #[test]
        fn the_kernel_tells_where_the_arguments_of_this_process_are() {
            let seen = std::fs::read("/proc/self/cmdline").unwrap();
            assert!(area(seen.len()).is_some());
            assert_eq!(area(seen.len() + 1), None);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn hide(_: &[std::ffi::OsString], _: &[super::Found]) {}
}
