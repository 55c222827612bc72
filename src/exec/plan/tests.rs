use std::path::PathBuf;

use super::super::spec::Stdin;
use super::super::trust::Trust;
use super::*;

const MS: Duration = Duration::from_millis(1);

/// Due every `interval`, starting at once.
struct Steady(Duration);

impl Timetable for Steady {
    fn next(&mut self, last: Option<Instant>, now: Instant) -> Next {
        Next::Due { at: last.map_or(now, |at| at + self.0), missed: 0 }
    }
}

fn spec(name: &str) -> Arc<Spec> {
    Arc::new(Spec {
        plugin: name.parse().unwrap(),
        program: PathBuf::from("/bin/true"),
        args: Vec::new(),
        dir: PathBuf::from("/"),
        env: Vec::new(),
        life: Life::Run,
        stdin: Stdin::Null,
        timeout: Duration::from_secs(1),
        grace: Duration::from_secs(1),
        stdout_cap: 1,
        stderr_cap: 1,
        leftovers: Leftovers::Kill,
        trust: Trust::default(),
        launch: None,
    })
}

fn start(plan: &mut Plan, now: Instant) -> Option<Start> {
    match plan.step(now, true) {
        Step::Start(start) => Some(start),
        Step::Ask(_) | Step::Sleep(_) => None,
    }
}

#[test]
fn a_due_time_during_a_run_is_skipped_and_counted() {
    let t0 = Instant::now();
    let mut plan = Plan::new(Limits { concurrency: 4, max_running: 8 });
    plan.set(spec("a"), Box::new(Steady(100 * MS)), t0);
    let first = start(&mut plan, t0).unwrap();
    assert!(start(&mut plan, t0 + 350 * MS).is_none());
    plan.ended(first.token, false, t0);
    let second = start(&mut plan, t0 + 400 * MS).unwrap();
    assert_eq!((second.skipped, second.due), (3, t0 + 400 * MS));
}

#[test]
fn young_runs_are_limited_and_a_waiting_run_keeps_its_due_time() {
    let t0 = Instant::now();
    let mut plan = Plan::new(Limits { concurrency: 2, max_running: 8 });
    for name in ["a", "b", "c"] {
        plan.set(spec(name), Box::new(Steady(Duration::from_secs(60))), t0);
    }
    assert!(start(&mut plan, t0).is_some());
    assert!(start(&mut plan, t0).is_some());
    let Step::Sleep(Some(wake)) = plan.step(t0, true) else { panic!("a third run started") };
    assert_eq!(wake, t0 + YOUNG);
    assert_eq!(start(&mut plan, t0 + YOUNG).unwrap().due, t0);
}

#[test]
fn plugins_that_time_out_hold_at_most_half() {
    let t0 = Instant::now();
    let mut plan = Plan::new(Limits { concurrency: 100, max_running: 4 });
    // It has ended a run.
    plan.set(spec("healthy"), Box::new(Steady(1000 * MS)), t0);
    let run = start(&mut plan, t0).unwrap();
    plan.ended(run.token, false, t0);
    for n in 0..8 {
        plan.set(spec(&format!("hung{n}")), Box::new(Steady(1000 * MS)), t0);
    }
    // Everybody times out once.
    for _ in 0..8 {
        let run = start(&mut plan, t0).unwrap();
        plan.ended(run.token, true, t0);
    }
    let now = t0 + 1000 * MS;
    let started: Vec<Start> = std::iter::from_fn(|| start(&mut plan, now)).collect();
    assert_eq!(started.len(), 3);
    assert_eq!(started.iter().filter(|s| s.spec.plugin.as_str() == "healthy").count(), 1);
}

#[test]
fn who_has_never_ended_a_run_holds_at_most_half_and_goes_behind_the_prompt() {
    let t0 = Instant::now();
    let mut plan = Plan::new(Limits { concurrency: 100, max_running: 4 });
    plan.set(spec("prompt"), Box::new(Steady(1000 * MS)), t0);
    let run = start(&mut plan, t0).unwrap();
    plan.ended(run.token, false, t0);
    for n in 0..8 {
        plan.set(spec(&format!("new{n}")), Box::new(Steady(1000 * MS)), t0 + 1000 * MS);
    }
    let now = t0 + 1000 * MS;
    let started: Vec<Start> = std::iter::from_fn(|| start(&mut plan, now)).collect();
    let names: Vec<&str> = started.iter().map(|s| s.spec.plugin.as_str()).collect();
    assert_eq!((names.len(), names[0]), (3, "prompt"), "{names:?}");
    // One that ends makes room for the next, and is no longer held back itself.
    plan.ended(started[1].token, false, now);
    assert!(start(&mut plan, now).unwrap().spec.plugin.as_str().starts_with("new"));
    assert!(start(&mut plan, now).is_none());
}

#[test]
fn plugins_that_time_out_hold_at_most_half_of_the_young_runs() {
    let t0 = Instant::now();
    let mut plan = Plan::new(Limits { concurrency: 4, max_running: 100 });
    for n in 0..8 {
        plan.set(spec(&format!("hung{n}")), Box::new(Steady(1000 * MS)), t0);
    }
    for _ in 0..8 {
        let run = start(&mut plan, t0).unwrap();
        plan.ended(run.token, true, t0);
    }
    let mut now = t0 + 1000 * MS;
    let hung: Vec<Start> = std::iter::from_fn(|| start(&mut plan, now)).collect();
    assert_eq!(hung.len(), 2);
    // Whoever comes now does not wait until they are older.
    plan.set(spec("healthy"), Box::new(Steady(1000 * MS)), now);
    assert_eq!(start(&mut plan, now).unwrap().spec.plugin.as_str(), "healthy");
    let Step::Sleep(Some(wake)) = plan.step(now, true) else { panic!("a third one started") };
    assert_eq!(wake, now + YOUNG);
    now = wake;
    assert!(start(&mut plan, now).unwrap().spec.plugin.as_str().starts_with("hung"));
}

