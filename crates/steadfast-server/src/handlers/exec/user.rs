//! Whom a program runs as.

use std::path::PathBuf;

use anyhow::Context;

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: PathBuf,
}

/// Finds a user that this process may become.
pub(crate) fn find(name: &str) -> anyhow::Result<User> {
    let known = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let user = parse(&known, name).with_context(|| format!("there is no user {name:?} here"))?;
    let own = rustix::process::geteuid().as_raw();
    anyhow::ensure!(
        own == 0 || own == user.uid,
        "only root can run a program as {name:?}; this process runs as user {own}"
    );
    Ok(user)
}

fn parse(known: &str, name: &str) -> Option<User> {
    known.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [user, _, uid, gid, _, home, ..] = fields[..] else {
            return None;
        };
        (user == name).then_some(())?;
        Some(User {
            name: user.to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home: home.into(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_names() {
        let known = "root:x:0:0:root:/root:/bin/bash\nbroken:x:many:1::/:/bin/sh\nbackup:x:34:35:b:/var/b:/bin/sh\n";

        let user = parse(known, "backup").unwrap();

        assert_eq!((user.uid, user.gid, user.home), (34, 35, "/var/b".into()));
        assert_eq!(parse(known, "back"), None);
        assert_eq!(parse(known, "broken"), None);
    }
}
