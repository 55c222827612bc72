//! The pages, as a browser gets them.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::support::*;

const HOSTILE: &str =
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"' &amp; {{7*7}}";

#[tokio::test]
async fn strangers_are_told_how_to_log_in() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let paths = [
        "/",
        "/plugin?host=a&plugin=b",
        "/rejections",
        "/explain/name-hyphen",
        "/monitors",
        "/monitors/new",
        "/monitor/1",
        "/monitor/1/edit",
        "/monitor/1/delete",
        "/monitor/1/results",
        "/monitor/1/report",
        "/monitors/unused",
        "/packages",
        "/packages/a",
        "/packages/a/0.1.0",
        "/packages/a/0.1.0/file?path=b",
        "/publish",
        "/keys",
        "/health",
        "/audit",
    ];
    for path in paths {
        for cookie in ["", "talaia_1=x", "a=b; =; ;"] {
            let page = hub.page(cookie, path).await;
            assert_eq!(page.status, 401);
            assert!(page.body.contains("talaia hub login"), "{path}");
        }
    }
    // The key is for programs: pages want a session.
    assert_eq!(hub.get("/").await.status, 401);
    assert_eq!(answer(hub.request("GET", "/nowhere")).await.status, 404);
    hub.stop().await;
}

#[tokio::test]
async fn a_session_begins_with_the_button_and_ends_with_log_out() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let path = hub.link.strip_prefix(&hub.url).unwrap().to_owned();
    let foreign = hub.request("POST", &path).header("origin", "http://evil.example");
    assert_eq!(answer(foreign).await.status, 403);
    let foreign = hub.request("POST", &path).header("sec-fetch-site", "cross-site");
    assert_eq!(answer(foreign).await.status, 403);

    for path in [path.as_str(), "/logout"] {
        // As a browser sends a form of our own from a page that lets no referrer out.
        let own = hub.request("POST", path).header("sec-fetch-site", "same-origin");
        let own = answer(own.header("origin", "null").body("")).await;
        assert_ne!(own.status, 403, "{path}: {}", own.body);
        let unknown = hub.request("POST", path).header("origin", "null");
        assert_eq!(answer(unknown.body("")).await.status, 403, "{path}");
    }
    hub.stop().await;

    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    let page = hub.page(&cookie, "/").await;
    assert_eq!(page.status, 200);
    assert_eq!(hub.page(&cookie, "/api/v1/plugins").await.status, 200, "a session reads the API");
    let ingest = hub.request("POST", "/api/v1/ingest").header("cookie", &cookie);
    assert_eq!(answer(ingest.body("{}")).await.status, 401, "and does not write to it");

    let out = |form: &str| {
        hub.request("POST", "/logout")
            .header("cookie", &cookie)
            .header("origin", hub.url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("form={form}"))
    };
    assert_eq!(answer(out("guess")).await.status, 403);
    assert_eq!(hub.page(&cookie, "/").await.status, 200);
    let form = page.body.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let ended = answer(out(form)).await;
    assert_eq!(ended.status, 303);
    assert!(ended.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(hub.page(&cookie, "/").await.status, 401);
    hub.stop().await;
}

#[tokio::test]
async fn a_session_ends_after_thirty_days() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    hub.time.fetch_add(30 * 86_400_000, Ordering::Relaxed);
    assert_eq!(hub.page(&cookie, "/").await.status, 401);
    hub.stop().await;
}

#[tokio::test]
async fn every_page_has_the_headers_that_protect_it() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    for path in [
        "/",
        "/rejections",
        "/keys",
        "/monitors",
        "/monitors/new",
        "/monitors/unused",
        "/publish",
        "/health",
        "/audit",
        "/nowhere",
        "/style.css",
        "/app.js",
        "/icon.svg",
        "/api/v1/runs",
    ] {
        let page = hub.page(&cookie, path).await;
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(page.header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(page.header("x-frame-options"), "DENY", "{path}");
        assert!(page.header("cache-control").starts_with("no-"), "{path}");
        if page.header("content-type").starts_with("text/html") {
            // The policy would stop these; none of them is to be there in the first place.
            for banned in [" style=", "<style", " onclick=", "javascript:", "http://", "https://"] {
                assert!(!page.body.contains(banned), "{banned} in {path}");
            }
        }
    }
    hub.stop().await;
}

