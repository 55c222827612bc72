//! Once in the hub, whatever is sent twice or dies in between.

use std::io::Write;
use std::sync::atomic::Ordering;

use serde_json::json;
use talaia::hub::{Clock, Credentials, Hub, HubError, end_sessions, make_login_link};
use talaia::model::{PluginKey, Seq};

use super::support::*;

#[tokio::test]
async fn a_batch_sent_twice_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let stream = Stream::new();
    let second_report = report(2, NOW + 1, used(2.0));
    let batch = stream.batch(vec![report(1, NOW, used(1.0)), second_report.clone()]);

    let first = hub.take(&batch).await;
    assert_eq!((first.through, first.accepted, first.duplicates), (Seq(2), 2, 0));
    let second = hub.take(&batch).await;
    assert_eq!((second.through, second.accepted, second.duplicates), (Seq(2), 0, 2));
    assert_eq!(hub.held("web-1", "disk").await, (2, 2, 0));

    // Half old, half new, with a gap.
    let mixed = stream.batch(vec![second_report, report(90, NOW + 2, used(3.0))]);
    let third = hub.take(&mixed).await;
    assert_eq!((third.through, third.accepted, third.duplicates), (Seq(90), 1, 1));
    assert_eq!(hub.held("web-1", "disk").await, (3, 3, 0));
    hub.stop().await;
}

/// Who sends again has not seen the reply: a refusal must not become a delivery.
#[tokio::test]
async fn what_was_refused_is_refused_again() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let stream = Stream::new();
    let stranger = |seq| {
        let mut report = report(seq, NOW, used(1.0));
        report["key"] = json!(PluginKey::new());
        report
    };
    let good = |seq| report(seq, NOW, used(2.0));
    let seqs = |reply: &talaia::model::BatchReply| {
        reply.refused.iter().map(|refused| refused.seq.0).collect::<Vec<_>>()
    };
    let four = stranger(4);
    let batch = stream.batch(vec![good(1), stranger(2), good(3), four.clone()]);
    let first = hub.take(&batch).await;
    assert_eq!((first.accepted, first.duplicates, seqs(&first)), (2, 0, vec![2, 4]));
    // As often as it comes, in halves as well.
    let second = hub.take(&batch).await;
    assert_eq!((second.accepted, second.duplicates, &second.refused), (0, 4, &first.refused));
    let half = hub.take(&stream.batch(vec![four.clone()])).await;
    assert_eq!((half.duplicates, seqs(&half)), (1, vec![4]));
    // Together with what is new, which may be lost again.
    let mixed = stream.batch(vec![four, good(5), stranger(6)]);
    assert_eq!(seqs(&hub.take(&mixed).await), [4, 6]);
    hub.stop().await;
    let hub = start(folder.path()).await;
    assert_eq!(seqs(&hub.take(&mixed).await), [4, 6]);
    // What was acknowledged since is forgotten.
    hub.take(&stream.batch(vec![good(7)])).await;
    assert_eq!(seqs(&hub.take(&mixed).await), [0; 0]);
    hub.stop().await;
}

#[tokio::test]
async fn another_report_under_the_number_of_the_mark_is_a_copys() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let stream = Stream::new();
    hub.take(&stream.batch(vec![report(1, NOW, used(1.0)), report(5, NOW, used(1.0))])).await;
    // Numbers before the mark cannot be told, and the mark itself is not in this one.
    let before = hub.take(&stream.batch(vec![report(2, NOW, used(2.0))])).await;
    assert_eq!((before.through, before.accepted, before.duplicates), (Seq(5), 0, 1));
    let copy = stream.batch(vec![report(5, NOW, used(2.0)), report(6, NOW, used(2.0))]);
    let answer = hub.post(&copy).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (409, Some("cloned")));
    assert_eq!(hub.held("web-1", "disk").await, (2, 2, 0), "nothing of it is stored");
    // The stream itself goes on.
    hub.take(&stream.batch(vec![report(6, NOW + 1, used(1.0))])).await;
    hub.stop().await;
}

