//! Backup, restore, verify and export.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use talaia::hub::{Export, ExportError, ExportFormat, HubError, backup, export, restore, verify};
use talaia::model::Seq;

use super::support::*;

fn all(format: ExportFormat) -> Export {
    Export { format, from: i64::MIN, to: i64::MAX, monitor: None }
}

fn exported(folder: &Path, file: Option<&Path>, wanted: &Export) -> String {
    let mut out = Vec::new();
    export(folder, file, wanted, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn talaia(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_talaia"))
        .arg("hub")
        .args(arguments)
        .arg("--data-dir")
        .arg(folder)
        .output()
        .unwrap()
}

/// Every point of an export, by who it is of.
fn points(ndjson: &str) -> Vec<(String, i64, Value)> {
    let mut points = Vec::new();
    for line in ndjson.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let whose = format!(
            "{}/{}/{}{}",
            line["host"].as_str().unwrap(),
            line["plugin"].as_str().unwrap(),
            line["name"].as_str().unwrap(),
            line["tags"]
        );
        for point in line["points"].as_array().unwrap() {
            points.push((whose.clone(), point[0].as_i64().unwrap(), point[1].clone()));
        }
    }
    points
}

#[tokio::test]
async fn a_backup_of_a_busy_hub_is_whole_and_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.db");
    let data = folder.path().join("hub");
    let hub = start(&data).await;
    let stream = Stream::new();
    let first: Vec<_> = (1..=200).map(|n| report(n, NOW + n as i64, used(n as f64))).collect();
    hub.take(&stream.batch(first)).await;

    // More comes in while it is written.
    let (from, to) = (data.clone(), file.clone());
    let writing = tokio::task::spawn_blocking(move || backup(&from, &to).unwrap());
    let mut seq = 200;
    while !writing.is_finished() || seq < 300 {
        seq += 1;
        let one = report(seq, NOW + seq as i64, used(seq as f64));
        hub.take(&stream.batch(vec![one])).await;
    }
    let made = writing.await.unwrap();
    assert!((200..=seq).contains(&made.reports), "{made:?}");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let looked = verify(&data, Some(&file)).unwrap();
    assert_eq!((looked.found, looked.points), (0, made.points), "{looked:?}");
    // Of one moment: a report is in it with all of its points, or not at all.
    let held = points(&exported(&data, Some(&file), &all(ExportFormat::Ndjson)));
    let of_metric = held.iter().filter(|(whose, ..)| whose.contains("/disk_used")).count() as u64;
    assert_eq!(of_metric, made.reports);
    assert_eq!(held.len() as u64, made.points);
    assert!(matches!(backup(&data, &file), Err(HubError::Exists { .. })), "nothing is overwritten");

    // A running hub keeps its database.
    assert!(matches!(restore(&data, &file), Err(HubError::Locked { .. })));
    let key = hub.credentials.key.clone();
    hub.stop().await;
    let aside = restore(&data, &file).unwrap().expect("what was there is kept");
    assert_eq!(verify(&data, Some(&aside)).unwrap().found, 0);
    assert_eq!(points(&exported(&data, None, &all(ExportFormat::Ndjson))), held);
    let hub = start(&data).await;
    assert_eq!(hub.credentials.key, key, "who had access still has it");
    assert_eq!(hub.held("web-1", "disk").await.0, made.reports);

    // The agent is ahead of what the hub remembers. What it has not delivered is taken, once; what it
    // delivered since the backup is in the file that was put aside.
    let ahead = vec![report(seq + 1, NOW + 999, used(1.0)), report(seq + 2, NOW + 1000, used(2.0))];
    let reply = hub.take(&stream.batch(ahead.clone())).await;
    assert_eq!((reply.accepted, reply.duplicates, reply.through), (2, 0, Seq(seq + 2)));
    let again = hub.take(&stream.batch(ahead)).await;
    assert_eq!((again.accepted, again.duplicates), (0, 2));
    assert_eq!(hub.held("web-1", "disk").await.0, made.reports + 2);
    hub.stop().await;
    // An upload whose reply was lost before the backup was restored comes again, and is new to it.
    let lost = points(&exported(&data, Some(&aside), &all(ExportFormat::Ndjson))).len();
    assert_eq!(lost as u64, seq * 8);
}

#[tokio::test]
async fn reports_that_were_not_acknowledged_before_a_restore_are_taken_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.db");
    let data = folder.path().join("hub");
    let hub = start(&data).await;
    let stream = Stream::new();
    hub.take(&stream.batch(vec![report(1, NOW, used(1.0))])).await;
    backup(&data, &file).unwrap();
    let unheard = stream.batch(vec![report(2, NOW + 1, used(2.0)), report(3, NOW + 2, used(3.0))]);
    hub.take(&unheard).await;
    hub.stop().await;
    restore(&data, &file).unwrap();
    let hub = start(&data).await;
    let reply = hub.take(&unheard).await;
    assert_eq!((reply.accepted, reply.duplicates), (2, 0));
    assert_eq!(hub.held("web-1", "disk").await.0, 3);
    hub.stop().await;
}

