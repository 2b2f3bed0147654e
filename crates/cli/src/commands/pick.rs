//! `selvedge pick`: a thread, chosen on the terminal.

use std::io::Write;
use std::sync::Arc;

use selvedge_protocol::StoredThread;

use super::list;
use crate::app::{App, now};
use crate::args::{PickArgs, Printed};
use crate::exit::{Code, Failure, Result};
use crate::pick::{self, Start};
use crate::render::style::Paint;
use crate::render::text::clean;
use crate::render::transcript::Style;

/// Lets somebody choose a thread, and prints it.
pub(crate) async fn run(args: &PickArgs, color: clap::ColorChoice, app: &mut App<'_>) -> Result<()> {
    let mut query = list::query(&args.filters, app).await?;
    query.limit = args.filters.limit.map_or(usize::MAX, Into::into);
    let threads = app.store.list_threads(&query).await?.items;
    if threads.is_empty() {
        let nothing = format!("no such threads in {}", app.home.display());
        return Err(Failure::new(Code::NotFound, nothing).hint("`selvedge list --all` shows the threads of this home"));
    }
    let start = Start {
        id_length: list::short_length(app, &threads).await?,
        threads,
        typed: args.query.clone().unwrap_or_default(),
        paint: Paint::for_stream(color, &std::io::stderr()),
        style: Style { paint: Paint::plain(), full: false, now: now() },
    };
    let chosen = pick::pick(start, Arc::clone(&app.store)).await?.ok_or_else(Failure::left)?;
    print(&chosen, args, app).await
}

async fn print(thread: &StoredThread, args: &PickArgs, app: &mut App<'_>) -> Result<()> {
    let printed = if app.json { Printed::Json } else { args.print };
    match printed {
        Printed::Id => writeln!(app.out, "{}", thread.id)?,
        Printed::Json => app.out.json(thread)?,
        Printed::Cwd => {
            let cwd = thread.cwd.as_deref().ok_or_else(|| unknown("working directory", thread))?;
            line(cwd.as_bytes(), app)?;
        }
        Printed::Path => {
            let path = app.admin.thread_file(thread.id).await?.ok_or_else(|| unknown("file", thread))?;
            line(path.as_os_str().as_encoded_bytes(), app)?;
        }
    }
    Ok(())
}

/// A path for a program as it is, and for a person so that it harms no terminal.
fn line(text: &[u8], app: &mut App<'_>) -> Result<()> {
    if app.out.is_terminal() {
        writeln!(app.out, "{}", clean(&String::from_utf8_lossy(text)))?;
    } else {
        app.out.write_all(text)?;
        app.out.write_all(b"\n")?;
    }
    Ok(())
}

fn unknown(what: &str, thread: &StoredThread) -> Failure {
    Failure::new(Code::NotFound, format!("the {what} of thread {} is not known", thread.id))
        .hint("--print id gives what there always is")
}
