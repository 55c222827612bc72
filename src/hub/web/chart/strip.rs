//! Booleans and strings over time: a strip that says what held when.

use maud::{Markup, html};

use crate::hub::scalar::Scalar;
use crate::hub::store::SeriesRow;
use crate::hub::web::format::{clock_to, seconds, value};

use super::axis::{Window, percent};
use super::tags;

/// Slots on the time axis.
const SLOTS: usize = 240;
/// Different texts that are told apart.
const TEXTS: usize = 8;
/// Characters of a text that are kept.
const LENGTH: usize = 120;
/// Rows of the table.
const ROWS: usize = 60;
const HEIGHT: usize = 24;

/// The course of one series.
pub(in crate::hub::web) struct Track<'a> {
    pub(in crate::hub::web) series: &'a SeriesRow,
    window: Window,
    slots: Vec<Cell>,
    texts: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Empty,
    /// The text of this number held.
    Held(usize),
    /// More than one did.
    Mixed,
}

/// So many slots of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    first: usize,
    after: usize,
    cell: Cell,
}

impl<'a> Track<'a> {
    pub(in crate::hub::web) fn new(series: &'a SeriesRow, window: Window) -> Self {
        // A boolean's texts have fixed places, so that yes looks the same on every strip.
        let texts = if series.kind == "boolean" {
            vec!["yes".to_owned(), "no".to_owned()]
        } else {
            Vec::new()
        };
        Self { series, window, slots: vec![Cell::Empty; SLOTS], texts }
    }

    pub(in crate::hub::web) fn push(&mut self, ms: i64, value: Scalar<'_>) {
        if !self.window.holds(ms) {
            return;
        }
        let short: String;
        let text = match value {
            Scalar::Gap => return,
            Scalar::Boolean(true) | Scalar::Signed(1) => "yes",
            Scalar::Boolean(false) | Scalar::Signed(0) => "no",
            Scalar::Text(text) => {
                short = text.chars().take(LENGTH).collect();
                &short
            }
            _ => return,
        };
        let at = match self.texts.iter().position(|known| known == text) {
            Some(at) => at,
            None if self.texts.len() < TEXTS => {
                self.texts.push(text.to_owned());
                self.texts.len() - 1
            }
            None => self.rest(),
        };
        let slot = &mut self.slots[self.window.part(ms, SLOTS)];
        *slot = match *slot {
            Cell::Empty => Cell::Held(at),
            Cell::Held(before) if before == at => Cell::Held(at),
            _ => Cell::Mixed,
        };
    }

    /// The last place is for all the rest.
    fn rest(&mut self) -> usize {
        if self.texts.len() == TEXTS {
            self.texts.push("other texts".to_owned());
        }
        TEXTS
    }

    pub(in crate::hub::web) fn is_empty(&self) -> bool {
        self.slots.iter().all(|cell| *cell == Cell::Empty)
    }

    /// What held from when on; empty slots within `gap` milliseconds are what held before them.
    fn pieces(&self, gap: Option<i64>) -> Vec<Piece> {
        let slot = self.window.span() as f64 / SLOTS as f64;
        let most = gap.map_or(SLOTS, |gap| ((gap as f64 / slot).ceil() as usize).max(2));
        let mut pieces: Vec<Piece> = Vec::new();
        for (at, cell) in self.slots.iter().enumerate().filter(|(_, c)| **c != Cell::Empty) {
            match pieces.last_mut() {
                Some(last) if at - (last.after - 1) <= most => {
                    last.after = at;
                    if last.cell == *cell {
                        last.after = at + 1;
                        continue;
                    }
                }
                _ => {}
            }
            pieces.push(Piece { first: at, after: at + 1, cell: *cell });
        }
        pieces
    }

    /// How many texts hold for longer: what mostly holds looks the same on all strips.
    fn rank(&self, at: usize) -> usize {
        let count = |at: usize| self.slots.iter().filter(|cell| **cell == Cell::Held(at)).count();
        let own = count(at);
        let longer = |other: &usize| {
            let of_other = count(*other);
            of_other > own || of_other == own && *other < at
        };
        (0..self.texts.len()).filter(longer).count()
    }

    fn text(&self, cell: Cell) -> &str {
        match cell {
            Cell::Held(at) => self.texts.get(at).map_or("", String::as_str),
            Cell::Mixed => "several in turn",
            Cell::Empty => "",
        }
    }

    fn class(&self, cell: Cell) -> String {
        match cell {
            Cell::Held(at) if self.series.kind == "boolean" => {
                if at == 0 { "yes" } else { "no" }.to_owned()
            }
            Cell::Held(at) => format!("t{}", self.rank(at)),
            _ => "mixed".to_owned(),
        }
    }
}

/// The strips of one metric.
pub(in crate::hub::web) struct Strip<'a> {
    pub(in crate::hub::web) tracks: Vec<Track<'a>>,
    pub(in crate::hub::web) left_out: usize,
    /// A longer time without a point is a gap, in milliseconds; without one none is.
    pub(in crate::hub::web) gap: Option<i64>,
}

