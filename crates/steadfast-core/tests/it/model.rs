//! Random programs of registrations, exits and panics, against a model that fits on a page: the
//! order of the cleanups and the outcome, in the three forms of a scope.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use steadfast_core::{Outcome, Panic, Scope, ScopeError, SyncScope, Verdict, clock, reaper, scope};
use tokio::sync::Notify;

use crate::support::{Log, Reports, in_own_process};

type Number = u16;

#[derive(Debug, Clone)]
enum Op {
    Register(Number, Way, Effect),
    Disarm(Number),
    Early(Number, Way, Effect),
    /// An inner scope, whose bad end becomes that of the outer one or is ignored.
    Nested(Program, Passes),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Sync,
    Async,
    Own,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Effect {
    Nothing,
    Fail,
    Panic,
    Hang,
    Register(Number),
    Answer,
    Double,
    ToError,
    Recover,
    PanicHalfWay,
    RaiseAgain,
    Undo,
}

#[derive(Debug, Clone, Copy)]
enum Passes {
    On,
    Ignored,
}

#[derive(Debug, Clone, Copy)]
enum Exit {
    Ok,
    Err,
    Panic,
}

#[derive(Debug, Clone)]
struct Program {
    ops: Vec<Op>,
    exit: Exit,
    number: Number,
}

// === the model ===

#[derive(Debug, Clone, PartialEq)]
enum Expected {
    Ok(u64),
    Err(String),
    /// The primary message, then the older ones.
    Panicked(String, Vec<String>),
    Cancelled,
}

impl Expected {
    fn panicked(&mut self, message: String) {
        let older = match std::mem::replace(self, Expected::Cancelled) {
            Expected::Panicked(newest, mut older) => {
                older.push(newest);
                older
            }
            _ => Vec::new(),
        };
        *self = Expected::Panicked(message, older);
    }
}

#[derive(Default)]
struct Model {
    log: Vec<String>,
}

impl Model {
    /// Runs a program; `parked` says that its body does not come to its exit.
    fn run(&mut self, program: &Program, parked: bool) -> Expected {
        let mut stack = Vec::new();
        let mut outcome = match self.body(program, &mut stack) {
            Some(bad) => bad,
            None if parked => Expected::Cancelled,
            None => match program.exit {
                Exit::Ok => Expected::Ok(u64::from(program.number)),
                Exit::Err => Expected::Err(format!("e{}", program.number)),
                Exit::Panic => Expected::Panicked(format!("p{}", program.number), Vec::new()),
            },
        };
        while let Some((number, effect)) = stack.pop() {
            self.cleanup(number, effect, &mut stack, &mut outcome);
        }
        outcome
    }

    fn body(&mut self, program: &Program, stack: &mut Vec<(Number, Effect)>) -> Option<Expected> {
        for op in &program.ops {
            match op {
                Op::Register(number, _, effect) => stack.push((*number, *effect)),
                Op::Disarm(_) => {}
                Op::Early(number, _, effect) => {
                    let mut unseen = Expected::Cancelled;
                    self.cleanup(*number, *effect, stack, &mut unseen);
                }
                Op::Nested(inner, passes) => {
                    let ended = self.run(inner, false);
                    let good = matches!(ended, Expected::Ok(_));
                    if let (Passes::On, false) = (passes, good) {
                        return Some(ended);
                    }
                }
            }
        }
        None
    }

