//! Pages of rows of any length, taken piece by piece: however many rows one page or one check time
//! has, no more than a piece and a row of it is held in memory.

use serde_json::Value;

use crate::cli::exit::{Exit, Failure};
use crate::cli::remote::{Remote, segment};

/// Calls `take` with the rows of one page after another, while it says that it wants more.
pub(super) fn each(
    remote: &Remote,
    of: &str,
    mut take: impl FnMut(Value) -> bool,
) -> Result<(), Failure> {
    let mut after = String::new();
    loop {
        let mut items = Items::default();
        let mut wanted = true;
        let read = remote.pieces(&format!("{of}{after}"), &mut |piece| {
            items.feed(piece, |item| {
                let row = serde_json::from_slice(item).map_err(|error| unreadable(&error))?;
                wanted = take(row);
                if wanted { Ok(()) } else { Err(enough()) }
            })
        });
        if !wanted {
            return Ok(());
        }
        read?;
        let Some(next) = items.next()? else { return Ok(()) };
        after = format!("&after={}", segment(&next));
    }
}

/// The same with pages of CSV, of which only the first has names.
pub(super) fn each_csv(
    remote: &Remote,
    of: &str,
    mut take: impl FnMut(&[u8]) -> bool,
) -> Result<(), Failure> {
    let mut after = String::new();
    let mut names: Option<Vec<u8>> = None;
    loop {
        // A line: names have no line breaks in them.
        let (mut head, mut whole) = (Vec::new(), false);
        let mut wanted = true;
        let read = remote.pieces(&format!("{of}&format=csv{after}"), &mut |piece| {
            let mut rows = piece;
            if !whole {
                let end = piece.iter().position(|byte| *byte == b'\n');
                let (more, rest) = piece.split_at(end.map_or(piece.len(), |end| end + 1));
                head.extend_from_slice(more);
                (whole, rows) = (end.is_some(), rest);
                if whole {
                    match &names {
                        None => {
                            wanted = take(&head);
                            names = Some(head.clone());
                        }
                        Some(names) if *names == head => {}
                        Some(_) => return Err(changed()),
                    }
                }
            }
            wanted = wanted && (rows.is_empty() || take(rows));
            if wanted { Ok(()) } else { Err(enough()) }
        });
        if !wanted {
            return Ok(());
        }
        let Some(next) = read? else { return Ok(()) };
        after = format!("&after={}", segment(&next));
    }
}

/// Ends an answer of which the rest is not wanted.
fn enough() -> Failure {
    Failure::new(Exit::Ok, "")
}

fn unreadable(error: &serde_json::Error) -> Failure {
    let text = format!("the hub's answer cannot be read: {error}; is it another version?");
    Failure::new(Exit::Internal, text)
}

fn changed() -> Failure {
    let text = "the monitor got further metrics meanwhile, so that the columns differ; try again";
    Failure::new(Exit::Finding, text)
}

/// Takes `{"items": […], "next": …}` apart as it comes.
#[derive(Default)]
struct Items {
    depth: u32,
    quoted: bool,
    escaped: bool,
    /// The item that has begun.
    item: Vec<u8>,
    /// All but the items.
    around: Vec<u8>,
}

impl Items {
    /// Goes on with a piece, and calls `each` with every item that is whole by now.
    fn feed(
        &mut self,
        piece: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for &byte in piece {
            // The only array at this depth is the one of the items.
            let inside = self.depth >= 2;
            if self.quoted {
                self.quoted = self.escaped || byte != b'"';
                self.escaped = !self.escaped && byte == b'\\';
            } else {
                match byte {
                    b'"' => self.quoted = true,
                    b'[' | b'{' => self.depth += 1,
                    b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
                let ends = self.depth < 2 || (self.depth == 2 && byte == b',');
                if inside && ends {
                    let item = std::mem::take(&mut self.item);
                    if !item.trim_ascii().is_empty() {
                        each(&item)?;
                    }
                    if self.depth == 2 {
                        continue;
                    }
                }
            }
            if inside && self.depth >= 2 { self.item.push(byte) } else { self.around.push(byte) }
        }
        Ok(())
    }

    /// Where the listing goes on, after the whole of an answer.
    fn next(&self) -> Result<Option<String>, Failure> {
        let around: Value =
            serde_json::from_slice(&self.around).map_err(|error| unreadable(&error))?;
        Ok(around["next"].as_str().map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn items_come_out_whole_however_they_arrive() {
        let rows = vec![
            json!({"time": "t", "values": {"a": "]}, \"[{\\", "b": [1, [2]]}}),
            json!("x"),
            json!([]),
            json!(7),
        ];
        for (items, next) in [(rows, json!("a\"b")), (vec![], json!(null))] {
            for text in [
                json!({"items": items, "next": next}).to_string(),
                serde_json::to_string_pretty(&json!({"items": items, "next": next})).unwrap(),
            ] {
                for size in 1..=text.len() {
                    let (mut taken, mut got) = (Items::default(), Vec::new());
                    for piece in text.as_bytes().chunks(size) {
                        taken
                            .feed(piece, |item| {
                                got.push(serde_json::from_slice::<Value>(item).unwrap());
                                Ok(())
                            })
                            .unwrap();
                    }
                    assert_eq!(got, items, "{size}: {text}");
                    assert_eq!(taken.next().unwrap().as_deref(), next.as_str());
                }
            }
        }
    }

    #[test]
    fn an_answer_that_is_cut_is_no_end() {
        let mut taken = Items::default();
        taken.feed(b"{\"items\": [1, 2", |_| Ok(())).unwrap();
        assert!(taken.next().is_err());
    }
}