#[tokio::test]
async fn an_empty_hub_says_what_to_do_first() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    let page = hub.page(&cookie, "/").await.body;
    assert!(page.contains("Nothing has reported yet") && page.contains("talaia run"));
    let page = hub.page(&cookie, "/rejections").await.body;
    assert!(page.contains("Nothing was refused"));
    assert_eq!(hub.page(&cookie, "/plugin?host=a&plugin=b").await.status, 404);
    assert_eq!(hub.page(&cookie, "/plugin").await.status, 404);
    hub.stop().await;
}

#[tokio::test]
async fn pages_show_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    let stream = Stream::new();
    let counter = |n: i64| {
        json!([
            {"name": "packets", "value": n, "type": "counter", "unit": "packets"},
            {"name": "used", "value": 40 + n / 100, "type": "percent", "unit": "%", "label": "Disk used", "warn": 80, "crit": "@90:100"},
        ])
    };
    let mut reports: Vec<_> = (0..20)
        .map(|n| report(n + 1, NOW - 600_000 + n as i64 * 30_000, counter(n as i64 * 300)))
        .collect();
    let mut failed = report(21, NOW, json!([]));
    failed["outcome"] = json!({"kind": "timed_out", "reached": "kill"});
    failed["status"] = json!("unknown");
    failed["message"] = json!("mount does not answer");
    failed["stderr"] = json!("E! stat /mnt: stale file handle");
    failed["counts"] = json!({"produced": 1, "accepted": 0, "rejected": {"name-hyphen": 1}});
    failed["rejected"] = json!([{"code": "name-hyphen", "path": "/metrics/3/name", "line": 4, "column": 88,
        "value": "foo-bar", "rule": "names", "message": "the name has a hyphen", "hint": "rename it to `foo_bar`"}]);
    reports.push(failed);
    hub.take(&stream.batch(reports)).await;

    let overview = hub.page(&cookie, "/").await.body;
    for text in [
        "web-1",
        "/plugin?host=web-1&amp;plugin=disk",
        "failing",
        "timed out (ended by KILL)",
        "mount does not answer",
    ] {
        assert!(overview.contains(text), "{text}");
    }
    assert!(!overview.contains(">silent<"));

    let page = hub.page(&cookie, "/plugin?host=web-1&plugin=disk&range=1h").await.body;
    for text in [
        "Disk used",
        "<svg",
        "packets/s",
        "class=\"mark warn\"",
        "class=\"mark crit\"",
        "stale file handle",
        "2 MiB",
        "range=7d",
        "aria-current=\"true\">1 hour",
    ] {
        assert!(page.contains(text), "{text}");
    }
    // 300 packets each 30 s.
    assert!(
        page.contains("<b class=\"last\">10 packets/s</b>") && page.contains("total 5700 packets")
    );
    let later = hub.page(&cookie, "/plugin?host=web-1&plugin=disk&range=7d").await.body;
    assert!(later.contains("aria-current=\"true\">7 days") && later.contains("<svg"));

    let page = hub.page(&cookie, "/rejections").await.body;
    for text in [
        "name-hyphen",
        "/metrics/3/name",
        "line 4, column 88",
        "foo-bar",
        "rename it to <code>foo_bar</code>",
    ] {
        assert!(page.contains(text), "{text}");
    }

    // Three intervals of 30 s, and a little for delivery.
    hub.time.fetch_add(90_000, Ordering::Relaxed);
    assert!(!hub.page(&cookie, "/").await.body.contains(">silent<"));
    hub.time.fetch_add(20_000, Ordering::Relaxed);
    let overview = hub.page(&cookie, "/").await.body;
    assert!(overview.contains(">silent<") && overview.contains("no report for"));
    hub.stop().await;
}

