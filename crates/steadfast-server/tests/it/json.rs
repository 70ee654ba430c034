//! What programs read of every command: `--json`, with the version of its form.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use crate::policy::served::Shop;
use crate::serve::{Folder, Server, shell};

/// What has nothing to tell programs: it runs until it is ended, or writes a form of its own.
const WITHOUT: [&str; 4] = ["completions", "dev", "exec", "man"];

/// Every command that does something, by the pages of the manual, and whether it takes `--json`: they are made from
/// what the program takes.
fn commands(folder: &Folder) -> Vec<(String, bool)> {
    let pages = folder.path().join("man");
    let written = Command::new(env!("CARGO_BIN_EXE_steadfast"))
        .args(["man", "--output", pages.to_str().unwrap()])
        .status();
    assert!(written.unwrap().success());
    let mut commands = Vec::new();
    for page in fs::read_dir(pages).unwrap() {
        let page = page.unwrap();
        let text = fs::read_to_string(page.path()).unwrap();
        // The others are made of those.
        if text.contains("\n.SH SUBCOMMANDS\n") {
            continue;
        }
        let name = page.file_name().into_string().unwrap();
        let name = name.trim_start_matches("steadfast-").trim_end_matches(".1");
        let takes_json = text.contains("\n\\fB\\-\\-json\\fR\n");
        commands.push((name.replace('-', " "), takes_json));
    }
    commands
}

/// Runs commands, and remembers which.
struct Caller<'s> {
    shop: &'s Shop,
    called: BTreeSet<String>,
}

impl Caller<'_> {
    /// Calls a command that tells something: each line of it has the version, and nothing else is printed.
    fn data(&mut self, command: &str, args: &[&str]) -> Value {
        let output = self.call(command, args);
        let (told, says) = (text(&output.stdout), text(&output.stderr));
        assert!(!told.is_empty(), "{command}: nothing is told: {says}");
        let mut data = Value::Null;
        for told in serde_json::Deserializer::from_str(&told).into_iter() {
            let told: Value = told.unwrap_or_else(|_| panic!("{command}: {output:?}"));
            assert_eq!(told["version"], 1, "{command}: {told}");
            assert_eq!(told.as_object().unwrap().len(), 2, "{command}: {told}");
            data = told["data"].clone();
            assert!(!data.is_null(), "{command}: {told}");
        }
        assert!(
            says.is_empty() || says.starts_with('{'),
            "{command}: {says}"
        );
        data
    }

    /// Calls a command in a way that fails.
    fn error(&mut self, command: &str, args: &[&str]) {
        let output = self.call(command, args);
        assert_ne!(output.status.code(), Some(0), "{command}");
        assert_eq!(text(&output.stdout), "", "{command}");
        let says = text(&output.stderr);
        let says: Value =
            serde_json::from_str(&says).unwrap_or_else(|_| panic!("{command}: {says}"));
        assert_eq!(says["version"], 1, "{command}: {says}");
        assert!(says["error"]["code"].is_string(), "{command}: {says}");
    }

    fn call(&mut self, command: &str, args: &[&str]) -> Output {
        self.called.insert(command.to_owned());
        let mut words: Vec<_> = command.split(' ').collect();
        words.extend(args);
        words.push("--json");
        self.shop.ask(&words)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_command_tells_programs_the_version_of_its_form() {
    let folder = Folder::new("json");
    let (taking, without): (Vec<_>, Vec<_>) = commands(&folder)
        .into_iter()
        .partition(|(_, takes_json)| *takes_json);
    let names = |commands: Vec<(String, bool)>| -> BTreeSet<String> {
        commands.into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(without), WITHOUT.map(str::to_owned).into());

    let shop = Shop::open("json");
    let mut of = Caller {
        shop: &shop,
        called: BTreeSet::new(),
    };
    of_the_service(&mut of);
    of_the_guard(&mut of);
    of_the_store(&mut of, &folder);
    of_a_configuration(&mut of, &folder);
    #[cfg(feature = "drill")]
    of.error("drill", &["--short", "--junit", "/nowhere/drill.xml"]);

    assert_eq!(of.called, names(taking));
}

fn of_a_configuration(of: &mut Caller, folder: &Folder) {
    let config = folder.configure(&shell("nothing", "true", "pass_env = [\"NOT_SET\"]"));
    let config = config.to_str().unwrap();
    let checked = of.data("serve", &["--check", "--config", config]);
    assert_eq!(
        (&checked["handlers"], &checked["schedules"]),
        (&1.into(), &0.into())
    );
    of.error("serve", &["--check", "--config", "/nowhere/steadfast.toml"]);
}

const WHY: [&str; 2] = ["--reason", "a test"];

/// A command that changes something.
fn changes<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [args, &WHY].concat()
}