#[tokio::test]
async fn a_database_without_the_run_at_the_mark_is_used_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let stream = Stream::new();
    hub.take(&stream.batch(vec![report(5, NOW, used(1.0))])).await;
    hub.stop().await;
    let conn = rusqlite::Connection::open(folder.path().join("hub.db")).unwrap();
    // As it is for streams that an earlier version knew.
    conn.execute_batch("UPDATE streams SET run = NULL, refused = NULL").unwrap();
    drop(conn);
    let hub = start(folder.path()).await;
    // Whose the mark is, is not known; from the next report on it is.
    let six = report(6, NOW, used(1.0));
    let reply = hub.take(&stream.batch(vec![report(5, NOW, used(2.0)), six.clone()])).await;
    assert_eq!((reply.accepted, reply.duplicates), (1, 1));
    hub.take(&stream.batch(vec![six])).await;
    assert_eq!(hub.post(&stream.batch(vec![report(6, NOW, used(1.0))])).await.status, 409);
    hub.stop().await;
}

#[tokio::test]
async fn streams_have_marks_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let one = Stream::new();
    let other_output = Stream { output: "second", ..one };
    let one = Stream { spool: other_output.spool, output: "main" };
    let other_spool = Stream::new();
    for stream in [&one, &other_output, &other_spool] {
        let reply = hub.take(&stream.batch(vec![report(5, NOW, used(1.0))])).await;
        assert_eq!((reply.through, reply.accepted), (Seq(5), 1));
    }
    let empty = hub.take(&one.batch(vec![])).await;
    assert_eq!((empty.through, empty.accepted, empty.duplicates), (Seq(5), 0, 0));
    hub.stop().await;
}

#[tokio::test]
async fn marks_and_credentials_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let stream = Stream::new();
    let batch = stream.batch(vec![report(1, NOW, used(1.5))]);
    hub.take(&batch).await;
    let before = hub.credentials.clone();
    hub.stop().await;

    let hub = start(folder.path()).await;
    assert_eq!(hub.credentials.key, before.key);
    assert_eq!(hub.credentials.api_key, before.api_key);
    assert_eq!(hub.credentials.secret_key, before.secret_key);
    let written = Credentials::read(folder.path()).unwrap().unwrap();
    assert_eq!(written.url, hub.url, "the file has the port of this life");
    let again = hub.take(&batch).await;
    assert_eq!((again.through, again.accepted, again.duplicates), (Seq(1), 0, 1));
    assert_eq!(hub.held("web-1", "disk").await, (1, 1, 0));
    hub.stop().await;
}

#[tokio::test]
async fn what_was_answered_is_in_the_files_at_that_moment() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let stream = Stream::new();
    let image = tempfile::tempdir().unwrap();
    let mut last = json!(null);
    for seq in 1..=20 {
        last = report(seq, NOW + seq as i64, used(1.0));
        hub.take(&stream.batch(vec![last.clone()])).await;
    }
    // The files as a kill -9 would leave them: nothing was closed.
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), image.path().join(file.file_name())).unwrap();
    }
    let revived = start(image.path()).await;
    assert_eq!(revived.held("web-1", "disk").await, (20, 20, 0));
    let reply = revived.take(&stream.batch(vec![last])).await;
    assert_eq!((reply.through, reply.duplicates), (Seq(20), 1));
    revived.stop().await;
    hub.stop().await;
}

#[tokio::test]
async fn a_new_database_keeps_the_old_key() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let key = hub.credentials.key.clone();
    hub.stop().await;
    let mut file = std::fs::File::create(folder.path().join("hub.db")).unwrap();
    file.write_all(b"this is not a database, and never was one").unwrap();
    let hub = start(folder.path()).await;
    assert_eq!(hub.credentials.key, key);
    assert_eq!(hub.get("/api/v1/plugins").await.status, 200);
    assert!(folder.path().join("hub.db.damaged-0").exists());
    hub.stop().await;
}

