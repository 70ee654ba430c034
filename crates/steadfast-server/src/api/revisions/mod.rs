//! What was put in force stays in force: revisions of the policy, and what operators hold against it, are kept in the
//! store, and followed by every process that was started with the same document.
//!
//! # Which one rules
//! A revision is put over what the process was started with, and stays over that. So a process that is started again
//! with the same document takes up the newest revision that was put over it, and one that is started with another
//! document begins with that, as a revision whose author is the file. What is in force follows from document and store
//! alone, and never from who was started last: while a new file is rolled out, and where two servers have two files,
//! none changes the policy of the others, and a file that is rolled back brings back what was in force with it.
//!
//! # Several processes
//! Each looks for newer ones every [`LOOK_EVERY`], from the moment on at which the guard is around its routes. A number is
//! given by the store, to one of those who ask for it at once. A revision that a process cannot follow, since a newer version has written it or the router lacks a route, is
//! told, and the newest that it can follow stays in force.

mod held;
mod kept;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast::store::{Error, Store};
use steadfast::tower::policy::{ApplyError, Proposal, Revision, Signed};
use steadfast::tower::{Guard, PolicyDocument};
use steadfast::{Timestamp, clock, recover_async, rng, spawn};

use super::problem::Problem;
use super::types::{self, Tag};
use crate::writes::{LOOK_EVERY, is_about_writes};
pub(super) use held::not_held;
use kept::{Kept, New, SIGN_EVERY};

/// Who stands for what processes were started with.
const THE_FILE: &str = "the file";

/// After how long it is told that a guard was not put around its routes: 10 s, longer than a start takes from there.
const PROTECTED_WITHIN: Duration = Duration::from_secs(10);

/// How many revisions a process tries to follow, from the newest back: 50, before what it was started with.
const TRIED_MAX: usize = 50;

/// How often a number is asked for: 5 times, since others may be given it at the same moment.
const ASKED_MAX: usize = 5;

/// What to do where another policy is in force than was seen.
const DECIDE_ANEW: &str = "look at what has changed, and decide anew";

/// The revisions of a guard, in a store.
pub(super) struct Revisions {
    guard: Guard,
    /// What the process was started with.
    first: PolicyDocument,
    kept: Kept,
    /// Whoever has it looks, applies or holds.
    state: tokio::sync::Mutex<State>,
    /// Nothing is kept, only followed.
    read_only: bool,
    behind: Mutex<Option<Behind>>,
    not_held: Mutex<Vec<types::NotHeld>>,
}

/// What is known of the store.
#[derive(Default)]
struct State {
    /// The newest revision that was looked at; 0 as long as none is kept.
    seen: u64,
    /// Its document and its time: a store that was put back to an earlier state gives the number to another.
    seen_as: Option<(String, Timestamp)>,
    /// By field what is to be held because the store says so.
    held: BTreeMap<String, held::Known>,
    /// What is held was looked at before.
    is_begun: bool,
    /// Which revision this process has told to have in force, and when.
    follows: Option<(u64, clock::Instant)>,
    /// The store cannot be asked, which was told.
    in_trouble: bool,
}

impl State {
    fn has_seen(&self, newest: &kept::Revision) -> bool {
        let seen_as = self.seen_as.as_ref();
        self.seen == newest.told.revision
            && seen_as.is_some_and(|(hash, at)| *hash == newest.told.hash && *at == newest.at)
    }
}

/// What was put in force.
pub(super) struct Applied {
    pub(super) revision: u64,
    pub(super) proposal: Proposal,
    /// Fields whose override has ended with it.
    pub(super) ended: Vec<String>,
}

/// A newer revision that is not in force here.
#[derive(Clone)]
pub(super) struct Behind {
    pub(super) tag: Tag,
    pub(super) hash: String,
    pub(super) author: String,
    pub(super) why: String,
}

