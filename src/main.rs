//! Parse, run, exit code; and that no word on the way out tells a secret.

#![forbid(unsafe_code)]

use std::backtrace::{Backtrace, BacktraceStatus};
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::process::ExitCode;

use clap::Parser;
use gunyu::cmd::{Cli, redact, title};
use gunyu::core::resp::harmless;

// The system's is as fast as any that was measured, and keeps the least; musl's is neither.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    title::hide(&args, &redact::find(&args));
    redact::register_environment();
    std::panic::set_hook(Box::new(tell_panic));
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // The one place where a command's failure is printed.
            if !failure.message.is_empty() {
                tell(told(&failure.to_string()));
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// What a command failed of, without secrets, and without what a server could command the terminal with.
fn told(failure: &str) -> String {
    harmless(&redact::scrub(failure))
}

/// Help, the version, or what is wrong with the arguments, as clap prints it.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Help and version hold nothing of the operator's. Nobody reads: not worth a word.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let styled = error.render();
    let plain = styled.to_string();
    if scrubbed(&plain) == plain {
        // Nobody reads: not worth a word.
        let _ = error.print();
    } else if has_colours() {
        tell(scrubbed(&styled.ansi().to_string()).trim_end());
    } else {
        tell(scrubbed(&plain).trim_end());
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn scrubbed(text: &str) -> String {
    redact::scrub_written(&redact::scrub(text))
}

/// As clap decides it.
fn has_colours() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal()
        && !set("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// One line that looks like a trace; a backtrace only where it was asked for.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tell(panic_line(message, &place));
    let backtrace = Backtrace::capture(); // empty unless RUST_BACKTRACE asks for it
    if backtrace.status() == BacktraceStatus::Captured {
        tell(backtrace);
    }
}

fn panic_line(message: &str, place: &str) -> String {
    let message = redact::scrub(message);
    let words: Vec<&str> = message.split_whitespace().collect();
    format!("ERROR gunyu: a bug of gunyu's: {} at {place}", words.join(" "))
}

/// A line on stderr. Where nobody reads it there is nobody to tell that either.
fn tell(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_in_one_line_without_secrets() {
        redact::register("p4nic s3cret");
        assert_eq!(
            panic_line("assertion failed\n  left: \"p4nic s3cret\"", "src/x.rs:1:2"),
            "ERROR gunyu: a bug of gunyu's: assertion failed left: \"***\" at src/x.rs:1:2"
        );
    }

    #[test]
    fn what_a_server_says_commands_no_terminal() {
        redact::register("t0ld s3cret");
        assert_eq!(
            told("error: t0ld s3cret \u{1b}[2J\n  hint: x"),
            "error: *** \\u{1b}[2J\n  hint: x"
        );
    }

    #[test]
    fn a_mistaken_command_line_is_masked_by_its_looks_too() {
        assert_eq!(scrubbed("'redis://u:n0tregistered@h'"), "'redis://u:***@h'");
    }
}