/// A broken script is refused at every run; a person wants to see it once.
#[tokio::test]
async fn rejections_that_are_alike_are_one_entry() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    let refused = |code: &str, path: String, n: i64| {
        json!({"code": code, "path": path, "line": n, "column": 5, "value": format!("got-{n}"),
            "message": "the message", "hint": "the hint"})
    };
    let reports = (1..=40).map(|n| {
        let mut report = report(n, NOW + n as i64 * 1000, json!([]));
        let n = n as i64;
        let mut rejected = vec![refused("name-hyphen", format!("/metrics/{}/name", n % 7), n)];
        if n == 20 {
            rejected.push(refused("value-type", "/metrics/3/value".to_owned(), 99));
        }
        report["rejected"] = json!(rejected);
        report
    });
    hub.take(&Stream::new().batch(reports.collect())).await;
    let mut elsewhere = report(1, NOW, json!([]));
    elsewhere["host"] = json!("web-2");
    elsewhere["rejected"] = json!([refused("name-hyphen", "/metrics/1/name".to_owned(), 7)]);
    hub.take(&Stream::new().batch(vec![elsewhere])).await;

    let page = hub.page(&cookie, "/rejections").await.body;
    assert_eq!(page.matches("<li id=\"r").count(), 3, "{page}");
    for text in ["× 40", "/metrics/*/name", "last at <code>/metrics/5/name</code>", "got-40"] {
        assert!(page.contains(text), "{text} in {page}");
    }
    // Alone in its group, or on another host: as it came.
    assert!(page.contains("<code>/metrics/3/value</code>, line 99") && page.contains("got-7"));
    assert!(!page.contains("got-39") && !page.contains("Older →"));

    // A group is on the page of its newest record, and on no other.
    let older = hub.page(&cookie, "/rejections?after=41").await.body;
    assert_eq!(older.matches("<li id=\"r").count(), 1, "{older}");
    assert!(older.contains("got-99") && !older.contains("name-hyphen"));
    hub.stop().await;
}

#[tokio::test]
async fn what_plugins_say_never_becomes_markup() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    let mut hostile = report(
        1,
        NOW,
        json!([
            {"name": "x", "value": HOSTILE, "type": "string", "unit": HOSTILE, "label": HOSTILE, "tags": {HOSTILE[..60]: HOSTILE}},
            {"name": "y", "value": 1.5, "type": "float", "unit": HOSTILE, "label": HOSTILE, "tags": {"k": HOSTILE}, "warn": HOSTILE},
            {"name": "y", "value": 2.5, "type": "float", "unit": HOSTILE, "label": HOSTILE, "tags": {"k": "v"}},
        ]),
    );
    hostile["host"] = json!(HOSTILE);
    hostile["message"] = json!(HOSTILE);
    hostile["stderr"] = json!(HOSTILE);
    hostile["warnings"] = json!([HOSTILE]);
    hostile["outcome"] = json!({"kind": "not_started", "error": HOSTILE});
    hostile["rejected"] = json!([{"code": "schema", "path": HOSTILE, "line": 1, "column": 1, "value": HOSTILE,
        "rule": HOSTILE, "message": HOSTILE, "hint": HOSTILE}]);
    hub.take(&Stream::new().batch(vec![hostile])).await;
    let overview = hub.page(&cookie, "/").await.body;
    let path = overview.split("href=\"/plugin").nth(1).unwrap().split('"').next().unwrap();
    let path = format!("/plugin{}", path.replace("&amp;", "&"));
    for path in ["/", path.as_str(), "/rejections"] {
        let page = hub.page(&cookie, path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.body.contains("&lt;img src=x"), "{path} shows it");
        assert!(!page.body.contains("<img") && !page.body.contains("<script>"), "{path}");
        assert_eq!(page.body.matches("<script").count(), 1, "{path}: its own");
    }
    let name = hub.page("", "/").await;
    assert!(!name.body.contains("alert(1)"));
    hub.stop().await;
}

