//! Who fetches what all want: one of those who come at the same time, as long as he gets on.
//!
//! A lease is never needed for what is right, only for what is fetched once: whoever gets no answer, or has waited for
//! long enough, fetches without one. It's renewed while its owner lives, and ends by itself soon after.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::keys::Name;
use super::{BEHIND, Room, Tier};

/// How long one lasts that nobody renews: after that others go on.
pub(super) const LASTS: Duration = Duration::from_millis(1500);

/// How often it's renewed.
const RENEWED: Duration = Duration::from_millis(300);

/// What became of an attempt to be the one who fetches.
pub(crate) enum Claim {
    /// It's this node's to fetch.
    Mine(Lease),
    /// Another one does it.
    Others,
    /// Nobody knows.
    Unknown,
}

/// The lease of this node. It's given back when this is dropped, on whatever thread.
pub(crate) struct Lease {
    /// Closed with this.
    _alive: oneshot::Sender<()>,
}

impl Lease {
    /// Keeps one that was got by the name of `token`. To be called on the runtime.
    pub(super) fn keep(tier: Arc<Tier>, name: Name, token: String, room: Option<Room>) -> Self {
        let (alive, mut ended) = oneshot::channel();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = &mut ended => break,
                    () = tokio::time::sleep(RENEWED) => {}
                }
                let renewed = tier.store.renew(&name, &token, LASTS);
                // Where it was lost, two fetch the same.
                let _ = tier.ask(&tier.writes, BEHIND, renewed, None).await;
            }
            let released = tier.store.release(&name, &token);
            let _ = tier.ask(&tier.writes, BEHIND, released, None).await;
            drop(room);
        });
        Self { _alive: alive }
    }

    /// What tells its owner from others.
    pub(super) fn token() -> String {
        Uuid::new_v4().to_string()
    }
}
