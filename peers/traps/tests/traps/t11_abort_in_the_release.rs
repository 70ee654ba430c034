//! `panic = "abort"` in the profile of the release turns every catch off, while the tests, which unwind, pass.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use crate::support::{Side, seen};

/// The program `abort`, built with a profile that says `panic = "abort"`.
fn released(side: &str) -> Output {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([
            "run",
            "--quiet",
            "--offline",
            "--locked",
            "--profile",
            "panic-abort",
        ])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .args(["--bin", "abort", "--", side])
        .env_remove("RUSTFLAGS");
    cargo.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_usual_assembly_fails() {
    let tested = Command::new(env!("CARGO_BIN_EXE_abort"))
        .arg("usual")
        .output()
        .unwrap();
    assert_eq!(text(&tested.stdout), "answered 500\n");

    let released = released("usual");

    assert_eq!(text(&released.stdout), "", "{}", text(&released.stderr));
    assert!(text(&released.stderr).contains("no such item"));
    const SIGABRT: i32 = 6;
    let by_signal = released.status.signal() == Some(SIGABRT);
    // Cargo may tell the signal of the program by its own exit.
    assert!(
        by_signal || text(&released.stderr).contains("SIGABRT"),
        "{released:?}"
    );
    seen(
        "t11",
        Side::Usual,
        "as tested it answered 500; as released one panic ended the process with SIGABRT",
    );
}

#[test]
fn ours_holds() {
    let tested = Command::new(env!("CARGO_BIN_EXE_abort"))
        .arg("ours")
        .output()
        .unwrap();
    assert_eq!(
        text(&tested.stdout),
        "serving\n",
        "{}",
        text(&tested.stderr)
    );

    let released = released("ours");

    assert_eq!(
        released.status.code(),
        Some(78),
        "{}",
        text(&released.stderr)
    );
    assert!(text(&released.stderr).contains("built with panic = \"abort\""));
    seen(
        "t11",
        Side::Ours,
        "as released it refused to start, with exit code 78 and the reason",
    );
}
