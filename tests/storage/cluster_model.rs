//! Random batches on two nodes with everything that happens to their log and to them: in the end both have the same, every
//! batch that was acknowledged counts exactly once, and none that was refused.

use std::{collections::BTreeMap, future::Future, pin::Pin};

use hobnob::storage::{Batch, CommitError, Committed, Versioned, replicated::ReplicaState};
use proptest::{collection::vec, prelude::*};

use crate::{
    cluster::{LOG, Node, ROWS},
    support::{Message, message},
};

/// Keys below are put and deleted, keys from here on are sent once.
const SENT: u64 = 100;

#[derive(Clone, Debug)]
enum Op {
    /// A new row and an entry, as a message: may wait.
    Send(u64),
    Put(u64),
    Delete(u64),
    /// A change of what is there when it is made.
    Change(u64),
}

#[derive(Clone, Debug)]
enum Step {
    /// Batches that are submitted together, and whether their answers are waited for.
    Commit(usize, Vec<Op>, bool),
    Cut(usize),
    Mend(usize),
    LoseAnswers(usize, usize),
    LoseAppends(usize, usize),
    DelayAppends(usize, usize),
    Release(usize),
    Restart(usize),
    Crash(usize),
    /// The log loses its end, or everything, when both nodes have all of it.
    LoseEnd(Option<usize>),
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (SENT..SENT + 40).prop_map(Op::Send),
        2 => (0..4_u64).prop_map(Op::Put),
        1 => (0..4_u64).prop_map(Op::Delete),
        2 => (0..4_u64).prop_map(Op::Change),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let node = || 0..2_usize;
    prop_oneof![
        16 => (node(), vec(ops(), 1..6), any::<bool>()).prop_map(|(node, ops, waits)| Step::Commit(node, ops, waits)),
        2 => node().prop_map(Step::Cut),
        3 => node().prop_map(Step::Mend),
        2 => (node(), 1..3_usize).prop_map(|(node, count)| Step::LoseAnswers(node, count)),
        2 => (node(), 1..3_usize).prop_map(|(node, count)| Step::LoseAppends(node, count)),
        1 => (node(), 1..3_usize).prop_map(|(node, count)| Step::DelayAppends(node, count)),
        1 => node().prop_map(Step::Release),
        1 => node().prop_map(Step::Restart),
        2 => node().prop_map(Step::Crash),
        1 => prop_oneof![Just(None), (1..4_usize).prop_map(Some)].prop_map(Step::LoseEnd),
    ]
}

type Outcome = Result<Committed, CommitError>;
type Pending = Pin<Box<dyn Future<Output = Outcome>>>;

/// Everything that was submitted.
#[derive(Default)]
struct History {
    ops: Vec<Op>,
    /// The row that a change was made from.
    read: BTreeMap<usize, Message>,
    outcomes: BTreeMap<usize, Outcome>,
    pending: Vec<(usize, Pending)>,
}

impl History {
    fn submit(&mut self, node: &Node, op: &Op) {
        let id = self.ops.len();
        self.ops.push(op.clone());
        let row = message(&id.to_string());
        let mut batch = Batch::new();
        match op {
            Op::Send(key) => {
                batch.require_absent(&ROWS, key);
                batch.put(&ROWS, key, &row);
                batch.may_wait();
            }
            Op::Put(key) => batch.put(&ROWS, key, &row),
            Op::Delete(key) => batch.delete(&ROWS, key),
            Op::Change(key) => {
                let found: Option<Versioned<Message>> = node.store().get_versioned(&ROWS, key).expect("readable");
                match &found {
                    Some(found) => batch.require_unchanged(&ROWS, key, found),
                    None => batch.require_absent(&ROWS, key),
                }
                batch.put(&ROWS, key, &row);
                self.read.extend(found.map(|found| (id, found.value)));
            }
        }
        batch.append(&LOG, &"a".to_owned(), &row);
        self.pending.push((id, Box::pin(node.store().commit(batch))));
    }

    async fn settle(&mut self) {
        for (id, pending) in self.pending.drain(..) {
            let outcome = tokio::time::timeout(std::time::Duration::from_secs(20), pending).await;
            self.outcomes.insert(id, outcome.expect("answered in time"));
        }
    }

