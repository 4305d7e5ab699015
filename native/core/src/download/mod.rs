//! Downloads: which files a call is about, and how they get to their places on this machine.

mod admission;
mod bring;
mod described;
mod find;
mod http;
mod in_flight;
mod job;
mod journal;
mod ledger;
mod ledgers;
mod partial;
pub mod plan;
mod probe;
mod ranges;
mod received;
mod redescribe;
pub mod request;
mod resolve;
mod session;
mod snapshot;
mod still_right;
mod transfer;
mod xet;

pub(crate) use find::FoundFile;
pub(crate) use job::Job;
pub(crate) use ledgers::Ledgers;
pub(crate) use partial::{Partial, remove_remains};
pub(crate) use ranges::Ranges;
pub(crate) use session::Session;
pub(crate) use snapshot::{Download, may_be_misdescribed};
pub(crate) use still_right::still_right;
pub(crate) use xet::{Local, Proof, Sources, fetch, is_of_the_servers, terms};
