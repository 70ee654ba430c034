//! Every statement of the package, one intent each, and the tables they work on.

use steadfast_store::{Package, migrations, statements};

statements! {
    /// Tells which file the ids were made from.
    pub(crate) FILE_LOOK = "file_look";
    /// Says that this file is the one.
    pub(crate) FILE_ADOPT = "file_adopt";
    /// Makes a group and its worker ids.
    pub(crate) GROUP_JOIN = "group_join";
    /// Locks a group.
    pub(crate) GROUP_LOCK = "group_lock";
    /// Tells how many worker ids of a group are leased, and before which time its ids are.
    pub(crate) GROUP_STATE = "group_state";
    /// Gives a group another layout.
    pub(crate) GROUP_CHANGE = "group_change";
    /// Takes a worker id.
    pub(crate) WORKER_TAKE = "worker_take";
    /// Renews the lease of a worker id.
    pub(crate) WORKER_RENEW = "worker_renew";
    /// Gives a worker id back.
    pub(crate) WORKER_RELEASE = "worker_release";
    /// Tells why no worker id could be had.
    pub(crate) WORKER_LOOK = "worker_look";
    /// Lists worker ids that somebody has had.
    pub(crate) WORKER_LIST = "worker_list";
    /// Lists tags.
    pub(crate) SEGMENT_LIST = "segment_list";
    /// Takes numbers in a row from a tag.
    pub(crate) SEGMENT_TAKE = "segment_take";
    /// Tells what a sequence is like.
    pub(crate) SEQUENCE_LOOK = "sequence_look";
    /// Takes the next value of a sequence.
    pub(crate) SEQUENCE_TAKE = "sequence_take";
}

/// The tables and statements of ids, for [`Store::migrate`](steadfast_store::Store::migrate).
pub static PACKAGE: Package = Package {
    name: "ids",
    migrations: migrations!["0001_ids"],
    statements: STATEMENTS,
};
