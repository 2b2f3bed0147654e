//! What all requests share, and which path leads where.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use selvedge_thread_manager::ThreadManager;
use selvedge_thread_store::ThreadStore;
use tokio::sync::watch;

use crate::guard::guard;
use crate::{actions, api, assets, live, pages};

/// What all requests share.
#[derive(Debug)]
pub(crate) struct ViewerApp {
    pub(crate) manager: Arc<ThreadManager>,
    /// The address on which the server listens.
    pub(crate) address: SocketAddr,
    /// What every request must have, as a cookie.
    pub(crate) token: String,
    /// Whether threads can be changed.
    pub(crate) write: bool,
    /// Becomes true when the viewer stops.
    pub(crate) stopped: watch::Receiver<bool>,
}

impl ViewerApp {
    pub(crate) fn store(&self) -> &dyn ThreadStore {
        &**self.manager.store()
    }
}

pub(crate) fn router(app: Arc<ViewerApp>) -> Router {
    Router::new()
        .route("/", get(pages::home::page))
        .route("/activity", get(pages::activity::page))
        .route("/activity/part", get(pages::activity::part))
        .route("/compare", get(pages::compare::page))
        .route("/threads/{id}", get(pages::thread::page))
        .route("/threads/{id}/turns", get(pages::thread::turns))
        .route("/threads/{id}/live", get(live::events))
        .route("/threads/{id}/find", get(pages::find::page))
        .route("/threads/{id}/item", get(pages::item::page))
        .route("/threads/{id}/items", get(pages::item::items))
        .route("/threads/{id}/text", get(pages::item::text))
        .route("/threads/{id}/at", get(pages::item::at_position))
        .route("/threads/{id}/context", get(pages::context::page))
        .route("/threads/{id}/windows", get(pages::windows::page))
        .route("/threads/{id}/world", get(pages::world::page))
        .route("/threads/{id}/relatives", get(pages::relatives::page))
        .route("/threads/{id}/lines", get(pages::lines::page))
        .route("/threads/{id}/raw", get(pages::lines::raw))
        .route("/threads/{id}/rename", post(actions::rename))
        .route("/threads/{id}/archive", post(actions::archive))
        .route("/threads/{id}/unarchive", post(actions::unarchive))
        .route("/threads/{id}/fork", post(actions::fork))
        .route("/assets/viewer.css", get(assets::style))
        .route("/assets/viewer.js", get(assets::script))
        .nest("/api/v1", api::routes())
        .fallback(pages::not_found)
        .layer(from_fn_with_state(Arc::clone(&app), guard))
        .with_state(app)
}
