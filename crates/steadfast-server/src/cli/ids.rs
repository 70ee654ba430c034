//! `steadfast ids`: what ids say, who has worker ids, and whether any id is there twice.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use steadfast::ids::audit::{AuditReport, Form};
use steadfast::ids::list::{Held, PAGE_MAX};
use steadfast::ids::{Audit, Id, Ids, Layout};
use steadfast::store::{self, Store};

use super::ask::Trust;
use super::ask::print::{Printer, table};
use super::fail;
use crate::api::client::part;
use crate::config::{self, Config};
use crate::time;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Prints JSON, with the version of its form, for programs.
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tells what ids say: when, by whom, which.
    Decode {
        /// Ids: decimal numbers, or base 32 with or without its check character.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        #[command(flatten)]
        layout: OfLayout,
    },
    /// Asks a server for ids.
    Next {
        /// The name of the ids: one of [generators.NAME].
        name: String,
        /// How many, up to 10,000.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        count: u32,
        /// Where ids are handed out.
        #[arg(
            long,
            env = "STEADFAST_IDS",
            value_name = "URL",
            default_value = "http://127.0.0.1:4013"
        )]
        at: String,
        /// A file with the token; without it, the variable STEADFAST_IDS_TOKEN has it.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        #[command(flatten)]
        trust: Trust,
    },
    /// Lists dense ids: how far each tag is.
    Segments(OfStore),
    /// Lists worker ids: who has them, and until when.
    Workers(OfStore),
    /// Reads a column of ids, and proves that no two are the same in time, worker and sequence. Ends with 1 if some are.
    Audit {
        /// The table, with its schema in front where it has one.
        #[arg(long, value_name = "NAME")]
        table: String,
        /// The column.
        #[arg(long, value_name = "NAME", default_value = "id")]
        column: String,
        /// How ids are written there.
        #[arg(long, value_name = "FORM", default_value = "number")]
        form: Written,
        /// Where the table is: `postgres://…` or `sqlite:FILE`. Else DATABASE_URL of the environment says so, which others
        /// cannot read.
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        #[command(flatten)]
        layout: OfLayout,
    },
}

#[derive(Debug, clap::Args)]
struct OfLayout {
    /// The layout they were made with: default, javascript, many-workers, or its parts, such as
    /// "41+10+12+0=63 1ms 1767225600000".
    #[arg(long, value_name = "LAYOUT", default_value = "default", value_parser = layout)]
    layout: Layout,
}

#[derive(Debug, clap::Args)]
struct OfStore {
    /// The configuration of the server, which says where the store is.
    #[arg(long, value_name = "FILE", default_value = "steadfast.toml")]
    config: PathBuf,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Written {
    Number,
    Decimal,
    Base32,
}

#[derive(Serialize)]
struct Decoded {
    id: Id,
    time: String,
    worker: u64,
    sequence: u64,
    gene: u64,
    text: String,
    checked_text: String,
}

#[derive(Serialize)]
struct WorkerLine {
    group: String,
    worker: u64,
    layout: String,
    term: i64,
    held: bool,
    /// Until its lease ends, or since it is nobody's; absent where nobody can tell.
    seconds: Option<u64>,
    mark: String,
}

#[derive(Serialize)]
struct TagLine {
    tag: String,
    next: Id,
}

#[derive(Serialize)]
struct Audited<'a> {
    unique: bool,
    rows: u64,
    repeated: u64,
    clashing: u64,
    foreign: u64,
    unreadable: u64,
    ahead: u64,
    workers: u64,
    first: Option<String>,
    last: Option<String>,
    /// Some of those that are there twice, with how often.
    repeated_ids: &'a [(Id, u64)],
    /// Some of those that differ in their gene alone.
    clashing_ids: &'a [(Id, Id)],
    unreadable_texts: &'a [String],
}

#[derive(Serialize, Deserialize)]
struct Many {
    ids: Vec<Id>,
}

