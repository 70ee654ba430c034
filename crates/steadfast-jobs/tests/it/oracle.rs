//! Random operations against the model and against the stores: the same answers, the same tables.

use std::time::Duration;

use steadfast_jobs::state::Event;
use steadfast_jobs::{JobId, Jobs, Options, State};
use steadfast_store::{Store, binds};

use super::fence::{claim_up_to, end};
use super::model::Model;
use super::support::{Act, kill, look, node, rescue, statement};

/// Every end of a run, as the statements tell it and as the table of states calls it.
const ENDS: [(&str, Event); 7] = [
    ("completed", Event::Complete),
    ("discarded", Event::Discard),
    ("cancelled", Event::Stop),
    ("complete_in", Event::Complete),
    ("retried", Event::Retry),
    ("snoozed", Event::Snooze),
    ("released", Event::Release),
];

/// How many operations of each kind were carried out and accepted; none may be zero in the end.
#[derive(Debug, Default)]
struct Done([u32; 13]);

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let place = self.roll(from.len().max(1) as u64);
        from.get(place as usize).cloned()
    }
}

async fn compare(store: &Store, model: &Model, what: &str) {
    for (id, job) in &model.jobs {
        let seen = look(store, JobId::new(*id).unwrap()).await.unwrap();
        let is = (
            seen.state.as_str(),
            seen.attempt,
            seen.crashes,
            seen.term,
            seen.incarnation,
        );
        let all = i64::from(job.crashes.all);
        let should = (job.state.as_str(), job.spent, all, job.term, job.holder);
        assert_eq!(is, should, "job {id} after {what}");
    }
}

