use steadfast_store::sink::Replicas;
use steadfast_store::sink::measure::{MeasureConfig, Target, measure};
use steadfast_store::testing::{Cluster, Database, Kind as Place};
use steadfast_store::{Config, Dialect, Pooler, Store};

use super::replica::Pair;
use super::*;

fn quick(sizes: &[u32]) -> MeasureConfig {
    MeasureConfig {
        sizes: sizes.to_vec(),
        writers: 4,
        hot_rows: 500,
        time_each: Duration::from_millis(u64::from(scaled(200, 5_000))),
        ..MeasureConfig::default()
    }
}

async fn scratch_tables(store: &Store) -> i64 {
    let text = match store.dialect() {
        Dialect::Sqlite => "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%batch_scratch%'",
        Dialect::Postgres => {
            "SELECT count(*) FROM pg_tables WHERE tablename LIKE '%batch_scratch%'"
        }
    };
    number(store, text).await
}

steadfast_store::on_every_store! {
    async fn each_size_is_measured_and_nothing_is_left(database) {
        let config = Config { connections_max: 10, ..database.config() };
        let store = database.open_with(config).await;

        // One is above the number of rows that there are.
        let measured = measure(&store, &quick(&[1, 50, 400, 501])).await.unwrap();

        let rows: Vec<_> = measured.sizes.iter().map(|one| one.rows).collect();
        assert_eq!(rows, [1.0, 50.0, 400.0]);
        for one in measured.sizes.iter().chain(&measured.adaptive) {
            assert!(one.batches > 0 && one.rows_per_second > 0.0, "{one:?}");
        }
        // More rows take longer; a moment is too short to see it on a busy machine.
        if scaled(0, 1) == 1 && store.dialect() == Dialect::Postgres {
            assert!(measured.sizes[2].time_mean > measured.sizes[0].time_mean, "{measured}");
            // Behind a pooler fewer are at it than the locks could keep waiting.
            let waiters = [2, 0].map(|size: usize| measured.sizes[size].waiters_mean);
            assert!(store.config().pooler != Pooler::None || waiters[0] > waiters[1], "{measured}");
        }
        let adaptive = measured.adaptive.unwrap();
        assert!((1.0..=200.0).contains(&adaptive.rows), "{adaptive:?}");
        assert_eq!(measured.ended, None);
        assert_eq!(scratch_tables(&store).await, 0);
        let (text, json, svg) = (measured.to_string(), measured.json(), measured.svg());
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(json.starts_with("{\"sizes\":[{\"rows\":1.0,\"batches\":"), "{json}");
        assert_eq!(json.matches("rows_per_second").count(), 4);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert_eq!(svg.matches("<rect x=").count(), 4);
    }

    async fn the_rows_are_bounded(database) {
        let config = Config { connections_max: 10, ..database.config() };
        let store = database.open_with(config).await;
        let config = MeasureConfig { rows_max: 1_000, time_each: Duration::from_secs(60), ..quick(&[50, 50, 50, 50, 50, 50, 50]) };

        let measured = measure(&store, &config).await.unwrap();

        let written: u64 = measured.sizes.iter().map(|one| one.batches * 50).sum();
        assert!((200..=1_000).contains(&written), "{written} rows");
        assert_eq!(measured.ended, Some("all rows that may be written were written"));
        assert!(measured.adaptive.is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_half_way_or_killed_leaves_nothing_for_long() {
    let database = Database::make(Place::Postgres).await;
    let store = database.open().await;
    let long = MeasureConfig {
        time_each: Duration::from_secs(60),
        ..quick(&[1])
    };
    {
        let mut measuring = std::pin::pin!(measure(&store, &long));
        let look = store.clone();
        tokio::select! {
            _ = &mut measuring => panic!("it takes a minute"),
            () = until("its table is there", async || scratch_tables(&look).await == 1) => {}
        }
    }
    until("it is dropped", async || scratch_tables(&store).await == 0).await;

    // What a killed process left, from 1970, and what another one is using.
    run(
        &store,
        "CREATE TABLE steadfast.batch_scratch_1_ab (id bigint)",
    )
    .await;
    run(
        &store,
        "CREATE TABLE steadfast.batch_scratch_9000000000000000_ab (id bigint)",
    )
    .await;
    measure(&store, &quick(&[1])).await.unwrap();
    assert_eq!(scratch_tables(&store).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_named_keeps_its_rows_as_they_are() {
    let database = Database::make(Place::Postgres).await;
    let store = database.open().await;
    run(&store, "CREATE SCHEMA shop").await;
    run(&store, "CREATE TABLE shop.\"order\" (code uuid PRIMARY KEY, price numeric, parent uuid REFERENCES shop.\"order\")").await;
    run(
        &store,
        "INSERT INTO shop.\"order\" SELECT gen_random_uuid(), i FROM generate_series(1, 300) i",
    )
    .await;
    let sum = "SELECT ('x' || substr(md5(string_agg(o::text, ',' ORDER BY code)), 1, 15))::bit(60)::bigint FROM shop.\"order\" o";
    let before = number(&store, sum).await;
    let of = |name: &str| MeasureConfig {
        target: Target::Table(name.into()),
        ..quick(&[1, 100])
    };

    let measured = measure(&store, &of("shop.order")).await.unwrap();

    assert_eq!(measured.sizes.len(), 2);
    assert!(
        measured
            .sizes
            .iter()
            .all(|one| one.batches > 0 && one.conflicts == 0),
        "{measured}"
    );
    assert_eq!(number(&store, sum).await, before);
    assert_eq!(scratch_tables(&store).await, 0);
    let refused = measure(&store, &of("shop.orders")).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("\"shop.orders\" is not there, or has no primary key"),
        "{refused}"
    );
    run(&store, "CREATE TABLE empty (id bigint PRIMARY KEY)").await;
    let refused = measure(&store, &of("empty")).await.unwrap_err();
    assert!(refused.to_string().contains("has no rows"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_are_not_made_to_stumble() {
    let start = || Cluster::start_with(&["wal_level = logical"]);
    let cluster = tokio::task::block_in_place(start);
    let store = Store::open(Config::postgres(cluster.url("postgres")))
        .await
        .unwrap();
    run(&store, "CREATE PUBLICATION everything FOR ALL TABLES").await;

    let refused = measure(&store, &quick(&[1])).await.unwrap_err();

    assert!(
        refused
            .to_string()
            .contains("the publication \"everything\" would publish a table"),
        "{refused}"
    );
    assert_eq!(scratch_tables(&store).await, 0);
    run(&store, "DROP PUBLICATION everything").await;
    // A replica that is expected and not there: its lag is unknown, and that is said.
    let config = MeasureConfig {
        replicas: Replicas::AtLeast(1),
        ..quick(&[1])
    };
    let measured = measure(&store, &config).await.unwrap();
    assert_eq!(measured.sizes[0].lag_max, None);
    assert!(measured.to_string().contains("unknown"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_measurement_that_cannot_be_is_refused() {
    let database = Database::make(Place::Sqlite).await;
    let store = database.open().await;
    let check = async |config: MeasureConfig, expect: &str| {
        let refused = measure(&store, &config).await.unwrap_err();
        assert_eq!(refused.code(), "SF-1114");
        assert!(refused.to_string().contains(expect), "{refused}");
    };

    check(quick(&[]), "sizes: is 0, but must be from 1 to 20").await;
    check(
        quick(&[10_001]),
        "sizes: is 10001, but must be from 1 to 10000",
    )
    .await;
    check(
        MeasureConfig {
            writers: 65,
            ..quick(&[1])
        },
        "writers: is 65",
    )
    .await;
    check(
        MeasureConfig {
            writers: 5,
            ..quick(&[1])
        },
        "connections_max: is 4, but 5 writers need one each",
    )
    .await;
    let table = Target::Table("a".into());
    check(
        MeasureConfig {
            target: table,
            ..quick(&[1])
        },
        "only tables of PostgreSQL",
    )
    .await;
}

/// The shape by which sizes are chosen: more rows take longer, and have more wait; the writer that finds its size stays out
/// of it. What a row costs is time that passes, so that a busy machine makes nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_rows_take_longer_and_have_more_wait_and_the_writer_that_adapts_stays_out_of_that() {
    let database = Database::make(Place::Postgres).await;
    let config = Config {
        connections_max: 10,
        statement_timeout: Duration::from_secs(600),
        ..database.config()
    };
    let store = database.open_with(config).await;
    run(
        &store,
        "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL)",
    )
    .await;
    run(
        &store,
        "INSERT INTO item SELECT i, '' FROM generate_series(1, 200) i",
    )
    .await;
    run(
        &store,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END $$",
    )
    .await;
    run(
        &store,
        "CREATE TRIGGER slow BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    .await;
    let config = MeasureConfig {
        target: Target::Table("item".into()),
        time_each: Duration::from_millis(u64::from(scaled(2_000, 10_000))),
        ..quick(&[1, 10, 200])
    };

    let measured = measure(&store, &config).await.unwrap();

    let [one, ten, all] = measured.sizes[..] else {
        panic!("{measured}");
    };
    assert!(one.time_mean < ten.time_mean, "{measured}");
    assert!(ten.time_mean < all.time_mean, "{measured}");
    assert!(one.waiters_mean < ten.waiters_mean, "{measured}");
    assert!(ten.waiters_mean < all.waiters_mean, "{measured}");
    let adaptive = measured.adaptive.unwrap();
    assert!(adaptive.time_mean < all.time_mean, "{measured}");
    assert!(adaptive.waiters_mean < all.waiters_mean, "{measured}");
    // A row takes 2 ms, so that 25 take as long as a batch should; of 200 keys at random 126 are different.
    assert!(adaptive.rows < 64.0, "{measured}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lag_of_a_subscriber_is_in_the_table_and_ends_it_when_it_grows_too_far() {
    let mut pair = Pair::start().await;
    run(
        &pair.store,
        "INSERT INTO item SELECT i, '' FROM generate_series(1, 400) i",
    )
    .await;
    until("the subscriber has caught up", async || {
        pair.followed().await == 400
    })
    .await;
    let config = MeasureConfig {
        target: Target::Table("item".into()),
        replicas: Replicas::AtLeast(1),
        hot_rows: 400,
        ..quick(&[1, 100])
    };
    let lag_max = Duration::from_secs(600);

    let measured = measure(
        &pair.store,
        &MeasureConfig {
            lag_max,
            ..config.clone()
        },
    )
    .await
    .unwrap();

    assert_eq!((measured.ended, measured.sizes.len()), (None, 2));
    let all: Vec<_> = measured.sizes.iter().chain(&measured.adaptive).collect();
    assert!(all.iter().all(|one| one.lag_max.is_some()), "{measured}");
    let (text, json, svg) = (measured.to_string(), measured.json(), measured.svg());
    assert!(
        !text.contains("unknown") && !svg.contains("unknown"),
        "{text}{svg}"
    );
    for one in all {
        let lag = one.lag_max.unwrap();
        let told = match lag.is_zero() {
            true => "0s".to_owned(),
            false => format!("{lag:.1?}"),
        };
        assert!(text.contains(&format!(" {told}\n")), "{text}");
        assert!(svg.contains(&format!(">lag {told}<")), "{svg}");
        let seconds = format!("\"lag_max_seconds\":{:.6}}}", lag.as_secs_f64());
        assert!(json.contains(&seconds), "{json}");
    }

    // Its worker waits for a lock, and tells nothing meanwhile.
    sqlx::raw_sql("BEGIN; LOCK TABLE item IN SHARE MODE")
        .execute(&mut pair.subscriber)
        .await
        .unwrap();
    let (lag_max, time_each) = (Duration::from_millis(500), Duration::from_secs(60));
    let config = MeasureConfig {
        lag_max,
        time_each,
        rows_max: u64::MAX,
        ..config
    };
    let began = clock::now();

    let measured = measure(&pair.store, &config).await.unwrap();

    assert!(clock::now() - began < time_each, "it went on to the end");

    assert_eq!(measured.ended, Some("replicas fell too far behind"));
    assert_eq!((measured.sizes.len(), measured.adaptive), (1, None));
    assert!(measured.sizes[0].lag_max > Some(lag_max), "{measured}");
    assert!(
        measured
            .to_string()
            .contains("ended early: replicas fell too far behind")
    );
}
