//! Tasks side by side for one end: the first failure is everybody's.

use std::future::Future;
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use super::Call;
use super::scheduler::{Gate, Permit};
use crate::model::error::{Error, Result};

/// Tasks that have been begun. Dropping them ends those that still run.
#[derive(Default)]
pub(crate) struct Tasks(JoinSet<Result<()>>);

impl Tasks {
    /// Begins one more.
    pub(crate) fn spawn(&mut self, task: impl Future<Output = Result<()>> + Send + 'static) {
        self.0.spawn(task);
    }

    /// Waits for `call`'s turn at `gate` to begin the next one, but no longer than until one that has
    /// begun fails, which is the error: a failure doesn't stand in line behind others' files.
    pub(crate) async fn turn(
        &mut self,
        call: &Call,
        gate: &Arc<Gate>,
        what: impl Into<Arc<str>>,
    ) -> Result<Permit> {
        self.unless_failed(call.turn(gate, what)).await
    }

    /// What `work` gives, if none of the tasks fails before.
    pub(crate) async fn unless_failed<T>(
        &mut self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                Some(ended) = self.0.join_next() => flatten(ended)?,
                done = &mut work => return done,
            }
        }
    }

    /// Waits until the next one has ended. `None`: none is left.
    pub(crate) async fn next(&mut self) -> Option<Result<()>> {
        self.0.join_next().await.map(flatten)
    }

    /// Waits until all of them have ended, or one fails.
    pub(crate) async fn all(&mut self) -> Result<()> {
        while let Some(ended) = self.next().await {
            ended?;
        }
        Ok(())
    }

    /// Ends those that still run, and waits for that.
    pub(crate) async fn end(&mut self) {
        self.0.shutdown().await;
    }
}

fn flatten(ended: std::result::Result<Result<()>, JoinError>) -> Result<()> {
    ended.unwrap_or_else(|error| Err(Error::internal(error)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::error::Kind;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Whoever waits for a turn that doesn't come hears of a failure at once, and of no success.
    #[tokio::test]
    async fn a_failure_does_not_wait_for_a_turn() {
        let (call, other) = (Call::default(), Call::default());
        let gate = Gate::new(1);
        let _held = other.turn(&gate, "the only one").await.unwrap();
        let mut tasks = Tasks::default();
        tasks.spawn(async { Ok(()) });
        let (fail, failed) = tokio::sync::oneshot::channel();
        tasks.spawn(async { failed.await.map_err(Error::internal)? });
        {
            let mut turn = std::pin::pin!(tasks.turn(&call, &gate, "its turn"));
            assert!(futures_util::poll!(turn.as_mut()).is_pending());
            assert_eq!(call.counters.waits.describe(), "its turn (0 s)");
            fail.send(Err(Error::cancelled())).unwrap();
            let heard = tokio::time::timeout(LIMIT, turn).await;
            assert_eq!(
                heard.expect("the failure is heard of").unwrap_err().kind(),
                Kind::Cancelled
            );
        }
        assert!(tasks.next().await.is_none());
    }

    /// A task that panics is a failure like another.
    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let mut tasks = Tasks::default();
        tasks.spawn(async { panic!("x") });
        assert_eq!(tasks.all().await.unwrap_err().kind(), Kind::Internal);
    }
}
