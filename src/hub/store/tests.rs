use super::*;
use crate::hub::audit;
use crate::hub::caller::Caller;
use crate::hub::store::points::Block;
use crate::model::{AuditAction, RunId, Seq, SpoolId};
use serde_json::json;

mod ageing;

const NOW: i64 = 1_795_380_130_000;

fn limits(folder: &Path) -> Limits {
    Limits { path: file_in(folder), max_size: 1 << 30, retention: None, min_free: 0 }
}

fn writer(limits: Limits) -> Writer {
    let conn = open(&limits.path, Access::Write).unwrap();
    Writer::new(conn, limits).unwrap()
}

/// A batch of `reports` reports from `first` on, each with `metrics` metrics.
fn batch(spool: SpoolId, first: u64, reports: u64, metrics: u64) -> String {
    let reports: Vec<_> = (first..first + reports)
        .map(|seq| {
            let metrics: Vec<_> = (0..metrics)
                .map(|n| json!({"name": format!("m{n}"), "value": seq * 3 + n, "type": "integer"}))
                .collect();
            json!({"seq": seq, "plugin": "p", "key": null, "host": "h", "run": RunId::new(),
                "started": "2026-11-22T20:42:10Z", "duration": 0.1, "interval": 1.0,
                "outcome": {"kind": "exited", "code": u64::from(seq % 4 == 0)}, "status": "ok",
                "message": null, "metrics": metrics, "warnings": [],
                "rejected": [{"code": "not-json", "path": "", "line": 1, "column": 1, "value": "x",
                    "message": "m", "hint": "h"}],
                "counts": {"produced": 1, "accepted": 0, "rejected": {"not-json": 1}},
                "skipped": 0, "leftovers": 0,
                "usage": {"cpu": 0.0, "max_rss": 0, "stdout": 0, "stderr": 0}})
        })
        .collect();
    json!({"agent": {"id": spool, "host": "h", "version": "0.1.0", "spool": spool},
        "output": "main", "sent": "2026-11-22T20:42:10Z", "reports": reports})
    .to_string()
}

/// Points that each run gives besides its metrics.
const FACTS: i64 = 7;

/// Does what a store that is over its size goes on with after later jobs.
fn go_on_shrinking(writer: &mut Writer) {
    while writer.shrinking.is_some() {
        writer.maintain();
    }
}

fn count(conn: &Connection, sql: &str) -> i64 {
    conn.query_row(sql, (), |row| row.get(0)).unwrap()
}

#[test]
fn a_full_database_takes_nothing_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(limits(folder.path()));
    let spool = SpoolId::new();
    writer.append(1, &batch(spool, 1, 10, 10), NOW).unwrap();
    let pages = count(&writer.conn, "SELECT page_count FROM pragma_page_count");
    writer.conn.pragma_update(None, "max_page_count", pages + 2).unwrap();
    let mut first = 11;
    let error = loop {
        match writer.append(1, &batch(spool, first, 100, 10), NOW) {
            Ok(reply) => first = reply.through.0 + 1,
            Err(error) => break error,
        }
    };
    let AppendError::Store(error) = error else { panic!("{error}") };
    assert!(error.is_full(), "{error:?}");
    let held = || "SELECT coalesce(sum(points), 0) FROM raw";
    assert_eq!(
        count(&writer.conn, held()),
        i64::try_from((first - 1) * (10 + FACTS as u64)).unwrap()
    );

    writer.conn.pragma_update(None, "max_page_count", 1_000_000).unwrap();
    let reply = writer.append(1, &batch(spool, first, 100, 10), NOW).unwrap();
    assert_eq!((reply.accepted, reply.through), (100, Seq(first + 99)));
    assert_eq!(
        count(&writer.conn, held()),
        i64::try_from((first + 99) * (10 + FACTS as u64)).unwrap()
    );
}

