//! Programs that get into trouble, to look at and for the process-level tests:
//!
//! ```console
//! $ cargo run -p steadfast-core --example dying -- two-panicking-cleanups
//! ```
//!
//! Each prints what the kernel made of it. Without a name, the names are listed.
#![allow(clippy::print_stdout, reason = "the programs are there to be read")]
#![allow(
    clippy::disallowed_methods,
    reason = "several programs show what becomes of a foreign runtime"
)]

use std::future::pending;
use std::process::ExitCode;
use std::time::Duration;

use steadfast_core::context::Tier;
use steadfast_core::panic::{self, Policy};
use steadfast_core::pool::{Pool, PoolConfig};
use steadfast_core::shutdown::{Limits, Phase};
use steadfast_core::{
    BoxError, Cause, Program, Shutdown, cancel, clock, defer, recover, run, scope, spawn,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

type Named = (&'static str, fn() -> ExitCode);

const PROGRAMS: &[Named] = &[
    ("two-panicking-cleanups", two_panicking_cleanups),
    ("panic-while-unwinding", panic_while_unwinding),
    ("first-guard-while-unwinding", first_guard_while_unwinding),
    ("payload-that-panics", payload_that_panics),
    ("abort-by-policy", abort_by_policy),
    ("abort-by-policy-async", abort_by_policy_async),
    ("uncaught-in-a-thread", uncaught_in_a_thread),
    (
        "panic-under-a-lock-of-tracing",
        panic_under_a_lock_of_tracing,
    ),
    ("storm", storm),
    ("pending-cleanups-under-run", pending_cleanups_under_run),
    ("foreign-multi-thread", foreign_multi_thread),
    ("foreign-current-thread", foreign_current_thread),
    ("foreign-background", foreign_background),
    ("foreign-io", foreign_io),
    ("serve", serve),
    ("serve-a-hanging-client", serve_a_hanging_client),
    ("block-for-ever", block_for_ever),
    ("fail", fail),
    ("unheard", unheard),
    ("panic-in-main", panic_in_main),
    (
        "fail-with-an-error-that-panics",
        fail_with_an_error_that_panics,
    ),
    ("go-on-after-run", go_on_after_run),
    ("main-without-end", main_without_end),
    ("hard-limit", hard_limit),
    ("nested-run", nested_run),
];

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    match PROGRAMS.iter().find(|(known, _)| *known == name) {
        Some((_, program)) => program(),
        None => {
            PROGRAMS.iter().for_each(|(known, _)| println!("{known}"));
            ExitCode::from(2)
        }
    }
}

/// Plain destructors would abort here.
fn two_panicking_cleanups() -> ExitCode {
    panic::install_quiet();
    let ended = scope("program").run_sync(|s| -> Result<(), BoxError> {
        s.defer("one", || panic!("one"));
        s.defer("two", || panic!("two"));
        panic!("body")
    });
    let error = ended.unwrap_err();
    let panic = error.panic().unwrap();
    let older: Vec<_> = panic
        .superseded()
        .iter()
        .map(|panic| panic.message())
        .collect();
    println!("alive: {} after {older:?}", panic.message());
    ExitCode::SUCCESS
}

fn panic_while_unwinding() -> ExitCode {
    panic::install_quiet();
    let panic = recover(|| {
        defer! { panic!("in a guard, while unwinding") }
        panic!("body");
    });
    println!("alive: {}", panic.unwrap_err().message());
    ExitCode::SUCCESS
}

/// The guard is the first thing of steadfast that the process uses.
fn first_guard_while_unwinding() -> ExitCode {
    let caught = std::panic::catch_unwind(|| {
        defer! { panic!("in a guard") }
        panic!("body");
    });
    let panic = recover(|| panic!("later"));
    println!(
        "alive: {:?}, {}",
        caught.unwrap_err().downcast_ref::<&str>(),
        panic.unwrap_err().message()
    );
    ExitCode::SUCCESS
}

fn payload_that_panics() -> ExitCode {
    struct Bomb(u8);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                std::panic::panic_any(Bomb(self.0 - 1));
            }
        }
    }

    panic::install_quiet();
    drop(recover(|| std::panic::panic_any(Bomb(3))));
    println!("alive");
    ExitCode::SUCCESS
}

fn abort_by_policy() -> ExitCode {
    let scope = scope("ledger").on_panic(Policy::Abort);
    let _ = scope.run_sync(|s| -> Result<(), BoxError> {
        s.defer("must not run", || println!("a cleanup ran"));
        panic!("balance is negative")
    });
    println!("not reached");
    ExitCode::SUCCESS
}

