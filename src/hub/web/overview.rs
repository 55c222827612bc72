//! What runs where, how it is, and what has gone silent.

use std::collections::{BTreeMap, HashMap};

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use maud::{Markup, html};
use rusqlite::Connection;

use crate::hub::hall::Hall;
use crate::hub::parameters::pairs;
use crate::hub::store::{self, Card, Kept, SeriesRow, Totals};

use super::chart::{Spark, Window};
use super::format::{clock, counted, figures, query, seconds, time, value};
use super::layout::Frame;
use super::page::{framed, logged_in, shown};
use super::standing::{Standing, patience};

/// Plugins on one page.
const PAGE: usize = 100;
/// Values of a plugin shown in its line, and series looked through for them.
const VALUES: usize = 3;
const LOOKED_AT: usize = 12;
/// How far back the small lines go, in milliseconds.
const TREND_MS: i64 = 3 * 3_600_000;
/// A clock that is off by more is shown, in milliseconds.
const SKEW_MS: i64 = 5_000;
/// Words of a search that count.
const WORDS: usize = 6;

/// What is asked for.
#[derive(Debug, Clone, Default)]
struct Asked {
    words: String,
    host: Option<String>,
    state: Option<Standing>,
    page: usize,
}

impl Asked {
    /// The address of this page with another state or page.
    fn link(&self, state: Option<Standing>, page: usize) -> String {
        let mut pairs = Vec::new();
        if !self.words.is_empty() {
            pairs.push(("q", self.words.as_str()));
        }
        if let Some(host) = &self.host {
            pairs.push(("host", host));
        }
        if let Some(state) = state {
            pairs.push(("state", state.word()));
        }
        let number = (page + 1).to_string();
        if page > 0 {
            pairs.push(("page", &number));
        }
        format!("/{}", query(&pairs))
    }

    fn narrows(&self) -> bool {
        !self.words.is_empty() || self.host.is_some()
    }
}

/// One plugin or direct sender, judged.
struct Entry {
    card: Card,
    standing: Standing,
    series: Vec<SeriesRow>,
    /// How many series there are, of which `series` has the first.
    all: usize,
    trend: Option<(usize, Spark)>,
}

impl Entry {
    fn name(&self) -> &str {
        let card = &self.card;
        let plugin = card.place.as_ref().map(|(_, plugin)| plugin.as_str());
        plugin.or(card.name.as_deref()).unwrap_or("?")
    }

    fn host(&self) -> Option<&str> {
        self.card.place.as_ref().map(|(host, _)| host.as_str())
    }

    fn link(&self) -> String {
        match &self.card.place {
            Some((host, plugin)) => {
                format!("/plugin{}", query(&[("host", host), ("plugin", plugin)]))
            }
            None => format!("/monitor/{}", self.card.id),
        }
    }
}

/// What the page shows.
struct Found {
    /// Of all that the search lets through, whatever their state.
    counts: BTreeMap<Standing, usize>,
    /// Those of this page: what wants attention first, then by host.
    entries: Vec<Entry>,
    /// How many there are on all pages.
    matching: usize,
    /// Whether there is anything at all.
    any: bool,
    totals: Totals,
}

pub(super) async fn show(
    State(hall): State<Hall>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let session = logged_in!(hall, headers);
    let now = hall.clock.now();
    let page = async {
        let mut asked = Asked::default();
        for (key, value) in pairs(query.as_deref().unwrap_or_default())? {
            match key.as_str() {
                "q" => asked.words = value.trim().chars().take(200).collect(),
                "host" => asked.host = Some(value).filter(|host| !host.is_empty()),
                "state" => asked.state = Standing::from_word(&value),
                "page" => asked.page = value.parse::<usize>().unwrap_or(1).clamp(1, 1_000_000) - 1,
                _ => {}
            }
        }
        let account = session.account;
        let wanted = asked.clone();
        let found = hall.store.read(move |conn| load(conn, account, &wanted, now)).await?;
        Ok(framed(&Frame::of("Overview", "/", &session), &body(&found, &asked, now)))
    };
    shown(page.await)
}

