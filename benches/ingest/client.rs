//! HTTP by hand: nothing but what is measured.

use std::io::{Read, Write};
use std::net::TcpStream;

use talaia::model::{RunId, SpoolId, Timestamp};

use super::Load;

/// An answer's status and body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// Sends a request and reads its answer.
pub(crate) fn ask(stream: &mut TcpStream, head: &str, body: &[u8]) -> Answer {
    stream.write_all(&[head.as_bytes(), body].concat()).expect("the server reads");
    let mut bytes = Vec::new();
    let mut piece = vec![0; 1 << 16];
    let mut more = |bytes: &mut Vec<u8>| {
        let length = stream.read(&mut piece).expect("the server answers");
        assert!(length > 0, "it ended early: {}", String::from_utf8_lossy(bytes));
        bytes.extend_from_slice(&piece[..length]);
    };
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        more(&mut bytes);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
        })
        .unwrap_or(0);
    while bytes.len() < end + length {
        more(&mut bytes);
    }
    Answer { status, head, body: bytes.split_off(end) }
}

/// A ninth of a day of one plugin's runs at 10 s.
pub(crate) fn a_day(load: &Load, upload: i64, start: i64) -> Vec<u8> {
    let stamp = |ms| Timestamp::from_millis(ms).expect("a time of this century");
    let spool = SpoolId::new();
    let reports: Vec<String> = (0..load.reports)
        .map(|n| {
            let nth = upload as u64 * load.reports + n;
            let metrics: Vec<String> = (0..load.metrics)
                .map(|m| {
                    let value = ((nth * 31 + m * 7) % 1000) as f64 / 10.0;
                    format!(r#"{{"name":"metric_{m}","value":{value:?},"type":"float","unit":"B"}}"#)
                })
                .collect();
            format!(
                r#"{{"seq":{},"plugin":"day","key":null,"host":"day","run":"{}","started":"{}","duration":0.012,"interval":10.0,"outcome":{{"kind":"exited","code":0}},"status":"ok","message":null,"metrics":[{}],"rejected":[],"warnings":[],"counts":{{"produced":3,"accepted":3,"rejected":{{}}}},"skipped":0,"leftovers":0,"usage":{{"cpu":0.004,"max_rss":2097152,"stdout":181,"stderr":0}}}}"#,
                n + 1,
                RunId::new(),
                stamp(start + nth as i64 * 9_600),
                metrics.join(",")
            )
        })
        .collect();
    let text = format!(
        r#"{{"agent":{{"id":"{spool}","host":"day","version":"0.1.0","spool":"{spool}"}},"output":"main","sent":"{}","reports":[{}]}}"#,
        stamp(start),
        reports.join(",")
    );
    zstd::encode_all(text.as_bytes(), 1).expect("zstd of a text in memory")
}
