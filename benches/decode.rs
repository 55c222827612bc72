//! Decode and judge native JSON, next to what a general parser and a general validator cost.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use talaia::contract::{Judge, Moment, schemas};
use talaia::decode::{End, Format};
use talaia::model::{Tags, Timestamp};

const METRICS: u64 = 1000;

fn document() -> Vec<u8> {
    let metrics: Vec<String> = (0..METRICS)
        .map(|n| {
            format!(
                r#"{{"name":"disk_used_{}","value":{}.{},"type":"percent","unit":"%","tags":{{"mount":"/data/{n}"}}}}"#,
                n % 10,
                n % 100,
                n % 7
            )
        })
        .collect();
    format!("{{\"metrics\":[{}],\"status\":\"ok\"}}", metrics.join(",")).into_bytes()
}

fn lines() -> Vec<u8> {
    (0..METRICS)
        .map(|n| format!("{{\"name\":\"requests_{n}\",\"value\":{n},\"type\":\"counter\"}}"))
        .collect::<Vec<_>>()
        .join("\n")
        .into_bytes()
}

fn judge(criterion: &mut Criterion) {
    let now = Timestamp::from_number(1_795_380_130.0).expect("a time of this century");
    let moment = Moment { started: now, now };
    let schema = serde_json::from_str(schemas::get("document").expect("it is embedded").text)
        .expect("a schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema is a schema");

    let inputs = [
        ("one document of 1000", document()),
        ("1000 lines of one", lines()),
        ("1000 in a flat document", flat()),
    ];
    for (name, input) in &inputs {
        let mut group = criterion.benchmark_group(*name);
        group.throughput(Throughput::Elements(METRICS));
        let mut judge = Judge::new(Arc::default(), Tags::new());
        group.bench_function("decode and judge", |b| {
            b.iter(|| {
                let judged =
                    judge.run(moment, |r| Format::Json.decode(black_box(input), End::Whole, r));
                assert_eq!(judged.counts.accepted, METRICS);
                judged
            });
        });
        let tags = [("env", "prod"), ("host", "web-1")].into_iter().collect();
        let mut judge = Judge::new(Arc::default(), tags);
        group.bench_function("decode and judge, two tags of the agent", |b| {
            b.iter(|| judge.run(moment, |r| Format::Json.decode(black_box(input), End::Whole, r)));
        });
        let values = |input: &[u8]| -> Vec<serde_json::Value> {
            serde_json::Deserializer::from_slice(input)
                .into_iter()
                .collect::<Result<_, _>>()
                .expect("the input is JSON")
        };
        group.bench_function("serde_json into values", |b| b.iter(|| values(black_box(input))));
        group.bench_function("serde_json into values, jsonschema", |b| {
            b.iter(|| {
                let values = values(black_box(input));
                assert!(values.iter().all(|v| validator.is_valid(v)));
                values
            });
        });
        group.finish();
    }
}

fn flat() -> Vec<u8> {
    let members: Vec<String> = (0..METRICS).map(|n| format!("\"m{n}\":{n}.5")).collect();
    format!("{{{}}}", members.join(",")).into_bytes()
}

criterion_group!(benches, judge);
criterion_main!(benches);