fn load(conn: &Connection, account: i64, asked: &Asked, now: i64) -> rusqlite::Result<Found> {
    let mut cards = store::cards(conn, account)?;
    let any = !cards.is_empty();
    if let Some(host) = &asked.host {
        cards.retain(|card| card.place.as_ref().is_some_and(|(of, _)| of == host));
    }
    for word in asked.words.split_whitespace().take(WORDS) {
        let tagged = store::tagged(conn, account, word)?;
        let word = word.to_lowercase();
        cards.retain(|card| tagged.contains(&card.id) || says(card, &word));
    }
    let mut counts: BTreeMap<Standing, usize> = BTreeMap::new();
    let mut judged = Vec::with_capacity(cards.len());
    for card in cards {
        let standing = standing(conn, &card, now)?;
        *counts.entry(standing).or_default() += 1;
        if asked.state.is_none_or(|state| state == standing) {
            judged.push((standing, card));
        }
    }
    judged.sort_by(|(a, of_a), (b, of_b)| {
        let rank = |standing: Standing| standing.wants_attention().then_some(standing);
        let place = |card: &Card| (card.place.is_none(), card.place.clone(), card.name.clone());
        // Those that want attention in the order of their need, the rest by place.
        match (rank(*a), rank(*b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => std::cmp::Ordering::Equal,
        }
        .then_with(|| place(of_a).cmp(&place(of_b)))
    });
    let matching = judged.len();
    let ids: Vec<i64> =
        judged.iter().skip(asked.page * PAGE).take(PAGE).map(|(_, card)| card.id).collect();
    let mut series = store::series_of(conn, &ids, Kept::Printed, LOOKED_AT)?;
    let shown = judged.into_iter().skip(asked.page * PAGE).take(PAGE);
    let mut entries: Vec<Entry> = shown
        .map(|(standing, card)| {
            let (series, all) = series.remove(&card.id).unwrap_or_default();
            Entry { card, standing, series, all, trend: None }
        })
        .collect();
    trends(conn, &mut entries, now)?;
    Ok(Found { counts, entries, matching, any, totals: store::totals(conn, account)? })
}

/// Whether a card's own words have this one in them.
fn says(card: &Card, word: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(word);
    card.place.as_ref().is_some_and(|(host, plugin)| has(host) || has(plugin))
        || card.name.as_deref().is_some_and(has)
        || card.tags.iter().any(|tag| has(tag))
}

fn standing(conn: &Connection, card: &Card, now: i64) -> rusqlite::Result<Standing> {
    if card.suspended {
        return Ok(Standing::Suspended);
    }
    // A direct sender sends when it wants to.
    let Some(run) = &card.run else { return Ok(Standing::Ok) };
    let silence = now.saturating_sub(card.received_ms);
    let gap = match (run.interval, run.before_ms) {
        (Some(_), _) | (None, None) => None,
        // Most are heard of within three times the last time between two runs; only of the others
        // more is read.
        (None, Some(before)) => {
            let last = run.started_ms.saturating_sub(before).max(0);
            let usual = patience(None, Some(last)).unwrap_or(i64::MAX);
            if silence <= usual { None } else { store::longest_gap(conn, card.id)? }
        }
    };
    if patience(run.interval, gap).is_some_and(|patience| silence > patience) {
        return Ok(Standing::Silent);
    }
    Ok(Standing::from(run))
}

/// Draws the first number of each entry over the last hours.
fn trends(conn: &Connection, entries: &mut [Entry], now: i64) -> rusqlite::Result<()> {
    let window = Window::new(now - TREND_MS, now);
    let mut place = HashMap::new();
    for (at, entry) in entries.iter_mut().enumerate() {
        let drawn =
            entry.series.iter().position(|s| !matches!(s.kind.as_str(), "string" | "boolean"));
        if let Some(drawn) = drawn {
            let one = &entry.series[drawn];
            place.insert(one.id, at);
            entry.trend = Some((drawn, Spark::new(window, one.kind == "counter")));
        }
    }
    let ids: Vec<i64> = place.keys().copied().collect();
    store::visit(conn, &ids, window.from..=window.to, |id, ms, value| {
        if let Some((_, spark)) =
            place.get(&id).and_then(|at| entries.get_mut(*at)).and_then(|e| e.trend.as_mut())
        {
            spark.push(ms, value);
        }
    })
}

fn body(found: &Found, asked: &Asked, now: i64) -> Markup {
    if !found.any {
        return newcomer();
    }
    let all: usize = found.counts.values().sum();
    let attention = found.entries.iter().take_while(|e| e.standing.wants_attention()).count();
    let (bad, good) = found.entries.split_at(attention);
    let pages = found.matching.div_ceil(PAGE);
    html! {
        div.head {
            h1 { "Overview" }
            (search(asked))
        }
        nav.tiles aria-label="Plugins by state" {
            (tile(asked, None, all, "all"))
            @for standing in Standing::ALL {
                @let count = found.counts.get(&standing).copied().unwrap_or(0);
                @if count > 0 || asked.state == Some(standing) {
                    (tile(asked, Some(standing), count, standing.word()))
                }
            }
        }
        p.facts.faint {
            (figures(found.totals.metrics as f64)) " metrics in "
            (figures(found.totals.reports as f64)) " reports"
            @if found.totals.rejected > 0 {
                ", " a href="/rejections" { (figures(found.totals.rejected as f64)) " records refused" }
            }
            " · as of " (clock(now))
        }
        @if found.totals.skew_ms > SKEW_MS {
            p.hint {
                "The clock of an agent is off from this hub's by " (seconds(found.totals.skew_ms as f64 / 1000.0))
                ": its points lie elsewhere on the charts than they happened. " a href="/health" { "Which agent" }
            }
        }
        @if found.entries.is_empty() {
            section.notice.small {
                @if found.matching > 0 {
                    p { "There is no such page. " a href=(asked.link(asked.state, 0)) { "To the first" } }
                } @else {
                    p { "Nothing matches. " a href="/" { "Show everything" } }
                }
            }
        }
        @if !bad.is_empty() {
            section.card.attention #attention aria-labelledby="attention-h" {
                h2 #attention-h { "Wants attention" }
                (table(bad.iter(), Shown::WithHost, now))
            }
        }
        @for of_host in good.chunk_by(|a, b| a.host() == b.host()) {
            @let host = of_host[0].host();
            section.card.host id={ "host-" (of_host[0].card.id) } {
                h2 {
                    @if let Some(host) = host {
                        a href=(format!("/{}", query(&[("host", host)]))) { (host) }
                    } @else { "Direct senders" }
                    " " span.faint { (of_host.len()) }
                }
                (table(of_host.iter(), Shown::Alone, now))
            }
        }
        @if pages > 1 {
            nav.pages aria-label="Pages of the list" {
                @if asked.page > 0 { a rel="prev" href=(asked.link(asked.state, asked.page - 1)) { "← Before" } }
                span.faint { "Page " (asked.page + 1) " of " (pages) ", " (counted(found.matching, "plugin", "plugins")) }
                @if asked.page + 1 < pages { a rel="next" href=(asked.link(asked.state, asked.page + 1)) { "After →" } }
            }
        }
    }
}

