//! Records which compiler built the benches, so that the table can say so.

use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").expect("cargo sets RUSTC for build scripts");
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .expect("the compiler that runs this build can tell its version");
    let version = String::from_utf8_lossy(&version.stdout);
    println!("cargo::rustc-env=PEERS_RUSTC={}", version.trim());
    println!("cargo::rerun-if-changed=build.rs");
}
