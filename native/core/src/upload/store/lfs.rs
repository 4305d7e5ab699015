//! Content to a Hub without Xet: each file as one LFS object, read from where it is while it is
//! sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use super::super::content::{BLOCK, Reader, UploadContent};
use super::super::item::Item;
use super::super::sending::counted;
use crate::call::Call;
use crate::call::scheduler::OffWorker;
use crate::http::{Outgoing, Patience};
use crate::hub::{Hub, LfsObject, LfsUpload};
use crate::model::error::{Error, Result};
use crate::model::repo::{Repo, Revision};

/// Files that are sent at a time.
const FILES: usize = 4;
/// Objects of one question.
const BATCH: usize = 100;

/// Makes sure that the Hub has the content of `items`, whose SHA-256 is known. Says of each whether
/// it had to be sent.
pub(super) async fn store(
    hub: &Hub,
    repo: &Repo,
    revision: Option<&Revision>,
    items: &[Item],
    call: &Call,
) -> Result<Vec<bool>> {
    let mut sent = Vec::with_capacity(items.len());
    for items in items.chunks(BATCH) {
        let objects = items.iter().map(object).collect::<Result<Vec<_>>>()?;
        // Two files with the same content are one object.
        let mut distinct = objects.clone();
        distinct.sort_by(|a, b| a.oid.cmp(&b.oid));
        distinct.dedup();
        let uploads = hub.lfs_batch(repo, revision, &distinct, &call.counters).await?;
        let mut uploads: HashMap<String, Option<LfsUpload>> =
            distinct.into_iter().map(|object| object.oid).zip(uploads).collect();
        let tasks = items.iter().cloned().zip(objects).map(|(item, object)| {
            // Of several files with the same content, the first takes it along.
            let upload = uploads.remove(&object.oid).flatten();
            send(hub, repo, item, object, upload, call)
        });
        let done: Vec<bool> = stream::iter(tasks).buffered(FILES).try_collect().await?;
        sent.extend(done);
    }
    Ok(sent)
}

fn object(item: &Item) -> Result<LfsObject> {
    let oid = item.sha256.clone().ok_or_else(|| Error::internal("an LFS object without a hash"))?;
    Ok(LfsObject { oid, size: item.content.size() })
}

async fn send(
    hub: &Hub,
    repo: &Repo,
    item: Item,
    object: LfsObject,
    upload: Option<LfsUpload>,
    call: &Call,
) -> Result<bool> {
    let Some(upload) = upload else {
        item.progress.skip();
        return Ok(false);
    };
    let limit = super::super::storage_patience(hub.deadlines());
    let patience = Patience { sending: limit, answer: limit };
    let body = |offset, length| {
        let (content, call) = (item.content.clone(), call.clone());
        let open = move || pieces(content.clone(), offset, length, call.clone());
        Outgoing::new(Some(length), patience, open)
    };
    let what = format!("LFS storage to take {}", item.path);
    let _waiting = call.counters.waits.begin(what, Duration::ZERO);
    hub.lfs_upload(repo, &object, &upload, body, &call.counters).await?;
    item.progress.finish();
    Ok(true)
}

/// `length` bytes at `offset`.
fn pieces(
    content: UploadContent,
    offset: u64,
    length: u64,
    call: Call,
) -> BoxStream<'static, Result<bytes::Bytes>> {
    let counters = Arc::clone(&call.counters);
    let next = move |reader: Option<OffWorker<Reader>>| {
        let (content, call) = (content.clone(), call.clone());
        async move {
            let opener = call.clone();
            let read = call.blocking("the disk to read content", move || {
                let mut reader = match reader {
                    Some(reader) => reader,
                    None => opener.off_worker(content.read_from(offset, length)?),
                };
                Ok(reader.next(BLOCK)?.map(|block| (block, Some(reader))))
            });
            read.await
        }
    };
    counted(stream::try_unfold(None, next), counters)
}
