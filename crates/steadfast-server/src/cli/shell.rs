//! `steadfast completions` and `steadfast man`: made from the commands themselves.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;

use super::{Cli, fail};

#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell that completes.
    shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// The folder that the pages are written to, one for each command.
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
}

pub(crate) fn completions(options: &Completions) -> ExitCode {
    let mut written = Vec::new();
    clap_complete::generate(
        options.shell,
        &mut Cli::command(),
        "steadfast",
        &mut written,
    );
    let _ = std::io::stdout().write_all(&written);
    ExitCode::SUCCESS
}

pub(crate) fn man(options: &Man) -> ExitCode {
    let folder = &options.output;
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .with_context(|| format!("cannot write pages to {}", folder.display()));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail::tell(&error, false),
    }
}
