//! Copies of a store in PostgreSQL: its own tools make them, since they know their server best.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use steadfast::store::{Config, Place};

use super::{Printer, told};

/// A store in a schema of a database.
pub(super) struct Postgres {
    /// Without a password, which the list of processes would show.
    url: String,
    password: Option<String>,
    schema: String,
}

impl Postgres {
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        let Place::Postgres(url) = &config.place else {
            anyhow::bail!("this store cannot be copied");
        };
        let (url, password) = without_password(url);
        Ok(Self {
            url,
            password,
            schema: config.schema.clone(),
        })
    }

    /// What is replaced, for people.
    pub(super) fn name(&self) -> String {
        format!("the schema {} in {}", self.schema, self.url)
    }

    pub(super) fn back_up(&self, to: &Path, printer: &Printer) -> anyhow::Result<()> {
        anyhow::ensure!(
            std::fs::symlink_metadata(to).is_err(),
            "there is a {} already; name another file",
            to.display()
        );
        let mut part = to.as_os_str().to_owned();
        part.push(".part");
        let args = [
            "--format=custom".into(),
            format!("--schema={}", self.schema).into(),
            format!("--dbname={}", self.url).into(),
        ];
        // Made here, and not by it: all payloads are in it, and nobody else is to read them.
        let _ = std::fs::remove_file(&part);
        let file = std::fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&part)
            .with_context(|| format!("cannot write {}", to.display()))?;
        let ran = self.run("pg_dump", &args, Some((file, to)));
        let named = ran.and_then(|()| {
            let whole = std::fs::File::open(&part)?;
            whole.sync_all()?;
            std::fs::rename(&part, to)?;
            Ok(whole.metadata()?.len())
        });
        if named.is_err() {
            let _ = std::fs::remove_file(&part);
        }
        told(to, named?, printer);
        Ok(())
    }

    /// All of it or nothing: the server does it in one transaction.
    pub(super) fn restore(&self, from: &Path, printer: &Printer) -> anyhow::Result<()> {
        let args = [
            "--clean".into(),
            "--if-exists".into(),
            "--single-transaction".into(),
            "--exit-on-error".into(),
            "--no-owner".into(),
            format!("--schema={}", self.schema).into(),
            format!("--dbname={}", self.url).into(),
            from.as_os_str().to_owned(),
        ];
        self.run("pg_restore", &args, None)?;
        let done = serde_json::json!({ "file": from, "schema": self.schema });
        printer.print(&done, || {
            format!("{} is as in {}", self.name(), from.display())
        });
        Ok(())
    }

    /// Runs a tool, whose output goes to a file, if there is one: that which it becomes is told.
    fn run(
        &self,
        program: &str,
        args: &[OsString],
        output: Option<(std::fs::File, &Path)>,
    ) -> anyhow::Result<()> {
        let mut command = Command::new(program);
        command.args(args);
        let mut to = String::new();
        if let Some((file, name)) = output {
            command.stdout(file);
            to = format!(" > {}", quoted(&name.to_string_lossy()));
        }
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password);
        }
        let output = match command.output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let args: Vec<_> = args
                    .iter()
                    .map(|arg| quoted(&arg.to_string_lossy()))
                    .collect();
                anyhow::bail!(
                    "{program} is not installed here (it comes with the client of PostgreSQL); \
                     where it is, run: {program} {}{to}",
                    args.join(" ")
                );
            }
            output => output.with_context(|| format!("cannot run {program}"))?,
        };
        let says = String::from_utf8_lossy(&output.stderr);
        let says: String = says.trim().chars().take(1_000).collect();
        anyhow::ensure!(output.status.success(), "{program} has failed: {says}");
        Ok(())
    }
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Takes the password out of a URL, wherever it is in it, and gives it as it is meant.
fn without_password(url: &str) -> (String, Option<String>) {
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    let is_password = |pair: &&str| pair.starts_with("password=");
    // The last one counts, and before that of the user.
    let said = query.split('&').rfind(is_password);
    let said = said.and_then(|pair| pair.strip_prefix("password="));
    let query: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !is_password(pair))
        .collect();
    let (mut place, mut password) = (url.to_owned(), None);
    if let Some((scheme, rest)) = url.split_once("://") {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        // One that is not escaped may have an @ in it.
        let user = authority.rsplit_once('@');
        let parts = user.and_then(|(user, host)| Some((user.split_once(':')?, host)));
        if let Some(((user, secret), host)) = parts {
            place = format!("{scheme}://{user}@{host}{path}");
            password = Some(secret);
        }
    }
    if !query.is_empty() {
        place = format!("{place}?{}", query.join("&"));
    }
    (place, said.or(password).map(unescaped))
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = |at: usize| char::from(*tail.get(at)?).to_digit(16);
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_out_of_the_url_and_unescaped() {
        let check = |url, without: &str, password: Option<&str>| {
            let password = password.map(ToOwned::to_owned);
            assert_eq!(without_password(url), (without.to_owned(), password));
        };

        check(
            "postgres://ann:p%40ss%2F%C3%A9@db:5432/jobs",
            "postgres://ann@db:5432/jobs",
            Some("p@ss/é"),
        );
        check(
            "postgres://ann:p@ss@db/jobs?sslmode=require",
            "postgres://ann@db/jobs?sslmode=require",
            Some("p@ss"),
        );
        check(
            "postgres://db/jobs?user=ann&password=s%20t&sslmode=require",
            "postgres://db/jobs?user=ann&sslmode=require",
            Some("s t"),
        );
        check(
            "postgres://ann:old@db?password=new",
            "postgres://ann@db",
            Some("new"),
        );
        check("postgres://ann@db/jobs", "postgres://ann@db/jobs", None);
        check("postgres://db/a:b@c", "postgres://db/a:b@c", None);
        assert_eq!(unescaped("100%"), "100%");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
