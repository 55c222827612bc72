//! The pages of monitors: reports, forms, and getting rid of unused ones.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use talaia::hub::{Clock, make_login_link};

use super::support::*;

/// The token that forms of this session carry.
async fn form_of(hub: &Running, cookie: &str) -> String {
    let page = hub.page(cookie, "/keys").await.body;
    page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

async fn sent(hub: &Running, cookie: &str, path: &str, body: &str) -> Answer {
    let request = hub
        .request("POST", path)
        .header("cookie", cookie)
        .header("origin", hub.url.clone())
        .header("content-type", "application/x-www-form-urlencoded");
    answer(request.body(format!("form={}&{body}", form_of(hub, cookie).await))).await
}

/// Makes a monitor and posts to it.
async fn posted(hub: &Running, monitor: Value, results: Value) -> String {
    let post = |path: String, body: Value| {
        let request = hub.request("POST", &path).bearer_auth(&hub.credentials.key);
        answer(request.header("content-type", "application/json").body(body.to_string()))
    };
    let made = post("/api/v1/monitors".to_owned(), monitor).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.json()["id"].to_string();
    let posted = post(format!("/api/v1/monitors/{id}/results"), json!({"results": results})).await;
    assert_eq!(posted.status, 200, "{}", posted.body);
    id
}

#[tokio::test]
async fn results_are_drawn_together_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    let monitor = json!({"name": "door", "metrics": [{"name": "n", "type": "integer"}]});
    let result = |time: &str, n: i64| json!({"time": time, "values": {"n": n}});
    let results = json!([
        result("2026-11-20T10:01:00Z", 1),
        result("2026-11-20T10:59:00Z", 4),
        result("2026-11-20T11:00:00Z", 40),
        result("2026-11-22T00:00:00Z", 7),
    ]);
    let id = posted(&hub, monitor, results).await;
    let rows = async |query: &str| -> Vec<(String, String)> {
        let page = hub.page(&cookie, &format!("/monitor/{id}/report{query}")).await;
        assert_eq!(page.status, 200, "{query}: {}", page.body);
        let cell = |text: &str| text.split('<').next().unwrap().to_owned();
        let body = page.body.split("<tbody>").nth(1).unwrap_or_default();
        let body = body.split("</tbody>").next().unwrap();
        let row = |row: &str| {
            let began = row.split("<th scope=\"row\">").nth(1).map(cell).unwrap();
            (began, row.split("<td").nth(1).unwrap().split('>').nth(1).map(cell).unwrap())
        };
        body.split("<tr>").skip(1).map(row).collect()
    };
    let pairs = |rows: &[(&str, &str)]| -> Vec<(String, String)> {
        rows.iter().map(|(began, n)| ((*began).to_owned(), (*n).to_owned())).collect()
    };
    let hours =
        [("2026-11-20 10:00", "2.5"), ("2026-11-20 11:00", "40"), ("2026-11-22 00:00", "7")];
    assert_eq!(rows("").await, pairs(&hours));
    assert_eq!(rows("?interval=week&how=mean&from=x&after=y").await, pairs(&hours));
    let days = [("2026-11-20", "45"), ("2026-11-22", "7")];
    assert_eq!(rows("?interval=day&how=sum").await, pairs(&days));
    let one = "?from=2026-11-20&to=2026-11-20&interval=hour&how=max";
    assert_eq!(rows(one).await, pairs(&[("2026-11-20 10:00", "4"), ("2026-11-20 11:00", "40")]));
    assert!(rows("?from=2026-11-21&to=2026-11-21").await.is_empty());
    let page = hub.page(&cookie, &format!("/monitor/{id}")).await.body;
    assert!(page.contains(&format!("href=\"/monitor/{id}/report\"")), "{page}");
    hub.stop().await;
}

#[tokio::test]
async fn a_report_of_many_intervals_goes_on_where_a_page_ends() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    let results: Vec<_> = (0..250)
        .map(|hour| json!({"time": NOW - (249 - hour) * 3_600_000, "values": {"n": hour}}))
        .collect();
    let id = posted(&hub, json!({"name": "door"}), json!(results)).await;
    let first = hub.page(&cookie, &format!("/monitor/{id}/report?from=2026-11-01")).await.body;
    assert!(first.contains("200 rows here"), "{first}");
    let next = first.split("rel=\"next\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let second = hub.page(&cookie, &next.replace("&amp;", "&")).await.body;
    assert!(second.contains("50 rows here") && second.contains("← From the start"), "{second}");
    hub.stop().await;
}

