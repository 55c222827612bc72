//! Talking to a hub: one client, one way to send and to say what came back.

use std::time::{Duration, SystemTime};

use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use crate::config::Env;
use crate::model::{RunId, Signing, Timestamp, chain};

use super::args::RemoteArgs;
use super::client::block_on;
use super::exit::{Exit, Failure};
use super::print::{self, FAINT, ODD, paint};
use super::progress::{Progress, Unit};
use super::target::{self, Opener};

/// For a request and its answer as a whole; exports take longer and have no such bound.
const PATIENCE: Duration = Duration::from_mins(2);
/// Most bytes of an answer that is held in memory.
const ANSWER: usize = 64 << 20;
/// Where an answer says how to go on that is no JSON.
const NEXT: &str = "talaia-next";
/// Most bytes of an answer that are shown.
const SHOWN: usize = 4096;

/// What is sent: its media type and its bytes.
type Body = (&'static str, Vec<u8>);
const JSON: &str = "application/json";

/// A hub, and the right to ask it.
pub(crate) struct Remote {
    url: String,
    opener: Opener,
    origin: String,
    client: reqwest::Client,
    trace: bool,
}

/// An answer that says yes.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body, whole.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The body as JSON.
    pub(crate) fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let text = format!("the hub's answer cannot be read: {error}; is it another version?");
            Failure::new(Exit::Internal, text)
        })
    }
}

impl Remote {
    /// Finds the hub that `args` mean and what opens it, and says what is odd about that. Asks
    /// nothing yet.
    pub(crate) fn find(args: &RemoteArgs) -> Result<Self, Failure> {
        let target = target::find(args, &Env::system())?;
        for warning in &target.warnings {
            print::talk(format!("{} {warning}", paint(ODD, "warning:")));
        }
        let settings =
            crate::deliver::ClientSettings { timeout: PATIENCE, ..target.client.clone() };
        let client = settings
            .build(&target.url)
            .map_err(|error| Failure::from_error(Exit::Config, &error))?;
        let target::Target { url, opener, origin, .. } = target;
        Ok(Self { url, opener, origin, client, trace: args.trace_http })
    }

    /// The hub's address, without a slash at the end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// `GET` of a path under the hub's address, which begins with `/`.
    pub(crate) fn get(&self, path: &str) -> Result<Reply, Failure> {
        self.send(Method::GET, path, None)
    }

    /// Sends a request with a body of JSON, or none, and reads the answer whole. An answer that says
    /// no is a failure with the hub's words: 404, 409 and the like are a finding, what the hub could
    /// not read is a mistake of usage.
    pub(crate) fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, Failure> {
        let body = body.map(|body| (JSON, body.to_string().into_bytes()));
        self.whole(method, path, body)
    }

    /// `PUT` of an archive.
    pub(crate) fn put_zip(&self, path: &str, archive: Vec<u8>) -> Result<Reply, Failure> {
        self.whole(Method::PUT, path, Some(("application/zip", archive)))
    }

    fn whole(&self, method: Method, path: &str, body: Option<Body>) -> Result<Reply, Failure> {
        let mut answer = Vec::new();
        let (status, _) = self.stream(method, path, body, &mut |bytes| {
            if answer.len() + bytes.len() > ANSWER {
                let text = "the answer is too large; ask for less at a time";
                return Err(Failure::new(Exit::Disk, text));
            }
            answer.extend_from_slice(bytes);
            Ok(())
        })?;
        self.show_body('<', &answer);
        Ok(Reply { status, body: answer })
    }

    /// All items of a listing, page after page, up to `most`: `path` gives the first.
    pub(crate) fn items(&self, path: &str, most: usize) -> Result<Vec<Value>, Failure> {
        #[derive(Deserialize)]
        struct Page {
            items: Vec<Value>,
            next: Option<String>,
        }
        let mut items = Vec::new();
        let mut page: Page = self.get(path)?.json()?;
        loop {
            items.append(&mut page.items);
            let Some(next) = page.next.filter(|_| items.len() < most) else { break };
            let join = if path.contains('?') { '&' } else { '?' };
            page = self.get(&format!("{path}{join}after={}", segment(&next)))?.json()?;
        }
        items.truncate(most);
        Ok(items)
    }