#[tokio::test]
async fn an_export_has_every_point_once() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let stream = Stream::new();
    // More than a line takes, some of them late.
    let mut sent = Vec::new();
    for (seq, n) in (1..=1500_u64).zip((0..1500_i64).map(|n| (n * 7) % 1500)) {
        sent.push((NOW + n, n));
        let mut one = report(seq, NOW + n, used(n as f64));
        one["host"] = json!(if seq % 3 == 0 { "web-2" } else { "web-1" });
        hub.take(&stream.batch(vec![one])).await;
    }
    let mut texts = report(1600, NOW, used(1.0));
    texts["plugin"] = json!("kernel");
    texts["metrics"] = json!([
        {"name": "release", "value": "6.1, \"odd\"\nname", "type": "string", "unit": "", "tags": {"a": "b,c"}},
        {"name": "empty", "value": "", "type": "string"},
        {"name": "gap", "value": null, "type": "string"},
        {"name": "count", "value": 18_446_744_073_709_551_615_u64, "type": "counter"},
    ]);
    hub.take(&stream.batch(vec![texts])).await;
    let ndjson = exported(folder.path(), None, &all(ExportFormat::Ndjson));
    let mut of_metric: Vec<_> = points(&ndjson)
        .into_iter()
        .filter(|(whose, ..)| whose.contains("/disk/disk_used"))
        .map(|(_, ms, value)| (ms, value.as_f64().unwrap() as i64))
        .collect();
    of_metric.sort_unstable();
    sent.sort_unstable();
    assert_eq!(of_metric, sent);
    for line in ndjson.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let times: Vec<_> =
            line["points"].as_array().unwrap().iter().map(|p| p[0].as_i64()).collect();
        assert!(times.is_sorted() && times.len() <= 1000, "{line}");
    }
    let of = |monitor: &str, from, to| {
        let wanted =
            Export { monitor: Some(monitor.to_owned()), from, to, ..all(ExportFormat::Csv) };
        exported(folder.path(), None, &wanted)
    };
    let csv = of("kernel@web-1", i64::MIN, i64::MAX);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "time,monitor,monitor_name,host,plugin,name,tags,type,unit,value");
    assert!(
        csv.contains(",\"{\"\"a\"\":\"\"b,c\"\"}\",string,,\"6.1, \"\"odd\"\"\nname\"\n"),
        "{csv}"
    );
    assert!(csv.contains(",kernel,empty,{},string,,\"\"\n"), "{csv}");
    assert!(csv.contains(",kernel,gap,{},string,,\n"), "{csv}");
    assert!(csv.contains(",counter,,18446744073709551615\n"), "{csv}");
    let some = of("disk@web-2", NOW + 5, NOW + 9);
    let used = some.lines().filter(|line| line.contains(",disk_used,")).count();
    let wanted =
        (5..=9).filter(|n| (0..1500_i64).any(|i| (i * 7) % 1500 == *n && (i + 1) % 3 == 0));
    assert_eq!(used, wanted.count(), "{some}");
    let nobody = Export { monitor: Some("nobody".to_owned()), ..all(ExportFormat::Csv) };
    let error = export(folder.path(), None, &nobody, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, ExportError::NoMonitor { .. }), "{error}");
    hub.stop().await;
}

#[tokio::test]
async fn verify_finds_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let stream = Stream::new();
    let reports = (1..=50).map(|n| report(n, NOW + n as i64, used(n as f64))).collect();
    hub.take(&stream.batch(reports)).await;
    let good = talaia(folder.path(), &["verify"]);
    assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stderr));
    assert!(String::from_utf8_lossy(&good.stderr).contains("nothing wrong"));
    hub.stop().await;

    let database = folder.path().join("hub.db");
    let whole = std::fs::read(&database).unwrap();
    let damage: [(&str, &str); 6] = [
        ("UPDATE raw SET body = substr(body, 1, length(body) - 1)", "does not read back"),
        ("UPDATE raw SET points = points + 1", "instead of"),
        (
            "INSERT INTO segments (bucket, from_ms, to_ms, points, body) VALUES (0, 0, 0, 1, x'01ff')",
            "does not read back",
        ),
        ("UPDATE series SET monitor_id = 99 WHERE id = 1", "no monitor has series 1"),
        ("DELETE FROM runs WHERE id = (SELECT max(id) FROM runs)", "the last one of monitor 1"),
        ("UPDATE monitors SET reports = 3", "more runs than were counted of monitor 1"),
    ];
    for (sql, says) in damage {
        std::fs::write(&database, &whole).unwrap();
        rusqlite::Connection::open(&database).unwrap().execute_batch(sql).unwrap();
        let looked = verify(folder.path(), None).unwrap();
        assert_eq!(looked.found, 1, "{sql}: {looked:?}");
        assert!(looked.findings[0].contains(says), "{sql}: {looked:?}");
        let said = talaia(folder.path(), &["verify"]);
        assert_eq!(said.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&said.stdout).contains(says));
    }
    // Pages that are overwritten, and a file that is none.
    let mut holed = whole.clone();
    let middle = holed.len() / 2 / 4096 * 4096;
    holed[middle..middle + 4096].fill(0xa5);
    std::fs::write(&database, &holed).unwrap();
    assert!(verify(folder.path(), None).unwrap().found > 0);
    std::fs::write(&database, "no database at all, but long enough to be read as one".repeat(99))
        .unwrap();
    assert!(verify(folder.path(), None).unwrap().found > 0);
    let backup = folder.path().join("backup.db");
    assert!(restore(folder.path(), &database).is_err(), "what cannot be read is not restored");
    assert!(matches!(verify(&backup, None), Err(HubError::NoHub { .. })));
}

