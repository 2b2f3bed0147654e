//! A list of the user's messages that is cheap to copy, to cut and to join.

use std::ops::Range;
use std::sync::Arc;

use super::{Cut, Message};

/// A rope: the messages in order, as a balanced tree of which copies share what they have in common.
///
/// A copy is one count. To push, cut or join makes a number of nodes that grows with the logarithm of the length, and leaves
/// other copies as they were. So what stood before each of many compactions can be kept in the memory of one.
#[derive(Clone, Debug, Default)]
pub(super) struct MessageRope {
    root: Link,
}

type Link = Option<Arc<Node>>;

#[derive(Clone, Debug)]
struct Node {
    left: Link,
    message: Arc<Message>,
    right: Link,
    len: usize,
    height: u8,
    /// The earliest of the cuts of all messages below.
    earliest: Cut,
}

impl MessageRope {
    pub(super) fn len(&self) -> usize {
        len(&self.root)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Adds a message at the end.
    pub(super) fn push(&mut self, message: Message) {
        self.root = Some(join(self.root.take(), Arc::new(message), None));
    }

    /// Adds the messages of another rope at the end.
    pub(super) fn append(&mut self, mut other: Self) {
        let newer = other.split_off(1);
        match other.root {
            Some(first) => self.root = Some(join(self.root.take(), Arc::unwrap_or_clone(first).message, newer.root)),
            None => debug_assert!(newer.is_empty(), "what is behind the first message has one before it"),
        }
    }

    /// Leaves the first `at` messages and returns those behind them.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let (older, newer) = split(self.root.take(), at);
        self.root = older;
        Self { root: newer }
    }

    /// Takes the newest `count` messages away and returns them; all, when there are fewer.
    pub(super) fn take_newest(&mut self, count: usize) -> Self {
        self.split_off(self.len().saturating_sub(count))
    }

    /// Returns the messages of a range.
    pub(super) fn slice(&self, range: Range<usize>) -> Self {
        let mut slice = self.clone();
        slice.split_off(range.end);
        slice.split_off(range.start)
    }

    /// Returns the earliest cut of all messages. `None` if there are none.
    pub(super) fn earliest(&self) -> Option<Cut> {
        self.root.as_ref().map(|node| node.earliest)
    }

    /// The messages in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Message> {
        walk(&self.root, |node| &node.left, |node| &node.right)
    }

    /// The messages from the newest on.
    pub(super) fn iter_newest_first(&self) -> impl Iterator<Item = &Message> {
        walk(&self.root, |node| &node.right, |node| &node.left)
    }
}

impl Extend<Message> for MessageRope {
    fn extend<I: IntoIterator<Item = Message>>(&mut self, messages: I) {
        messages.into_iter().for_each(|message| self.push(message));
    }
}

/// Goes through the messages, those on the side `before` of a node first and those on the side `after` last.
fn walk<'a>(
    root: &'a Link,
    before: impl Fn(&'a Node) -> &'a Link,
    after: impl Fn(&'a Node) -> &'a Link,
) -> impl Iterator<Item = &'a Message> {
    // The nodes whose messages come next, the first one last: on the way down to each, those above it.
    let mut path: Vec<&Node> = Vec::new();
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

fn len(link: &Link) -> usize {
    link.as_ref().map_or(0, |node| node.len)
}

fn height(link: &Link) -> u8 {
    link.as_ref().map_or(0, |node| node.height)
}

fn node(left: Link, message: Arc<Message>, right: Link) -> Arc<Node> {
    let below = [&left, &right].into_iter().flatten().map(|node| node.earliest);
    Arc::new(Node {
        len: len(&left) + 1 + len(&right),
        height: height(&left).max(height(&right)) + 1,
        earliest: below.fold(message.cut, Cut::min),
        left,
        message,
        right,
    })
}

/// How much higher one side of a node may be than the other.
const SLACK: u8 = 2;

/// The tree of everything below `left`, then `message`, then everything below `right`, whatever their heights: the lower one
/// is hung in where the higher one is as low, and the nodes above are balanced on the way back.
fn join(left: Link, message: Arc<Message>, right: Link) -> Arc<Node> {
    match (left, right) {
        (Some(left), right) if left.height > height(&right) + SLACK => {
            let left = Arc::unwrap_or_clone(left);
            balanced(left.left, left.message, Some(join(left.right, message, right)))
        }
        (left, Some(right)) if right.height > height(&left) + SLACK => {
            let right = Arc::unwrap_or_clone(right);
            balanced(Some(join(left, message, right.left)), right.message, right.right)
        }
        (left, right) => node(left, message, right),
    }
}

/// A node of two sides of which one is higher by one more than it may be, at most: one rotation, or two, as in an AVL tree.
fn balanced(left: Link, message: Arc<Message>, right: Link) -> Arc<Node> {
    match (left, right) {
        (Some(left), right) if left.height > height(&right) + SLACK => {
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
        (left, Some(right)) if right.height > height(&left) + SLACK => {
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

/// The first `at` messages and the others.
fn split(link: Link, at: usize) -> (Link, Link) {
    match link {
        link if at == 0 => (None, link),
        Some(node) if at < node.len => {
            let Node { left, message, right, .. } = Arc::unwrap_or_clone(node);
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
