//! A list of messages that is cheap to clone, to cut and to join.

use std::ops::Range;
use std::sync::Arc;

use super::message::{CountedMessage, RollbackPoint};

/// A rope: the messages in order, as a balanced tree. Clones share their nodes.
///
/// A clone increments one reference count. Push, cut and join create a number of nodes that is logarithmic in the length and
/// leave other clones unchanged. So the ledger can keep the messages before each of many compactions in about the memory of
/// one list. A `Vec` for each compaction was rejected: memory grew with messages times compactions.
///
/// The tree is a join-based AVL tree (Blelloch, Ferizovic, Sun: "Just Join for Parallel Ordered Sets", 2016): every change is
/// expressed by [`join`], which is the only function that balances.
#[derive(Clone, Debug, Default)]
pub(super) struct MessageRope {
    root: RopeLink,
}

type RopeLink = Option<Arc<RopeNode>>;

#[derive(Clone, Debug)]
struct RopeNode {
    left: RopeLink,
    message: Arc<CountedMessage>,
    right: RopeLink,
    len: usize,
    height: u8,
    /// The earliest point of all messages in this subtree, so that a rollback of many messages need not visit each.
    earliest_point: RollbackPoint,
}

impl MessageRope {
    pub(super) fn len(&self) -> usize {
        len(&self.root)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Adds a message at the end.
    pub(super) fn push(&mut self, message: CountedMessage) {
        self.root = Some(join(self.root.take(), Arc::new(message), None));
    }

    /// Adds the messages of another rope at the end.
    pub(super) fn append(&mut self, mut other: Self) {
        // A join needs a message in the middle: the first one of the other rope.
        let newer = other.split_off(1);
        match other.root {
            Some(first) => self.root = Some(join(self.root.take(), Arc::unwrap_or_clone(first).message, newer.root)),
            None => debug_assert!(newer.is_empty(), "a rope without a first message is empty"),
        }
    }

    /// Keeps the first `at` messages and returns the others.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let (older, newer) = split(self.root.take(), at);
        self.root = older;
        Self { root: newer }
    }

    /// Removes and returns the newest `count` messages; all of them if there are fewer.
    pub(super) fn take_newest(&mut self, count: usize) -> Self {
        self.split_off(self.len().saturating_sub(count))
    }

    /// Returns the messages of a range.
    pub(super) fn slice(&self, range: Range<usize>) -> Self {
        let mut slice = self.clone();
        slice.split_off(range.end);
        slice.split_off(range.start)
    }

    /// Returns the earliest point of all messages. `None` if the rope is empty.
    pub(super) fn earliest_point(&self) -> Option<RollbackPoint> {
        self.root.as_ref().map(|node| node.earliest_point)
    }

    /// Returns the messages, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &CountedMessage> {
        walk(&self.root, |node| &node.left, |node| &node.right)
    }

    /// Returns the messages, the newest first.
    pub(super) fn iter_newest_first(&self) -> impl Iterator<Item = &CountedMessage> {
        walk(&self.root, |node| &node.right, |node| &node.left)
    }
}

impl Extend<CountedMessage> for MessageRope {
    fn extend<I: IntoIterator<Item = CountedMessage>>(&mut self, messages: I) {
        messages.into_iter().for_each(|message| self.push(message));
    }
}

/// Walks the tree in order: for each node the side `before`, its message, then the side `after`.
fn walk<'a>(
    root: &'a RopeLink,
    before: impl Fn(&'a RopeNode) -> &'a RopeLink,
    after: impl Fn(&'a RopeNode) -> &'a RopeLink,
) -> impl Iterator<Item = &'a CountedMessage> {
    // The nodes whose message is still to come, the next one last. `next` is a subtree that comes before all of them.
    let mut path: Vec<&RopeNode> = Vec::new();
    let mut next = root;
    std::iter::from_fn(move || {
        while let Some(node) = next {
            path.push(node);
            next = before(node);
        }
        let node = path.pop()?;
        next = after(node);
        Some(&*node.message)
    })
}

fn len(link: &RopeLink) -> usize {
    link.as_ref().map_or(0, |node| node.len)
}

fn height(link: &RopeLink) -> u8 {
    link.as_ref().map_or(0, |node| node.height)
}