#[test]
fn a_disk_without_its_reserve_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(Limits { min_free: u64::MAX, ..limits(folder.path()) });
    let error = writer.append(1, &batch(SpoolId::new(), 1, 1, 1), NOW).unwrap_err();
    let AppendError::Store(error) = error else { panic!("{error}") };
    assert!(error.is_full());
    assert_eq!(count(&writer.conn, "SELECT count(*) FROM streams"), 0);
}

#[test]
fn runs_and_rejections_of_a_plugin_are_bounded_and_bad_runs_stay_longer() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(limits(folder.path()));
    let spool = SpoolId::new();
    for nth in 0..60 {
        writer.append(1, &batch(spool, nth * 100 + 1, 100, 0), NOW).unwrap();
        writer.maintain();
    }
    let held = count(&writer.conn, "SELECT count(*) FROM rejections");
    assert!((200..=200 + 10 * 100).contains(&held), "{held} rejections");
    // Every run of these has a rejection, so every one is bad.
    let held = count(&writer.conn, "SELECT count(*) FROM runs");
    assert!((1000..=3000).contains(&held), "{held} runs");
    assert_eq!(count(&writer.conn, "SELECT reports FROM monitors"), 6000, "the count goes on");
    let filter = Filter { account: 1, limit: 1, ..Filter::default() };
    let plugin = plugins(&writer.conn, &filter).unwrap().remove(0);
    assert_eq!(runs_of(&writer.conn, &plugin, 40).unwrap().len(), 40);
    let all = runs_of(&writer.conn, &plugin, 9999).unwrap().len();
    assert!(all >= 1000, "{all} runs in the chain");
    // A hole in the chain leads on to the bad run before it.
    writer.conn.execute("DELETE FROM runs WHERE id = (SELECT max(id) - 1 FROM runs)", ()).unwrap();
    let leap = "UPDATE runs SET bad_before = id - 3 WHERE id = (SELECT max(id) FROM runs)";
    writer.conn.execute(leap, ()).unwrap();
    assert_eq!(runs_of(&writer.conn, &plugin, 9999).unwrap().len(), all - 2);
    let newest = "SELECT m.last_run = (SELECT max(id) FROM runs) FROM monitors m";
    assert_eq!(count(&writer.conn, newest), 1);
}

#[test]
fn the_oldest_points_go_when_the_database_is_over_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let most = 1 << 20;
    let mut writer = writer(Limits { max_size: most, ..limits(folder.path()) });
    let spool = SpoolId::new();
    for nth in 0..70 {
        writer.append(1, &batch(spool, nth * 5 + 1, 5, 2000), NOW).unwrap();
        writer.maintain();
    }
    let oldest = count(&writer.conn, "SELECT min(id) FROM segments");
    assert!(oldest > 1, "nothing was dropped");
    let live = "SELECT (SELECT page_count FROM pragma_page_count)
        - (SELECT freelist_count FROM pragma_freelist_count)";
    let live = count(&writer.conn, live) as u64 * 4096;
    // Raw blocks and runs come on top until the next compaction.
    assert!(live < 4 * most, "{live} bytes");
    assert_eq!(count(&writer.conn, "SELECT metrics FROM monitors"), 70 * 5 * 2000);
    // What was forgotten is learnt again.
    writer.append(1, &batch(spool, 1000, 1, 2000), NOW).unwrap();
    assert_eq!(count(&writer.conn, "SELECT count(*) FROM series"), 2000 + FACTS);
}

#[test]
fn additional_results_alone_do_not_outgrow_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let most = 4 << 20;
    let mut writer = writer(Limits { max_size: most, ..limits(folder.path()) });
    writer.append(1, &batch(SpoolId::new(), 1, 1, 5), NOW).unwrap();
    let body = "x".repeat(32 << 10);
    let live = |writer: &Writer| {
        let pages = "SELECT (SELECT page_count FROM pragma_page_count)
            - (SELECT freelist_count FROM pragma_freelist_count)";
        count(&writer.conn, pages) as u64 * 4096
    };
    let insert = "INSERT INTO additional_results (monitor_id, check_ms, body) VALUES (1, ?1, ?2)";
    for nth in 0..800 {
        writer.conn.execute(insert, rusqlite::params![NOW + nth, body]).unwrap();
    }
    assert!(live(&writer) > most);
    writer.tend(NOW, 0);
    go_on_shrinking(&mut writer);
    assert!(live(&writer) <= most, "{} bytes", live(&writer));
    assert!(count(&writer.conn, "SELECT count(*) FROM additional_results") < 800);
}

