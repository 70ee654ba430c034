//! Whether panics unwind in what is released.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use toml::de::{DeTable, DeValue};

use super::super::{Check, Finding, check, fail, ok, warn};

pub(super) static PANIC: Check = check(
    "project.panic",
    "whether a profile, in the manifest or in the configuration of cargo, or RUSTFLAGS have panics abort: then nothing catches them, while tests pass ([T11](../traps/t11-abort-in-the-release.md))",
);

/// What somewhere is said of a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Profile {
    /// How panics end, and where that is said.
    panic: Option<(String, String)>,
    inherits: Option<String>,
}

/// All that is said, the strongest last.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    named: BTreeMap<String, Profile>,
    /// Where flags for every compilation have panics abort.
    flags: Option<String>,
}

/// Reads what cargo would.
pub(super) fn gather(root: &Path) -> anyhow::Result<Profiles> {
    let mut profiles = Profiles::default();
    profiles.read(&root.join("Cargo.toml"), "Cargo.toml".into())?;
    // The nearest folder has the last word.
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let mut folders: Vec<PathBuf> = root.ancestors().map(|dir| dir.join(".cargo")).collect();
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    folders.extend(home);
    for folder in folders.iter().rev() {
        // Of both, cargo takes the one without an ending.
        let names = ["config", "config.toml"].map(|name| folder.join(name));
        if let Some(path) = names.iter().find(|path| path.is_file()) {
            profiles.read(path, path.display().to_string())?;
        }
    }
    for (name, value) in std::env::vars() {
        let profile = name.strip_prefix("CARGO_PROFILE_");
        if let Some(profile) = profile.and_then(|name| name.strip_suffix("_PANIC")) {
            let profile = profiles
                .named
                .entry(profile.to_lowercase().replace('_', "-"));
            profile.or_default().panic = Some((value, name));
        } else if name == "RUSTFLAGS" && abort(value.split_whitespace()) {
            profiles.flags = Some("RUSTFLAGS".into());
        }
    }
    Ok(profiles)
}

impl Profiles {
    fn read(&mut self, path: &Path, place: String) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        self.add(&text, &place)
    }

    /// Takes what a document says.
    fn add(&mut self, text: &str, place: &str) -> anyhow::Result<()> {
        let document = DeTable::parse(text)
            .map_err(|error| anyhow::anyhow!("{place}: {}", error.message()))?;
        let document = document.get_ref();
        for (name, said) in table(document, "profile").into_iter().flatten() {
            let DeValue::Table(said) = said.get_ref() else {
                continue;
            };
            let profile = self.named.entry(name.get_ref().to_string()).or_default();
            if let Some(panic) = string(said, "panic") {
                profile.panic = Some((panic, place.to_owned()));
            }
            profile.inherits = string(said, "inherits").or(profile.inherits.take());
        }
        let mut flags = table(document, "build").into_iter().collect::<Vec<_>>();
        for (_, target) in table(document, "target").into_iter().flatten() {
            if let DeValue::Table(target) = target.get_ref() {
                flags.push(target);
            }
        }
        for table in flags {
            let flags = match table.get("rustflags").map(toml::Spanned::get_ref) {
                Some(DeValue::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
                Some(DeValue::Array(list)) => list
                    .iter()
                    .filter_map(|flag| flag.get_ref().as_str().map(str::to_owned))
                    .collect(),
                _ => Vec::new(),
            };
            if abort(flags.iter().map(String::as_str)) {
                self.flags = Some(format!("rustflags in {place}"));
            }
        }
        Ok(())
    }

    /// Finds how panics end in a profile, and where that is said.
    fn panic(&self, name: &str) -> Option<&(String, String)> {
        let mut name = name;
        // A circle is refused by cargo.
        for _ in 0..=self.named.len() {
            let profile = self.named.get(name)?;
            if profile.panic.is_some() {
                return profile.panic.as_ref();
            }
            name = profile.inherits.as_deref()?;
        }
        None
    }
}

fn table<'t, 'd>(table: &'t DeTable<'d>, key: &str) -> Option<&'t DeTable<'d>> {
    match table.get(key)?.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

fn string(table: &DeTable<'_>, key: &str) -> Option<String> {
    table.get(key)?.get_ref().as_str().map(str::to_owned)
}

/// Tells whether flags of the compiler have panics abort.
fn abort<'f>(flags: impl Iterator<Item = &'f str>) -> bool {
    let mut before = "";
    for flag in flags {
        let joined = flag.strip_prefix("-C").or(flag.strip_prefix("--codegen="));
        let codegen = match before {
            "-C" | "--codegen" => Some(flag),
            _ => joined,
        };
        if codegen == Some("panic=abort") {
            return true;
        }
        before = flag;
    }
    false
}