fn node(left: RopeLink, message: Arc<CountedMessage>, right: RopeLink) -> Arc<RopeNode> {
    let below = [&left, &right].into_iter().flatten().map(|node| node.earliest_point);
    Arc::new(RopeNode {
        len: len(&left) + 1 + len(&right),
        height: height(&left).max(height(&right)) + 1,
        earliest_point: below.fold(message.point, RollbackPoint::min),
        left,
        message,
        right,
    })
}

/// How much higher one side of a node may be than the other. An AVL tree allows 1; with 2 there are fewer rotations.
const MAX_HEIGHT_DIFFERENCE: u8 = 2;

/// Builds the tree of everything in `left`, then `message`, then everything in `right`, for sides of any height.
fn join(left: RopeLink, message: Arc<CountedMessage>, right: RopeLink) -> Arc<RopeNode> {
    // Walk down the inner edge of the higher side to a subtree that is about as high as the lower side, and put the node
    // there. On the way back up each node is at most one level out of balance, which `balanced` repairs. The cost is the
    // difference of the heights.
    match (left, right) {
        (Some(left), right) if left.height > height(&right) + MAX_HEIGHT_DIFFERENCE => {
            let left = Arc::unwrap_or_clone(left);
            balanced(left.left, left.message, Some(join(left.right, message, right)))
        }
        (left, Some(right)) if right.height > height(&left) + MAX_HEIGHT_DIFFERENCE => {
            let right = Arc::unwrap_or_clone(right);
            balanced(Some(join(left, message, right.left)), right.message, right.right)
        }
        (left, right) => node(left, message, right),
    }
}

/// Builds a node whose sides differ in height by at most one more than allowed.
fn balanced(left: RopeLink, message: Arc<CountedMessage>, right: RopeLink) -> Arc<RopeNode> {
    // If the left side is too high, there are two cases, as in every AVL tree. The other side is the mirror image. `M` is the
    // inner subtree of the higher side:
    //
    //   M is not the higher one: one rotation       M is the higher one: two rotations
    //
    //         m               l                        m                      mid
    //        / \             / \                      / \                   /     \
    //       l   R    ->     L   m                    l   R     ->         l         m
    //      / \                 / \                  / \                  / \       / \
    //     L   M               M   R                L   mid              L   M1   M2   R
    //                                                 /   \
    //                                                M1   M2
    match (left, right) {
        (Some(left), right) if left.height > height(&right) + MAX_HEIGHT_DIFFERENCE => {
            let left = Arc::unwrap_or_clone(left);
            match left.right {
                Some(middle) if middle.height > height(&left.left) => {
                    let middle = Arc::unwrap_or_clone(middle);
                    let (older, newer) =
                        (node(left.left, left.message, middle.left), node(middle.right, message, right));
                    node(Some(older), middle.message, Some(newer))
                }
                middle => node(left.left, left.message, Some(node(middle, message, right))),
            }
        }
        (left, Some(right)) if right.height > height(&left) + MAX_HEIGHT_DIFFERENCE => {
            let right = Arc::unwrap_or_clone(right);
            match right.left {
                Some(middle) if middle.height > height(&right.right) => {
                    let middle = Arc::unwrap_or_clone(middle);
                    let (older, newer) =
                        (node(left, message, middle.left), node(middle.right, right.message, right.right));
                    node(Some(older), middle.message, Some(newer))
                }
                middle => node(Some(node(left, message, middle)), right.message, right.right),
            }
        }
        (left, right) => node(left, message, right),
    }
}

/// Splits a tree into its first `at` messages and the others.
fn split(link: RopeLink, at: usize) -> (RopeLink, RopeLink) {
    match link {
        link if at == 0 => (None, link),
        Some(node) if at < node.len => {
            let RopeNode { left, message, right, .. } = Arc::unwrap_or_clone(node);
            // The node itself has index `len(&left)`. `None`: the cut is on its left, and it belongs to the newer part.
            match at.checked_sub(len(&left) + 1) {
                None => {
                    let (older, newer) = split(left, at);
                    (older, Some(join(newer, message, right)))
                }
                Some(at) => {
                    let (older, newer) = split(right, at);
                    (Some(join(left, message, older)), newer)
                }
            }
        }
        link => (link, None),
    }
}
