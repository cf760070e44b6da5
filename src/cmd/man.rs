//! `gunyu man`: the manual pages, made from the definition of the commands itself.
//!
//! Owns their order of sections and what becomes of the text after the help: each of its headings (`Examples:`) is a
//! section of its own, its indented lines stay as they are. The same files are committed under `completions/man/`; a test compares them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::{Cli, Failure, print};

/// Print the manual page, or write all of them into a folder
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  gunyu man | man -l -
  gunyu man --dir ~/.local/share/man/man1
  man gunyu-sync

For all users: gunyu man --dir /usr/local/share/man/man1")]
pub struct Args {
    /// Write gunyu.1 and a page for each command into this folder, which is made where it is missing
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

/// Prints the page of gunyu itself, or writes all pages.
///
/// # Errors
/// Stdout, or a file, cannot be written.
pub fn run(args: &Args) -> Result<(), Failure> {
    let pages = pages().context("cannot make the manual pages")?;
    match &args.dir {
        Some(folder) => write_all(folder, &pages)?,
        // The first page is that of gunyu itself.
        None => {
            print::bytes(pages.first().map_or(&b""[..], |page| &page.text))?;
        }
    }
    Ok(())
}

struct Page {
    /// `gunyu-status.1`
    file: String,
    text: Vec<u8>,
}

fn write_all(folder: &Path, pages: &[Page]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for page in pages {
        let path = folder.join(&page.file);
        std::fs::write(&path, &page.text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The page of gunyu, then one for each command.
fn pages() -> io::Result<Vec<Page>> {
    let mut top = Cli::command().disable_help_subcommand(true);
    top.build();
    let commands: Vec<&Command> = top.get_subcommands().filter(|sub| !sub.is_hide_set()).collect();
    let names: Vec<String> = commands
        .iter()
        .map(|command| format!("gunyu-{}", command.get_name()))
        .collect();
    let mut pages = vec![page(&top, "gunyu", &names)?];
    for (command, name) in commands.iter().zip(&names) {
        pages.push(page(command, name, &["gunyu".to_owned()])?);
    }
    Ok(pages)
}

fn page(command: &Command, name: &str, see_also: &[String]) -> io::Result<Page> {
    let mut text = Vec::new();
    let source = format!("gunyu {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .source(source)
        .manual("gunyu");
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(after) = command.get_after_long_help() {
        render_after(&after.to_string(), &mut text)?;
    }
    let others: Vec<String> = see_also
        .iter()
        .map(|name| format!("\\fB{}\\fR(1)", escaped(name)))
        .collect();
    writeln!(text, ".SH \"SEE ALSO\"\n{}", others.join(", "))?;
    Ok(Page {
        file: format!("{name}.1"),
        text: without_repetition(&String::from_utf8_lossy(&text)).into_bytes(),
    })
}

/// Each section that is rendered by itself brings the same two definitions along; the first will do.
fn without_repetition(text: &str) -> String {
    let is_definition = |line: &str| line.starts_with(".ie \\n(.g .ds Aq") || line.starts_with(".el .ds Aq");
    let numbered = text.lines().enumerate();
    let kept = numbered.filter(|(number, line)| *number < 2 || !is_definition(line));
    kept.map(|(_, line)| format!("{line}\n")).collect()
}

/// `Heading:` alone on a line begins a section, indented lines stay as they are; anything else is text.
fn render_after(after: &str, out: &mut impl Write) -> io::Result<()> {
    let mut verbatim = false;
    let mut begun = false;
    for line in after.lines() {
        let is_indented = line.starts_with(' ');
        if verbatim && !is_indented {
            writeln!(out, ".fi\n.RE")?;
            verbatim = false;
        }
        let heading = line.strip_suffix(':').filter(|_| !is_indented);
        match heading {
            Some(heading) => writeln!(out, ".SH {:?}", escaped(&heading.to_uppercase()))?,
            None if !begun => writeln!(out, ".SH NOTES")?,
            None => {}
        }
        begun = true;
        if is_indented && !verbatim {
            writeln!(out, ".RS 4\n.nf")?;
            verbatim = true;
        }
        match (heading, line.trim()) {
            (Some(_), _) => {}
            (None, "") => writeln!(out, ".PP")?,
            (None, text) if is_indented => writeln!(out, "{}", escaped(text))?,
            (None, text) => writeln!(out, "{}", escaped(text))?,
        }
    }
    if verbatim {
        writeln!(out, ".fi\n.RE")?;
    }
    Ok(())
}

/// Nothing in it is a command of roff, and a hyphen can be copied as the `-` it is.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(after: &str) -> String {
        let mut out = Vec::new();
        render_after(after, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn headings_are_sections_and_examples_stay_as_they_are() {
        assert_eq!(
            rendered("Examples:\n  gunyu status --json | jq '.[]'\n\nA line.\n.dot"),
            ".SH \"EXAMPLES\"\n.RS 4\n.nf\ngunyu status \\-\\-json | jq '.[]'\n.fi\n.RE\n.PP\nA line.\n\\&.dot\n"
        );
    }

    #[test]
    fn nothing_in_a_text_is_taken_for_a_command() {
        assert_eq!(escaped(".SH x"), "\\&.SH x");
        assert_eq!(escaped("a\\b"), "a\\eb");
    }
}