#[test]
fn a_damaged_block_costs_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(limits(folder.path()));
    let spool = SpoolId::new();
    for nth in 0..3 {
        writer.append(1, &batch(spool, nth + 1, 1, 20), NOW).unwrap();
    }
    writer.conn.execute("UPDATE raw SET body = x'01ff' WHERE id = 2", ()).unwrap();
    writer.compact().unwrap();
    assert_eq!(count(&writer.conn, "SELECT sum(points) FROM segments"), 2 * (20 + FACTS));
    let held = |writer: &Writer| {
        let filter = Filter {
            account: 1,
            host: Some("h".to_owned()),
            plugin: Some("p".to_owned()),
            limit: 100,
            ..Filter::default()
        };
        let query = PointsQuery { filter, from: 0, to: i64::MAX, ..PointsQuery::default() };
        let page = points(&writer.conn, &query).unwrap();
        page.series.iter().map(|(_, points)| points.len()).collect::<Vec<_>>()
    };
    assert_eq!(held(&writer), [2; 20]);
    // Series 1 to 15 are one bucket, 16 to 20 the next, with the facts of the runs.
    writer.conn.execute("UPDATE segments SET body = x'77' WHERE bucket = 0", ()).unwrap();
    assert_eq!(held(&writer), [2; 5], "series of the damaged segment have no points left");
}

/// A defect in the middle of a batch: what was learnt of series until then is not so.
#[tokio::test]
async fn a_panic_costs_one_request_and_no_point() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(limits(folder.path())).unwrap();
    let spool = SpoolId::new();
    let send = |from| {
        let body = batch(spool, from, 10, 3);
        store.append(1, move || Ok(body), NOW)
    };
    store.writer.call(|writer| writer.panic_at = Some(15)).await.unwrap();
    assert_eq!(send(1).await.unwrap().accepted, 10);
    // One that is new to the hub, so that there is something to be learnt wrongly.
    let others = batch(spool, 11, 10, 5);
    let body = others.clone();
    let error = store.append(1, move || Ok(body), NOW).await.unwrap_err();
    let status = crate::hub::problem::Problem::from(error).status();
    assert_eq!(status, axum::http::StatusCode::INTERNAL_SERVER_ERROR);

    let reply = store.append(1, move || Ok(others), NOW).await.unwrap();
    assert_eq!((reply.accepted, reply.through), (10, Seq(20)));
    let held = store.read(|conn| {
        let query = "SELECT (SELECT count(*) FROM runs), (SELECT sum(points) FROM raw),
            (SELECT count(*) FROM series), (SELECT count(*) FROM monitors)";
        let row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<[i64; 4]> {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
        };
        conn.query_row(query, (), row)
    });
    assert_eq!(held.await.unwrap(), [20, 80 + 20 * FACTS, 5 + FACTS, 1]);
    store.close().await;
}

#[tokio::test]
async fn a_panic_of_a_reader_is_not_in_the_way_of_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(limits(folder.path())).unwrap();
    let lost = store.read(|_| -> rusqlite::Result<()> { panic!("injected") }).await;
    assert!(matches!(lost, Err(StoreError::Defect)), "{lost:?}");
    let read = store.read(|conn| conn.query_row("SELECT 7", (), |row| row.get::<_, i64>(0)));
    assert_eq!(read.await.unwrap(), 7);
    store.close().await;
}

/// A read without an end.
fn endless(conn: &Connection) -> rusqlite::Result<i64> {
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        SELECT count(*) FROM n";
    conn.query_row(sql, (), |row| row.get(0))
}