fn of_the_service(of: &mut Caller) {
    of.data("status", &[]);
    of.data("nodes list", &[]);
    // Nobody claims from there.
    let queued = changes(&[
        "send_receipt",
        "--payload",
        "{\"order\":1}",
        "--queue",
        "unserved",
    ]);
    let id = of.data("jobs run", &queued)["job"].to_string();
    of.data("jobs list", &[]);
    of.data("jobs show", &[&id]);
    of.data("jobs cancel", &changes(&[&id]));
    of.data("jobs retry", &changes(&[&id]));
    of.error("jobs retry", &changes(&["4711"]));
    of.data("jobs redrive", &changes(&["--dry-run"]));
    of.data("jobs pause", &changes(&["unserved"]));
    of.data("jobs queues", &[]);
    of.data("audit list", &[]);
    of.data("jobs resume", &changes(&["unserved"]));
    of.data("schedules list", &[]);
    of.data("schedules next", &["settlement"]);
    for change in ["pause", "resume", "run"] {
        of.data(&format!("schedules {change}"), &changes(&["settlement"]));
    }
    let past = [
        "settlement",
        "--from",
        "2026-01-01T00:00:00Z",
        "--to",
        "2026-01-01T00:00:30Z",
    ];
    let dry = of.data(
        "schedules backfill",
        &changes(&[&past[..], &["--dry-run"]].concat()),
    );
    let count = dry["made"].to_string();
    of.data(
        "schedules backfill",
        &changes(&[&past[..], &["--yes", &count]].concat()),
    );
    of.data("schedules set", &changes(&["settlement", "--jitter", "1s"]));
    let dry = ["settlement", "--dry-run"];
    of.data("schedules delete", &changes(&dry));
    of.data("schedules delete", &changes(&["settlement"]));
    let added = ["weekly", "--rule", "@weekly", "--handler", "settle"];
    of.data("schedules add", &changes(&added));
    let crontab = of
        .shop
        .file("crontab", "@daily true\n@reboot no\nMAILTO=ada\n");
    let imported = of.data("schedules import", &[crontab.to_str().unwrap()]);
    assert_eq!(
        (&imported["taken"], &imported["lost"]),
        (&1.into(), &1.into())
    );
    assert!(
        imported["document"]
            .as_str()
            .unwrap()
            .contains("[schedules.")
    );
    // In the order of the lines.
    assert_eq!(imported["notes"][0]["line"], 1, "{imported}");
    assert_eq!(imported["notes"][1]["line"], 2, "{imported}");
    of.error("schedules import", &["/nowhere/crontab"]);
}

fn of_the_guard(of: &mut Caller) {
    of.shop.get("/recommendations/bob");
    let panics = of.data("panics list", &[]);
    let panic = panics["items"][0]["id"].as_str().unwrap().to_owned();
    of.data("panics show", &[&panic]);
    let catalogue = "GET /catalogue";
    of.data("routes list", &[]);
    of.data("routes show", &[catalogue]);
    of.data("routes set", &changes(&[catalogue, "tier=core"]));
    of.data("routes reset", &changes(&[catalogue, "tier"]));
    of.data("routes breaker", &["payments"]);
    let policy = of.data("policy show", &[])["document"]
        .as_str()
        .unwrap()
        .to_owned();
    let file = of
        .shop
        .file("new.toml", &policy.replace("permits = 4", "permits = 5"));
    let file = file.to_str().unwrap();
    of.data("policy explain", &[catalogue]);
    of.data("policy check", &[file]);
    of.data("policy diff", &[file]);
    of.data("policy suggest", &["--observed"]);
    of.data("policy apply", &changes(&[file, "--yes", "1"]));
    of.data("policy revert", &changes(&["1", "--yes", "1"]));
    of.data("policy history", &[]);
    let broken = of.shop.file("broken.toml", "permits = ");
    of.error("policy check", &[broken.to_str().unwrap()]);
}

fn of_the_store(of: &mut Caller, folder: &Folder) {
    let ids = "[ids]\nlisten = \"127.0.0.1:0\"\n[generators.order]\n";
    let config = folder.configure(&(shell("nothing", "true", "") + ids));
    let config = config.to_str().unwrap();
    let mut server = Server::start(config.as_ref());
    let line = server.line_with("ids are handed out");
    let address = line.split("address=").nth(1).unwrap();
    let at = format!("http://{}", address.split_whitespace().next().unwrap());
    let at_config = ["--config", config];
    let with = |args: &[&'static str]| [args, &at_config].concat();

    let made = with(&["--name", "ada", "--role", "viewer"]);
    of.data("admin token create", &made);
    let tokens = of.data("admin token list", &at_config);
    assert!(
        tokens[0].is_object() || tokens["items"].is_array(),
        "{tokens}"
    );
    of.data("admin token revoke", &with(&["1"]));
    of.data("db migrate", &at_config);
    of.data("db status", &at_config);
    let copy = folder.path().join("copy.db");
    let copy = copy.to_str().unwrap();
    of.data("db backup", &[copy, "--config", config]);
    of.data("ids workers", &at_config);
    of.data("ids segments", &at_config);
    let id = of.data("ids next", &["order", "--at", &at])["ids"][0].clone();
    of.data("ids decode", &[id.as_str().unwrap()]);
    of.data("doctor", &at_config);
    server.stop();
    of.data("db restore", &[copy, "--dry-run", "--config", config]);
    of.data("db restore", &[copy, "--yes", "--config", config]);

    let database = folder.path().join("shop.db");
    let url = format!("sqlite:{}", database.display());
    let measured = [
        "--url",
        &url,
        "--sizes",
        "1",
        "--writers",
        "1",
        "--seconds",
        "1",
    ];
    of.data("batches measure", &measured);
    of.error("batches measure", &["--url", "mysql://db"]);
    let store = format!("sqlite:{}", folder.path().join("jobs.db").display());
    let audited = ["--table", "steadfast_job", "--url", &store];
    of.data("ids audit", &audited);
}
