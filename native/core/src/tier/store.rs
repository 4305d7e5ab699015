//! What a shared cache is kept in.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::keys::Name;

/// Keeps values by their names, until it needs the room for others, or their time has passed. It needn't be trusted:
/// what it gives is opened, and hashed.
///
/// None of its methods has a deadline of its own; each may be dropped at any time.
#[async_trait]
pub(super) trait Store: Send + Sync {
    /// Which of these there are.
    async fn present(&self, names: &[Name]) -> Result<Vec<bool>, Failure>;

    /// The value of this name, if there is one.
    async fn get(&self, name: &Name) -> Result<Option<Vec<u8>>, Failure>;

    /// Keeps a value. Whoever asks for it sees all of it or nothing.
    async fn put(&self, name: &Name, value: Vec<u8>) -> Result<(), Failure>;

    /// Forgets the value of this name, if there is one.
    async fn remove(&self, name: &Name) -> Result<(), Failure>;

    /// Takes the lease of this name for `token`, unless somebody has it: for so long, if nobody renews it.
    async fn claim(&self, name: &Name, token: &str, lasts: Duration) -> Result<bool, Failure>;

    /// Has the lease that `token` has last for as long again; it may have been lost.
    async fn renew(&self, name: &Name, token: &str, lasts: Duration) -> Result<(), Failure>;

    /// Gives the lease back that `token` has, if it still has it.
    async fn release(&self, name: &Name, token: &str) -> Result<(), Failure>;
}

/// Why a store hasn't done what it was asked for.
#[derive(Debug)]
pub(super) struct Failure {
    /// It takes nothing, but may give what it has: it's full, or read-only.
    pub(super) is_of_writes: bool,
    /// It didn't answer in time, as one that is merely busy doesn't, either.
    pub(super) is_silence: bool,
    /// For people; no secret is in it.
    pub(super) why: String,
}

impl Failure {
    /// One that is of no use now.
    pub(super) fn new(why: impl fmt::Display) -> Self {
        Self { is_of_writes: false, is_silence: false, why: why.to_string() }
    }

    /// One that takes nothing.
    pub(super) fn of_writes(why: impl fmt::Display) -> Self {
        Self { is_of_writes: true, ..Self::new(why) }
    }

    /// One that hasn't answered.
    pub(super) fn silence(why: impl fmt::Display) -> Self {
        Self { is_silence: true, ..Self::new(why) }
    }
}
