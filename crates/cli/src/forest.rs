//! The threads of a home as trees: forks and sub-agents below the threads that they come from.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use selvedge_protocol::{StoredThread, ThreadId, Timestamp};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// The greatest depth of a tree. Deeper nodes form trees of their own.
///
/// A home may come from elsewhere and contain a chain of any length. Neither a terminal nor a recursive JSON parser could
/// handle it.
const MAX_DEPTH: usize = 50;

/// How a thread comes from its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ParentLink {
    /// It is a fork of the parent.
    Fork,
    /// It was started by the parent.
    SubAgent,
}

/// A thread in its tree.
#[derive(Debug)]
pub(crate) struct ThreadNode {
    /// The id of the thread.
    pub(crate) id: ThreadId,
    /// The thread record, or `None` for a thread that is not in the home but is the parent of threads that are.
    pub(crate) thread: Option<StoredThread>,
    /// The parent that the thread itself names. A root has one where the tree was cut: at a circle, or at the greatest
    /// depth.
    pub(crate) link: Option<(ParentLink, ThreadId)>,
    parent: Option<usize>,
    /// Indexes of the children, oldest first.
    pub(crate) children: Vec<usize>,
}

impl ThreadNode {
    fn missing(id: ThreadId) -> Self {
        Self { id, thread: None, link: None, parent: None, children: Vec::new() }
    }

    fn new(thread: StoredThread) -> Self {
        let id = thread.id;
        // A sub-agent that began with its parent's history counts as a sub-agent.
        let parent = thread.parent_thread_id.map(|parent| (ParentLink::SubAgent, parent));
        let link = parent.or(thread.forked_from_id.map(|source| (ParentLink::Fork, source)));
        Self { thread: Some(thread), link, ..Self::missing(id) }
    }

    fn age_key(&self) -> (Timestamp, ThreadId) {
        (self.thread.as_ref().map_or(Timestamp::default(), |thread| thread.created_at), self.id)
    }
}

/// The threads of a home as trees.
///
/// The links come from the logs, so they can be anything: missing parents, circles, a thread that is its own
/// parent. The forest has every thread exactly once regardless. Nodes refer to each other by index.
#[derive(Debug)]
pub(crate) struct Forest {
    nodes: Vec<ThreadNode>,
    by_id: HashMap<ThreadId, usize>,
    /// Indexes of the roots. The tree with the newest update comes first.
    pub(crate) roots: Vec<usize>,
}

impl Forest {
    /// Builds the trees of these threads.
    pub(crate) fn new(threads: Vec<StoredThread>) -> Self {
        let mut nodes: Vec<ThreadNode> = threads.into_iter().map(ThreadNode::new).collect();
        // Children are linked in the order of the nodes, so this sort also orders the children of every node.
        nodes.sort_by_key(ThreadNode::age_key);
        let mut forest = Self { nodes: Vec::new(), by_id: HashMap::new(), roots: Vec::new() };
        for node in nodes {
            forest.add(node);
        }
        forest.link_children();
        forest.find_roots();
        forest
    }

    /// Returns the node with this index.
    pub(crate) fn node(&self, index: usize) -> &ThreadNode {
        &self.nodes[index]
    }

    /// Returns the ids of all nodes.
    pub(crate) fn ids(&self) -> BTreeSet<ThreadId> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    /// Returns whether a root has neither children nor a parent that it names.
    pub(crate) fn is_unrelated(&self, root: usize) -> bool {
        let node = self.node(root);
        node.children.is_empty() && node.link.is_none()
    }

    /// Returns the root of the tree with this thread, or `None` if the forest does not have the thread.
    pub(crate) fn root_of(&self, id: ThreadId) -> Option<usize> {
        let mut index = *self.by_id.get(&id)?;
        while let Some(parent) = self.node(index).parent {
            index = parent;
        }
        Some(index)
    }

