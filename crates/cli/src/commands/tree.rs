//! `selvedge tree`: forks and sub-agents below the threads that they come from.

use std::io::Write;

use selvedge_protocol::{ArchivedFilter, ThreadId, ThreadQuery, distinct_prefix_len};
use selvedge_thread_store::StoreError;

use super::list::title;
use crate::app::{App, note};
use crate::args::TreeArgs;
use crate::exit::Result;
use crate::forest::Forest;
use crate::render::tree::{Lines, Style, render};
use crate::resolve;

/// Draws the family of a thread, or all families of the home.
pub(crate) async fn run(args: &TreeArgs, app: &mut App<'_>) -> Result<()> {
    let thread = match &args.thread {
        Some(text) => Some(resolve::thread(&*app.store, text).await?),
        None => None,
    };
    let query = ThreadQuery { archived: ArchivedFilter::All, limit: usize::MAX, ..ThreadQuery::default() };
    let forest = Forest::new(app.store.list_threads(&query).await?.items);
    match thread {
        Some(id) => family(&forest, id, args, app),
        None => families(&forest, args, app),
    }
}

fn family(forest: &Forest, id: ThreadId, args: &TreeArgs, app: &mut App<'_>) -> Result<()> {
    let root = forest.root_of(id).ok_or(StoreError::not_found(id))?;
    if app.json {
        return app.out.json(&forest.tree(root));
    }
    draw(forest, &[root], args, app)
}

fn families(forest: &Forest, args: &TreeArgs, app: &mut App<'_>) -> Result<()> {
    if app.json {
        let trees: Vec<_> = forest.roots.iter().map(|root| forest.tree(*root)).collect();
        return app.out.json(&trees);
    }
    let (lonely, families): (Vec<usize>, Vec<usize>) = forest.roots.iter().partition(|root| forest.is_lonely(**root));
    draw(forest, &families, args, app)?;
    app.out.flush()?;
    match (families.len(), lonely.len()) {
        (_, 0) => {}
        (0, count) => note(&format!("{} here, none forked from or started by another", threads(count))),
        (_, count) => note(&format!("and {} without forks and sub-agents", threads(count))),
    }
    Ok(())
}

fn threads(count: usize) -> String {
    if count == 1 { "1 thread".to_owned() } else { format!("{count} threads") }
}

fn draw(forest: &Forest, roots: &[usize], args: &TreeArgs, app: &mut App<'_>) -> Result<()> {
    let ids: Vec<ThreadId> = forest.ids().into_iter().collect();
    let style = Style {
        paint: app.out.paint(),
        lines: if args.ascii { Lines::ASCII } else { Lines::UNICODE },
        id_length: distinct_prefix_len(&ids, []),
        title,
        width: app.out.width(),
    };
    for root in roots {
        app.out.write_all(render(forest, *root, style).as_bytes())?;
    }
    Ok(())
}
