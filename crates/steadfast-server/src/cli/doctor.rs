//! `steadfast doctor`: finds what can be found from outside, before it is needed.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::ask::print::{Printer, plain};
use super::fail;
use crate::doctor::{self, Finding, Subject, Verdict};

/// The exit code when a check has failed.
const FAILED: u8 = 9;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The configuration of `steadfast serve` to look at, with its store and its ports; without it,
    /// steadfast.toml of this folder, if there is one.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,

    /// The manifest of a project in Rust to look at; without it, Cargo.toml of this folder, if there is
    /// one.
    #[arg(long, value_name = "FILE")]
    manifest_path: Option<PathBuf>,

    /// Where a service has /metrics, and perhaps /readyz; without it, the server of the configuration, if
    /// it runs.
    #[arg(long, value_name = "URL")]
    service: Option<String>,

    /// A file with the certificates by which the service is trusted, in PEM; without it, the roots of the
    /// public web.
    #[arg(long, env = "STEADFAST_CA", value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Prints JSON, with the version of its form, for programs.
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Report<'f> {
    ok: usize,
    skip: usize,
    warn: usize,
    fail: usize,
    findings: &'f [Finding],
}

pub(crate) fn run(options: Options) -> ExitCode {
    let subject = subject(&options);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let findings = match runtime {
        Ok(runtime) => runtime.block_on(doctor::examine(&subject)),
        Err(error) => return fail::tell(&error.into(), options.json),
    };
    let count = |verdict| {
        let found = findings.iter().filter(|finding| finding.verdict == verdict);
        found.count()
    };
    let report = Report {
        ok: count(Verdict::Ok),
        skip: count(Verdict::Skip),
        warn: count(Verdict::Warn),
        fail: count(Verdict::Fail),
        findings: &findings,
    };
    Printer::new(options.json).print(&report, || shown(&report));
    match report.fail {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(FAILED),
    }
}

fn subject(options: &Options) -> Subject {
    let here = |name: &str| Some(PathBuf::from(name)).filter(|path| path.is_file());
    let mut configs = options.config.clone();
    if configs.is_empty() {
        configs.extend(here("steadfast.toml"));
    }
    // Cargo, too, takes a folder with one in it for no manifest.
    let manifest = options.manifest_path.clone().or_else(|| here("Cargo.toml"));
    Subject {
        configs,
        manifest,
        service: options.service.clone(),
        ca: options.ca.clone(),
    }
}

fn shown(report: &Report<'_>) -> String {
    let mut text = String::new();
    for Finding {
        check,
        verdict,
        says,
        fix,
    } in report.findings
    {
        let (verdict, name) = (verdict.name(), check.name);
        text.push_str(&format!("{verdict:4}  {name:18}  {}\n", lines(says)));
        if let Some(fix) = fix {
            text.push_str(&format!("{:26}fix: {}\n", "", lines(fix)));
        }
    }
    let Report {
        ok,
        skip,
        warn,
        fail,
        ..
    } = report;
    let unseen = match skip {
        0 => String::new(),
        _ => format!(", {skip} not seen"),
    };
    text + &format!("{ok} ok, {warn} warn, {fail} fail{unseen}")
}

/// Lines below the first stand where it does.
fn lines(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(plain)
        .collect();
    lines.join(&format!("\n{:26}", ""))
}
