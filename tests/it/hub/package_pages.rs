//! Packages by their pages: from a name to what is given out, and what a page makes of hostile ones.

use serde_json::{Value, json};
use talaia::hub::{Clock, create_account, make_login_link};

use super::packages::{GOOD, NAME, archive, at, packed};
use super::support::*;

const BOUNDARY: &str = "----a-form";

/// The session's token, as the forms of a page have it.
fn token(page: &str) -> String {
    page.split("name=\"form\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

fn form(token: &str, archive: &[u8]) -> Vec<u8> {
    let mut body = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"form\"\r\n\r\n{token}\r\n\
         --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"archive\"; filename=\"a.zip\"\r\n\
         Content-Type: application/zip\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(archive);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// Somebody who is logged in.
struct Person<'h> {
    hub: &'h Running,
    cookie: String,
    token: String,
}

impl<'h> Person<'h> {
    async fn at(hub: &'h Running, cookie: String) -> Self {
        let token = token(&hub.page(&cookie, "/publish").await.body);
        Self { hub, cookie, token }
    }

    async fn sees(&self, path: &str) -> Answer {
        self.hub.page(&self.cookie, path).await
    }

    fn sending(&self, path: &str) -> reqwest::RequestBuilder {
        let request = self.hub.request("POST", path).header("cookie", &self.cookie);
        request.header("origin", self.hub.url.clone())
    }

    async fn sends(&self, path: &str, fields: &str) -> Answer {
        let request =
            self.sending(path).header("content-type", "application/x-www-form-urlencoded");
        answer(request.body(format!("form={}&{fields}", self.token))).await
    }

    async fn uploads(&self, archive: &[u8]) -> Answer {
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let request = self.sending("/publish/archive").header("content-type", kind);
        answer(request.body(form(&self.token, archive))).await
    }

    /// The archive that a page shows.
    async fn sha256(&self, page: &str) -> String {
        let page = self.sees(page).await.body;
        let (_, rest) = page.split_once("name=\"sha256\" value=\"").unwrap();
        rest[..64].to_owned()
    }

    /// Sends a form about what its page shows.
    async fn decides(&self, page: &str, fields: &str) -> Answer {
        self.sends(page, &format!("{fields}&sha256={}", self.sha256(page).await)).await
    }
}

/// The text of a page holds all of these, and none of those.
fn holds(page: &Answer, all: &[&str], none: &[&str]) {
    for text in all {
        assert!(page.body.contains(text), "{text} is not in {}", page.body);
    }
    for text in none {
        assert!(!page.body.contains(text), "{text} is in {}", page.body);
    }
}

#[tokio::test]
async fn a_package_goes_from_a_form_to_what_is_given_out() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let me = Person::at(&hub, hub.log_in().await).await;
    holds(
        &me.sees("/packages").await,
        &["There is no package yet", "talaia plugin publish"],
        &["wait"],
    );
    let bad = me.sends("/publish", "name=Web%20Check&description=x&category=web").await;
    assert_eq!(bad.status, 422);
    holds(&bad, &["is not a package name", "value=\"Web Check\"", "value=\"web\" selected"], &[]);
    let made = me.sends("/publish", "name=web-check&description=Sites&category=web").await;
    assert_eq!(made.status, 200, "{}", made.body);
    holds(&made, &["web-check is registered", "id=\"secret\"", "talaia new web-check"], &[]);
    let again = me.sends("/publish", "name=web-check").await;
    holds(&again, &["web-check is registered already"], &[]);

    let page = "/packages/web-check/0.1.0";
    assert_eq!(me.sees(page).await.status, 404);
    let sent = me.uploads(&archive("0.1.0", "no first line\n")).await;
    assert_eq!((sent.status, sent.header("location")), (303, page), "{}", sent.body);
    let shown = me.sees(page).await;
    holds(
        &shown,
        &[
            "What has errors is not submitted",
            "file?path=bin%2Flook#L1",
            "It has errors",
            "Site answers",
            "every 30s",
            "rel=\"noreferrer\"",
            "<pre># web-check",
            "No version was approved before it",
        ],
        &["Submit for review", "Approve"],
    );
    assert_eq!(me.sends(page, "do=submit").await.status, 409);
    me.uploads(&archive("0.1.0", GOOD)).await;
    holds(&me.sees(page).await, &["Submit for review"], &["Approve and give out"]);
    assert_eq!(me.sends(page, "do=submit").await.status, 303);
    holds(&me.sees("/packages").await, &["One version waits", ">submitted<"], &[]);
    assert_eq!(me.sends(page, "do=review").await.status, 303);
    holds(
        &me.sees(page).await,
        &["in review", "Approve and give out", "--run"],
        &["Take it into review"],
    );
    let none = me.decides(page, "do=reject&reason=+").await;
    assert_eq!(none.status, 422);
    holds(&none, &["role=\"alert\"", "say what the author is to do"], &[]);
    let approval = format!("do=approve&sha256={}", me.sha256(page).await);
    assert_eq!(me.decides(page, "do=reject&reason=web_time+has%0Ano+%3Cunit%3E").await.status, 303);
    for path in ["/packages", page] {
        holds(&me.sees(path).await, &["web_time has\nno &lt;unit&gt;", "rejected"], &["<unit>"]);
    }
    holds(&me.sees("/packages").await, &["Decided on yours"], &["One version waits"]);

    // Mended, it goes through.
    me.uploads(&archive("0.1.0", "#!/bin/sh\necho '[1]'\n")).await;
    me.sends(page, "do=submit").await;
    assert_eq!(me.sends(page, &approval).await.status, 409, "of what it was before");
    assert_eq!(me.sends(page, "do=approve").await.status, 409, "of nothing that was seen");
    assert_eq!(me.decides(page, "do=approve").await.status, 303);
    holds(&me.sees(page).await, &["badge ok\">approved", "Withdraw it"], &["Submit for review"]);
    let file = answer(hub.request("GET", "/plugins/download/web-check-0.1.0.zip")).await;
    assert_eq!(file.status, 200);
    let fingerprint = hub.get("/api/v1/registry").await.json()["fingerprint"].clone();
    let trust = format!("--trust {}", fingerprint.as_str().unwrap());
    let url = format!("--registry {}/plugins", hub.url);
    holds(&me.sees("/packages/web-check").await, &[&trust, &url, "Its plugin key"], &[]);
    holds(
        &me.sees("/packages").await,
        &[fingerprint.as_str().unwrap(), "badge ok\">approved"],
        &[],
    );
    assert_eq!(me.uploads(&archive("0.1.0", GOOD)).await.status, 409);

    // The next one shows what changed, and against what one asks.
    me.uploads(&archive("0.2.0", "#!/bin/sh\necho '[2]'\n")).await;
    let next = "/packages/web-check/0.2.0";
    let lines = [
        "since 0.1.0",
        "<span class=\"del\">-echo '[1]'</span>",
        "<span class=\"add\">+echo '[2]'</span>",
    ];
    holds(&me.sees(next).await, &lines, &["style="]);
    holds(&me.sees(&format!("{next}?against=0.1.0")).await, &lines, &[]);
    me.sends(next, "do=submit").await;
    hub.well("PUT", &at("0.2.0", "/trial"), json!({"user": "nobody", "runs": 2, "findings": []}))
        .await;
    holds(&me.sees(next).await, &["2 runs as nobody"], &[]);
    hub.well("PUT", &at("0.2.0", "/trial"), json!({"else": "<b>"})).await;
    holds(&me.sees(next).await, &["&quot;else&quot;: &quot;&lt;b&gt;&quot;"], &[]);
    assert_eq!(me.sends(next, "do=withdraw").await.status, 303);
    holds(&me.sees(next).await, &[">withdrawn<"], &["What now"]);
    assert_eq!(me.sends("/packages", "do=rotate").await.header("location"), "/packages#registry");
    holds(&me.sees("/packages").await, &["1 time"], &[fingerprint.as_str().unwrap()]);
    let log = hub.get("/api/v1/audit?action=package.reject").await.json();
    assert_eq!(log["items"][0]["actor"], "session");
    hub.stop().await;
}

#[tokio::test]
async fn forms_of_packages_are_taken_from_our_own_pages_only() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    hub.handed_in("0.1.0").await;
    let me = Person::at(&hub, hub.log_in().await).await;
    let guess = Person { hub: &hub, cookie: me.cookie.clone(), token: "guess".to_owned() };
    let page = "/packages/web-check/0.1.0";
    for (path, fields) in [
        ("/publish", "name=a"),
        ("/packages", "do=rotate"),
        (page, "do=approve"),
        (page, "do=withdraw"),
    ] {
        assert_eq!(guess.sends(path, fields).await.status, 403, "{path} {fields}");
        let kind = "application/x-www-form-urlencoded";
        let foreign =
            hub.request("POST", path).header("cookie", &me.cookie).header("content-type", kind);
        let foreign = foreign.header("origin", "http://evil.example");
        let body = format!("form={}&{fields}", me.token);
        assert_eq!(answer(foreign.body(body.clone())).await.status, 403, "{path} {fields}");
        let stranger = hub.request("POST", path).header("content-type", kind).body(body);
        assert_eq!(answer(stranger).await.status, 401, "{path} {fields}");
    }
    let refused = guess.uploads(&archive("0.2.0", GOOD)).await;
    assert_eq!(refused.status, 403);
    // The token has to come before the archive, so that no stranger's is read.
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let bare = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"archive\"; filename=\"a\"\r\n\r\nx\r\n--{BOUNDARY}--\r\n"
    );
    let bare = me.sending("/publish/archive").header("content-type", kind).body(bare);
    assert_eq!(answer(bare).await.status, 403);
    let other = me.sends("/publish/archive", "archive=x").await;
    assert_eq!(other.status, 400, "{}", other.body);
    let (all, state) = (hub.get("/api/v1/packages").await.json(), "/items/0/versions/0/state");
    assert_eq!(all.pointer(state), Some(&json!("submitted")));
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
    assert_eq!(all["items"][0]["versions"].as_array().unwrap().len(), 1);

    for (sent, status, why) in [
        (b"".to_vec(), 422, "choose an archive"),
        (b"no zip".to_vec(), 422, "the archive is not taken"),
        (packed(NAME, "name = 'web-check'", &[]), 422, "its manifest cannot be read"),
        (vec![0; 17 << 20], 413, "16 MiB"),
    ] {
        let told = me.uploads(&sent).await;
        assert_eq!(told.status, status, "{why}: {}", told.body);
        holds(&told, &["role=\"alert\"", why], &[]);
    }
    hub.stop().await;
}

