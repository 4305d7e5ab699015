//! The HTTP ground under the Hub API and the CAS: connections, redirects, retries, and errors that
//! say what to do.
//!
//! Nothing here knows what a request means. Redirects are followed by hand ([`redirect`]), because
//! what may be sent on depends on where they lead; every failure becomes an
//! [`Error`](crate::model::error::Error) here, free of tokens and signed URLs.

mod away;
pub mod body;
mod certificates;
mod connect;
pub mod encoding;
mod fault;
mod holds;
mod line;
pub mod link;
pub mod origin;
pub mod payload;
mod pem;
mod proxied;
pub(crate) mod range;
pub mod ratelimit;
pub mod redirect;
mod resume;
pub mod retry;
mod reused;
mod stillness;
mod throttle;
mod tls;
mod windows;
mod wire;

pub(crate) use connect::{ByWayOf, REQUEST_IDS};
pub use connect::{Http, Pool};
pub use encoding::Coding;
pub use holds::{CONTENT, Sort};
pub use payload::{Outgoing, Patience, Payload};
pub use redirect::{Answer, Follow, Request, Trail};
pub(crate) use resume::Retry;
pub use retry::RetryPolicy;
pub(crate) use stillness::Stillness;