#[tokio::test]
async fn what_a_killed_hub_left_in_its_log_is_kept_by_a_restore() {
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("backup.db"), folder.path().join("hub"));
    let hub = start(&data).await;
    let stream = Stream::new();
    hub.take(&stream.batch(vec![report(1, NOW, used(1.0))])).await;
    backup(&data, &file).unwrap();
    hub.take(&stream.batch(vec![report(2, NOW + 1, used(2.0))])).await;
    // As it would be after a kill: what was acknowledged is in the log only.
    let killed = folder.path().join("killed");
    std::fs::create_dir(&killed).unwrap();
    for name in ["hub.db", "hub.db-wal"] {
        std::fs::copy(data.join(name), killed.join(name)).unwrap();
    }
    hub.stop().await;
    let wanted = all(ExportFormat::Ndjson);
    let aside = restore(&killed, &file).unwrap().unwrap();
    assert_eq!(points(&exported(&killed, None, &wanted)).len(), 8);
    assert_eq!(points(&exported(&killed, Some(&aside), &wanted)).len(), 16);
    // Nor is what cannot be read thrown away, and its log is not taken for the new one's.
    for name in ["hub.db", "hub.db-wal"] {
        std::fs::write(killed.join(name), "no database at all").unwrap();
    }
    let aside = restore(&killed, &file).unwrap().unwrap();
    assert_eq!(std::fs::read(&aside).unwrap(), b"no database at all");
    assert_eq!(points(&exported(&killed, None, &wanted)).len(), 8);
    assert_eq!(verify(&killed, None).unwrap().found, 0);
}

#[tokio::test]
async fn the_commands_say_what_they_did() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("hub");
    let none = talaia(&data, &["backup", "x.db"]);
    assert_eq!(none.status.code(), Some(69), "{}", String::from_utf8_lossy(&none.stderr));
    let hub = start(&data).await;
    let stream = Stream::new();
    hub.take(&stream.batch(vec![report(1, NOW, used(1.0))])).await;
    let file = folder.path().join("backup.db");
    let name = file.to_str().unwrap();
    let made = talaia(&data, &["backup", name]);
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert_eq!(made.status.code(), Some(0), "{said}");
    assert!(said.contains("1 reports, 8 points") && said.contains("master.key"), "{said}");
    assert_eq!(talaia(&data, &["backup", name]).status.code(), Some(74));
    assert_eq!(talaia(&data, &["restore", name]).status.code(), Some(74), "it is running");
    assert_eq!(talaia(&data, &["verify", name]).status.code(), Some(0));
    let written = talaia(&data, &["export", "--format", "csv", "--file", name]);
    assert_eq!(written.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&written.stdout).lines().count(), 9);
    let nobody = talaia(&data, &["export", "--monitor", "nobody"]);
    assert_eq!(nobody.status.code(), Some(1));
    hub.stop().await;
    let back = talaia(&data, &["restore", name]);
    let said = String::from_utf8_lossy(&back.stderr).into_owned();
    assert_eq!(back.status.code(), Some(0), "{said}");
    assert!(said.contains("hub.db.replaced-0"), "{said}");
    // No session or login link outlives its hub in a file.
    let conn = rusqlite::Connection::open(&file).unwrap();
    let held: i64 = conn
        .query_row(
            "SELECT (SELECT count(*) FROM login_links) + (SELECT count(*) FROM sessions)",
            (),
            |r| r.get(0),
        )
        .unwrap();
    assert_eq!(held, 0);
    let bytes = std::fs::read(&file).unwrap();
    let secret = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    let credentials: Value =
        serde_json::from_slice(&std::fs::read(data.join("credentials.json")).unwrap()).unwrap();
    for name in ["key", "secret_key"] {
        assert!(!secret(credentials[name].as_str().unwrap()), "{name} is in the backup");
    }
}
