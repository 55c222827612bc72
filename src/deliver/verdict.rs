//! What a reply means: a pure function of it, one line per row of the table in the protocol.

use std::time::{Duration, SystemTime};

use crate::model::{BatchReply, Seq, Verdict};

/// Longest wait that a destination may ask for; a mistake in its header must not silence an
/// output for a year.
const LONGEST: Duration = Duration::from_hours(1);

/// How the destination speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A hub: it answers with its mark.
    Native {
        /// The last report of the batch.
        last: Seq,
        /// The highest number that the spool ever gave.
        highest: Seq,
    },
    /// Anything else: its status is all it says.
    Foreign,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt<'a> {
    /// A reply.
    Answered(Answer<'a>),
    /// None.
    Failed(Transport, &'a str),
}

/// The parts of a reply that decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The header `Retry-After`, as sent.
    pub retry_after: Option<&'a str>,
    /// The header `Date`, as sent.
    pub date: Option<&'a str>,
    /// The body, or its beginning.
    pub body: &'a [u8],
}

/// Why there was no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Nobody there: name not found, refused, unreachable.
    Connect,
    /// Too slow.
    Timeout,
    /// The connection broke on the way.
    Broken,
    /// The two ends do not trust each other.
    Tls,
    /// A proxy on the way wants a login, or another one.
    ProxyLogin,
    /// The request could not even be made: an address or a file is wrong.
    Request,
}

/// Decides. `now` is only used for a `Retry-After` that names a date, in an answer that does not
/// say what time it is there: our own clock may be wrong.
pub fn verdict(dialect: Dialect, attempt: Attempt<'_>, now: SystemTime) -> Verdict {
    let answer = match attempt {
        Attempt::Failed(kind, why) => {
            let why = why.to_owned();
            return match kind {
                Transport::Connect | Transport::Timeout | Transport::Broken => {
                    Verdict::Retry { after: None, why }
                }
                Transport::Tls | Transport::ProxyLogin | Transport::Request => {
                    Verdict::Hold { why }
                }
            };
        }
        Attempt::Answered(answer) => answer,
    };
    let why = || explain(&answer);
    match (answer.status, dialect) {
        (200..=299, Dialect::Foreign) => Verdict::Delivered { refused: Vec::new() },
        (200..=299, Dialect::Native { last, highest }) => mark(&answer, last, highest),
        (408 | 425 | 429 | 500..=599, _) => {
            let now = answer.date.and_then(http_date).unwrap_or(now);
            let after = answer.retry_after.and_then(|text| retry_after(text, now));
            Verdict::Retry { after, why: why() }
        }
        (413, _) => Verdict::Split,
        (409, Dialect::Native { .. }) if says_cloned(answer.body) => Verdict::Cloned,
        (400 | 422, Dialect::Foreign) => Verdict::Bisect { why: why() },
        _ => Verdict::Hold { why: why() },
    }
}

/// A hub's 2xx is worth what its body says.
fn mark(answer: &Answer<'_>, last: Seq, highest: Seq) -> Verdict {
    let Ok(reply) = serde_json::from_slice::<BatchReply>(answer.body) else {
        let status = answer.status;
        let why = format!(
            "the answer {status} is not a hub's: is `url` right, or is a login page in between?"
        );
        return Verdict::Hold { why };
    };
    if reply.through > highest {
        return Verdict::Cloned;
    }
    if reply.through > last {
        return Verdict::Ahead;
    }
    if reply.through < last {
        let why = format!("the hub stored reports up to {} of {last} only", reply.through);
        return Verdict::Retry { after: None, why };
    }
    Verdict::Delivered { refused: reply.refused }
}

/// A hub's word for a stream that two spools send; any other 409 is somebody else's.
fn says_cloned(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Problem {
        code: String,
    }
    serde_json::from_slice(body).is_ok_and(|problem: Problem| problem.code == "cloned")
}

