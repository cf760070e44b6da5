//! Parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use gunyu::cmd::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // The one place where a command's failure is printed.
            #[allow(clippy::print_stderr)]
            {
                eprintln!("{failure}");
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}
