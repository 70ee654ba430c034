//! Processes of others: how they are started, how they end with us, and how they ended.

pub(crate) mod launch;
pub(crate) mod memory;
pub(crate) mod status;
pub(crate) mod warden;
