//! What a configuration with mistakes is told, and that the generated one has none.

use super::*;

fn told(text: &str) -> String {
    let source = Source::new("steadfast.toml", text).unwrap();
    match read(&source, None) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

fn read_well(text: &str) -> Config {
    let source = Source::new("steadfast.toml", text).unwrap();
    read(&source, None).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_generated_file_says_what_holds_without_it() {
    let nothing = format!("{:?}", read_well(""));

    let generated = read_well(&commented());

    assert_eq!(format!("{generated:?}"), nothing);
}

#[test]
fn every_key_that_is_written_down_is_known_and_its_example_is_good() {
    let all: String = commented()
        .lines()
        .filter(|line| !line.starts_with("##"))
        .map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line)))
        // What can only be chosen by root, and what would say one thing twice.
        .filter(|line| !line.starts_with("stdin") && !line.starts_with("The "))
        .filter(|line| !line.starts_with("A key"))
        .collect();

    let config = read_well(&all);

    assert_eq!(config.queues["default"], 16);
    assert_eq!(config.handlers["backup"].attempts, 20);
    assert!(matches!(config.handlers["receipt"].work, Work::Http(_)));
    assert_eq!(
        config.schedules["backup"].0.plan().rule().to_string(),
        "30 2 * * *"
    );
}

#[test]
fn the_page_of_the_reference_is_what_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/config.md");
    let expect = write::page();
    if std::env::var_os("STEADFAST_BLESS").is_some() {
        std::fs::write(&path, &expect).unwrap();
    }
    let is = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        is == expect,
        "docs/reference/config.md is out of date: run with STEADFAST_BLESS=1"
    );
}

#[test]
fn mistakes_are_told_with_their_line_and_the_nearest_key() {
    let check = |text: &str, expect: &[&str]| {
        let told = told(text);
        for part in expect {
            assert!(told.contains(part), "{part:?} in\n{told}");
        }
    };

    check(
        "[store]\nurl = \"sqlite:a.db\"\nconections = 4\n",
        &[
            "unknown key \"conections\" in [store]",
            "steadfast.toml:3:1",
            "write connections",
        ],
    );
    check(
        "[node]\nlease = 30\n",
        &[
            "\"30\" has no unit",
            "steadfast.toml:2:9",
            "write \"30ms\" or \"30s\"",
        ],
    );
    check(
        "[node]\nlease = \"2h\"\n",
        &["lease is not within 1s to 1h", "steadfast.toml:2"],
    );
    check(
        "[queues.default]\npermits = 0\n",
        &["permits is not within 1 to 10000"],
    );
    check("[queues.\"a b\"]\n", &["a name has 1 to 64 letters"]);
    check(
        "[health]\nlisten = \"here\"\n",
        &["\"here\" is no address to listen on"],
    );
    check("[log]\nformat = \"xml\"\n", &["write one of text, json"]);
    check("[log]\nlevel = \"a=b=c\"\n", &["is no filter of lines"]);
    check(
        "[handlers.a]\nqueue = \"mail\"\nexec = [\"true\"]\n",
        &["there is no queue \"mail\"", "add [queues.mail]"],
    );
    check(
        "[handlers.a]\n",
        &["[handlers.a] has no \"exec\"", "or http = "],
    );
    check(
        "[handlers.a]\nexec = [\"true\"]\nhttp = \"http://here\"\n",
        &["by a program or by a call, not by both"],
    );
    check(
        "[handlers.a]\nhttp = \"http://here\"\n",
        &["[handlers.a] has no \"secret\""],
    );
    check(
        "[handlers.a]\nhttp = \"ftp://here\"\nsecret = \"hunter2\"\nstop_within = \"1s\"\n",
        &[
            "only http and https can be called",
            "a secret does not belong into this file",
            "unknown key \"stop_within\"",
        ],
    );
    check(
        "[handlers.a]\nhttp = \"http://me:pw@here\"\nsecret = \"env:A\"\n",
        &["a password does not belong"],
    );
    check(
        "[calls]\nlisten = \"4012\"\n",
        &["is no address to listen on"],
    );
    check(
        "[calls]\nlisten = \"0.0.0.0:4012\"\n",
        &[
            "0.0.0.0:4012 is no address that a target could call",
            "steadfast.toml:2",
            "add url = ",
        ],
    );
    check(
        "[calls]\nlisten = \"[::]:4012\"\n",
        &["[::]:4012 is no address that a target could call"],
    );
    read_well("[calls]\nlisten = \"0.0.0.0:4012\"\nurl = \"http://jobs-1.internal:4012\"\n");
    check("[handlers.a]\nexec = []\n", &["there is no program in it"]);
    check(
        "[handlers.a]\nexec = [\"true\"]\nenv = [\"STEADFAST_JOB=1\"]\n",
        &["names that begin with STEADFAST_ are kept for what is said of a run"],
    );
    check(
        "[handlers.a]\nexec = [\"true\"]\npass_env = [\"STEADFAST_X\", \"1X\"]\n",
        &["\"STEADFAST_X\" is not handed on: names that begin with STEADFAST_ are kept"],
    );
    check(
        "[handlers.a]\nexec = [\"true\"]\npass_env = [\"1X\"]\n",
        &["\"1X\" is no name of a variable"],
    );
    check(
        "[handlers.a]\nexec = [\"true\"]\nenv = [\"A=1\", \"B=2\", \"A=3\"]\n",
        &["A has two values"],
    );
    check(
        "[handlers.a]\nexec = [\"true\"]\nenv = [\"A\"]\n",
        &["says no value"],
    );
    check(
        "[handlers.a]\nexec = [\"true\"]\ndiscard_on = [3]\nsnooze_on = [3]\n",
        &["exit code 3 says two things"],
    );
    check(
        "[handlers.a]\nexec = [\"true\"]\nbackoff = \"2h\"\nbackoff_max = \"1h\"\n",
        &[
            "the first wait is longer than the longest",
            "raise backoff_max",
        ],
    );
    check(
        "[schedules.a]\nrule = \"@daily\"\n",
        &["there is no handler \"a\"", "add [handlers.a]"],
    );
    check(
        "[handlers.a]\nexec = [\"true\"]\n[schedules.a]\nrule = \"30 25 * * *\"\npayload = \"{\"\n",
        &["`25` is not an hour", "it is no JSON", "steadfast.toml:5"],
    );
    check(
        "[handlers.a]\nexec = [\"true\"]\n[schedules.a]\nrule = \"@daily\"\nmissed = \"run_all(24h)\"\noverlap = \"skip\"\n",
        &["steadfast.toml:6"],
    );
    check(
        "[handlers.a]\nexec = [\"true\"]\n[schedules.a]\nrule = \"@daily\"\nmissed = \"run_all(99999h)\"\n",
        &["steadfast.toml:5:10", "window of run_all"],
    );
}

