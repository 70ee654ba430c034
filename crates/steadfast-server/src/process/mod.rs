//! Processes of others: how they are started, and how they ended.

pub(crate) mod launch;
pub(crate) mod status;
