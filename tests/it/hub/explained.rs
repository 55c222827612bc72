//! What the pages of problems show: requests that have this answer, and requests that have not.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::Ordering;

use serde_json::json;
use talaia::contract::explain::{self, Kind, Page};
use talaia::model::{RunId, Secret, Signing};

use super::packages::{GOOD, archive};
use super::support::*;

/// A request as a page shows it: `METHOD PATH BODY`, then headers.
struct Shown<'a> {
    method: &'a str,
    path: &'a str,
    body: &'a str,
    headers: Vec<(&'a str, &'a str)>,
}

/// Several requests, each from the line that begins with a method.
fn requests(text: &str) -> Vec<Shown<'_>> {
    let mut all: Vec<Shown<'_>> = Vec::new();
    for line in text.lines() {
        let (first, rest) = line.split_once(' ').unwrap();
        if let Some(name) = first.strip_suffix(':') {
            all.last_mut().unwrap().headers.push((name, rest));
        } else {
            let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
            all.push(Shown { method: first, path, body, headers: Vec::new() });
        }
    }
    all
}

/// A hub, and what stands for something on the pages.
struct Stage {
    hub: Running,
    names: BTreeMap<String, String>,
    /// Headers that the page is about: nobody adds those.
    about: Vec<&'static str>,
}

impl Stage {
    /// A word of a page, or what it stands for.
    fn meant(&self, text: &str) -> String {
        // Longer words first: some have others in them.
        let mut names: Vec<_> = self.names.iter().collect();
        names.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        names.iter().fold(text.to_owned(), |text, (word, meant)| text.replace(*word, meant))
    }

    /// The header of a signed request whose parts are named.
    fn signed(&self, shown: &Shown<'_>, header: &str) -> Option<String> {
        let rest = header.strip_prefix("HMAC-SHA256 key=API_KEY,time=")?;
        let days = match rest.strip_suffix(",nonce=NONCE,body=BODY,signature=SIGNATURE") {
            Some("NOW") => 0,
            Some("YESTERDAY") => 1,
            _ => panic!("{header}"),
        };
        let signing = Signing {
            api_key: self.hub.credentials.api_key.clone(),
            time: NOW / 1000 - days * 24 * 3600,
            nonce: RunId::new().to_string(),
            body: Signing::digest(shown.body.as_bytes()),
        };
        let secret = Secret::new(self.hub.credentials.secret_key.as_str());
        Some(signing.authorization(&secret, shown.method, shown.path))
    }

    /// The file that `@…` names.
    fn file(name: &str) -> Vec<u8> {
        let batch = |n: u64| {
            let mut reports: Vec<_> = (1..=n).map(|seq| report(seq, NOW, used(1.0))).collect();
            reports[0]["contract"] =
                json!({"metrics": {}, "strict": false, "schema": false, "timeout": 10});
            Stream::new().batch(reports).to_string().into_bytes()
        };
        match name {
            "@batch.json" => batch(1),
            "@batch.json.gz" => {
                let level = flate2::Compression::fast();
                let mut packed = flate2::write::GzEncoder::new(Vec::new(), level);
                packed.write_all(&batch(1)).unwrap();
                packed.finish().unwrap()
            }
            "@1000-reports.json" => batch(1000),
            "@1001-reports.json" => batch(1001),
            "@web-check.sh" => GOOD.as_bytes().to_vec(),
            "@web-check-0.1.0.zip" => archive("0.1.0", GOOD),
            _ => panic!("no page has {name}"),
        }
    }

    async fn send(&self, shown: &Shown<'_>) -> Answer {
        let mut request = self.hub.request(shown.method, shown.path);
        let mut add = |name: &str, value: &str| {
            request = request.try_clone().unwrap().header(name, value);
        };
        for (name, value) in &shown.headers {
            add(name, &self.signed(shown, value).unwrap_or_else(|| self.meant(value)));
        }
        if !self.about.contains(&"Authorization") && !self.about.contains(&"Origin") {
            add("Authorization", &format!("Bearer {}", self.hub.credentials.key));
        }
        if !shown.body.is_empty() && !self.about.contains(&"Content-Type") {
            let zip = shown.method == "PUT";
            add("Content-Type", if zip { "application/zip" } else { "application/json" });
        }
        let body = match shown.body {
            file if file.starts_with('@') => Self::file(file),
            text => self.meant(text).into_bytes(),
        };
        answer(request.body(body)).await
    }

    /// Sends all, and gives the last answer.
    async fn send_all(&self, text: &str) -> Answer {
        let mut last = None;
        for shown in requests(text) {
            last = Some(self.send(&shown).await);
        }
        last.unwrap()
    }

    /// What was asked before. A key that is made then has a name of its own.
    async fn set(&mut self, settings: &str) {
        for line in settings.lines() {
            if line == "(two days go by)" {
                self.hub.time.fetch_add(2 * 24 * 3_600_000, Ordering::Relaxed);
                continue;
            }
            let before = std::mem::take(&mut self.about);
            let answer = self.send_all(line).await;
            self.about = before;
            assert!(answer.status < 300, "{line}: {}", answer.body);
            if line.starts_with("POST /api/v1/keys ") {
                let key = answer.json();
                let name = key["name"].as_str().unwrap().to_uppercase().replace('-', "_");
                self.names
                    .insert(format!("KEY_OF_{name}"), key["key"].as_str().unwrap().to_owned());
            }
        }
    }
}

#[tokio::test]
async fn requests_that_pages_show_are_answered_as_they_say() {
    let mut seen = 0;
    for page in explain::pages().iter().filter(|page| page.kind == Kind::Problem) {
        let Page { code, settings, .. } = *page;
        let (Some(wrong), Some(right)) = (page.wrong, page.right) else { continue };
        let (wrong, right) = (wrong.to_string(), right.to_string());
        let folder = tempfile::tempdir().unwrap();
        let hub = start(folder.path()).await;
        let names = [
            ("KEY", hub.credentials.key.clone()),
            ("KEY_OF_ANOTHER_HUB", "tlk_0123456789abcdef0123456789abcdef".to_owned()),
            ("SESSION", hub.log_in().await),
            ("THE_HUB", hub.url.clone()),
            ("TOMORROW", stamp(NOW + 24 * 3_600_000)),
        ];
        let names = names.into_iter().map(|(word, meant)| (word.to_owned(), meant)).collect();
        let all = wrong.clone() + &right;
        let about = ["Authorization", "Content-Type", "Origin"]
            .into_iter()
            .filter(|name| all.contains(&format!("\n{name}: ")))
            .collect();
        let mut stage = Stage { hub, names, about };
        if let Some(settings) = settings {
            stage.set(settings).await;
        }
        let answer = stage.send_all(&wrong).await;
        assert_eq!(answer.json()["code"], code, "{wrong}: {}", answer.body);
        let answer = stage.send_all(&right).await;
        assert!((200..400).contains(&answer.status), "{code}: {right}: {}", answer.body);
        stage.hub.stop().await;
        seen += 1;
    }
    assert!(seen > 25);
}
