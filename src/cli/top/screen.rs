//! The terminal while it is ours: another screen, no echo, no cursor. It is given back when this is
//! dropped, and before a defect says what it is.

use std::io::{self, Stdout, Write, stdout};
use std::panic;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{Frame, Terminal};

use super::super::exit::{Exit, Failure};

pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    left: bool,
}

impl Screen {
    pub(super) fn enter() -> Result<Self, Failure> {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |defect| {
            // There is nothing else to be done about a terminal that is gone.
            let _gone = give_back();
            before(defect);
        }));
        enable_raw_mode().map_err(failed)?;
        // From here on it is given back, whatever fails.
        let terminal = Terminal::new(CrosstermBackend::new(stdout()));
        let screen = match terminal {
            Ok(terminal) => Self { terminal, left: false },
            Err(error) => {
                let _gone = give_back();
                return Err(failed(error));
            }
        };
        clear().map_err(failed)?;
        Ok(screen)
    }

    /// Takes the terminal again, whatever has become of it, so that all is drawn anew.
    pub(super) fn enter_again(&mut self) -> Result<(), Failure> {
        // Raw mode that is on is not set again.
        let _gone = disable_raw_mode();
        enable_raw_mode().map_err(failed)?;
        clear().map_err(failed)?;
        // What was drawn is forgotten.
        self.terminal.swap_buffers();
        Ok(())
    }

    pub(super) fn draw(&mut self, view: impl FnOnce(&mut Frame<'_>)) -> Result<(), Failure> {
        self.terminal.draw(view).map(|_| ()).map_err(failed)
    }

    /// Gives the terminal back.
    pub(super) fn leave(mut self) -> Result<(), Failure> {
        self.left = true;
        give_back().map_err(failed)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if !self.left {
            let _gone = give_back();
        }
    }
}

/// Not by `Terminal::clear`, which asks where the cursor is: not every terminal answers.
fn clear() -> io::Result<()> {
    execute!(stdout(), EnterAlternateScreen, Clear(ClearType::All))
}

fn give_back() -> io::Result<()> {
    let raw = disable_raw_mode();
    execute!(stdout(), LeaveAlternateScreen, Show)?;
    stdout().flush()?;
    raw
}

fn failed(error: impl std::error::Error) -> Failure {
    Failure::new(Exit::Internal, format!("the terminal cannot be used: {error}"))
}
