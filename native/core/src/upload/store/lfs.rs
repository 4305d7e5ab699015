//! Content to a Hub without Xet: each file as one LFS object, read from where it is while it is
//! sent.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use super::super::change::Change;
use super::super::content::{BLOCK, Reader, UploadContent};
use super::super::item::Item;
use super::super::request::CommitOptions;
use super::super::run::Upload;
use super::super::sending::counted;
use super::tally::{Running, Tally};
use crate::call::Call;
use crate::call::scheduler::OffWorker;
use crate::http::{Outgoing, Patience};
use crate::hub::{Hub, LfsObject, LfsUpload};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{Repo, RepoPath, Revision};

/// Files that are sent at a time.
const FILES: usize = 4;
/// Objects of one question.
const BATCH: usize = 100;
/// Times that an object is sent which storage says to have taken, and the Hub doesn't find.
const TIMES: u32 = 2;
/// Times that storage may refuse to take an object before the Hub is asked no more where else to send it: its URLs
/// are good for a while, and others come first.
const REFUSALS: u32 = 2;

/// LFS storage, for the files of one call.
pub(in super::super) struct LfsStore<'a> {
    hub: &'a Hub,
    repo: &'a Repo,
    revision: Option<&'a Revision>,
    call: &'a Call,
}

/// What has become of an object that was sent.
struct Sent {
    /// The number of the item that it is the content of.
    number: usize,
    object: LfsObject,
    /// The server that says to have taken it.
    host: String,
    /// The Hub has seen it there.
    is_there: bool,
}

impl<'a> LfsStore<'a> {
    /// For what is to be committed by `upload`.
    pub(in super::super) fn of(upload: &'a Upload) -> Self {
        let CommitOptions { repo, revision, create_pr, .. } = &upload.options;
        let revision = (!create_pr).then_some(revision);
        Self { hub: &upload.hub, repo, revision, call: &upload.call }
    }

    /// Makes sure that the Hub has the content of `items`, whose SHA-256 is known. Says of each how many times
    /// it was sent.
    pub(super) async fn store(&self, items: &[Item]) -> Result<Vec<u32>> {
        let mut times = Vec::with_capacity(items.len());
        for items in items.chunks(BATCH) {
            times.extend(self.store_batch(items).await?);
        }
        Ok(times)
    }

    async fn store_batch(&self, items: &[Item]) -> Result<Vec<u32>> {
        let mut times = vec![0; items.len()];
        // Two files with the same content are one object, which the first takes along.
        let mut wanted: Vec<(usize, LfsObject)> = Vec::with_capacity(items.len());
        for (number, item) in items.iter().enumerate() {
            let object = object(item)?;
            if wanted.iter().any(|(_, other)| other.oid == object.oid) {
                item.progress.skip();
            } else {
                wanted.push((number, object));
            }
        }
        let mut hosts: HashMap<usize, String> = HashMap::new();
        while !wanted.is_empty() {
            let objects: Vec<LfsObject> = wanted.iter().map(|(_, object)| object.clone()).collect();
            let counters = &self.call.counters;
            // That it is to be sent no more says that it's there.
            let uploads = self.hub.lfs_batch(self.repo, self.revision, &objects, counters).await?;
            let mut missing = Vec::with_capacity(uploads.len());
            for ((number, object), upload) in wanted.into_iter().zip(uploads) {
                match upload {
                    None => done(&items[number], times[number]),
                    Some(_) if times[number] == TIMES => {
                        return Err(self.lost(&items[number].path, hosts.get(&number)));
                    }
                    Some(upload) => missing.push((number, object, upload)),
                }
            }
            let sending = missing.into_iter().map(|(number, object, upload)| {
                self.send(number, items[number].clone(), object, upload)
            });
            let sent: Vec<Sent> = stream::iter(sending).buffered(FILES).try_collect().await?;
            wanted = Vec::new();
            for Sent { number, object, host, is_there } in sent {
                times[number] += 1;
                if is_there {
                    done(&items[number], times[number]);
                } else {
                    tracing::debug!(host, oid = object.oid, "asking whether an object is there");
                    hosts.insert(number, host);
                    wanted.push((number, object));
                }
            }
        }
        Ok(times)
    }

    async fn send(
        &self,
        number: usize,
        item: Item,
        object: LfsObject,
        mut upload: LfsUpload,
    ) -> Result<Sent> {
        let limit = super::super::storage_patience(self.hub.deadlines());
        let patience = Patience { sending: limit, answer: limit };
        let body = |tally: &Arc<Tally>, offset, length| {
            let (content, call) = (item.content.clone(), self.call.clone());
            let tally = Arc::clone(tally);
            let open =
                move || pieces(content.clone(), offset, length, Arc::clone(&tally), call.clone());
            Outgoing::new(Some(length), patience, open)
        };
        let counters = &self.call.counters;
        let what = format!("LFS storage to take {}", item.path);
        let _waiting = counters.waits.begin(what, Duration::ZERO);
        let mut refusals = 0;
        let is_there = loop {
            let tally = Arc::new(Tally::new(&object.oid));
            let content = |offset, length| body(&tally, offset, length);
            let (hub, path) = (self.hub, &item.path);
            let sent = hub.lfs_upload(self.repo, path, &object, &upload, content, counters).await;
            match sent {
                Err(error) if refusals < REFUSALS && error.is_refused_url() => {
                    refusals += 1;
                    let (oid, host) = (&object.oid, upload.host());
                    tracing::debug!(oid, host, %error, "asking anew where to send an object");
                }
                sent => break sent?,
            }
            let asked = std::slice::from_ref(&object);
            let mut uploads = self.hub.lfs_batch(self.repo, self.revision, asked, counters).await?;
            // Somebody else has sent it meanwhile.
            let Some(other) = uploads.pop().flatten() else { break true };
            upload = other;
        };
        Ok(Sent { number, object, host: upload.host(), is_there })
    }

