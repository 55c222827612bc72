//! Keys, from the terminal to what they mean.

use std::io;
use std::thread;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc::{Receiver, channel};

use super::model::Key;

/// What came from the terminal.
pub(super) enum Typed {
    Key(Key),
    /// The screen is to be drawn anew.
    Redraw,
    /// It has another size, or something that means nothing here.
    Other,
}

/// Keys that may wait: a paste is cut, not hoarded.
const WAITING: usize = 64;

/// Reads the terminal on a thread of its own, which ends with the process.
pub(super) fn read() -> io::Result<Receiver<Typed>> {
    let (send, typed) = channel(WAITING);
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        while let Ok(event) = event::read() {
            let typed = match event {
                Event::Key(key) if is_redraw(key) => Typed::Redraw,
                Event::Key(key) => meaning(key).map_or(Typed::Other, Typed::Key),
                _ => Typed::Other,
            };
            if send.blocking_send(typed).is_err() {
                return;
            }
        }
    })?;
    Ok(typed)
}

fn is_redraw(key: KeyEvent) -> bool {
    key.code == KeyCode::Char('l') && key.modifiers.contains(KeyModifiers::CONTROL)
}

fn meaning(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Key::Interrupt),
            KeyCode::Char('n') => Some(Key::Down),
            KeyCode::Char('p') => Some(Key::Up),
            _ => None,
        };
    }
    if key.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    Some(match key.code {
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}
