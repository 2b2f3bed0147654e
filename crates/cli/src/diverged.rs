//! Warns about histories of a thread that have diverged.

use selvedge_protocol::ThreadId;

use crate::app::App;
use crate::failure::Failure;
use crate::notes::note;
use crate::render::counted::counted;
use crate::wiring::DivergedSegment;

/// Finds the diverged segments of a thread. A failure is only a note: the thread itself can be read.
///
/// A database has none: nobody writes to it past the writer that it knows.
pub(crate) async fn find(id: ThreadId, app: &App<'_>) -> Vec<DivergedSegment> {
    let Some(home) = &app.home else { return Vec::new() };
    home.admin.diverged(id).await.unwrap_or_else(|error| {
        note(&format!("note: the abandoned segments were not checked: {}", Failure::from(error).message()));
        Vec::new()
    })
}

/// Warns about diverged segments on standard error.
pub(crate) fn warn(id: ThreadId, diverged: &[DivergedSegment]) {
    for DivergedSegment { turns, lines, last_at, segment_id, .. } in diverged {
        let until = last_at.map(|at| format!(", the last one at {at}")).unwrap_or_default();
        note(&format!(
            "warning: the history has diverged: abandoned segment {segment_id}, in which another program went on, has \
             {}, {}{until}, and they are not shown",
            counted(*turns, "more turn"),
            counted(*lines, "line")
        ));
    }
    if !diverged.is_empty() {
        note(&format!("hint: `selvedge doctor {id} --repair` keeps both histories: it makes a fork of the other one"));
    }
}
