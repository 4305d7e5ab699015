//! The Hub client against servers that stall, lie, break off, or send it elsewhere.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod connections;
mod listings;
mod ranges;
mod secrets;
mod tokens;

#[path = "../support/mod.rs"]
mod support;

use futures_util::TryStreamExt;
use serde_json::json;
use support::script::{Reply, Script};
use support::{COMMIT, commit, entry, hub, model, path, revision};
use xet_ffi_core::call::progress::Counters;
use xet_ffi_core::hub::{Access, Content, Names};
use xet_ffi_core::model::error::Error;

fn sha() -> Reply {
    Reply::json(&json!({"id": "org/name", "sha": COMMIT}))
}

/// Resolves `main` of `org/name`.
async fn resolve(server: &Script) -> Result<String, Error> {
    let counters = Counters::default();
    let commit =
        hub(&server.url("")).commit_of(&model("org/name"), &revision("main"), &counters).await;
    commit.map(|commit| commit.as_str().to_owned())
}

/// Opens `f` of `org/name` at `from`.
async fn open(server: &Script, from: u64) -> Result<Content, Error> {
    let counters = Counters::default();
    hub(&server.url(""))
        .open_file(&model("org/name"), &commit(), &entry("f", 7), from, None, &counters)
        .await
}

async fn bytes(content: Content) -> Result<Vec<u8>, Error> {
    content
        .stream
        .try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await
}

/// Calls can be moved between threads, as the transfer engine does.
#[test]
fn calls_are_send() {
    fn assert_send<T: Send>(_: T) {}
    let hub = hub("http://127.0.0.1:1");
    let (repo, main, file, commit) = (model("a"), revision("main"), path("f"), commit());
    let counters = Counters::default();
    assert_send(hub.commit_of(&repo, &main, &counters));
    assert_send(hub.list(&repo, &commit, Names::Unasked, |_| true, &counters));
    assert_send(hub.file_entry(&repo, &main, &file, &counters));
    assert_send(hub.open_file(&repo, &commit, &entry("f", 7), 0, None, &counters));
    assert_send(hub.xet_token(&repo, &Access::Read(commit.clone()), &counters));
}