/// `Retry-After` in both its forms: seconds, or a date. At most an hour.
pub fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are still seconds.
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    Some(http_date(text)?.duration_since(now).unwrap_or_default().min(LONGEST))
}

fn http_date(text: &str) -> Option<SystemTime> {
    Some(SystemTime::from(jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp()))
}

/// One line: the status, what to look at, and what the destination said about it.
fn explain(answer: &Answer<'_>) -> String {
    let status = answer.status;
    let hint = match status {
        300..=399 => "redirected: give the final address as `url`",
        400 | 422 => "the batch was not understood",
        401 => "the key is missing or wrong",
        403 => "the key may not do this",
        404 => "nothing at this address: is `url` right?",
        407 => "the proxy wants a login",
        408 => "the destination gave up waiting",
        415 => "the encoding or type is not supported",
        425 => "too early",
        429 => "too many requests",
        502 | 504 => "the destination, or a proxy before it, has a problem",
        500..=599 => "the destination has a problem",
        _ => "unexpected",
    };
    let said = excerpt(answer.body);
    if said.is_empty() {
        format!("answer {status}: {hint}")
    } else {
        format!("answer {status}: {hint} (it says: {said})")
    }
}

/// What a body says, in a line: the usual members of a JSON error, or a short plain text. A page
/// of HTML says nothing.
fn excerpt(body: &[u8]) -> String {
    const MOST: usize = 200;
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let said = json.as_ref().and_then(|json| {
        let error = json.get("error").unwrap_or(json);
        // `detail` is where RFC 9457 has the sentence, and so a hub.
        let member = |key: &str| error.get(key).and_then(serde_json::Value::as_str);
        error.as_str().or_else(|| member("detail")).or_else(|| member("message"))
    });
    let text = match said {
        Some(said) => said.to_owned(),
        None if body.trim_ascii_start().starts_with(b"<") || json.is_some() => String::new(),
        None => String::from_utf8_lossy(body).into_owned(),
    };
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().chars().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NATIVE: Dialect = Dialect::Native { last: Seq(42), highest: Seq(50) };

    fn answered(dialect: Dialect, status: u16, body: &str) -> Verdict {
        let answer = Answer { status, retry_after: None, date: None, body: body.as_bytes() };
        verdict(dialect, Attempt::Answered(answer), SystemTime::UNIX_EPOCH)
    }

    fn kind(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Delivered { .. } => "delivered",
            Verdict::Retry { .. } => "retry",
            Verdict::Split => "split",
            Verdict::Bisect { .. } => "bisect",
            Verdict::Hold { .. } => "hold",
            Verdict::Cloned => "cloned",
            Verdict::Ahead => "ahead",
        }
    }

    #[test]
    fn every_status_has_its_verdict() {
        for status in 100..=999 {
            let (native, foreign) = match status {
                200..=299 => ("hold", "delivered"),
                408 | 425 | 429 | 500..=599 => ("retry", "retry"),
                413 => ("split", "split"),
                400 | 422 => ("hold", "bisect"),
                _ => ("hold", "hold"),
            };
            assert_eq!(kind(&answered(NATIVE, status, "")), native, "{status}");
            assert_eq!(kind(&answered(Dialect::Foreign, status, "")), foreign, "{status}");
        }
    }

    #[test]
    fn a_hubs_word_counts_and_nothing_else_does() {
        let good = r#"{"through":42,"accepted":2,"duplicates":1,"refused":[{"seq":41,"code":"plugin-key","message":"revoked"}]}"#;
        let Verdict::Delivered { refused } = answered(NATIVE, 200, good) else { panic!() };
        assert_eq!((refused[0].seq, refused[0].code.as_str()), (Seq(41), "plugin-key"));
        for (body, expected) in [
            (r#"{"through":43,"accepted":0,"duplicates":3}"#, "ahead"),
            (r#"{"through":50,"accepted":0,"duplicates":3}"#, "ahead"),
            (r#"{"through":51,"accepted":0,"duplicates":3}"#, "cloned"),
            (r#"{"through":41,"accepted":2,"duplicates":0}"#, "retry"),
            (r#"{"through":-1,"accepted":2,"duplicates":0}"#, "hold"),
            (r#"{"through":42}"#, "hold"),
            (r#"{"ok":true}"#, "hold"),
            (r#"{"through":42,"accepted":2,"duplic"#, "hold"),
            ("[]", "hold"),
            ("", "hold"),
            ("<html><title>Hotel Wi-Fi</title>", "hold"),
        ] {
            assert_eq!(kind(&answered(NATIVE, 200, body)), expected, "{body}");
        }
    }

    #[test]
    fn no_answer_is_retried_unless_a_person_is_needed() {
        for (transport, expected) in [
            (Transport::Connect, "retry"),
            (Transport::Timeout, "retry"),
            (Transport::Broken, "retry"),
            (Transport::Tls, "hold"),
            (Transport::ProxyLogin, "hold"),
            (Transport::Request, "hold"),
        ] {
            for dialect in [NATIVE, Dialect::Foreign] {
                let attempt = Attempt::Failed(transport, "why");
                let verdict = verdict(dialect, attempt, SystemTime::UNIX_EPOCH);
                assert_eq!(kind(&verdict), expected, "{transport:?}");
            }
        }
    }

    #[test]
    fn retry_after_has_two_forms() {
        // 1994-11-06T08:49:37Z
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let seconds = |s| Some(Duration::from_secs(s));
        for (text, expected) in [
            ("0", seconds(0)),
            (" 120 ", seconds(120)),
            ("86400", seconds(3600)),
            ("99999999999999999999999", seconds(3600)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", seconds(30)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", seconds(0)),
            ("Sun, 06 Nov 2094 08:49:07 GMT", None),
            ("Sat, 06 Nov 2094 08:49:07 GMT", seconds(3600)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), expected, "{text}");
        }
        let busy = Answer { status: 429, retry_after: Some("7"), date: None, body: b"" };
        let Verdict::Retry { after, .. } = verdict(NATIVE, Attempt::Answered(busy), now) else {
            panic!()
        };
        assert_eq!(after, seconds(7));
        // Whatever our clock says, the destination's date counts from its own.
        let wish = Some("Sat, 06 Nov 2094 08:50:07 GMT");
        for (date, expected) in [
            (Some("Sat, 06 Nov 2094 08:49:47 GMT"), seconds(20)),
            (Some("Sat, 06 Nov 2094 08:50:47 GMT"), seconds(0)),
            (Some("yesterday"), seconds(3600)),
            (None, seconds(3600)),
        ] {
            let busy = Answer { status: 503, retry_after: wish, date, body: b"" };
            let verdict = verdict(NATIVE, Attempt::Answered(busy), now);
            let Verdict::Retry { after, .. } = verdict else { panic!("{verdict:?}") };
            assert_eq!(after, expected, "{date:?}");
        }
    }

    #[test]
    fn the_line_for_a_person_is_a_line() {
        let Verdict::Hold { why } = answered(NATIVE, 401, "{\"error\":\"no such\\nkey\"}") else {
            panic!()
        };
        assert_eq!(why, "answer 401: the key is missing or wrong (it says: no such key)");
        let Verdict::Hold { why } = answered(NATIVE, 404, "<html>…") else { panic!() };
        assert_eq!(why, "answer 404: nothing at this address: is `url` right?");
        let Verdict::Hold { why } = answered(NATIVE, 403, &"long ".repeat(1000)) else { panic!() };
        assert!(why.len() < 300);
        let body = r#"{"error":{"code":"x","message":"closed"}}"#;
        let Verdict::Retry { why, .. } = answered(NATIVE, 503, body) else { panic!() };
        assert!(why.ends_with("(it says: closed)"), "{why}");
    }
}
