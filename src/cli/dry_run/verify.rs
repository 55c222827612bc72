//! Delivers reports to a hub that is made for it, reads them back, and compares.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use reqwest::Url;
use serde_json::Value as Json;
use tokio::sync::watch;

use super::trials::Interrupt;
use crate::agent::trial::Scratch;
use crate::cli::points::Page;
use crate::deliver::{
    ClientSettings, Compression, Endpoint, ProxySettings, Pump, PumpSettings, Stop, TalaiaSettings,
    TalaiaSink, client_builder,
};
use crate::hub::{Hub, Settings};
use crate::model::{Metric, MetricType, Report, Secret, chain};
use crate::spool::{NewReport, Options, QuarantineChange, Spool, Start};

/// The output's name.
const OUTPUT: &str = "verify";
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Points in an answer.
const PAGE: usize = 100_000;
/// Differences that are told.
const TOLD: usize = 20;

/// What came of it.
pub(super) struct Verified {
    /// Values that are there as they were sent.
    pub(super) same: usize,
    /// What is not, in sentences; none where all is well.
    pub(super) wrong: Vec<String>,
}

/// Goes the whole way: spool, upload, hub, and back by its API. `scratch` is an empty folder.
pub(super) async fn verify(
    reports: &[Report],
    scratch: &Scratch,
    interrupt: &Interrupt,
) -> Result<Verified, String> {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let hub = Hub::bind(Settings::new(any_port, scratch.path().join("hub")))
        .await
        .map_err(|e| format!("no hub to try it with: {}", chain(&e)))?;
    let credentials = hub.credentials();
    let (stop, stopped) = watch::channel(false);
    let mut gone = stopped.clone();
    let serving = hub.serve(async move {
        let _gone = gone.wait_for(|stop| *stop).await;
    });
    let work = async {
        let verified = tokio::time::timeout(PATIENCE, async {
            deliver(reports, scratch, &credentials.url, &credentials.key).await?;
            let stored = read_back(reports, &credentials.url, &credentials.key).await?;
            Ok(compare(&expected(reports), &stored))
        });
        let verified = tokio::select! {
            verified = verified => verified,
            () = interrupted(interrupt) => Ok(Err("it was interrupted".to_owned())),
        };
        stop.send_replace(true);
        verified.unwrap_or_else(|_| Err(format!("it took longer than {PATIENCE:?}")))
    };
    let (served, verified) = tokio::join!(serving, work);
    served.map_err(|e| chain(&e))?;
    verified
}

async fn interrupted(interrupt: &Interrupt) {
    while !interrupt.came() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn deliver(
    reports: &[Report],
    scratch: &Scratch,
    url: &str,
    key: &str,
) -> Result<(), String> {
    let options = Options { min_free: 0, ..Options::new(scratch.path().join("agent")) };
    let (spool, _) = Spool::open(options).map_err(|e| chain(&e))?;
    spool.set_outputs(&[(OUTPUT.to_owned(), Start::Oldest)]);
    for report in reports {
        let body = report.to_json().map_err(|e| e.to_string())?;
        let quarantine = QuarantineChange { come: Vec::new(), format: "json", leave: Vec::new() };
        let new = NewReport {
            plugin: report.plugin.clone(),
            body,
            counts: report.counts.clone(),
            skipped: 0,
            quarantine,
        };
        drop(spool.append(new).map_err(|e| chain(&e))?);
    }
    spool.flush().await.map_err(|e| chain(&e))?;
    let host = reports.first().map(|report| report.host.clone()).unwrap_or_default();
    let client = ClientSettings { proxy: ProxySettings::Direct, ..ClientSettings::default() };
    let settings = TalaiaSettings {
        output: OUTPUT.to_owned(),
        host,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        compression: Compression::Zstd,
        client,
    };
    let ready = Endpoint::Ready { url: url.to_owned(), key: Secret::new(key) };
    let sink = TalaiaSink::new(settings, watch::channel(ready).1);
    let (pump, state) = Pump::new(spool.clone(), PumpSettings::new(OUTPUT), sink);
    let until = Instant::now() + PATIENCE;
    pump.run(watch::channel(Stop::Draining { until }).1).await;
    let ledger = spool.ledger().map_err(|e| chain(&e))?;
    let totals = ledger.outputs.get(OUTPUT);
    let sent: u64 = reports.iter().map(|report| report.counts.accepted).sum();
    if totals.is_none_or(|totals| totals.delivered != sent) {
        let why = state.borrow().error.clone().unwrap_or_else(|| "it did not take all".to_owned());
        return Err(format!("the hub did not take them: {why}"));
    }
    Ok(())
}

/// Series, as the API has them.
type Stored = BTreeMap<Identity, Points>;

/// What tells one series from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    name: String,
    tags: BTreeMap<String, String>,
}

/// A series' type and unit, which are those that it had last, and its values by time.
#[derive(Debug, Default)]
struct Points {
    kind: Option<MetricType>,
    unit: Option<String>,
    values: BTreeMap<i64, Json>,
}

impl Points {
    fn about(&self) -> String {
        let kind = self.kind.map_or("no type", MetricType::as_str);
        format!(
            "{kind}, {}",
            self.unit.as_deref().map_or("no unit".to_owned(), |u| format!("in {u}"))
        )
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tags: Vec<String> =
            self.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        if tags.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}{{{}}}", self.name, tags.join(","))
        }
    }
}