/// A page of another site can make a browser send a form, but it does not know the session's token.
#[tokio::test]
async fn no_form_is_taken_without_the_token_of_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    let page = hub.page(&cookie, "/monitors/new").await.body;
    let token = page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let post = |path: &str, body: String| {
        hub.request("POST", path)
            .header("cookie", &cookie)
            .header("origin", hub.url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
    };
    let made = answer(post("/monitors/new", format!("form={token}&name=mine"))).await;
    assert_eq!(made.status, 303, "{}", made.body);
    let path = made.header("location").to_owned();
    let forms = [
        ("/monitors/new".to_owned(), "name=theirs"),
        ("/monitors/unused".to_owned(), "since=99999999999999&id=1&count=1"),
        (path.clone(), "do=suspend"),
        (path.clone(), "do=add&values=a%3D1"),
        (format!("{path}/edit"), "name=theirs"),
        (format!("{path}/delete"), "name=mine"),
        ("/keys".to_owned(), "do=create&name=theirs&scope=admin"),
        ("/keys".to_owned(), "do=rotate&name=local"),
        ("/keys".to_owned(), "do=revoke&name=local&force=yes"),
        ("/keys".to_owned(), "do=register&plugin=disk"),
        ("/logout".to_owned(), ""),
    ];
    let longer = format!("{token}x");
    for (path, body) in &forms {
        for wrong in ["", "form=&", "form=guess&", &format!("form={longer}&"), "form=%ff%zz&"] {
            let answer = answer(post(path, format!("{wrong}{body}"))).await;
            assert!(matches!(answer.status, 400 | 403), "{path} {wrong}{body}: {}", answer.status);
        }
    }
    let page = hub.page(&cookie, "/monitors").await.body;
    assert!(page.contains("mine") && !page.contains("theirs") && !page.contains("suspended<"));
    let page = hub.page(&cookie, "/keys").await.body;
    assert!(page.contains("local") && !page.contains("theirs") && !page.contains("disk</th>"));

    // The token of one session is none of another's.
    let second = answer(hub.request("POST", "/login/none")).await;
    assert_eq!(second.status, 410);
    let taken = answer(post(&format!("{path}/delete"), format!("form={token}&name=mine"))).await;
    assert_eq!((taken.status, taken.header("location")), (303, "/monitors"));
    hub.stop().await;
}

#[tokio::test]
async fn a_thousand_plugins_are_found_and_paged_in_small_pages() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    for host in 0..10 {
        let reports = (0..100).map(|n| {
            let mut one = report(n + 1, NOW - 1000, used(40.0));
            one["host"] = json!(format!("web-{host}"));
            one["plugin"] = json!(format!("plugin_{n}"));
            if host == 9 && n == 7 {
                one["status"] = json!("critical");
            }
            one
        });
        hub.take(&Stream::new().batch(reports.collect())).await;
    }
    let first = hub.page(&cookie, "/").await.body;
    assert!(first.contains("Page 1 of 10") && first.len() < 200_000, "{}", first.len());
    assert!(first.contains("<b>1000</b> <span>all") && first.contains("<b>1</b> <span>critical"));
    // What is bad is on the first page, wherever it is.
    assert!(first.find("plugin_7</a> <span class=\"faint\">on web-9").is_some());
    let rows = |page: &str| page.matches("<tr id=\"m").count();
    assert_eq!(rows(&first), 100);
    let last = hub.page(&cookie, "/?page=10").await.body;
    assert!(rows(&last) == 100 && last.contains("web-9") && !last.contains("After →"));
    let one = hub.page(&cookie, "/?q=WEB-3+plugin_42").await.body;
    assert_eq!(rows(&one), 1);
    assert_eq!(rows(&hub.page(&cookie, "/?state=critical").await.body), 1);
    assert_eq!(rows(&hub.page(&cookie, "/?host=web-4&q=mount%3D%2F&page=1").await.body), 100);
    let none = hub.page(&cookie, "/?q=%25&page=99999999999").await;
    assert!(none.status == 200 && none.body.contains("Nothing matches"));
    hub.stop().await;
}

/// A plugin without an interval (cron, or lines as they come) is missed after three times the
/// longest time between its last runs.
#[tokio::test]
async fn a_plugin_without_interval_is_silent_by_its_own_measure() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    let stream = Stream::new();
    let hour = 3_600_000;
    // Every hour, and once after a pause of six.
    let starts = [-12, -11, -10, -4, -3, -2, -1, 0];
    let reports = starts.iter().zip(1..).map(|(hours, seq)| {
        let mut one = report(seq, NOW + hours * hour, used(1.0));
        one["interval"] = json!(null);
        one
    });
    hub.take(&stream.batch(reports.collect())).await;
    let silent = async |hours: i64| {
        hub.time.store(NOW + hours * hour, Ordering::Relaxed);
        let overview = hub.page(&cookie, "/").await.body.contains(">silent</span>");
        let page = hub.page(&cookie, "/plugin?host=web-1&plugin=disk").await.body;
        assert_eq!(overview, page.contains(">silent</span>"), "both pages say the same");
        overview
    };
    assert!(!silent(2).await);
    assert!(!silent(17).await);
    assert!(silent(19).await);
    hub.stop().await;
}

