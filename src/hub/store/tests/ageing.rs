//! What goes by size and by age, and whether it is found when it should have gone.

use super::*;
use crate::hub::scalar::Scalar;

#[test]
fn by_size_the_oldest_goes_whatever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let most = 3 << 19;
    let mut writer = writer(limits(folder.path()));
    let spool = SpoolId::new();
    writer.clock.look(NOW + 30 * DAY, 0);
    let additional = format!("[{{\"x\":\"{}\"}}]", "x".repeat(100_000));
    for day in 0..30 {
        let then = crate::model::Timestamp::from_millis(NOW + day * DAY).unwrap().to_string();
        let body =
            batch(spool, day as u64 * 10 + 1, 10, 800).replace("2026-11-22T20:42:10Z", &then);
        writer.append(1, &body, NOW + day * DAY).unwrap();
        // Each segment of a bucket has a point that lies ahead.
        let mut block = Block::default();
        for series in (1..800).step_by(16) {
            block.push(series, NOW + 9999 * DAY, Scalar::Gap);
        }
        if day == 3 {
            writer.waiting += points::append(&writer.conn, &mut block).unwrap();
        }
        writer.compact().unwrap();
        // Only from the tenth day on: what is younger does not go for its kind.
        if day >= 10 {
            let sql =
                "INSERT INTO additional_results (monitor_id, check_ms, body) VALUES (1, ?, ?)";
            writer.conn.execute(sql, rusqlite::params![NOW + day * DAY, additional]).unwrap();
        }
    }
    let days = |writer: &Writer, sql: &str| -> Vec<(i64, i64)> {
        let sql = format!("SELECT (ms - {NOW}) / {DAY} AS day, count(*) FROM ({sql}) GROUP BY day");
        let mut statement = writer.conn.prepare(&sql).unwrap();
        let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let all = |writer: &Writer| {
        let mut points = by_day(writer);
        points.retain(|(day, _)| *day < 30);
        [
            points.into_iter().map(|(day, count)| (day, count as i64)).collect(),
            days(
                writer,
                "SELECT started_ms AS ms FROM runs WHERE id NOT IN (SELECT last_run FROM monitors)",
            ),
            days(writer, "SELECT started_ms AS ms FROM rejections"),
            days(writer, "SELECT check_ms AS ms FROM additional_results"),
        ]
    };
    let before = all(&writer);
    writer.limits.max_size = most;
    writer.shrink().unwrap();
    go_on_shrinking(&mut writer);
    let after = all(&writer);
    let first = after.iter().map(|days| days[0].0).min().unwrap();
    assert!((5..28).contains(&first), "{after:?}");
    for (before, after) in before.iter().zip(&after) {
        let younger = |days: &[(i64, i64)]| -> Vec<(i64, i64)> {
            days.iter().copied().filter(|(day, _)| *day > first).collect()
        };
        assert_eq!(younger(before), younger(after), "nothing that is younger than what is kept");
    }
}

#[test]
fn what_plugins_declared_goes_by_size_and_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(limits(folder.path()));
    writer.clock.look(NOW + 300 * DAY, 0);
    let body = "x".repeat(10_000);
    let declared = |writer: &Writer, day: i64| {
        let sql = "INSERT INTO contracts (monitor_id, received_ms, body) VALUES (?1, ?2, ?3)";
        writer.conn.execute(sql, rusqlite::params![day, NOW + day * DAY, body]).unwrap();
    };
    (0..300).for_each(|day| declared(&writer, day));
    writer.limits.max_size = 2 << 20;
    writer.shrink().unwrap();
    go_on_shrinking(&mut writer);
    let kept = count(&writer.conn, "SELECT count(*) FROM contracts");
    assert!((50..250).contains(&kept), "{kept}");
    let oldest = "SELECT min(monitor_id) FROM contracts";
    assert_eq!(count(&writer.conn, oldest), 300 - kept, "the oldest went");

    writer.limits.retention = Some(Duration::from_hours(48));
    for hour in 0..24 {
        writer.tend(NOW + 300 * DAY + hour * DAY / 24, 1 + hour * DAY / 24);
    }
    assert_eq!(count(&writer.conn, oldest), 299);
}

#[test]
fn a_point_of_the_far_future_keeps_no_others_alive() {
    let folder = tempfile::tempdir().unwrap();
    let two_days = Duration::from_hours(48);
    let mut writer = writer(Limits { retention: Some(two_days), ..limits(folder.path()) });
    writer.append(1, &batch(SpoolId::new(), 1, 1, 20), NOW).unwrap();
    let ahead = NOW + 9999 * DAY;
    let mut block = Block::default();
    // A hundred segments of 16 series each, all with points that lie ahead.
    for nth in 0..100 {
        for series in 1..16 {
            for hour in 0..3 {
                let value = Scalar::Signed(nth);
                block.push(series, NOW + nth + hour * DAY / 24, value);
            }
        }
        block.push(3, ahead + nth, Scalar::Text("ahead"));
        block.push(3, ahead + nth + DAY, Scalar::Text("more"));
        writer.waiting += points::append(&writer.conn, &mut block).unwrap();
        writer.compact().unwrap();
    }
    let before = held(&writer.conn);
    let oldest = |held: &[(i64, i64, String)]| held.iter().map(|(_, ms, _)| *ms).min().unwrap();
    for hour in 0..72 {
        let by = hour * DAY / 24;
        writer.tend(NOW + by, by);
        if hour == 48 {
            assert_eq!(held(&writer.conn), before, "what is not too old stays with its neighbours");
        }
    }
    let after = held(&writer.conn);
    assert_eq!((after.len(), oldest(&after)), (200, ahead));
    let before: Vec<_> = before.into_iter().filter(|(_, ms, _)| *ms >= ahead).collect();
    assert_eq!(after, before);
    assert_eq!(verify(&file_in(folder.path())).unwrap().findings, [""; 0]);
}

#[test]
fn points_of_series_that_are_gone_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(limits(folder.path()));
    writer.append(1, &batch(SpoolId::new(), 1, 5, 20), NOW).unwrap();
    writer.compact().unwrap();
    writer.append(1, &batch(SpoolId::new(), 1, 2, 20), NOW).unwrap();
    let findings = || verify(&file_in(folder.path())).unwrap().findings;
    assert_eq!(findings(), [""; 0]);
    // Dropped as it should be, its points may still be there.
    writer.change(|conn| drop_series(conn, &[4])).unwrap();
    assert_eq!(findings(), [""; 0]);
    writer.conn.execute("DELETE FROM series WHERE id IN (2, 17)", ()).unwrap();
    assert_eq!(
        findings(),
        [2, 17].map(|id| format!("series {id} is gone, and 7 of its points are still there"))
    );
}