fn expected(reports: &[Report]) -> Stored {
    let mut all = Stored::new();
    for report in reports {
        for metric in &report.metrics {
            let at = metric.time.unwrap_or(report.started).millis();
            let points = all.entry(identity(metric)).or_default();
            points.kind = Some(metric.kind);
            points.unit = metric.unit.as_deref().map(str::to_owned);
            // Every value can be written as JSON.
            let value = serde_json::to_value(&metric.value).unwrap_or_default();
            points.values.insert(at, value);
        }
    }
    all
}

fn identity(metric: &Metric) -> Identity {
    Identity {
        name: metric.name.to_string(),
        tags: metric.tags.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
    }
}

async fn read_back(reports: &[Report], url: &str, key: &str) -> Result<Stored, String> {
    let client = client_builder().no_proxy().build().map_err(|e| chain(&e))?;
    let mut all = Stored::new();
    let Some(first) = reports.first() else { return Ok(all) };
    let mut after: Option<String> = None;
    loop {
        let mut address = Url::parse(&format!("{url}/api/v1/points")).map_err(|e| e.to_string())?;
        address
            .query_pairs_mut()
            .append_pair("plugin", first.plugin.as_str())
            .append_pair("host", &first.host)
            .append_pair("from", "0")
            .append_pair("to", &i64::from(u32::MAX).saturating_mul(1000).to_string())
            .append_pair("limit", &PAGE.to_string())
            .extend_pairs(after.iter().map(|after| ("after", after)));
        let reply = client.get(address).bearer_auth(key).send().await.map_err(|e| chain(&e))?;
        let status = reply.status();
        let body = reply.bytes().await.map_err(|e| chain(&e))?;
        if !status.is_success() {
            return Err(format!("the hub answers {status}: {}", String::from_utf8_lossy(&body)));
        }
        let page: Page = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
        for series in page.series {
            let points = all.entry(Identity { name: series.name, tags: series.tags }).or_default();
            points.kind = Some(series.kind);
            points.unit = series.unit;
            points.values.extend(series.points);
        }
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

fn compare(expected: &Stored, stored: &Stored) -> Verified {
    let (mut same, mut wrong) = (0, Vec::new());
    for (series, points) in expected {
        let Some(there) = stored.get(series) else {
            wrong.push(format!("the hub has no series {series}"));
            continue;
        };
        if points.about() != there.about() {
            let (sent, found) = (points.about(), there.about());
            wrong.push(format!("{series}: sent as {sent}, the hub has it as {found}"));
        }
        for (at, value) in &points.values {
            match there.values.get(at) {
                Some(found) if equal(found, value) => same += 1,
                Some(found) => wrong.push(format!("{series}: sent {value}, the hub has {found}")),
                None => wrong.push(format!("{series}: sent {value}, which the hub does not have")),
            }
        }
    }
    let more = stored.keys().filter(|series| !expected.contains_key(series));
    wrong.extend(more.map(|series| format!("the hub has {series}, which was not sent")));
    if wrong.len() > TOLD {
        let more = wrong.len() - TOLD;
        wrong.truncate(TOLD);
        wrong.push(format!("and {more} more differences"));
    }
    Verified { same, wrong }
}

/// Numbers are equal by what they are worth: `1` is `1.0`. Whole ones are so to the last digit.
fn equal(a: &Json, b: &Json) -> bool {
    let loose = a.is_f64() || b.is_f64();
    a == b || (loose && a.as_f64().is_some_and(|a| b.as_f64() == Some(a)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(series: &[(&str, MetricType, Option<&str>, i64, Json)]) -> Stored {
        let mut all = Stored::new();
        for (name, kind, unit, at, value) in series {
            let identity = Identity { name: (*name).to_owned(), tags: BTreeMap::new() };
            let points = all.entry(identity).or_default();
            points.kind = Some(*kind);
            points.unit = unit.map(str::to_owned);
            points.values.insert(*at, value.clone());
        }
        all
    }

    #[test]
    fn whatever_is_not_as_it_was_sent_is_told() {
        use MetricType::{Float, Integer};
        let sent = stored(&[
            ("same", Float, Some("s"), 1, 1.0.into()),
            ("lost", Integer, None, 1, 7.into()),
            ("digits", Integer, None, 1, 9_007_199_254_740_993_i64.into()),
            ("unit", Integer, Some("B"), 1, 1.into()),
            ("late", Integer, None, 1, 1.into()),
        ]);
        let there = stored(&[
            ("same", Float, Some("s"), 1, 1.into()),
            ("digits", Integer, None, 1, 9_007_199_254_740_992_i64.into()),
            ("unit", Integer, None, 1, 1.into()),
            ("late", Integer, None, 2, 1.into()),
            ("more", Integer, None, 1, 1.into()),
        ]);
        let found = compare(&sent, &there);
        assert_eq!(found.same, 2, "{:?}", found.wrong);
        for words in [
            "digits: sent 9007199254740993, the hub has 9007199254740992",
            "late: sent 1, which the hub does not have",
            "the hub has no series lost",
            "unit: sent as integer, in B, the hub has it as integer, no unit",
            "the hub has more, which was not sent",
        ] {
            assert!(found.wrong.iter().any(|wrong| wrong == words), "{words}: {:?}", found.wrong);
        }
        assert_eq!(compare(&sent, &sent).wrong, [""; 0]);
    }
}
