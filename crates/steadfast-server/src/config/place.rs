//! Where secrets are, and never what they are.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use steadfast::settings::Wrong;

/// The longest secret that is read from a file: 64 KiB.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A value that is secret, or may be: written down, in a variable, or in a file.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    Plain(String),
    Variable(String),
    File(PathBuf),
}

impl Secret {
    pub(super) fn plain(text: &str) -> Self {
        Self(Place::Plain(text.to_owned()))
    }

    fn reference(text: &str) -> Option<Self> {
        let variable = text
            .strip_prefix("env:")
            .map(|name| Place::Variable(name.to_owned()));
        let file = || {
            text.strip_prefix("file:")
                .map(|path| Place::File(path.into()))
        };
        variable.or_else(file).map(Self)
    }

    /// Has a relative file begin in a folder.
    pub(super) fn begin_in(&mut self, folder: &Path) {
        if let Place::File(path) = &mut self.0 {
            *path = folder.join(&*path);
        }
    }

    /// Gives the file that it is in, if it is in one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.0 {
            Place::File(path) => Some(path),
            Place::Plain(_) | Place::Variable(_) => None,
        }
    }

    /// Gives the name of the variable that it is in, if it is in one.
    pub(crate) fn variable(&self) -> Option<&str> {
        match &self.0 {
            Place::Variable(name) => Some(name),
            Place::Plain(_) | Place::File(_) => None,
        }
    }

    /// Gives the value, without white space around it.
    pub(crate) fn look_up(&self) -> anyhow::Result<String> {
        let text = match &self.0 {
            Place::Plain(text) => text.clone(),
            Place::Variable(name) => std::env::var(name)
                .with_context(|| format!("the variable {name} is not set, or is no text"))?,
            Place::File(path) => {
                use std::io::Read;
                let mut text = String::new();
                let file = std::fs::File::open(path);
                let file = file.with_context(|| format!("cannot open {}", path.display()))?;
                let read = file.take(SECRET_BYTES_MAX).read_to_string(&mut text);
                read.with_context(|| format!("cannot read {}", path.display()))?;
                text
            }
        };
        let text = text.trim();
        anyhow::ensure!(!text.is_empty(), "{self:?} is empty");
        Ok(text.to_owned())
    }
}

/// Reads where the store is; one with a password in it has no place in a file of settings.
pub(super) fn store(text: &str) -> Result<Secret, Wrong> {
    if let Some(reference) = Secret::reference(text) {
        return Ok(reference);
    }
    let wrong = |message: &str| {
        Wrong::new(message).with_fix(
            "write \"sqlite:PATH\", \"postgres://USER@HOST/DATABASE\", or \"env:VARIABLE\" or \"file:PATH\" that has it",
        )
    };
    if has_password(text) {
        return Err(wrong("a password does not belong into this file"));
    }
    match steadfast::store::Config::parse(text) {
        Ok(_) => Ok(Secret::plain(text)),
        Err(_) => Err(wrong("this is no place of a store")),
    }
}

/// Reads where a secret is.
pub(super) fn secret(text: &str) -> Result<Secret, Wrong> {
    Secret::reference(text).ok_or_else(|| {
        Wrong::new("a secret does not belong into this file")
            .with_fix("write \"env:VARIABLE\" or \"file:PATH\" that has it")
    })
}

/// Reads the URL of a service.
pub(super) fn url(text: &str) -> Result<String, Wrong> {
    let wrong = |message: &str| Wrong::new(message).with_fix("write \"https://HOST:PORT/PATH\"");
    let uri: axum::http::Uri = text.parse().map_err(|_| wrong("this is no URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong("only http and https can be called"));
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Err(wrong("a password does not belong into this file"))
        }
        Some(_) => Ok(text.to_owned()),
        None => Err(wrong("it says no host")),
    }
}

fn has_password(url: &str) -> bool {
    let authority = url
        .split_once("://")
        .map(|(_, rest)| rest.split('/').next());
    let user = authority
        .flatten()
        .and_then(|authority| authority.rsplit_once('@'));
    user.is_some_and(|(user, _)| user.contains(':')) || url.contains("password=")
}

/// Where it is; what it is only if that is no secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Plain(_) => f.write_str("(written down)"),
            Place::Variable(name) => write!(f, "env:{name}"),
            Place::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}
