//! Hits of a search, and the rows of lists.

use maud::{Markup, html};
use selvedge_protocol::{SearchHit, StoredThread, ThreadId};
use selvedge_transcript::html::{thousands, time, title};

use crate::url::encoded;

/// Renders a thread of a list. `is_running` is whether its last turn is in progress.
pub(crate) fn thread_row(thread: &StoredThread, is_running: bool) -> Markup {
    let tokens = thread.token_usage.as_ref().and_then(|usage| usage.total_tokens);
    let branch = thread.git.as_ref().and_then(|git| git.branch.as_deref());
    html! {
        a.row href={ "/threads/" (thread.id) } {
            span.title { (title(thread)) }
            span.about {
                (time(thread.updated_at))
                @if is_running { span.running { "running" } }
                @if let Some(cwd) = &thread.cwd { span.directory { (cwd) } }
                @if let Some(branch) = branch { span.branch { (branch) } }
                @if let Some(model) = &thread.model { span.model { (model) } }
                @if let Some(tokens) = tokens { span.tokens { (thousands(tokens)) " tokens" } }
                @if let Some(relation) = relation(thread) { span { (relation) } }
                @if thread.archived { span.archived { "archived" } }
            }
        }
    }
}

/// Returns what a thread is to the one that it comes from: a fork, or a sub-agent with its name and role. `None` for a thread that
/// comes from no other.
///
/// A sub-agent that began with the history of its parent is a sub-agent, and a fork of a sub-agent is a fork.
pub(crate) fn relation(thread: &StoredThread) -> Option<String> {
    let parent = thread.parent_thread_id;
    match thread.forked_from_id {
        Some(source) if parent != Some(source) => Some("fork".to_owned()),
        _ => parent.map(|_| {
            let nickname = thread.agent_nickname.clone();
            let role = thread.agent_role.as_ref().map(|role| match nickname {
                Some(_) => format!("({role})"),
                None => role.clone(),
            });
            ["sub-agent".to_owned()].into_iter().chain(nickname).chain(role).collect::<Vec<_>>().join(" ")
        }),
    }
}

/// Renders a hit, which leads to its item.
pub(crate) fn hit_row(hit: &SearchHit) -> Markup {
    html! {
        a.hit href=(target(hit.thread.id, hit)) {
            span.kind { @if let Some(number) = hit.turn_number { "turn " (number) ", " } (hit.kind.replace('_', " ")) }
            " " (marked(&hit.snippet, &hit.highlights))
        }
    }
}

fn target(thread: ThreadId, hit: &SearchHit) -> String {
    let Some(turn) = hit.turn_id.as_ref().map(|turn| encoded(turn.as_str())) else {
        return format!("/threads/{thread}");
    };
    let number = hit.turn_number.map(|number| format!("&number={number}")).unwrap_or_default();
    match hit.position {
        Some(position) => format!("/threads/{thread}/at?turn={turn}&position={position}{number}"),
        None => format!("/threads/{thread}?turn={turn}{number}"),
    }
}

/// Renders a snippet with its terms marked. Ranges that do not fit the text are left out.
fn marked(text: &str, ranges: &[(usize, usize)]) -> Markup {
    let mut pieces = Vec::new();
    let mut done = 0;
    for &(start, end) in ranges {
        if let (Some(before), Some(term)) = (text.get(done..start), text.get(start..end)) {
            pieces.push((before, term));
            done = end;
        }
    }
    html! { @for (before, term) in pieces { (before) mark { (term) } } (text.get(done..).unwrap_or_default()) }
}
