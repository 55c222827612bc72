//! A real Chromium, driven by its own protocol over a pipe: clicks and keys as a person's.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Browser {
    child: Child,
    input: ChildStdin,
    heard: UnboundedReceiver<Value>,
    calls: u64,
    session: Option<String>,
    loads: u64,
    /// What the console said, and what the policy stopped.
    pub(super) complaints: Vec<String>,
    /// All addresses that pages asked for.
    pub(super) requests: Vec<String>,
    pub(super) downloads: PathBuf,
    _profile: tempfile::TempDir,
}

/// Where there is a browser.
pub(super) fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|program| program.is_file())
}

impl Browser {
    pub(super) async fn start(program: &Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let downloads = profile.path().join("downloads");
        // It reads orders from descriptor 3 and answers on 4; a shell puts them there.
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null"])
            .arg(program)
            .args([
                "--headless",
                "--remote-debugging-pipe",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--hide-scrollbars",
                "--force-prefers-reduced-motion",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if rustix::process::geteuid().is_root() {
            command.arg("--no-sandbox");
        }
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let (sender, heard) = unbounded_channel();
        std::thread::spawn(move || {
            let (mut bytes, mut piece) = (Vec::new(), vec![0; 1 << 16]);
            while let Ok(n @ 1..) = output.read(&mut piece) {
                for byte in &piece[..n] {
                    if *byte != 0 {
                        bytes.push(*byte);
                        continue;
                    }
                    let message = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
                    bytes.clear();
                    if sender.send(message).is_err() {
                        return;
                    }
                }
            }
        });
        let mut browser = Self {
            child,
            input,
            heard,
            calls: 0,
            session: None,
            loads: 0,
            complaints: Vec::new(),
            requests: Vec::new(),
            downloads,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"})).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach).await;
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        let allow = json!({"behavior": "allow", "downloadPath": browser.downloads});
        browser.call("Browser.setDownloadBehavior", allow).await;
        browser
    }

    /// Sends an order and waits for its answer.
    pub(super) async fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let mut order = json!({"id": id, "method": method, "params": params});
        if let Some(session) = self.session.as_ref().filter(|_| !method.starts_with("Browser.")) {
            order["sessionId"] = json!(session);
        }
        let mut bytes = order.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).unwrap();
        loop {
            let heard = timeout(PATIENCE, self.heard.recv()).await;
            let message = heard.unwrap_or_else(|_| panic!("no answer to {order}"));
            let message = message.unwrap_or_else(|| panic!("the browser is gone at {order}"));
            if message["id"] == id {
                assert!(message.get("error").is_none(), "{order}: {message}");
                return message["result"].clone();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Page.loadEventFired" => self.loads += 1,
            "Network.requestWillBeSent" => {
                self.requests.push(params["request"]["url"].as_str().unwrap().to_owned());
            }
            "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" => {
                self.complaints.push(params.to_string());
            }
            "Log.entryAdded" => self.complaints.push(params["entry"].to_string()),
            _ => {}
        }
    }

    /// Opens a page and waits until it is there.
    pub(super) async fn open(&mut self, url: &str) {
        let before = self.loads;
        let begun = self.call("Page.navigate", json!({"url": url})).await;
        assert!(begun.get("errorText").is_none(), "{url}: {begun}");
        self.loaded(before).await;
    }

    /// Does what leads to another page, and waits for that.
    async fn loaded(&mut self, before: u64) {
        while self.loads == before {
            let heard = timeout(PATIENCE, self.heard.recv()).await;
            let event = heard.expect("the page did not load").expect("the browser is gone");
            self.note(&event);
        }
    }

    /// The value of an expression in the page.
    pub(super) async fn eval(&mut self, expression: &str) -> Value {
        let ask = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", ask).await;
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    pub(super) async fn text(&mut self, expression: &str) -> String {
        let value = self.eval(expression).await;
        value.as_str().unwrap_or_else(|| panic!("{expression}: {value}")).to_owned()
    }

    /// Waits until an expression is true.
    pub(super) async fn until(&mut self, expression: &str) {
        let until = Instant::now() + PATIENCE;
        while self.eval(expression).await != json!(true) {
            if Instant::now() > until {
                let page = self.eval("document.body.innerText").await;
                panic!("never so: {expression}\n{}", page.as_str().unwrap_or_default());
            }
            sleep(Duration::from_millis(30)).await;
        }
    }

    /// Clicks into the middle of the first element of a selector, as a hand does.
    pub(super) async fn click(&mut self, selector: &str) {
        let place = format!(
            "(() => {{ const e = document.querySelector({selector:?}); if (!e) return null;
                e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect();
                const [x, y] = [b.left + b.width / 2, b.top + b.height / 2];
                const hit = document.elementFromPoint(x, y);
                return hit && (e.contains(hit) || hit.contains(e)) ? [x, y] : [hit?.outerHTML ?? 'nothing']; }})()"
        );
        let at = self.eval(&place).await;
        let (Some(x), Some(y)) = (at[0].as_f64(), at[1].as_f64()) else {
            let page = self.text("document.body.innerText").await;
            panic!("cannot click {selector}: {at}\n{page}");
        };
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Clicks what leads to another page.
    pub(super) async fn follow(&mut self, selector: &str) {
        let before = self.loads;
        self.click(selector).await;
        self.loaded(before).await;
    }

    /// Types into a field.
    pub(super) async fn write(&mut self, selector: &str, text: &str) {
        self.click(selector).await;
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// Chooses a file in a field for one.
    pub(super) async fn choose(&mut self, selector: &str, file: &Path) {
        let ask = json!({"expression": format!("document.querySelector({selector:?})")});
        let field = self.call("Runtime.evaluate", ask).await;
        let chosen = json!({"files": [file], "objectId": field["result"]["objectId"]});
        self.call("DOM.setFileInputFiles", chosen).await;
    }

    /// Presses a key that is not a letter.
    pub(super) async fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            other => panic!("no code for {other}"),
        };
        let mut event =
            json!({"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code});
        if key == "Enter" {
            event["text"] = json!("\r");
        }
        self.call("Input.dispatchKeyEvent", event.clone()).await;
        event["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", event).await;
    }

    /// Presses Enter where that leads to another page.
    pub(super) async fn enter(&mut self) {
        let before = self.loads;
        self.press("Enter").await;
        self.loaded(before).await;
    }

    pub(super) async fn screen(&mut self, width: u32, height: u32, scheme: &str) {
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700});
        self.call("Emulation.setDeviceMetricsOverride", screen).await;
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", media).await;
    }

    /// A picture of the whole page, as PNG in base64.
    pub(super) async fn picture(&mut self) -> String {
        let metrics = self.call("Page.getLayoutMetrics", json!({})).await;
        let size = &metrics["cssContentSize"];
        let clip =
            json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let ask = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let answer = self.call("Page.captureScreenshot", ask).await;
        answer["data"].as_str().unwrap().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helpers are of its group, which nobody else is in.
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            let _gone = kill_process_group(group, Signal::KILL);
        }
        let _reaped = self.child.wait();
    }
}
