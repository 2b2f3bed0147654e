//! What the pages can change, if the viewer may write.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Redirect;
use selvedge_protocol::ThreadId;
use selvedge_thread_store::ForkThread;
use serde::Deserialize;

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::url::thread_id;

type Done = Result<Redirect, PageError>;

#[derive(Debug, Deserialize)]
pub(crate) struct RenameForm {
    name: String,
}

pub(crate) async fn rename(
    State(app): State<Arc<ViewerApp>>,
    Path(id): Path<String>,
    Form(form): Form<RenameForm>,
) -> Done {
    let id = may_change(&app, &id)?;
    app.manager.rename(id, &form.name).await?;
    Ok(to(id))
}

pub(crate) async fn archive(State(app): State<Arc<ViewerApp>>, Path(id): Path<String>) -> Done {
    let id = may_change(&app, &id)?;
    app.manager.archive(id).await?;
    Ok(to(id))
}

pub(crate) async fn unarchive(State(app): State<Arc<ViewerApp>>, Path(id): Path<String>) -> Done {
    let id = may_change(&app, &id)?;
    app.manager.unarchive(id).await?;
    Ok(to(id))
}

pub(crate) async fn fork(State(app): State<Arc<ViewerApp>>, Path(id): Path<String>) -> Done {
    let id = may_change(&app, &id)?;
    Ok(to(app.manager.fork(ForkThread::of(id)).await?))
}

fn may_change(app: &ViewerApp, id: &str) -> Result<ThreadId, PageError> {
    if !app.write {
        return Err(PageError::new(
            StatusCode::FORBIDDEN,
            "this viewer only reads; start it with --write to change threads",
        ));
    }
    thread_id(id)
}

fn to(id: ThreadId) -> Redirect {
    Redirect::to(&format!("/threads/{id}"))
}
