//! What things look like.

use ratatui::style::{Color, Modifier, Style};

use super::super::health::Care;

/// Whether there are colours. No colour alone says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Theme {
    pub(crate) colours: bool,
}

impl Theme {
    fn in_colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    pub(crate) fn of(self, care: Care) -> Style {
        match care {
            Care::Bad => self.in_colour(Color::Red).add_modifier(Modifier::BOLD),
            Care::Odd => self.in_colour(Color::Yellow),
            Care::Good => self.in_colour(Color::Green),
            Care::Idle => FAINT,
        }
    }
}

pub(crate) const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
pub(crate) const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
pub(super) const TURNED: Style = Style::new().add_modifier(Modifier::REVERSED);