#[tokio::test]
async fn a_plugins_page_shows_its_contract_and_knows_when_it_is_late() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    let page = "/plugin?host=web-1&plugin=disk";
    let asked = "/api/v1/contract?host=web-1&plugin=disk";
    let stream = Stream::new();
    let cron = |seq| {
        let mut report = report(seq, NOW, used(1.0));
        report["interval"] = json!(null);
        report
    };
    hub.take(&stream.batch(vec![cron(1)])).await;
    assert_eq!(hub.get(asked).await.json()["code"], "contract-unknown");
    assert!(hub.page(&cookie, page).await.body.contains("Nothing is declared in the hub"));

    let mut told = cron(2);
    told["contract"] = json!({
        "metrics": {"disk_used": {"type": "percent", "label": HOSTILE, "required": true, "warn": 80.5, "crit": "@~:5"}},
        "omitted": 3, "strict": true, "schema": true, "cron": "0 * * * *", "pause": 3600.0, "timeout": 30.0,
    });
    hub.take(&stream.batch(vec![told.clone(), cron(3)])).await;
    let answered = hub.get(asked).await.json();
    assert_eq!(answered["contract"], told["contract"]);
    let shown = hub.page(&cookie, page).await.body;
    for words in
        ["required", "@~:5", "by <code>0 * * * *</code>", "And 3 more", "refused", "checked"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains("<script>alert"));

    // Three hours and a little are too long for what is due each hour.
    for (after, silent) in [(3 * 3_600_000, false), (60_000, true)] {
        hub.time.fetch_add(after, Ordering::Relaxed);
        for path in [page, "/"] {
            let shown = hub.page(&cookie, path).await.body;
            assert_eq!(
                shown.contains("No report for") || shown.contains("badge silent"),
                silent,
                "{path}"
            );
        }
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_zone_that_was_chosen_holds_without_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    hub.take(&Stream::new().batch(vec![report(1, NOW, used(1.0))])).await;
    let path = "/plugin?host=web-1&plugin=disk";
    assert!(hub.page(&cookie, path).await.body.contains("title=\"2026-11-22 20:42:10 UTC\""));

    let chooser = hub.page(&cookie, "/zone").await.body;
    let token = chooser.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let choose = |zone: &str| {
        hub.request("POST", "/zone")
            .header("cookie", &cookie)
            .header("origin", hub.url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("form={token}&zone={zone}"))
    };
    assert!(chooser.contains("<option value=\"Europe/Madrid\""));
    assert_eq!(answer(choose("Mars/Olympus")).await.status, 422);
    let chosen = answer(choose("Europe/Madrid")).await;
    assert_eq!(chosen.status, 303);
    let kept = chosen.header("set-cookie").split(';').next().unwrap();
    let both = format!("{cookie}; {kept}");

    for (cookie, path) in [(&both, path), (&cookie, &format!("{path}&zone=Europe/Madrid"))] {
        let page = hub.page(cookie, path).await.body;
        assert!(page.contains("title=\"2026-11-22 21:42:10 Europe/Madrid\""), "{page}");
        assert!(page.contains("datetime=\"2026-11-22T20:42:10.000Z\""));
        assert!(page.contains("id=\"zone\">Europe/Madrid<"));
        // The axis has the hours of the zone, and what is typed is one of its times.
        assert!(page.contains(">21:30<") && !page.contains(">20:30<"));
        assert!(page.contains("value=\"2026-11-22T21:42\""));
    }
    let asked = format!("{path}&from=2026-11-22T21:00&to=2026-11-22T22:00");
    let from = NOW - 42 * 60_000 - 10_000;
    let drawn = format!("data-from=\"{from}\"");
    assert!(hub.page(&both, &asked).await.body.contains(&drawn));
    assert!(!hub.page(&cookie, &asked).await.body.contains(&drawn));
    hub.stop().await;
}
