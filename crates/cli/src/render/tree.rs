//! Trees of threads.

use selvedge_protocol::StoredThread;

use super::style::Paint;
use super::text::{columns, keep_start, one_line};
use crate::forest::{Forest, Link, Node};

/// What the branches of a tree are drawn with, each three columns wide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    /// To a child, with more below.
    fork: &'static str,
    /// To the last child.
    last: &'static str,
    /// Past a child.
    past: &'static str,
}

impl Lines {
    /// With the line letters of Unicode.
    pub(crate) const UNICODE: Self = Self { fork: "├─ ", last: "└─ ", past: "│  " };
    /// With letters that every terminal has.
    pub(crate) const ASCII: Self = Self { fork: "|- ", last: "`- ", past: "|  " };
}

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// How to colour.
    pub(crate) paint: Paint,
    /// What to draw branches with.
    pub(crate) lines: Lines,
    /// How much of an id to print.
    pub(crate) id_length: usize,
    /// What a thread is called.
    pub(crate) title: fn(&StoredThread) -> String,
    /// How many columns there are.
    pub(crate) width: Option<usize>,
}

/// The tree below a root, one line for a thread.
pub(crate) fn render(forest: &Forest, root: usize, style: Style) -> String {
    let mut out = String::new();
    // Trees are as deep as the home says; what waits to be drawn is kept here and not on the stack.
    let mut waiting = vec![(root, String::new(), "")];
    while let Some((at, before, branch)) = waiting.pop() {
        let node = forest.node(at);
        out.push_str(&line(node, &format!("{before}{branch}"), branch.is_empty(), style));
        let before = match branch {
            "" => before,
            branch if branch == style.lines.last => before + "   ",
            _ => before + style.lines.past,
        };
        for (from_last, child) in node.children.iter().rev().enumerate() {
            let branch = if from_last == 0 { style.lines.last } else { style.lines.fork };
            waiting.push((*child, before.clone(), branch));
        }
    }
    out
}

fn line(node: &Node, lines: &str, is_root: bool, style: Style) -> String {
    let id = &node.id.to_string()[..style.id_length];
    let relation = relation(node, is_root, style.id_length);
    let what = match &node.thread {
        Some(thread) => (style.title)(thread),
        None => "(not in this home)".to_owned(),
    };
    let taken = columns(lines) + columns(id) + 2 + columns(&relation);
    let what = style.width.map_or(what.clone(), |width| keep_start(&what, width.saturating_sub(taken).max(8)));
    let what = if node.thread.is_some() { what } else { style.paint.dim(what) };
    format!("{}{}  {}{what}\n", style.paint.dim(lines), style.paint.id(id), style.paint.dim(relation))
}

/// What a thread is to the one above it. A root that hangs below another says which: the tree was cut there.
fn relation(node: &Node, is_root: bool, id_length: usize) -> String {
    let Some((link, parent)) = node.link else { return String::new() };
    let mut words = match link {
        Link::Fork => "fork".to_owned(),
        Link::SubAgent => format!("sub-agent{}", agent(node)),
    };
    if is_root {
        words.push_str(&format!(" of {}", &parent.to_string()[..id_length]));
    }
    words + ": "
}

/// What a sub-agent is called, and as what it works.
fn agent(node: &Node) -> String {
    let thread = node.thread.as_ref();
    let nickname = thread.and_then(|thread| thread.agent_nickname.as_deref()).map(one_line);
    let role = thread.and_then(|thread| thread.agent_role.as_deref()).map(one_line);
    let role = role.map(|role| if nickname.is_some() { format!("({role})") } else { role });
    [nickname, role].into_iter().flatten().map(|word| format!(" {}", keep_start(&word, 30))).collect()
}