#[tokio::test]
async fn unused_monitors_go_when_their_number_is_typed() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let made = |name: &str| {
        let results = json!([{"values": {"n": 1}}]);
        posted(&hub, json!({"name": name}), results)
    };
    let (old, older) = (made("old").await, made("older").await);
    hub.time.fetch_add(40 * 86_400_000, Ordering::Relaxed);
    // The session has ended by then.
    let then = Clock::from_fn(|| NOW + 40 * 86_400_000);
    let link = make_login_link(folder.path(), "local", &then).unwrap();
    let begun = answer(hub.request("POST", link.strip_prefix(&hub.url).unwrap())).await;
    let cookie = begun.header("set-cookie").split(';').next().unwrap().to_owned();
    made("young").await;
    let path = "/monitors/unused";
    let page = hub.page(&cookie, path).await.body;
    assert!(page.contains(">old<") && page.contains(">older<") && !page.contains(">young<"));
    assert!(page.contains("Remove 2 monitors?"), "{page}");
    let never = hub.page(&cookie, "/monitors/unused?days=90").await.body;
    assert!(never.contains("in the last 90 days") && !never.contains("Remove"), "{never}");

    let since = page.split("name=\"since\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let ids = format!("days=30&since={since}&id={old}&id={older}");
    for wrong in ["", "&count=", "&count=1", "&count=3"] {
        let refused = sent(&hub, &cookie, path, &format!("{ids}{wrong}")).await;
        assert!(refused.status == 422 && refused.body.contains("nothing was removed"), "{wrong}");
    }
    // One is heard of after the page was looked at.
    let again = json!({"values": {"n": 2}}).to_string();
    let request = hub.request("POST", &format!("/api/v1/monitors/{old}/results"));
    let request =
        request.bearer_auth(&hub.credentials.key).header("content-type", "application/json");
    assert_eq!(answer(request.body(again)).await.status, 200);
    let gone = sent(&hub, &cookie, path, &format!("{ids}&count=2")).await;
    assert_eq!((gone.status, gone.header("location")), (303, "/monitors/unused?days=30"));
    let left = hub.page(&cookie, "/monitors").await.body;
    assert!(left.contains(">old<") && left.contains(">young<") && !left.contains(">older<"));
    hub.stop().await;
}

#[tokio::test]
async fn the_form_declares_additional_results() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    let made = "name=door&m_name=n&m_kind=integer&a_name=who&a_kind=string&a_values=ann,%20ben";
    let made = sent(&hub, &cookie, "/monitors/new", made).await;
    assert_eq!(made.status, 303, "{}", made.body);
    let declared = async || hub.get("/api/v1/monitors/door").await.json()["additional"].clone();
    assert_eq!(declared().await[0]["values"], json!(["ann", "ben"]));
    let edit = format!("{}/edit", made.header("location"));
    let page = hub.page(&cookie, &edit).await.body;
    assert!(page.contains("name=\"a_name\" value=\"who\""), "{page}");
    let body =
        "name=door&kind=custom&m_name=n&m_kind=integer&a_name=whose&a_kind=string&a_aggregation=";
    let edited = sent(&hub, &cookie, &edit, body).await;
    assert_eq!(edited.status, 303, "{}", edited.body);
    assert_eq!(declared().await[0]["name"], "whose");
    assert_eq!(hub.get("/api/v1/monitors/door").await.json()["metrics"][0]["name"], "n");
    hub.stop().await;
}

#[tokio::test]
async fn a_page_of_long_additional_results_stays_small() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let cookie = hub.log_in().await;
    let detail = "x".repeat(60_000);
    let results: Vec<_> = (0..20)
        .map(|nth| json!({"time": NOW - nth, "values": {"n": 1}, "additional": [{"d": detail}]}))
        .collect();
    let id = posted(&hub, json!({"name": "door"}), json!(results)).await;
    let page = hub.page(&cookie, &format!("/monitor/{id}")).await.body;
    assert!(page.len() < 512 << 10, "{} bytes", page.len());
    assert!(page.contains("The first 5 check times."), "it says that there are more");
    hub.stop().await;
}