impl Revisions {
    /// Takes up what is kept, and follows it for as long as the API lives.
    pub(super) async fn follow(
        guard: Guard,
        store: &Store,
        service: String,
        read_only: bool,
    ) -> Arc<Self> {
        let history = guard.live().history();
        let first = history.first().map(|first| first.document().clone());
        let first = first.unwrap_or_else(|| guard.in_force().revision().document().clone());
        let revisions = Arc::new(Self {
            kept: Kept {
                store: store.clone(),
                service,
                base: first.hash().to_string(),
                process: rng::bits().cast_signed(),
            },
            first,
            guard,
            state: tokio::sync::Mutex::default(),
            read_only,
            behind: Mutex::default(),
            not_held: Mutex::default(),
        });
        // Before anybody is served, where that can be.
        if revisions.is_protected() {
            revisions.look().await;
        }
        let weak = Arc::downgrade(&revisions);
        spawn("revisions of the policy", async move {
            let (begun, mut is_told) = (clock::now(), false);
            while let Some(revisions) = weak.upgrade() {
                let protected = revisions.guard.checked();
                if revisions.is_protected() {
                    // A panic is told, and the next look is another one.
                    let _ = recover_async(revisions.look()).await;
                    drop(revisions);
                    clock::sleep(LOOK_EVERY).await;
                    continue;
                }
                // One that was put around a service by hand waits for requests.
                let is_around = revisions.guard.armed().layered;
                drop(revisions);
                if !is_told && !is_around && clock::now() - begun >= PROTECTED_WITHIN {
                    is_told = true;
                    tracing::error!(
                        target: "steadfast::policy",
                        "the guard of the API is around no routes: it protects nothing, and no revision of the policy is followed; call `Guard::protect`"
                    );
                }
                let _ = clock::timeout(LOOK_EVERY, protected).await;
            }
        });
        revisions
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// What the process was started with.
    pub(super) fn first(&self) -> &PolicyDocument {
        &self.first
    }

    /// The newest revision, if it is not in force here.
    pub(super) fn behind(&self) -> Option<Behind> {
        self.told().clone()
    }

    /// What is kept to be held, and is not held here.
    pub(super) fn not_held(&self) -> Vec<types::NotHeld> {
        lock(&self.not_held).clone()
    }

    /// Lists revisions of the service, the latest first.
    pub(super) async fn list(
        &self,
        before: u64,
        count: usize,
    ) -> Result<Vec<types::Revision>, Error> {
        self.kept.list(before, count).await
    }

    /// Gives a revision and its document.
    pub(super) async fn find(&self, n: u64) -> Result<Option<types::RevisionDetail>, Error> {
        let found = self.kept.find(n).await?;
        Ok(found.map(|found| types::RevisionDetail {
            revision: found.told,
            document: found.document,
        }))
    }

    /// Counts the processes that follow the same revisions, and those that have this one in force.
    pub(super) async fn followers(&self, n: u64) -> Result<types::Followers, Error> {
        self.kept.followers(n).await
    }

    /// Puts a document in force in place of the revision that was seen, and keeps it.
    ///
    /// Dropped half-way, it is kept or not; what is kept comes in force with the next look.
    pub(super) async fn apply(
        &self,
        seen: Tag,
        document: PolicyDocument,
        by: Signed,
    ) -> Result<Applied, Problem> {
        let mut state = self.state.lock().await;
        for _ in 0..ASKED_MAX {
            self.begin(&mut state).await?;
            if state.seen == 0 {
                continue;
            }
            // Made before the look: then it is of what is looked at, or outdated.
            let proposal = self.guard.propose(document.clone(), by.clone());
            self.check_seen(&seen)?;
            let fits = self.guard.check_proposal(&proposal);
            fits.map_err(|error| match error.is_outdated() {
                true => self.outdated(),
                false => Problem::unfit(error.to_string()),
            })?;
            let put = self.kept.put(New {
                over: state.seen,
                document: &document,
                signed: &by,
                changes: Some(proposal.changes().len() as u64),
            });
            let put = match put.await {
                Err(error) if error.is_outcome_unknown() => {
                    // The store says whether it was kept.
                    self.catch_up(&mut state).await?;
                    let in_force = self.guard.in_force();
                    let revision = in_force.revision();
                    if revision.hash() != document.hash() || *revision.signed() != by {
                        return Err(error.into());
                    }
                    return Ok(Applied {
                        revision: revision.n(),
                        proposal,
                        ended: Vec::new(),
                    });
                }
                put => put?,
            };
            let Some((n, at)) = put else {
                continue;
            };
            (state.seen, state.seen_as) = (n, Some((document.hash().to_string(), at)));
            let before = self.guard.in_force();
            let namespace = before.revision().namespace();
            let next = Revision::new(namespace, n, document, by, at);
            if let Err(error) = self.guard.adopt(next) {
                // It was asked before, and somebody has changed what it can follow since.
                self.is_behind(n, proposal.document(), proposal.signed().author(), &error);
                return Err(Problem::unfit(error.to_string()));
            }
            *self.told() = None;
            let after = self.guard.in_force();
            let ended = before.overrides().iter();
            let ended = ended.filter(|one| !after.overrides().contains(one));
            let ended: Vec<String> = ended.map(|one| one.path().to_string()).collect();
            self.forget_held(&mut state, &ended).await;
            if let Err(error) = self.tell(&mut state).await {
                // The next look tells it.
                tracing::debug!(target: "steadfast::policy", %error, "it is not told that a revision is in force here");
            }
            return Ok(Applied {
                revision: n,
                proposal,
                ended,
            });
        }
        Err(Problem::conflict("others change the policy at the same moment").with_fix("try again"))
    }

    /// Looks for what others have done, and keeps what the process was started with where nobody has.
    async fn look(&self) {
        let mut state = self.state.lock().await;
        let mut looked = self.catch_up(&mut state).await;
        if looked.is_ok() && state.seen == 0 && !self.read_only {
            looked = match self.keep_the_first(&mut state).await {
                Ok(true) => Ok(()),
                Ok(false) => self.catch_up(&mut state).await,
                // That is told by whoever follows the store.
                Err(error) if is_about_writes(&error) => Ok(()),
                Err(error) => Err(error),
            };
        }
        if looked.is_ok() && !self.read_only {
            looked = match self.tell(&mut state).await {
                Err(error) if is_about_writes(&error) => Ok(()),
                told => told,
            };
        }
        match looked {
            Ok(()) if state.in_trouble => {
                state.in_trouble = false;
                tracing::info!(target: "steadfast::policy", "revisions of the policy are followed again");
            }
            Err(error) if !state.in_trouble => {
                state.in_trouble = true;
                tracing::warn!(
                    target: "steadfast::policy",
                    %error,
                    "revisions of the policy cannot be followed in the store; what is in force stays so"
                );
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Tells others which revision is in force here, if that is new to them or long ago.
    async fn tell(&self, state: &mut State) -> Result<(), Error> {
        let n = self.guard.in_force().revision().n();
        let is_told =
            |(told, at): (u64, clock::Instant)| told == n && clock::now() - at < SIGN_EVERY;
        if !state.follows.is_some_and(is_told) {
            self.kept.follows(n).await?;
            state.follows = Some((n, clock::now()));
        }
        Ok(())
    }

    /// Looks before something is changed.
    async fn begin(&self, state: &mut State) -> Result<(), Problem> {
        if !self.is_protected() {
            let title = "the guard is around no routes yet, and follows no revision before";
            return Err(Problem::conflict(title).with_fix("have the service call `Guard::protect`"));
        }
        self.catch_up(state).await?;
        if state.seen == 0 {
            self.keep_the_first(state).await?;
        }
        Ok(())
    }

    /// Follows what is kept; writes nothing.
    async fn catch_up(&self, state: &mut State) -> Result<(), Error> {
        match self.kept.newest(0, u64::MAX).await? {
            Some(newest) if state.has_seen(&newest) => {}
            Some(newest) => self.take_up(state, newest).await?,
            // Nothing is kept yet, or not any more.
            None => {
                (state.seen, state.seen_as) = (0, None);
                *self.told() = None;
            }
        }
        self.follow_held(state).await
    }

    /// Puts the newest revision in force, or the one before that can be.
    async fn take_up(&self, state: &mut State, newest: kept::Revision) -> Result<(), Error> {
        let n = newest.told.revision;
        let seen_as = (newest.told.hash.clone(), newest.at);
        // What a store that was put back has lost is followed no more.
        let after = if n > state.seen { state.seen } else { 0 };
        let (mut tried, mut behind) = (newest, None);
        for _ in 0..TRIED_MAX {
            let Err(why) = self.put_in_force(&tried) else {
                break;
            };
            let (revision, author) = (tried.told.revision, tried.told.author);
            let hash = tried.told.hash;
            tracing::error!(
                target: "steadfast::policy",
                revision,
                author,
                why,
                "a revision of the policy cannot be followed by this process; the newest one that can be is in force"
            );
            behind.get_or_insert(Behind {
                tag: Tag::of(revision, &hash),
                hash,
                author,
                why,
            });
            match self.kept.newest(after, revision).await? {
                Some(older) => tried = older,
                None => break,
            }
        }
        let is_start = state.seen == 0;
        (state.seen, state.seen_as) = (n, Some(seen_as));
        *self.told() = behind;
        let in_force = self.guard.in_force();
        let revision = in_force.revision();
        if is_start && revision.hash() != self.first.hash() {
            tracing::warn!(
                target: "steadfast::policy",
                revision = revision.n(),
                author = revision.signed().author(),
                reason = revision.signed().reason(),
                started_with = self.first.name(),
                "the policy in force is not the one that the process was started with: it was put over that, and is kept"
            );
        }
        Ok(())
    }

    fn put_in_force(&self, kept: &kept::Revision) -> Result<(), String> {
        let told = &kept.told;
        let in_force = self.guard.in_force();
        let current = in_force.revision();
        let is_current = current.n() == told.revision && current.hash().to_string() == told.hash;
        if is_current && current.signed().author() == told.author {
            // Another API of the process has it already.
            return Ok(());
        }
        let document = PolicyDocument::new(told.name.as_str(), &kept.document);
        let document = document.map_err(|problems| {
            format!("it has mistakes, or a newer version has written it: {problems}")
        })?;
        if document.hash().to_string() != told.hash {
            return Err("its document is not the one that was put in force".to_owned());
        }
        let signed = Signed::new(told.author.as_str(), told.reason.as_str());
        let signed = signed.map_err(|invalid| invalid.to_string())?;
        let namespace = current.namespace();
        let revision = Revision::new(namespace, told.revision, document, signed, kept.at);
        let adopted = self.guard.adopt(revision);
        adopted.map(drop).map_err(|error| error.to_string())
    }

    /// Keeps what the process was started with; says whether it did, and nobody else.
    async fn keep_the_first(&self, state: &mut State) -> Result<bool, Error> {
        let name: String = self.first.name().chars().take(100).collect();
        let reason = format!("a process was started with {name}");
        let signed = Signed::new(THE_FILE, reason.replace(char::is_control, " "));
        let signed = signed.expect("both are said, in one line each");
        let put = self.kept.put(New {
            over: 0,
            document: &self.first,
            signed: &signed,
            changes: None,
        });
        let Some((n, at)) = put.await? else {
            return Ok(false);
        };
        (state.seen, state.seen_as) = (n, Some((self.first.hash().to_string(), at)));
        let in_force = self.guard.in_force();
        let current = in_force.revision();
        // The service itself may have put another one in force since it was started, and that goes on.
        if current.hash() == self.first.hash() {
            let namespace = current.namespace();
            let first = Revision::new(namespace, n, self.first.clone(), signed, at);
            if let Err(error) = self.guard.adopt(first) {
                self.is_behind(n, &self.first, THE_FILE, &error);
            }
        }
        self.tell_what_was_left(n).await?;
        Ok(true)
    }

    /// Says that the policy which ruled before does not any more, where somebody had put it in force.
    async fn tell_what_was_left(&self, n: u64) -> Result<(), Error> {
        let before = self.kept.list(n, 1).await?;
        if let Some(before) = before.first().filter(|before| before.hash != before.base) {
            tracing::warn!(
                target: "steadfast::policy",
                revision = n,
                file = self.first.name(),
                before = before.revision,
                author = before.author,
                reason = before.reason,
                "the process was started with another policy than before, which rules now: what was put over the one before is not in force here"
            );
        }
        Ok(())
    }

    /// Refuses to go on from what is not what was seen, or not any more.
    pub(super) async fn check(&self, seen: &Tag) -> Result<(), Problem> {
        if self.is_protected() {
            self.catch_up(&mut *self.state.lock().await).await?;
        }
        self.check_seen(seen)
    }

    fn check_seen(&self, seen: &Tag) -> Result<(), Problem> {
        match self.behind() {
            Some(behind) if *seen == behind.tag => Ok(()),
            Some(Behind {
                tag, author, why, ..
            }) => {
                let revision = tag.revision;
                let title = format!(
                    "revision {revision} was put in force by {author}, and this process cannot follow it: {why}"
                );
                let fix = format!("put another one over it with --revision {revision}");
                Err(Problem::changed(title).with_fix(fix))
            }
            None if *seen == self.tag() => Ok(()),
            None if seen.revision == self.tag().revision => {
                let title = format!(
                    "revision {} is in force with another document than was seen: its number was given twice, by the \
                     service itself or elsewhere",
                    seen.revision
                );
                Err(Problem::changed(title).with_fix(DECIDE_ANEW))
            }
            None => Err(self.outdated()),
        }
    }

    /// By what it is known which policy is in force.
    fn tag(&self) -> Tag {
        let in_force = self.guard.in_force();
        let revision = in_force.revision();
        Tag::of(revision.n(), &revision.hash().to_string())
    }

    fn outdated(&self) -> Problem {
        let n = self.guard.in_force().revision().n();
        Problem::changed(format!("revision {n} is in force by now")).with_fix(DECIDE_ANEW)
    }

    fn is_behind(&self, n: u64, document: &PolicyDocument, author: &str, why: &ApplyError) {
        let hash = document.hash().to_string();
        *self.told() = Some(Behind {
            tag: Tag::of(n, &hash),
            hash,
            author: author.to_owned(),
            why: why.to_string(),
        });
    }

    /// Tells whether the guard is around its routes, or has none: before that it does not know which revision it could not
    /// follow, and [`Guard::protect`] would end a start for a route that is gone.
    fn is_protected(&self) -> bool {
        let armed = self.guard.armed();
        // One for calls alone has nothing to wait for, whatever is put in force later. One that is put around a service by hand is never asked; that it is there is seen by requests.
        self.first.policy().routes.is_empty() || armed.checked || armed.requests > 0
    }

    fn told(&self) -> MutexGuard<'_, Option<Behind>> {
        lock(&self.behind)
    }
}

fn lock<T>(known: &Mutex<T>) -> MutexGuard<'_, T> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
