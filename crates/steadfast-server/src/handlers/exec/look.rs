//! What a program needs of this machine, looked at before anything is started.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use steadfast::BoxError;
use steadfast::clock;

use super::environment;
use super::user::{self, User};
use crate::config::Exec;
use crate::process::launch;

/// How long all looks may take together: 5 s. A disk that does not answer keeps nobody longer.
const LOOKED_WITHIN: Duration = Duration::from_secs(5);

/// What a program needs and does not find.
pub(crate) struct Missing {
    /// The key that names it.
    pub(crate) key: &'static str,
    pub(crate) why: String,
    pub(crate) fix: &'static str,
    pub(crate) comes: Comes,
}

/// How what is missing may come without another configuration.
#[derive(Clone, Copy)]
pub(crate) enum Comes {
    /// It is a right of this process, which the server may have.
    WithRights,
    /// A disk may be mounted later, a user be made, a file be replaced just now. Each run looks for it.
    Later,
}

/// Tells for each what it needs and does not find here.
pub(crate) fn look<'e>(all: impl IntoIterator<Item = &'e Exec>) -> Vec<Vec<Missing>> {
    let looks = all.into_iter().map(|exec| {
        let exec = exec.clone();
        move || look_at(&exec)
    });
    let hangs = || Missing {
        key: "exec",
        why: format!("its program and its folder cannot be looked at within {LOOKED_WITHIN:?}"),
        fix: "see whether the disks that it names answer",
        comes: Comes::Later,
    };
    let looked = answers(looks, LOOKED_WITHIN).into_iter();
    looked
        .map(|missing| missing.unwrap_or_else(|| vec![hangs()]))
        .collect()
}

/// Gives what each answers, and nothing for those that do not in time: each is asked in a thread of its own, which is left behind.
fn answers<T: Send + 'static>(
    asked: impl Iterator<Item = impl FnOnce() -> T + Send + 'static>,
    within: Duration,
) -> Vec<Option<T>> {
    let until = clock::now() + within;
    let asked: Vec<_> = asked
        .map(|ask| {
            let (tell, told) = mpsc::channel();
            let thread = std::thread::Builder::new().name("look".into());
            // Without a thread there is no answer.
            let _ = thread.spawn(move || tell.send(ask()));
            told
        })
        .collect();
    let told = asked.iter().map(|told| {
        let left = until.saturating_duration_since(clock::now());
        told.recv_timeout(left).ok()
    });
    told.collect()
}

fn look_at(exec: &Exec) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut miss = |key, why, fix, comes| {
        missing.push(Missing {
            key,
            why,
            fix,
            comes,
        });
    };
    let user = exec.user.as_deref().map(user::known).transpose();
    if let Err(error) = &user {
        let fix = "make the user, or name one of /etc/passwd";
        miss("user", format!("{error:#}"), fix, Comes::Later);
    }
    let user = user.ok().flatten();
    if let Some(Err(error)) = user.as_ref().map(user::may_become) {
        let fix = "start the server as root, or as that user";
        miss("user", error.to_string(), fix, Comes::WithRights);
    }
    let dir = match dir(exec, user.as_ref()) {
        Ok(dir) => dir,
        Err(error) => {
            let fix = "make it, or name one that is there";
            miss("dir", error.to_string(), fix, Comes::Later);
            return missing;
        }
    };
    let path = environment::path(exec);
    if launch::found(&exec.command[0], Some(&path), dir).is_err() {
        let fix = "write the whole path of a program that is there, or give it a PATH that has it in `env`";
        let why = format!("there is no program {} here", exec.command[0]);
        miss("exec", why, fix, Comes::Later);
    }
    missing
}

/// Gives the folder that a program runs in, if it is not ours.
fn dir<'d>(exec: &'d Exec, user: Option<&'d User>) -> Result<Option<&'d Path>, BoxError> {
    match (&exec.dir, user) {
        (Some(dir), _) if !dir.is_dir() => {
            Err(format!("there is no folder {} to run it in", dir.display()).into())
        }
        (Some(dir), _) => Ok(Some(dir)),
        (None, Some(user)) if user.home.is_dir() => Ok(Some(&user.home)),
        (None, Some(_)) => Ok(Some(Path::new("/"))),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_does_not_answer_keeps_no_other_from_it() {
        let (held, hangs) = mpsc::channel::<()>();
        let mut hangs = Some(hangs);
        let asked = (0..3).map(|number| {
            let hangs = hangs.take_if(|_| number == 1);
            move || {
                if let Some(hangs) = hangs {
                    let _ = hangs.recv();
                }
                number
            }
        });

        let told = answers(asked, Duration::from_millis(500));

        assert_eq!(told, [Some(0), None, Some(2)]);
        drop(held);
    }
}