    /// Why a commit of `changes` was refused: what it names may be there no more.
    pub(in super::super) async fn explain(&self, refusal: Error, changes: &[Change]) -> Error {
        let is_of_content = matches!(refusal.context().http_status, Some(400 | 404 | 422))
            && refusal.message().to_ascii_lowercase().contains("lfs");
        if !is_of_content {
            return refusal;
        }
        match self.missing_of(changes).await {
            Ok(Some(path)) => {
                let (hub, refused) = (self.hub.host(), refusal.message());
                let message = format!(
                    "{hub} finds nothing of the content of {path}, which its storage has taken, and so refuses the \
                     commit; the same call, made again, sends it again: {refused}"
                );
                let file = Some(path.to_string());
                Error::new(Kind::InvalidResponse, message).with(|c| {
                    *c = refusal.context().clone();
                    c.file = file;
                })
            }
            Ok(None) => refusal,
            Err(error) => {
                tracing::debug!("can't ask what a commit lacks: {error}");
                refusal
            }
        }
    }

    /// The first of the files whose content the Hub hasn't got.
    async fn missing_of<'b>(&self, changes: &'b [Change]) -> Result<Option<&'b RepoPath>> {
        let mut seen = HashSet::new();
        let stored: Vec<(&RepoPath, LfsObject)> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Stored { path, sha256, size: Some(size) } if seen.insert(sha256) => {
                    Some((path, LfsObject { oid: sha256.clone(), size: *size }))
                }
                _ => None,
            })
            .collect();
        for stored in stored.chunks(BATCH) {
            let objects: Vec<LfsObject> = stored.iter().map(|(_, object)| object.clone()).collect();
            let counters = &self.call.counters;
            let uploads = self.hub.lfs_batch(self.repo, self.revision, &objects, counters).await?;
            let missing = uploads.iter().position(Option::is_some);
            if let Some(missing) = missing {
                return Ok(Some(stored[missing].0));
            }
        }
        Ok(None)
    }

    /// The error for content that storage at `host` takes, again and again, and that isn't there afterwards.
    fn lost(&self, path: &RepoPath, host: Option<&String>) -> Error {
        let (hub, host) = (self.hub.host(), host.map_or("somewhere", String::as_str));
        let message = format!(
            "LFS storage at {host} says that it has taken {path}, {TIMES} times, and {hub} finds nothing of it there; \
             nothing was committed. Something on the way may answer in its place, or it has lost what it was sent"
        );
        Error::new(Kind::InvalidResponse, message).with(|c| {
            c.repo = Some(self.repo.id().to_owned());
            c.file = Some(path.to_string());
            // An answer that is no failure by itself.
            c.http_status = Some(200);
        })
    }
}

/// The content of an item is there.
fn done(item: &Item, times: u32) {
    if times > 0 { item.progress.finish() } else { item.progress.skip() }
}

fn object(item: &Item) -> Result<LfsObject> {
    let oid = item.sha256.clone().ok_or_else(|| Error::internal("an LFS object without a hash"))?;
    Ok(LfsObject { oid, size: item.content.size() })
}

/// `length` bytes at `offset`, of which all before were sent. Fails before the last of the content if that isn't
/// what has its hash.
fn pieces(
    content: UploadContent,
    offset: u64,
    length: u64,
    tally: Arc<Tally>,
    call: Call,
) -> BoxStream<'static, Result<bytes::Bytes>> {
    let counters = Arc::clone(&call.counters);
    let next = move |reading: Option<(OffWorker<Reader>, Running)>| {
        let (content, tally, call) = (content.clone(), Arc::clone(&tally), call.clone());
        async move {
            let opener = call.clone();
            let read = call.blocking("the disk to read content", move || {
                let (mut reader, mut running) = if let Some(reading) = reading {
                    reading
                } else {
                    let reader = opener.off_worker(content.read_from(offset, length)?);
                    (reader, tally.at(offset)?)
                };
                let Some(block) = reader.next(BLOCK)? else { return Ok(None) };
                running.add(&block);
                if running.position() == offset + length {
                    tally.keep(&running);
                }
                if running.position() == content.size() && !tally.agrees(&running) {
                    return Err(content.changed());
                }
                Ok(Some((block, Some((reader, running)))))
            });
            read.await
        }
    };
    counted(stream::try_unfold(None, next), counters)
}