#[tokio::test]
async fn short_questions_and_pages_do_not_wait_for_a_long_read_which_ends_with_its_caller() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(limits(folder.path())).unwrap();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let long = tokio::spawn({
        let store = store.clone();
        async move {
            let job = move |conn: &Connection| {
                begun.send(()).unwrap();
                endless(conn)
            };
            store.read_long(job).await
        }
    });
    has_begun.await.unwrap();
    let seven = |conn: &Connection| conn.query_row("SELECT 7", (), |row| row.get::<_, i64>(0));
    assert_eq!(store.ask(seven).await.unwrap(), 7);
    assert_eq!(store.read(seven).await.unwrap(), 7);
    assert!(!long.is_finished());
    // Whoever asked went away, and so did somebody who waits in line.
    drop(tokio::time::timeout(Duration::ZERO, store.read_long(endless)).await);
    long.abort();
    assert_eq!(store.read_long(seven).await.unwrap(), 7);
    store.close().await;
}

#[tokio::test]
async fn a_read_beyond_its_bound_is_ended_and_the_next_one_works() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(limits(folder.path()));
    let path = file_in(folder.path());
    let reading = Reading::start("bounded", &path, Duration::from_millis(50)).unwrap();
    let error = reading.call(endless).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLong), "{error:?}");
    let problem = crate::hub::problem::Problem::from(error);
    assert_eq!(problem.status(), axum::http::StatusCode::SERVICE_UNAVAILABLE);
    assert!(problem.detail().contains("ask for less"), "{}", problem.detail());
    let none = reading.call(|conn| Ok(count(conn, "SELECT count(*) FROM runs")));
    assert_eq!(none.await.unwrap(), 0);
    reading.close().await;
    drop(writer);
}

/// The columns of all tables, and the indexes, in no particular order.
fn layout(conn: &Connection) -> Vec<String> {
    let mut statement = conn
        .prepare(
            "SELECT t.name || '.' || c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk
             FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'
             UNION SELECT name FROM sqlite_schema WHERE type = 'index' ORDER BY 1",
        )
        .unwrap();
    statement.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_database_of_the_first_version_is_brought_up_to_date() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = include_str!("../../../tests/data/hub-v1.sql");
    Connection::open(limits(folder.path()).path).unwrap().execute_batch(first).unwrap();
    let fresh = writer(limits(other.path()));
    let mut writer = writer(limits(folder.path()));
    assert_eq!(layout(&writer.conn), layout(&fresh.conn));
    let reply = writer.append(1, &batch(SpoolId::new(), 1, 5, 1), NOW).unwrap();
    assert_eq!(reply.accepted, 5);
    assert_eq!(
        count(&writer.conn, "SELECT count(*) FROM monitors WHERE id = 7 AND host = 'web-1'"),
        1
    );
    assert_eq!(count(&writer.conn, "SELECT count(DISTINCT name) FROM keys"), 3);
    assert_eq!(
        count(&writer.conn, "SELECT user_version FROM pragma_user_version"),
        schema::VERSION
    );
}

