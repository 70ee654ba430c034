//! `steadfast completions` and `steadfast man`: made from the commands themselves.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;

use super::fail::{EXITS, EXITS_OF_EXEC};
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
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| write_pages(&program, folder))
        .with_context(|| format!("cannot write pages to {}", folder.display()));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail::tell(&error, false),
    }
}

/// Writes the page of a command, and those of the commands below it.
fn write_pages(command: &clap::Command, folder: &Path) -> std::io::Result<()> {
    for below in command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
    {
        write_pages(below, folder)?;
    }
    let man = clap_mangen::Man::new(command.clone());
    let mut page = Vec::new();
    man.render(&mut page)?;
    page.extend(exit_status().into_bytes());
    std::fs::write(folder.join(man.get_filename()), page)
}

/// Writes the exit codes as pages have them.
fn exit_status() -> String {
    let codes: String = EXITS
        .iter()
        .map(|(code, when)| format!(".TP\n\\fB{code}\\fR\n{when}\n"))
        .collect();
    format!(".SH \"EXIT STATUS\"\n{codes}.PP\n{EXITS_OF_EXEC}\n").replace('`', "")
}