fn search(asked: &Asked) -> Markup {
    html! {
        form.search role="search" method="get" action="/" {
            @if let Some(state) = asked.state { input type="hidden" name="state" value=(state.word()); }
            @if let Some(host) = &asked.host { input type="hidden" name="host" value=(host); }
            label.hidden for="q" { "Search plugins, hosts and tags" }
            input #q type="search" name="q" value=(asked.words) placeholder="plugin, host, tag or key=value" maxlength="200" autocomplete="off" spellcheck="false";
            button type="submit" { "Search" }
            @if asked.narrows() {
                a.clear href="/" { @if let Some(host) = &asked.host { "only " (host) " " } "✕ clear" }
            }
        }
    }
}

fn tile(asked: &Asked, state: Option<Standing>, count: usize, word: &str) -> Markup {
    let meaning = state.map(Standing::meaning);
    html! {
        a class={ "tile " (word) } href=(asked.link(state, 0)) title=[meaning]
          aria-current=[(asked.state == state).then_some("true")] {
            b { (count) } " " span { (word) }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// The host stands above the table.
    Alone,
    WithHost,
}

fn table<'a>(entries: impl Iterator<Item = &'a Entry>, shown: Shown, now: i64) -> Markup {
    html! {
        table.plugins {
            thead {
                tr {
                    th scope="col" { "State" }
                    th scope="col" { "Plugin" }
                    th scope="col" { "Last values" }
                    th scope="col" { "3 h" }
                    th.num scope="col" { "Took" }
                    th.num scope="col" { "Last run" }
                }
            }
            tbody { @for entry in entries { (line(entry, shown, now)) } }
        }
    }
}

fn line(entry: &Entry, shown: Shown, now: i64) -> Markup {
    let card = &entry.card;
    let target = entry.link();
    let run = card.run.as_ref();
    html! {
        tr id={ "m" (card.id) } {
            td.state { (entry.standing.badge()) }
            th scope="row" {
                a href=(target) { (entry.name()) }
                @if shown == Shown::WithHost {
                    @if let Some(host) = entry.host() { " " span.faint { "on " (host) } }
                }
                @if entry.standing == Standing::Silent {
                    div.why { "no report for " (seconds(now.saturating_sub(card.received_ms) as f64 / 1000.0)) }
                }
                @if let Some(run) = run {
                    @if entry.standing != Standing::Silent && !run.outcome.is_ok() {
                        div.why { (run.outcome) }
                    }
                    @if let Some(message) = &run.message { div.said { (message) } }
                }
                @if card.rejected > 0 {
                    @if let Some((host, plugin)) = &card.place {
                        div.refused { a href=(format!("/rejections{}", query(&[("host", host), ("plugin", plugin)]))) { (figures(card.rejected as f64)) " refused" } }
                    }
                }
            }
            td.values {
                @if entry.series.is_empty() { span.faint { "no metrics yet" } }
                @for one in entry.series.iter().take(VALUES) {
                    span.value {
                        span.faint { (name(one, &entry.series)) } " "
                        @match &one.last { Some((_, last)) => b { (value(last, one)) }, None => "–" }
                    }
                }
                @if entry.all > VALUES {
                    a.more href=(target) { "+" (entry.all - VALUES) span.hidden { " more metrics of " (entry.name()) } }
                }
            }
            td.trend {
                @if let Some((drawn, spark)) = &entry.trend {
                    span title=[entry.series.get(*drawn).map(|s| s.name.as_str())] { (spark.draw()) }
                }
            }
            td.num.took { @if let Some(run) = run { (seconds(run.duration)) } }
            td.num.ran {
                @match run {
                    Some(run) => (time(run.started_ms, now)),
                    None if card.metrics > 0 => (time(card.received_ms, now)),
                    None => span.faint { "never" },
                }
            }
        }
    }
}

/// Name and tags, in short. Tags that all series of the plugin share tell nothing here.
fn name(series: &SeriesRow, all: &[SeriesRow]) -> String {
    let shared = |key, tag| all.iter().all(|other| other.tags.get(key) == Some(tag));
    let mut text = series.name.clone();
    let telling = series.tags.iter().filter(|(key, tag)| !shared(key, tag));
    for (at, (_, tag)) in telling.enumerate() {
        text.push_str(if at == 0 { " " } else { ", " });
        text.push_str(tag);
    }
    if text.chars().count() > 40 {
        text = text.chars().take(39).collect();
        text.push('…');
    }
    text
}

fn newcomer() -> Markup {
    html! {
        section.notice {
            h1 { "Nothing has reported yet" }
            p { "A plugin is any program that prints JSON. Write one:" }
            pre { code { "#!/bin/sh\necho '{\"answer\": 42}'" } }
            p { "Save it as " code { "answer.sh" } ", make it executable, and run it every ten seconds:" }
            pre { code { "chmod +x answer.sh\ntalaia run ./answer.sh --every 10s" } }
            p { "Its first report shows here within seconds; this page refreshes itself. Try a plugin without the hub with " code { "talaia test ./answer.sh" } ", and begin a longer one with " code { "talaia new NAME --lang python" } "." }
            p { "Or " a href="/monitors" { "create a monitor" } " and send results to it yourself." }
        }
    }
}
