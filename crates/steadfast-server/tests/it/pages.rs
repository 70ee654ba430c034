//! What pages for operators show is taken by whom it is meant for.

use std::path::Path;
use std::process::{Command, Output};

use crate::serve::{Folder, output};

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Gives what stands in fences of a language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let fence = format!("```{language}\n");
    let parts = page.split(&*fence).skip(1);
    parts
        .map(|part| part.split("```").next().unwrap())
        .collect()
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn configurations_of_the_pages_are_taken() {
    let folder = Folder::new("pages");
    for name in [
        "how-to/behind-nginx.md",
        "how-to/cluster.md",
        "how-to/systemd.md",
        "how-to/tls.md",
    ] {
        let page = page(name);
        let shown = blocks(&page, "toml");
        assert!(!shown.is_empty(), "{name}");
        for block in shown {
            let path = folder.path().join("page.toml");
            std::fs::write(&path, block).unwrap();
            let checked = output(&["--check", "--config", path.to_str().unwrap()]);
            // Programs and certificates that this machine does not have.
            let is_absent = |line: &&str| {
                line.contains(" no program /usr/local/bin/") || line.contains(" in /etc/steadfast/")
            };
            let told = told(&checked);
            let errors = told.lines().filter(|line| line.starts_with("error: "));
            let mistakes: Vec<_> = errors.filter(|line| !is_absent(line)).collect();
            assert_eq!(mistakes, [""; 0], "{name}: {told}");
            let is_read = checked.status.success() || told.contains("\nerror: ");
            assert!(is_read, "{name}: {told}");
        }
    }
}

#[test]
fn the_unit_is_one_of_systemd() {
    let page = page("how-to/systemd.md");
    let [unit] = blocks(&page, "ini")[..] else {
        panic!("one unit");
    };
    let mut sections = Vec::new();
    for line in unit
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        match line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            Some(section) => sections.push(section),
            None => assert!(
                line.split_once('=')
                    .is_some_and(|(key, value)| !key.is_empty() && !value.is_empty()),
                "{line}"
            ),
        }
    }
    assert_eq!(sections, ["Unit", "Service", "Install"]);
    assert!(
        unit.contains("\nExecStart=/usr/local/bin/steadfast serve --config "),
        "{unit}"
    );

    if is_installed("systemd-analyze") {
        let folder = Folder::new("unit");
        let path = folder.path().join("steadfast.service");
        let here = unit.replace("/usr/local/bin/steadfast", env!("CARGO_BIN_EXE_steadfast"));
        std::fs::write(&path, here).unwrap();
        let verified = Command::new("systemd-analyze")
            .arg("verify")
            .arg("--man=no")
            .arg(&path)
            .output()
            .unwrap();
        // Other units of the machine are not ours to judge.
        let ours = told(&verified);
        let ours: Vec<_> = ours
            .lines()
            .filter(|line| line.contains("steadfast.service"))
            .collect();
        assert!(ours.is_empty(), "{ours:?}");
    }
}

#[test]
fn what_is_shown_for_nginx_is_taken_by_it() {
    let page = page("how-to/behind-nginx.md");
    let [shown] = blocks(&page, "nginx")[..] else {
        panic!("one of them");
    };
    let mut depth = 0;
    for line in shown
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        match line.chars().last() {
            Some('{') => depth += 1,
            Some('}') => depth -= 1,
            last => assert_eq!(last, Some(';'), "{line}"),
        }
        assert!(depth >= 0, "{line}");
    }
    assert_eq!(depth, 0);

    if is_installed("nginx") {
        let folder = Folder::new("nginx");
        let dir = folder.path().display();
        let made = Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=x",
                "-keyout",
            ])
            .arg(folder.path().join("jobs.key"))
            .arg("-out")
            .arg(folder.path().join("jobs.pem"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", told(&made));
        let shown = shown.replace("/etc/nginx/tls", &dir.to_string());
        let whole = format!(
            "pid {dir}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{ access_log off;\n{shown}\n}}\n"
        );
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, whole).unwrap();
        let tested = Command::new("nginx")
            .args(["-t", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(&path)
            .output()
            .unwrap();
        assert!(tested.status.success(), "{}", told(&tested));
    }
}