fn abort_by_policy_async() -> ExitCode {
    run(async |_| -> Result<(), BoxError> {
        let scope = scope("ledger").on_panic(Policy::Abort);
        let _ = scope
            .run(async |s| -> Result<(), BoxError> {
                s.defer("must not run", || println!("a cleanup ran"));
                panic!("balance is negative")
            })
            .await;
        println!("not reached");
        Ok(())
    })
}

fn uncaught_in_a_thread() -> ExitCode {
    panic::install_quiet();
    let (sender, reports) = std::sync::mpsc::channel();
    let _observer = panic::observe(move |report| {
        let _ = sender.send((report.message().to_owned(), report.contained()));
    });
    let thread = std::thread::spawn(|| panic!("nobody joins"));
    let report = reports.recv_timeout(Duration::from_secs(1));
    drop(thread);
    match report {
        Ok((message, contained)) => println!("{message}, contained: {contained}"),
        Err(_) => println!("not reported within a second"),
    }
    ExitCode::SUCCESS
}

fn panic_under_a_lock_of_tracing() -> ExitCode {
    use std::sync::Mutex;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
    use tracing_subscriber::util::SubscriberInitExt;

    /// Holds its lock while it panics, as a layer with a bug does.
    struct Broken(Mutex<u32>);
    impl<S: tracing::Subscriber> Layer<S> for Broken {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let lock = self.0.lock();
            if event.metadata().target() == "program" {
                panic!("in a layer");
            }
            drop(lock);
        }
    }

    panic::install_quiet();
    tracing_subscriber::registry()
        .with(Broken(Mutex::new(0)))
        .init();
    let panic = recover(|| tracing::info!(target: "program", "boom")).unwrap_err();
    panic::flush(Duration::from_secs(2));
    println!(
        "alive: {}, counted {}",
        panic.message(),
        panic::groups()[0].count
    );
    ExitCode::SUCCESS
}

fn storm() -> ExitCode {
    panic::install_quiet();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                for _ in 0..25_000 {
                    drop(recover(|| panic!("again")));
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let group = panic::groups().remove(0);
    println!("counted {}, contained {}", group.count, group.contained);
    ExitCode::SUCCESS
}

/// A scope with an inner one, both with slow async cleanups, that never ends by itself.
async fn pending_scopes() {
    let outer = scope("outer").run(async |s| {
        s.defer_async("outer cleanup", async || {
            clock::sleep(Duration::from_millis(50)).await;
            println!("outer cleanup ran");
        });
        let inner = scope("inner").run(async |s| {
            s.defer_async("inner cleanup", async || {
                clock::sleep(Duration::from_millis(50)).await;
                println!("inner cleanup ran");
            });
            pending::<Result<(), BoxError>>().await
        });
        inner.await?;
        Ok(())
    });
    let _ = outer.await;
}

fn pending_cleanups_under_run() -> ExitCode {
    run(async |_| {
        spawn("pending", pending_scopes());
        // Dropped by the timeout: the reaper has it when main returns.
        let _ = clock::timeout(Duration::from_millis(20), pending_scopes()).await;
        Ok::<_, BoxError>(())
    })
}

fn foreign_multi_thread() -> ExitCode {
    foreign(Builder::new_multi_thread().worker_threads(2), drop)
}

fn foreign_current_thread() -> ExitCode {
    foreign(&mut Builder::new_current_thread(), drop)
}

fn foreign_background() -> ExitCode {
    foreign(Builder::new_multi_thread().worker_threads(2), |runtime| {
        runtime.shutdown_timeout(Duration::from_secs(5));
    })
}

fn foreign(builder: &mut Builder, end: impl FnOnce(Runtime)) -> ExitCode {
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::spawn(pending_scopes());
        clock::sleep(Duration::from_millis(20)).await;
    });
    end(runtime);
    println!("runtime ended");
    ExitCode::SUCCESS
}

/// The cleanup uses a listener of the runtime that has ended.
fn foreign_io() -> ExitCode {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        tokio::spawn(async move {
            let scope = scope("listener")
                .cleanup_limit(Duration::from_millis(200))
                .on_report(|report| println!("{report}"));
            let _ = scope
                .run(async |s| {
                    let _listener = s.own("say good-bye", listener, async |listener| {
                        listener.accept().await.map(drop)
                    });
                    s.defer_async("still works", async || {});
                    pending::<Result<(), BoxError>>().await
                })
                .await;
        });
        clock::sleep(Duration::from_millis(20)).await;
    });
    drop(runtime);
    ExitCode::SUCCESS
}

