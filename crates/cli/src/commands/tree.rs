//! `selvedge tree`: forks and sub-agents below the threads that they come from.

use std::io::Write;

use clap::Args;
use selvedge_protocol::{ArchivedFilter, ThreadId, ThreadQuery, distinct_prefix_len};
use selvedge_thread_store::StoreError;

use crate::app::App;
use crate::failure::Result;
use crate::forest::Forest;
use crate::notes::note;
use crate::render::counted::counted;
use crate::render::thread_title::thread_title;
use crate::render::tree::{BranchGlyphs, TreeStyle, render};
use crate::resolve;

/// Arguments of `selvedge tree`.
#[derive(Debug, Args)]
#[command(after_help = "\
Archived threads are marked. A thread that others come from is drawn even if it is not in the home, and marked, too. \
Without ID, threads that have neither a parent nor children are left out, except with --json.

With --json, a tree is {id, relation: null, \"fork\" or \"sub_agent\", thread: {…} or null, children: […]}. Without \
ID, a list of trees is printed.

Examples:
  selvedge tree
  selvedge tree 01a1fd5d-aacb
  selvedge tree --json | jq '.[] | select(.children != []) | .id'")]
pub(crate) struct TreeArgs {
    /// Thread whose family to draw: id, unique prefix of an id, or name [default: all families]
    #[arg(value_name = "ID")]
    thread: Option<String>,
    /// Draw with ASCII characters
    #[arg(long)]
    ascii: bool,
}

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
    let (unrelated, families): (Vec<usize>, Vec<usize>) =
        forest.roots.iter().partition(|root| forest.is_unrelated(**root));
    draw(forest, &families, args, app)?;
    app.out.flush()?;
    match (families.len(), unrelated.len()) {
        (_, 0) => {}
        (0, count) => note(&format!("{} here, none forked from or started by another", counted(count, "thread"))),
        (_, count) => note(&format!("and {} without forks and sub-agents", counted(count, "thread"))),
    }
    Ok(())
}

fn draw(forest: &Forest, roots: &[usize], args: &TreeArgs, app: &mut App<'_>) -> Result<()> {
    // The store is not asked for the length: it does not know the parents that are not in the home.
    let ids: Vec<ThreadId> = forest.ids().into_iter().collect();
    let style = TreeStyle {
        paint: app.out.paint(),
        glyphs: if args.ascii { BranchGlyphs::ASCII } else { BranchGlyphs::UNICODE },
        id_len: distinct_prefix_len(&ids, []),
        title: thread_title,
        width: app.out.width(),
    };
    for root in roots {
        app.out.write_all(render(forest, *root, style).as_bytes())?;
    }
    Ok(())
}
