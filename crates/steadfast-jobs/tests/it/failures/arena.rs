//! Where a scenario is played: a database of its own, what was enqueued, and the processes that share it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use steadfast_core::{clock, rng};
use steadfast_jobs::{Batch, Job, JobDetail, JobId, Jobs, Options, PACKAGE, Running, State};
use steadfast_store::testing::{Cluster, Database, Kind};
use steadfast_store::{Binds, Config, Dialect, Error, Place, Rows, Statement, Store, binds};

use super::process::Process;
use super::role::{Deed, Part, Role};
use super::{On, PATIENCE, audit};

/// Which form of the scenarios.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    pub(crate) lease: Duration,
    pub(crate) rescue: Duration,
    /// Whether numbers are those of the long form.
    pub(crate) is_long: bool,
    pub(crate) seed: u64,
}

impl Form {
    /// The form of the tests.
    #[cfg_attr(not(test), allow(dead_code, reason = "the tests play it"))]
    pub(crate) fn short() -> Self {
        Self {
            lease: Duration::from_secs(1),
            rescue: Duration::from_millis(200),
            is_long: false,
            seed: rng::bits(),
        }
    }

    /// The form with the usual lease.
    #[cfg_attr(test, allow(dead_code, reason = "the example plays it"))]
    pub(crate) fn long(seed: u64) -> Self {
        Self {
            lease: Duration::from_secs(30),
            rescue: Duration::from_secs(5),
            is_long: true,
            seed,
        }
    }

    /// Chooses a number.
    pub(crate) fn of(self, short: usize, long: usize) -> usize {
        if self.is_long { long } else { short }
    }
}

enum Keep {
    Database(#[allow(dead_code, reason = "dropped at the end")] Database),
    Cluster(Cluster),
}

/// Where a scenario is played.
pub(crate) struct Arena {
    pub(crate) form: Form,
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) jobs: Jobs,
    acknowledged: Mutex<Vec<JobId>>,
    folder: PathBuf,
    files: AtomicU64,
    random: AtomicU64,
    keep: Keep,
}

impl Arena {
    pub(crate) async fn make(form: Form, on: On) -> Self {
        let kind = match on {
            On::Sqlite => Kind::Sqlite,
            On::Postgres => Kind::Postgres,
        };
        let database = Database::make(kind).await;
        Self::at(form, database.config(), Keep::Database(database)).await
    }

    /// The same on a server that may be stopped. What it has acknowledged is in its log before it says so.
    pub(crate) async fn on_own_server(self) -> Self {
        let cluster = tokio::task::block_in_place(|| {
            Cluster::start_with(&["synchronous_commit = on", "full_page_writes = on"])
        });
        let config = Config::postgres(cluster.url("postgres"));
        Self::at(self.form, config, Keep::Cluster(cluster)).await
    }

    async fn at(form: Form, config: Config, keep: Keep) -> Self {
        let store = Store::open(config.clone()).await.expect("it can be opened");
        let jobs = Jobs::open(&store).await.expect("it can be migrated");
        audit::install(&store).await;
        let folder = std::env::temp_dir().join(format!("failures-{:016x}", rng::bits()));
        std::fs::create_dir_all(&folder).expect("there is a folder for temporary files");
        Self {
            form,
            config,
            store,
            jobs,
            acknowledged: Mutex::default(),
            folder,
            files: AtomicU64::new(0),
            random: AtomicU64::new(form.seed | 1),
            keep,
        }
    }

    pub(crate) fn server(&self) -> &Cluster {
        match &self.keep {
            Keep::Cluster(cluster) => cluster,
            Keep::Database(_) => panic!("this scenario has no server of its own"),
        }
    }

