//! `steadfast doctor`: it finds each planted trap, and is silent where there is none.

mod project;
mod server;

use std::process::{Command, Output};

use serde_json::Value;

/// What a doctor has said.
struct Told {
    code: Option<i32>,
    findings: Vec<Value>,
}

fn doctor() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.args(["doctor", "--json"]);
    // What stands around the tests is none of the project's.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        command.env_remove(name);
    }
    command
}

fn told(output: &Output) -> Told {
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(document["version"], 1);
    let findings = document["data"]["findings"].as_array().unwrap().clone();
    Told {
        code: output.status.code(),
        findings,
    }
}

impl Told {
    /// What is not well, but for the clock of the machine that tests run on, and for who runs them.
    fn troubles(&self) -> Vec<&Value> {
        let troubles = self
            .findings
            .iter()
            .filter(|finding| finding["verdict"] != "ok" && finding["check"] != "machine.clock")
            .filter(|finding| finding["check"] != "config.users");
        troubles.collect()
    }

    /// Makes sure that this is the one trouble, and that it says how to put it right.
    #[track_caller]
    fn one(&self, check: &str, verdict: &str, part: &str) {
        let troubles = self.troubles();
        assert_eq!(troubles.len(), 1, "{troubles:?}");
        self.some(check, verdict, part);
    }

    #[track_caller]
    fn some(&self, check: &str, verdict: &str, part: &str) {
        let found = self.findings.iter().find(|finding| {
            finding["check"] == check && finding["says"].as_str().unwrap().contains(part)
        });
        let found =
            found.unwrap_or_else(|| panic!("no {check} with {part:?}: {:?}", self.findings));
        assert_eq!(found["verdict"], verdict, "{found}");
        assert!(!found["fix"].as_str().unwrap().is_empty(), "{found}");
        let code = match self
            .findings
            .iter()
            .any(|finding| finding["verdict"] == "fail")
        {
            true => 9,
            false => 0,
        };
        assert_eq!(self.code, Some(code));
    }

    #[track_caller]
    fn some_well(&self, check: &str) {
        let mut found = self.findings.iter().filter(|found| found["check"] == check);
        assert_eq!(found.next().unwrap()["verdict"], "ok", "{check}");
    }

    #[track_caller]
    fn silent(&self) {
        assert_eq!(self.troubles(), Vec::<&Value>::new());
        assert_eq!(self.code, Some(0));
        assert!(!self.findings.is_empty());
    }
}
