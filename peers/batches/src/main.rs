//! Forms and sizes of batches on PostgreSQL.
//!
//! `cargo run --release -p batches` (in `peers`) prints two tables. The first has rows a second and the time of a transaction,
//! by one connection: inserts by hand, one row or many a transaction, beside ours. Contenders take turns, a few rounds of each,
//! and the median counts, so that what the machine does meanwhile meets all of them. The second has eight writers on the same
//! rows: each fixed size, and the writer that finds its size.
//!
//! The server is one of its own, which flushes each commit; or that of `STEADFAST_BENCH_DATABASE_URL`. `--rounds N` and
//! `--seconds N` say for how long (5 and 1).

use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Postgres, QueryBuilder};
use steadfast::BoxError;
use steadfast::batch::{BatchConfig, BatchWriter};
use steadfast::store::sink::measure::{MeasureConfig, Measured, measure};
use steadfast::store::sink::{Form, Table, TableSink};
use steadfast::store::testing::Cluster;
use steadfast::store::{Config, Kind, Store, binds};

/// A row as services have them: an id, a number, a text of 60 bytes.
#[derive(Clone)]
struct Row {
    id: i64,
    count: i64,
    text: String,
}

fn row(id: i64) -> Row {
    Row {
        id,
        count: id % 97,
        text: format!("{id:060}"),
    }
}

/// What one round of a contender did.
#[derive(Clone, Copy)]
struct Round {
    rows: u64,
    transactions: u64,
    took: Duration,
}

impl Round {
    fn rate(self) -> f64 {
        self.rows as f64 / self.took.as_secs_f64()
    }

    /// Milliseconds.
    fn time(self) -> f64 {
        self.took.as_secs_f64() * 1e3 / self.transactions.max(1) as f64
    }
}

#[derive(Clone, Copy)]
enum Contender {
    OneRow,
    Naive(usize),
    Values(usize),
    Unnest(usize),
    Copy(usize),
    Ours(Form, u32),
}

const CONTENDERS: [(&str, Contender); 10] = [
    ("one row a transaction, by hand", Contender::OneRow),
    (
        "1,000 inserts in a transaction, by hand",
        Contender::Naive(1_000),
    ),
    ("VALUES of 200, by hand", Contender::Values(200)),
    ("UNNEST of 200, by hand", Contender::Unnest(200)),
    ("UNNEST of 200, ours", Contender::Ours(Form::Unnest, 200)),
    ("VALUES of 200, ours", Contender::Ours(Form::Values, 200)),
    ("COPY of 200, by hand", Contender::Copy(200)),
    ("COPY of 200, ours", Contender::Ours(Form::Copy, 200)),
    ("UNNEST of 50, ours", Contender::Ours(Form::Unnest, 50)),
    (
        "UNNEST of 1,000, ours",
        Contender::Ours(Form::Unnest, 1_000),
    ),
];

struct Bench {
    conn: PgConnection,
    store: Store,
    next: i64,
    time: Duration,
}

impl Bench {
    async fn round(&mut self, contender: Contender) -> Result<Round, BoxError> {
        sqlx::raw_sql("TRUNCATE bench")
            .execute(&mut self.conn)
            .await?;
        match contender {
            Contender::Ours(form, rows) => self.ours(form, rows).await,
            by_hand => {
                // What is prepared is prepared before.
                self.by_hand(by_hand).await?;
                let began = Instant::now();
                let (mut rows, mut transactions) = (0, 0);
                while began.elapsed() < self.time {
                    rows += self.by_hand(by_hand).await?;
                    transactions += 1;
                }
                let took = began.elapsed();
                Ok(Round {
                    rows,
                    transactions,
                    took,
                })
            }
        }
    }

    fn rows(&mut self, count: usize) -> Vec<Row> {
        let first = self.next;
        self.next += count as i64;
        (first..self.next).map(row).collect()
    }

    async fn by_hand(&mut self, contender: Contender) -> Result<u64, BoxError> {
        let count = match contender {
            Contender::OneRow => 1,
            Contender::Naive(rows)
            | Contender::Values(rows)
            | Contender::Unnest(rows)
            | Contender::Copy(rows) => rows,
            Contender::Ours(_, rows) => rows as usize,
        };
        let rows = self.rows(count);
        let one = "INSERT INTO bench (id, count, text) VALUES ($1, $2, $3)";
        match contender {
            Contender::OneRow | Contender::Naive(_) => {
                let mut tx = self.conn.begin().await?;
                for row in rows {
                    let query = sqlx::query(one).bind(row.id).bind(row.count).bind(row.text);
                    query.execute(&mut *tx).await?;
                }
                tx.commit().await?;
            }
            Contender::Values(_) => {
                let mut query =
                    QueryBuilder::<Postgres>::new("INSERT INTO bench (id, count, text) ");
                query.push_values(rows, |mut query, row| {
                    query
                        .push_bind(row.id)
                        .push_bind(row.count)
                        .push_bind(row.text);
                });
                query.build().execute(&mut self.conn).await?;
            }
            Contender::Unnest(_) => {
                let (mut ids, mut counts, mut texts) = (vec![], vec![], vec![]);
                for row in rows {
                    ids.push(row.id);
                    counts.push(row.count);
                    texts.push(row.text);
                }
                let text = "INSERT INTO bench (id, count, text) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[])";
                let query = sqlx::query(text).bind(ids).bind(counts).bind(texts);
                query.execute(&mut self.conn).await?;
            }
            Contender::Copy(_) | Contender::Ours(..) => {
                let lines: String = rows
                    .iter()
                    .map(|row| format!("{}\t{}\t{}\n", row.id, row.count, row.text))
                    .collect();
                let mut copy = self
                    .conn
                    .copy_in_raw("COPY bench (id, count, text) FROM STDIN")
                    .await?;
                copy.send(lines.as_bytes()).await?;
                copy.finish().await?;
            }
        }
        Ok(count as u64)
    }

