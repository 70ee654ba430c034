//! S2
use steadfast::context::Tier;
use steadfast::decide::admission::AdmissionConfig;
use steadfast::decide::limit::{Limit, LimitConfig};

use crate::engine::{Front, World};
use crate::fronts::{Fixed, Guarded, Limited, PriorityQueue};
use crate::load::{MS, SECOND, SERVICES, Stream};

/// x
pub fn explore() -> String {
    let mut out = String::new();
    for service in SERVICES {
        for seed in 1..6 {
            let g = |t: f64| -> Box<dyn Front> {
                Box::new(
                    Guarded::new(
                        Limit::new(LimitConfig {
                            tolerance: t,
                            ..LimitConfig::queued()
                        })
                        .unwrap(),
                        AdmissionConfig::default(),
                        10 * MS,
                    )
                    .unwrap(),
                )
            };
            let fronts: Vec<(String, Box<dyn Front>)> = vec![
                ("none".into(), Box::new(Limited::new(Fixed(20)))),
                ("prio".into(), Box::new(PriorityQueue::new(10, 100))),
                (
                    "fixed 10".into(),
                    Box::new(Guarded::new(Fixed(10), AdmissionConfig::default(), 10 * MS).unwrap()),
                ),
                (
                    "fixed 20".into(),
                    Box::new(Guarded::new(Fixed(20), AdmissionConfig::default(), 10 * MS).unwrap()),
                ),
                ("ours 1.22".into(), g(1.22)),
                ("ours 1.2".into(), g(1.2)),
            ];
            for (name, mut front) in fronts {
                let mut low = vec![(0, 0.0)];
                for step in 0..10 {
                    low.push(((20 + step) * SECOND, 970.0 * (step + 1) as f64));
                }
                let world = World::new(
                    vec![
                        Stream::new(Tier::CORE, vec![(0, 300.0), (60 * SECOND, 600.0)]),
                        Stream::new(Tier::DEFAULT, low),
                    ],
                    service,
                    80 * SECOND,
                );
                let m = world.run(seed, front.as_mut());
                let worst = m
                    .seconds(Tier::CORE)
                    .skip(20)
                    .take(40)
                    .map(|c| c.success())
                    .fold(1.0, f64::min);
                out += &format!(
                    "{service} {seed} {name:10} core {:.4} worst {worst:.3} total {:.1} p99 {:.1} unl {:.1} burst {:.4} tot {:.1} lim {}\n",
                    m.sum(Tier::CORE, 20..60).success(),
                    m.total(30..60).good as f64 / 30.0,
                    m.quantile_ms(Tier::CORE, 30..60, 0.99),
                    m.quantile_ms(Tier::CORE, 60..79, 0.99),
                    m.sum(Tier::CORE, 60..79).success(),
                    m.total(60..79).good as f64 / 19.0,
                    m.limits()
                        .iter()
                        .filter(|(t, _)| *t > 19 * SECOND)
                        .step_by(15)
                        .take(20)
                        .map(|(_, l)| l.to_string())
                        .collect::<Vec<_>>()
                        .join(" ")
                );
            }
        }
    }
    out
}
