//! Any sequence of what can happen to a spool leaves a ledger that adds up, and agrees with a
//! model that is simple enough to be believed.

use std::collections::BTreeMap;

use proptest::prelude::*;
use talaia::model::Seq;
use talaia::spool::{Evicted, Options, Spool, Start, Window};
use tempfile::TempDir;

use crate::spool::{balanced, options, receipt, report};

const NAMES: [&str; 3] = ["a", "b", "c"];
const QUOTA: u64 = 20_000;

#[derive(Debug, Clone)]
enum Step {
    Append { records: u64, rejected: u64, pad: usize },
    Settle { output: usize, share: u8, refuse: bool },
    Read { output: usize },
    Outputs { active: [bool; 3], oldest: bool },
    Identity,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..5_u64, 0..3_u64, prop_oneof![Just(10_usize), Just(700), Just(9000)])
            .prop_map(|(records, rejected, pad)| Step::Append { records, rejected, pad }),
        3 => (0..3_usize, any::<u8>(), any::<bool>())
            .prop_map(|(output, share, refuse)| Step::Settle { output, share, refuse }),
        2 => (0..3_usize).prop_map(|output| Step::Read { output }),
        1 => (any::<[bool; 3]>(), any::<bool>())
            .prop_map(|(active, oldest)| Step::Outputs { active, oldest }),
        1 => Just(Step::Identity),
        1 => Just(Step::Reopen),
    ]
}

/// Per output the reports it has not passed: number and records.
#[derive(Default)]
struct Output {
    active: bool,
    accepted: u64,
    delivered: u64,
    refused: u64,
    waiting: BTreeMap<u64, u64>,
}

fn options_of(dir: &TempDir) -> Options {
    let mut options = options(dir.path());
    options.quota = QUOTA;
    options.commit_interval = std::time::Duration::ZERO;
    options
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_adds_up_whatever_happens(steps in prop::collection::vec(step(), 1..50)) {
        let dir = TempDir::new().unwrap();
        let mut spool = Some(Spool::open(options_of(&dir)).unwrap().0);
        let mut model: [Output; 3] = Default::default();
        let (mut last, mut accepted, mut rejected_sum) = (0, 0, 0);
        for step in steps {
            let now = spool.as_ref().unwrap();
            match step {
                Step::Append { records, rejected, pad } => {
                    let seq = now.append(report("p", records, rejected, pad)).unwrap();
                    last += 1;
                    prop_assert_eq!(seq.wait().unwrap(), Seq(last));
                    accepted += records;
                    rejected_sum += rejected;
                    for output in model.iter_mut().filter(|o| o.active) {
                        output.accepted += records;
                        output.waiting.insert(last, records);
                    }
                }
                Step::Settle { output, share, refuse } => {
                    let name = NAMES[output];
                    let reports = now.read(name, Window::of(1000, 1 << 20)).unwrap();
                    let n = reports.len() * usize::from(share) / 255;
                    let Some(through) = reports.get(n).map(|r| r.seq.0) else { continue };
                    let refused = if refuse { vec![through] } else { Vec::new() };
                    now.settle(receipt(name, through, &refused)).wait().unwrap();
                    let output = &mut model[output];
                    // What the spool evicted before is passed as well and was not in the read.
                    for stored in &reports[..=n] {
                        let records = output.waiting.remove(&stored.seq.0).unwrap();
                        if refuse && stored.seq.0 == through {
                            output.refused += records;
                        } else {
                            output.delivered += records;
                        }
                    }
                }
                Step::Read { output } => {
                    let reports = now.read(NAMES[output], Window::of(1000, 1 << 20)).unwrap();
                    let kept: Vec<u64> = reports.iter().map(|r| r.seq.0).collect();
                    // Exactly the newest of what the model says is waiting.
                    let waiting: Vec<u64> = model[output].waiting.keys().copied().collect();
                    prop_assert!(waiting.ends_with(&kept), "{:?} {:?}", waiting, kept);
                }
                Step::Outputs { active, oldest } => {
                    let start = if oldest { Start::Oldest } else { Start::Now };
                    let wanted: Vec<_> = NAMES
                        .iter()
                        .zip(active)
                        .filter(|(_, active)| *active)
                        .map(|(name, _)| ((*name).to_owned(), start))
                        .collect();
                    now.set_outputs(&wanted).wait().unwrap();
                    for ((name, output), active) in NAMES.iter().zip(&mut model).zip(active) {
                        if output.active && !active {
                            output.waiting.clear();
                        }
                        if !output.active && active {
                            for stored in now.read(name, Window::of(1000, 1 << 20)).unwrap() {
                                output.accepted += stored.records;
                                output.waiting.insert(stored.seq.0, stored.records);
                            }
                            prop_assert!(oldest || output.waiting.is_empty());
                        }
                        output.active = active;
                    }
                }
                Step::Identity => {
                    let before = now.id();
                    prop_assert_ne!(now.new_identity(before).wait().unwrap(), before);
                }
                Step::Reopen => {
                    let (id, agent) = (now.id(), now.agent_id());
                    drop(spool.take());
                    let (again, opened) = Spool::open(options_of(&dir)).unwrap();
                    prop_assert!(opened.notices.is_empty());
                    prop_assert_eq!((again.id(), again.agent_id()), (id, agent));
                    prop_assert_eq!(again.highest(), Seq(last));
                    spool = Some(again);
                }
            }
            let ledger = balanced(spool.as_ref().unwrap());
            if let Some(p) = ledger.plugins.get("p") {
                prop_assert_eq!(p.accepted, accepted);
                prop_assert_eq!(p.rejected.values().sum::<u64>(), rejected_sum);
            }
            for (name, output) in NAMES.iter().zip(&model) {
                let Some(found) = ledger.outputs.get(*name) else {
                    prop_assert!(!output.active);
                    continue;
                };
                prop_assert_eq!(found.accepted, output.accepted, "{}", name);
                prop_assert_eq!(found.delivered, output.delivered, "{}", name);
                let refused = found.evicted.get(&Evicted::Refused).copied().unwrap_or_default();
                prop_assert_eq!(refused, output.refused, "{}", name);
                // The rest is spooled, or evicted by quota or with its output.
                let waiting: u64 = output.waiting.values().sum();
                prop_assert!(found.spooled <= waiting);
                prop_assert_eq!(found.active, output.active);
            }
        }
    }
}