pub(crate) fn run(options: Options) -> ExitCode {
    let printer = Printer::new(options.json);
    match options.command.run(&printer) {
        Ok(code) => code,
        Err(error) => fail::tell(&error, options.json),
    }
}

impl Command {
    fn run(self, printer: &Printer) -> anyhow::Result<ExitCode> {
        let runtime = || {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
        };
        match self {
            Self::Decode { ids, layout } => decode(printer, &ids, layout.layout)?,
            Self::Next {
                name,
                count,
                at,
                token_file,
                trust,
            } => {
                let token = match token_file {
                    Some(path) => std::fs::read_to_string(&path)
                        .with_context(|| format!("cannot read the token in {}", path.display()))?,
                    None => std::env::var("STEADFAST_IDS_TOKEN").unwrap_or_default(),
                };
                let client = trust.client(&at, token.trim())?;
                let path = format!("/ids/{}?count={count}", part(&name));
                let asked = runtime()?.block_on(client.post(path).send::<Many>());
                let many = asked.context(format!("no ids of {name:?} from {at}"))?;
                printer.print(&many, || {
                    many.ids.iter().fold(String::new(), |mut lines, id| {
                        let _ = writeln!(lines, "{id}");
                        lines
                    })
                });
            }
            Self::Segments(store) => {
                let lines = runtime()?.block_on(store.with(tags))?;
                let rows: Vec<_> = lines
                    .iter()
                    .map(|line| [line.tag.clone(), line.next.to_string()])
                    .collect();
                printer.print(&lines, || table(["TAG", "NEXT"], &rows));
            }
            Self::Workers(store) => {
                let lines = runtime()?.block_on(store.with(workers))?;
                let rows: Vec<_> = lines.iter().map(WorkerLine::cells).collect();
                let head = ["GROUP", "WORKER", "TERM", "HELD", "IDS BEFORE", "LAYOUT"];
                printer.print(&lines, || table(head, &rows));
            }
            Self::Audit {
                table,
                column,
                form,
                url,
                layout,
            } => {
                let url = url.or_else(|| std::env::var("DATABASE_URL").ok());
                let url = url.context("which database? Give --url, or set DATABASE_URL")?;
                let audit = Audit::new(&table, &column)?
                    .form(form.into())
                    .layout(layout.layout);
                let report = runtime()?.block_on(async {
                    let place = store::Config {
                        connections_max: 1,
                        application_name: "steadfast ids audit".into(),
                        ..store::Config::parse(&url)?
                    };
                    let store = Store::open(place).await?;
                    let report = audit.run(&store).await;
                    store.close().await;
                    anyhow::Ok(report?)
                })?;
                printer.print(&Audited::of(&report), || report.to_string());
                if !report.is_clean() {
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn decode(printer: &Printer, ids: &[String], layout: Layout) -> anyhow::Result<()> {
    let mut decoded = Vec::new();
    for text in ids {
        let id = read(text)?;
        let parts = layout.decode(id)?;
        decoded.push(Decoded {
            id,
            time: time::text(parts.time),
            worker: parts.worker,
            sequence: parts.sequence,
            gene: parts.gene,
            text: id.text(),
            checked_text: id.checked_text(),
        });
    }
    let rows = decoded.iter().map(|one| {
        [
            one.id.to_string(),
            one.time.clone(),
            one.worker.to_string(),
            one.sequence.to_string(),
            one.gene.to_string(),
            one.checked_text.clone(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let head = ["ID", "TIME", "WORKER", "SEQUENCE", "GENE", "TEXT"];
    printer.print(&decoded, || table(head, &rows));
    Ok(())
}

/// Reads an id in whichever of its forms it is: thirteen digits alone are a number.
fn read(text: &str) -> anyhow::Result<Id> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().with_context(|| format!("{text:?} is no id"));
    }
    let read = match text.chars().count() {
        14 => Id::from_checked_text(text),
        _ => Id::from_text(text),
    };
    read.with_context(|| format!("{text:?} is no id"))
}

impl OfStore {
    /// Looks at the store of ids, whose tables have to be there.
    async fn with<T>(
        &self,
        look: impl AsyncFnOnce(&Ids) -> Result<Vec<T>, steadfast::ids::Error>,
    ) -> anyhow::Result<Vec<T>> {
        let config = Config::load(std::slice::from_ref(&self.config))?;
        let place = store::Config {
            connections_max: 1,
            ..config.store.config("steadfast ids")?
        };
        let store = Store::open(place).await?;
        let looked = match Ids::open(&store).await {
            Ok(ids) => look(&ids).await,
            Err(error) => Err(error),
        };
        store.close().await;
        Ok(looked?)
    }
}

async fn tags(ids: &Ids) -> Result<Vec<TagLine>, steadfast::ids::Error> {
    let mut lines: Vec<TagLine> = Vec::new();
    loop {
        let after = lines.last().map(|line| line.tag.clone());
        let page = ids.tags(after.as_deref(), PAGE_MAX).await?;
        let is_last = page.len() < PAGE_MAX as usize;
        lines.extend(page.into_iter().map(|tag| TagLine {
            tag: tag.tag,
            next: Id::new(tag.next),
        }));
        if is_last {
            return Ok(lines);
        }
    }
}

async fn workers(ids: &Ids) -> Result<Vec<WorkerLine>, steadfast::ids::Error> {
    let mut lines: Vec<WorkerLine> = Vec::new();
    loop {
        let after = lines.last().map(|line| (line.group.clone(), line.worker));
        let after = after
            .as_ref()
            .map(|(group, worker)| (group.as_str(), *worker));
        let page = ids.workers(after, PAGE_MAX).await?;
        let is_last = page.len() < PAGE_MAX as usize;
        lines.extend(page.into_iter().map(|worker| WorkerLine {
            group: worker.group,
            worker: worker.worker,
            layout: worker.layout,
            term: worker.term,
            held: matches!(worker.held, Held::For(_)),
            seconds: match worker.held {
                Held::For(time) | Held::NotSince(time) => Some(time.as_secs()),
                Held::NotSinceBoot => None,
            },
            mark: time::text(worker.mark),
        }));
        if is_last {
            return Ok(lines);
        }
    }
}

impl WorkerLine {
    fn cells(&self) -> [String; 6] {
        let held = match (self.held, self.seconds) {
            (true, seconds) => format!("for {} s", seconds.unwrap_or_default()),
            (false, Some(seconds)) => format!("not for {seconds} s"),
            (false, None) => "not since this host started".to_owned(),
        };
        [
            self.group.clone(),
            self.worker.to_string(),
            self.term.to_string(),
            held,
            self.mark.clone(),
            self.layout.clone(),
        ]
    }
}

impl<'a> Audited<'a> {
    fn of(report: &'a AuditReport) -> Self {
        let times = report
            .times
            .map(|(first, last)| (time::text(first), time::text(last)));
        let (first, last) = times.unzip();
        Self {
            unique: report.is_clean(),
            rows: report.rows,
            repeated: report.repeated_total,
            clashing: report.clashing_total,
            foreign: report.foreign,
            unreadable: report.unreadable_total,
            ahead: report.ahead,
            workers: report.workers,
            first,
            last,
            repeated_ids: &report.repeated,
            clashing_ids: &report.clashing,
            unreadable_texts: &report.unreadable,
        }
    }
}

impl From<Written> for Form {
    fn from(written: Written) -> Self {
        match written {
            Written::Number => Form::Number,
            Written::Decimal => Form::Decimal,
            Written::Base32 => Form::Base32,
        }
    }
}

fn layout(text: &str) -> Result<Layout, String> {
    config::layout(text).map_err(|wrong| wrong.to_string())
}