    fn cleanup(
        &mut self,
        number: Number,
        effect: Effect,
        stack: &mut Vec<(Number, Effect)>,
        outcome: &mut Expected,
    ) {
        if effect == Effect::Undo && matches!(outcome, Expected::Ok(_)) {
            return;
        }
        self.log.push(number.to_string());
        match effect {
            Effect::Nothing | Effect::Fail | Effect::Hang | Effect::Undo => {}
            Effect::Panic => outcome.panicked(format!("p{number}")),
            Effect::Register(other) => stack.push((other, Effect::Nothing)),
            Effect::Answer => *outcome = Expected::Ok(u64::from(number)),
            Effect::Double => {
                if let Expected::Ok(value) = outcome {
                    *value = value.wrapping_mul(2);
                }
            }
            Effect::ToError => *outcome = Expected::Err(format!("e{number}")),
            Effect::Recover => {
                if matches!(outcome, Expected::Panicked(..)) {
                    *outcome = Expected::Ok(u64::from(number));
                }
            }
            Effect::PanicHalfWay => {
                *outcome = Expected::Ok(0);
                outcome.panicked(format!("p{number}"));
            }
            // The same panic, which stays as it is; without one there is nothing to raise.
            Effect::RaiseAgain => {}
        }
    }
}

// === the programs, for real ===

fn edit(number: Number, effect: Effect, outcome: &mut Outcome<u64, String>) {
    match effect {
        Effect::Answer => *outcome = Outcome::Ok(u64::from(number)),
        Effect::Double => {
            if let Outcome::Ok(value) = outcome {
                *value = value.wrapping_mul(2);
            }
        }
        Effect::ToError => *outcome = Outcome::Err(format!("e{number}")),
        Effect::Recover => {
            if outcome.panic().is_some() {
                *outcome = Outcome::Ok(u64::from(number));
            }
        }
        Effect::PanicHalfWay => {
            *outcome = Outcome::Ok(0);
            panic!("p{number}");
        }
        Effect::RaiseAgain => {
            if let Some(panic) = outcome.panic() {
                panic.clone().resume();
            }
        }
        _ => unreachable!("no editor"),
    }
}

fn is_editor(effect: Effect) -> bool {
    use Effect::*;
    matches!(
        effect,
        Answer | Double | ToError | Recover | PanicHalfWay | RaiseAgain
    )
}

fn simple(number: Number, effect: Effect, log: &Log) -> Result<(), String> {
    log.say(number.to_string());
    match effect {
        Effect::Panic => panic!("p{number}"),
        Effect::Fail => Err(format!("f{number}")),
        _ => Ok(()),
    }
}

fn exit(program: &Program) -> Result<u64, String> {
    match program.exit {
        Exit::Ok => Ok(u64::from(program.number)),
        Exit::Err => Err(format!("e{}", program.number)),
        Exit::Panic => panic!("p{}", program.number),
    }
}

fn pass(ended: Result<u64, ScopeError<String>>, passes: Passes) -> Result<(), String> {
    match (ended, passes) {
        (Ok(_), _) | (Err(_), Passes::Ignored) => Ok(()),
        (Err(ScopeError::Failed(error)), Passes::On) => Err(error),
        (Err(ScopeError::Panicked(panic)), Passes::On) => panic.resume(),
        (Err(ScopeError::Cancelled(cause)), Passes::On) => unreachable!("{cause}"),
    }
}

fn run_sync(program: &Program, log: &Log) -> Result<u64, ScopeError<String>> {
    scope("sync").error::<String>().run_sync(|s| {
        for op in &program.ops {
            sync_op(op, s, log)?;
        }
        exit(program)
    })
}

fn sync_op<'env>(
    op: &'env Op,
    s: &SyncScope<'env, u64, String>,
    log: &'env Log,
) -> Result<(), String> {
    match op {
        Op::Register(number, _, effect) if is_editor(*effect) => {
            s.defer_outcome("editor", move |outcome| {
                log.say(number.to_string());
                edit(*number, *effect, outcome);
            });
        }
        Op::Register(number, _, Effect::Undo) => {
            s.defer_outcome("undo", move |outcome| {
                if !outcome.is_ok() {
                    log.say(number.to_string());
                }
            });
        }
        Op::Register(number, Way::Own, effect) => {
            // Dropped here, so the value is back long before the end.
            drop(s.own("own", *number, move |number| simple(number, *effect, log)));
        }
        Op::Register(number, _, effect) => {
            s.defer("defer", move || simple(*number, *effect, log));
        }
        Op::Disarm(number) => {
            assert!(
                s.defer("disarmed", move || log.say(format!("disarmed {number}")))
                    .disarm()
            );
        }
        Op::Early(number, _, effect) => {
            let early = s.defer("early", move || simple(*number, *effect, log));
            assert!(early.run().is_some());
        }
        Op::Nested(inner, passes) => pass(run_sync(inner, log), *passes)?,
    }
    Ok(())
}

type Running = std::pin::Pin<Box<dyn Future<Output = Result<u64, ScopeError<String>>> + Send>>;

