//! Content on its way into a storage, without a commit: what is added begins at once, and all of it can be had once
//! the upload has ended.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::HeaderMap;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio_util::sync::CancellationToken;
use xet_data::deduplication::DeduplicationMetrics;

use crate::call::Call;
use crate::cas::{Credentials, ExtraHeaders, LocalFolder, Subject};
use crate::download::Session;
use crate::model::error::{Error, Kind, Result};
use crate::reuse::Index;
use crate::upload::{
    ContentSha256, Input, InputSource, Servers, StoredFile, Supply, Told, XetStore,
};

/// Adds contents to an [`Upload`] while it runs. Cheap to clone, for any thread.
#[derive(Clone)]
pub(crate) struct Adder(Arc<Mutex<Option<UnboundedSender<Input>>>>);

/// An upload that takes what is added until the [`Adder`] is closed.
pub(crate) struct Upload {
    store: XetStore,
    supply: Supply,
    call: Call,
    /// What learns of the files that were uploaded.
    reuse: Option<Arc<Index>>,
}

/// Content that is to be uploaded.
pub(crate) struct NewContent {
    /// What it is called, for people.
    pub(crate) name: Arc<str>,
    pub(crate) source: InputSource,
    /// A given one is 64 lower-case hex digits.
    pub(crate) sha256: ContentSha256,
    /// Who is told what becomes of it.
    pub(crate) told: Arc<dyn Told>,
    /// Gives it up, until it has been [cut](Told::cut).
    pub(crate) cancel: CancellationToken,
}

/// What a whole upload came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Uploaded {
    /// Contents that are there now.
    pub(crate) contents: usize,
    /// Of all of them; and what was sent, as it was.
    pub(crate) metrics: DeduplicationMetrics,
}

impl Upload {
    /// An upload by the right of `credentials`, for the work of `call`. `headers` go along to the CAS alone.
    pub(crate) fn new(
        session: &Session,
        credentials: Credentials,
        headers: HeaderMap,
        call: Call,
    ) -> (Adder, Self) {
        let store = store(session, credentials, ExtraHeaders::new(headers), &call);
        Self::into(store, session, call)
    }

    /// The same into the folder at `root`, an absolute path.
    pub(crate) fn in_folder(session: &Session, root: &Path, call: Call) -> (Adder, Self) {
        let nobody = Credentials::of_nobody();
        let store = store(session, nobody, ExtraHeaders::default(), &call);
        let folder = LocalFolder::new(root, call.clone());
        Self::into(store.in_folder(folder), session, call)
    }

    fn into(store: XetStore, session: &Session, call: Call) -> (Adder, Self) {
        let (adding, coming) = mpsc::unbounded_channel();
        let adder = Adder(Arc::new(Mutex::new(Some(adding))));
        let (supply, reuse) = (Supply::coming(coming), session.reuse.clone());
        (adder, Self { store, supply, call, reuse })
    }

    /// Uploads what is added, and ends when nothing more will be, and all of it is there. A content that fails by
    /// itself is told of, and no reason for this to fail.
    pub(crate) async fn run(self) -> Result<Uploaded> {
        // Where nothing is to be stored, nobody needs a storage.
        if !self.supply.has_any().await {
            return Ok(Uploaded::default());
        }
        let stored = self.store.store_all(&self.supply).await?;
        let uploaded = Uploaded { contents: stored.files.len(), metrics: stored.metrics };
        let mut learnt = Vec::new();
        for (number, file) in stored.files {
            let Some(input) = self.supply.get(number).await else { continue };
            input.finish();
            let Some((path, identity, size)) = input.file() else { continue };
            let (hash, terms, chunks) = (file.hash, file.terms, file.chunks);
            learnt.push(StoredFile { path, identity, size, hash, terms, chunks });
        }
        self.learn(learnt).await?;
        Ok(uploaded)
    }

    /// Has later downloads know where this machine has what was uploaded.
    async fn learn(&self, files: Vec<StoredFile>) -> Result<()> {
        let Some(index) = self.reuse.clone().filter(|_| !files.is_empty()) else { return Ok(()) };
        let call = self.call.clone();
        let remember = move || {
            for file in files {
                call.beat();
                file.remember(&index);
            }
            Ok(())
        };
        self.call.blocking("the disk to remember what was uploaded", remember).await
    }
}

fn store(
    session: &Session,
    credentials: Credentials,
    extra: ExtraHeaders,
    call: &Call,
) -> XetStore {
    let servers = Servers {
        cas: Arc::clone(&session.outages),
        places: Arc::clone(&session.sending_outages),
        newer: Arc::clone(&session.newer_routes),
    };
    let (config, http) = (Arc::clone(&session.config), Arc::clone(&session.http));
    let (subject, shards) = (Subject::Content, Arc::clone(&session.shards));
    XetStore::new(config, http, servers, subject, credentials, extra, call.clone(), shards)
}

impl Adder {
    /// Adds a content. It begins as soon as there is room for it. Fails after the [end](Self::close).
    pub(crate) fn add(&self, content: NewContent) -> Result<()> {
        let NewContent { name, source, sha256, told, cancel } = content;
        let input = Input::new(name, source, sha256, told, cancel);
        let adding = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let adding = adding.as_ref().ok_or_else(ended)?;
        adding.send(input).map_err(|_| ended())
    }

    /// Nothing more will be added.
    pub(crate) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The error for what is added too late.
fn ended() -> Error {
    Error::new(Kind::InvalidArgument, "the upload has ended: nothing can be added to it any more")
}

/// A file on this machine as a source.
impl From<PathBuf> for InputSource {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

#[cfg(test)]
mod tests;