async fn step(jobs: &Jobs, model: &mut Model, dice: &mut Dice, done: &mut Done) -> String {
    let store = jobs.store();
    let ids: Vec<u64> = model.jobs.keys().copied().collect();
    let nodes: Vec<i64> = model.nodes.iter().copied().collect();
    let (Some(some), Some(somebody)) = (dice.pick(&ids), dice.pick(&nodes)) else {
        panic!("begun with a job and a node");
    };
    let some_id = JobId::new(some).unwrap();
    match dice.roll(20) {
        0..=3 => {
            let (later, max) = (dice.roll(4) == 0, 1 + dice.roll(3));
            let delay = if later {
                Duration::from_secs(3_600)
            } else {
                Duration::ZERO
            };
            let key = (dice.roll(3) == 0).then(|| dice.roll(3) as u8);
            let mut options = Options::new().delay(delay).max_attempts(max as u32);
            if let Some(key) = key {
                options = options.unique(format!("key {key}"));
            }
            let id = jobs.enqueue(&Act::Succeed, options).await.unwrap();
            match key.and_then(|key| model.holder_of(key)) {
                Some(holder) => {
                    assert_eq!(id.get(), holder, "{key:?}");
                    done.0[9] += 1;
                }
                None => model.enqueue(id.get(), later, max as i64, key),
            }
            done.0[0] += 1;
            format!("enqueue {id} with key {key:?}")
        }
        4..=7 => {
            let want = 1 + dice.roll(4) as usize;
            let ready = model.claimable(somebody, false);
            let claimed = claim_up_to(store, somebody, want).await;
            assert_eq!(claimed.len(), want.min(ready.len()));
            for (id, term) in &claimed {
                let id = *id as u64;
                assert!(ready.contains(&id), "job {id} is not there to be claimed");
                model.claim(somebody, id);
                assert_eq!(model.jobs[&id].term, *term);
            }
            done.0[1] += u32::from(!claimed.is_empty());
            format!("claim of {want} by {somebody}: {claimed:?}")
        }
        8 => {
            let ready = model.claimable(somebody, true);
            let queue = vec!["default".to_owned()];
            let binds = binds![somebody, queue, vec!["act".to_owned()], 0_i64];
            let rows = store.run(statement("claim_suspect"), binds).await.unwrap();
            assert_eq!(rows.len(), ready.len().min(1));
            if let Some(row) = rows.first() {
                let id = row.get::<i64>(0).unwrap() as u64;
                assert!(ready.contains(&id));
                model.claim(somebody, id);
                done.0[2] += 1;
            }
            format!("claim of a suspect by {somebody}")
        }
        9..=13 => {
            let job = model.jobs[&some].clone();
            // Mostly as the holder, at times as somebody late.
            let node = job.holder.filter(|_| dice.roll(8) > 0).unwrap_or(somebody);
            let term = job.term - i64::from(dice.roll(8) == 0);
            let Some((how, event)) = dice.pick(&ENDS) else {
                panic!("there are ends");
            };
            let (how, event) = match event {
                Event::Retry if job.spent + 1 >= job.max => ("discarded", Event::Discard),
                event => (how, event),
            };
            let accepted = model.end(node, some, term, event);
            let stopped = accepted && job.stops && how == "retried";
            done.0[10] += u32::from(stopped);
            let told = end(store, how, some as i64, term, node).await;
            assert_eq!(
                told, accepted,
                "{how} of {some} under {term} by {node}: {job:?}"
            );
            done.0[3] += u32::from(accepted);
            format!("{how} of {some} under {term} by {node}")
        }
        14 => {
            if model.alive.len() > 1 {
                model.alive.remove(&somebody);
                kill(store, somebody).await;
                done.0[4] += 1;
            }
            let new = node(store).await;
            model.alive.insert(new);
            model.nodes.insert(new);
            format!("death of {somebody}, birth of {new}")
        }
        15 => {
            let asked = |model: &Model| {
                let jobs = model.jobs.values();
                jobs.filter(|job| job.stops && job.state == State::Running)
                    .count()
            };
            let before = asked(model);
            model.rescue();
            rescue(store).await;
            done.0[5] += 1;
            done.0[11] += u32::from(asked(model) < before);
            "rescue".to_owned()
        }
        16 => {
            let cancelled = model.cancel(some);
            let told = jobs.cancel(some_id, "oracle").await.unwrap();
            assert_eq!(told == steadfast_jobs::Cancelled::Now, cancelled);
            let runs = model.jobs[&some].state == State::Running;
            assert_eq!(told == steadfast_jobs::Cancelled::Asked, runs);
            done.0[6] += u32::from(cancelled);
            format!("cancel of {some}")
        }
        17 => {
            let due = model.run_now(some);
            assert_eq!(jobs.run_now(some_id).await.unwrap(), due);
            done.0[7] += u32::from(due);
            format!("run now of {some}")
        }
        _ => {
            let again = model.redrive(some);
            let redriven = jobs.redrive(&[some_id]).await.unwrap();
            assert_eq!(redriven.jobs == [some_id], again);
            let job = &model.jobs[&some];
            let ended = job.state.is_terminal() && job.state != State::Completed;
            let holder = job.key.and_then(|key| model.holder_of(key));
            let refused = holder
                .filter(|_| ended)
                .map(|by| (some_id, JobId::new(by).unwrap()));
            assert_eq!(redriven.refused, refused.into_iter().collect::<Vec<_>>());
            done.0[8] += u32::from(again);
            done.0[12] += u32::from(refused.is_some());
            format!("redrive of {some}")
        }
    }
}

steadfast_store::on_every_store! {
    async fn the_store_does_what_the_model_says(database) {
        let store = database.open().await;
        let jobs = Jobs::open(&store).await.unwrap();
        let seed = std::env::var("STEADFAST_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed: u64 = seed.unwrap_or(20_260_729);
        let (mut model, mut done, mut dice) = (Model::default(), Done::default(), Dice(seed | 1));
        let first = node(&store).await;
        model.alive.insert(first);
        model.nodes.insert(first);
        let id = jobs.enqueue(&Act::Succeed, Options::new().max_attempts(3)).await.unwrap();
        model.enqueue(id.get(), false, 3, None);

        let mut steps = 0;
        // Until everything has happened at least once, and that within a bound.
        while steps < 300 || done.0.contains(&0) {
            assert!(steps < 3_000, "seed {seed}: {done:?}");
            let what = step(&jobs, &mut model, &mut dice, &mut done).await;
            steps += 1;
            if steps % 25 == 0 {
                compare(&store, &model, &format!("step {steps} of seed {seed}: {what}")).await;
            }
        }

        compare(&store, &model, "the end").await;
    }
}