    /// What should be stored when these counted, in this order.
    fn replay(&self, order: &[usize]) -> Vec<(u64, Message)> {
        let mut rows: BTreeMap<u64, Message> = BTreeMap::new();
        for id in order {
            let row = message(&id.to_string());
            match &self.ops[*id] {
                Op::Send(key) => assert!(rows.insert(*key, row).is_none(), "{id} was not new"),
                Op::Put(key) => drop(rows.insert(*key, row)),
                Op::Delete(key) => drop(rows.remove(key)),
                Op::Change(key) => {
                    assert_eq!(rows.get(key), self.read.get(id), "{id} was checked against something else");
                    rows.insert(*key, row);
                }
            }
        }
        rows.into_iter().collect()
    }

    fn check(&self, order: &[usize], rows: &[(u64, Message)]) {
        assert_eq!(self.replay(order), rows);
        for (id, outcome) in &self.outcomes {
            let times = order.iter().filter(|counted| *counted == id).count();
            match outcome {
                // One that was spooled loses against one that was sent under the same key meanwhile.
                Ok(_) if times == 0 => {
                    let Op::Send(key) = self.ops[*id] else { panic!("{id} was acknowledged and is gone") };
                    assert!(rows.iter().any(|(sent, _)| *sent == key), "{id} was acknowledged and is gone");
                }
                Ok(_) => assert_eq!(times, 1, "{id}"),
                Err(CommitError::Degraded) => assert_eq!(times, 0, "{id} was refused"),
                Err(CommitError::Conflict) if !matches!(self.ops[*id], Op::Send(_)) => assert_eq!(times, 0, "{id}"),
                // Refused because of one that was shown and then lost, a batch of the spool may still count.
                Err(CommitError::Conflict | CommitError::Unavailable) => assert!(times <= 1, "{id}: {times}"),
                Err(error) => panic!("{id}: {error}"),
            }
        }
    }
}

async fn run(steps: &[Step]) {
    let one = Node::first("one");
    let two = one.another("two");
    let mut nodes = [one, two];
    let mut history = History::default();
    for step in steps {
        match step {
            Step::Commit(node, ops, waits) => {
                for op in ops {
                    history.submit(&nodes[*node], op);
                }
                if *waits {
                    history.settle().await;
                }
            }
            Step::Cut(node) => nodes[*node].log.cut(),
            Step::Mend(node) => nodes[*node].log.mend(),
            Step::LoseAnswers(node, count) => nodes[*node].log.lose_answers(*count),
            Step::LoseAppends(node, count) => nodes[*node].log.lose_appends(*count),
            Step::DelayAppends(node, count) => nodes[*node].log.delay_appends(*count),
            Step::Release(node) => nodes[*node].log.release(),
            Step::Restart(node) => nodes[*node].restart().await,
            Step::Crash(node) => {
                nodes[*node].crash().await;
                nodes[*node].start();
            }
            Step::LoseEnd(count) => lose_end(&nodes, *count).await,
        }
    }
    gather(&nodes).await;
    history.settle().await;
    gather(&nodes).await;
    let order: Vec<usize> = nodes[0].texts().iter().map(|text| text.parse().expect("a number")).collect();
    history.check(&order, &nodes[0].rows());
    assert_eq!(nodes[1].texts(), nodes[0].texts());
    assert_eq!(nodes[1].rows(), nodes[0].rows());
    // And what is on disk is what was shown.
    let (texts, rows) = (nodes[0].texts(), nodes[0].rows());
    for node in &mut nodes {
        node.restart().await;
        assert_eq!((node.texts(), node.rows()), (texts.clone(), rows.clone()));
    }
}

/// Brings both nodes to the end of the log.
async fn gather(nodes: &[Node; 2]) {
    for node in nodes {
        node.log.release();
        node.log.mend();
    }
    loop {
        let before = nodes[0].log.entries().len();
        for node in nodes {
            node.catch_up().await;
            // What had waited for the log goes there now.
            drop(node.commit(Batch::new()).await);
        }
        let is_settled = |node: &Node| node.status().borrow().state == ReplicaState::Connected;
        if nodes[0].log.entries().len() == before && nodes.iter().all(is_settled) {
            return;
        }
    }
}

async fn lose_end(nodes: &[Node; 2], count: Option<usize>) {
    gather(nodes).await;
    for node in nodes {
        node.log.cut();
        node.until_alone().await;
    }
    match count {
        Some(count) => nodes[0].log.lose_end(count),
        None => nodes[0].log.wipe(),
    }
    for node in nodes {
        node.log.mend();
        node.until_connected().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_nodes_do_as_the_model_in_the_order_of_the_log(steps in vec(steps(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(run(&steps));
    }
}
