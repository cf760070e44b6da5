//! `gunyu completions`: what a shell needs to complete our commands, made from the definition of the commands itself.
//!
//! The same files are committed under `completions/`; a test compares them.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failure, print};

/// Print the completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  gunyu completions bash > ~/.local/share/bash-completion/completions/gunyu
  gunyu completions zsh > ~/.zfunc/_gunyu
  gunyu completions fish > ~/.config/fish/completions/gunyu.fish
  gunyu completions powershell >> $PROFILE
  gunyu completions elvish > ~/.config/elvish/lib/gunyu.elv

The folders must exist. For all users: /usr/share/bash-completion/completions/gunyu, \
/usr/share/zsh/site-functions/_gunyu, /usr/share/fish/vendor_completions.d/gunyu.fish. \
zsh looks into ~/.zfunc if ~/.zshrc has, before compinit: fpath=(~/.zfunc $fpath) \
elvish loads the file if ~/.config/elvish/rc.elv has: use gunyu")]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the completions.
///
/// # Errors
/// Stdout cannot be written to.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "gunyu", &mut text);
    print::bytes(&text)?;
    Ok(())
}
