//! Trees of threads, one line for each thread.

use selvedge_protocol::StoredThread;

use super::paint::Paint;
use super::text::{display_width, keep_start, single_line};
use crate::forest::{Forest, ParentLink, ThreadNode};

/// The least columns for a title, even if the line gets too wide.
const MIN_TITLE_WIDTH: usize = 8;

/// The most columns for the nickname and for the role of a sub-agent.
const MAX_AGENT_WIDTH: usize = 30;

/// The strings that draw branches, each three columns wide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BranchGlyphs {
    /// Leads to a child that is not the last one.
    fork: &'static str,
    /// Leads to the last child.
    last: &'static str,
    /// Passes a child that is not the last one, down to the next child.
    past: &'static str,
}

impl BranchGlyphs {
    /// Box drawing characters of Unicode.
    pub(crate) const UNICODE: Self = Self { fork: "├─ ", last: "└─ ", past: "│  " };
    /// Characters that every terminal has.
    pub(crate) const ASCII: Self = Self { fork: "|- ", last: "`- ", past: "|  " };
}

/// How to draw a tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TreeStyle {
    /// Colours.
    pub(crate) paint: Paint,
    /// Strings for the branches.
    pub(crate) glyphs: BranchGlyphs,
    /// How many characters of each id to print.
    pub(crate) id_len: usize,
    /// Returns the title of a thread.
    pub(crate) title: fn(&StoredThread) -> String,
    /// Columns of the output.
    pub(crate) width: Option<usize>,
}

/// Renders the tree below a root.
pub(crate) fn render(forest: &Forest, root: usize, style: TreeStyle) -> String {
    let mut out = String::new();
    // The depth of a tree depends on the home, so the open nodes are on this stack and not on the call stack. An entry
    // is a node, the string that its ancestors draw before it, and its own branch:
    //
    //     a              root: both empty
    //     ├─ b           before "", branch "├─ "
    //     │  └─ c        before "│  ", branch "└─ "
    //     └─ d           before "", branch "└─ "
    let mut open = vec![(root, String::new(), "")];
    while let Some((index, before, branch)) = open.pop() {
        let node = forest.node(index);
        out.push_str(&line(node, &format!("{before}{branch}"), branch.is_empty(), style));
        let before = match branch {
            "" => before,
            branch if branch == style.glyphs.last => before + "   ",
            _ => before + style.glyphs.past,
        };
        // The stack reverses the order: the last child goes in first.
        for (from_last, child) in node.children.iter().rev().enumerate() {
            let branch = if from_last == 0 { style.glyphs.last } else { style.glyphs.fork };
            open.push((*child, before.clone(), branch));
        }
    }
    out
}

fn line(node: &ThreadNode, branches: &str, is_root: bool, style: TreeStyle) -> String {
    let id = &node.id.to_string()[..style.id_len];
    let relation = relation(node, is_root, style.id_len);
    let title = match &node.thread {
        Some(thread) => (style.title)(thread),
        None => "(not in this home)".to_owned(),
    };
    let taken = display_width(branches) + display_width(id) + 2 + display_width(&relation);
    let title = match style.width {
        Some(width) => keep_start(&title, width.saturating_sub(taken).max(MIN_TITLE_WIDTH)),
        None => title,
    };
    let title = if node.thread.is_some() { title } else { style.paint.dim(title) };
    format!("{}{}  {}{title}\n", style.paint.dim(branches), style.paint.id(id), style.paint.dim(relation))
}

/// Returns how a thread comes from the one above it. A root that has a parent names it, because the tree was cut there.
fn relation(node: &ThreadNode, is_root: bool, id_len: usize) -> String {
    let Some((link, parent)) = node.link else { return String::new() };
    let mut words = match link {
        ParentLink::Fork => "fork".to_owned(),
        ParentLink::SubAgent => format!("sub-agent{}", agent(node)),
    };
    if is_root {
        words.push_str(&format!(" of {}", &parent.to_string()[..id_len]));
    }
    words + ": "
}

/// Returns the nickname and the role of a sub-agent, as far as they are known.
fn agent(node: &ThreadNode) -> String {
    let thread = node.thread.as_ref();
    let nickname = thread.and_then(|thread| thread.agent_nickname.as_deref()).map(single_line);
    let role = thread.and_then(|thread| thread.agent_role.as_deref()).map(single_line);
    let role = role.map(|role| if nickname.is_some() { format!("({role})") } else { role });
    [nickname, role].into_iter().flatten().map(|word| format!(" {}", keep_start(&word, MAX_AGENT_WIDTH))).collect()
}
