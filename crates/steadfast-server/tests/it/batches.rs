use std::process::{Command, Output};

/// A folder of one test.
struct Folder(std::path::PathBuf);

impl Folder {
    fn make(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("steadfast-batches-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn measure(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command
        .args(["batches", "measure"])
        .args(args)
        .env_remove("DATABASE_URL")
        .output()
        .unwrap()
}

#[test]
fn a_database_is_measured_as_text_json_and_a_chart() {
    let folder = Folder::make("sqlite");
    let url = format!("sqlite:{}", folder.0.join("shop.db").display());
    let chart = folder.0.join("batches.svg");
    let quick = [
        "--url",
        &url,
        "--sizes",
        "1,100",
        "--writers",
        "2",
        "--seconds",
        "1",
    ];

    let text = measure(&[&quick[..], &["--svg", chart.to_str().unwrap()]].concat());
    let json = measure(&[&quick[..], &["--json"]].concat());

    let stderr = String::from_utf8_lossy(&text.stderr);
    assert_eq!(text.status.code(), Some(0), "{stderr}");
    let stdout = String::from_utf8(text.stdout).unwrap();
    let first: Vec<_> = stdout
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(first[..4], ["rows", "1", "100", "adapts:"], "{stdout}");
    assert!(std::fs::read_to_string(chart).unwrap().starts_with("<svg "));
    assert_eq!(json.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["data"]["sizes"][0]["rows"], 1.0);
}

#[test]
fn a_table_is_written_to_only_by_those_who_say_so() {
    let refused = measure(&["--url", "sqlite:unused.db", "--table", "orders"]);

    assert_eq!(refused.status.code(), Some(2));
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(stderr.contains("--update-its-rows"), "{stderr}");
}

#[test]
fn what_cannot_be_measured_is_refused_with_the_reason() {
    let folder = Folder::make("refused");
    let url = format!("sqlite:{}", folder.0.join("shop.db").display());
    let check = |args: &[&str], expect: &str| {
        let refused = measure(args);
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(expect), "{stderr}");
    };

    check(&[], "Give --url, or set DATABASE_URL");
    check(
        &["--url", "mysql://db"],
        "must begin with sqlite: or postgres:",
    );
    check(
        &["--url", &url, "--sizes", "0"],
        "sizes: is 0, but must be from 1 to 10000",
    );
    check(
        &["--url", &url, "--table", "a", "--update-its-rows"],
        "only tables of PostgreSQL",
    );
}