    /// Returns a tree that can be serialized.
    pub(crate) fn tree(&self, root: usize) -> NestedTree<'_> {
        NestedTree { forest: self, root }
    }

    fn add(&mut self, node: ThreadNode) -> usize {
        let index = self.nodes.len();
        self.by_id.insert(node.id, index);
        self.nodes.push(node);
        index
    }

    /// Puts every node below the parent that it names. A parent that is not in the home gets a node, which collects all
    /// threads that name it.
    fn link_children(&mut self) {
        // The range is fixed before the loop adds nodes. Those are missing parents, which have no parent themselves.
        for index in 0..self.nodes.len() {
            let Some((_, id)) = self.nodes[index].link else { continue };
            let parent = self.by_id.get(&id).copied();
            let parent = parent.unwrap_or_else(|| self.add(ThreadNode::missing(id)));
            self.nodes[index].parent = Some(parent);
            self.nodes[parent].children.push(index);
        }
    }

    /// Finds the roots. Where a component has none, because it is a circle, cuts one.
    fn find_roots(&mut self) {
        // Each node has at most one parent. So a component of the graph is a tree, or a circle with trees below it:
        //
        //     1         4 ─▸ 6 ─▸ 5 ─▸ 4  (child ─▸ parent)      4
        //     ├─ 2      has no root, and is cut above 4:         └─ 5
        //     └─ 3                                                  └─ 6
        //
        // The loop visits everything below the known roots first. A node that is still unvisited has no root above it:
        // walking up from it ends on a circle. The circle is cut above one of its nodes, which becomes a root. That
        // root leads to the whole component, so each component is cut once. `first_unvisited` only grows, so
        // all searches together take linear time.
        let mut visited = vec![false; self.nodes.len()];
        let mut updated = HashMap::new();
        let mut roots: Vec<usize> = (0..self.nodes.len()).filter(|index| self.nodes[*index].parent.is_none()).collect();
        let (mut next, mut first_unvisited) = (0, 0);
        loop {
            // `visit_tree` adds roots at the end while this runs: subtrees that it cut off.
            while let Some(root) = roots.get(next).copied() {
                next += 1;
                updated.insert(root, self.visit_tree(root, &mut visited, &mut roots));
            }
            let Some(unvisited) = (first_unvisited..visited.len()).find(|index| !visited[*index]) else { break };
            first_unvisited = unvisited;
            let root = self.circle_above(unvisited);
            self.detach(root);
            roots.push(root);
        }
        roots.sort_by_key(|root| (Reverse(updated.get(root).copied()), self.nodes[*root].id));
        self.roots = roots;
    }

    /// Marks the tree below a root as visited, and makes roots of the subtrees below [`MAX_DEPTH`]. Returns when the
    /// tree was last updated.
    fn visit_tree(&mut self, root: usize, visited: &mut [bool], roots: &mut Vec<usize>) -> Option<Timestamp> {
        let mut updated = None;
        let mut open = vec![(root, 0)];
        while let Some((index, depth)) = open.pop() {
            visited[index] = true;
            updated = updated.max(self.nodes[index].thread.as_ref().map(|thread| thread.updated_at));
            if depth < MAX_DEPTH {
                open.extend(self.nodes[index].children.iter().map(|child| (*child, depth + 1)));
            } else {
                // The children keep their `link`, so that they can be drawn as cut off. Only the edge goes.
                for child in std::mem::take(&mut self.nodes[index].children) {
                    self.nodes[child].parent = None;
                    roots.push(child);
                }
            }
        }
        updated
    }

    /// Returns a node of the circle that is above this node, or that this node is on.
    fn circle_above(&self, start: usize) -> usize {
        // The first node that comes a second time on the way up is on the circle.
        let mut seen = BTreeSet::new();
        let mut index = start;
        while seen.insert(index)
            && let Some(parent) = self.nodes[index].parent
        {
            index = parent;
        }
        index
    }

    fn detach(&mut self, index: usize) {
        if let Some(parent) = self.nodes[index].parent.take() {
            self.nodes[parent].children.retain(|child| *child != index);
        }
    }
}

/// A tree that serializes as nested objects.
pub(crate) struct NestedTree<'a> {
    forest: &'a Forest,
    root: usize,
}

impl Serialize for NestedTree<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let node = self.forest.node(self.root);
        // This recursion is safe, because no tree is deeper than `MAX_DEPTH`.
        let children: Vec<NestedTree<'_>> = node.children.iter().map(|child| self.forest.tree(*child)).collect();
        let mut object = serializer.serialize_struct("NestedTree", 4)?;
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

    /// Returns every tree as text: `1(2 3(4))`.
    fn to_text(forest: &Forest) -> String {
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
    fn the_tree_with_the_newest_update_comes_first() {
        let threads = [fork(1, None), fork(2, Some(1)), fork(3, None), fork(5, Some(2)), fork(4, Some(1))];
        assert_eq!(to_text(&Forest::new(threads.to_vec())), "1(2(5) 4) 3");
    }

    #[test]
    fn a_missing_parent_collects_its_children() {
        let forest = Forest::new(vec![fork(1, Some(9)), fork(2, Some(9)), fork(3, Some(8))]);
        assert_eq!(to_text(&forest), "8(3) 9(1 2)");
        assert_eq!(forest.root_of(id(2)), forest.root_of(id(9)));
        assert_eq!(forest.root_of(id(7)), None);
    }

    #[test]
    fn circles_are_cut_and_every_thread_is_in_one_tree() {
        let circle = vec![fork(1, Some(3)), fork(2, Some(1)), fork(3, Some(2)), fork(4, Some(3)), fork(5, Some(5))];
        assert_eq!(to_text(&Forest::new(circle)), "5 1(2(3(4)))");
    }

    #[test]
    fn a_chain_that_is_too_deep_continues_in_another_tree() {
        let chain: Vec<_> = (1..=20_000).map(|n| fork(n, n.checked_sub(1).filter(|of| *of > 0))).collect();
        let forest = Forest::new(chain);
        assert_eq!(forest.roots.len(), 20_000usize.div_ceil(MAX_DEPTH + 1));
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
    fn a_long_circle_takes_linear_time() {
        let circle = (1..=20_000).map(|n| fork(n, Some(n % 20_000 + 1))).collect();
        let forest = Forest::new(circle);
        assert_eq!(forest.roots.len(), 20_000usize.div_ceil(MAX_DEPTH + 1));
    }
}