/// Those that ignore it: tests have to catch panics.
const TESTS: [&str; 2] = ["test", "bench"];

pub(super) fn judge(profiles: &Profiles) -> Finding {
    if let Some(place) = &profiles.flags {
        return fail(
            &PANIC,
            format!("{place} have every panic end the process: nothing catches any"),
            "take `-C panic=abort` out",
        );
    }
    let aborting = profiles.named.keys().filter_map(|name| {
        let (panic, place) = profiles.panic(name)?;
        (panic == "abort" && !TESTS.contains(&name.as_str())).then_some((name, place))
    });
    let aborting: Vec<_> = aborting.collect();
    let told: Vec<String> = aborting
        .iter()
        .map(|(name, place)| format!("profile {name} ({place})"))
        .collect();
    let told = format!(
        "one panic ends the process, with all that it serves, in what is built with {}; tests unwind, and pass",
        told.join(", ")
    );
    let fix =
        "take `panic = \"abort\"` out, or accept it by name with `Program::accept_panic_abort`";
    let is_usual = |name: &str| matches!(name, "release" | "dev");
    match &aborting[..] {
        [] => ok(&PANIC, "panics unwind in every profile"),
        aborting if aborting.iter().any(|(name, _)| is_usual(name)) => fail(&PANIC, told, fix),
        // One of its own may be meant, such as for a test of exactly that.
        _ => warn(&PANIC, told, fix),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Verdict;
    use super::*;

    #[test]
    fn a_profile_has_what_is_said_last_or_what_it_inherits() {
        let check = |documents: &[(&str, &str)], expect: Verdict, part: &str| {
            let mut profiles = Profiles::default();
            for (place, text) in documents {
                profiles.add(text, place).unwrap();
            }
            let finding = judge(&profiles);
            assert_eq!(finding.verdict, expect, "{documents:?}: {}", finding.says);
            assert!(
                finding.says.contains(part),
                "{documents:?}: {}",
                finding.says
            );
        };
        fn manifest(text: &str) -> (&str, &str) {
            ("Cargo.toml", text)
        }
        let abort = "[profile.release]\npanic = \"abort\"";

        check(&[manifest("")], Verdict::Ok, "in every profile");
        check(
            &[manifest("[profile.release]\npanic = \"unwind\"")],
            Verdict::Ok,
            "",
        );
        check(
            &[manifest(abort)],
            Verdict::Fail,
            "profile release (Cargo.toml)",
        );
        check(
            &[manifest("[profile.dev]\npanic = \"abort\"")],
            Verdict::Fail,
            "profile dev",
        );
        check(
            &[manifest("[profile.bench]\npanic = \"abort\"")],
            Verdict::Ok,
            "",
        );
        check(
            &[manifest(
                "[profile.small]\ninherits = \"release\"\npanic = \"abort\"",
            )],
            Verdict::Warn,
            "profile small",
        );
        check(
            &[manifest(&format!(
                "{abort}\n[profile.shipped]\ninherits = \"release\""
            ))],
            Verdict::Fail,
            "profile release (Cargo.toml), profile shipped (Cargo.toml)",
        );
        check(
            &[manifest(&format!(
                "{abort}\n[profile.shipped]\ninherits = \"release\"\npanic = \"unwind\""
            ))],
            Verdict::Fail,
            "profile release (Cargo.toml);",
        );
        check(
            &[manifest(""), (".cargo/config.toml", abort)],
            Verdict::Fail,
            "(.cargo/config.toml)",
        );
        check(
            &[
                manifest(abort),
                (
                    ".cargo/config.toml",
                    "[profile.release]\npanic = \"unwind\"",
                ),
            ],
            Verdict::Ok,
            "",
        );
        for flags in [
            "[build]\nrustflags = \"-C panic=abort\"",
            "[build]\nrustflags = [\"-Cpanic=abort\"]",
            "[target.'cfg(unix)']\nrustflags = [\"--codegen\", \"panic=abort\"]",
        ] {
            check(
                &[manifest(""), ("config", flags)],
                Verdict::Fail,
                "rustflags in config",
            );
        }
        check(
            &[("config", "[build]\nrustflags = \"-C target-cpu=native\"")],
            Verdict::Ok,
            "",
        );
        // What is no profile is for cargo to refuse.
        check(&[manifest("profile = 1")], Verdict::Ok, "");
        check(
            &[manifest(
                "[profile.a]\ninherits = \"b\"\n[profile.b]\ninherits = \"a\"",
            )],
            Verdict::Ok,
            "",
        );
    }
}
