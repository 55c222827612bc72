//! Bodies of uploads at random: the hub never fails, and takes a batch whole or not at all.

use std::cell::{Cell, RefCell};
use std::io::Write;

use proptest::prelude::*;

use crate::fuzz::{apply, changes, fuzz};

use super::support::*;

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\u0000",
    "null",
    "-1",
    "1e999",
    "0.5",
    "18446744073709551615",
    "\"seq\":1,",
    "\"seq\":3,",
    "\"value\":",
    "\"through\"",
    "\"metrics\":[]",
    "9999-12-31T23:59:59Z",
    "é",
    "\u{0}",
    "{\"name\":\"x\",\"value\":1,\"type\":\"integer\"},",
];

#[derive(Debug, Clone, Copy)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    fn pack(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => bytes.to_vec(),
            Self::Gzip => {
                let fast = flate2::Compression::fast();
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), fast);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Self::Zstd => zstd::encode_all(bytes, 1).unwrap(),
        }
    }
}

#[test]
fn no_body_makes_the_hub_fail_or_store_a_half() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hub = runtime.block_on(start(folder.path()));
    let packing = prop_oneof![Just(Packing::Plain), Just(Packing::Gzip), Just(Packing::Zstd)];
    let inside = prop::option::weighted(0.8, changes(WORDS));
    let outside = prop::option::weighted(0.2, changes(&["\0"]));
    let seq = Cell::new(0_u64);
    let stream = Stream::new();
    let counted = RefCell::new(0_u64);
    let taken = Cell::new(0_u64);
    fuzz("ingest", &(packing, inside, outside), |(packing, inside, outside)| {
        let first = seq.get() + 1;
        seq.set(first + 2);
        let reports = vec![
            report(first, NOW, used(1.0)),
            report(first + 1, NOW + 1, serde_json::json!([])),
            report(first + 2, NOW + 2, used(2.5)),
        ];
        let mut body = stream.batch(reports).to_string().into_bytes();
        if let Some(changes) = &inside {
            body = apply(changes, body);
        }
        let mut packed = packing.pack(&body);
        if let Some(changes) = &outside {
            packed = apply(changes, packed);
        }
        let request = hub.upload().header("content-encoding", packing.name()).body(packed);
        let answer = runtime.block_on(answer(request));
        let total = runtime.block_on(async {
            // Every report there is, of whichever host and plugin the change made it.
            let page = hub.get("/api/v1/plugins?limit=1000").await.json();
            let rows = page["items"].as_array().unwrap().clone();
            rows.iter().map(|row| row["reports"].as_u64().unwrap()).sum::<u64>()
        });
        let stored = total - counted.replace(total);
        match answer.status {
            200 => {
                let reply: talaia::model::BatchReply = serde_json::from_str(&answer.body).unwrap();
                prop_assert_eq!(stored, reply.accepted, "{}", answer.body);
                if inside.is_none() && outside.is_none() {
                    prop_assert_eq!(reply.accepted + reply.duplicates, 3);
                }
                taken.set(taken.get() + 1);
                // A change may have moved the mark far ahead.
                if reply.through.0 > seq.get() && reply.through.0 < u64::MAX / 4 {
                    seq.set(reply.through.0);
                }
            }
            400 | 409 | 413 | 415 | 422 => prop_assert_eq!(stored, 0, "{}", answer.body),
            status => prop_assert!(false, "{status}: {}", answer.body),
        }
        Ok(())
    });
    println!("{} of the batches were taken", taken.get());
    assert!(taken.get() > 0);
    runtime.block_on(hub.stop());
}