#[tokio::test]
async fn a_newer_database_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    start(folder.path()).await.stop().await;
    let path = folder.path().join("hub.db");
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let before = std::fs::read(&path).unwrap();
    let error = Hub::bind(settings(folder.path())).await.unwrap_err().to_string();
    assert!(error.contains("version 99"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_taken_port_and_a_taken_folder_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let mut same_port = settings(tempfile::tempdir().unwrap().path());
    same_port.listen = hub.url.strip_prefix("http://").unwrap().parse().unwrap();
    let elsewhere = same_port.data_dir.clone();
    let error = Hub::bind(same_port).await.unwrap_err();
    assert!(matches!(error, HubError::PortInUse { .. }));
    assert!(error.to_string().contains(hub.url.strip_prefix("http://").unwrap()));
    assert!(!elsewhere.exists(), "a hub that cannot listen changes nothing");

    let error = Hub::bind(settings(folder.path())).await.unwrap_err();
    let HubError::Locked { pid, .. } = error else { panic!("{error}") };
    assert_eq!(pid, std::process::id().to_string());
    hub.stop().await;
}

#[tokio::test]
async fn secrets_are_for_their_owner_and_not_in_the_database() {
    use std::os::unix::fs::PermissionsExt;
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("hub");
    let hub = start(&folder).await;
    let mode = |name: &str| folder.join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("credentials.json"), 0o600);
    assert_eq!(mode("master.key"), 0o600);
    let secrets = [
        hub.credentials.key.clone(),
        hub.credentials.secret_key.clone(),
        hub.link.rsplit('/').next().unwrap().to_owned(),
        hub.log_in().await.split_once('=').unwrap().1.to_owned(),
    ];
    for file in ["hub.db", "hub.db-wal"] {
        let bytes = std::fs::read(folder.join(file)).unwrap();
        for secret in &secrets {
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "a secret in {file}");
        }
    }
    hub.stop().await;
}

#[tokio::test]
async fn reports_with_a_strange_plugin_key_are_refused_and_the_others_taken() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let mut strange = report(2, NOW, used(1.0));
    strange["key"] = json!(PluginKey::new());
    let batch =
        Stream::new().batch(vec![report(1, NOW, used(1.0)), strange, report(3, NOW, used(2.0))]);
    let reply = hub.take(&batch).await;
    assert_eq!((reply.through, reply.accepted), (Seq(3), 2));
    assert_eq!(reply.refused.len(), 1);
    assert_eq!((reply.refused[0].seq, reply.refused[0].code.as_str()), (Seq(2), "plugin-key"));
    assert_eq!(hub.held("web-1", "disk").await, (2, 2, 0));
    hub.stop().await;
}

#[tokio::test]
async fn a_login_link_of_another_process_works_once_and_not_after_ten_minutes() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let time = hub.time.clone();
    let clock = Clock::from_fn(move || time.load(Ordering::Relaxed));
    let path = |link: &str| link.strip_prefix(&hub.url).unwrap().to_owned();

    let link = path(&make_login_link(folder.path(), "local", &clock).unwrap());
    assert_eq!(answer(hub.request("GET", &link)).await.status, 200);
    assert_eq!(answer(hub.request("GET", &link)).await.status, 200, "looking does not use it up");
    let used = answer(hub.request("POST", &link)).await;
    assert_eq!(used.status, 303);
    let cookie = used.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    for method in ["GET", "POST"] {
        let again = answer(hub.request(method, &link)).await;
        assert_eq!(again.status, 410);
        assert!(again.body.contains("talaia hub login"));
        assert_eq!(again.header("set-cookie"), "");
    }

    let late = path(&make_login_link(folder.path(), "local", &clock).unwrap());
    hub.time.fetch_add(10 * 60 * 1000, Ordering::Relaxed);
    assert_eq!(answer(hub.request("POST", &late)).await.status, 410);

    // All at once: who is logged in, and who could.
    let cookie = cookie.split(';').next().unwrap();
    let unused = path(&make_login_link(folder.path(), "local", &clock).unwrap());
    assert_eq!(hub.page(cookie, "/").await.status, 200);
    assert_eq!(end_sessions(folder.path(), &clock).unwrap(), 1);
    assert_eq!(hub.page(cookie, "/").await.status, 401);
    assert_eq!(answer(hub.request("POST", &unused)).await.status, 410);
    assert_eq!(end_sessions(folder.path(), &clock).unwrap(), 0);
    let nowhere = tempfile::tempdir().unwrap();
    assert!(matches!(
        make_login_link(nowhere.path(), "local", &clock),
        Err(HubError::NoHub { .. })
    ));
    hub.stop().await;
}

#[tokio::test]
async fn what_the_hub_keeps_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let modes = || {
        let mut files = 0;
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", path.display());
            files += 1;
        }
        files
    };
    open(folder.path(), 0o755);
    let hub = start(folder.path()).await;
    hub.take(&Stream::new().batch(vec![report(1, NOW, json!([]))])).await;
    // The database, its two companions, the lock, the credentials and the master key.
    assert_eq!(modes(), 6);
    assert_eq!(folder.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    hub.stop().await;
    // As an earlier version left it.
    open(&folder.path().join("hub.db"), 0o644);
    let hub = start(folder.path()).await;
    assert!(modes() >= 4);
    hub.stop().await;
}