    /// The writer, once it has grown to its cap; what counts is what it counts itself.
    async fn ours(&mut self, form: Form, cap: u32) -> Result<Round, BoxError> {
        // As the others, which have no mark of a batch either.
        let table = Table::new("bench")
            .form(form)
            .at_least_once()
            .column("id", Kind::I64)
            .column("count", Kind::I64)
            .column("text", Kind::Text);
        let values = |row: &Row| binds![row.id, row.count, row.text.clone()];
        let sink = TableSink::new(&self.store, table, values)?;
        let mut config = BatchConfig::new("bench");
        config.size.rows_max = cap;
        // Only the cap bounds it here.
        config.size.target = Duration::from_secs(10);
        config.size.bytes_max = usize::MAX;
        let writer = BatchWriter::builder(config, sink).start()?;
        let sender = tokio::spawn({
            let (writer, mut next) = (writer.clone(), self.next);
            async move {
                while writer.send(row(next)).await.is_ok() {
                    next += 1;
                }
                next
            }
        });
        while writer.stats().rows_limit < cap {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let before = writer.stats();
        tokio::time::sleep(self.time).await;
        let after = writer.stats();
        writer.drain(Instant::now().into()).await;
        self.next = sender.await?;
        Ok(Round {
            rows: after.written - before.written,
            transactions: after.batches - before.batches,
            took: after.writing - before.writing,
        })
    }
}

fn median(rounds: &[Round], of: fn(Round) -> f64) -> f64 {
    let mut values: Vec<_> = rounds.iter().map(|round| of(*round)).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn forms(url: &str, rounds: usize, time: Duration) -> Result<(), BoxError> {
    let mut conn = PgConnection::connect(url).await?;
    let make = "DROP TABLE IF EXISTS bench; \
                CREATE TABLE bench (id bigint PRIMARY KEY, count bigint NOT NULL, text text NOT NULL)";
    sqlx::raw_sql(AssertSqlSafe(make.to_owned()))
        .execute(&mut conn)
        .await?;
    let mut bench = Bench {
        conn,
        store: Store::open(Config::parse(url)?).await?,
        next: 0,
        time,
    };
    let mut all: Vec<Vec<Round>> = CONTENDERS.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (rounds, (_, contender)) in all.iter_mut().zip(CONTENDERS) {
            rounds.push(bench.round(contender).await?);
        }
    }
    sqlx::raw_sql("DROP TABLE bench")
        .execute(&mut bench.conn)
        .await?;
    bench.store.close().await;
    println!(
        "{:<42} {:>10} {:>14}",
        "one connection", "rows/s", "a transaction"
    );
    for ((name, _), rounds) in CONTENDERS.iter().zip(&all) {
        let (rate, time) = (median(rounds, Round::rate), median(rounds, Round::time));
        println!("{name:<42} {rate:>10.0} {time:>11.2} ms");
    }
    // Of the pairs of a round, which ran one after the other.
    let mut ratios: Vec<_> = all[4]
        .iter()
        .zip(&all[3])
        .map(|(ours, hand)| ours.time() / hand.time())
        .collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    let verdict = if ratio <= 1.15 { "within" } else { "OVER" };
    println!("UNNEST of 200: ours takes {ratio:.2} of the time of that by hand ({verdict} 1.15)\n");
    Ok(())
}

async fn contention(url: &str, time: Duration) -> Result<(), BoxError> {
    let config = MeasureConfig {
        time_each: time * 3,
        rows_max: u64::MAX,
        ..MeasureConfig::default()
    };
    let database = Config {
        connections_max: config.writers as usize,
        ..Config::parse(url)?
    };
    let store = Store::open(database).await?;
    let measured = measure(&store, &config).await;
    store.close().await;
    let measured: Measured = measured?;
    print!("eight writers on {} rows\n{measured}", config.hot_rows);
    let best = measured
        .sizes
        .iter()
        .map(|one| one.rows_per_second)
        .fold(0.0, f64::max);
    if let Some(adaptive) = &measured.adaptive {
        let share = adaptive.rows_per_second / best;
        let verdict = if share >= 0.8 { "reaches" } else { "MISSES" };
        println!(
            "the writer that finds its size has {:.0} % of the best fixed one ({verdict} 80 %), with {:.1} waiting",
            share * 100.0,
            adaptive.waiters_mean
        );
        if let Some(gentle) = measured.advised() {
            println!(
                "and {:.0} % of the best of those that take 50 ms or less and have two or fewer waiting",
                adaptive.rows_per_second / gentle.rows_per_second * 100.0
            );
        }
    }
    Ok(())
}

/// Gives the number behind an option.
fn option(name: &str, default: u64) -> Result<u64, BoxError> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    match (arguments.next(), arguments.next()) {
        (None, _) => Ok(default),
        (Some(_), Some(value)) => Ok(value.parse()?),
        (Some(_), None) => Err(format!("{name} needs a number").into()),
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let rounds = option("--rounds", 5)?.max(1) as usize;
    let time = Duration::from_secs(option("--seconds", 1)?.max(1));
    let own;
    let url = match std::env::var("STEADFAST_BENCH_DATABASE_URL") {
        Ok(url) => url,
        Err(_) => {
            let durable = [
                "fsync = on",
                "synchronous_commit = on",
                "full_page_writes = on",
            ];
            own = Cluster::start_with(&durable);
            own.url("postgres")
        }
    };
    forms(&url, rounds, time).await?;
    contention(&url, time).await
}