#[test]
fn a_hung_plugin_that_is_removed_gives_its_place_back() {
    let t0 = Instant::now();
    let mut plan = Plan::new(Limits { concurrency: 100, max_running: 2 });
    for n in 0..4_u32 {
        let name = format!("hung{n}");
        plan.set(spec(&name), Box::new(Steady(1000 * MS)), t0 + n * 2000 * MS);
        let first = start(&mut plan, t0 + n * 2000 * MS).unwrap();
        plan.ended(first.token, true, t0);
        // As a suspect it takes the one place that suspects have.
        let second = start(&mut plan, t0 + n * 2000 * MS + 1000 * MS).unwrap();
        assert_eq!(plan.remove(&name.parse().unwrap()), Some(second.token));
        plan.ended(second.token, true, t0);
    }
}

#[test]
fn nothing_starts_while_its_output_could_not_be_kept() {
    let t0 = Instant::now();
    let mut plan = Plan::new(Limits { concurrency: 4, max_running: 4 });
    plan.set(spec("a"), Box::new(Steady(100 * MS)), t0);
    assert!(matches!(plan.step(t0, false), Step::Sleep(Some(_))));
    assert_eq!(start(&mut plan, t0 + 100 * MS).unwrap().skipped, 1);
}

#[test]
fn a_replaced_plugin_leaves_its_old_due_times_behind() {
    let t0 = Instant::now();
    let mut plan = Plan::new(Limits { concurrency: 4, max_running: 4 });
    plan.set(spec("a"), Box::new(Steady(100 * MS)), t0);
    let run = start(&mut plan, t0).unwrap();
    let live = plan.set(spec("a"), Box::new(Steady(Duration::from_secs(60))), t0);
    assert_eq!(live, Some(run.token));
    plan.ended(run.token, false, t0);
    assert!(start(&mut plan, t0).is_some());
    assert!(start(&mut plan, t0 + 500 * MS).is_none());
    assert_eq!(plan.remove(&"a".parse().unwrap()).map(|_| ()), Some(()));
    assert!(matches!(plan.step(t0 + Duration::from_secs(100), true), Step::Sleep(None)));
}

#[test]
fn runs_whose_spawn_hangs_give_their_places_back() {
    let t0 = Instant::now();
    let mut plan = Plan::new(Limits { concurrency: 100, max_running: 8 });
    for n in 0..8 {
        plan.set(spec(&format!("dead{n}")), Box::new(Steady(1000 * MS)), t0);
    }
    let mut given_up = Vec::new();
    while let Some(run) = start(&mut plan, t0) {
        plan.given_up(run.token);
        given_up.push(run.token);
    }
    assert_eq!((given_up.len(), plan.live()), (8, 0));
    let later = t0 + 1000 * MS;
    plan.set(spec("healthy"), Box::new(Steady(1000 * MS)), later);
    assert_eq!(start(&mut plan, later).unwrap().spec.plugin.as_str(), "healthy");
    assert!(start(&mut plan, later).is_none(), "they are still being spawned");
    // One comes back, and is due again.
    plan.ended(given_up[0], true, later);
    assert!(start(&mut plan, later + 1000 * MS).is_some());
}

#[test]
fn a_plugin_that_comes_back_within_the_grace_of_its_last_run_waits_for_that() {
    let t0 = Instant::now();
    let name = "a".parse().unwrap();
    let mut plan = Plan::new(Limits { concurrency: 4, max_running: 4 });
    plan.set(spec("a"), Box::new(Steady(100 * MS)), t0);
    let run = start(&mut plan, t0).unwrap();
    assert_eq!(plan.remove(&name), Some(run.token));
    assert_eq!(plan.set(spec("a"), Box::new(Steady(100 * MS)), t0), Some(run.token));
    assert!(start(&mut plan, t0 + 100 * MS).is_none(), "two runs of one plugin at a time");
    plan.ended(run.token, false, t0 + 100 * MS);
    assert!(start(&mut plan, t0 + 200 * MS).is_some());
}

#[test]
fn the_outlook_says_when_a_plugin_is_due_and_since_when_it_runs() {
    let t0 = Instant::now();
    let mut plan = Plan::new(Limits { concurrency: 1, max_running: 1 });
    let name: PluginName = "a".parse().unwrap();
    assert_eq!(plan.outlook(&name), None);
    plan.set(spec("a"), Box::new(Steady(100 * MS)), t0);
    plan.set(spec("b"), Box::new(Steady(100 * MS)), t0);
    assert_eq!(plan.outlook(&name), Some(Outlook { next: Some(t0), running: None }));
    let first = start(&mut plan, t0).unwrap();
    let other: PluginName = if first.spec.plugin == name { "b" } else { "a" }.parse().unwrap();
    let running = Outlook { next: Some(t0 + 100 * MS), running: Some(t0) };
    assert_eq!(plan.outlook(&first.spec.plugin), Some(running));
    // The other waits for the place, and was due when it was due.
    assert_eq!(plan.outlook(&other), Some(Outlook { next: Some(t0), running: None }));
    plan.ended(first.token, false, t0 + MS);
    let idle = Outlook { next: Some(t0 + 100 * MS), running: None };
    assert_eq!(plan.outlook(&first.spec.plugin), Some(idle));
}