    /// `GET` of what may be of any length: calls `take` with one piece of the body after another. An
    /// answer is read whole before that unless it is longer than what is held in memory, so that
    /// whoever takes it slowly does not run into the bound of its time. Gives where the listing goes
    /// on whose body has no place for it.
    pub(crate) fn pieces(
        &self,
        path: &str,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<Option<String>, Failure> {
        let mut piece = Vec::new();
        let (_, next) = self.stream(Method::GET, path, None, &mut |bytes| {
            if piece.len() + bytes.len() > ANSWER {
                take(&piece)?;
                piece.clear();
            }
            piece.extend_from_slice(bytes);
            Ok(())
        })?;
        self.show_body('<', &piece);
        take(&piece)?;
        Ok(next)
    }

    fn stream(
        &self,
        method: Method,
        path: &str,
        body: Option<Body>,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(u16, Option<String>), Failure> {
        let url = format!("{}{path}", self.url);
        self.show(format_args!("> {method} {url}"));
        let verb = method.to_string();
        let mut request =
            self.client.request(method, &url).header(ACCEPT, "application/json, */*;q=0.5");
        request = match &self.opener {
            Opener::Key(key) => {
                let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose()))
                    .map_err(|_| {
                        Failure::new(Exit::Config, "the key has characters that no key has")
                    })?;
                bearer.set_sensitive(true);
                self.show(format_args!("> Authorization: Bearer …"));
                request.header(AUTHORIZATION, bearer)
            }
            Opener::Account { api_key, secret_key } => {
                self.show(format_args!("> Authorization: HMAC-SHA256 …"));
                let signing = Signing {
                    api_key: api_key.clone(),
                    time: Timestamp::from(SystemTime::now()).millis() / 1000,
                    nonce: RunId::new().to_string(),
                    body: Signing::digest(body.as_ref().map_or(&[], |(_, bytes)| bytes)),
                };
                let target = self.target(&url);
                let signed = signing.authorization(secret_key, &verb, &target);
                let mut signed = HeaderValue::try_from(signed).map_err(|_| {
                    Failure::new(Exit::Config, "the API key has characters that no key has")
                })?;
                signed.set_sensitive(true);
                request.header(AUTHORIZATION, signed)
            }
        };
        if let Some((kind, bytes)) = body {
            self.show(format_args!("> Content-Type: {kind}"));
            self.show_body('>', &bytes);
            request = request.header(CONTENT_TYPE, kind).body(bytes);
        }
        let unreachable = |why: String| {
            let text = format!("the hub at {} does not answer: {why}", self.url);
            Failure::new(Exit::Unreachable, text)
        };
        let progress = Progress::of("waiting for the hub", Unit::Bytes);
        let answered = block_on(async {
            let mut reply = request.send().await.map_err(|e| chain(&e.without_url()))?;
            let status = reply.status();
            let next = reply.headers().get(NEXT).and_then(|next| next.to_str().ok());
            let next = next.map(str::to_owned);
            if self.trace {
                self.show(format_args!("< {status}"));
                for (name, value) in reply.headers() {
                    let shown =
                        if name == "set-cookie" { "…" } else { value.to_str().unwrap_or("…") };
                    self.show(format_args!("< {name}: {shown}"));
                }
            }
            let mut refusal = Vec::new();
            while let Some(chunk) = reply.chunk().await.map_err(|e| chain(&e.without_url()))? {
                progress.add(chunk.len() as u64);
                if status.is_success() {
                    if let Err(failure) = take(&chunk) {
                        return Ok(Err(failure));
                    }
                } else if refusal.len() < SHOWN * 4 {
                    refusal.extend_from_slice(&chunk);
                }
            }
            if status.is_success() {
                return Ok(Ok((status.as_u16(), next)));
            }
            self.show_body('<', &refusal);
            Ok(Err(self.refused(status.as_u16(), &refusal)))
        });
        answered.map_err(unreachable)?
    }

    /// The path and query of `url` as the hub sees them: without what comes before it at a proxy.
    fn target(&self, url: &str) -> String {
        let Ok(url) = reqwest::Url::parse(url) else { return String::new() };
        let base = reqwest::Url::parse(&self.url).ok();
        let base = base.as_ref().map_or("", |base| base.path().trim_end_matches('/'));
        let path = url.path().strip_prefix(base).unwrap_or(url.path());
        url.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
    }

    /// What an answer that says no means to a person.
    fn refused(&self, status: u16, body: &[u8]) -> Failure {
        #[derive(Deserialize)]
        struct Problem {
            detail: String,
        }
        let exit = match status {
            401 | 403 | 404 | 409 | 410 => Exit::Finding,
            400 | 405 | 413 | 415 | 422 => Exit::Usage,
            408 | 421 | 429 | 500..=599 => Exit::Unreachable,
            _ => Exit::Internal,
        };
        let text = match serde_json::from_slice::<Problem>(body) {
            Ok(problem) if matches!(status, 401 | 403) => {
                format!("{} (the key is from {})", problem.detail, self.origin)
            }
            Ok(problem) => problem.detail,
            Err(_) => {
                let hint = match status {
                    300..=399 => "it leads elsewhere; give the final address",
                    404 => "is it a hub, and of this version?",
                    _ => "is it a hub?",
                };
                format!("{} answers {status}: {hint}", self.url)
            }
        };
        Failure { status: Some(status), ..Failure::new(exit, super::report::clean(&text)) }
    }

    fn show(&self, line: std::fmt::Arguments<'_>) {
        if self.trace {
            print::talk(paint(FAINT, super::report::clean(&line.to_string())));
        }
    }

    fn show_body(&self, way: char, bytes: &[u8]) {
        if !self.trace || bytes.is_empty() {
            return;
        }
        let text = match serde_json::from_slice::<Value>(bytes) {
            Ok(mut json) => {
                hide(&mut json);
                json.to_string()
            }
            Err(_) => format!("({} bytes that are not JSON)", bytes.len()),
        };
        let cut = text.floor_char_boundary(SHOWN);
        let more = if cut < text.len() { " …" } else { "" };
        self.show(format_args!("{way} {}{more}", &text[..cut]));
    }
}

/// Takes out what opens something.
fn hide(json: &mut Value) {
    match json {
        Value::Object(members) => {
            for (name, value) in members {
                let name = name.to_ascii_lowercase();
                let secret =
                    name.ends_with("key") || name.contains("token") || name.contains("secret");
                if secret && value.is_string() {
                    *value = Value::from("…");
                } else {
                    hide(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}

/// `text` as one segment of a path, or one value of a query.
pub(crate) fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut segment, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            let _infallible = write!(segment, "%{byte:02X}");
        }
        segment
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_something_is_hidden() {
        let mut json = serde_json::json!({
            "key": "talaia_1", "items": [{"secret_key": "s", "name": "n"}], "key_count": 3
        });
        hide(&mut json);
        let wanted = serde_json::json!({
            "key": "…", "items": [{"secret_key": "…", "name": "n"}], "key_count": 3
        });
        assert_eq!(json, wanted);
    }

    #[test]
    fn a_segment_is_one() {
        assert_eq!(segment("a b/ü?"), "a%20b%2F%C3%BC%3F");
    }
}
