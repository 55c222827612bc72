//! Results as a file: of one day, or all there are. They are read a page at a time while they go
//! out, so that memory stays flat however many there are.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::hub::csv::Texts;
use crate::hub::hall::Hall;
use crate::hub::monitors::{self, Monitor};
use crate::hub::parameters::pairs;
use crate::hub::store::json;
use crate::hub::web::page::{logged_in, shown};
use crate::hub::web::range::moment;

use super::find;
use super::results::{DAY_MS, date};

/// Rows read at a time.
const ROWS: usize = 2000;

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Csv(Texts),
    Json,
}

pub(super) async fn results(
    State(hall): State<Hall>,
    headers: HeaderMap,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let session = logged_in!(hall, headers);
    let answer = async {
        let monitor = match find(&hall, &session, &id).await? {
            Ok(monitor) => monitor,
            Err(missing) => return Ok(missing),
        };
        let (mut day, mut form) = (None, Form::Csv(Texts::Safe));
        for (key, value) in pairs(query.as_deref().unwrap_or_default())? {
            match key.as_str() {
                "day" => day = moment(&value).map(|ms| ms.div_euclid(DAY_MS) * DAY_MS),
                "format" if value == "json" => form = Form::Json,
                "format" if value == "exact" => form = Form::Csv(Texts::Exact),
                _ => {}
            }
        }
        let range = day.map_or((i64::MIN, i64::MAX), |from| (from, from + DAY_MS - 1));
        let name = file_name(&monitor, day, form);
        let (sender, receiver) = channel(2);
        tokio::spawn(async move {
            let sent = tokio::select! {
                sent = send(&hall, monitor.id, range, form, &sender) => sent,
                () = sender.closed() => return,
            };
            if let Err(error) = sent {
                // The file must not look whole.
                let _closed = sender.send(Err(io::Error::other(error))).await;
            }
        });
        let kind = match form {
            Form::Csv(_) => "text/csv; charset=utf-8",
            Form::Json => "application/json",
        };
        let mut response =
            (StatusCode::OK, [(header::CONTENT_TYPE, kind)], Body::new(Stream(receiver)))
                .into_response();
        if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
            response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
        }
        Ok(response)
    };
    shown(answer.await)
}

/// A name that every system can have.
fn file_name(monitor: &Monitor, day: Option<i64>, form: Form) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' };
    let name: String = monitor.name.chars().take(80).map(plain).collect();
    let day: String = day.map_or_else(String::new, |ms| format!("-{}", date(ms)));
    let end = match form {
        Form::Csv(_) => "csv",
        Form::Json => "json",
    };
    format!("{name}{day}.{end}")
}

type Piece = Result<Bytes, io::Error>;

/// Reads page after page and passes each on, until nobody wants more.
async fn send(
    hall: &Hall,
    id: i64,
    (from, to): (i64, i64),
    form: Form,
    sender: &Sender<Piece>,
) -> Result<(), crate::hub::StoreError> {
    let mut next = Some(from);
    let mut first = true;
    while let Some(from) = next {
        let (text, after) = hall
            .store
            .read_long(move |conn| {
                let page = monitors::results(conn, id, from..=to, ROWS)?;
                let text = match form {
                    Form::Csv(texts) => rows_as_csv(&page, texts, first),
                    Form::Json => rows_as_json(&page, first),
                };
                Ok((text, page.next))
            })
            .await?;
        (next, first) = (after, false);
        if sender.send(Ok(Bytes::from(text))).await.is_err() {
            return Ok(());
        }
    }
    if form == Form::Json {
        let _closed = sender.send(Ok(Bytes::from_static(b"\n]\n"))).await;
    }
    Ok(())
}

/// The columns of all pages are the same, so only the first says them.
fn rows_as_csv(page: &monitors::Page, texts: Texts, first: bool) -> String {
    let text = monitors::csv(page, texts);
    if first {
        return text;
    }
    text.split_once('\n').map_or(String::new(), |(_, rows)| rows.to_owned())
}

fn rows_as_json(page: &monitors::Page, first: bool) -> String {
    let mut text = if first { "[".to_owned() } else { String::new() };
    for (nth, row) in page.rows.iter().enumerate() {
        text.push_str(if first && nth == 0 { "\n" } else { ",\n" });
        text.push_str(&json(row));
    }
    text
}

/// A body that comes piece by piece.
struct Stream(Receiver<Piece>);

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
