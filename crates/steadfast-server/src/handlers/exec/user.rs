//! Whom a program runs as.

use std::path::PathBuf;

use anyhow::Context;

use crate::process::launch::Identity;

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) identity: Identity,
    pub(crate) home: PathBuf,
}

impl User {
    /// Whom the launcher has to become; nobody, where it is that user already, with the groups that it was given.
    pub(crate) fn to_become(&self) -> Option<&Identity> {
        rustix::process::geteuid()
            .is_root()
            .then_some(&self.identity)
    }
}

/// Finds a user that this process may become.
pub(crate) fn find(name: &str) -> anyhow::Result<User> {
    let user = known(name)?;
    may_become(&user)?;
    Ok(user)
}

/// Finds a user of this machine.
pub(super) fn known(name: &str) -> anyhow::Result<User> {
    let known = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    // Without the file there are no further groups.
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let user = parse(&known, &groups, name);
    user.with_context(|| format!("there is no user {name:?} here"))
}

/// Refuses a user that this process may not become.
pub(super) fn may_become(user: &User) -> anyhow::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    anyhow::ensure!(
        own == 0 || own == user.identity.uid,
        "only root can run a program as {:?}; this process runs as user {own}",
        user.name
    );
    Ok(())
}

fn parse(known: &str, groups: &str, name: &str) -> Option<User> {
    known.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [user, _, uid, gid, _, home, ..] = fields[..] else {
            return None;
        };
        (user == name).then_some(())?;
        let mut gids = vec![gid.parse().ok()?];
        gids.extend(further(groups, name));
        Some(User {
            name: user.to_owned(),
            identity: Identity {
                uid: uid.parse().ok()?,
                gids,
            },
            home: home.into(),
        })
    })
}

/// The groups that name a user as one of theirs.
fn further(groups: &str, name: &str) -> impl Iterator<Item = u32> {
    groups.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, gid, members] = fields[..] else {
            return None;
        };
        let is_member = members.split(',').any(|member| member == name);
        gid.parse().ok().filter(|_| is_member)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_names_with_their_groups() {
        let known = "root:x:0:0:root:/root:/bin/bash\nbroken:x:many:1::/:/bin/sh\nbackup:x:34:35:b:/var/b:/bin/sh\n";

        let groups = "root:x:0:\ntape:x:26:amanda,backup\nback:x:27:back,backups\ndisk:x:6:backup\nbroken:x:a:backup\n";
        let parse = |name| parse(known, groups, name);

        let user = parse("backup").unwrap();

        assert_eq!(user.identity.uid, 34);
        assert_eq!(user.identity.gids, [35, 26, 6]);
        assert_eq!(user.home, PathBuf::from("/var/b"));
        assert_eq!(parse("root").unwrap().identity.gids, [0]);
        assert_eq!(parse("back"), None);
        assert_eq!(parse("broken"), None);
    }
}