    /// Gives a file that is not there yet.
    pub(crate) fn file(&self) -> PathBuf {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("{number}"))
    }

    /// Gives a number below `end`, by the seed.
    pub(crate) fn random(&self, end: u64) -> u64 {
        let mut state = self.random.load(Ordering::Relaxed);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.random.store(state, Ordering::Relaxed);
        state % end.max(1)
    }

    // === jobs ===

    pub(crate) async fn enqueue(&self, deed: &Deed) -> JobId {
        self.enqueue_with(deed, Options::new()).await
    }

    pub(crate) async fn enqueue_with(&self, deed: &Deed, options: Options) -> JobId {
        // A server that was away may have left connections behind that are found dead when they are used.
        let until = clock::now() + PATIENCE;
        let id = loop {
            match self.jobs.enqueue(deed, options.clone()).await {
                Ok(id) => break id,
                Err(error) => assert!(error.is_retryable() && clock::now() < until, "{error:?}"),
            }
        };
        self.acknowledge(id);
        id
    }

    pub(crate) async fn enqueue_many(
        &self,
        job: &impl Job,
        options: Options,
        count: usize,
    ) -> Vec<JobId> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let mut batch = Batch::new();
            for _ in 0..(count - ids.len()).min(5_000) {
                batch
                    .push(job, options.clone())
                    .expect("it is within bounds");
            }
            ids.extend(self.jobs.enqueue_batch(batch).await.expect("it is taken"));
        }
        for id in &ids {
            self.acknowledge(*id);
        }
        ids
    }

    /// Notes that the store has said that it has this job.
    pub(crate) fn acknowledge(&self, id: JobId) {
        let mut all = self
            .acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.push(id);
    }

    pub(crate) fn acknowledged(&self) -> Vec<JobId> {
        let all = self
            .acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }

    pub(crate) async fn find(&self, id: JobId) -> JobDetail {
        let found = self.jobs.find(id).await.expect("the store answers");
        found.unwrap_or_else(|| panic!("job {id} was acknowledged and is not there"))
    }

    /// Waits until a job is in a state.
    pub(crate) async fn until(&self, id: JobId, state: State) -> JobDetail {
        let until = clock::now() + PATIENCE + self.form.lease * 3;
        loop {
            // The server may be away for as long as the scenario wants.
            let last = self.jobs.find(id).await;
            if let Ok(Some(found)) = &last
                && found.info.state == state
            {
                return found.clone();
            }
            assert!(clock::now() < until, "job {id} is not {state}: {last:?}");
            clock::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn until_all(&self, ids: &[JobId], state: State) {
        for id in ids {
            self.until(*id, state).await;
        }
    }

    /// Asks the tables: the words for SQLite, those for PostgreSQL.
    pub(crate) async fn sql(
        &self,
        sqlite: &'static str,
        postgres: &'static str,
        binds: Binds,
    ) -> Rows {
        self.try_sql(sqlite, postgres, binds)
            .await
            .expect("the store answers")
    }

    pub(crate) async fn try_sql(
        &self,
        sqlite: &'static str,
        postgres: &'static str,
        binds: Binds,
    ) -> Result<Rows, Error> {
        let text = match self.store.dialect() {
            Dialect::Sqlite => sqlite,
            Dialect::Postgres => postgres,
        };
        if text.starts_with("SELECT") {
            // Also while somebody else has the lock of the file.
            return self
                .store
                .read(async |mut tx| tx.sql(text, binds).await)
                .await;
        }
        self.store
            .write(async |mut tx| tx.sql(text, binds).await)
            .await
    }

    pub(crate) async fn number(&self, sqlite: &'static str, postgres: &'static str) -> i64 {
        let rows = self.sql(sqlite, postgres, binds![]).await;
        rows.one()
            .and_then(|row| row.get(0))
            .expect("it is a number")
    }

    // === processes ===

    /// Describes a worker; the fields are there to be changed.
    pub(crate) fn role(&self) -> Role {
        let place = match &self.config.place {
            Place::Sqlite(path) => format!("sqlite:{}", path.display()),
            Place::Postgres(url) => url.clone(),
            other => panic!("{other:?}"),
        };
        Role {
            part: Part::Work,
            place,
            lease: self.form.lease,
            rescue: self.form.rescue,
            permits: 100,
            drain: Duration::from_secs(60),
            timeout: Duration::from_secs(900),
            never: Vec::new(),
            unanswered: Vec::new(),
            tells: true,
        }
    }

    pub(crate) fn start(&self, role: &Role) -> Process {
        Process::start(role, self.file(), &[])
    }

    pub(crate) fn start_with(&self, role: &Role, env: &[(&str, String)]) -> Process {
        Process::start(role, self.file(), env)
    }

    /// A worker in this process, on a store of its own: what the others leave it brings to its end.
    pub(crate) async fn work(&self) -> Running {
        let store = Store::open(self.config.clone())
            .await
            .expect("it can be opened");
        let jobs = Jobs::open(&store).await.expect("it can be migrated");
        let builder = super::role::builder(&jobs, &self.role());
        builder.build().expect("it is within bounds").start()
    }

    /// Makes a process look as if it were on another host: nobody sees the file that says that it lives, so
    /// that its death is known by its lease alone.
    pub(crate) async fn move_away(&self, process: &Process) {
        let rows = self
            .sql(
                "SELECT lock FROM steadfast_node WHERE pid = ?1",
                "SELECT lock FROM steadfast.node WHERE pid = $1",
                binds![i64::from(process.id())],
            )
            .await;
        for row in &rows {
            let _ = std::fs::remove_file(row.get::<&str>(0).expect("it is a path"));
        }
    }

    /// Stops a process at a moment at which it is in no transaction: on SQLite one that stands still with
    /// the lock of the file in its hand stops everybody, which is another story.
    pub(crate) async fn stop(&self, process: &mut Process) {
        let config = Config {
            acquire_timeout: Duration::from_millis(200),
            ..self.config.clone()
        };
        let probe = Store::open(config).await.expect("it can be opened");
        loop {
            process.signal("STOP");
            let wrote: Result<(), Error> = probe.write(async |_| Ok(())).await;
            match wrote {
                Ok(()) => break,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            process.signal("CONT");
            clock::sleep(Duration::from_millis(20)).await;
        }
        probe.close().await;
    }

    // === the end ===

    /// Ends the round: what was acknowledged has ended, and the invariants hold.
    pub(crate) async fn ends(&self) {
        audit::check(self).await;
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Lets whoever waits for a file go on.
pub(crate) fn touch(file: &Path) {
    std::fs::write(file, "").expect("the folder is there");
}

/// Tells how long something took, for the table of the long form.
pub(crate) fn seconds(since: clock::Instant) -> String {
    format!("{:.1} s", (clock::now() - since).as_secs_f64())
}

/// Gives a statement of the package.
pub(crate) fn statement(name: &str) -> &'static Statement {
    let found = PACKAGE.statements.iter().find(|known| known.name() == name);
    found
        .copied()
        .unwrap_or_else(|| panic!("no statement {name}"))
}
