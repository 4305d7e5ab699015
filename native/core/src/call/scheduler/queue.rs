//! Who is next, and who has how much. Calls take turns, and within one call what came first goes first.

use std::collections::{BTreeMap, VecDeque};

/// What waits, by the call that it belongs to.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    /// The calls that wait, the next one first. None of their queues is empty.
    turns: VecDeque<(u64, VecDeque<T>)>,
    len: usize,
}

impl<T> FairQueue<T> {
    /// Puts `item` behind what its call has waiting. A call that had nothing is the last to come.
    pub(super) fn push(&mut self, call: u64, item: T) {
        self.len += 1;
        match self.turns.iter_mut().find(|(waiting, _)| *waiting == call) {
            Some((_, items)) => items.push_back(item),
            None => self.turns.push_back((call, VecDeque::from([item]))),
        }
    }

    /// Takes out what is next.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.pop_first(|_| true)
    }

    /// Takes out what is next of the first call for which that `counts`. The others keep their places.
    pub(super) fn pop_first(&mut self, counts: impl Fn(&T) -> bool) -> Option<T> {
        let is_next = |(_, items): &(u64, VecDeque<T>)| items.front().is_some_and(&counts);
        let (call, mut items) = self.turns.remove(self.turns.iter().position(is_next)?)?;
        let item = items.pop_front();
        self.len -= usize::from(item.is_some());
        if !items.is_empty() {
            self.turns.push_back((call, items));
        }
        item
    }

    /// What [`pop_first`](Self::pop_first) would take out.
    pub(super) fn peek_first(&self, counts: impl Fn(&T) -> bool) -> Option<&T> {
        self.turns.iter().filter_map(|(_, items)| items.front()).find(|item| counts(item))
    }

    /// Whether something of `call`'s waits.
    pub(super) fn has(&self, call: u64) -> bool {
        self.turns.iter().any(|(waiting, _)| *waiting == call)
    }

    /// Whether something of another call's waits.
    pub(super) fn has_others(&self, call: u64) -> bool {
        self.turns.iter().any(|(waiting, _)| *waiting != call)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { turns: VecDeque::new(), len: 0 }
    }
}

/// How much of something that is shared out each call has.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// Only calls that have some of it.
    by_call: BTreeMap<u64, usize>,
    total: usize,
}

impl Holdings {
    pub(super) fn add(&mut self, call: u64, amount: usize) {
        *self.by_call.entry(call).or_default() += amount;
        self.total += amount;
    }

    /// Takes back what was added.
    pub(super) fn remove(&mut self, call: u64, amount: usize) {
        if let Some(held) = self.by_call.get_mut(&call) {
            *held -= amount;
            if *held == 0 {
                self.by_call.remove(&call);
            }
            self.total -= amount;
        }
    }

    /// What `call` has.
    pub(super) fn of(&self, call: u64) -> usize {
        self.by_call.get(&call).copied().unwrap_or(0)
    }

    pub(super) fn total(&self) -> usize {
        self.total
    }

    pub(super) fn calls(&self) -> Vec<u64> {
        self.by_call.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call with much to do doesn't keep the others waiting, and its own order is kept.
    #[test]
    fn calls_take_turns() {
        let mut queue = FairQueue::default();
        for item in ["a1", "a2", "a3"] {
            queue.push(1, item);
        }
        queue.push(2, "b1");
        queue.push(3, "c1");
        queue.push(2, "b2");
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert_eq!(queue.len(), 0);
    }

    /// Who comes again after having had all of its turns is the last.
    #[test]
    fn who_comes_again_stands_behind() {
        let mut queue = FairQueue::default();
        queue.push(1, "a1");
        queue.push(2, "b1");
        assert_eq!(queue.pop(), Some("a1"));
        queue.push(1, "a2");
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some("b1"), Some("a2"), None));
    }
}
