//! S4: a target that falters recovers at once when its callers' retries have a budget and it
//! protects itself, and never when they retry whatever fails.

use std::time::Duration;

use steadfast_sim::s4_retry_storm::{Client, Fault, LEFT, Report, Scenario, Server, Service, run};

const LOADS: [f64; 2] = [0.7, 0.8];
const FAULTS: [Fault; 2] = [Fault::FewerWorkers, Fault::SlowerService];
const SERVICES: [Service; 4] = [
    Service::Exponential,
    Service::Lognormal(0.3),
    Service::Lognormal(0.6),
    Service::Lognormal(1.0),
];

/// Runs each load, fault and distribution with these seeds.
fn runs(client: Client, server: Server, seeds: std::ops::Range<u64>) -> Vec<(Scenario, Report)> {
    let mut runs = Vec::new();
    for load in LOADS {
        for fault in FAULTS {
            for service in SERVICES {
                for seed in seeds.clone() {
                    let scenario = Scenario {
                        load,
                        service,
                        fault,
                        client,
                        server,
                        seed,
                    };
                    runs.push((scenario, run(&scenario)));
                }
            }
        }
    }
    runs
}

/// The mean of a service under the fault, in nanoseconds.
fn mean_service_ns(fault: Fault) -> f64 {
    match fault {
        Fault::FewerWorkers => 10e6,
        Fault::SlowerService => 10e6 / LEFT,
    }
}

#[test]
fn ours_recovers_at_once_with_what_capacity_there_is_and_few_attempts() {
    let runs = runs(Client::Budget(0.1), Server::Protected, 1..6);
    let mut served = 0.0;

    for (scenario, report) in &runs {
        let context = format!("{scenario:?}: {report}");
        let recovered = report.recovered_after();
        let without_luck = report.served_in_fault_without_luck(mean_service_ns(scenario.fault));
        assert!(report.answered_before() >= 0.999, "{context}");
        assert!(
            recovered.is_some_and(|after| after <= Duration::from_secs(1)),
            "{context}"
        );
        assert!(without_luck >= 0.29, "{without_luck} {context}");
        assert!(report.attempts_per_request() <= 1.1, "{context}");
        assert!(report.answered_at_the_end() >= 0.999, "{context}");
        served += report.served_in_fault();
    }

    let mean = served / runs.len() as f64;
    assert!(mean >= 0.29, "{mean}");
}

#[test]
fn naive_retries_never_recover_with_or_without_jitter() {
    for client in [Client::Naive, Client::NaiveWithJitter] {
        for (scenario, report) in runs(client, Server::Fifo, 1..3) {
            let context = format!("{scenario:?}: {report}");
            assert!(report.answered_before() >= 0.999, "{context}");
            assert_eq!(report.recovered_after(), None, "{context}");
            assert!(report.answered_at_the_end() <= 0.01, "{context}");
            assert!(report.attempts_per_request_after() >= 3.9, "{context}");
        }
    }
}

#[test]
fn a_budget_alone_recovers_after_the_queue_is_worked_off() {
    for (scenario, report) in runs(Client::Budget(0.1), Server::Fifo, 1..3) {
        let context = format!("{scenario:?}: {report}");
        let recovered = report.recovered_after().expect(&context);
        assert!(recovered >= Duration::from_secs(10), "{context}");
        assert!(recovered <= Duration::from_secs(35), "{context}");
        assert!(report.attempts_per_request() <= 1.1, "{context}");
    }
}

#[test]
fn protection_alone_recovers_and_leaves_the_attempts_unbounded() {
    for (scenario, report) in runs(Client::NaiveWithJitter, Server::Protected, 1..3) {
        let context = format!("{scenario:?}: {report}");
        let recovered = report.recovered_after().expect(&context);
        assert!(recovered <= Duration::from_secs(1), "{context}");
        assert!(report.attempts_per_request() > 1.3, "{context}");
    }
}

#[test]
fn a_seed_gives_the_same_run_again_and_another_one_another() {
    let scenario = |seed| Scenario {
        load: 0.7,
        service: Service::Lognormal(0.6),
        fault: Fault::SlowerService,
        client: Client::Budget(0.1),
        server: Server::Protected,
        seed,
    };

    assert_eq!(run(&scenario(1)), run(&scenario(1)));
    assert_ne!(run(&scenario(1)), run(&scenario(2)));
}