#[test]
fn a_password_is_refused_and_one_that_is_elsewhere_is_looked_up_there() {
    for url in [
        "postgres://app:hunter2@db/x",
        "postgres://db/x?password=hunter2",
    ] {
        let told = told(&format!("[store]\nurl = \"{url}\"\n"));
        assert!(
            told.contains("a password does not belong into this file"),
            "{told}"
        );
    }
    let reference = read_well("[store]\nurl = \"env:NOWHERE_TO_BE_FOUND\"\n");
    let error = format!("{:#}", reference.store.config("x").err().unwrap());
    assert!(
        error.contains("the variable NOWHERE_TO_BE_FOUND is not set"),
        "{error}"
    );
}

#[test]
fn further_files_add_handlers_and_schedules_and_nothing_else() {
    let first = Source::new("a.toml", "[handlers.a]\nexec = [\"true\"]\nattempts = 3\n").unwrap();
    let whole = read(&first, None).unwrap();
    let more =
        "[handlers.b]\nexec = [\"true\"]\n[schedules.again]\nrule = \"@daily\"\nhandler = \"a\"\n";
    let added = read(&Source::new("b.toml", more).unwrap(), Some(&whole)).unwrap();

    assert_eq!(added.handlers.len(), 1);
    assert_eq!(added.schedules["again"].0.kind(), "a");
    assert_eq!(added.schedules["again"].0.max_attempts(), 3);

    let again = Source::new(
        "c.toml",
        "[handlers.a]\nexec = [\"true\"]\n[store]\nurl = \"sqlite:x\"\n",
    );
    let error = read(&again.unwrap(), Some(&whole)).unwrap_err().to_string();
    assert!(error.contains("a is in an earlier file already"), "{error}");
    assert!(error.contains("unknown key \"store\""), "{error}");
}

#[test]
fn relative_paths_begin_in_the_folder_of_the_file_that_says_them() {
    let folder = std::env::temp_dir().join(format!("steadfast-config-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("more")).unwrap();
    std::fs::write(folder.join("url"), "sqlite:jobs.db").unwrap();
    let first = folder.join("steadfast.toml");
    let text = "[store]\nurl = \"file:url\"\n[api]\ntls_certificate = \"own.pem\"\ntls_key = \"/etc/own.key\"\n";
    std::fs::write(&first, text).unwrap();
    let second = folder.join("more/handlers.toml");
    let text = "[handlers.a]\nexec = [\"true\"]\ndir = \"work\"\n\
                [handlers.b]\nhttp = \"https://b\"\nsecret = \"file:b.secret\"\nca = \"b.pem\"\n";
    std::fs::write(&second, text).unwrap();

    let config = Config::load(&[first, second]).unwrap();

    let tls = config.api.tls.as_ref().unwrap();
    assert_eq!(tls.certificate, folder.join("own.pem"));
    assert_eq!(tls.key, Path::new("/etc/own.key"));
    let place = config.store.config("test").unwrap().place;
    assert!(matches!(place, store::Place::Sqlite(path) if path == folder.join("jobs.db")));
    let Work::Exec(exec) = &config.handlers["a"].work else {
        panic!("a is a program");
    };
    assert_eq!(exec.dir, Some(folder.join("more/work")));
    let Work::Http(http) = &config.handlers["b"].work else {
        panic!("b is a service");
    };
    assert_eq!(http.secret.file(), Some(&*folder.join("more/b.secret")));
    assert_eq!(http.ca, Some(folder.join("more/b.pem")));
    std::fs::remove_dir_all(&folder).unwrap();
}
