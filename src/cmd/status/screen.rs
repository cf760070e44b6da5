//! The terminal: how large it is, whether it has colours, and a screen of its own for what is redrawn.

use std::io::{self, IsTerminal, Write};

use super::table::{Line, WIDTH};

/// Characters in a line, lines in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: usize,
}

/// Stdout, where it is a terminal that understands more than text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terminal {
    colours: bool,
}

impl Terminal {
    /// None where stdout is a pipe or a file, or the terminal can do nothing (`TERM=dumb`).
    pub(super) fn of_stdout() -> Option<Terminal> {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        (io::stdout().is_terminal() && !is_dumb).then_some(Terminal { colours })
    }

    /// Whether colours are wanted.
    pub(super) fn has_colours(self) -> bool {
        self.colours
    }

    /// How large the window is now.
    pub(super) fn size(self) -> Size {
        let told = rustix::termios::tcgetwinsize(io::stdout()).ok();
        // A terminal that does not know says 0.
        let known = |number: Option<u16>, usual| match number {
            None | Some(0) => usual,
            Some(number) => usize::from(number),
        };
        Size {
            width: known(told.map(|told| told.ws_col), WIDTH),
            height: known(told.map(|told| told.ws_row), 24),
        }
    }
}

/// A second screen without a cursor, until it is dropped: then everything is as it was before.
#[derive(Debug)]
pub(super) struct Screen(());

impl Screen {
    /// Switches over.
    pub(super) fn enter() -> io::Result<Screen> {
        write("\x1b[?1049h\x1b[?25l\x1b[2J")?;
        Ok(Screen(()))
    }

    /// Draws over what is there, in one write and without clearing first, so that nothing flickers.
    pub(super) fn draw(&self, lines: &[Line], colours: bool) -> io::Result<()> {
        let lines: Vec<String> = lines
            .iter()
            .map(|line| line.painted(colours) + "\x1b[K")
            .collect();
        // No newline after the last line, or a full window would scroll. The cursor goes home: what is typed appears there
        // until the next time, and cannot make a full line wrap.
        write(&format!("\x1b[H{}\x1b[J\x1b[H", lines.join("\r\n")))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing restored.
        let _ = write("\x1b[?25h\x1b[?1049l");
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