impl Strip<'_> {
    pub(in crate::hub::web) fn draw(&self) -> Markup {
        let Some(first) = self.tracks.first() else { return html! {} };
        let series = first.series;
        let title = series.label.as_deref().unwrap_or(&series.name);
        let id = format!("c{}", series.id);
        let alone = self.tracks.len() == 1 && self.left_out == 0;
        html! {
            figure.chart.states id=(id) {
                figcaption {
                    h3 id={ (id) "h" } { (title) }
                    @if title != series.name { code.faint { (series.name) } }
                    @if alone { (now(series)) }
                }
                @for (nth, track) in self.tracks.iter().enumerate() {
                    @if !alone { p.of { (tags(track.series)) " " (now(track.series)) } }
                    (self.bar(track, &format!("{id}-{nth}"), title))
                }
                (first.window.axis())
                @if self.left_out > 0 { p.faint { "and " (self.left_out) " more in the table of metrics" } }
                (self.table(&id))
            }
        }
    }

    fn bar(&self, track: &Track<'_>, id: &str, title: &str) -> Markup {
        let pieces = track.pieces(self.gap);
        let told: Vec<&str> = pieces.iter().rev().take(3).map(|p| track.text(p.cell)).collect();
        html! {
            svg.strip width="100%" height=(HEIGHT) role="img" aria-labelledby={ (id) "t " (id) "d" } {
                title id={ (id) "t" } { (title) " " (tags(track.series)) }
                desc id={ (id) "d" } { "last " (told.join(", before ")) }
                @for piece in &pieces {
                    @let from = percent(piece.first as f64 / SLOTS as f64);
                    @let wide = percent((piece.after - piece.first) as f64 / SLOTS as f64);
                    @let low = track.class(piece.cell) == "no";
                    svg x={ (from) "%" } width={ (wide) "%" } height=(HEIGHT) {
                        title { (track.text(piece.cell)) }
                        rect class=(track.class(piece.cell)) width="100%" y=(if low { HEIGHT - 7 } else { 0 }) height=(if low { 7 } else { HEIGHT }) {}
                        @if wide > 4.0 {
                            text class={ "on " (track.class(piece.cell)) } x="6" y=(if low { 13 } else { 16 }) { (track.text(piece.cell)) }
                        }
                    }
                }
            }
        }
    }

    fn table(&self, id: &str) -> Markup {
        html! {
            details.data id={ (id) "x" } {
                summary { "Table" }
                div.scroll tabindex="0" role="region" aria-labelledby={ (id) "h" } {
                    table {
                        thead { tr { th scope="col" { "From" } th scope="col" { "For" } th scope="col" { "Value" } @if self.tracks.len() > 1 { th scope="col" { "Tags" } } } }
                        tbody {
                            @for track in &self.tracks {
                                @let span = track.window.span();
                                @for piece in track.pieces(self.gap).iter().rev().take(ROWS) {
                                    tr {
                                        th scope="row" { (clock_to(track.window.from + span * piece.first as i64 / SLOTS as i64, span)) }
                                        td { (seconds(span as f64 / 1000.0 * (piece.after - piece.first) as f64 / SLOTS as f64)) }
                                        td { (track.text(piece.cell)) }
                                        @if self.tracks.len() > 1 { td { (tags(track.series)) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn now(series: &SeriesRow) -> Markup {
    html! { @if let Some((_, last)) = &series.last { b.last { (value(last, series)) } } }
}

#[cfg(test)]
mod tests {
    use super::super::tests::series;
    use super::*;

    fn track<'a>(row: &'a SeriesRow, points: &[(i64, Scalar<'_>)]) -> Track<'a> {
        let mut track = Track::new(row, Window::new(0, 240_000));
        for (ms, value) in points {
            track.push(*ms, *value);
        }
        track
    }

    #[test]
    fn what_holds_is_one_piece_until_it_changes_or_nothing_comes() {
        let row = series("string");
        let said = [(0, "up"), (2000, "up"), (4000, "down"), (60_000, "down"), (62_000, "up")];
        let points: Vec<_> = said.map(|(ms, text)| (ms, Scalar::Text(text))).to_vec();
        let track = track(&row, &points);
        let pieces: Vec<_> = track.pieces(Some(6000));
        let told: Vec<_> = pieces.iter().map(|p| (p.first, p.after, track.text(p.cell))).collect();
        assert_eq!(told, [(0, 4, "up"), (4, 5, "down"), (60, 62, "down"), (62, 63, "up")]);
    }

    #[test]
    fn two_in_one_slot_are_said_to_be_two() {
        let row = series("boolean");
        let track = track(&row, &[(0, Scalar::Boolean(true)), (10, Scalar::Boolean(false))]);
        assert_eq!(track.pieces(Some(1000))[0].cell, Cell::Mixed);
    }

    #[test]
    fn texts_without_end_take_no_memory_without_end() {
        let row = series("string");
        let texts: Vec<String> = (0..100).map(|n| format!("pid {n}")).collect();
        let points: Vec<_> =
            texts.iter().zip(0..).map(|(t, n)| (n * 2000, Scalar::Text(t))).collect();
        let track = track(&row, &points);
        assert_eq!(track.texts.len(), TEXTS + 1);
        assert_eq!(track.text(track.pieces(Some(3000)).last().unwrap().cell), "other texts");
        let drawn =
            Strip { tracks: vec![track], left_out: 0, gap: Some(3000) }.draw().into_string();
        assert!(drawn.contains("pid 3"));
    }
}
