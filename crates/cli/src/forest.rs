//! Which thread hangs below which.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use selvedge_protocol::{StoredThread, ThreadId, Timestamp};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// How deep a tree goes at most. What is deeper grows in a tree of its own: neither a terminal nor a JSON parser would take
/// it, and homes are made by others.
const DEEPEST: usize = 50;

/// How a thread hangs below another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Link {
    /// Its history began in the other's.
    Fork,
    /// The other started it.
    SubAgent,
}

/// A thread in its tree.
#[derive(Debug)]
pub(crate) struct Node {
    /// The thread.
    pub(crate) id: ThreadId,
    /// Its row; nothing for a thread that is not in the home, of which others say that they hang below it.
    pub(crate) thread: Option<StoredThread>,
    /// What it hangs below, and how. A root has this, too, where the tree was cut: at a circle, or when it got too deep.
    pub(crate) link: Option<(Link, ThreadId)>,
    parent: Option<usize>,
    /// What hangs below it, oldest first.
    pub(crate) children: Vec<usize>,
}

impl Node {
    fn new(id: ThreadId) -> Self {
        Self { id, thread: None, link: None, parent: None, children: Vec::new() }
    }

    fn of(thread: StoredThread) -> Self {
        let id = thread.id;
        // A sub-agent that took its parent's history along is a sub-agent first.
        let parent = thread.parent_thread_id.map(|parent| (Link::SubAgent, parent));
        let link = parent.or(thread.forked_from_id.map(|source| (Link::Fork, source)));
        Self { thread: Some(thread), link, ..Self::new(id) }
    }

    fn age(&self) -> (Timestamp, ThreadId) {
        (self.thread.as_ref().map_or(Timestamp::default(), |thread| thread.created_at), self.id)
    }
}

/// The threads of a home as trees.
#[derive(Debug)]
pub(crate) struct Forest {
    nodes: Vec<Node>,
    by_id: HashMap<ThreadId, usize>,
    /// The roots, the tree that was updated last first.
    pub(crate) roots: Vec<usize>,
}

impl Forest {
    /// The trees of these threads. Every one of them is in one tree, once, whatever they say of each other.
    pub(crate) fn new(threads: Vec<StoredThread>) -> Self {
        let mut nodes: Vec<Node> = threads.into_iter().map(Node::of).collect();
        nodes.sort_by_key(Node::age);
        let mut forest = Self { nodes: Vec::new(), by_id: HashMap::new(), roots: Vec::new() };
        for node in nodes {
            forest.add(node);
        }
        forest.link();
        forest.plant();
        forest
    }

    /// The node at this place.
    pub(crate) fn node(&self, at: usize) -> &Node {
        &self.nodes[at]
    }

    /// The ids of all nodes.
    pub(crate) fn ids(&self) -> BTreeSet<ThreadId> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    /// Whether a tree is one thread that has nothing to do with others.
    pub(crate) fn is_lonely(&self, root: usize) -> bool {
        let node = self.node(root);
        node.children.is_empty() && node.link.is_none()
    }

    /// The root of the tree that a thread is in.
    pub(crate) fn root_of(&self, id: ThreadId) -> Option<usize> {
        let mut at = *self.by_id.get(&id)?;
        while let Some(parent) = self.node(at).parent {
            at = parent;
        }
        Some(at)
    }

    /// A tree as a value to serialize.
    pub(crate) fn tree(&self, root: usize) -> Tree<'_> {
        Tree { forest: self, root }
    }

    fn add(&mut self, node: Node) -> usize {
        let at = self.nodes.len();
        self.by_id.insert(node.id, at);
        self.nodes.push(node);
        at
    }

    /// Hangs every node below what it names, and those that name the same missing one below a node of its own.
    fn link(&mut self) {
        for at in 0..self.nodes.len() {
            let Some((_, id)) = self.nodes[at].link else { continue };
            let parent = self.by_id.get(&id).copied();
            let parent = parent.unwrap_or_else(|| self.add(Node::new(id)));
            self.nodes[at].parent = Some(parent);
            self.nodes[parent].children.push(at);
        }
    }

    /// Finds the roots, and cuts where there is none.
    fn plant(&mut self) {
        let mut planted = vec![false; self.nodes.len()];
        let mut updated = HashMap::new();
        let mut roots: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].parent.is_none()).collect();
        let (mut next, mut reached) = (0, 0);
        loop {
            while let Some(root) = roots.get(next).copied() {
                next += 1;
                updated.insert(root, self.grow(root, &mut planted, &mut roots));
            }
            // What no root leads to is a circle, or hangs below one.
            let Some(lost) = (reached..planted.len()).find(|at| !planted[*at]) else { break };
            reached = lost;
            let root = self.on_circle(lost);
            self.cut(root);
            roots.push(root);
        }
        roots.sort_by_key(|root| (Reverse(updated.get(root).copied()), self.nodes[*root].id));
        self.roots = roots;
    }

    /// Goes through the tree below a root, cuts off what is too deep, and says when the tree was last updated.
    fn grow(&mut self, root: usize, planted: &mut [bool], roots: &mut Vec<usize>) -> Option<Timestamp> {
        let mut updated = None;
        let mut waiting = vec![(root, 0)];
        while let Some((at, depth)) = waiting.pop() {
            planted[at] = true;
            updated = updated.max(self.nodes[at].thread.as_ref().map(|thread| thread.updated_at));
            if depth < DEEPEST {
                waiting.extend(self.nodes[at].children.iter().map(|child| (*child, depth + 1)));
            } else {
                for child in std::mem::take(&mut self.nodes[at].children) {
                    self.nodes[child].parent = None;
                    roots.push(child);
                }
            }
        }
        updated
    }

    /// A node of the circle that this one is on, or hangs below.
    fn on_circle(&self, start: usize) -> usize {
        let mut seen = BTreeSet::new();
        let mut at = start;
        while seen.insert(at)
            && let Some(parent) = self.nodes[at].parent
        {
            at = parent;
        }
        at
    }

    fn cut(&mut self, at: usize) {
        if let Some(parent) = self.nodes[at].parent.take() {
            self.nodes[parent].children.retain(|child| *child != at);
        }
    }
}

