//! The same metrics into VictoriaMetrics, by its own import, where it is installed.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::client::ask;
use super::hub::cpu;
use super::{Load, START, value};

const PROGRAMS: [&str; 2] = ["victoria-metrics", "victoria-metrics-prod"];

/// Imports what `load` carries, `rounds` times, and says how much that is beside the hub's `ours`
/// metrics a second on a core.
pub(crate) fn beside(load: &Load, rounds: i64, ours: f64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let Some(mut server) = PROGRAMS.iter().find_map(|program| {
        Command::new(program)
            .arg(format!("-storageDataPath={}", folder.path().display()))
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .args(["-retentionPeriod=100y", "-loggerLevel=ERROR"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()
    }) else {
        println!("VictoriaMetrics' import: skipped, it is not installed");
        return;
    };
    let measured = import(&server, port, load, rounds);
    // It keeps nothing that anybody wants.
    let _killed = server.kill();
    let _ended = server.wait();
    match measured {
        None => println!("VictoriaMetrics' import: skipped, it does not answer"),
        Some((a_second, a_core)) => {
            println!("{:<28} {a_second:>14.0} {a_core:>16.0}", "VictoriaMetrics' import");
            println!("{:<28} {:>14} {:>15.2}x", "the hub beside it", "", ours / a_core);
        }
    }
}

fn import(server: &Child, port: u16, load: &Load, rounds: i64) -> Option<(f64, f64)> {
    let end = Instant::now() + Duration::from_secs(20);
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(_) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(_) => return None,
        }
    };
    let (mut took, mut metrics) = (Duration::ZERO, 0);
    let mut before = Duration::ZERO;
    for upload in 0..rounds + 2 {
        let body = lines(load, upload);
        let head = format!(
            "POST /api/v1/import HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if upload == 2 {
            before = cpu(server.id());
            (took, metrics) = (Duration::ZERO, 0);
        }
        let begun = Instant::now();
        let answer = ask(&mut stream, &head, body.as_bytes());
        assert_eq!(answer.status, 204, "{}", String::from_utf8_lossy(&answer.body));
        took += begun.elapsed();
        metrics += load.reports * load.metrics;
    }
    let cpu = cpu(server.id()) - before;
    Some((metrics as f64 / took.as_secs_f64(), metrics as f64 / cpu.as_secs_f64()))
}

/// A series a line, as its import takes them.
fn lines(load: &Load, upload: i64) -> String {
    let mut text = String::new();
    for seq in 1..=load.reports {
        for n in 0..load.metrics {
            let ms = START + upload * 10_000 + seq as i64;
            text += &format!(
                "{{\"metric\":{{\"__name__\":\"metric_{}\",\"host\":\"web-1\",\"plugin\":\"plugin_{}\",\"device\":\"sd{}\"}},\"values\":[{:?}],\"timestamps\":[{ms}]}}\n",
                n / 2,
                seq % 1000,
                n % 2,
                value(seq, n, upload)
            );
        }
    }
    text
}
