//! Sample projects, each with one trap, made of packages that have nothing but a name.

use std::path::{Path, PathBuf};

use super::*;

struct Sample(PathBuf);

impl Sample {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("steadfast-doctor-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Adds a package, such as `tower 0.5.3`, with these features; gives its folder.
    fn package(&self, name: &str, version: &str, features: &[&str], rest: &str) -> String {
        let folder = format!("{name}-{version}");
        let features: String = features
            .iter()
            .map(|feature| format!("{feature} = []\n"))
            .collect();
        self.write(
            &format!("{folder}/Cargo.toml"),
            &format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n[features]\n{features}{rest}"),
        );
        self.write(&format!("{folder}/src/lib.rs"), "");
        folder
    }

    /// Adds a dependency of the application: a package that is made for it.
    fn used(&self, name: &str, version: &str, features: &[&str]) -> String {
        let folder = self.package(name, version, features, "");
        format!("{name} = {{ path = \"../{folder}\", features = {features:?} }}\n")
    }

    /// Writes the application, and has cargo lock it.
    fn app(&self, dependencies: &str, rest: &str) {
        self.write("app/Cargo.toml", &format!(
            "[package]\nname = \"app\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[dependencies]\n{dependencies}\n{rest}\n[workspace]\n"
        ));
        self.write("app/src/main.rs", "fn main() {}");
        let locked = Command::new("cargo")
            .args([
                "generate-lockfile",
                "--offline",
                "--quiet",
                "--manifest-path",
            ])
            .arg(self.manifest())
            .output()
            .unwrap();
        assert!(
            locked.status.success(),
            "{}",
            String::from_utf8_lossy(&locked.stderr)
        );
    }

    fn manifest(&self) -> PathBuf {
        self.0.join("app/Cargo.toml")
    }

    fn examined(&self) -> Told {
        let mut command = doctor();
        command
            .current_dir(&self.0)
            .arg("--manifest-path")
            .arg(self.manifest());
        told(&command.output().unwrap())
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a service that does it right has.
fn well(sample: &Sample) -> String {
    [
        sample.used("axum", "0.8.9", &[]),
        sample.used("tower", "0.5.3", &["util"]),
        sample.used("tracing-subscriber", "0.3.23", &["json"]),
        sample.used("steadfast", "0.1.0", &["axum", "log"]),
    ]
    .concat()
}

#[test]
fn a_clean_project_is_left_in_peace() {
    let sample = Sample::new("clean");
    let well = well(&sample);
    let other = sample.package("tower", "0.4.13", &[], "");
    let steadfast = sample.used("steadfast", "0.1.0", &["axum", "log", "test-util"]);
    // What tests and build scripts use is in nobody's release.
    sample.app(
        &well,
        &format!(
            "[build-dependencies]\nolder = {{ package = \"tower\", path = \"../{other}\" }}\n[dev-dependencies]\n{steadfast}\
             [profile.release]\npanic = \"unwind\"\nlto = true\n[profile.bench]\npanic = \"abort\""
        ),
    );
    // The last package that was made of that name has the features of both.
    sample.examined().silent();

    let lock = std::fs::read(sample.0.join("app/Cargo.lock")).unwrap();
    let target = sample.0.join("app/target");
    assert!(!target.exists(), "nothing is built");
    sample.examined().silent();
    assert_eq!(
        std::fs::read(sample.0.join("app/Cargo.lock")).unwrap(),
        lock,
        "nothing is changed"
    );
}

#[test]
fn panics_that_abort_are_found_wherever_they_are_said() {
    let sample = Sample::new("abort");
    let well = well(&sample);
    let abort = "[profile.release]\npanic = \"abort\"";

    sample.app(&well, abort);
    sample
        .examined()
        .one("project.panic", "fail", "profile release (Cargo.toml)");

    sample.app(
        &well,
        "[profile.small]\ninherits = \"release\"\npanic = \"abort\"",
    );
    sample
        .examined()
        .one("project.panic", "warn", "profile small (Cargo.toml)");

    sample.app(&well, "");
    sample.write("app/.cargo/config.toml", abort);
    sample
        .examined()
        .one("project.panic", "fail", ".cargo/config.toml)");

    sample.write(
        "app/.cargo/config.toml",
        "[build]\nrustflags = [\"-C\", \"panic=abort\"]",
    );
    sample
        .examined()
        .one("project.panic", "fail", "rustflags in ");
    std::fs::remove_file(sample.0.join("app/.cargo/config.toml")).unwrap();

    let by_variable = |name: &str, value: &str| {
        let mut command = doctor();
        command
            .env(name, value)
            .arg("--manifest-path")
            .arg(sample.manifest());
        told(&command.current_dir(&sample.0).output().unwrap())
    };
    by_variable("CARGO_PROFILE_RELEASE_PANIC", "abort").one(
        "project.panic",
        "fail",
        "profile release (CARGO_PROFILE_RELEASE_PANIC)",
    );
    by_variable("RUSTFLAGS", "-Cpanic=abort").one("project.panic", "fail", "RUSTFLAGS");

    // A member is built with the profiles of its workspace.
    sample.write(
        "Cargo.toml",
        &format!("[workspace]\nmembers = [\"app\"]\nresolver = \"2\"\n{abort}"),
    );
    let manifest = std::fs::read_to_string(sample.manifest()).unwrap();
    std::fs::write(sample.manifest(), manifest.replace("[workspace]\n", "")).unwrap();
    let locked = Command::new("cargo")
        .args(["generate-lockfile", "--offline", "--quiet"])
        .current_dir(&sample.0)
        .output()
        .unwrap();
    assert!(
        locked.status.success(),
        "{}",
        String::from_utf8_lossy(&locked.stderr)
    );
    sample
        .examined()
        .one("project.panic", "fail", "profile release (Cargo.toml)");
}

#[test]
fn two_versions_of_what_has_to_be_one_are_found_with_who_brings_them() {
    for (name, versions, verdict) in [
        ("axum", ["0.7.9", "0.8.9"], "warn"),
        ("http", ["0.2.12", "1.5.0"], "warn"),
        ("hyper", ["0.14.32", "1.12.0"], "warn"),
        ("rustls", ["0.21.12", "0.23.40"], "warn"),
        ("sqlx", ["0.8.6", "0.9.0"], "warn"),
        ("tower", ["0.4.13", "0.5.3"], "warn"),
        ("tokio", ["0.2.25", "1.54.0"], "fail"),
        ("tracing-core", ["0.1.36", "0.2.0"], "fail"),
        ("steadfast-core", ["0.1.0", "0.2.0"], "fail"),
    ] {
        let sample = Sample::new(&format!("two-{name}"));
        let older = sample.package(name, versions[0], &[], "");
        sample.package(
            "guest",
            "1.0.0",
            &[],
            &format!("[dependencies]\n{name} = {{ path = \"../{older}\" }}\n"),
        );
        // A guest is part of what is released, however deep.
        sample.package(
            "host",
            "1.0.0",
            &[],
            "[dependencies]\nguest = { path = \"../guest-1.0.0\" }\n",
        );
        let newer = sample.used(name, versions[1], &[]);
        let guard = if name == "axum" {
            sample.used("steadfast", "0.1.0", &["axum"])
        } else {
            String::new()
        };
        sample.app(
            &format!("{newer}{guard}host = {{ path = \"../host-1.0.0\" }}"),
            "",
        );

        let told = sample.examined();

        told.one(
            "project.versions",
            verdict,
            &format!(
                "{name} is there as {} (by guest) and {} (by app)",
                versions[0], versions[1]
            ),
        );
        let fix = told.troubles()[0]["fix"].as_str().unwrap();
        assert!(
            fix.contains(&format!("cargo tree -i {name}@{}", versions[0])),
            "{fix}"
        );
    }
}

/// A name, a version, features.
type Used = (&'static str, &'static str, &'static [&'static str]);

#[test]
fn other_traps_are_found_by_what_a_project_depends_on() {
    let guard: Used = ("steadfast", "0.1.0", &["axum", "log"]);
    let axum: Used = ("axum", "0.8.9", &[]);
    let cases: &[(&[Used], &str, &str, &str)] = &[
        (
            &[("libsqlite3-sys", "0.30.1", &[])],
            "project.sqlite",
            "fail",
            "libsqlite3-sys 0.30.1 (by app)",
        ),
        (
            &[axum, ("steadfast", "0.1.0", &["axum", "test-util"])],
            "project.test-util",
            "fail",
            "test-util of steadfast",
        ),
        (
            &[
                axum,
                ("tower", "0.5.3", &["limit"]),
                ("tower-http", "0.7.0", &["catch-panic"]),
            ],
            "project.limits",
            "warn",
            "limit of tower beside axum",
        ),
        (
            &[axum, guard, ("tower", "0.5.3", &["buffer"])],
            "project.limits",
            "warn",
            "buffer of tower beside the guard",
        ),
        (
            &[axum],
            "project.catch",
            "warn",
            "nothing in it catches a panic",
        ),
        (
            &[
                axum,
                ("steadfast", "0.1.0", &["tower"]),
                ("tracing-subscriber", "0.3.23", &["json"]),
            ],
            "project.lines",
            "warn",
            "lose the trace id",
        ),
        // Without anything of ours, too.
        (
            &[
                ("tokio", "1.54.0", &["rt"]),
                ("tracing-subscriber", "0.3.23", &["json"]),
            ],
            "project.lines",
            "warn",
            "app writes lines of JSON",
        ),
        (
            &[("backon", "1.0.0", &[]), ("tower", "0.5.3", &["retry"])],
            "project.retries",
            "warn",
            "backon and by tower (retry)",
        ),
        (
            &[("tokio-cron-scheduler", "0.15.0", &[])],
            "project.timers",
            "warn",
            "tokio-cron-scheduler",
        ),
        (
            &[("rs-snowflake", "0.6.0", &[])],
            "project.worker-ids",
            "warn",
            "rs-snowflake",
        ),
    ];
    for (number, (used, check, verdict, part)) in cases.iter().enumerate() {
        let sample = Sample::new(&format!("trap-{number}"));
        let used: String = used
            .iter()
            .map(|(name, version, features)| sample.used(name, version, features))
            .collect();
        sample.app(&used, "");

        sample.examined().one(check, verdict, part);
    }
}

#[test]
fn a_timer_with_the_period_of_a_schedule_is_found_in_the_source() {
    let sample = Sample::new("timer");
    sample.app("", "");
    sample.write(
        "app/src/settle/mod.rs",
        "const DAY: u64 = 24 * 60 * 60;\nasync fn settle() {\n    let mut ticks = tokio::time::interval(Duration::from_secs(DAY));\n}\n",
    );
    sample
        .examined()
        .one("project.timers", "warn", "src/settle/mod.rs:3");

    // What ends soon, and what tests wait for by a clock of theirs.
    sample.write(
        "app/src/settle/mod.rs",
        "async fn beat() { interval(Duration::from_secs(30)); }\n\
         #[cfg(test)]\nmod tests { async fn a_day_passes() { sleep(Duration::from_days(1)).await } }",
    );
    sample.write(
        "app/src/settle/tests.rs",
        "fn a() { sleep(Duration::from_days(1)) }",
    );
    sample.examined().silent();
}

#[test]
fn a_package_that_writes_lines_for_another_has_the_ids_of_that() {
    let sample = Sample::new("lines");
    let json = sample.used("tracing-subscriber", "0.3.23", &["json"]);
    sample.write(
        "app/telemetry/Cargo.toml",
        &format!(
            "[package]\nname = \"telemetry\"\nversion = \"1.0.0\"\n[dependencies]\n{}",
            json.replace("../", "../../")
        ),
    );
    sample.write("app/telemetry/src/lib.rs", "");
    let telemetry = "telemetry = { path = \"telemetry\" }\n";
    let steadfast = sample.used("steadfast", "0.1.0", &["log"]);
    sample.app(&format!("{telemetry}{steadfast}"), "");
    sample.examined().silent();

    sample.app(telemetry, "");
    sample
        .examined()
        .one("project.lines", "warn", "telemetry writes lines of JSON");
}

#[test]
fn what_cannot_be_read_is_told_and_not_passed_over() {
    let sample = Sample::new("unreadable");
    sample.app("", "[profile.release]\npanic = \"abort\"");
    std::fs::remove_file(sample.0.join("app/Cargo.lock")).unwrap();
    let told = sample.examined();
    told.some("project.read", "fail", "Cargo.lock");
    // The profiles are read all the same.
    told.some("project.panic", "fail", "profile release");
    assert!(!sample.0.join("app/Cargo.lock").exists(), "nothing is made");

    std::fs::write(sample.manifest(), "[package\n").unwrap();
    let told = sample.examined();
    told.some("project.read", "fail", "cargo cannot say");
    told.some("project.panic", "fail", "the profiles cannot be read");

    for no_manifest in ["no/such/Cargo.toml", "app", "app/src/main.rs"] {
        let mut nowhere = doctor();
        nowhere
            .current_dir(&sample.0)
            .args(["--manifest-path", no_manifest]);
        let told = told_of(nowhere);
        told.one(
            "project.read",
            "fail",
            &format!("{no_manifest} is no manifest"),
        );
        assert_eq!(
            told.troubles()[0]["fix"],
            "name a Cargo.toml with --manifest-path"
        );
    }
}

fn told_of(mut command: Command) -> Told {
    told(&command.output().unwrap())
}

#[test]
fn a_manifest_of_the_folder_is_looked_at_without_being_named() {
    let sample = Sample::new("here");
    sample.app("", "[profile.release]\npanic = \"abort\"");
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command
        .arg("doctor")
        .current_dir(sample.0.join("app"))
        .env_remove("RUSTFLAGS");

    let output = command.output().unwrap();

    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(9));
    assert!(
        text.contains("\nfail  project.panic       one panic ends the process"),
        "{text}"
    );
    assert!(
        text.contains("\n                          fix: take `panic = \"abort\"` out"),
        "{text}"
    );
    let last = text.lines().last().unwrap();
    assert!(
        last.contains(" ok, 0 warn, 1 fail") || last.contains(" ok, 1 warn, 1 fail"),
        "{last}"
    );
    assert!(Path::new(&sample.0).exists());
}