/// A tree as nested objects.
pub(crate) struct Tree<'a> {
    forest: &'a Forest,
    root: usize,
}

impl Serialize for Tree<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let node = self.forest.node(self.root);
        let children: Vec<Tree<'_>> = node.children.iter().map(|child| self.forest.tree(*child)).collect();
        let mut object = serializer.serialize_struct("Tree", 4)?;
        object.serialize_field("id", &node.id)?;
        object.serialize_field("relation", &node.link.map(|(link, _)| link))?;
        object.serialize_field("thread", &node.thread)?;
        object.serialize_field("children", &children)?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> ThreadId {
        ThreadId::from_uuid(format!("01a1fd5d-0000-7000-8000-{n:012x}").parse().unwrap_or_default())
    }

    fn fork(n: usize, of: Option<usize>) -> StoredThread {
        let at = Timestamp::from_seconds(i64::try_from(n).unwrap_or(0));
        StoredThread { forked_from_id: of.map(id), ..StoredThread::new(id(n), at) }
    }

    /// Every tree as text: `1(2 3(4))`.
    fn drawn(forest: &Forest) -> String {
        fn draw(forest: &Forest, at: usize, out: &mut String) {
            let node = forest.node(at);
            out.push_str(node.id.to_string()[24..].trim_start_matches('0'));
            for (n, child) in node.children.iter().enumerate() {
                out.push(if n == 0 { '(' } else { ' ' });
                draw(forest, *child, out);
            }
            out.push_str(if node.children.is_empty() { "" } else { ")" });
        }
        let trees = forest.roots.iter().map(|root| {
            let mut out = String::new();
            draw(forest, *root, &mut out);
            out
        });
        trees.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn families_with_the_newest_first() {
        let threads = [fork(1, None), fork(2, Some(1)), fork(3, None), fork(5, Some(2)), fork(4, Some(1))];
        assert_eq!(drawn(&Forest::new(threads.to_vec())), "1(2(5) 4) 3");
    }

    #[test]
    fn what_is_missing_gathers_what_hangs_below_it() {
        let forest = Forest::new(vec![fork(1, Some(9)), fork(2, Some(9)), fork(3, Some(8))]);
        assert_eq!(drawn(&forest), "8(3) 9(1 2)");
        assert_eq!(forest.root_of(id(2)), forest.root_of(id(9)));
        assert_eq!(forest.root_of(id(7)), None);
    }

    #[test]
    fn circles_are_cut_and_everybody_is_there_once() {
        let circle = vec![fork(1, Some(3)), fork(2, Some(1)), fork(3, Some(2)), fork(4, Some(3)), fork(5, Some(5))];
        assert_eq!(drawn(&Forest::new(circle)), "5 1(2(3(4)))");
    }

    #[test]
    fn long_chains_go_on_in_another_tree() {
        let chain: Vec<_> = (1..=20_000).map(|n| fork(n, n.checked_sub(1).filter(|of| *of > 0))).collect();
        let forest = Forest::new(chain);
        assert_eq!(forest.roots.len(), 20_000usize.div_ceil(DEEPEST + 1));
        let sizes = forest.roots.iter().map(|root| {
            let mut at = *root;
            let mut size = 1;
            while let Some(child) = forest.node(at).children.first() {
                (at, size) = (*child, size + 1);
            }
            size
        });
        assert_eq!(sizes.sum::<usize>(), 20_000);
    }

    #[test]
    fn a_circle_of_many_takes_linear_time() {
        let circle = (1..=20_000).map(|n| fork(n, Some(n % 20_000 + 1))).collect();
        let forest = Forest::new(circle);
        assert_eq!(forest.roots.len(), 20_000usize.div_ceil(DEEPEST + 1));
    }
}