/// Runs a program; with `park`, its body waits for ever instead of coming to its exit.
fn run_async(program: Program, log: Log, park: Option<Arc<Notify>>, reports: Reports) -> Running {
    let running = scope("async")
        .error::<String>()
        .cleanup_limit(Duration::from_secs(1))
        .on_report(reports.keep())
        .run(async move |s| {
            let mut guards = Vec::new();
            for op in &program.ops {
                if let Some(guard) = async_op(op, &s, &log).await? {
                    guards.push(guard);
                }
            }
            if let Some(parked) = park {
                parked.notify_one();
                std::future::pending::<()>().await;
            }
            exit(&program)
        });
    Box::pin(running)
}

async fn async_op(
    op: &Op,
    s: &Scope<u64, String>,
    log: &Log,
) -> Result<Option<steadfast_core::Owned<Number>>, String> {
    match *op {
        Op::Register(number, way, effect) if is_editor(effect) => {
            let log = log.clone();
            if way == Way::Async {
                s.defer_outcome_async("editor", async move |outcome| {
                    tokio::task::yield_now().await;
                    log.say(number.to_string());
                    outcome.change(|outcome| edit(number, effect, outcome));
                });
            } else {
                s.defer_outcome("editor", move |outcome| {
                    log.say(number.to_string());
                    edit(number, effect, outcome);
                });
            }
        }
        Op::Register(number, _, Effect::Undo) => {
            let log = log.clone();
            s.undo("undo", async move || log.say(number.to_string()));
        }
        Op::Register(number, Way::Sync, effect) => {
            let (log, handle) = (log.clone(), s.clone());
            s.defer("sync", move || registers_too(number, effect, &log, &handle));
        }
        Op::Register(number, Way::Async, effect) => {
            s.defer_async("async", slow(number, effect, log, s));
        }
        Op::Register(number, Way::Own, effect) => {
            let cleanup = slow(number, effect, log, s);
            return Ok(Some(s.own("own", number, move |_| cleanup())));
        }
        Op::Disarm(number) => {
            let log = log.clone();
            let handle = s.defer_async("disarmed", async move || log.say(number.to_string()));
            assert!(handle.disarm());
        }
        Op::Early(number, Way::Sync, effect) => {
            let (log, handle) = (log.clone(), s.clone());
            let early = s.defer("early", move || {
                registers_too(number, effect, &log, &handle)
            });
            assert!(early.run().await.is_some());
        }
        Op::Early(number, _, effect) => {
            let early = s.defer_async("early", slow(number, effect, log, s));
            assert!(early.run().await.is_some());
        }
        Op::Nested(ref inner, passes) => {
            let inner = run_async(inner.clone(), log.clone(), None, Reports::default());
            pass(inner.await, passes)?;
        }
    }
    Ok(None)
}

fn slow(
    number: Number,
    effect: Effect,
    log: &Log,
    s: &Scope<u64, String>,
) -> impl FnOnce() -> std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + use<>
{
    let (log, s) = (log.clone(), s.clone());
    move || {
        Box::pin(async move {
            clock::sleep(Duration::from_millis(u64::from(number % 7))).await;
            let done = registers_too(number, effect, &log, &s);
            tokio::task::yield_now().await;
            if effect == Effect::Hang {
                std::future::pending::<()>().await;
            }
            done
        })
    }
}

fn registers_too(
    number: Number,
    effect: Effect,
    log: &Log,
    s: &Scope<u64, String>,
) -> Result<(), String> {
    if let Effect::Register(other) = effect {
        s.defer("registered", log.saying(&other.to_string()));
    }
    simple(number, effect, log)
}

// === the comparison ===

fn told(ended: Result<u64, ScopeError<String>>) -> Expected {
    let message = |panic: &Panic| panic.message().to_owned();
    match ended {
        Ok(value) => Expected::Ok(value),
        Err(ScopeError::Failed(error)) => Expected::Err(error),
        Err(ScopeError::Panicked(panic)) => Expected::Panicked(
            message(&panic),
            panic.superseded().iter().map(message).collect(),
        ),
        Err(ScopeError::Cancelled(_)) => Expected::Cancelled,
    }
}