fn serve() -> ExitCode {
    run(async |shutdown: Shutdown| {
        shutdown.on(Phase::StopAccepting, "leave the cluster", async || {
            println!("left")
        })?;
        let request = shutdown.in_flight(Tier::DEFAULT).ok_or("shutting down")?;
        spawn("request", async move {
            request.token().cancelled().await;
            println!("request was cancelled");
        });
        println!("ready");
        let reason = shutdown.stop_accepting().cancelled().await;
        println!("stopped accepting: {reason}");
        // What is in flight below the core tier would have five seconds.
        shutdown.reached(Phase::DrainLower).await;
        shutdown.signal("impatient");
        Ok::<_, BoxError>(())
    })
}

fn serve_a_hanging_client() -> ExitCode {
    run(async |_| {
        println!("ready");
        let hanging = scope("hanging").run(async |s| {
            s.defer_async("hang up", async || println!("hung up"));
            pending::<Result<(), BoxError>>().await
        });
        cancel::if_dropped(Cause::Shutdown, hanging).await?;
        Ok::<_, BoxError>(())
    })
}

fn block_for_ever() -> ExitCode {
    let limits = Limits {
        drain_core: Duration::from_millis(50),
        cancel: Duration::from_millis(50),
        hard: Duration::from_millis(200),
        ..Limits::default()
    };
    Program::new().limits(limits).run(async |shutdown| {
        shutdown.request("test");
        while !shutdown.is_ready() {
            clock::block(Duration::from_secs(1));
        }
        Ok::<_, BoxError>(())
    })
}

fn fail() -> ExitCode {
    run(async |_| {
        let missing = std::fs::read("/no/such/file").map(drop);
        missing.map_err(|error| BoxError::from(format!("cannot read the config: {error}")))
    })
}

/// Nobody listens to tracing: what goes wrong must be on standard error, and nothing else.
fn unheard() -> ExitCode {
    // Installs the hook with the standard report; `run` takes that off for what is contained.
    let _ = recover(|| ());
    run(async |_| {
        let contained = spawn("unlucky", async { panic!("contained") }).await;
        assert!(contained.is_err());
        let ended = scope("import")
            .run(async |s| {
                s.defer_async("flush", async || Err::<(), _>("disk full"));
                Ok(())
            })
            .await;
        let pool = Pool::new(PoolConfig::new("letters", 1))?;
        let (begun, has_begun) = oneshot::channel();
        drop(pool.try_submit("send", async move {
            let _ = begun.send(());
            pending::<()>().await
        })?);
        // One that runs and one that waits, however slow the machine.
        has_begun.await?;
        drop(pool.try_submit("send", pending::<()>())?);
        ended.map_err(BoxError::from)
    })
}

fn panic_in_main() -> ExitCode {
    run(async |_| -> Result<(), BoxError> { panic!("no config") })
}

fn fail_with_an_error_that_panics() -> ExitCode {
    #[derive(Debug)]
    struct Nasty;
    impl std::fmt::Display for Nasty {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("shown")
        }
    }
    impl std::error::Error for Nasty {}
    impl Drop for Nasty {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("dropped");
            }
        }
    }

    run(async |_| Err(BoxError::from(Nasty)))
}

fn go_on_after_run() -> ExitCode {
    let limits = Limits {
        hard: Duration::from_millis(10),
        ..Limits::default()
    };
    let code = Program::new()
        .limits(limits)
        .run(async |_| Ok::<_, BoxError>(()));
    // Longer than the last resort would wait after the hard limit.
    clock::block(Duration::from_secs(3));
    println!("alive");
    code
}

/// The cleanup of main takes longer than all phases together may.
fn main_without_end() -> ExitCode {
    let short = Duration::from_millis(20);
    let limits = Limits {
        drain_core: short,
        cancel: short,
        cleanup: short,
        ..Limits::default()
    };
    Program::new().limits(limits).run(async |shutdown| {
        shutdown.request("test");
        let scope = scope("server").cleanup_limit(Duration::from_secs(3600));
        let server = scope.run(async |s| {
            s.defer_async("hangs", pending::<()>);
            pending::<Result<(), BoxError>>().await
        });
        server.await?;
        Ok::<_, BoxError>(())
    })
}

fn hard_limit() -> ExitCode {
    let limits = Limits {
        hard: Duration::from_millis(50),
        ..Limits::default()
    };
    Program::new().limits(limits).run(async |shutdown| {
        shutdown.request("test");
        pending::<Result<(), BoxError>>().await
    })
}

fn nested_run() -> ExitCode {
    run(async |_| {
        let nested = recover(|| run(async |_| Ok::<_, BoxError>(())));
        println!("alive: {}", nested.unwrap_err().message());
        Ok::<_, BoxError>(())
    })
}