#[tokio::test]
async fn what_a_package_says_is_text() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let me = Person::at(&hub, hub.log_in().await).await;
    let mark = "</pre><script>alert(1)</script>";
    let manifest = format!(
        "name = '{NAME}'\nversion = '0.1.0'\ndescription = '{mark}'\nauthors = ['{mark}']\nlicense = 'MIT'\n\
         category = 'web'\n[commands.look]\ncommand = ['bin/look', '{mark}']\n\
         [commands.look.metrics.n]\ntype = 'integer'\nunit = '<b>'\nlabel = '{mark}'\n"
    );
    // What turns the direction of writing would show a reviewer something else than is run.
    let program = format!("#!/bin/sh\n# {mark} \u{202e}txet\u{202c}\necho '[]'\n");
    let odd = "a&b <i>.txt";
    let sent = me
        .uploads(&packed(
            NAME,
            &manifest,
            &[("bin/look", &program), (odd, mark), ("README.md", mark)],
        ))
        .await;
    assert_eq!(sent.status, 303, "{}", sent.body);
    let page = "/packages/web-check/0.1.0";
    let seen = [
        "/packages",
        "/packages/web-check",
        page,
        "/packages/web-check/0.1.0/file?path=bin%2Flook",
    ];
    for path in seen {
        let shown = me.sees(path).await;
        assert_eq!(shown.status, 200, "{path}");
        holds(&shown, &["&lt;script&gt;"], &["<script>", "<i>", "<b>", "\u{202e}", " style="]);
        assert!(shown.header("content-security-policy").contains("default-src 'none'"));
    }
    holds(&me.sees(seen[3]).await, &["\\u{202e}txet", "<span id=\"L3\">echo"], &[]);
    let link = "file?path=a%26b%20%3Ci%3E.txt";
    holds(&me.sees(page).await, &[link], &[]);
    let file = me.sees(&format!("{page}/{link}")).await;
    holds(&file, &["<h1 data-still=\"\">a&amp;b &lt;i&gt;.txt</h1>"], &["<script>"]);
    for path in ["x", "../hub.db", "/etc/passwd", ""] {
        let query = format!("{page}/file?path={path}");
        assert_eq!(me.sees(&query).await.status, 404, "{path}");
    }
    for path in ["/packages/Nothing", "/packages/web-check/one", "/packages/web-check/0.9.0"] {
        assert_eq!(me.sees(path).await.status, 404, "{path}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn another_account_sees_what_is_approved_and_decides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let clock = Clock::from_fn(|| NOW);
    create_account(folder.path(), "other", &clock).unwrap();
    let link = make_login_link(folder.path(), "other", &clock).unwrap();
    let begun = answer(hub.request("POST", link.strip_prefix(&hub.url).unwrap())).await;
    let cookie = begun.header("set-cookie").split(';').next().unwrap().to_owned();
    let other = Person::at(&hub, cookie).await;
    hub.handed_in("0.1.0").await;
    let page = "/packages/web-check/0.1.0";
    for path in ["/packages/web-check", page, &format!("{page}/file?path=README.md")] {
        assert_eq!(other.sees(path).await.status, 404, "{path}");
    }
    holds(
        &other.sees("/packages?state=submitted").await,
        &["No package has a version"],
        &[NAME, "waits"],
    );
    assert_eq!(other.sends(page, "do=approve").await.status, 404);
    let taken = other.sends("/publish", "name=web-check").await;
    assert_eq!(taken.status, 409);
    holds(&taken, &["taken by another account"], &[]);
    assert_eq!(other.sends("/packages", "do=rotate").await.status, 403);
    hub.well("POST", &at("0.1.0", "/approve"), Value::Null).await;
    holds(&other.sees(page).await, &["What it runs"], &["What now", "Withdraw"]);
    let shown = other.sees("/packages/web-check").await;
    holds(&shown, &["talaia plugin install"], &["Its plugin key", "Upload a version"]);
    assert_eq!(other.sends(page, "do=withdraw").await.status, 404);
    holds(&other.sees("/packages").await, &["SHA256:"], &["Rotate"]);
    hub.stop().await;
}