fn check(program: &Program, runtime: &tokio::runtime::Runtime) {
    let mut model = Model::default();
    let expected = model.run(program, false);

    let log = Log::default();
    let ended = runtime.block_on(run_async(
        program.clone(),
        log.clone(),
        None,
        Reports::default(),
    ));
    assert_eq!(told(ended), expected, "outcome, async");
    assert_eq!(log.lines(), model.log, "order, async");

    if !registers(program) {
        let log = Log::default();
        assert_eq!(told(run_sync(program, &log)), expected, "outcome, sync");
        assert_eq!(log.lines(), model.log, "order, sync");
    }

    let mut model = Model::default();
    let expected = model.run(program, true);
    let log = Log::default();
    let reports = Reports::default();
    let parked = Arc::new(Notify::new());
    let running = run_async(
        program.clone(),
        log.clone(),
        Some(parked.clone()),
        reports.clone(),
    );
    runtime.block_on(async {
        tokio::select! {
            biased;
            // A nested program may end it before it parks.
            _ = running => {}
            () = parked.notified() => {}
        }
        reaper::drain().await;
    });
    assert_eq!(log.lines(), model.log, "order, dropped");
    let verdict = match expected {
        Expected::Ok(_) => Verdict::Ok,
        Expected::Err(_) => Verdict::Err,
        Expected::Panicked(..) => Verdict::Panicked,
        Expected::Cancelled => Verdict::Cancelled,
    };
    assert_eq!(reports.only().verdict, verdict.as_str(), "verdict, dropped");
}

/// Sync cleanups cannot register, because they cannot hold their scope.
fn registers(program: &Program) -> bool {
    program.ops.iter().any(|op| match op {
        Op::Register(_, _, effect) | Op::Early(_, _, effect) => {
            matches!(effect, Effect::Register(_))
        }
        Op::Disarm(_) => false,
        Op::Nested(inner, _) => registers(inner),
    })
}

fn programs() -> impl Strategy<Value = Program> {
    let leaf = program_of(simple_ops().boxed());
    leaf.prop_recursive(3, 40, 4, |inner| {
        let passes = prop_oneof![Just(Passes::On), Just(Passes::Ignored)];
        let nested = (inner, passes).prop_map(|(inner, passes)| Op::Nested(inner, passes));
        program_of(prop_oneof![4 => simple_ops(), 1 => nested].boxed())
    })
}

fn program_of(op: BoxedStrategy<Op>) -> BoxedStrategy<Program> {
    let exit = prop_oneof![Just(Exit::Ok), Just(Exit::Err), Just(Exit::Panic)];
    (prop::collection::vec(op, 0..12), exit, 1..1_000u16)
        .prop_map(|(ops, exit, number)| Program { ops, exit, number })
        .boxed()
}

fn simple_ops() -> impl Strategy<Value = Op> {
    let way = || prop_oneof![Just(Way::Sync), Just(Way::Async), Just(Way::Own)];
    let plain = || {
        prop_oneof![
            4 => Just(Effect::Nothing),
            1 => Just(Effect::Fail),
            2 => Just(Effect::Panic),
            1 => Just(Effect::Hang),
            1 => (1..1_000u16).prop_map(Effect::Register),
        ]
    };
    let editor = prop_oneof![
        Just(Effect::Answer),
        Just(Effect::Double),
        Just(Effect::ToError),
        Just(Effect::Recover),
        Just(Effect::PanicHalfWay),
        Just(Effect::RaiseAgain),
        Just(Effect::Undo),
    ];
    let number = || 1..1_000u16;
    let effect = prop_oneof![3 => plain(), 2 => editor];
    prop_oneof![
        6 => (number(), way(), effect).prop_map(|(n, way, effect)| Op::Register(n, way, effect)),
        1 => number().prop_map(Op::Disarm),
        1 => (number(), way(), plain()).prop_map(|(n, way, effect)| Op::Early(n, way, effect)),
    ]
}

#[test]
fn random_programs_clean_up_as_the_model_says_in_all_three_forms() {
    in_own_process(
        "model::random_programs_clean_up_as_the_model_says_in_all_three_forms",
        || {
            std::panic::set_hook(Box::new(|_| ()));
            steadfast_core::panic::install();
            steadfast_core::panic::sample(0);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap();
            let config = Config {
                cases: 500,
                failure_persistence: None,
                ..Config::default()
            };
            let mut runner = TestRunner::new(config);
            let checked = runner.run(&programs(), |program| {
                check(&program, &runtime);
                Ok(())
            });
            if let Err(error) = checked {
                panic!("{error}");
            }
        },
    );
}
