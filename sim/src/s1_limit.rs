//! S1: a limit that nobody had to guess.
use steadfast::context::Tier;
use steadfast::decide::limit::{Limit, LimitConfig};

use crate::engine::{Front, World, surge};
use crate::fronts::{Aimd, Fixed, Limited, Unlimited, Vegas};
use crate::load::{SECOND, SERVICES, Service};
use crate::metrics::Metrics;

/// x
pub fn explore() -> String {
    let mut out = String::new();
    let phase = 20;
    for during in [2.0, 10.0] {
        for service in SERVICES {
            for seed in 1..4 {
                let fronts: Vec<(&str, Box<dyn Front>)> = vec![
                    ("fixed", Box::new(Limited::new(Fixed(20)))),
                    (
                        "ours",
                        Box::new(Limited::new(Limit::new(LimitConfig::bare()).unwrap())),
                    ),
                    (
                        "ours queued",
                        Box::new(Limited::new(Limit::new(LimitConfig::queued()).unwrap())),
                    ),
                    ("vegas", Box::new(Limited::new(Vegas::new(20)))),
                    ("aimd", Box::new(Limited::new(Aimd::new(20)))),
                    ("unlimited", Box::new(Limited::new(Unlimited))),
                ];
                for (name, mut front) in fronts {
                    if seed > 1 && !name.contains("ours") && name != "fixed" {
                        continue;
                    }
                    let world = World::new(
                        surge(Tier::CORE, 0.7, during, [phase, phase, phase]),
                        service,
                        3 * phase * SECOND,
                    );
                    let m = world.run(seed, front.as_mut());
                    let p = phase as usize;
                    let over = m.total(p + 2..2 * p);
                    out += &format!(
                        "{during} {service} {seed} {name:12} rej.7 {} {} goodput {:.1} p99 {:.1} all {:.1} lim {}\n",
                        m.total(0..p).rejected,
                        m.total(2 * p + 2..3 * p).rejected,
                        over.good as f64 / (p - 2) as f64,
                        m.quantile_ms(Tier::CORE, p + 2..2 * p, 0.99),
                        m.total(p..2 * p).good as f64 / p as f64,
                        m.limits()
                            .iter()
                            .filter(|(t, _)| *t > (phase - 1) * SECOND
                                && (*t < (phase + 3) * SECOND
                                    || *t > 2 * phase * SECOND && *t < (2 * phase + 3) * SECOND))
                            .step_by(2)
                            .map(|(_, l)| if *l == u32::MAX { 0 } else { *l })
                            .map(|l| l.to_string())
                            .collect::<Vec<_>>()
                            .join(" ")
                    );
                }
            }
        }
    }
    out
}