/// All points that readers find, of every series in the table.
fn held(conn: &Connection) -> Vec<(i64, i64, String)> {
    let ids: Vec<i64> = {
        let mut statement = conn.prepare("SELECT id FROM series ORDER BY id").unwrap();
        statement.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let mut found = Vec::new();
    visit(conn, &ids, i64::MIN..=i64::MAX, |series, ms, value| {
        found.push((series, ms, format!("{value:?}")));
    })
    .unwrap();
    found.sort();
    found
}

#[test]
fn a_dropped_series_never_comes_back_and_its_space_is_freed() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(limits(folder.path()));
    let spool = SpoolId::new();
    for nth in 0..10 {
        writer.append(1, &batch(spool, nth * 10 + 1, 10, 40), NOW).unwrap();
    }
    writer.compact().unwrap();
    // Some points are in segments, some are raw.
    writer.append(1, &batch(spool, 101, 10, 40), NOW).unwrap();
    let before = held(&writer.conn);
    let newest = count(&writer.conn, "SELECT max(id) FROM series");
    let gone: Vec<i64> = (3..=30).chain([newest]).collect();
    writer.change(|conn| drop_series(conn, &gone)).unwrap();
    let kept: Vec<_> = before.into_iter().filter(|(id, ..)| !gone.contains(id)).collect();
    assert_eq!(held(&writer.conn), kept);
    let of_gone = |writer: &Writer| {
        let mut count = 0;
        visit(&writer.conn, &gone, i64::MIN..=i64::MAX, |_, _, _| count += 1).unwrap();
        count
    };
    assert!(of_gone(&writer) > 0, "their space is freed later");
    let points = "SELECT (SELECT total(points) FROM segments) + (SELECT total(points) FROM raw)";
    let points =
        |writer: &Writer| -> f64 { writer.conn.query_row(points, (), |r| r.get(0)).unwrap() };
    // The series of the same names are new ones.
    writer.append(1, &batch(spool, 111, 1, 40), NOW).unwrap();
    let again = count(&writer.conn, &format!("SELECT count(*) FROM series WHERE id > {newest}"));
    assert_eq!(again, i64::try_from(gone.len()).unwrap());
    let now = held(&writer.conn);
    assert_eq!(now.len(), kept.len() + 40 + FACTS as usize);
    // A restart in between changes nothing.
    drop(writer);
    let mut writer = self::writer(limits(folder.path()));
    writer.tend(NOW, 0);
    assert_eq!(held(&writer.conn), now);
    assert_eq!(of_gone(&writer), 0);
    assert_eq!(points(&writer) as usize, now.len());
    assert_eq!(count(&writer.conn, "SELECT count(*) FROM dropped"), 0);
    // Whole buckets that are gone leave no row behind.
    let all: Vec<i64> = now.iter().map(|(id, ..)| *id).collect();
    writer.change(|conn| drop_series(conn, &all)).unwrap();
    writer.maintain();
    assert_eq!(count(&writer.conn, "SELECT count(*) FROM segments"), 0);
    assert!(held(&writer.conn).is_empty());
}

const DAY: i64 = 24 * 3600 * 1000;

/// What a store of two days' retention holds of each day.
fn by_day(writer: &Writer) -> Vec<(i64, usize)> {
    let mut days = std::collections::BTreeMap::new();
    for (_, ms, _) in held(&writer.conn) {
        *days.entry((ms - NOW).div_euclid(DAY)).or_insert(0) += 1;
    }
    days.into_iter().collect()
}

#[test]
fn what_is_too_old_goes_and_a_turned_clock_takes_nothing_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let two_days = Duration::from_hours(48);
    let limits = Limits { retention: Some(two_days), ..limits(folder.path()) };
    let mut writer = writer(limits.clone());
    writer.tend(NOW, 0);
    let spool = SpoolId::new();
    let stamp = |ms| crate::model::Timestamp::from_millis(ms).unwrap().to_string();
    let first = "2026-11-22T20:42:10Z";
    // A batch a day; the clock is looked at every hour.
    let day = |writer: &mut Writer, nth: i64| {
        let then = NOW + nth * DAY;
        let body = batch(spool, nth as u64 * 10 + 1, 10, 5).replace(first, &stamp(then));
        writer.append(1, &body, then).unwrap();
        let insert =
            "INSERT INTO additional_results (monitor_id, check_ms, body) VALUES (1, ?1, '[]')";
        writer.conn.execute(insert, [then]).unwrap();
        for hour in 0..24 {
            let by = nth * DAY + hour * DAY / 24;
            writer.tend(NOW + by, by);
        }
    };
    for nth in 0..10 {
        day(&mut writer, nth);
    }
    let days =
        |writer: &Writer| -> Vec<i64> { by_day(writer).into_iter().map(|(d, _)| d).collect() };
    let kept = days(&writer);
    assert!(kept == [7, 8, 9] || kept == [8, 9], "{kept:?}");
    let oldest = NOW + 7 * DAY;
    for sql in [
        "SELECT min(started_ms) FROM rejections",
        "SELECT min(started_ms) FROM runs",
        "SELECT min(check_ms) FROM additional_results",
    ] {
        assert!(count(&writer.conn, sql) >= oldest, "{sql}");
    }
    // Forward by ten years, and it stays there: nothing goes for a week.
    let ahead = 3652 * DAY;
    let now = 10 * DAY;
    for hour in 0..7 * 24 - 1 {
        writer.tend(NOW + now + ahead + hour * DAY / 24, now + hour * DAY / 24);
    }
    assert_eq!(days(&writer), kept);
    // Nor does a restart in between help, with the clock as wrong.
    drop(writer);
    let mut writer = self::writer(limits);
    writer.tend(NOW + now + ahead + 7 * DAY, 0);
    writer.tend(NOW + now + ahead + 7 * DAY + DAY / 48, DAY / 48);
    assert_eq!(days(&writer), kept);
    // It is right again: from then on a week.
    for hour in 1..7 * 24 {
        writer.tend(NOW + now + 7 * DAY + hour * DAY / 24, hour * DAY / 24 + DAY);
    }
    assert_eq!(days(&writer), kept);
    for hour in 7 * 24..7 * 24 + 48 {
        writer.tend(NOW + now + 7 * DAY + hour * DAY / 24, hour * DAY / 24 + DAY);
    }
    assert_eq!(days(&writer), [0_i64; 0], "all of it is too old by now");
    let last = "SELECT count(*) FROM runs WHERE id IN (SELECT last_run FROM monitors)";
    assert_eq!(count(&writer.conn, last), 1, "the last run of a monitor stays");
}

