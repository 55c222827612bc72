//! The pages in a real browser, with real clicks and keys.
//!
//! With `TALAIA_PICTURES=FOLDER` in the environment every page is also drawn there, light and dark,
//! wide and narrow, to be looked at.

mod cdp;
mod stage;

use std::time::Duration;

use serde_json::json;

use super::packages;
use super::support::*;
use crate::support::skip;
use cdp::{Browser, installed};

/// A browser that is logged in by the link, and a hub.
async fn logged_in() -> Option<(Browser, Running, tempfile::TempDir)> {
    let Some(program) = installed() else {
        skip("no Chromium is installed");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path()).await;
    let mut browser = Browser::start(&program).await;
    browser.call("Emulation.setTimezoneOverride", json!({"timezoneId": "Asia/Kathmandu"})).await;
    browser.screen(1440, 900, "light").await;
    browser.open(&hub.link.clone()).await;
    browser.follow("main button").await;
    assert_eq!(browser.text("location.pathname").await, "/");
    Some((browser, hub, folder))
}

/// Nothing went wrong in any page, and nothing was asked of anybody else.
fn is_quiet(browser: &Browser, hub: &Running) {
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
    // The browser's own little pictures, of a calendar in a field, are in itself.
    let own = |url: &str| url.starts_with(&hub.url) || url.starts_with("data:image/svg+xml");
    let foreign: Vec<&String> = browser.requests.iter().filter(|url| !own(url)).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

/// The article that Talaia grew from makes a monitor, lists it, updates it ten times, looks at it,
/// reads the day's results back, deletes it and lists again.
#[tokio::test]
async fn the_story_of_a_monitor() {
    let Some((mut browser, hub, _folder)) = logged_in().await else { return };
    browser.follow("nav a[href='/monitors']").await;
    browser.follow("a.button.main").await;
    browser.write("input[name=name]", "netstat_mon").await;
    browser.write("input[name=tags]", "network, seed").await;
    for (row, name, label) in [(1, "packets_in", "Packets in"), (2, "packets_out", "Packets out")] {
        let cell = |field: &str| format!(".grid tbody tr:nth-child({row}) [name={field}]");
        browser.write(&cell("m_name"), name).await;
        browser.write(&cell("m_label"), label).await;
        browser.write(&cell("m_unit"), "pps").await;
        // The type by keys: the list is focused from the field before it.
        browser.press("Tab").await;
        browser.press("ArrowDown").await;
        let kind = format!("document.querySelector({:?}).value", cell("m_kind"));
        assert_eq!(browser.text(&kind).await, "integer");
    }
    browser.follow("main form button.main").await;
    let path = browser.text("location.pathname").await;
    assert!(path.starts_with("/monitor/"), "{path}");
    assert_eq!(browser.text("document.querySelector('h1').innerText.trim()").await, "netstat_mon");

    for n in 1..=10 {
        hub.time.fetch_add(60_000, std::sync::atomic::Ordering::Relaxed);
        browser.write("input[name=v_packets_in]", &(100 + n * n).to_string()).await;
        browser.write("input[name=v_packets_out]", &(90 - n).to_string()).await;
        browser.follow("#add-s button").await;
    }
    // A person errs: nothing is stored, what was typed stays, and the page says what is wrong.
    browser.write("input[name=v_packets_in]", "many").await;
    browser.follow("#add-s button").await;
    browser.until("document.querySelector('[role=alert]').innerText.includes('packets_in')").await;
    assert_eq!(browser.text("document.querySelector('[name=v_packets_in]').value").await, "many");
    // That the browser notes the answer's status is as it should be.
    browser.complaints.retain(|text| !text.contains("status of 422"));

    let url = format!("{}{path}", hub.url);
    browser.open(&url).await;
    assert_eq!(browser.eval("document.querySelectorAll('.chart').length").await, 2);
    assert_eq!(browser.eval("document.querySelectorAll('.chart .dots').length").await, 2);
    let rows = "[...document.querySelectorAll('.results tbody tr')].map(tr => tr.innerText.replace(/\\s+/g, ' ').trim())";
    let rows = browser.eval(rows).await;
    // 20:42:10 in UTC is 02:27:10 in Kathmandu, and the first came a minute later.
    assert_eq!(rows[0], "02:28:10 101 89");
    assert_eq!(rows[9], "02:37:10 200 80");
    assert_eq!(rows.as_array().unwrap().len(), 10);

    browser.click(".downloads a[href*=csv]").await;
    let file = browser.downloads.join("netstat_mon-2026-11-22.csv");
    let mut text = String::new();
    for _ in 0..600 {
        text = std::fs::read_to_string(&file).unwrap_or_default();
        if text.lines().count() == 11 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(text.starts_with("time,packets_in,packets_out\n"), "{text}");
    assert!(text.ends_with(",200,80\n"), "{text}");

    browser.follow("a.button.danger").await;
    let said = browser.text("document.querySelector('main').innerText").await;
    assert!(said.contains("10 results with 20 values"), "{said}");
    browser.write("input[name=name]", "netstat").await;
    browser.follow("button.danger").await;
    assert!(browser.text("document.body.innerText").await.contains("nothing was deleted"));
    browser.complaints.retain(|text| !text.contains("status of 422"));
    browser.write("input[name=name]", "netstat_mon").await;
    browser.follow("button.danger").await;
    assert_eq!(browser.text("location.pathname").await, "/monitors");
    assert!(browser.text("document.body.innerText").await.contains("There is no monitor yet"));
    is_quiet(&browser, &hub);
    drop(browser);
    hub.stop().await;
}

/// What is wrong with a page as it stands, by what a browser makes of it: too wide, text too faint,
/// names twice, fields without names, tables without heads.
const FAULTS: &str = r#"(() => {
  const faults = [];
  if (document.documentElement.scrollWidth > innerWidth) {
    const wide = [...document.querySelectorAll("main *, header *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, nav"));
    faults.push(`wider than ${innerWidth}: ${wide.slice(0, 3).map((e) => e.outerHTML.slice(0, 80))}`);
  }
  const number = (text) => {
    const srgb = text.match(/^color\(srgb (.*)\)$/);
    const parts = (srgb ? srgb[1] : text).match(/[\d.]+/g).map(Number);
    const [r, g, b] = parts.slice(0, 3).map((x) => (srgb ? x * 255 : x));
    return [r, g, b, parts.length > 3 ? parts[3] : 1];
  };
  const over = (top, under) => [0, 1, 2].map((n) => top[n] * top[3] + under[n] * (1 - top[3])).concat(1);
  const ground = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) layers.push(number(getComputedStyle(at).backgroundColor));
    return layers.reduceRight((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const e = node.parentElement;
    if (!node.nodeValue.trim() || !e.checkVisibility() || e.closest("svg .on, title, desc, option")) continue;
    const style = getComputedStyle(e);
    const under = ground(e.closest("svg") ? e.closest("svg").parentElement : e);
    const ink = number(e.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(over(ink, under)), light(under)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) faults.push(`contrast ${contrast.toFixed(2)}: ${node.nodeValue.trim().slice(0, 40)} in ${e.outerHTML.slice(0, 80)}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) faults.push(`twice the id ${id}`);
  for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    if (!field.labels?.length && !field.ariaLabel) faults.push(`no label: ${field.outerHTML.slice(0, 80)}`);
  }
  for (const e of document.querySelectorAll("[aria-labelledby]")) {
    for (const id of e.getAttribute("aria-labelledby").split(" ")) if (!document.getElementById(id)) faults.push(`no ${id} for ${e.outerHTML.slice(0, 60)}`);
  }
  for (const th of document.querySelectorAll("th:not([scope])")) faults.push(`no scope: ${th.outerHTML}`);
  for (const link of document.querySelectorAll("a, button, summary")) {
    if (!link.textContent.trim()) faults.push(`says nothing: ${link.outerHTML.slice(0, 80)}`);
  }
  for (const [what, count] of [["h1", 1], ["main", 1], ["header", 1], [".skip", 1]]) {
    if (document.querySelectorAll(what).length !== count) faults.push(`${document.querySelectorAll(what).length} ${what}`);
  }
  return faults.slice(0, 12);
})()"#;

#[tokio::test]
async fn pages_are_sound_in_every_size_and_scheme() {
    let Some((mut browser, hub, _folder)) = logged_in().await else { return };
    stage::a_day(&hub).await;
    let new = json!({"name": "office temperature", "tags": ["office"], "metrics": [
        {"name": "celsius", "label": "Temperature", "unit": "°C", "type": "float"},
        {"name": "window", "label": "Window open", "type": "boolean"}],
        "additional": [{"name": "who", "type": "string"}, {"name": "note", "label": "Note", "type": "string"}]});
    let made = hub.request("POST", "/api/v1/monitors").bearer_auth(&hub.credentials.key);
    let made = answer(made.header("content-type", "application/json").body(new.to_string())).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.json()["id"].as_i64().unwrap();
    let rows: Vec<_> = (0..30)
        .map(|n| {
            let values = json!({"celsius": 20.0 + f64::from(n % 7) / 2.0, "window": n % 5 == 0});
            let note = format!("looked in for the {n}th time, and all was as it should be");
            json!({"time": stamp(NOW - i64::from(n) * 1_200_000), "values": values,
                "additional": [{"who": "Nia", "note": note}]})
        })
        .collect();
    let path = format!("/api/v1/monitors/{id}/results");
    let posted = hub.request("POST", &path).bearer_auth(&hub.credentials.key);
    let posted = posted.header("content-type", "application/json");
    let posted = answer(posted.body(json!({"results": rows}).to_string())).await;
    assert!(posted.status < 300, "{}", posted.body);

    stage::packages(&hub).await;
    let monitor = format!("/monitor/{id}");
    let (edit, delete) = (format!("{monitor}/edit"), format!("{monitor}/delete"));
    let pages = [
        ("overview", "/"),
        ("filtered", "/?q=web&state=ok"),
        ("disk", "/plugin?host=web-1&plugin=disk&range=24h"),
        ("network", "/plugin?host=web-1&plugin=network&range=6h"),
        ("raid", "/plugin?host=db-1&plugin=raid&range=24h"),
        ("failing", "/plugin?host=web-2&plugin=http_check"),
        ("rejecting", "/plugin?host=web-2&plugin=memory&range=24h"),
        ("custom", "/plugin?host=web-1&plugin=cpu&from=2026-11-22T06:00&to=2026-11-22T09:30"),
        ("monitors", "/monitors"),
        ("new", "/monitors/new"),
        ("monitor", &monitor),
        ("edit", &edit),
        ("delete", &delete),
        ("packages", "/packages"),
        ("publish", "/publish"),
        ("package", "/packages/web-check"),
        ("approved", "/packages/web-check/0.1.0"),
        ("waiting", "/packages/web-check/0.2.0"),
        ("draft", "/packages/web-check/0.3.0"),
        ("rejected", "/packages/web-check/0.4.0"),
        ("file", "/packages/web-check/0.2.0/file?path=bin/look"),
        ("rejections", "/rejections"),
        ("explain", "/explain/name-hyphen"),
        ("keys", "/keys"),
        ("health", "/health"),
        ("audit", "/audit"),
        ("zone", "/zone"),
    ];
    let pictures = std::env::var_os("TALAIA_PICTURES").map(std::path::PathBuf::from);
    let mut faults = Vec::new();
    for (width, height) in [(1440, 900), (360, 740)] {
        for scheme in ["light", "dark"] {
            browser.screen(width, height, scheme).await;
            for (name, path) in pages {
                browser.open(&format!("{}{path}", hub.url)).await;
                // What is folded up is on the page as well.
                browser.eval("for (const d of document.querySelectorAll('details:not(.menu)')) d.open = true").await;
                let found = browser.eval(FAULTS).await;
                if found != json!([]) {
                    faults.push(format!("{name} {width} {scheme}: {found:#}"));
                }
                if let Some(folder) = &pictures {
                    browser.open(&format!("{}{path}", hub.url)).await;
                    let png = decoded(&browser.picture().await);
                    std::fs::create_dir_all(folder).unwrap();
                    std::fs::write(folder.join(format!("{name}-{width}-{scheme}.png")), png)
                        .unwrap();
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    is_quiet(&browser, &hub);
    drop(browser);
    hub.stop().await;
}

/// Base64, which nothing else here needs.
fn decoded(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = LETTERS.iter().position(|known| *known == letter).unwrap();
        bits = bits << 6 | u32::try_from(value).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    bytes
}

#[tokio::test]
async fn one_finds_a_plugin_and_looks_closer() {
    let Some((mut browser, hub, _folder)) = logged_in().await else { return };
    stage::a_day(&hub).await;
    browser.open(&format!("{}/", hub.url)).await;
    // What is bad comes first.
    let states = "[...document.querySelectorAll('#attention .badge')].map(b => b.innerText).join()";
    assert_eq!(browser.text(states).await, "failing,rejecting,warning");
    let names =
        "[...document.querySelectorAll('.plugins tbody th a')].map(a => a.innerText).join()";
    browser.write("#q", "mount=/home").await;
    browser.enter().await;
    assert_eq!(browser.text(names).await, "disk,disk");
    browser.follow("a.tile.warning").await;
    assert_eq!(browser.text(names).await, "disk");
    browser.follow(".plugins tbody th a").await;
    assert_eq!(browser.text("document.querySelector('h1').innerText").await, "disk warning");

    let curve = "document.querySelector('.chart .line').getAttribute('d')";
    let hour = browser.text(curve).await;
    browser.follow(".ranges a[href*='range=24h']").await;
    assert_ne!(browser.text(curve).await, hour);
    browser.click(".custom summary").await;
    browser.eval("document.querySelector('input[name=from]').value = '2026-11-22T10:00'").await;
    browser.eval("document.querySelector('input[name=to]').value = '2026-11-22T12:00'").await;
    browser.follow(".custom button").await;
    // What was typed is of the reader's zone, five hours and three quarters ahead.
    let span = "[document.querySelector('.chart').dataset.from, document.querySelector('.chart').dataset.to].map(ms => new Date(Number(ms)).toISOString()).join()";
    assert_eq!(browser.text(span).await, "2026-11-22T04:15:00.000Z,2026-11-22T06:15:00.000Z");
    assert_eq!(
        browser.text("document.querySelector('input[name=from]').value").await,
        "2026-11-22T10:00"
    );
    let tick = browser.text("document.querySelector('.xs text').textContent").await;
    assert_eq!(tick, "10:00");

    // By keys alone: to the content, to a chart, and along it.
    browser.press("Tab").await;
    assert_eq!(browser.text("document.activeElement.className").await, "skip");
    browser.press("Enter").await;
    assert_eq!(browser.text("document.activeElement.id").await, "main");
    for _ in 0..30 {
        if browser.eval("document.activeElement.matches('.canvas')").await == json!(true) {
            break;
        }
        browser.press("Tab").await;
    }
    let outline = "getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(browser.text(outline).await, "solid");
    browser.press("ArrowLeft").await;
    let read = "document.querySelector('.chart .read').textContent";
    let last = browser.text(read).await;
    assert!(last.contains("mount=/home 7") && last.contains(" %"), "{last}");
    browser.press("ArrowLeft").await;
    assert_ne!(browser.text(read).await, last);
    browser.press("Tab").await;
    assert_eq!(browser.text(read).await, "");

    // By pointer.
    let place = browser.eval("(() => { const c = document.querySelector('.canvas'); c.scrollIntoView({block: 'center'}); const b = c.getBoundingClientRect(); return [b.left + b.width / 2, b.top + 40]; })()").await;
    let moved = json!({"type": "mouseMoved", "x": place[0], "y": place[1]});
    browser.call("Input.dispatchMouseEvent", moved).await;
    browser.until("document.querySelector('.chart .read').textContent.startsWith('11:00')").await;
    assert_eq!(browser.eval("document.querySelectorAll('.cursor').length").await, 1);
    is_quiet(&browser, &hub);
    drop(browser);
    hub.stop().await;
}

#[tokio::test]
async fn a_page_stays_fresh_and_where_one_is() {
    let Some((mut browser, hub, _folder)) = logged_in().await else { return };
    let stream = Stream::new();
    let failed = |seq: u64, value: f64| {
        let mut one = report(seq, NOW - 60_000 + seq as i64 * 1000, used(value));
        one["stderr"] = json!("W! slow");
        one
    };
    hub.take(&stream.batch((1..=20).map(|n| failed(n, 40.0)).collect())).await;
    browser.open(&format!("{}/plugin?host=web-1&plugin=disk", hub.url)).await;
    browser.click("#runs-s details summary").await;
    browser.click("#values").await;
    browser
        .eval("document.querySelector('.ranges a').focus({preventScroll: true}); scrollTo(0, 300)")
        .await;
    let before = "[document.querySelectorAll('#runs-s details[open]').length, scrollY, document.activeElement.innerText, document.querySelector('#runs-s details[open]').id].join()";
    let told = browser.text(before).await;

    hub.take(&stream.batch(vec![failed(21, 71.5)])).await;
    // The script asks every ten seconds, and when the network comes back.
    browser.eval("dispatchEvent(new Event('online'))").await;
    browser.until("document.querySelector('td.is').innerText === '71.5 %'").await;
    assert_eq!(browser.text(before).await, told);
    assert_eq!(browser.text("document.getElementById('live').textContent").await, "live");
    assert_eq!(
        browser.eval("document.querySelectorAll('#runs-s tbody tr:not(.note)').length").await,
        21
    );
    is_quiet(&browser, &hub);

    // A form that somebody fills in is left alone.
    browser.open(&format!("{}/keys", hub.url)).await;
    browser.write("#new ~ form input[name=name]", "web-7").await;
    browser.eval("dispatchEvent(new Event('online'))").await;
    browser.until("document.getElementById('live').textContent.startsWith('paused')").await;
    assert_eq!(
        browser.text("document.querySelector('#new ~ form input[name=name]').value").await,
        "web-7"
    );

    browser.open(&format!("{}/", hub.url)).await;
    hub.stop().await;
    browser.eval("dispatchEvent(new Event('online'))").await;
    browser
        .until("document.getElementById('live').textContent.startsWith('connection lost')")
        .await;
    assert!(browser.text("document.body.innerText").await.contains("disk"), "what was seen stays");
}

#[tokio::test]
async fn keys_are_made_changed_and_revoked() {
    let Some((mut browser, hub, _folder)) = logged_in().await else { return };
    browser.follow("nav a[href='/keys']").await;
    browser.write("#new ~ form input[name=name]", "web-1").await;
    browser.click("input[name=scope][value=read]").await;
    browser.follow("#new ~ form button").await;
    let key = browser.text("document.getElementById('secret').textContent").await;
    let reads = hub.request("GET", "/api/v1/plugins").bearer_auth(&key);
    assert_eq!(answer(reads).await.status, 200);
    browser.follow("main p a[href='/keys']").await;
    assert!(!browser.text("document.documentElement.outerHTML").await.contains(&key));

    browser.click("[id='rotate-web-1'] summary").await;
    browser.follow("[id='rotate-web-1'] button").await;
    let newer = browser.text("document.getElementById('secret').textContent").await;
    assert_ne!(newer, key);
    let reads = |key: &str| hub.request("GET", "/api/v1/plugins").bearer_auth(key);
    assert_eq!(answer(reads(&key)).await.status, 401);
    assert_eq!(answer(reads(&newer)).await.status, 200);

    browser.open(&format!("{}/keys", hub.url)).await;
    browser.click("[id='revoke-web-1'] summary").await;
    browser.press("Escape").await;
    assert_eq!(browser.eval("document.querySelectorAll('details.menu[open]').length").await, 0);
    browser.click("[id='revoke-web-1'] summary").await;
    browser.follow("[id='revoke-web-1'] button").await;
    assert_eq!(answer(reads(&newer)).await.status, 401);
    browser.open(&format!("{}/audit", hub.url)).await;
    let log = browser.text("document.querySelector('main').innerText").await;
    for did in ["key.create", "key.rotate", "key.revoke", "session", "web-1"] {
        assert!(log.contains(did), "{did} in {log}");
    }
    is_quiet(&browser, &hub);
    drop(browser);
    hub.stop().await;
}

/// The article that Talaia grew from registers a plugin by a form, hands it in, and hears how it went.
#[tokio::test]
async fn the_story_of_a_package() {
    let Some((mut browser, hub, folder)) = logged_in().await else { return };
    let dump = "document.querySelector('main').innerText";
    browser.follow("nav a[href='/packages']").await;
    assert!(browser.text(dump).await.contains("There is no package yet"));
    browser.follow("a.button.main").await;
    browser.write("input[name=name]", "web-check").await;
    browser.write("input[name=description]", "Looks at web sites").await;
    browser.eval("document.querySelector('[name=category]').value = 'web'").await;
    browser.follow("form[action='/publish'] button").await;
    let key = browser.text("document.getElementById('secret').textContent").await;
    assert_eq!(key.len(), 36, "{key}");
    browser.follow("main a[href='/publish/archive#upload']").await;
    for (version, program) in [("0.1.0", "no first line\n"), ("0.1.0", packages::GOOD)] {
        let file = folder.path().join(format!("web-check-{version}.zip"));
        std::fs::write(&file, packages::archive(version, program)).unwrap();
        browser.choose("input[type=file]", &file).await;
        browser.follow("form[enctype] button").await;
        assert_eq!(browser.text("location.pathname").await, "/packages/web-check/0.1.0");
        if program != packages::GOOD {
            browser.follow("#findings-s a").await;
            assert_eq!(
                browser.text("document.querySelector(':target').innerText").await,
                "no first line"
            );
            browser.follow(".crumbs a:last-child").await;
            browser.follow("#next-s a").await;
        }
    }
    browser.follow("button[value=submit]").await;
    browser.follow("button[value=review]").await;
    browser.write("textarea[name=reason]", "say which site").await;
    browser.follow("#next-s button.danger").await;
    assert!(browser.text(dump).await.contains("Rejected: say which site"));
    browser.follow("#next-s a").await;
    let file = folder.path().join("web-check-0.1.0.zip");
    browser.choose("input[type=file]", &file).await;
    browser.follow("form[enctype] button").await;
    browser.follow("button[value=submit]").await;
    // What others do is seen without a click.
    hub.well("POST", &packages::at("0.1.0", "/approve"), json!(null)).await;
    browser.eval("dispatchEvent(new Event('online'))").await;
    browser.until("document.querySelector('h1 .badge').innerText === 'approved'").await;
    browser.follow(".crumbs a:last-child").await;
    assert!(browser.text(dump).await.contains("talaia plugin install web-check --trust SHA256:"));
    assert!(browser.text(dump).await.contains(&key));
    browser.follow("nav a[href='/packages']").await;
    assert!(browser.text(dump).await.contains("Decided on yours"));
    browser.click("#rotate summary").await;
    browser.follow("#rotate button").await;
    assert!(browser.text(dump).await.contains("1 time"));
    is_quiet(&browser, &hub);
    drop(browser);
    hub.stop().await;
}

#[tokio::test]
async fn everything_works_without_scripts() {
    let Some((mut browser, hub, _folder)) = logged_in().await else { return };
    stage::a_day(&hub).await;
    browser.call("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
    browser.open(&format!("{}/", hub.url)).await;
    let dump = "document.querySelector('main').innerText";
    assert!(browser.text(dump).await.contains("as of 20:42:10"), "times are UTC");
    assert_eq!(browser.text("document.getElementById('zone').textContent").await, "UTC");
    assert_eq!(browser.text("document.getElementById('live').textContent").await, "");
    browser.write("#q", "raid").await;
    browser.follow(".search button").await;
    browser.follow(".plugins tbody th a").await;
    browser.follow(".ranges a[href*='range=24h']").await;
    browser.click(".chart:nth-child(2) .data summary").await;
    assert!(browser.text(dump).await.contains("rebuilding"));
    browser.follow("a.button").await;
    assert!(browser.text("location.pathname").await.starts_with("/monitor/"));
    browser.follow("button[value=suspend]").await;
    assert!(browser.text(dump).await.contains("It takes no results"));
    browser.follow("form.out button").await;
    assert!(browser.text("document.body.innerText").await.contains("talaia hub login"));
    drop(browser);
    hub.stop().await;
}