#[test]
fn the_audit_log_keeps_its_newest_entries() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer =
        writer(Limits { retention: Some(Duration::from_hours(1)), ..limits(folder.path()) });
    writer
        .conn
        .execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100049)
             INSERT INTO audit (at_ms, account_id, actor, action, subject)
             SELECT 0, 1, 'a', 'b', i FROM n",
        )
        .unwrap();
    let caller = Caller::of_session(1);
    audit::write(&writer.conn, &caller, NOW, AuditAction::KeyCreate, "the newest", None).unwrap();
    // Age takes none of them.
    writer.tend(NOW, 0);
    assert_eq!(count(&writer.conn, "SELECT count(*) FROM audit"), 100_000);
    assert_eq!(count(&writer.conn, "SELECT min(id) FROM audit"), 51);
}

#[test]
fn a_scan_gives_every_point_in_order_however_late_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(limits(folder.path()));
    let spool = SpoolId::new();
    let mut block = Block::default();
    let mut wanted: Vec<(i64, i64)> = Vec::new();
    writer.append(1, &batch(spool, 1, 1, 3), NOW).unwrap();
    writer.compact().unwrap();
    // Overlapping stretches, some of them of the same moments, the last not compacted.
    for (nth, from) in [0_i64, 5000, 2500, 0, 9000, 100].into_iter().enumerate() {
        for n in 0..3000 {
            let value = nth as i64 * 1_000_000 + n;
            block.push(2, from + n, crate::hub::scalar::Scalar::Signed(value));
            block.push(3, from + n, crate::hub::scalar::Scalar::Gap);
            wanted.push((from + n, value));
        }
        writer.waiting += points::append(&writer.conn, &mut block).unwrap();
        if nth < 5 {
            writer.compact().unwrap();
        }
    }
    // Of what came at one moment the later written comes later.
    wanted.sort_by_key(|(ms, _)| *ms);
    for (range, need) in
        [(0..=20_000, usize::MAX), (2600..=5100, 4000), (7..=7, 2), (30_000..=40_000, 9)]
    {
        let mut scan = Scan::new(&writer.conn, [2], range.clone()).unwrap();
        let found = scan.first(2, range.clone(), need).unwrap();
        let found: Vec<(i64, i64)> =
            found.into_iter().map(|(ms, value)| (ms, value.as_f64().unwrap() as i64)).collect();
        let want: Vec<(i64, i64)> =
            wanted.iter().copied().filter(|(ms, _)| range.contains(ms)).take(need).collect();
        assert!(found == want, "{range:?}: {} points instead of {}", found.len(), want.len());
    }
}
